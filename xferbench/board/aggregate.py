"""One number for a model, for readers who insist: its errors over those of floors that know the composition only.

Off unless asked for. It hides which quantity a model fails, and every failure beyond a floor counts the same; the table
always shows the errors it is made of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xferbench import measure

if TYPE_CHECKING:
    from xferbench.board.reading import Section
    from xferbench.measure import Aggregate
    from xferbench.results import MetricEntry, Result

COMPOSITION_FLOORS = ("floor-ridge", "floor-zero")
"""Who knows the composition and nothing of the geometry: energies from the first, no forces, stress, moments from the second."""

QUANTITIES = ("energy_mae", "force_mae", "stress_mae", "magmom_mae")
"""What is averaged, as far as the section has a column of it."""


def aggregated(section: Section) -> tuple[MetricEntry, ...]:
    """The metrics that an aggregate of a section is made of: one error per quantity that some floor has a value of."""
    floors = _floors(section)
    own = section.main.reference
    return tuple(
        metric
        for metric in section.columns
        if metric.name in QUANTITIES and metric.reference in {None, own} and metric.key in floors
    )


def aggregate_of(result: Result, section: Section) -> Aggregate | None:
    """The aggregate of one result; nothing if it lacks one of the errors, or the section has none.

    References:
        LAMBench, arXiv:2504.19578; ``measure.aggregate`` has the formula.
    """
    floors = _floors(section)
    errors: dict[str, float] = {}
    for metric in aggregated(section):
        own = result.metric(metric.key)
        if own is None or own.value is None:
            return None
        errors[label_key(metric)] = own.value
    if not errors:
        return None
    baseline = {label_key(metric): floors[metric.key] for metric in aggregated(section)}
    return measure.aggregate({section.task_id: errors}, {section.task_id: baseline})


def label_key(metric: MetricEntry) -> str:
    """``energy`` for ``energy_mae``."""
    return metric.name.removesuffix("_mae")


def _floors(section: Section) -> dict[str, float]:
    """Metric -> value of the first floor that has one; a floor without error would divide by zero and is no floor."""
    rows = {row.entry.model_id: row.entry.result for row in section.ranking.rows if row.entry.is_floor}
    found: dict[str, float] = {}
    for name in COMPOSITION_FLOORS:
        for metric in rows[name].metrics if name in rows else ():
            if metric.value is not None and metric.value > 0:
                found.setdefault(metric.key, metric.value)
    return found
