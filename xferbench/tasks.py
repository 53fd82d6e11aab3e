"""Tasks: what is predicted, on which frames, and how it is scored. One TOML file each, no Python.

A task pins its data by fingerprint and carries a ``version`` that rises whenever a number could move, so a result is
comparable with every other result of the same ``id@version`` and with nothing else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from xferbench.errors import FormatError, UnknownNameError
from xferbench.hygiene import FLAGS
from xferbench.metrics import METRICS
from xferbench.records import PROPERTIES, Functional
from xferbench.registry import SOURCES, SYNTHETIC, UNPAIRED, check_name
from xferbench.schema import parse, read_toml
from xferbench.storage import sha256

Reference = Literal["none", "raw", "referenced", "aligned"]
ID_PATTERN = re.compile(r"[a-z0-9]+(?:[.-][a-z0-9]+)*")
FINGERPRINT_PATTERN = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskMetric:
    """One number the task reports. Unit and direction repeat ``METRICS`` so that the file explains itself; they are checked.

    Attributes:
        name: A key of ``METRICS``.
        reference: Which elemental part of the energy is removed first; ``none`` where there is no energy zero.
    """

    name: str
    unit: str
    better: Literal["lower", "higher", "one"]
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
        functional: Whose labels are the truth.
        split: The frames that are scored.
        calibration: The frames that elemental offsets are fitted on; never the scored ones.
        properties: What a model is asked for.
        main: ``key`` of the metric that ranks.
        pairs: Which pairs are scored. Calibration frames are kept, as what is peculiar about a pair says nothing against
            the labels of one functional; only those with a Hubbard U go where ``hubbard_u`` is excluded.
    """

    id: str
    version: int
    title: str
    description: str
    dataset: str
    fingerprint: str
    functional: Functional
    split: Literal["train", "val", "test"]
    calibration: Literal["train", "val", "test"]
    properties: tuple[str, ...]
    main: str
    metrics: tuple[TaskMetric, ...]
    bootstrap: Bootstrap
    citation: str
    pairs: PairRule = field(default_factory=PairRule)

    @property
    def key(self) -> str:
        """``id@version``: names the directory of the task's results."""
        return f"{self.id}@{self.version}"

    @property
    def family(self) -> Literal["gga", "r2scan"]:
        """The configuration of the data set that holds the task's frames."""
        return "gga" if self.functional.is_gga else "r2scan"


def tasks_directory() -> Path:
    """Where the task files are: inside an installed package, else beside it in a checkout."""
    packaged = Path(__file__).parent / "_tasks"
    return packaged if packaged.is_dir() else Path(__file__).parent.parent / "tasks"


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


def task_sha256(name: str, directory: Path | None = None) -> str:
    """Hash of the task's file, for the result's record of what was asked."""
    return sha256(Path(name) if name.endswith(".toml") else list_tasks(directory)[name.partition("@")[0]])


def _problems(task: Task, path: Path) -> list[str]:
    """What types cannot say: names that must exist, values that must agree."""
    problems = []
    if not ID_PATTERN.fullmatch(task.id) or task.id != path.stem:
        problems.append(f"id {task.id!r} must equal the file name and use lower-case letters, digits, '.' and '-'")
    if task.version < 1:
        problems.append(f"version must be at least 1, not {task.version}")
    problems += _dataset_problems(task)
    if task.calibration == task.split:
        problems.append(f"calibration must be another split than the scored one ({task.split}), never the test itself")
    unknown = [name for name in task.properties if name not in PROPERTIES]
    if unknown or "energy" not in task.properties:
        problems.append(
            f"properties must include energy and come from {', '.join(PROPERTIES)}, not {list(task.properties)}"
        )
    problems += [problem for metric in task.metrics for problem in _metric_problems(metric)]
    keys = [metric.key for metric in task.metrics]
    if len(set(keys)) != len(keys):
        problems.append("a metric is listed twice")
    if task.main not in keys:
        problems.append(f"main metric {task.main!r} is not among the metrics {', '.join(keys)}")
    elif any(metric.key == task.main and metric.better == "one" for metric in task.metrics):
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
        problems.append(f"{task.dataset} has r2SCAN frames for training and no pairs; choose another dataset")
    if task.dataset in SYNTHETIC:
        problems.append(f"labels of {task.dataset} are a model's, no model is ranked on them; choose another dataset")
    if not FINGERPRINT_PATTERN.fullmatch(task.fingerprint):
        problems.append("fingerprint must be 'sha256:' and 64 hexadecimal digits")
    return problems


def _metric_problems(metric: TaskMetric) -> list[str]:
    known = METRICS.get(metric.name)
    if known is None:
        return [f"unknown metric {metric.name!r}; known: {', '.join(METRICS)}"]
    problems = []
    if metric.unit != known.unit:
        problems.append(f"{metric.name} has the unit {known.unit!r}, not {metric.unit!r}")
    if metric.better != known.better:
        problems.append(f"{metric.name} is better when {known.better}, not {metric.better}")
    if metric.reference not in known.references:
        problems.append(f"{metric.name} takes the reference {' or '.join(known.references)}, not {metric.reference!r}")
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
