"""The columns of a ranking: which metrics, on which scale, shown and hidden by which switch."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xferbench.drawing.figures import Scale, scale_for
from xferbench.leaderboard.wording import is_minor, statistic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xferbench.leaderboard.board import Section
    from xferbench.results import MetricEntry

CROWDED = 4
"""Floors that would stretch a scale by more than this lie beyond it, as arrowheads."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Column:
    """One metric of the table.

    Attributes:
        metric: Describes the metric; its value is that of some row.
        scale: Shared by the whiskers of the column.
        classes: What the switches above the table show and hide, and which column ranks.
    """

    metric: MetricEntry
    scale: Scale
    classes: str


def table_columns(section: Section) -> tuple[Column, ...]:
    """The metrics of a section with their scales and style classes, in the order of the task."""
    references, statistics = switchable(section.columns)
    names = Counter(metric.name for metric in section.columns)
    columns = []
    for metric in section.columns:
        classes = ["metric"] + (["main"] if metric.main else ["minor"] if is_minor(metric) else [])
        if metric.reference in references and names[metric.name] > 1:
            classes += ["r", f"r-{metric.reference}"]
        if statistic(metric) in statistics:
            classes += ["s", f"s-{statistic(metric)}"]
        columns.append(Column(metric=metric, scale=_scale(section, metric.key), classes=" ".join(classes)))
    return tuple(columns)


def _scale(section: Section, key: str) -> Scale:
    """A scale for the whiskers of one column: all values and interval ends, unless floors far off would crowd the models."""
    known = [
        (row.entry, metric) for row in section.ranking.rows if (metric := row.entry.result.metric(key)) is not None
    ]
    whole = scale_for(number for _, metric in known for number in _numbers(metric))
    models = [number for entry, metric in known if not entry.is_floor for number in _numbers(metric)]
    if whole.log or not models:
        return whole
    close = scale_for(models)
    return close if whole.high - whole.low > CROWDED * (close.high - close.low) else whole


def _numbers(metric: MetricEntry) -> list[float]:
    return [number for number in (metric.value, metric.ci_low, metric.ci_high) if number is not None]


def switchable(metrics: Sequence[MetricEntry]) -> tuple[list[str], list[str]]:
    """References of the metric that has most of them, and statistics; either is empty if there is no choice."""
    names: dict[str, list[str]] = {}
    for metric in metrics:
        if metric.reference is not None:
            names.setdefault(metric.name, []).append(metric.reference)
    references = max(names.values(), key=len, default=[])
    statistics = list(dict.fromkeys(filter(None, map(statistic, metrics))))
    return (references if len(references) > 1 else []), (statistics if len(statistics) > 1 else [])
