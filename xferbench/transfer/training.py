"""Train on a data set, from nothing to an exported and evaluated model."""

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
from xferbench.errors import DataError, ModelError, UsageError
from xferbench.models.contract import one_line
from xferbench.models.hardware import flushed_denormals, warm_heap
from xferbench.records import Predictions
from xferbench.references.composition import present_elements, symbols
from xferbench.tables import predictions_table, write_table
from xferbench.transfer import run as runs
from xferbench.transfer.checkpoint import CHECKPOINT
from xferbench.transfer.config import to_toml
from xferbench.transfer.data import GraphStore, TrainingData, listed, samples
from xferbench.transfer.evaluation import NOT_FINITE, Evaluator, errors, offsets
from xferbench.transfer.run import CONFIG, EVALUATION, PREDICTIONS, RECORD, Run, is_run, open_run
from xferbench.transfer.runner import Runner, processes
from xferbench.transfer.strategies import Start, build
from xferbench.units import EV_PER_A3_IN_GPA

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from xferbench.dataset import Dataset
    from xferbench.models.trainable import Side, Trainable
    from xferbench.records import Frame, Prediction
    from xferbench.transfer.config import TrainConfig
    from xferbench.transfer.data import Sample
    from xferbench.transfer.runner import Processes

MAX_COST = {"cpu": 1 << 15, "cuda": 1 << 19}
"""Directed bonds and angles computed at once: about 200 MB for prediction on a CPU."""

PACKAGES = ("numpy", "torch", "xferbench")
"""Whose versions are recorded, beside those of the architecture: they can move the result."""

ZERO_SHOT_FRAMES = 1000
"""Training frames, evenly taken, that the offsets of the zero-shot error are fitted to."""


def train(
    dataset: Dataset,
    out: Path,
    config: TrainConfig,
    *,
    resume: bool = False,
    progress: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Run:
    """Train, or continue to train; a finished run is returned as it is.

    Started by ``torchrun``, all processes call this and train together.

    Args:
        dataset: With pairs; train is learned from, val picks the checkpoint, test is evaluated at the end.
        out: Directory of the run, see ``run``.
        config: Settings.
        resume: Whether a run that is there may be continued; its settings must be the same.
        progress: Whether to show a bar on stderr.
        say: Is told the errors before training and after the first epoch, and warned if the references make the start worse.

    Raises:
        UsageError: There is a run already, or another one than asked for; settings that do not go together.
        DataError: The data do not suffice, or the loss is not finite; the message names the frames.
        StorageError: The disk refuses, or another process trains there.
        KeyboardInterrupt: Stopped from outside; the run can be resumed.
    """
    check_device(config.device)
    dataset.check_structures()
    dataset.check_pairs()
    with processes(config.device) as mine, storage.lock(out) if mine.is_first else nullcontext():
        # all processes look before the first one writes
        if any(mine.gather(is_run(out))) and not resume:
            raise UsageError(f"there is a run in {out}; continue it with --resume, or choose another directory")
        finished = any(mine.gather((out / EVALUATION).is_file()))
        with _torch_settings(config, mine.device):
            job = Job(dataset, out, config, mine, say)
            job.start()
            if not finished:
                job.train(progress=progress)
        mine.gather(None)
    return open_run(out)


def check_device(device: str) -> None:
    """Whether torch can put a tensor there.

    Raises:
        ModelError: It cannot.
    """
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ModelError(f"device {device!r} cannot be used ({one_line(error, 120)}); try cpu") from error


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


class Job:
    """One call of ``train``."""

    def __init__(
        self, dataset: Dataset, out: Path, config: TrainConfig, mine: Processes, say: Callable[[str], None]
    ) -> None:
        self.dataset, self.out, self.config, self.mine, self.say = dataset, out, config, mine, say
        on_cpu = mine.device.type == "cpu"
        self.max_cost = config.max_cost or MAX_COST["cpu" if on_cpu else "cuda"]
        self.workers = config.workers if config.workers is not None else (0 if on_cpu else 4)
        self.family = dataset.learned_from(config.frames)
        self.data = TrainingData.of(dataset, self.family, config.subset)
        whole = config.reference_data == "train" and config.subset < 1
        start = Start(
            config=config,
            data=self.data,
            reference_data=TrainingData.of(dataset, self.family, 1.0) if whole else self.data,
            graphs=lambda model: GraphStore(model, config.graph_memory * 2**30),
            device=mine.device,
        )
        self.graphs, self.before = start.graphs, {}
        # of what references were fitted to: the model answers for no others
        self.elements = symbols(present_elements([frame.numbers for frame in start.reference_data.frames]))
        # a fresh run looks at the start before its strategy changes it; a resumed one remembers
        if not (out / CHECKPOINT).is_file() and config.strategy != "scratch":
            self.before = self.look(start.model)
        self.transfer = build(start)

    def look(self, model: Trainable) -> dict[str, Any]:
        """Errors of the start: on source test frames, and on validation frames with the best references it could have.

        Returns:
            ``source``: errors on the source test frames; ``zero_shot``: the validation error of the energy after offsets that
            are fitted to training frames, eV/atom, None without validation frames.
        """
        found: dict[str, Any] = {"source": self.on_source(model, "target")[1]}
        val = self.dataset.frames(self.family, "val")
        every = -(-len(self.data.frames) // ZERO_SHOT_FRAMES)
        some = self.data.frames[::every]
        shift = offsets(some, self.evaluator(some).predict(model))
        zero_shot = errors(val, self.evaluator(val).predict(model), shift).get("energy_aligned")
        return found | {"zero_shot": _without_nan(zero_shot)}

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
        data, config, model = self.dataset, self.config, self.transfer.model
        return {
            "method": config.method,
            "model_id": runs.model_id(config, data.name),
            "config": config.recipe(),
            "dataset": {"name": data.name, "version": data.version, "fingerprint": data.fingerprint},
            "functional": data.functionals.target[0],
            "training": self.data.facts(),
            "references": self.transfer.references.facts(),
            "trained_parameters": {
                group.name: sum(model.get_parameter(name).numel() for name in group.parameters)
                for group in self.transfer.groups
            },
            "versions": {name: metadata.version(name) for name in sorted({*PACKAGES, *model.packages})},
        }

    def train(self, *, progress: bool) -> None:
        """Train to the end, then export and evaluate."""
        transfer, mine = self.transfer, self.mine
        validation = self.evaluator(self.dataset.frames(self.family, "val"), transfer.base)
        learned, left_out = self.samples()
        runner = Runner(
            transfer=transfer,
            samples=learned,
            graphs=self.graphs,
            validate=lambda model: _validation_errors(validation, model),
            config=self.config,
            processes=mine,
            directory=self.out,
            max_cost=self.max_cost,
            workers=self.workers,
            say=self.tell,
        )
        runner.state.before = self.before
        runner.resume()
        self.before = runner.state.before
        state = runner.run(progress=progress)
        transfer.model.load_state_dict(state.best_weights)
        transfer.model.eval()
        self.finish({"best_epoch": state.best_epoch, "left_out": left_out, "zero_shot": self.before.get("zero_shot")})

    def tell(self, epoch: int, found: dict[str, Any]) -> None:
        """Say how the run starts, and warn where its references are to blame."""
        when = "before training" if epoch == 0 else "after the first epoch"
        energy, forces = found["energy"], found["forces"]
        self.say(f"{when}: validation errors {1e3 * energy:.4g} meV/atom and {1e3 * forces:.4g} meV/Å")
        best = self.before.get("zero_shot")
        # a tenth more is no reason to worry: the offsets of zero-shot are fitted without regard to anything else
        if best is not None and energy > 1.1 * best:
            advice = "; --references model-aware starts there" if "model-aware" not in self.config.references else ""
            self.say(
                f"warning: the untrained network with the best references for it has {1e3 * best:.4g} meV/atom, "
                f"{energy / best:.3g} times less than this run {when} with references {self.config.references}{advice}"
            )

    def evaluator(self, frames: Sequence[Frame], base: Trainable | None = None) -> Evaluator:
        """Of models on frames, with what a frozen one adds."""
        made = Evaluator(
            frames=frames,
            graphs=self.graphs,
            elements=self.elements,
            base=None,
            processes=self.mine,
            max_cost=self.max_cost,
        )
        return made if base is None else made.with_base(base)

    def samples(self) -> tuple[list[Sample], list[str]]:
        """What is learned from: target frames, less what a frozen base says of them, and a share of source frames.

        Returns:
            The samples, and the ids of the frames that are left out because the network has no graph of them.

        Raises:
            DataError: No frame has a graph, or labels are not finite.
        """
        transfer, pairs = self.transfer, self.data.pairs
        n_source = math.ceil(transfer.source_share * len(pairs))
        order = np.random.default_rng([self.config.seed, len(pairs)]).permutation(len(pairs))
        chosen = [pairs[i].source for i in sorted(order[:n_source].tolist())]
        good, bad = self.graphs.split(self.data.frames)
        repeated, broken = self.graphs.split(chosen)
        left_out = [frame.frame_id for frame in (*bad, *broken)]
        if not good:
            raise DataError(
                f"none of {len(self.data.frames)} training frames has a graph: {listed(left_out)} have isolated atoms"
            )
        learned = samples(good, transfer.model)
        if transfer.base is not None:
            learned = less(learned, self.evaluator(good).predict(transfer.base))
        return learned + samples(repeated, transfer.model, "source"), left_out

    def finish(self, facts: dict[str, Any]) -> None:
        """Export the best weights and evaluate them; the evaluation is written last.

        Args:
            facts: Of the training, for the evaluation.
        """
        model, base = self.transfer.model, self.transfer.base
        frames: dict[str, Sequence[Frame]] = {
            split: self.dataset.frames(self.family, split) for split in ("val", "test")
        }
        frames["train"] = [pair.target for pair in self.data.pairs]
        found = {split: self.evaluator(frames[split], base).predict(model) for split in frames}
        shift = offsets(frames["train"], found["train"])
        found["source-test"], after = self.on_source(model, "source" if model.n_sides > 1 else "target", base)
        if not self.mine.is_first:
            return
        record = self.record()
        runs.export(self.out, record, model, base)
        for name, predictions in found.items():
            stored = Predictions(records=predictions, settings={"model": record["model_id"]})
            write_table(self.out / PREDICTIONS / f"{name}.parquet", predictions_table(stored))
        results: dict[str, Any] = {split: errors(frames[split], found[split], shift) for split in frames}
        results |= {"source_test": after, "source_test_before": self.before.get("source")}
        storage.write_json(self.out / EVALUATION, _without_nan({**facts, **results}))

    def on_source(
        self, model: Trainable, side: Side, base: Trainable | None = None
    ) -> tuple[list[Prediction], dict[str, Any]]:
        """Predictions and errors on the source test frames; ``energy_aligned`` with offsets fitted to source training frames."""
        train, test = [pair.source for pair in self.data.pairs], self.dataset.frames("source", "test")
        shift = offsets(train, self.evaluator(train, base).predict(model, side))
        predictions = self.evaluator(test, base).predict(model, side)
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
            energy=sample.energy - float(found.energy or 0) / sample.frame.n_atoms,
            forces=sample.forces - np.asarray(found.forces),
            stress=sample.stress - np.asarray(found.stress) * EV_PER_A3_IN_GPA,
        )
        for sample, found in zip(learned, base, strict=True)
    ]


def _validation_errors(validation: Evaluator, model: Trainable) -> dict[str, Any]:
    """Errors on the validation frames.

    Raises:
        DataError: Predictions that are not finite, or no frame that can be predicted and has an energy.
    """
    if not validation.frames:
        raise DataError("the data set has no validation frames, which pick the checkpoint; prepare it with a val split")
    predictions = validation.predict(model)
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
