import inspect

import numpy as np
import pytest
import torch

from xferbench.errors import ModelError, StorageError, UnknownNameError, UsageError
from xferbench.models.chgnet.batch import Batch
from xferbench.models.chgnet.checkpoint import save_network
from xferbench.models.chgnet.graph import build as build_graphs
from xferbench.models.chgnet.model import new_network
from xferbench.registry import METHODS, resolve
from xferbench.transfer.method import (
    REFERENCES,
    Setting,
    build,
    engine,
    plain,
    references_table,
    weights_of,
)


def outputs(network, frames):
    cutoffs = {"atom_cutoff": 4.5, "bond_cutoff": 3}
    batch = Batch.from_graphs(
        build_graphs([frame.atoms() for frame in frames], **cutoffs), dtype=torch.float32, device=torch.device("cpu")
    )
    return network(batch)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_says_what_it_does_and_what_its_settings_are(name):
    method = resolve("method", name, METHODS)
    assert len(inspect.getdoc(method).splitlines()[0]) < 120
    assert list(inspect.signature(method).parameters) == ["setting", "options"]


@pytest.mark.parametrize("name", sorted(METHODS))
def test_what_trains_wants_gradients_and_nothing_else(name, setting):
    student = build(name, setting)
    groups = [weight for group in student.groups for weight in group.weights]
    assert len(groups) == len(set(groups))
    assert {n for n, p in student.network.named_parameters() if p.requires_grad} == set(groups)
    assert bool(groups) == (name != "zero-shot")


@pytest.mark.parametrize("name", sorted(METHODS))
def test_the_plain_network_predicts_what_the_student_does(name, setting):
    student = build(name, setting)
    frames = [pair.r2scan for pair in setting.pairs[:5]]
    with torch.no_grad():
        for parameter in student.network.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    mine, exported = outputs(student.network, frames), outputs(plain(student.network), frames)
    torch.testing.assert_close(mine.energy, exported.energy)
    torch.testing.assert_close(mine.forces, exported.forces)
    torch.testing.assert_close(mine.magmoms, exported.magmoms)
    assert not any(parameter.requires_grad for parameter in plain(student.network).parameters())


def test_a_plain_network_is_a_copy(network):
    copy = plain(network)
    with torch.no_grad():
        copy.get_parameter(REFERENCES).fill_(7)
    assert (references_table(network) != 7).all()


def test_the_last_angle_update_and_the_references_are_no_weights_to_train(network):
    names = weights_of(network)
    assert not any(name.startswith(("composition_model.", "angle_layers.1.")) for name in names)
    assert any(name.startswith("angle_layers.0.") for name in names)
    network.requires_grad_(True)
    network.train()


def test_every_weight_to_train_has_a_gradient(network, setting):
    network.requires_grad_(True)
    batch = Batch.from_graphs(
        build_graphs([pair.r2scan.atoms() for pair in setting.pairs], atom_cutoff=4.5, bond_cutoff=3),
        dtype=torch.float32,
        device=torch.device("cpu"),
    )
    found = network(batch, create_graph=True)
    (found.energy.sum() + found.forces.square().sum() + found.magmoms.sum()).backward()
    assert [n for n in weights_of(network) if network.get_parameter(n).grad is None] == []
    dead = set(dict(network.named_parameters())) - set(weights_of(network)) - {REFERENCES}
    assert all(network.get_parameter(name).grad is None for name in dead)


def test_predicted_energies_are_those_of_the_engine(setting, network):
    energies = setting.predicted(network)
    frame = setting.pairs[2].r2scan
    (single,) = engine(setting.pretrained()).predict([frame.atoms()])
    assert energies.shape == (len(setting.pairs),)
    assert energies[2] == pytest.approx(single["energy"] / frame.n_atoms, abs=1e-6)


def test_an_unknown_method_lists_the_known_ones(setting):
    with pytest.raises(UnknownNameError, match="unknown method 'finetune'; did you mean"):
        build("finetune", setting)


def test_options_that_a_method_does_not_have_are_refused(paired, tiny, setting):
    other = Setting(config=tiny(options={"rank": 4}), pairs=setting.pairs)
    with pytest.raises(UsageError, match="options of head-only: unknown key rank"):
        build("head-only", other)


def test_a_start_that_is_not_there_is_one_line(setting, tiny, tmp_path):
    other = Setting(config=tiny(start=str(tmp_path / "no.pth.tar")), pairs=setting.pairs)
    with pytest.raises(StorageError, match=r"cannot read .*no\.pth\.tar"):
        build("head-only", other)


def test_a_start_without_references_is_refused(setting, tiny, tmp_path):
    save_network(new_network(0, settings=setting.pretrained().settings), tmp_path / "bare.pth.tar")
    other = Setting(config=tiny(start=str(tmp_path / "bare.pth.tar")), pairs=setting.pairs)
    with pytest.raises(ModelError, match="has no references per atom"):
        build("head-only", other)


def test_the_table_is_read_in_double_precision(network):
    table = references_table(network)
    assert table.dtype == np.float64
    assert table[2] == pytest.approx(-1.9, abs=1e-6)
    table[2] = 0
    assert references_table(network)[2] == pytest.approx(-1.9, abs=1e-6)
