"""Checkpoints become networks with the same weights, or one clear line."""

from __future__ import annotations

import contextlib
import io
import sys
from dataclasses import replace

import pytest
import torch
from ase.build import bulk
from pymatgen.io.ase import AseAtomsAdaptor

from xferbench.errors import MissingExtraError, ModelError, StorageError, UsageError
from xferbench.functionals import Functional
from xferbench.models.chgnet.checkpoint import (
    SHIPPED,
    load_engine,
    load_network,
    model_arguments,
    save_network,
    settings,
    shipped_checkpoint,
)
from xferbench.models.chgnet.engine import CHGNetEngine
from xferbench.models.chgnet.frozen import FrozenCHGNet
from xferbench.models.chgnet.graph import build
from xferbench.models.chgnet.model import CHGNet, Settings, new_network


def save(network, path, **arguments):
    """As chgnet writes a trained model."""
    s = network.settings
    own = {"n_conv": s.n_conv, "mlp_hidden_dims": list(s.mlp_hidden_dims), "atom_conv_hidden_dim": 64}
    torch.save({"model": {"state_dict": network.state_dict(), "model_args": own | arguments}}, path)
    return path


@pytest.mark.parametrize("variant", sorted(SHIPPED))
def test_shipped_weights_load_unchanged(variant):
    pytest.importorskip("chgnet")
    path = shipped_checkpoint(variant)
    weights = torch.load(path, map_location="cpu", weights_only=True)["model"]["state_dict"]
    found = load_network(path).state_dict()
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[name], weights[name]) for name in weights)


def test_a_network_survives_saving_and_loading(tmp_path):
    network = CHGNet(Settings(n_conv=2, mlp_hidden_dims=(8,)))
    found = load_network(save(network, tmp_path / "trained.pth.tar"))
    assert found.settings == network.settings
    assert all(
        torch.equal(a, b) for a, b in zip(found.state_dict().values(), network.state_dict().values(), strict=True)
    )


def test_what_chgnet_trains_this_loads_and_the_other_way_round(tmp_path):
    chgnet = pytest.importorskip("chgnet.model.model").CHGNet
    arguments = {"n_conv": 3, "atom_conv_hidden_dim": [32], "angle_layer_hidden_dim": 16, "mlp_hidden_dims": 24}
    with contextlib.redirect_stdout(io.StringIO()):
        theirs = chgnet(**arguments)
        torch.save({"model": theirs.as_dict()}, tmp_path / "theirs.pth.tar")
        ours = load_network(tmp_path / "theirs.pth.tar")
        chgnet(**arguments).load_state_dict(ours.state_dict())


def test_settings_come_from_the_arguments_and_the_weights():
    arguments = {
        "composition_model": "MPF",
        "atom_conv_hidden_dim": 32,
        "bond_conv_hidden_dim": [16, 8],
        "angle_layer_hidden_dim": 0,
        "final_mlp": "gated",
        "cutofff_coeff": 5,
        "version": "mine",
    }
    found = settings(arguments, {"a.mlp_out.layers.1.bias": 0, "composition_model.fc.weight": 0}, name="x")
    assert found == Settings(
        atom_conv_hidden_dim=(32,),
        bond_conv_hidden_dim=(16, 8),
        angle_layer_hidden_dim=(),
        gated_readout=True,
        mlp_out_bias=True,
        reference_is_intensive=False,
    )
    assert not settings({"composition_model": None}, {}, name="x").has_references


def test_all_that_is_not_supported_is_named_at_once():
    arguments = {"conv_norm": "batch", "mlp_first": False, "read_out": "attn", "brand_new": 1}
    with pytest.raises(ModelError) as caught:
        settings(arguments, {"composition_model.fc1.weight": 0}, name="mine.pth.tar")
    message = str(caught.value)
    for part in (
        "mine.pth.tar",
        "brand_new = 1",
        "conv_norm = 'batch'",
        "read_out = 'attn'",
        "not linear",
        "engine chgnet",
    ):
        assert part in message


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(StorageError, match=r"cannot read .*gone\.pth\.tar: No such file"):
        load_network(tmp_path / "gone.pth.tar")


def test_a_file_that_is_no_checkpoint_is_one_line(tmp_path):
    path = tmp_path / "noise.pth.tar"
    path.write_bytes(b"noise")
    with pytest.raises(ModelError, match="cannot be read as a checkpoint"):
        load_network(path)
    torch.save({"weights": 1}, path)
    with pytest.raises(ModelError, match="is no checkpoint of chgnet"):
        load_network(path)


def test_code_hidden_in_a_checkpoint_is_not_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return (print, ("run",))

    torch.save({"model": Trap()}, tmp_path / "trap.pth.tar")
    with pytest.raises(ModelError, match="cannot be read as a checkpoint"):
        load_network(tmp_path / "trap.pth.tar")


def test_weights_that_do_not_fit_are_one_line(tmp_path):
    path = save(CHGNet(Settings(n_conv=2)), tmp_path / "odd.pth.tar", n_conv=3)
    with pytest.raises(ModelError, match=r"the weights in .*odd\.pth\.tar do not fit its model_args: .*Missing key"):
        load_network(path)


def test_an_engine_knows_what_a_variant_was_trained_on():
    pytest.importorskip("chgnet")
    engine = load_engine("r2scan")
    assert engine.functional == Functional("r2SCAN")
    assert engine.references["O"] == pytest.approx(-9.1242)
    assert "Yb" not in engine.supported_elements


def test_a_file_needs_its_functional(tmp_path):
    path = save(CHGNet(Settings(n_conv=2)), tmp_path / "mine.pth.tar")
    with pytest.raises(UsageError, match=r"say what .*mine\.pth\.tar was trained on"):
        load_engine(path)
    engine = load_engine(path, functional=Functional("PBE"), precision="float64", max_rows=7)
    assert (engine.functional, engine.max_rows) == (Functional("PBE"), 7)
    assert engine.network.network.site_wise.weight.dtype == torch.float64


def test_unknown_precisions_and_devices_are_one_line():
    with pytest.raises(UsageError, match="precision 'float8' is unknown"):
        load_engine("0.3.0", precision="float8")
    with pytest.raises(UsageError, match="precision tf32 is of GPUs, and the device is cpu; choose float32"):
        load_engine("0.3.0", precision="tf32")
    with pytest.raises(ModelError, match="device 'quantum' cannot be used"):
        load_engine("0.3.0", "quantum")


def test_an_engine_is_made_as_asked_for(tmp_path):
    path = save(CHGNet(Settings(n_conv=2)), tmp_path / "mine.pth.tar")
    plain = load_engine(path, functional=Functional("PBE"))
    assert (plain.network.products, plain.ahead, plain.build) == ("float32", 0, build)
    asked = load_engine(path, functional=Functional("PBE"), precision="bf16", graph_cache=tmp_path / "graphs")
    assert asked.network.products == "bf16"
    assert asked.predict([bulk("NaCl", "rocksalt", a=5.5)])[0]["energy"]
    assert len(list((tmp_path / "graphs").iterdir())) == 1


def test_a_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setattr("xferbench.models.chgnet.checkpoint.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r'pip install "\.\[chgnet\]"'):
        shipped_checkpoint("0.3.0")


def test_loading_does_not_import_chgnet():
    pytest.importorskip("chgnet")
    kept = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == "chgnet"}
    try:
        load_engine("0.3.0")
        assert "chgnet" not in sys.modules
    finally:
        sys.modules.update(kept)


def quietly(make, *arguments, **keywords):
    """chgnet's constructors print."""
    with contextlib.redirect_stdout(io.StringIO()):
        return make(*arguments, **keywords)


SAVED = {
    "as 0.4.2": Settings(),
    "as 0.2.0": Settings(num_radial=9, num_angular=9, mlp_hidden_dims=(64, 64), gMLP_norm=None, mlp_out_bias=True),
    "uneven": Settings(atom_fea_dim=12, bond_conv_hidden_dim=(7,), angle_layer_hidden_dim=(5,), n_conv=3),
    "mean, gated readout": Settings(mlp_first=False, gated_readout=True, readout_norm=None),
    "per cell": Settings(is_intensive=False, reference_is_intensive=False),
    "no references": Settings(has_references=False),
}


@pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad=True")
@pytest.mark.parametrize("kind", sorted(SAVED))
def test_what_is_saved_chgnet_reads_and_predicts_the_same_with(tmp_path, kind):
    chgnet = pytest.importorskip("chgnet.model.model").CHGNet
    references = {"Na": -1.3, "Cl": -2.2} if SAVED[kind].has_references else None
    network = new_network(3, settings=SAVED[kind], references=references)
    path = tmp_path / "fresh.pth.tar"
    save_network(network, path)
    again, theirs = load_network(path), quietly(chgnet.from_file, path)
    assert again.settings == network.settings
    weights = theirs.state_dict()
    assert weights.keys() == network.state_dict().keys()
    assert all(torch.equal(array, weights[name]) for name, array in network.state_dict().items())

    atoms = bulk("NaCl", "rocksalt", a=5.5)
    atoms.rattle(0.1, seed=0)
    if theirs.composition_model is not None:
        theirs.composition_model.fitted = True
    structure = AseAtomsAdaptor.get_structure(atoms)
    expected = theirs.predict_structure(structure, task="ef")
    (found,) = CHGNetEngine(functional=Functional("PBE"), network=FrozenCHGNet(again)).predict([atoms])
    assert found["energy"] == pytest.approx(expected["e"] * (2 if SAVED[kind].is_intensive else 1), abs=1e-5)
    torch.testing.assert_close(torch.tensor(found["forces"]).float(), torch.tensor(expected["f"]), atol=1e-5, rtol=1e-4)


def test_a_checkpoint_holds_what_else_is_given_and_replaces_the_old_one(tmp_path):
    path = tmp_path / "run.pth.tar"
    save_network(new_network(0, settings=Settings(n_conv=1)), path, epoch=3)
    save_network(new_network(1, settings=Settings(n_conv=1)), path, epoch=4)
    assert torch.load(path, weights_only=True)["epoch"] == 4
    assert [file.name for file in tmp_path.iterdir()] == ["run.pth.tar"]
    expected = new_network(1, settings=Settings(n_conv=1)).mlp.layers[0].weight
    assert torch.equal(load_network(path).mlp.layers[0].weight, expected)


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"cannot (write|create) .*"):
        save_network(new_network(0, settings=Settings(n_conv=1)), tmp_path / "file" / "mine.pth.tar")


@pytest.mark.parametrize("kind", sorted(SAVED))
def test_arguments_and_settings_are_inverse(kind):
    weights = {"composition_model.fc.weight": 0} if SAVED[kind].has_references else {}
    if SAVED[kind].mlp_out_bias:
        weights["a.mlp_out.layers.1.bias"] = 0
    expected = SAVED[kind] if SAVED[kind].has_references else replace(SAVED[kind], reference_is_intensive=False)
    found = settings(model_arguments(SAVED[kind]), weights, name="x")
    assert replace(found, reference_is_intensive=expected.reference_is_intensive) == expected
