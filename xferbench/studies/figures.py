"""The figures of a study: errors against training frames, one figure per quantity."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from xferbench.report.curves import Bridge, Series, curves
from xferbench.report.rounding import scaled, shown_unit
from xferbench.studies.measuring import QUANTITIES, metric

if TYPE_CHECKING:
    from xferbench.report.markup import Markup
    from xferbench.studies.content import Study
    from xferbench.studies.summarising import Entry

TITLES = {"energy": "Energy", "forces": "Forces", "stress": "Stress", "magmoms": "Magnetic moments"}


def figures(study: Study) -> dict[str, Markup]:
    """File name without ending -> figure; one for each quantity with a curve of two sizes."""
    drawn = {quantity: _figure(study, quantity) for quantity in QUANTITIES}
    return {f"scaling-{name}": figure for name, figure in drawn.items() if figure is not None}


def _figure(study: Study, quantity: str) -> Markup | None:
    lines = {method: _points(study, method, quantity) for method in study.plan.methods}
    lines = {method: points for method, points in lines.items() if points}
    if max(map(len, lines.values()), default=0) < 2:
        return None
    unit = metric(quantity).unit
    shown = [
        Series(name=method, points=tuple(_shown(entry, unit) for entry in points), law=_law(study, method, quantity))
        for method, points in lines.items()
    ]
    title = f"{TITLES[quantity]}: test error against training data"
    return curves(
        shown,
        title=title,
        across="training frames",
        up=f"mean absolute error, {shown_unit(unit)}",
        bridges=_bridges(study, quantity),
    )


def _points(study: Study, method: str, quantity: str) -> list[Entry]:
    chosen = [entry for entry in study.entries if (entry.method, entry.quantity) == (method, quantity)]
    return sorted((entry for entry in chosen if entry.mean.value > 0), key=lambda entry: entry.n_training)


def _shown(entry: Entry, unit: str) -> tuple[float, float, float, float]:
    value, low, high = (scaled(number, unit) for number in entry.mean)
    return entry.n_training, value, low, high


def _law(study: Study, method: str, quantity: str) -> tuple[tuple[float, float], ...]:
    """The ends of the fitted line."""
    fitted = None if study.scaling is None else study.scaling.fits.get((method, quantity))
    if fitted is None:
        return ()
    sizes = [entry.n_training for entry in _points(study, method, quantity) if entry.n_training >= study.plan.fit_from]
    ends = np.array([min(sizes), max(sizes)], dtype=np.float64)
    values = [scaled(value, metric(quantity).unit) for value in fitted(ends).tolist()]
    return tuple(zip(ends.tolist(), values, strict=True))


def _bridges(study: Study, quantity: str) -> list[Bridge]:
    """How many times the data scratch needs, for the method that is best with the least data."""
    comparisons = {} if study.scaling is None else study.scaling.comparisons
    compared = {method: item for (method, of), item in comparisons.items() if of == quantity}
    if not compared:
        return []
    best = min(compared, key=lambda method: _points(study, method, quantity)[0].mean.value)
    observed = compared[best].observed
    errors: dict[float, float] = {entry.n_training: entry.mean.value for entry in _points(study, best, quantity)}
    return [
        Bridge(start=n, end=n * factor, value=scaled(errors[n], metric(quantity).unit), text=f"{factor:.1f}×")
        for n, factor in observed.items()
        if math.isfinite(factor)
    ]
