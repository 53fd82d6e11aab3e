"""Whole runs on the synthetic springs."""

import csv
import json
import multiprocessing
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from xferbench.errors import DataError, StorageError, UnknownNameError, UsageError
from xferbench.models.chgnet.checkpoint import load_network
from xferbench.records import Prediction
from xferbench.registry import METHODS
from xferbench.storage import lock
from xferbench.transfer import open_run, samples, state, train
from xferbench.transfer.config import to_toml
from xferbench.transfer.training import less

NEED_A_FILE = {"finetune-isolated-atoms"}
RESULT = ("log.csv", "health.json", "model.pth.tar", "model.safetensors", "evaluation.json", "run.json")


def results(directory):
    """Bytes of everything that decides what a run is."""
    return {name: (directory / name).read_bytes() for name in RESULT}


@pytest.fixture(scope="module")
def finished(paired, tiny, tmp_path_factory):
    """An uninterrupted run of two epochs."""
    return train("finetune-refit-refs", paired, tmp_path_factory.mktemp("runs") / "whole", tiny())


@pytest.mark.parametrize("method", sorted(METHODS.keys() - NEED_A_FILE))
def test_every_method_trains_exports_and_is_evaluated(method, paired, tiny, tmp_path):
    run = train(method, paired, tmp_path / "run", tiny(epochs=1, batch_size=16))
    assert run.finished
    assert run.method == method
    evaluation = run.evaluation
    assert evaluation["test"]["n_failed"] == 0
    assert 0 < evaluation["test"]["energy"] < 20
    assert 0 < evaluation["gga_test"]["forces"] < 5
    assert (evaluation["gga_test_before"] is None) == (method == "scratch")
    ids = {frame.frame_id for frame in paired.frames("r2scan", "test")}
    assert {record.frame_id for record in run.predictions("test").records} == ids


def test_training_lowers_the_loss_and_the_validation_error(paired, tiny, tmp_path):
    run = train("finetune-refit-refs", paired, tmp_path / "run", tiny(epochs=12, loss={"energy": 3, "forces": 1}))
    log = run.log
    assert [row["epoch"] for row in log] == list(range(13))
    assert log[-1]["loss"] < 0.5 * log[1]["loss"]
    best = min(log[1:], key=lambda row: row["val_energy"])
    assert run.best_epoch == best["epoch"]
    assert run.evaluation["val"]["energy"] == pytest.approx(best["val_energy"], rel=1e-5)
    assert best["val_energy"] < log[0]["val_energy"]


def test_one_seed_gives_one_result_and_another_seed_another(paired, tiny, finished, tmp_path):
    again = train("finetune-refit-refs", paired, tmp_path / "again", tiny())
    assert results(again.directory) == results(finished.directory)
    other = train("finetune-refit-refs", paired, tmp_path / "other", tiny(seed=1))
    assert results(other.directory)["log.csv"] != results(finished.directory)["log.csv"]


def test_a_run_that_is_killed_at_any_moment_resumes_to_the_same_bytes(paired, tiny, tmp_path):
    """A real process, with a checkpoint at every step, killed at random moments until it gets to the end."""
    config = tiny(epochs=6, save_steps=1, ema=0.9, clip=1.0, warmup=1.0)
    whole = train("finetune-refit-refs-then-unfreeze", paired, tmp_path / "whole", config)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["xferbench.transfer"])
    out, rng, kills = tmp_path / "killed", random.Random(0), 0
    while not (out.exists() and open_run_finished(out)):
        process = context.Process(
            target=train, args=("finetune-refit-refs-then-unfreeze", paired, out, config), kwargs={"resume": True}
        )
        process.start()
        # later and later, so that the run ends however slow the machine is
        process.join(rng.uniform(0.2, 1.0) * (1 + kills / 4))
        if process.is_alive():
            process.kill()
            kills += 1
        process.join()
        assert process.exitcode in {0, -9}
    assert kills
    assert results(out) == results(whole.directory)


def open_run_finished(out):
    try:
        return open_run(out).finished
    except StorageError:
        return False


@pytest.mark.parametrize("stop_at", [1, 2, 4, 7])
def test_a_run_whose_disk_fills_up_continues_to_the_same_bytes(
    *, stop_at, paired, tiny, finished, tmp_path, monkeypatch
):
    calls, save = [], state.save

    def full(*arguments):
        calls.append(1)
        if len(calls) == stop_at:
            raise StorageError("cannot write checkpoint.pt: No space left on device")
        save(*arguments)

    monkeypatch.setattr(state, "save", full)
    config = tiny(save_steps=1)
    with pytest.raises(StorageError, match="No space left"):
        train("finetune-refit-refs", paired, tmp_path / "run", config)
    train("finetune-refit-refs", paired, tmp_path / "run", config, resume=True)
    assert results(tmp_path / "run") == results(finished.directory)


def test_a_run_that_was_asked_to_stop_continues_to_the_same_bytes(paired, tiny, finished, tmp_path):
    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt, match="stopped after 1 epochs"):
        train("finetune-refit-refs", paired, out, tiny(epoch_limit=1))
    assert not open_run(out).finished
    train("finetune-refit-refs", paired, out, tiny(), resume=True)
    assert results(out) == results(finished.directory)


def test_a_finished_run_is_returned_as_it_is(paired, tiny, finished):
    before = {path: path.stat().st_mtime_ns for path in finished.directory.rglob("*") if path.suffix != ".lock"}
    again = train("finetune-refit-refs", paired, finished.directory, tiny(), resume=True)
    assert again.finished
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_run_is_not_overwritten(paired, tiny, finished):
    with pytest.raises(UsageError, match=r"there is a run in .*whole; continue it with --resume"):
        train("finetune-refit-refs", paired, finished.directory, tiny())


def test_another_run_is_not_continued(paired, tiny, finished):
    with pytest.raises(UsageError) as caught:
        train("finetune-frozen-refs", paired, finished.directory, tiny(lr=0.5), resume=True)
    message = str(caught.value)
    assert "config.lr is 0.01 there and 0.5 here" in message
    assert "method is 'finetune-refit-refs' there and 'finetune-frozen-refs' here" in message


def test_two_processes_do_not_train_in_one_place(paired, tiny, tmp_path):
    with lock(tmp_path / "run"), pytest.raises(StorageError, match="is being written by another run"):
        train("head-only", paired, tmp_path / "run", tiny())


def test_an_unknown_method_costs_no_training(paired, tiny, tmp_path):
    with pytest.raises(UnknownNameError, match="did you mean 'head-only'"):
        train("head", paired, tmp_path / "run", tiny())
    assert not (tmp_path / "run").exists()


def test_subsets_train_on_less(paired, tiny, tmp_path):
    run = train("zero-shot", paired, tmp_path / "run", tiny(subset=0.7, reference_data="train"))
    assert run.record["training"]["pairs"] < len(paired.pairs("train"))
    assert run.record["references"]["n_frames"] == len(paired.pairs("train"))
    assert run.record["model_id"] == "zero-shot-synthetic-part0.7-seed0"


def test_a_subset_without_the_elements_of_validation_is_an_error(paired, tiny, tmp_path):
    """The first subset with anything in it: one material."""
    keys = [key for table in paired.tables("r2scan", "train") for key in table["subset_key"].to_pylist()]
    config = tiny(subset=min(keys) * 1.0001)
    with pytest.raises(
        DataError, match=r"none of \d+ validation frames can pick a checkpoint: .* reference_data = train"
    ):
        train("head-only", paired, tmp_path / "run", config)


def test_weights_that_leave_the_finite_stop_the_run_with_frames(paired, tiny, tmp_path):
    with pytest.raises(DataError) as caught:
        train("finetune-refit-refs", paired, tmp_path / "run", tiny(lr=1e30, optimizer="sgd"))
    assert "not finite" in str(caught.value) or "is nan" in str(caught.value) or "is inf" in str(caught.value)
    ids = [frame.frame_id for frame in paired.frames("r2scan")]
    assert any(frame_id in str(caught.value) for frame_id in ids)


def test_labels_less_the_prediction_of_a_frozen_network(paired):
    frames = paired.frames("r2scan", "train")[:2]
    learned = samples.samples(frames)
    base = [
        Prediction(
            frame_id=f.frame_id, energy=2.0 * f.n_atoms, forces=f.forces, stress=f.stress, magmoms=np.ones(f.n_atoms)
        )
        for f in frames
    ]
    first = less(learned, base)[0]
    assert first.energy == pytest.approx(learned[0].energy - 2.0)
    assert not first.forces.any()
    np.testing.assert_allclose(first.stress, 0, atol=1e-9)
    assert np.array_equal(first.magmoms, learned[0].magmoms, equal_nan=True)
    with pytest.raises(DataError, match=f"cannot predict training frames {frames[1].frame_id}"):
        less(learned, [base[0], replace(base[1], error="no", energy=None)])


def test_the_record_says_what_decides_the_result(finished, paired):
    record = json.loads((finished.directory / "run.json").read_text())
    assert record["dataset"] == {"name": "synthetic", "version": "1", "fingerprint": paired.fingerprint}
    assert record["training"]["pairs"] == len(paired.pairs("train"))
    assert record["versions"].keys() == {"chgnet", "numpy", "torch", "xferbench"}
    assert record["trained_weights"]["network"] > 500


def test_health_has_the_first_epoch(finished, paired):
    entries = json.loads((finished.directory / "health.json").read_text())["first_epoch"]
    assert entries[0]["step"] == 0
    assert len(entries) == min(10, -(-len(paired.pairs("train")) // 4))
    assert all(value >= 0 for value in entries[0]["gradient_norms"].values())
    assert "composition_model.fc" not in entries[0]["gradient_norms"]


def test_timing_says_how_long_data_were_waited_for(finished):
    rows = list(csv.DictReader((finished.directory / "timing.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert all(0 <= float(row["waiting_for_data"]) < 1 for row in rows)


TWO = """
import sys
from pathlib import Path
from xferbench.dataset import Dataset
from xferbench.transfer import make_config, train

config = make_config("paper", path=Path(sys.argv[1]))
train("finetune-refit-refs", Dataset.open(Path(sys.argv[2])), Path(sys.argv[3]), config)
"""


def test_two_processes_train_as_one(paired, tiny, tmp_path):
    """Torchrun with gloo; the last batch has one frame, of which the second process gets none."""
    n = len(paired.pairs("train"))
    config = tiny(epochs=1, optimizer="sgd", lr=1e-3, batch_size=next(s for s in (4, 5, 7) if n % s == 1), seed=2)
    alone = train("finetune-refit-refs", paired, tmp_path / "alone", config)
    (tmp_path / "config.toml").write_text(to_toml(config))
    (tmp_path / "two.py").write_text(TWO)
    arguments = [tmp_path / "config.toml", paired.directory, tmp_path / "two"]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", tmp_path / "two.py"]
    done = subprocess.run([*command, *arguments], check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    together = open_run(tmp_path / "two")
    one, two = (load_network(run.weights).state_dict() for run in (alone, together))
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-4, atol=2e-6)
    start = load_network(Path(alone.config.start)).state_dict()
    assert max(float((one[name] - start[name]).abs().max()) for name in one) > 1e-4
    for a, b in zip(alone.log, together.log, strict=True):
        for name in ("val_energy", "val_forces"):
            assert a[name] == pytest.approx(b[name], rel=1e-3)
    assert alone.log[1]["train_energy"] == pytest.approx(together.log[1]["train_energy"], rel=1e-3)
    assert alone.log[1]["loss"] == pytest.approx(together.log[1]["loss"], rel=1e-3)
