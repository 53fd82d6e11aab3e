"""Schemes side by side: fitted on calibration pairs, judged on others, with uncertainties from materials.

Two different uncertainties are given, both from a bootstrap over whole materials. That of an element's shift resamples the
calibration materials and fits anew. That of an error on the test pairs resamples the test materials and leaves the fit.

The explained fraction is 1 - Σ(e - ê)²/Σ(g - ḡ)² with g the gap, ê the scheme's target energy and ḡ the mean gap of the
calibration pairs: 0 for ``mean``, 1 for a perfect scheme, and negative below.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from xferbench.errors import DataError
from xferbench.measure import ClusterBootstrap, clusters
from xferbench.references.composition import symbols
from xferbench.references.elemental import RESOLUTION, beyond_rounding, composition_energies
from xferbench.references.schemes import SCHEMES, Calibration, paired_shift

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from xferbench.measure import Interval
    from xferbench.references.elemental import Offsets
    from xferbench.references.labels import Labels
    from xferbench.references.schemes import Fitted, Scheme
    from xferbench.references.tables import Tables

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A number and its interval; either may be None where there is nothing to compute it from."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """What a scheme leaves over on one set of pairs.

    Attributes:
        n_pairs: Judged.
        n_left_out: Not judged, because the calibration pairs do not determine the composition or a model says nothing.
        mae: Of the target energy, eV/atom.
        rmse: The same.
        explained: Fraction of the gap's scatter.
    """

    n_pairs: int
    n_left_out: int
    mae: Estimate
    rmse: Estimate
    explained: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """Δ of one element.

    Attributes:
        value: eV/atom; None if the calibration pairs do not determine it.
        error: Standard deviation over resamples; None for a shift that is not fitted.
        low: Of the interval.
        high: Of the interval.
        n_resamples: In which the element was determined. Few means that the error is of the lucky ones.
    """

    value: float | None
    error: float | None = None
    low: float | None = None
    high: float | None = None
    n_resamples: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One scheme on one data set.

    Attributes:
        reason: Why the scheme is not applicable; the rest is then empty.
        shifts: Symbol -> shift, for every element of the data.
        versus_paired: Test MAE minus that of ``paired``, eV/atom, on the pairs that both judge; the two meet the same
            resamples, so an interval without zero is a difference although the intervals of the MAEs overlap.
    """

    scheme: str
    about: str
    source: str
    reason: str | None = None
    note: str = ""
    calibration: Errors | None = None
    test: Errors | None = None
    shifts: Mapping[str, Shift] | None = None
    versus_paired: Estimate | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All schemes on one data set.

    Attributes:
        outcomes: In the order of ``SCHEMES``.
        n_structures: Symbol -> calibration pairs that contain the element; 0 for one that only test pairs contain.
        unseen: Elements of the test pairs without any calibration pair: no scheme but a table knows their shift.
        correlation_raw: Pearson's coefficient of source and target energies per atom of the test pairs.
        correlation_referenced: The same after each functional's own references, fitted on the calibration pairs.
    """

    n_calibration: int
    n_test: int
    n_dropped: int
    outcomes: tuple[Outcome, ...]
    n_structures: Mapping[str, int]
    unseen: tuple[str, ...]
    correlation_raw: float | None
    correlation_referenced: float | None


def compare(
    calibration: Labels,
    test: Labels,
    *,
    atoms: Tables | None = None,
    schemes: Sequence[str] = tuple(SCHEMES),
    n_resamples: int = 200,
    seed: int = 0,
    confidence: float = 0.95,
) -> Comparison:
    """Fit every scheme on some pairs and judge it on others.

    Args:
        calibration: What is fitted to.
        test: Other materials, with the same columns of elements.
        atoms: Isolated atoms, functional -> symbol -> eV.
        schemes: Names.
        n_resamples: Of calibration materials, for the shifts, and of test materials, for the errors.
        seed: Of both.
        confidence: Of all intervals.

    Raises:
        DataError: No calibration or no test pairs, or columns of different elements.
    """
    if not len(calibration) or not len(test):
        raise DataError(
            f"{len(calibration)} calibration and {len(test)} test pairs with both energies: need some of each"
        )
    if calibration.elements != test.elements:
        raise DataError("calibration and test pairs have different columns of elements; give both the same ones")
    given = Calibration(labels=calibration, weights=np.ones(len(calibration)), atoms=atoms)
    settings = _Settings(n_resamples=n_resamples, seed=seed, confidence=confidence)
    counts = (calibration.fractions > 0).sum(axis=0).tolist()
    there = np.any(test.fractions > 0, axis=0)
    raw, referenced = _correlations(given, test)
    return Comparison(
        n_calibration=len(calibration),
        n_test=len(test),
        n_dropped=calibration.n_dropped + test.n_dropped,
        outcomes=tuple(_outcome(SCHEMES[name], given, test, settings) for name in schemes),
        n_structures=dict(zip(calibration.symbols, counts, strict=True)),
        unseen=tuple(s for s, n, seen in zip(test.symbols, counts, there.tolist(), strict=True) if seen and not n),
        correlation_raw=raw,
        correlation_referenced=referenced,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Settings:
    n_resamples: int
    seed: int
    confidence: float

    def plan(self, n_clusters: int) -> ClusterBootstrap:
        return ClusterBootstrap(
            n_clusters=n_clusters, n_resamples=self.n_resamples, seed=self.seed, confidence=self.confidence
        )


def _outcome(scheme: Scheme, calibration: Calibration, test: Labels, settings: _Settings) -> Outcome:
    empty = Outcome(scheme=scheme.name, about=scheme.about, source=scheme.source)
    reason = scheme.lacking(calibration)
    if reason is not None:
        return replace(empty, reason=reason)
    fitted = scheme.fit(calibration)
    mean = float(calibration.labels.gap.mean())
    return replace(
        empty,
        note=fitted.note,
        calibration=errors(fitted, calibration.labels, mean, settings.plan(len(set(calibration.labels.materials)))),
        test=errors(fitted, test, mean, settings.plan(len(set(test.materials)))),
        shifts=_shifts(scheme, calibration, fitted, settings),
        versus_paired=_difference(fitted, test, paired_shift(calibration.labels), settings),
    )


def errors(fitted: Fitted, labels: Labels, mean_gap: float, plan: ClusterBootstrap) -> Errors:
    """Errors of a fitted scheme.

    Args:
        fitted: Of any calibration.
        labels: What to judge on.
        mean_gap: Of the calibration pairs, eV/atom: the yardstick of the explained fraction.
        plan: Over the materials of ``labels``.
    """
    rest = labels.target - fitted.predict(labels)
    known = np.isfinite(rest)
    names, cluster = clusters(labels.materials)
    columns = np.column_stack(
        [np.ones(len(labels)), np.abs(rest), rest**2, beyond_rounding(labels.gap - mean_gap) ** 2]
    )
    sums = np.array([np.bincount(cluster[known], column[known], len(names)) for column in columns.T]).T
    total, drawn = sums.sum(axis=0)[None], plan.resample(sums)
    n_clusters = int((sums[:, 0] > 0).sum())

    def estimate(of: Floats, value: Floats) -> Estimate:
        interval = plan.interval(of, n_clusters)
        return _estimate(float(value[0]), interval)

    return Errors(
        n_pairs=int(known.sum()),
        n_left_out=int((~known).sum()),
        mae=estimate(_ratio(drawn[:, 1], drawn[:, 0]), _ratio(total[:, 1], total[:, 0])),
        rmse=estimate(np.sqrt(_ratio(drawn[:, 2], drawn[:, 0])), np.sqrt(_ratio(total[:, 2], total[:, 0]))),
        explained=estimate(1 - _ratio(drawn[:, 2], drawn[:, 3]), 1 - _ratio(total[:, 2], total[:, 3])),
    )


def _difference(fitted: Fitted, test: Labels, paired: Offsets, settings: _Settings) -> Estimate:
    """Mean over the common pairs of |rest of the scheme| - |rest of ``paired``|."""
    own = np.abs(test.target - fitted.predict(test))
    other = np.abs(test.gap - composition_energies(paired, test.fractions, test.elements))
    known = np.isfinite(own + other)
    names, cluster = clusters(test.materials)
    columns = (np.ones(int(known.sum())), (own - other)[known])
    sums = np.array([np.bincount(cluster[known], column, len(names)) for column in columns]).T
    plan, drawn_from = settings.plan(len(names)), int((sums[:, 0] > 0).sum())
    drawn, total = plan.resample(sums), sums.sum(axis=0)[None]
    value = float(_ratio(total[:, 1], total[:, 0])[0])
    return _estimate(value, plan.interval(_ratio(drawn[:, 1], drawn[:, 0]), drawn_from))


def _ratio(above: Floats, below: Floats) -> Floats:
    """NaN where there is nothing to divide by."""
    ratio: Floats = np.divide(above, below, out=np.full(len(above), np.nan), where=below > 0)
    return ratio


def _estimate(value: float, interval: Interval | None) -> Estimate:
    if np.isnan(value):
        return Estimate(value=None, low=None, high=None)
    return Estimate(value=value, low=interval and interval.low, high=interval and interval.high)


def _shifts(scheme: Scheme, calibration: Calibration, fitted: Fitted, settings: _Settings) -> dict[str, Shift]:
    """Shift of each element, with the scatter over resampled calibration materials."""
    labels = calibration.labels
    values = _vector(fitted, labels)
    names, cluster = clusters(labels.materials)
    plan = settings.plan(len(names))
    drawn = np.full((settings.n_resamples, len(values)), np.nan)
    for i, counts in enumerate(row for block in plan.counts() for row in block):
        resampled = replace(calibration, weights=counts[cluster].astype(np.float64))
        if scheme.lacking(resampled) is None:
            drawn[i] = _vector(scheme.fit(resampled), labels)
    holders = [len(set(cluster[column > 0].tolist())) for column in labels.fractions.T]
    return {
        symbol: _shift(float(value), column, plan, n)
        for symbol, value, column, n in zip(labels.symbols, values, drawn.T, holders, strict=True)
    }


def _shift(value: float, drawn: Floats, plan: ClusterBootstrap, n_clusters: int) -> Shift:
    """One element. Of too few materials, or of resamples that agree but for rounding, there is no error to tell.

    They agree where one material alone tells the shift, the others each having an element of their own.
    """
    defined = drawn[~np.isnan(drawn)]
    if np.isnan(value):
        return Shift(value=None)
    interval = plan.interval(drawn, n_clusters)
    if interval is None or len(defined) < 2 or np.ptp(defined) < RESOLUTION:
        return Shift(value=value, n_resamples=len(defined))
    return Shift(
        value=value, error=float(defined.std(ddof=1)), low=interval.low, high=interval.high, n_resamples=len(defined)
    )


def _vector(fitted: Fitted, labels: Labels) -> Floats:
    """(n_elements,) shifts, NaN where there is none or where it is not determined alone."""
    open_ = fitted.shift.undetermined
    return np.array([np.nan if s in open_ else fitted.shift.energies.get(s, np.nan) for s in symbols(labels.elements)])


def _correlations(calibration: Calibration, test: Labels) -> tuple[float | None, float | None]:
    """Pearson's coefficient of the two functionals' test energies, before and after each one's references."""
    rests = []
    for train, energies in ((calibration.labels.source, test.source), (calibration.labels.target, test.target)):
        own = calibration.fit(train)
        rests.append(beyond_rounding(energies - composition_energies(own, test.fractions, test.elements)))
    known = np.isfinite(rests[0])
    return _pearson(test.source[known], test.target[known]), _pearson(rests[0][known], rests[1][known])


def _pearson(a: Floats, b: Floats) -> float | None:
    return float(np.corrcoef(a, b)[0, 1]) if len(a) > 1 and np.ptp(a) > 0 and np.ptp(b) > 0 else None
