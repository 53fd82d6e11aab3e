"""The gap between functionals that two models predict, one trained on each, against the true one and against no gap."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from xferbench import floors, scoring
from xferbench.drawing.rounding import show, shown_unit
from xferbench.errors import UsageError
from xferbench.metrics import METRICS
from xferbench.records import Functional
from xferbench.results import ModelFacts
from xferbench.tasks import TaskMetric, load_task, task_sha256
from xferbench.workflow.evaluation import Request, environment, open_dataset, silent

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from xferbench.results import MetricEntry

QUANTITIES = ("gap", "force_gap", "stress_gap")


@dataclass(frozen=True, slots=True, kw_only=True)
class GapReport:
    """Gap metrics of two models, and those of the floor that predicts no gap but an elemental shift.

    Attributes:
        task: Whose pairs and resample plan were used.
        entries: Of the models.
        floor: Of ``floor-copy-gga``, in the same order.
    """

    task: str
    entries: tuple[MetricEntry, ...]
    floor: tuple[MetricEntry, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain dictionaries at full precision."""
        return dataclasses.asdict(self)


def gap(
    r2scan: Path,
    gga: Path,
    *,
    task: str = "mini-static",
    directory: Path | None = None,
    cache_dir: Path | None = None,
    offline: bool = False,
    say: Callable[[str], None] = silent,
) -> GapReport:
    """Measure the gap that two models predict on the same structures.

    Args:
        r2scan: Predictions of the r2SCAN model for the frames of the task.
        gga: Predictions of the GGA model for the same structures, under the ids of either functional's frames.
        task: An r2SCAN task, id or TOML file.
        directory: A prepared data set; without it the cached one.
        cache_dir: Where data sets live.
        offline: Never use the network.
        say: Where notes go.

    Raises:
        UsageError: The task's labels are GGA labels.
        DataError: Predictions that cannot be read, or do not fit.
    """
    wanted = load_task(task)
    if wanted.functional.is_gga:
        raise UsageError(
            f"task {wanted.key} has {wanted.functional} labels; name an r2SCAN task, whose pairs have both"
        )
    data = open_dataset(wanted, Request(model="", directory=directory, cache_dir=cache_dir, offline=offline, say=say))
    pairs = [pair for split in (wanted.split, wanted.calibration) for pair in data.pairs(split)]
    summed = scoring.add_gap(scoring.read_predictions(r2scan), scoring.read_predictions(gga), pairs, where=gga)
    asked = dataclasses.replace(wanted, metrics=_metrics(), main="gap_mae/aligned")
    facts = ModelFacts(id="gap", name="gap", kind="model", functional=Functional.R2SCAN)
    measured = partial(scoring.score, asked, data, environment=environment(), task_sha256=task_sha256(task))
    nothing, known = floors.copy_gga(data, asked), floors.facts("copy-gga", data, asked)
    return GapReport(
        task=wanted.key,
        entries=measured(summed, facts=facts, where=r2scan).metrics,
        floor=measured(nothing, facts=known).metrics,
    )


def gap_table(report: GapReport) -> str:
    """Each metric in a line: the models, then the floor."""
    rows = [("metric", "unit", "two models", "floor-copy-gga")]
    rows += [
        (entry.key, shown_unit(entry.unit), _cell(entry), _cell(floor))
        for entry, floor in zip(report.entries, report.floor, strict=True)
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    counted = report.entries[0]
    return "\n".join(
        [f"gap of two models on {report.task}: {counted.n_frames} pairs of {counted.n_materials} materials", "", *lines]
    )


def _metrics() -> tuple[TaskMetric, ...]:
    return tuple(
        TaskMetric(name=metric.name, reference=metric.references[0], unit=metric.unit, better=metric.better)
        for metric in METRICS.values()
        if metric.quantity in QUANTITIES
    )


def _cell(entry: MetricEntry) -> str:
    return (
        entry.reason or "" if entry.value is None else str(show(entry.value, entry.ci_low, entry.ci_high, entry.unit))
    )
