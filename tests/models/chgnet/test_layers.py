"""Layers: the split first layer is the concatenated one, and names and norms are those of checkpoints."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from xferbench.errors import ModelError
from xferbench.models.chgnet.layers import ACTIVATIONS, MLP, GatedMLP, ScaledSiLU, norm_layer


def gated(network, layer="atom_conv_layers"):
    return getattr(network, layer)[0]


@pytest.fixture
def setting(make_network, make_batch, make_state, crystals):
    network = make_network("uneven")
    batch = make_batch(crystals.small(2), network)
    return network, batch, make_state(network, batch)


def directed(batch):
    """Start, end and undirected bond of each directed bond."""
    start = torch.stack([batch.center, batch.neighbor], dim=1).ravel()
    end = torch.stack([batch.neighbor, batch.center], dim=1).ravel()
    return start, end, torch.arange(len(batch.center)).repeat_interleave(2)


def test_an_atom_convolution_is_equation_3(setting):
    network, batch, x = setting
    layer = network.atom_conv_layers[0]
    start, end, bond = directed(batch)
    inputs = torch.cat([x.atoms[start], x.bonds[bond], x.atoms[end]], dim=1)
    messages = layer.twoBody_atom(inputs) * x.weights[bond]
    received = torch.zeros_like(x.atoms).index_add(0, start, messages)
    expected = x.atoms + received @ layer.mlp_out.first.weight.T
    torch.testing.assert_close(layer(x.atoms, x.bonds, x.weights, batch), expected)


def corner_inputs(batch, x):
    first, second = batch.first % batch.n_short, batch.second % batch.n_short
    start = torch.cat([batch.center[: batch.n_short], batch.neighbor[: batch.n_short]])
    vertex = start[batch.first]
    assert torch.equal(vertex, start[batch.second])
    return first, second, torch.cat([x.bonds[first], x.bonds[second], x.angles, x.atoms[vertex]], dim=1)


def test_a_bond_convolution_is_equation_4(setting):
    network, batch, x = setting
    layer = network.bond_conv_layers[0]
    first, second, inputs = corner_inputs(batch, x)
    messages = layer.twoBody_bond(inputs) * x.short_weights[first] * x.short_weights[second]
    received = torch.zeros_like(x.bonds).index_add(0, first, messages)
    expected = x.bonds + received @ layer.mlp_out.first.weight.T
    found = layer(x.atoms, x.bonds, x.short_weights, x.angles, batch)
    torch.testing.assert_close(found, expected)
    assert torch.equal(found[batch.n_short :], x.bonds[batch.n_short :])


def test_an_angle_update_is_equation_5(setting):
    network, batch, x = setting
    layer = network.angle_layers[0]
    expected = x.angles + layer.twoBody_bond(corner_inputs(batch, x)[2])
    torch.testing.assert_close(layer(x.atoms, x.bonds, x.angles, batch), expected)


def test_an_output_bias_reaches_long_bonds_of_crystals_with_angles_only(make_network, make_batch, make_state):
    from ase.build import bulk

    network = make_network("as 0.2.0")
    batch = make_batch([bulk("Cu", a=3.6), bulk("Po", "sc", a=3.5)], network)
    x = make_state(network, batch)
    layer = network.bond_conv_layers[0]
    change = layer(x.atoms, x.bonds, x.short_weights, x.angles, batch) - x.bonds
    long = torch.arange(len(batch.center)) >= batch.n_short
    angled = batch.angled[:, 0] > 0
    bias = layer.mlp_out.first.bias
    torch.testing.assert_close(change[long & angled], bias.expand(int((long & angled).sum()), -1))
    assert (~angled).any()
    assert change[~angled].abs().max() == 0


@pytest.mark.parametrize("hidden", [(), (7,), (7, 5)])
def test_the_first_layer_can_be_taken_off(hidden):
    network = MLP(4, 3, hidden=hidden, activation="silu")
    x = torch.randn(6, 4)
    torch.testing.assert_close(network.after_first(network.first(x)), network(x))


@pytest.mark.parametrize(
    ("hidden", "keys"), [((), ["1"]), ((7,), ["0", "3"]), ((7, 5), ["0", "2", "5"]), ((7, 5, 4), ["0", "2", "4", "7"])]
)
def test_layers_are_numbered_as_in_checkpoints(hidden, keys):
    names = MLP(4, 3, hidden=hidden, activation="silu").state_dict()
    assert [name.split(".")[1] for name in names if name.endswith("weight")] == keys


def test_a_gated_network_by_hand():
    network = GatedMLP(2, 1, hidden=(), activation="silu", norm=None)
    with torch.no_grad():
        for mlp, weights in ((network.mlp_core, [1.0, 2.0]), (network.mlp_gate, [0.0, -1.0])):
            mlp.first.weight.copy_(torch.tensor([weights]))
            mlp.first.bias.zero_()
    core = 5 / (1 + torch.tensor(-5.0).exp())
    gate = 1 / (1 + torch.tensor(2.0).exp())
    torch.testing.assert_close(network(torch.tensor([[1.0, 2.0]])), (core * gate).reshape(1, 1))


def test_dropout_before_a_split_layer_is_refused_in_training_only():
    network = MLP(4, 3, hidden=(), activation="silu", dropout=0.5)
    x = torch.randn(6, 3)
    assert torch.equal(network.eval().after_first(x), x)
    with pytest.raises(ModelError, match="cannot be trained with conv_dropout"):
        network.train().after_first(x)


def test_norms_by_name():
    assert isinstance(norm_layer("Layer", 4), nn.LayerNorm)
    assert isinstance(norm_layer("batch", 4), nn.BatchNorm1d)
    assert norm_layer(None, 4) is None
    assert norm_layer("whatever", 4) is None


def test_activations_are_chgnets():
    functions = pytest.importorskip("chgnet.model.functions")
    x = torch.linspace(-3, 3, 20)
    for name, kind in ACTIVATIONS.items():
        torch.testing.assert_close(kind()(x), functions.find_activation(name)(x))
    torch.testing.assert_close(ScaledSiLU()(x), nn.functional.silu(x) / 0.6)
