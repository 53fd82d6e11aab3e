"""Tasks: what is predicted, on which frames, and how it is scored. One TOML file each, no Python.

A task pins its data by fingerprint and carries a ``version`` that rises whenever a number could move, so a result is
comparable with every other result of the same ``id@version`` and with nothing else.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from xferbench.errors import FormatError, UnknownNameError
from xferbench.functionals import Pair, Side  # noqa: TC001 - schema.parse reads the annotations
from xferbench.hygiene import FLAGS
from xferbench.measure import METRICS
from xferbench.records import PROPERTIES
from xferbench.registry import KINDS, SOURCES, UNPAIRED, check_name, near
from xferbench.schema import parse, read_toml
from xferbench.tasks.kind import kind_of

if TYPE_CHECKING:
    from collections.abc import Sequence

Reference = Literal["none", "raw", "referenced", "aligned"]
ID_PATTERN = re.compile(r"[a-z0-9]+(?:[.-][a-z0-9]+)*")
CALIBRATION = 5_000
"""Calibration frames of a task that names no number: enough for offsets that are surer than any test, and few to predict."""

FINGERPRINT_PATTERN = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskMetric:
    """One number that is measured.

    Attributes:
        name: A key of ``METRICS``.
        reference: Which elemental part of the energy is removed first; ``none`` where there is no energy zero.
    """

    name: str
    reference: Reference = "none"

    @property
    def key(self) -> str:
        """``energy_mae/aligned``, or the bare name where there is no reference."""
        return self.name if self.reference == "none" else f"{self.name}/{self.reference}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bootstrap:
    """The resample plan of the intervals.

    Attributes:
        n: Number of resamples.
        seed: Of the one plan that all models share.
        cluster: What is resampled as a whole.
        confidence: Coverage of the interval, between 0 and 1.
    """

    n: int
    seed: int
    confidence: float
    cluster: Literal["material_id"] = "material_id"


@dataclass(frozen=True, slots=True, kw_only=True)
class PairRule:
    """Which pairs of the scored split are scored.

    Attributes:
        exclude: Flags of ``hygiene``; a pair with any of them is left out, and counted.
    """

    exclude: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A benchmark unit, read from ``tasks/<id>.toml``.

    Attributes:
        version: Rises whenever a number could move.
        dataset: A key of ``SOURCES``.
        fingerprint: Of the data set, as its manifest states it.
        functionals: Those that stand on each side of the data set, as its manifest states them.
        side: Whose labels are the truth; also the configuration of the data set that holds the task's frames.
        split: The frames that are scored.
        calibration: The split of the frames that elemental offsets are fitted on; never the scored ones.
        calibration_frames: How many of them at most; ``dataset.labels.choose`` says which.
        properties: What a model is asked for.
        main: ``key`` of the metric that ranks.
        exclude: ``key`` of metrics that are not measured. All others are, as far as they are about ``properties``.
        kind: A key of ``KINDS``: what is asked of the predictions.
        pairs: Which pairs are scored. Calibration frames are kept, as what is peculiar about a pair says nothing against
            the labels of one functional; only those with a Hubbard U go where ``hubbard_u`` is excluded.
    """

    id: str
    version: int
    title: str
    description: str
    dataset: str
    fingerprint: str
    functionals: Pair
    side: Side
    split: Literal["train", "val", "test"]
    calibration: Literal["train", "val", "test"]
    properties: tuple[str, ...]
    main: str
    bootstrap: Bootstrap
    citation: str
    exclude: tuple[str, ...] = ()
    pairs: PairRule = field(default_factory=PairRule)
    calibration_frames: int = CALIBRATION
    kind: str = "static"

    @property
    def key(self) -> str:
        """``id@version``: names the directory of the task's results."""
        return f"{self.id}@{self.version}"

    @property
    def metrics(self) -> tuple[TaskMetric, ...]:
        """What is measured, in the order of ``METRICS``."""
        quantities = kind_of(self).quantities
        found = (
            TaskMetric(name=metric.name, reference=reference)
            for metric in METRICS.values()
            if metric.quantity in quantities
            and metric.needs in self.properties
            and not (metric.of_gap and self.side == "source")
            for reference in metric.references
        )
        return tuple(metric for metric in found if metric.key not in self.exclude)

    @property
    def digest(self) -> str:
        """``sha256:…`` of what can move a number: not of title, description, citation, version, or the choice of metrics."""
        meaning = {
            "fingerprint": self.fingerprint,
            "functionals": self.functionals.to_json(),
            "side": self.side,
            "split": self.split,
            "calibration": [self.calibration, self.calibration_frames],
            "properties": sorted(self.properties),
            "exclude": sorted(self.pairs.exclude),
            "bootstrap": asdict(self.bootstrap),
            **({} if self.kind == "static" else {"kind": self.kind}),  # static tasks are older than kinds
        }
        return f"sha256:{hashlib.sha256(json.dumps(meaning, sort_keys=True).encode()).hexdigest()}"

    @property
    def labels(self) -> str:
        """The functional of the truth as pages write it: ``r²SCAN``."""
        return self.functionals.prose(self.side)


def tasks_directory() -> Path:
    """Where the task files are: inside an installed package, else beside it in a checkout."""
    packaged = Path(__file__).parents[1] / "_tasks"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "tasks"


def list_tasks(directory: Path | None = None) -> dict[str, Path]:
    """Task id -> its file, sorted."""
    return {path.stem: path for path in sorted((directory or tasks_directory()).glob("*.toml"))}


def load_task(name: str, directory: Path | None = None) -> Task:
    """Read and check a task by id, or by the path of its TOML file.

    Raises:
        UnknownNameError: No such task; the message lists the near one.
        FormatError: The file breaks the schema; every problem is listed.
    """
    if name.endswith(".toml"):
        return read_task(Path(name))
    files = list_tasks(directory)
    stem, _, version = name.partition("@")
    task = read_task(files[check_name("task", stem, files)])
    if version not in {"", str(task.version)}:
        raise UnknownNameError(
            f"task {stem} has version {task.version} here, not {version}; install the release that has it"
        )
    return task


def read_task(path: Path) -> Task:
    """Read one task file.

    Raises:
        StorageError: It cannot be read.
        FormatError: It breaks the schema; every problem is listed.
    """
    task = parse(Task, read_toml(path), path)
    problems = _problems(task, path)
    if problems:
        raise FormatError(f"{path}: {'; '.join(problems)}")
    return task


def obvious(
    task_id: str,
    *,
    dataset: str,
    fingerprint: str,
    version: str,
    functionals: Pair,
    properties: Sequence[str],
    calibration: str,
) -> str:
    """The text of the task file that a prepared data set calls for: the labels of its target functional on its test split.

    It asks for what ``mini-static`` asks for, as far as the data set has such labels.

    Args:
        task_id: Of the new task, and the stem of its file.
        dataset: A key of ``SOURCES``.
        fingerprint: Of the data set.
        version: Of the data set, for the description.
        functionals: Those that stand on each side; the labels of the target are the truth.
        properties: Those of ``PROPERTIES`` that have labels.
        calibration: The split that elemental offsets are fitted on.
    """
    pattern, target = load_task("mini-static"), functionals.name("target")
    exclude = [key for key in pattern.exclude if METRICS[key.partition("/")[0]].needs in properties]
    lines = [
        f"id = {json.dumps(task_id)}",
        "version = 1",
        f'title = "Static {target} labels of {task_id}"',
        f'description = "Made by xferbench for the data set {dataset} {version}; a table of its own, on no board but yours."',
        f"dataset = {json.dumps(dataset)}",
        f"fingerprint = {json.dumps(fingerprint)}",
        f"functionals = {{ source = {json.dumps(functionals.to_json()['source'])}, target = {json.dumps(functionals.to_json()['target'])} }}",
        'side = "target"',
        'split = "test"',
        f"calibration = {json.dumps(calibration)}",
        f"properties = {json.dumps([name for name in pattern.properties if name in properties])}",
        f"main = {json.dumps(pattern.main)}",
        f"exclude = {json.dumps(exclude)}",
        'citation = "none"',
        "",
        "[bootstrap]",
        f"n = {pattern.bootstrap.n}",
        f"seed = {pattern.bootstrap.seed}",
        f"cluster = {json.dumps(pattern.bootstrap.cluster)}",
        f"confidence = {pattern.bootstrap.confidence}",
        "",
    ]
    return "\n".join(lines)


def _problems(task: Task, path: Path) -> list[str]:
    """What types cannot say: names that must exist, values that must agree."""
    if task.kind not in KINDS:
        return [f"unknown kind of task {task.kind!r}; {near(task.kind, KINDS)}"]
    problems = []
    if not ID_PATTERN.fullmatch(task.id) or task.id != path.stem:
        problems.append(f"id {task.id!r} must equal the file name and use lower-case letters, digits, '.' and '-'")
    if task.version < 1:
        problems.append(f"version must be at least 1, not {task.version}")
    problems += _dataset_problems(task)
    if task.calibration_frames < 20:
        problems.append(f"calibration_frames must be at least 20, not {task.calibration_frames}")
    if task.calibration == task.split:
        problems.append(f"calibration must be another split than the scored one ({task.split}), never the test itself")
    unknown = [name for name in task.properties if name not in PROPERTIES]
    if unknown or "energy" not in task.properties:
        problems.append(
            f"properties must include energy and come from {', '.join(PROPERTIES)}, not {list(task.properties)}"
        )
    keys = [metric.key for metric in task.metrics]
    unknown = sorted({*task.exclude} - {metric.key for metric in replace(task, exclude=()).metrics})
    if unknown:
        problems.append(f"exclude names {', '.join(unknown)}, which the task has not; it has {', '.join(keys)}")
    if task.main not in keys:
        problems.append(f"main metric {task.main!r} is not among the metrics {', '.join(keys)}")
    elif METRICS[task.main.partition("/")[0]].better == "one":
        problems.append(f"main metric {task.main!r} is best at 1, which orders no table; choose an error")
    problems += [
        f"pairs.exclude has the unknown flag {flag!r}; known: {', '.join(FLAGS)}"
        for flag in task.pairs.exclude
        if flag not in FLAGS
    ]
    return problems + _bootstrap_problems(task.bootstrap)


def _dataset_problems(task: Task) -> list[str]:
    problems = []
    if task.dataset not in SOURCES:
        problems.append(f"unknown dataset {task.dataset!r}; known: {', '.join(SOURCES)}")
    if task.dataset in UNPAIRED:
        problems.append(f"{task.dataset} has frames for training and no pairs; choose another dataset")
    if not FINGERPRINT_PATTERN.fullmatch(task.fingerprint):
        problems.append("fingerprint must be 'sha256:' and 64 hexadecimal digits")
    return problems


def _bootstrap_problems(bootstrap: Bootstrap) -> list[str]:
    problems = []
    if bootstrap.n < 100:
        problems.append(f"bootstrap.n must be at least 100, not {bootstrap.n}")
    if not 0.5 <= bootstrap.confidence < 1:
        problems.append(f"bootstrap.confidence must be in [0.5, 1), not {bootstrap.confidence}")
    if bootstrap.seed < 0:
        problems.append(f"bootstrap.seed must not be negative, not {bootstrap.seed}")
    return problems
