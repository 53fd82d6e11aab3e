"""Checkpoints become networks with the same weights, or one clear line."""

from __future__ import annotations

import sys

import pytest
import torch

from xferbench.errors import MissingExtraError, ModelError, StorageError, UsageError
from xferbench.models.chgnet.checkpoint import SHIPPED, load_engine, load_network, settings, shipped_checkpoint
from xferbench.models.chgnet.model import CHGNet, Settings
from xferbench.records import Functional


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
    import contextlib
    import io

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
    assert engine.functional is Functional.R2SCAN
    assert engine.references["O"] == pytest.approx(-9.1242)
    assert "Yb" not in engine.supported_elements


def test_a_file_needs_its_functional(tmp_path):
    path = save(CHGNet(Settings(n_conv=2)), tmp_path / "mine.pth.tar")
    with pytest.raises(UsageError, match=r"say what .*mine\.pth\.tar was trained on"):
        load_engine(path)
    engine = load_engine(path, functional=Functional.PBE, dtype="float64", max_rows=7)
    assert (engine.functional, engine.max_rows) == (Functional.PBE, 7)
    assert engine.network.network.site_wise.weight.dtype == torch.float64


def test_unknown_precisions_and_devices_are_one_line():
    with pytest.raises(UsageError, match="dtype 'float8' is unknown"):
        load_engine("0.3.0", dtype="float8")
    with pytest.raises(ModelError, match="device 'quantum' cannot be used"):
        load_engine("0.3.0", "quantum")


def test_a_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setattr("xferbench.models.chgnet.checkpoint.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r'pip install "xferbench\[chgnet\]"'):
        shipped_checkpoint("0.3.0")


def test_loading_does_not_import_chgnet():
    pytest.importorskip("chgnet")
    kept = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == "chgnet"}
    try:
        load_engine("0.3.0")
        assert "chgnet" not in sys.modules
    finally:
        sys.modules.update(kept)
