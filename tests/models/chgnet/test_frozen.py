"""The written-out reverse pass gives what autograd gives."""

from __future__ import annotations

import copy

import pytest
import torch
from ase import Atoms
from ase.build import bulk

from xferbench.models.chgnet import adjoint
from xferbench.models.chgnet.adjoint import Convolutions
from xferbench.models.chgnet.frozen import FrozenCHGNet


def assert_same(found, expected):
    for name in ("energy", "forces", "stress", "magmoms", "site_energies"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), atol=1e-11, rtol=1e-9)


@pytest.fixture
def structures(crystals):
    return [*crystals.small(2), *crystals.awkward(4, seed=5), bulk("Po", "sc", a=3.5)]


def test_every_shape_of_network_predicts_what_autograd_says(make_network, make_batch, structures, shape):
    network = make_network(shape)
    batch = make_batch(structures, network, "allow")
    expected = network(batch)
    frozen = FrozenCHGNet(copy.deepcopy(network))
    assert_same(frozen(batch), expected)
    # the arena is in use only from the second pass on
    assert_same(frozen(batch), expected)


@pytest.mark.parametrize("block", [2, 64])
def test_the_size_of_blocks_does_not_matter(make_network, make_batch, crystals, monkeypatch, block):
    network = make_network("uneven")
    batch = make_batch(crystals.small(1), network)
    expected = network(batch)
    monkeypatch.setattr(adjoint, "BLOCK", block)
    assert_same(FrozenCHGNet(copy.deepcopy(network))(batch), expected)


def test_crystals_without_angles_or_without_bonds_are_fine(make_network, make_batch):
    network = make_network()
    for structures in ([bulk("Po", "sc", a=3.5)], [Atoms("He", cell=[9, 9, 9], pbc=True)]):
        batch = make_batch(structures, network, "allow")
        expected = network(batch)
        assert_same(FrozenCHGNet(copy.deepcopy(network))(batch), expected)


def test_energies_alone_are_the_same(make_network, make_batch, structures):
    network = make_network()
    batch = make_batch(structures, network, "allow")
    frozen = FrozenCHGNet(network)
    found = frozen(batch, forces=False, stress=False)
    assert (found.forces, found.stress) == (None, None)
    torch.testing.assert_close(found.energy, frozen(batch).energy)


def test_batches_of_different_sizes_may_follow_each_other(make_network, make_batch, crystals):
    network = make_network()
    batches = [make_batch(crystals.small(n, seed=n), network) for n in (1, 4, 2, 4)]
    frozen = FrozenCHGNet(network)
    for batch in batches:
        assert_same(frozen(batch), network(batch))


def test_what_was_returned_survives_the_next_batch(make_network, make_batch, crystals):
    network = make_network()
    frozen = FrozenCHGNet(network)
    first, second = (make_batch(crystals.small(1, seed=seed), network) for seed in (1, 2))
    found = frozen(first)
    kept = copy.deepcopy(found)
    frozen(second)
    assert_same(found, kept)


def test_networks_out_of_its_reach_are_left_to_autograd(make_network):
    assert Convolutions.supported(make_network("as 0.2.0"))
    assert not Convolutions.supported(make_network("two hidden layers"))
    assert not Convolutions.supported(make_network(gMLP_norm="batch"))


def test_weights_are_frozen(make_network):
    network = FrozenCHGNet(make_network()).network
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert not network.training


def test_energies_of_large_cells_are_added_up_in_double_precision(make_network, make_batch, crystals):
    network = make_network()
    exact = network(make_batch([crystals.small(1)[0].repeat(5)], network), forces=False, stress=False).energy
    single = FrozenCHGNet(network.float())
    found = single(make_batch([crystals.small(1)[0].repeat(5)], single.network), forces=False, stress=False)
    assert found.energy.dtype == found.site_energies.dtype == torch.float64
    torch.testing.assert_close(found.energy, exact.detach(), atol=0, rtol=2e-6)


def test_short_factors_change_a_little_and_only_the_products(make_network, make_batch, structures, shape):
    network = make_network(shape).float()
    batch = make_batch(structures, network, "allow")
    exact = FrozenCHGNet(copy.deepcopy(network))(batch)
    short = FrozenCHGNet(copy.deepcopy(network), products="bf16")(batch)
    for name in ("energy", "forces", "magmoms"):
        wanted, found = getattr(exact, name), getattr(short, name)
        assert found.dtype == wanted.dtype
        assert 0 < (found - wanted).norm() < 0.2 * wanted.norm()
