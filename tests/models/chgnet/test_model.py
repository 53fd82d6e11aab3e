"""The network: derivatives are derivatives, symmetries hold, and training can differentiate everything."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
import torch
from ase.build import bulk

from xferbench.errors import UsageError
from xferbench.models.chgnet.model import Settings, new_network


def energies(network, make_batch, structures):
    return network(make_batch(structures, network), forces=False, stress=False).energy.detach().numpy()


def test_forces_are_finite_differences(make_network, make_batch, crystals, shape):
    network, step = make_network(shape), 1e-5
    atoms = crystals.small(1, seed=3)[0]
    forces = network(make_batch([atoms], network)).forces
    moved = []
    for index, axis, sign in ((0, 0, 1), (0, 0, -1), (5, 2, 1), (5, 2, -1)):
        moved.append(atoms.copy())
        moved[-1].positions[index, axis] += sign * step
    plus0, minus0, plus5, minus5 = energies(network, make_batch, moved)
    expected = [-(plus0 - minus0) / (2 * step), -(plus5 - minus5) / (2 * step)]
    np.testing.assert_allclose([forces[0, 0], forces[5, 2]], expected, atol=1e-6, rtol=1e-5)


def test_stress_is_the_finite_difference_by_strain(make_network, make_batch, crystals, shape):
    network, step = make_network(shape), 1e-5
    atoms = crystals.small(1, seed=4)[0]
    atoms.set_cell(atoms.cell.array[[1, 0, 2]])
    stress = network(make_batch([atoms], network)).stress[0]
    strained = []
    for i, j, sign in ((0, 0, 1), (0, 0, -1), (0, 2, 1), (0, 2, -1)):
        strain = np.eye(3)
        strain[i, j] += sign * step
        strained.append(atoms.copy())
        strained[-1].set_cell(atoms.cell.array @ strain, scale_atoms=True)
    e = energies(network, make_batch, strained)
    volume = abs(np.linalg.det(atoms.cell.array))
    expected = [(e[0] - e[1]) / (2 * step * volume), (e[2] - e[3]) / (2 * step * volume)]
    np.testing.assert_allclose([stress[0, 0], stress[0, 2]], expected, atol=1e-7, rtol=1e-5)


def test_forces_sum_to_zero_and_stress_is_symmetric(make_network, make_batch, crystals):
    network = make_network()
    found = network(make_batch(crystals.small(2), network))
    torch.testing.assert_close(found.forces[:8].sum(0), torch.zeros(3, dtype=torch.float64), atol=1e-10, rtol=0)
    torch.testing.assert_close(found.stress, found.stress.mT, atol=1e-12, rtol=1e-9)


def test_rotation_turns_forces_and_stress_and_leaves_the_rest(make_network, make_batch, crystals):
    network = make_network()
    atoms = crystals.small(1)[0]
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    turned = atoms.copy()
    turned.set_cell(atoms.cell.array @ rotation, scale_atoms=True)
    a, b = network(make_batch([atoms], network)), network(make_batch([turned], network))
    q = torch.tensor(rotation)
    torch.testing.assert_close(b.energy, a.energy)
    torch.testing.assert_close(b.magmoms, a.magmoms)
    torch.testing.assert_close(b.forces, a.forces @ q)
    torch.testing.assert_close(b.stress[0], q.T @ a.stress[0] @ q)


def test_a_supercell_has_twice_the_energy(make_network, make_batch, crystals):
    network = make_network()
    atoms = crystals.small(1)[0]
    single, double = (network(make_batch([cell], network)) for cell in (atoms, atoms.repeat((2, 1, 1))))
    torch.testing.assert_close(double.energy, 2 * single.energy)
    torch.testing.assert_close(double.stress, single.stress)
    torch.testing.assert_close(double.forces, single.forces.repeat(2, 1))


def test_results_do_not_depend_on_what_else_is_in_the_batch(make_network, make_batch, crystals, shape):
    network = make_network(shape)
    # a crystal with bonds but no angles beside one with angles
    structures = [*crystals.awkward(4, seed=5), bulk("Po", "sc", a=3.5)]
    together = network(make_batch(structures, network, "allow"))
    bounds = np.cumsum([0, *map(len, structures)])
    for index, atoms in enumerate(structures):
        alone = network(make_batch([atoms], network, "allow"))
        rows = slice(bounds[index], bounds[index + 1])
        torch.testing.assert_close(alone.energy[0], together.energy[index])
        torch.testing.assert_close(alone.forces, together.forces[rows])
        torch.testing.assert_close(alone.stress[0], together.stress[index])
        torch.testing.assert_close(alone.magmoms, together.magmoms[rows])


def test_site_energies_add_up(make_network, make_batch, crystals):
    network = make_network()
    found = network(make_batch(crystals.small(2), network))
    torch.testing.assert_close(found.site_energies.reshape(2, 8).sum(1), found.energy)


def test_a_network_that_pools_first_has_no_site_energies(make_network, make_batch, crystals):
    network = make_network("mean, gated readout")
    assert network(make_batch(crystals.small(1), network)).site_energies is None


@pytest.mark.parametrize(
    ("network_intensive", "reference_intensive", "factor"),
    [(True, True, 8), (True, False, 64), (False, False, 8), (False, True, 1)],
)
def test_references_are_scaled_as_chgnet_scales_them(
    make_network, make_batch, network_intensive, reference_intensive, factor
):
    network = make_network(is_intensive=network_intensive, reference_is_intensive=reference_intensive)
    batch = make_batch([bulk("Cu", a=3.6).repeat(2)], network)
    before = network(batch).energy
    network.composition_model["fc"].weight.data += 1.0
    torch.testing.assert_close((network(batch).energy - before).item(), float(factor))


def test_only_what_is_asked_for_is_there(make_network, make_batch, crystals):
    network = make_network()
    batch = make_batch(crystals.small(1), network)
    found = network(batch, forces=False, stress=False)
    assert (found.forces, found.stress) == (None, None)
    assert network(batch, stress=False).stress is None
    torch.testing.assert_close(network(batch, forces=False).stress, network(batch).stress)


def test_prediction_keeps_no_graph_and_training_does(make_network, make_batch, crystals):
    network = make_network()
    batch = make_batch(crystals.small(1), network)
    found = network(batch)
    assert not any(array.requires_grad for array in (found.energy, found.forces, found.stress, found.magmoms))
    found = network(batch, create_graph=True)
    assert all(array.requires_grad for array in (found.energy, found.forces, found.stress, found.magmoms))


def loss(network, batch):
    found = network(batch, create_graph=True)
    parts = (found.energy / 8, found.forces, 10 * found.stress, found.magmoms)
    return sum((part**2).mean() for part in parts)


def test_the_gradient_of_a_training_loss_is_its_finite_difference(make_network, make_batch, crystals, shape):
    network = make_network(shape)
    batch = make_batch(crystals.small(1, seed=6), network)
    loss(network, batch).backward()
    parameters = [parameter for parameter in network.parameters() if parameter.grad is not None]
    directions = [torch.randn_like(parameter) for parameter in parameters]
    expected = sum((parameter.grad * d).sum() for parameter, d in zip(parameters, directions, strict=True))
    step, values = 1e-6, []
    start = [parameter.detach().clone() for parameter in parameters]
    for sign in (1, -1):
        for parameter, value, direction in zip(parameters, start, directions, strict=True):
            parameter.data = value + sign * step * direction
        values.append(loss(network, batch).item())
    assert (values[0] - values[1]) / (2 * step) == pytest.approx(expected.item(), rel=1e-5)


def test_all_but_the_dead_angle_layer_is_trained(make_network, make_batch, crystals):
    network = make_network()
    loss(network, make_batch(crystals.small(1), network)).backward()
    untouched = {name for name, parameter in network.named_parameters() if parameter.grad is None}
    assert all(name.startswith(("angle_layers.2.", "composition_model.")) for name in untouched)
    assert any(name.startswith("angle_layers.2.") for name in untouched)


def test_fresh_weights_are_those_that_chgnet_draws_from_the_same_seed():
    chgnet = pytest.importorskip("chgnet.model.model").CHGNet
    torch.manual_seed(5)
    with contextlib.redirect_stdout(io.StringIO()):
        theirs = chgnet().state_dict()
    found = new_network(5, references={"H": -3.4431}).state_dict()
    assert found.keys() == theirs.keys()
    assert all(torch.equal(found[name], theirs[name]) for name in found if "composition" not in name)
    references = found["composition_model.fc.weight"][0]
    assert references[0] == torch.tensor(-3.4431)
    assert not references[1:].any()


def test_fresh_weights_depend_on_the_seed_alone():
    before = torch.random.get_rng_state()
    first, again, other = (new_network(seed, settings=Settings(n_conv=1)) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(first.site_wise.weight, again.site_wise.weight)
    assert not torch.equal(first.site_wise.weight, other.site_wise.weight)


def test_references_are_not_trained_and_may_be_left_out():
    with_references, without = new_network(0, references={"O": -7.0}), new_network(0)
    frozen = {name for name, parameter in with_references.named_parameters() if not parameter.requires_grad}
    assert frozen == {"composition_model.fc.weight"}
    assert without.composition_model is None
    assert not without.settings.has_references
    assert torch.equal(without.mlp.layers[0].weight, with_references.mlp.layers[0].weight)


@pytest.mark.parametrize("symbol", ["Xx", "Am"])
def test_a_reference_of_an_unknown_element_is_refused(symbol):
    with pytest.raises(UsageError, match=f"no reference for '{symbol}': CHGNet knows hydrogen to plutonium"):
        new_network(0, references={symbol: 1.0})


def test_outputs_for_training_are_in_the_precision_of_the_network(make_network, make_batch, crystals):
    network = make_network()
    exact = network(make_batch(crystals.small(2), network), create_graph=True)
    single = network.float()
    found = single(make_batch(crystals.small(2), single), create_graph=True)
    for name in ("energy", "forces", "stress", "magmoms", "site_energies"):
        array = getattr(found, name)
        assert array.dtype == torch.float32
        torch.testing.assert_close(array.double(), getattr(exact, name), atol=2e-4, rtol=2e-4)
