"""The gap between functionals that two models predict, one trained on each, against the true one and against no gap."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xferbench import floors, scoring
from xferbench.api.evaluation import environment, open_for
from xferbench.errors import UsageError
from xferbench.measure import METRICS
from xferbench.progress import silent
from xferbench.report.rounding import show, shown_unit
from xferbench.results import ModelFacts
from xferbench.tasks import load_task

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from xferbench.results import MetricEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class GapReport:
    """Gap metrics of two models, and those of the floor that predicts no gap but an elemental shift.

    Attributes:
        task: Whose pairs and resample plan were used.
        entries: Of the models.
        floor: Of ``floor-copy-source``, in the same order.
    """

    task: str
    entries: tuple[MetricEntry, ...]
    floor: tuple[MetricEntry, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain dictionaries at full precision."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        return _table(self)


def gap(
    target: str | os.PathLike[str],
    source: str | os.PathLike[str],
    *,
    task: str = "mini-static",
    dataset: str | os.PathLike[str] | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    offline: bool = False,
    say: Callable[[str], None] = silent,
) -> GapReport:
    """Measure the gap that two models predict on the same structures.

    Args:
        target: Predictions of the target model for the frames of the task.
        source: Predictions of the source model for the same structures, under the ids of either functional's frames.
        task: A target task, id or TOML file.
        dataset: Name or path of a data set; the prepared one that the task pins if not given.
        cache_dir: Instead of ``$XFERBENCH_CACHE`` or the user's cache directory.
        offline: Never use the network.
        say: Where notes go.

    Raises:
        UsageError: The task's labels are source labels.
        DataError: Predictions that cannot be read, or do not fit.
    """
    wanted = load_task(task)
    if wanted.side == "source":
        raise UsageError(f"task {wanted.key} has {wanted.labels} labels; name a target task, whose pairs have both")
    data = open_for(wanted, dataset, cache_dir=cache_dir, offline=offline, say=say)
    target, source = Path(target), Path(source)
    expected = scoring.expected_frames(wanted, data, structures=False)
    summed = scoring.add_gap(
        scoring.read_predictions(target),
        scoring.read_predictions(source),
        [expected.test, expected.calibration],
        where=source,
    )
    others = tuple(metric.key for metric in wanted.metrics if not METRICS[metric.name].of_gap)
    asked = dataclasses.replace(wanted, exclude=others, main="gap_mae/aligned")
    facts = ModelFacts(id="gap", name="gap", kind="model", functional=wanted.functionals.target[0])
    measured = partial(scoring.score, asked, expected, environment=environment())
    nothing, known = floors.copy_source(expected, asked), floors.facts("copy-source", expected, asked)
    return GapReport(
        task=wanted.key,
        entries=measured(summed, facts=facts, where=target).metrics,
        floor=measured(nothing, facts=known).metrics,
    )


def _table(report: GapReport) -> str:
    """Each metric in a line: the models, then the floor."""
    rows = [("metric", "unit", "two models", "floor-copy-source")]
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


def _cell(entry: MetricEntry) -> str:
    return (
        entry.reason or "" if entry.value is None else str(show(entry.value, entry.ci_low, entry.ci_high, entry.unit))
    )
