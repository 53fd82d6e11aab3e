import hashlib
import io
import math
from contextlib import redirect_stdout

import numpy as np
import pytest
import safetensors.torch
import torch

from xferbench.board.cards import read_card
from xferbench.errors import StorageError
from xferbench.models import load, parse_spec
from xferbench.models.chgnet.checkpoint import load_network
from xferbench.models.trainable import trainable
from xferbench.references.composition import atomic_number
from xferbench.registry import STRATEGIES
from xferbench.storage import write_json
from xferbench.transfer import make_config, train
from xferbench.transfer.run import card, is_run, model_id, open_run


@pytest.fixture
def started(tmp_path, tiny):
    write_json(tmp_path / "run.json", {"method": "finetune+fit", "config": tiny(seed=4).recipe()})
    (tmp_path / "log.csv").write_text(
        "epoch,step,val_energy,val_forces,val_stress,val_magmoms\n0,0,3,2,1,\n1,5,1,1,1,\n"
    )
    return tmp_path


def test_a_started_run_knows_its_method_settings_and_log(started, tiny):
    run = open_run(started)
    assert run.method == "finetune+fit"
    assert run.config.recipe() == tiny(seed=4).recipe()
    assert [row["val_energy"] for row in run.log] == [3, 1]
    assert math.isnan(run.log[0]["val_magmoms"])
    assert not run.finished


@pytest.mark.parametrize("ask", ["evaluation", "best_epoch", "model", "weights"])
def test_what_only_a_finished_run_has_says_how_to_go_on(ask, started):
    with pytest.raises(StorageError, match="is not finished; continue it with --resume"):
        getattr(open_run(started), ask)


def test_a_finished_run_without_a_file_names_it(started):
    write_json(started / "evaluation.json", {"best_epoch": 3})
    run = open_run(started)
    assert (run.finished, run.best_epoch) == (True, 3)
    with pytest.raises(StorageError, match=r"model\.py is missing; train again"):
        _ = run.model
    with pytest.raises(StorageError, match=r"source-test\.parquet is missing"):
        run.predictions("source-test")


def test_a_directory_without_a_run_is_one_line(tmp_path):
    assert not is_run(tmp_path)
    with pytest.raises(StorageError, match=r"no run in .*: run\.json is missing; make one with `xferbench train`"):
        open_run(tmp_path)


def test_steps_to_reach_another_run(started):
    run = open_run(started)
    assert run.steps_to_reach(run) == {"energy": 5, "forces": 5, "stress": 0, "magmoms": None}


@pytest.fixture(scope="module")
def runs(paired, tiny, tmp_path_factory):
    """A trained run of each kind of export."""
    directory = tmp_path_factory.mktemp("runs")
    return {
        strategy: train(paired, directory / strategy, tiny(strategy=strategy, epochs=1, batch_size=16))
        for strategy in ("finetune", "lora", "multi-fidelity", "delta")
    }


@pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad")  # chgnet.model.model makes volumes so
@pytest.mark.parametrize("strategy", ["finetune", "lora", "multi-fidelity"])
def test_chgnet_loads_the_weights_and_predicts_the_same(strategy, runs, paired):
    chgnet = pytest.importorskip("chgnet.model.model")
    from pymatgen.io.ase import AseAtomsAdaptor

    run = runs[strategy]
    with redirect_stdout(io.StringIO()):
        theirs = chgnet.CHGNet.from_file(str(run.weights))
    frames = paired.frames("target", "test")
    found = {record.frame_id: record for record in run.predictions("test").records}
    for frame in frames[:3]:
        result = theirs.predict_structure(AseAtomsAdaptor.get_structure(frame.atoms()))
        assert float(result["e"]) == pytest.approx(found[frame.frame_id].energy / frame.n_atoms, abs=1e-5)
        np.testing.assert_allclose(result["f"], found[frame.frame_id].forces, atol=1e-4)
        np.testing.assert_allclose(result["m"], found[frame.frame_id].magmoms, atol=1e-5)


@pytest.mark.parametrize("strategy", ["finetune", "delta"])
def test_the_model_file_predicts_what_the_run_did(strategy, runs, paired):
    run = runs[strategy]
    model = load(parse_spec(str(run.model)))
    frames = paired.frames("target", "test")
    results = model.predict([frame.atoms() for frame in frames])
    found = {record.frame_id: record for record in run.predictions("test").records}
    for frame, result in zip(frames, results, strict=True):
        assert result["energy"] == pytest.approx(found[frame.frame_id].energy, abs=1e-4)
        np.testing.assert_allclose(result["forces"], found[frame.frame_id].forces, atol=1e-5)
        np.testing.assert_allclose(result["stress"], found[frame.frame_id].stress, atol=1e-6)


@pytest.mark.parametrize("strategy", ["finetune", "delta"])
def test_the_model_file_declares_elements_and_references(strategy, runs):
    run = runs[strategy]
    model = load(parse_spec(str(run.model)))
    assert model.functional == "r2SCAN"
    assert model.supported_elements == {"Li", "O", "Mg", "Cl"}
    kind, _ = trainable(run.config.model)
    tables = [kind.load(str(run.weights)).reference_energies()]
    if strategy == "delta":
        tables.append(kind.load(str(run.directory / "base-model.pth.tar")).reference_energies())
    table = sum(tables)
    for symbol, energy in model.references.items():
        assert energy == pytest.approx(table[atomic_number(symbol) - 1])


def test_other_weights_are_another_model_file(runs, paired, tiny, tmp_path):
    """Predictions that a model file made are continued by its text: name and references alone do not tell runs apart."""
    run = runs["finetune"]
    other = train(paired, tmp_path / "run", tiny(epochs=1, batch_size=16, lr=1e-4))
    assert other.record["model_id"] == run.record["model_id"]
    same, different = run.model.read_text(), other.model.read_text()
    hashes = [hashlib.sha256((it.directory / "model.pth.tar").read_bytes()).hexdigest() for it in (run, other)]
    assert same.replace(hashes[0], hashes[1]) == different != same


def test_safetensors_hold_the_same_weights(runs):
    run = runs["lora"]
    weights = safetensors.torch.load_file(run.directory / "model.safetensors")
    for name, value in load_network(run.weights).state_dict().items():
        same = weights["references"] if name.startswith("composition_model") else weights[f"network.{name}"]
        assert torch.equal(same, value)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_card_follows_the_schema_of_cards(strategy, runs, tmp_path):
    config = make_config(strategy=strategy, model="chgnet:0.3.0", seed=3)
    identity = model_id(config, "mini")
    record = {**runs["lora"].record, "method": config.method, "model_id": identity, "config": config.recipe()}
    path = tmp_path / f"{identity}.toml"
    path.write_text(card(record, 412_525, "CHGNet", ("energy", "forces")))
    found = read_card(path)
    assert (found.base_model is None) == (strategy == "scratch")
    assert found.training_sets == (("synthetic",) if strategy == "scratch" else ("MPtrj", "synthetic"))
    if found.transfer is not None:
        assert (found.transfer.strategy, found.transfer.references) == (strategy, config.references)
        assert found.transfer.n_train == record["training"]["frames"]


def test_names_are_model_ids():
    first = make_config(strategy="lora", references="source:lr=0.3")
    assert model_id(first, "MatPES 2025.1") == "chgnet-0.3.0-lora-source-lr-0.3-matpes-2025.1-seed0"
    second = make_config(strategy="lora", model="chgnet:a/b.pth.tar", subset=0.05, seed=12)
    assert model_id(second, "mini") == "chgnet-b-lora-model-aware-mini-part0.05-seed12"
