"""Train a method on a data set, from nothing to an exported and evaluated model."""

from __future__ import annotations

import json
import math
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from xferbench import storage
from xferbench.errors import DataError, UsageError
from xferbench.models.chgnet.engine import ROWS_CPU, ROWS_GPU
from xferbench.models.chgnet.hardware import flushed_denormals, warm_heap
from xferbench.models.chgnet.reference import check_device
from xferbench.records import Predictions
from xferbench.registry import METHODS, check_name
from xferbench.tables import predictions_table, write_table
from xferbench.transfer import exporting
from xferbench.transfer.config import to_toml
from xferbench.transfer.distributed import processes
from xferbench.transfer.evaluating import NOT_FINITE, Evaluator, errors, offsets
from xferbench.transfer.loop import Loop
from xferbench.transfer.method import Setting, build, plain
from xferbench.transfer.run import CONFIG, EVALUATION, PREDICTIONS, RECORD, Run, is_run, open_run
from xferbench.transfer.samples import (
    listed,
    samples,
    training_facts,
    training_frames,
    training_pairs,
    with_graphs,
)
from xferbench.units import EV_PER_A3_IN_GPA

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from xferbench.dataset import Dataset
    from xferbench.models.chgnet.model import CHGNet
    from xferbench.records import Frame, Pair, Prediction
    from xferbench.transfer.config import TrainConfig
    from xferbench.transfer.distributed import Processes
    from xferbench.transfer.samples import Sample

PACKAGES = ("chgnet", "numpy", "torch", "xferbench")
"""Whose versions are recorded: they can move the result."""


def train(
    method: str, dataset: Dataset, out: Path, config: TrainConfig, *, resume: bool = False, progress: bool = False
) -> Run:
    """Train, or continue to train; a finished run is returned as it is.

    Started by ``torchrun``, all processes call this and train together.

    Args:
        method: Name in ``registry.METHODS``.
        dataset: With pairs; train is learned from, val picks the checkpoint, test is evaluated at the end.
        out: Directory of the run, see ``run``.
        config: Settings.
        resume: Whether a run that is there may be continued; its settings must be the same.
        progress: Whether to show a bar on stderr.

    Raises:
        UnknownNameError: No such method.
        UsageError: There is a run already, or another one than asked for.
        DataError: The data do not suffice, or the loss is not finite; the message names the frames.
        StorageError: The disk refuses, or another process trains there.
        KeyboardInterrupt: Stopped from outside; the run can be resumed.
    """
    check_name("method", method, METHODS)
    check_device(config.device)
    dataset.check_structures()
    dataset.check_pairs()
    with processes(config.device) as mine, storage.lock(out) if mine.is_first else nullcontext():
        # all processes look before the first one writes
        if any(mine.gather(is_run(out))) and not resume:
            raise UsageError(f"there is a run in {out}; continue it with --resume, or choose another directory")
        finished = any(mine.gather((out / EVALUATION).is_file()))
        with _torch_settings(config, mine.device):
            job = _Job(method, dataset, out, config, mine)
            job.start()
            if not finished:
                job.train(progress=progress)
        mine.gather(None)
    return open_run(out)


@contextmanager
def _torch_settings(config: TrainConfig, device: torch.device) -> Iterator[None]:
    """Threads, precision and random numbers of their own within the block; afterwards as before."""
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    torch.set_num_threads(config.threads or threads)
    torch.set_float32_matmul_precision(config.matmul)
    warm_heap()
    try:
        with flushed_denormals(), torch.random.fork_rng([device] if device.type == "cuda" else []):
            yield
    finally:
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(precision)


class _Job:
    """One call of ``train``."""

    def __init__(self, method: str, dataset: Dataset, out: Path, config: TrainConfig, mine: Processes) -> None:
        self.method, self.dataset, self.out, self.config, self.mine = method, dataset, out, config, mine
        on_cpu = mine.device.type == "cpu"
        self.max_rows = config.max_rows or (ROWS_CPU if on_cpu else ROWS_GPU)
        self.workers = config.workers if config.workers is not None else (0 if on_cpu else 4)
        self.family = dataset.learned_from(config.frames)
        self.pairs, more = self._training(config.subset)
        self.frames = [pair.r2scan for pair in self.pairs] if more is None else more
        pairs, more = self._training(1.0) if config.reference_data == "train" else (self.pairs, more)
        self.setting = Setting(
            config=config, pairs=pairs, device=mine.device, more=more, atom_energies=dataset.atom_energies
        )
        self.student = build(method, self.setting)

    def _training(self, subset: float) -> tuple[list[Pair], list[Frame] | None]:
        """Pairs, and all r2SCAN frames if there are others."""
        return training_pairs(self.dataset, subset), training_frames(self.dataset, self.family, subset)

    def start(self) -> None:
        """Write the record of the run, or compare it with the one that is there."""
        record = self.record()
        if is_run(self.out):
            _compare(open_run(self.out).record, record, self.out)
        elif self.mine.is_first:
            storage.write_text(self.out / CONFIG, to_toml(self.config))
            storage.write_json(self.out / RECORD, record)

    def record(self) -> dict[str, Any]:
        """What decides the result, as plain values."""
        data, config = self.dataset, self.config
        return {
            "method": self.method,
            "model_id": exporting.model_id(self.method, data.name, config.subset, config.seed),
            "config": config.recipe(),
            "dataset": {"name": data.name, "version": data.version, "fingerprint": data.fingerprint},
            "training": training_facts(self.pairs, self.frames),
            "references": self.student.references.facts(),
            "trained_weights": {
                group.name: sum(self.student.network.get_parameter(name).numel() for name in group.weights)
                for group in self.student.groups
            },
            "versions": {name: metadata.version(name) for name in PACKAGES},
        }

    def train(self, *, progress: bool) -> None:
        """Train to the end, then export and evaluate."""
        student, mine = self.student, self.mine
        student.network.to(mine.device)
        validation = self.evaluator(self.dataset.frames(self.family, "val"), student.base)
        learned, left_out = self.samples()
        loop = Loop(
            student=student,
            samples=learned,
            validate=lambda network: _validation_errors(validation, network),
            config=self.config,
            processes=mine,
            directory=self.out,
            max_rows=self.max_rows,
            workers=self.workers,
        )
        loop.resume()
        state = loop.run(progress=progress)
        student.network.load_state_dict(state.best_weights)
        self.finish({"best_epoch": state.best_epoch, "left_out": left_out})

    def evaluator(self, frames: Sequence[Frame], base: CHGNet | None = None) -> Evaluator:
        """Of networks on frames, with what a frozen network adds."""
        made = Evaluator(
            frames=frames,
            elements=self.student.references.elements,
            base=None,
            processes=self.mine,
            max_rows=self.max_rows,
        )
        return made if base is None else made.with_base(base)

    def samples(self) -> tuple[list[Sample], list[str]]:
        """What the student learns from: r2SCAN frames, less its frozen part, and its share of GGA frames.

        Returns:
            The samples, and the ids of the frames that are left out because CHGNet has no graph of them.

        Raises:
            DataError: No frame has a graph, or labels are not finite.
        """
        frames, student = self.frames, self.student
        n_gga = math.ceil(student.gga_share * len(self.pairs))
        order = np.random.default_rng([self.config.seed, len(self.pairs)]).permutation(len(self.pairs))
        chosen = [self.pairs[i].gga for i in sorted(order[:n_gga].tolist())]
        good, left_out = with_graphs(samples([*frames, *chosen]), student.network.settings)
        if not good:
            raise DataError(
                f"none of {len(frames)} training frames has a graph: {listed(left_out)} have isolated atoms"
            )
        if student.base is not None:
            frame = {frame.frame_id: frame for frame in frames}
            learned = [frame[sample.frame_id] for sample in good]
            good = less(good, self.evaluator(learned).predict(student.base))
        return good, left_out

    def finish(self, facts: dict[str, Any]) -> None:
        """Export the best weights and evaluate them; the evaluation is written last.

        Args:
            facts: Of the training, for the evaluation.
        """
        base, network = self.student.base, self.student.network
        frames = {split: self.dataset.frames(self.family, split) for split in ("val", "test")}
        frames["train"] = [pair.r2scan for pair in self.pairs]
        found = {split: self.evaluator(frames[split], base).predict(plain(network)) for split in frames}
        shift = offsets(frames["train"], found["train"])
        found["gga-test"], after = self.on_gga(lambda: plain(network, gga=self.student.has_gga), base)
        before = None if self.method == "scratch" else self.on_gga(self.setting.pretrained, None)[1]
        if not self.mine.is_first:
            return
        record = self.record()
        exporting.export(self.out, record, plain(network), base)
        for name, predictions in found.items():
            stored = Predictions(records=predictions, settings={"model": record["model_id"]})
            write_table(self.out / PREDICTIONS / f"{name}.parquet", predictions_table(stored))
        results: dict[str, Any] = {split: errors(frames[split], found[split], shift) for split in frames}
        results |= {"gga_test": after, "gga_test_before": before}
        storage.write_json(self.out / EVALUATION, _without_nan({**facts, **results}))

    def on_gga(self, network: Callable[[], CHGNet], base: CHGNet | None) -> tuple[list[Prediction], dict[str, Any]]:
        """Predictions and errors on the GGA test frames; ``energy_aligned`` with offsets fitted to GGA training frames.

        Args:
            network: Makes one to be used up.
            base: To be added to it.
        """
        train, test = [pair.gga for pair in self.pairs], self.dataset.frames("gga", "test")
        shift = offsets(train, self.evaluator(train, base).predict(network()))
        predictions = self.evaluator(test, base).predict(network())
        return predictions, errors(test, predictions, shift)


def less(learned: Sequence[Sample], base: Sequence[Prediction]) -> list[Sample]:
    """Labels minus what a frozen network predicts; magnetic moments stay whole.

    Raises:
        DataError: It cannot predict a frame.
    """
    failed = [found.frame_id for found in base if found.error is not None]
    if failed:
        raise DataError(f"the frozen network cannot predict training frames {listed(failed)}; leave them out")
    return [
        replace(
            sample,
            energy=sample.energy - float(found.energy or 0) / len(sample.atoms),
            forces=sample.forces - np.asarray(found.forces),
            stress=sample.stress - np.asarray(found.stress) * EV_PER_A3_IN_GPA,
        )
        for sample, found in zip(learned, base, strict=True)
    ]


def _validation_errors(validation: Evaluator, network: CHGNet) -> dict[str, Any]:
    """Errors on the validation frames.

    Raises:
        DataError: Predictions that are not finite, or no frame that can be predicted and has an energy.
    """
    if not validation.frames:
        raise DataError("the data set has no validation frames, which pick the checkpoint; prepare it with a val split")
    predictions = validation.predict(network)
    broken = [found.frame_id for found in predictions if found.error == NOT_FINITE]
    if broken:
        raise DataError(f"the network's predictions for validation frames {listed(broken)} are not finite; lower lr")
    found = errors(validation.frames, predictions)
    if math.isnan(found["energy"]):
        raise DataError(
            f"none of {len(predictions)} validation frames can pick a checkpoint: "
            "they lack energies, or have elements that the training frames lack; "
            "take a larger subset, or reference_data = train"
        )
    return found


def _compare(old: dict[str, Any], new: dict[str, Any], out: Path) -> None:
    """Refuse to continue another run than the one that is there.

    Raises:
        UsageError: They differ; every difference is named.
    """
    before, now = _flat(old), _flat(json.loads(storage.to_json(new)))
    differences = [
        f"{key} is {before.get(key)!r} there and {now.get(key)!r} here"
        for key in sorted(before.keys() | now.keys())
        # fitted references follow from the rest, to rounding; those of the checkpoint are used
        if before.get(key) != now.get(key) and (not key.startswith("references.") or key == "references.digest")
    ]
    if differences:
        raise UsageError(f"the run in {out} is another one: {'; '.join(differences)}; choose another directory")


def _flat(value: Any, at: str = "") -> dict[str, Any]:  # noqa: ANN401 - JSON
    """Nested tables with dotted keys."""
    if not isinstance(value, dict):
        return {at: value}
    return {
        key: item for name, inner in value.items() for key, item in _flat(inner, f"{at}.{name}".lstrip(".")).items()
    }


def _without_nan(value: Any) -> Any:  # noqa: ANN401 - JSON
    """JSON has no NaN: what is not labelled is null."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value
