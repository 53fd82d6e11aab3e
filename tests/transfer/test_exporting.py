import hashlib
import io
from contextlib import redirect_stdout

import numpy as np
import pytest
import safetensors.torch
import torch

from xferbench.leaderboard.cards import read_card
from xferbench.models import load, parse_spec
from xferbench.models.chgnet.checkpoint import load_network
from xferbench.references.composition import atomic_number
from xferbench.registry import METHODS
from xferbench.transfer import exporting, train
from xferbench.transfer.exporting import card, model_id
from xferbench.transfer.method import references_table


@pytest.fixture(scope="module")
def runs(paired, tiny, tmp_path_factory):
    """A trained run of each kind of export."""
    directory = tmp_path_factory.mktemp("runs")
    config = tiny(epochs=1, batch_size=16)
    methods = ("finetune-refit-refs", "lora", "multi-fidelity", "delta")
    return {method: train(method, paired, directory / method, config) for method in methods}


@pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad")  # chgnet.model.model makes volumes so
@pytest.mark.parametrize("method", ["finetune-refit-refs", "lora", "multi-fidelity"])
def test_chgnet_loads_the_weights_and_predicts_the_same(method, runs, paired):
    chgnet = pytest.importorskip("chgnet.model.model")
    from pymatgen.io.ase import AseAtomsAdaptor

    run = runs[method]
    with redirect_stdout(io.StringIO()):
        theirs = chgnet.CHGNet.from_file(str(run.weights))
    frames = paired.frames("r2scan", "test")
    found = {record.frame_id: record for record in run.predictions("test").records}
    for frame in frames[:3]:
        result = theirs.predict_structure(AseAtomsAdaptor.get_structure(frame.atoms()))
        assert float(result["e"]) == pytest.approx(found[frame.frame_id].energy / frame.n_atoms, abs=1e-5)
        np.testing.assert_allclose(result["f"], found[frame.frame_id].forces, atol=1e-4)
        np.testing.assert_allclose(result["m"], found[frame.frame_id].magmoms, atol=1e-5)


@pytest.mark.parametrize("method", ["finetune-refit-refs", "delta"])
def test_the_model_file_predicts_what_the_run_did(method, runs, paired):
    run = runs[method]
    model = load(parse_spec(str(run.model)))
    frames = paired.frames("r2scan", "test")
    results = model.predict([frame.atoms() for frame in frames])
    found = {record.frame_id: record for record in run.predictions("test").records}
    for frame, result in zip(frames, results, strict=True):
        assert result["energy"] == pytest.approx(found[frame.frame_id].energy, abs=1e-4)
        np.testing.assert_allclose(result["forces"], found[frame.frame_id].forces, atol=1e-5)
        np.testing.assert_allclose(result["stress"], found[frame.frame_id].stress, atol=1e-6)


@pytest.mark.parametrize("method", ["finetune-refit-refs", "delta"])
def test_the_model_file_declares_elements_and_references(method, runs):
    run = runs[method]
    model = load(parse_spec(str(run.model)))
    assert model.functional.value == "r2SCAN"
    assert model.supported_elements == {"Li", "O", "Mg", "Cl"}
    table = references_table(load_network(run.weights))
    if method == "delta":
        table = table + references_table(load_network(run.directory / "base.pth.tar"))
    for symbol, energy in model.references.items():
        assert energy == pytest.approx(table[atomic_number(symbol) - 1])


def test_other_weights_are_another_model_file(runs, paired, tiny, tmp_path):
    """Predictions that a model file made are continued by its text: name and references alone do not tell runs apart."""
    run = runs["finetune-refit-refs"]
    other = train("finetune-refit-refs", paired, tmp_path / "run", tiny(epochs=1, batch_size=16, lr=1e-4))
    assert other.record["model_id"] == run.record["model_id"]
    same, different = run.model.read_text(), other.model.read_text()
    hashes = [hashlib.sha256((it.directory / "model.safetensors").read_bytes()).hexdigest() for it in (run, other)]
    assert same.replace(hashes[0], hashes[1]) == different != same


def test_safetensors_hold_the_same_weights(runs):
    run = runs["lora"]
    weights = safetensors.torch.load_file(run.directory / "model.safetensors")
    for name, value in load_network(run.weights).state_dict().items():
        assert torch.equal(weights[name], value)


@pytest.mark.parametrize("method", METHODS)
def test_every_card_follows_the_schema_of_cards(method, runs, tmp_path):
    record = runs["lora"].record
    identity = model_id(method, "mini", 0.1, 3)
    record = {**record, "method": method, "model_id": identity, "config": {**record["config"], "start": "0.3.0"}}
    path = tmp_path / f"{identity}.toml"
    path.write_text(card(record, 412_525))
    found = read_card(path)
    assert (found.base_model is None) == (method == "scratch")
    assert found.training_sets == (("synthetic",) if method == "scratch" else ("MPtrj", "synthetic"))
    assert found.transfer is None or found.transfer.n_train == record["training"]["frames"]
    assert set(exporting.CARD_METHODS) <= set(METHODS)


def test_names_are_model_ids():
    assert model_id("lora", "MatPES 2025.1", 1.0, 0) == "lora-matpes-2025.1-seed0"
    assert model_id("lora", "mini", 0.05, 12) == "lora-mini-part0.05-seed12"
