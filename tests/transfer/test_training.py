"""Whole runs on the synthetic springs."""

import contextlib
import csv
import json
import math
import multiprocessing
import random
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from xferbench.dataset import build
from xferbench.errors import DataError, StorageError, UsageError
from xferbench.functionals import Functional
from xferbench.models.chgnet.checkpoint import load_network, save_network
from xferbench.models.chgnet.model import CHGNet
from xferbench.records import Geometry, Prediction, SplitRule
from xferbench.registry import STRATEGIES
from xferbench.storage import lock
from xferbench.transfer import checkpoint, open_run, train
from xferbench.transfer.config import to_toml
from xferbench.transfer.data import samples
from xferbench.transfer.training import Job, _compare, _flat, _without_nan, less

RESULT = ("log.csv", "gradients.json", "model.pth.tar", "model.safetensors", "evaluation.json", "run.json")


def results(directory):
    """Bytes of everything that decides what a run is; of the checkpoint those of its contents, since pickle's depend on history."""
    files = {name: (directory / name).read_bytes() for name in RESULT}
    return files | {
        checkpoint.CHECKPOINT: plain_values(torch.load(directory / checkpoint.CHECKPOINT, weights_only=True))
    }


def plain_values(value):
    """Tensors as type and bytes."""
    if isinstance(value, dict):
        return {name: plain_values(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_values(item) for item in value]
    return (value.dtype, value.numpy().tobytes()) if isinstance(value, torch.Tensor) else value


@pytest.fixture(scope="module")
def finished(paired, tiny, tmp_path_factory):
    """An uninterrupted run of two epochs."""
    return train(paired, tmp_path_factory.mktemp("runs") / "whole", tiny())


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_trains_exports_and_is_evaluated(strategy, paired, tiny, tmp_path):
    run = train(paired, tmp_path / "run", tiny(strategy=strategy, epochs=1, batch_size=16))
    assert run.finished
    assert run.method == f"{strategy}+fit"
    evaluation = run.evaluation
    assert evaluation["test"]["n_failed"] == 0
    assert 0 < evaluation["test"]["energy"] < 20
    assert 0 < evaluation["source_test"]["forces"] < 5
    assert (evaluation["source_test_before"] is None) == (strategy == "scratch")
    ids = {frame.frame_id for frame in paired.frames("target", "test")}
    assert {record.frame_id for record in run.predictions("test").records} == ids


def test_training_lowers_the_loss_and_the_validation_error(paired, tiny, tmp_path):
    run = train(paired, tmp_path / "run", tiny(epochs=12, loss={"energy": 3, "forces": 1}))
    log = run.log
    assert [row["epoch"] for row in log] == list(range(13))
    assert log[-1]["loss"] < 0.5 * log[1]["loss"]
    best = min(log[1:], key=lambda row: row["val_energy"])
    assert run.best_epoch == best["epoch"]
    assert run.evaluation["val"]["energy"] == pytest.approx(best["val_energy"], rel=1e-5)
    assert best["val_energy"] < log[0]["val_energy"]


def test_one_seed_gives_one_result_and_another_seed_another(paired, tiny, finished, tmp_path):
    again = train(paired, tmp_path / "again", tiny())
    assert results(again.directory) == results(finished.directory)
    other = train(paired, tmp_path / "other", tiny(seed=1))
    assert results(other.directory)["log.csv"] != results(finished.directory)["log.csv"]


def test_a_run_that_is_killed_at_any_moment_resumes_to_the_same_bytes(paired, tiny, tmp_path):
    """A real process with a checkpoint at every step, killed at random moments, the first ones before any step."""
    config = tiny(references="fit:after=8", epochs=4, save_steps=1, ema=0.9, clip=1.0, warmup=1.0)
    whole = train(paired, tmp_path / "whole", config)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["xferbench.transfer"])
    out, rng, kills = tmp_path / "killed", random.Random(0), 0
    while not open_run_finished(out):
        process = context.Process(target=train, args=(paired, out, config), kwargs={"resume": True})
        process.start()
        # counted in checkpoints, not in seconds: how fast the machine is does not matter
        wait_for_checkpoints(out / checkpoint.CHECKPOINT, process, 0 if kills < 2 else rng.randint(1, 7))
        process.join(rng.uniform(0, 0.1))
        if process.is_alive():
            process.kill()
            kills += 1
        process.join()
        assert process.exitcode in {0, -9}
    assert kills > 3
    assert results(out) == results(whole.directory)


def wait_for_checkpoints(path, process, number):
    """Until a process has written so many checkpoints, or has ended."""
    seen = set()
    while len(seen) <= number and process.is_alive():
        if path.exists():
            with contextlib.suppress(FileNotFoundError):
                seen.add(path.stat().st_mtime_ns)
        elif not number:
            return
        process.join(0.002)


def open_run_finished(out):
    try:
        return open_run(out).finished
    except StorageError:
        return False


@pytest.mark.parametrize("stop_at", [1, 2, 4, 7])
def test_a_run_whose_disk_fills_up_continues_to_the_same_bytes(
    *, stop_at, paired, tiny, finished, tmp_path, monkeypatch
):
    calls, save = [], checkpoint.save

    def full(*arguments):
        calls.append(1)
        if len(calls) == stop_at:
            raise StorageError("cannot write checkpoint.pt: No space left on device")
        save(*arguments)

    monkeypatch.setattr(checkpoint, "save", full)
    config = tiny(save_steps=1)
    with pytest.raises(StorageError, match="No space left"):
        train(paired, tmp_path / "run", config)
    train(paired, tmp_path / "run", config, resume=True)
    assert results(tmp_path / "run") == results(finished.directory)


def test_a_run_that_was_asked_to_stop_continues_to_the_same_bytes(paired, tiny, finished, tmp_path):
    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt, match="stopped after 1 epochs"):
        train(paired, out, tiny(epoch_limit=1))
    assert not open_run(out).finished
    train(paired, out, tiny(), resume=True)
    assert results(out) == results(finished.directory)


@pytest.fixture(scope="module")
def dropping(tiny, tmp_path_factory):
    """``dropping(**settings)``: those of a start with dropout in its read-out."""
    path = tmp_path_factory.mktemp("dropout") / "start.pth.tar"
    bare = load_network(Path(tiny().model.removeprefix("chgnet:")))
    network = CHGNet(replace(bare.settings, mlp_dropout=0.3))
    network.load_state_dict(bare.state_dict())
    save_network(network, path)
    return partial(tiny, model=f"chgnet:{path}", save_steps=1)


def test_dropout_is_of_the_seed_too(paired, dropping, finished, tmp_path):
    whole = train(paired, tmp_path / "whole", dropping())
    torch.rand(7)  # whatever was drawn before
    again = train(paired, tmp_path / "again", dropping())
    assert results(again.directory) == results(whole.directory)
    assert whole.log[0]["val_energy"] == finished.log[0]["val_energy"]
    assert whole.log[1]["loss"] != finished.log[1]["loss"]


@pytest.mark.parametrize("stop_at", [1, 2, 4])
def test_a_run_with_dropout_that_stopped_within_an_epoch_continues_to_the_same_bytes(
    stop_at, paired, dropping, tmp_path, monkeypatch
):
    whole = train(paired, tmp_path / "whole", dropping())
    calls, save = [], checkpoint.save

    def interrupted(*arguments):
        save(*arguments)
        calls.append(1)
        if len(calls) == stop_at:
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(paired, tmp_path / "run", dropping())
    torch.rand(7)
    train(paired, tmp_path / "run", dropping(), resume=True)
    assert results(tmp_path / "run") == results(whole.directory)


def test_torch_is_left_as_it_was(paired, tiny, tmp_path):
    before = torch.get_num_threads(), torch.get_float32_matmul_precision()
    random = torch.get_rng_state()
    run = train(paired, tmp_path / "run", tiny(strategy="head", references="fit", epochs=1, matmul="medium", threads=1))
    assert run.finished
    assert (torch.get_num_threads(), torch.get_float32_matmul_precision()) == before
    assert torch.equal(torch.get_rng_state(), random)


def test_a_finished_run_is_returned_as_it_is(paired, tiny, finished):
    before = {path: path.stat().st_mtime_ns for path in finished.directory.rglob("*") if path.suffix != ".lock"}
    again = train(paired, finished.directory, tiny(), resume=True)
    assert again.finished
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_run_is_not_overwritten(paired, tiny, finished):
    with pytest.raises(UsageError, match=r"there is a run in .*whole; continue it with --resume"):
        train(paired, finished.directory, tiny())


def test_another_run_is_not_continued(paired, tiny, finished):
    with pytest.raises(UsageError) as caught:
        train(paired, finished.directory, tiny(strategy="finetune", references="source", lr=0.5), resume=True)
    message = str(caught.value)
    assert "config.lr is 0.01 there and 0.5 here" in message
    assert "config.references is 'fit' there and 'source' here" in message


def test_two_processes_do_not_train_in_one_place(paired, tiny, tmp_path):
    with lock(tmp_path / "run"), pytest.raises(StorageError, match="is being written by another run"):
        train(paired, tmp_path / "run", tiny(strategy="head", references="fit"))


def test_subsets_train_on_less(paired, tiny, tmp_path):
    run = train(
        paired, tmp_path / "run", tiny(strategy="zero-shot", references="fit", subset=0.7, reference_data="train")
    )
    assert run.record["training"]["pairs"] < len(paired.pairs("train"))
    assert run.record["references"]["n_frames"] == len(paired.pairs("train"))
    assert run.record["model_id"] == "chgnet-tiny-zero-shot-fit-synthetic-part0.7-seed0"


def test_a_subset_without_the_elements_of_validation_is_an_error(paired, tiny, tmp_path):
    """The first subset with anything in it: one material."""
    keys = [key for table in paired.tables("target", "train") for key in table["subset_key"].to_pylist()]
    config = tiny(subset=min(keys) * 1.0001)
    with pytest.raises(
        DataError, match=r"none of \d+ validation frames can pick a checkpoint: .* reference_data = train"
    ):
        train(paired, tmp_path / "run", config)


def test_weights_that_leave_the_finite_stop_the_run_with_frames(paired, tiny, tmp_path):
    with pytest.raises(DataError) as caught:
        train(paired, tmp_path / "run", tiny(lr=1e30, optimizer="sgd"))
    assert "not finite" in str(caught.value) or "is nan" in str(caught.value) or "is inf" in str(caught.value)
    ids = [frame.frame_id for frame in paired.frames("target")]
    assert any(frame_id in str(caught.value) for frame_id in ids)


def test_labels_less_the_prediction_of_a_frozen_network(paired, model):
    frames = paired.frames("target", "train")[:2]
    learned = samples(frames, model)
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
    assert record["trained_parameters"]["network"] > 500


def test_gradients_have_the_first_epoch(finished, paired):
    entries = json.loads((finished.directory / "gradients.json").read_text())["first_epoch"]
    assert entries[0]["step"] == 0
    assert len(entries) == min(10, -(-len(paired.pairs("train")) // 4))
    assert all(value >= 0 for value in entries[0]["gradient_norms"].values())
    assert "references" not in entries[0]["gradient_norms"]


def test_timing_says_how_long_data_were_waited_for(finished):
    rows = list(csv.DictReader((finished.directory / "timing.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert all(0 <= float(row["waiting_for_data"]) < 1 for row in rows)


TWO = """
import sys
from pathlib import Path
from xferbench.dataset import Dataset
from xferbench.transfer import make_config, train

config = make_config(path=Path(sys.argv[1]))
train(Dataset.open(Path(sys.argv[2])), Path(sys.argv[3]), config)
"""


def test_two_processes_train_as_one(paired, tiny, tmp_path):
    """Torchrun with gloo; the last batch has one frame, of which the second process gets none."""
    n = len(paired.pairs("train"))
    config = tiny(epochs=2, optimizer="sgd", lr=1e-3, batch_size=next(s for s in (4, 5, 7) if n % s == 1), seed=2)
    alone = train(paired, tmp_path / "alone", config)
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
    start = load_network(Path(alone.config.model.removeprefix("chgnet:"))).state_dict()
    assert max(float((one[name] - start[name]).abs().max()) for name in one) > 1e-4
    for a, b in zip(alone.log, together.log, strict=True):
        for name in ("val_energy", "val_forces"):
            assert a[name] == pytest.approx(b[name], rel=1e-3)
    assert alone.log[1]["train_energy"] == pytest.approx(together.log[1]["train_energy"], rel=1e-3)
    assert alone.log[1]["loss"] == pytest.approx(together.log[1]["loss"], rel=1e-3)


@pytest.fixture
def job(paired, tiny, tmp_path, alone):
    """``job(strategy, **settings)`` -> what ``train`` works with, before it trains."""

    def make(strategy, data=paired, **settings):
        return Job(data, tmp_path / "run", tiny(strategy=strategy, **settings), alone, lambda _: None)

    return make


@pytest.mark.parametrize(("strategy", "share"), [("head", 0), ("replay", 0.25), ("multi-fidelity", 1)])
def test_a_strategy_learns_from_its_share_of_source_frames(strategy, share, job, paired):
    learned, left_out = job(strategy).samples()
    n = len(paired.pairs("train"))
    source = [sample.frame_id for sample in learned if sample.side == "source"]
    assert len(source) == math.ceil(share * n)
    assert len(set(source)) == len(source)
    assert set(source) <= {frame.frame_id for frame in paired.frames("source", "train")}
    target = [s.frame_id for s in learned if s.side == "target"]
    assert target == [f.frame_id for f in paired.frames("target", "train")]
    assert left_out == []


def test_the_seed_decides_which_source_frames_are_repeated(job):
    def repeated(seed):
        return [sample.frame_id for sample in job("replay", seed=seed).samples()[0] if sample.side == "source"]

    assert repeated(0) == repeated(0)
    assert len({tuple(repeated(seed)) for seed in range(4)}) > 1


def test_delta_learns_what_the_start_leaves(job, paired):
    made = job("delta")
    learned, _ = made.samples()
    frames = paired.frames("target", "train")
    found = made.evaluator(frames).predict(made.transfer.base)
    for sample, frame, base in zip(learned, frames, found, strict=True):
        assert sample.energy * frame.n_atoms + base.energy == pytest.approx(frame.energy, abs=1e-5)
        np.testing.assert_allclose(sample.forces + base.forces, frame.forces, atol=1e-6)


def test_a_bad_start_is_said_and_a_good_one_is_not(paired, tiny, tmp_path):
    told = {}
    for references in ("source", "model-aware"):
        told[references] = []
        train(
            paired, tmp_path / references, tiny(references=references, epochs=1, lr=1e-6), say=told[references].append
        )
    assert [line.split(":")[0] for line in told["model-aware"]] == ["before training", "after the first epoch"]
    before, warning, *_ = told["source"]
    assert before.startswith("before training: validation errors ")
    assert "times less than this run before training with references source; --references model-aware" in warning


def test_the_start_is_loaded_once_and_graphs_are_built_once(paired, tiny, tmp_path, monkeypatch):
    from xferbench.models.chgnet import trainable
    from xferbench.transfer import training

    loads, stores = [], []
    load, store = trainable.load_network, training.GraphStore
    monkeypatch.setattr(trainable, "load_network", lambda path: loads.append(path) or load(path))
    monkeypatch.setattr(training, "GraphStore", lambda *a: stores.append(store(*a)) or stores[-1])
    train(paired, tmp_path / "run", tiny(strategy="replay", references="model-aware", epochs=3))
    assert (len(loads), len(stores)) == (1, 1)
    assert set(stores[0].built.values()) == {1}


@pytest.fixture
def lonely(synthetic_source, tmp_path):
    """The springs, with one training frame whose atoms are 40 Å apart."""
    frames = list(synthetic_source.frames)
    place = next(i for i, frame in enumerate(frames) if frame.frame_id == "12-8-1-r2SCAN")
    frames[place] = replace(frames[place], positions=frames[place].positions * 10, cell=frames[place].cell * 10)
    rule = SplitRule(salt="training", fractions=(0.5, 0.25, 0.25), group="formula")
    return build(
        replace(synthetic_source, split=rule, frames=frames, geometry=Geometry.SAME_MATERIAL), tmp_path / "lonely"
    )


def test_frames_with_isolated_atoms_are_left_out_and_listed(lonely, tiny, tmp_path):
    split = lonely.splits["12-8"]
    run = train(lonely, tmp_path / "run", tiny(strategy="head", references="fit", epochs=1))
    expected = ["12-8-1-r2SCAN"] if split == "train" else []
    assert run.evaluation["left_out"] == expected
    failed = {name: run.evaluation[name]["n_failed"] for name in ("train", "val", "test")}
    assert failed == {name: int(name == split) for name in failed}


def test_both_functionals_are_predicted_by_a_network_that_learned_both(paired, tiny, tmp_path):
    """Without training, each surface has the references of its own labels."""
    both = train(paired, tmp_path / "both", tiny(strategy="multi-fidelity", references="fit", epochs=0))
    one = train(paired, tmp_path / "one", tiny(strategy="zero-shot", references="fit", epochs=0))
    assert both.evaluation["test"]["energy"] == pytest.approx(one.evaluation["test"]["energy"], rel=1e-4)
    assert both.evaluation["source_test"]["energy"] < 0.5 * one.evaluation["source_test"]["energy"]
    assert both.evaluation["source_test"]["forces"] == pytest.approx(one.evaluation["source_test"]["forces"], rel=1e-4)


def test_what_was_forgotten_is_measured_against_the_start(paired, tiny, tmp_path):
    still = train(paired, tmp_path / "still", tiny(strategy="finetune", references="source", epochs=0)).evaluation
    assert still["source_test"] == still["source_test_before"]
    moved = train(paired, tmp_path / "moved", tiny(strategy="finetune", references="source", epochs=3)).evaluation
    assert moved["source_test_before"] == still["source_test_before"]
    assert moved["source_test"]["forces"] != moved["source_test_before"]["forces"]


def test_references_of_their_own_rate_come_nearer_than_those_without(paired, tiny, tmp_path):
    def energy(references):
        run = train(paired, tmp_path / references, tiny(references=references, lr=1e-3))
        return run.evaluation["train"]["energy"]

    assert energy("source:lr=0.3") < 0.8 * energy("source:trainable")


def test_a_scratch_run_is_reached_in_so_many_steps(paired, tiny, tmp_path):
    scratch = train(paired, tmp_path / "scratch", tiny(strategy="scratch", references="fit", lr=1e-5))
    aware = train(paired, tmp_path / "aware", tiny(strategy="finetune", references="model-aware", epochs=1))
    assert aware.steps_to_reach(scratch)["energy"] == 0
    assert scratch.steps_to_reach(aware)["energy"] is None


@pytest.mark.parametrize("setting", [{"optimizer": "adamw", "weight_decay": 0.1}, {"max_cost": 100}, {"workers": 1}])
def test_other_ways_of_carrying_out_come_to_an_end(setting, paired, tiny, finished, tmp_path):
    run = train(paired, tmp_path / "run", tiny(**setting))
    assert run.finished
    if "workers" in setting:
        assert results(run.directory) == results(finished.directory)
    if "max_cost" in setting:
        assert run.log[-1]["loss"] == pytest.approx(finished.log[-1]["loss"], rel=1e-3)


def test_a_record_is_flattened_to_dotted_keys():
    assert _flat({"a": {"b": 1, "c": {"d": None}}, "e": []}) == {"a.b": 1, "a.c.d": None, "e": []}


def test_json_has_null_where_nothing_is_labelled():
    assert _without_nan({"a": {"b": math.nan, "c": 1.0}, "d": [2]}) == {"a": {"b": None, "c": 1.0}, "d": [2]}


def test_all_frames_for_training_are_learned_from_and_fitted(relaxed, job):
    pairs, frames = relaxed.frames("target", "train"), relaxed.frames("target-frames", "train")
    assert len(frames) > len(pairs)
    whole = job("head", relaxed)
    assert [sample.frame_id for sample in whole.samples()[0]] == [frame.frame_id for frame in frames]
    assert whole.transfer.references.n_frames == len(frames)
    assert whole.record()["training"]["frames"] == len(frames)
    few = job("head", relaxed, frames="pairs")
    assert [sample.frame_id for sample in few.samples()[0]] == [frame.frame_id for frame in pairs]
    assert few.transfer.references.n_frames == len(pairs)


def test_subsets_of_frames_are_of_the_same_materials_as_those_of_pairs(relaxed, job):
    part = job("head", relaxed, subset=0.7, reference_data="train")
    materials = {pair.material_id for pair in part.data.pairs}
    assert {frame.material_id for frame in part.data.frames} == materials
    assert part.transfer.references.n_frames == len(relaxed.frames("target-frames", "train"))


def test_a_run_on_all_frames_ends(relaxed, tiny, tmp_path):
    run = train(relaxed, tmp_path / "run", tiny(strategy="delta", references="fit", epochs=1))
    assert run.evaluation["train"]["n_frames"] == len(relaxed.frames("target", "train"))
    for split in ("val", "test"):
        every = [frame.frame_id for frame in relaxed.frames("target-frames", split)]
        assert len(every) > len(relaxed.frames("target", split))
        assert [record.frame_id for record in run.predictions(split).records] == every


def test_data_without_pairs_are_refused(synthetic_source, tiny, tmp_path):
    alone = [replace(f, pair_id="") for f in synthetic_source.frames if f.functional is Functional("r2SCAN")]
    data = build(replace(synthetic_source, geometry=Geometry.UNPAIRED, frames=alone), tmp_path / "alone")
    with pytest.raises(DataError, match="no partners, so nothing can be compared"):
        train(data, tmp_path / "run", tiny(strategy="head", references="fit"))
    assert not (tmp_path / "run").exists()


def test_fitted_references_may_differ_by_rounding_but_given_ones_are_another_run(tmp_path):
    before = {"references": {"mae": 0.1, "digest": "sha256:1"}}
    _compare(before, {"references": {"mae": 0.2, "digest": "sha256:1"}}, tmp_path)
    with pytest.raises(UsageError, match=r"references\.digest is 'sha256:1' there and 'sha256:2' here; choose another"):
        _compare(before, {"references": {"mae": 0.1, "digest": "sha256:2"}}, tmp_path)
