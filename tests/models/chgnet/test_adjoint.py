"""Pieces of the written-out reverse pass, each against autograd."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from ase.build import bulk

from xferbench.models.chgnet import adjoint
from xferbench.models.chgnet.adjoint import Convolutions, Gate
from xferbench.models.chgnet.layers import GatedMLP
from xferbench.models.hardware import Arena


def gate_and_network(hidden, norm):
    torch.manual_seed(0)
    network = GatedMLP(6, 4, hidden=hidden, activation="silu", norm=norm).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return Gate(network, [2, 4]), network


def check(hidden, norm):
    gate, network = gate_and_network(hidden, norm)
    x = torch.randn(9, 6, dtype=torch.float64)
    first = [(x @ torch.cat(branch.parts, dim=1).T + branch.bias).requires_grad_() for branch in gate.branches]
    out = torch.empty(9, 4, dtype=torch.float64)
    with torch.no_grad():
        saved = gate.forward(first, out, Arena(dtype=torch.float64, device=torch.device("cpu")))
    torch.testing.assert_close(out, network(x).detach())

    plain = [network.mlp_core.first(x).detach().requires_grad_(), network.mlp_gate.first(x).detach().requires_grad_()]
    slope = torch.randn(9, 4, dtype=torch.float64)
    expected = torch.autograd.grad(network.after_first(*plain), plain, slope)
    found = [torch.empty_like(array) for array in expected]
    with torch.no_grad():
        values = gate.again(saved)
        torch.testing.assert_close(values[2], out)
        gate.backward(slope, saved, values, found)
    # a centred last layer moves the mean of the slope into the weights before it
    centred = [array - array.mean(1, keepdim=True) for array in found] if not hidden and norm else found
    reference = [array - array.mean(1, keepdim=True) for array in expected] if not hidden and norm else expected
    for mine, theirs in zip(centred, reference, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_two_layers_with_norm():
    check((5,), "layer")


def test_two_layers_without_norm():
    check((5,), None)


def test_one_layer_with_norm():
    check((), "layer")


def test_one_layer_without_norm():
    check((), None)


def test_without_an_arena_nothing_is_kept():
    gate, _ = gate_and_network((5,), "layer")
    out = torch.empty(3, 4, dtype=torch.float64)
    with torch.no_grad():
        saved = gate.forward([torch.randn(3, 5, dtype=torch.float64)] * 2, out, None)
    assert saved == (None, None)


STEPS = ["atoms", "bonds", "angles"]
NAMES = [*STEPS, "weights", "short_weights"]


def steps_and_layers(network):
    convolutions = Convolutions(network)
    return {
        "atoms": (
            convolutions.atom_steps[0],
            lambda x, batch: network.atom_layers[0](x.atoms, x.bonds, x.weights, batch),
        ),
        "bonds": (
            convolutions.bond_steps[0],
            lambda x, batch: network.bond_layers[0](x.atoms, x.bonds, x.short_weights, x.angles, batch),
        ),
        "angles": (
            convolutions.angle_steps[0],
            lambda x, batch: network.angle_updates[0](x.atoms, x.bonds, x.angles, batch),
        ),
    }


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(adjoint, "BLOCK", 6)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("case", list(itertools.product(["uneven", "as 0.2.0", "as 0.3.0"], STEPS)), ids="-".join)
def test_a_step_is_its_layer_forward_and_back(make_network, make_batch, make_state, crystals, case):
    kind, changed = case
    network = make_network(kind)
    batch = make_batch([*crystals.small(1, seed=2), bulk("Po", "sc", a=3.5)], network)
    step, layer = steps_and_layers(network)[changed]
    given = make_state(network, batch, requires_grad=True)
    slope = make_state(network, batch)
    wanted = layer(given, batch)
    arrays = [getattr(given, name) for name in NAMES]
    # what is not changed passes straight through
    outputs = [wanted if name == changed else getattr(given, name) * 1 for name in NAMES]
    expected = torch.autograd.grad(outputs, arrays, [getattr(slope, name) for name in NAMES])

    with torch.no_grad():
        state = replace(given)
        kept = step.forward(state, batch, Arena(dtype=torch.float64, device=torch.device("cpu")))
        torch.testing.assert_close(getattr(state, changed), wanted.detach())
        before = {name: getattr(given, name).detach().clone() for name in NAMES}
        back = replace(slope)
        step.backward(back, given, batch, kept)
    for name, gradient in zip(NAMES, expected, strict=True):
        torch.testing.assert_close(getattr(back, name), gradient, atol=1e-9, rtol=1e-7)
        assert torch.equal(getattr(given, name), before[name])


def test_blocks_cover_everything_once():
    for n in (0, 1, 1023, 1024, 1025, 5000):
        blocks = list(adjoint._blocks(n, 2, torch.device("cpu")))
        assert [i for things, _ in blocks for i in range(n)[things]] == list(range(n))
        assert [i for _, rows in blocks for i in range(2 * n)[rows]] == list(range(2 * n))


def test_a_gpu_gets_one_block():
    assert list(adjoint._blocks(5000, 2, torch.device("meta"))) == [(slice(0, 5000), slice(0, 10000))]


def test_the_order_of_layers_is_that_of_the_network(make_network, make_batch, crystals):
    network = make_network()
    convolutions = Convolutions(network)
    with_angles = make_batch(crystals.small(1), network)
    names = [type(step).__name__.removesuffix("Step") for step in convolutions._order(with_angles)]
    assert names == ["Atom", "Bond", "Angle", "Atom", "Bond", "Angle", "Atom", "Bond", "Atom"]
    without = make_batch([bulk("Po", "sc", a=3.5)], network)
    assert [type(step).__name__ for step in convolutions._order(without)] == ["AtomStep"] * 4
