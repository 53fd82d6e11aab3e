"""Numbers with intervals: statistics of sums, and of ranks, under a bootstrap of whole clusters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xferbench.analysis.labels import Statistic, ratio
from xferbench.measure import ClusterBootstrap, clusters, sum_by

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

BLOCK = 2_000_000
"""Ranks held in memory at a time."""

DECIMALS = 9
"""Of energies in eV/atom that are ranked or split by a tree, and of numbers in files, in stored units. Later digits differ
with the order in which a linear algebra library adds; equal energies must tie, and equal data give equal bytes."""

NOTHING = "no pairs to compare"
UNDEFINED = "the values do not vary"


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """One number and how sure it is.

    Attributes:
        name: Of the statistic.
        title: As on pages.
        unit: As stored.
        formula: In symbols.
        value: ``None`` where it is not defined; ``reason`` says why.
        ci_low: Lower end of the interval; ``None`` with fewer than two clusters.
        n_pairs: Pairs that entered.
        n_clusters: Clusters they belong to.
    """

    name: str
    title: str
    unit: str
    formula: str
    value: float | None
    ci_low: float | None
    ci_high: float | None
    n_pairs: int
    n_clusters: int
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Resampling:
    """A bootstrap plan for the rows of a table: every row belongs to one cluster.

    Attributes:
        cluster: (n_rows,) number of each row's cluster.
    """

    plan: ClusterBootstrap
    cluster: Integers

    def estimates(self, sums: Floats, used: NDArray[np.bool_], statistics: Sequence[Statistic]) -> list[Estimate]:
        """Statistics of sums.

        Args:
            sums: (n_rows, k); rows that are not used are ignored.
            used: (n_rows,).
            statistics: Formulas on (..., k).
        """
        per_cluster = sum_by(np.where(used[:, None], sums, 0.0), self.cluster, self.plan.n_clusters)
        drawn = self.plan.resample(per_cluster)
        total = per_cluster.sum(axis=0)
        return [self.estimate(item, item.combine(total), item.combine(drawn), used) for item in statistics]

    def spearman(self, x: Floats, y: Floats, used: NDArray[np.bool_]) -> Estimate:
        """Spearman's rank correlation of the rows in use, ranked anew in each resample."""
        x, y, cluster = np.round(x[used], DECIMALS), np.round(y[used], DECIMALS), self.cluster[used]
        value = spearman(x, y, np.ones((1, len(x))))[0]
        step = max(1, BLOCK // max(len(x), 1))
        drawn = [
            spearman(x, y, block[start : start + step, cluster].astype(np.float64))
            for block in self.plan.counts()
            for start in range(0, len(block), step)
        ]
        return self.estimate(SPEARMAN, value, np.concatenate(drawn), used)

    def quantiles(self, values: Floats, used: NDArray[np.bool_], levels: Mapping[float, Statistic]) -> list[Estimate]:
        """Quantiles of the rows in use: the smallest value that so many rows do not exceed.

        Args:
            values: (n_rows,).
            used: (n_rows,).
            levels: Fraction of the rows -> name of the quantile.
        """
        known = values[used]
        order = np.argsort(known, kind="stable")
        ordered, cluster = known[order], self.cluster[used][order]
        wanted = np.array(list(levels))
        step = max(1, BLOCK // max(len(known), 1))
        drawn = [
            _quantiles(ordered, block[start : start + step, cluster], wanted)
            for block in self.plan.counts()
            for start in range(0, len(block), step)
        ]
        whole, resampled = _quantiles(ordered, np.ones((1, len(known)), dtype=int), wanted)[0], np.concatenate(drawn)
        return [self.estimate(item, whole[k], resampled[:, k], used) for k, item in enumerate(levels.values())]

    def estimate(self, statistic: Statistic, value: Floats, drawn: Floats, used: NDArray[np.bool_]) -> Estimate:
        """A value with the interval of its resamples.

        Args:
            statistic: Which.
            value: Of the rows in use; NaN if it is not defined.
            drawn: (n_resamples,) or fewer, the same of each resample.
            used: (n_rows,).
        """
        n_clusters = len(np.unique(self.cluster[used]))
        defined = bool(np.isfinite(value))
        interval = self.plan.interval(drawn, n_clusters) if defined else None
        return Estimate(
            name=statistic.name,
            title=statistic.title,
            unit=statistic.unit,
            formula=statistic.formula,
            value=float(value) if defined else None,
            ci_low=None if interval is None else interval.low,
            ci_high=None if interval is None else interval.high,
            n_pairs=int(used.sum()),
            n_clusters=n_clusters,
            reason=None if defined else UNDEFINED if used.any() else NOTHING,
        )


def resampling(names: Sequence[str], *, n_resamples: int, seed: int, confidence: float) -> Resampling:
    """A plan over the clusters that the rows name."""
    distinct, cluster = clusters(names)
    plan = ClusterBootstrap(n_clusters=len(distinct), n_resamples=n_resamples, seed=seed, confidence=confidence)
    return Resampling(plan=plan, cluster=cluster)


def agreement_sums(x: Floats, y: Floats) -> Floats:
    """What correlations and gaps are made of: (n, 9) with 1, x, y, x², y², xy, |y-x|, (y-x)², y-x.

    x and y enter the first six centred on their means, which changes no correlation and loses no digits: total energies
    are tens of eV/atom, the differences of interest thousandths.
    """
    a, b, d = x - _mean(x), y - _mean(y), y - x
    return np.stack([np.ones_like(a), a, b, a * a, b * b, a * b, np.abs(d), d * d, d], axis=-1)


def _mean(values: Floats) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else 0.0


def spearman(x: Floats, y: Floats, weights: Floats) -> Floats:
    """Rank correlations of weighted samples: a weight of k means k copies of the row.

    Args:
        x: (n,).
        y: (n,).
        weights: (n_samples, n), whole numbers.

    Returns:
        (n_samples,); NaN where either side does not vary.
    """
    a, b = midranks(x, weights), midranks(y, weights)
    total = weights.sum(axis=1, keepdims=True)
    a -= ratio((weights * a).sum(axis=1, keepdims=True), total)
    b -= ratio((weights * b).sum(axis=1, keepdims=True), total)
    product = (weights * a * b).sum(axis=1)
    return ratio(product, np.sqrt((weights * a * a).sum(axis=1) * (weights * b * b).sum(axis=1)))


def _quantiles(ordered: Floats, weights: Integers, levels: Floats) -> Floats:
    """Quantiles of weighted samples of values in ascending order: (n_samples, n_levels); NaN of an empty sample."""
    out = np.full((len(weights), len(levels)), np.nan)
    for row, reached in zip(out, np.cumsum(weights, axis=1), strict=True):
        if len(reached) and reached[-1] > 0:
            row[:] = ordered[np.searchsorted(reached, np.maximum(levels * reached[-1], 1e-9))]
    return out


def midranks(values: Floats, weights: Floats) -> Floats:
    """Ranks from 1; equal values, and copies of a row, share the mean of their places.

    Args:
        values: (n,).
        weights: (n_samples, n).

    Returns:
        (n_samples, n); the rank of a row of weight zero is where it would stand.
    """
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    first = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])) if len(values) else np.zeros(0, dtype=int)
    ties = len(first) < len(values)
    copies = weights[:, order]
    tied = np.add.reduceat(copies, first, axis=1) if ties else copies
    ranks = np.cumsum(tied, axis=1) - tied / 2 + 0.5
    out = np.empty_like(weights)
    out[:, order] = np.repeat(ranks, np.diff(np.append(first, len(values))), axis=1) if ties else ranks
    return out


def _variances(sums: Floats) -> tuple[Floats, Floats, Floats]:
    """n·var(x), n·var(y), n·cov(x, y); a variance within rounding of zero is zero."""
    n = np.maximum(sums[..., 0], 1)
    xx = sums[..., 3] - sums[..., 1] ** 2 / n
    yy = sums[..., 4] - sums[..., 2] ** 2 / n
    xy = sums[..., 5] - sums[..., 1] * sums[..., 2] / n
    tiny = 1e-13
    return np.where(xx > tiny * sums[..., 3], xx, 0.0), np.where(yy > tiny * sums[..., 4], yy, 0.0), xy


def _pearson(sums: Floats) -> Floats:
    xx, yy, xy = _variances(sums)
    return ratio(xy, np.sqrt(xx) * np.sqrt(yy))


def _slope(sums: Floats) -> Floats:
    xx, _, xy = _variances(sums)
    return ratio(xy, xx)


def _fit(sums: Floats) -> Floats:
    return np.square(_pearson(sums))


def _identity(sums: Floats) -> Floats:
    _, yy, _ = _variances(sums)
    return 1 - ratio(sums[..., 7], yy)


def _over_rows(column: int) -> Callable[[Floats], Floats]:
    return lambda sums: ratio(sums[..., column], sums[..., 0])


SPEARMAN = Statistic(
    name="spearman", title="Spearman", unit="1", formula="Pearson of the ranks", combine=lambda sums: sums[..., 0]
)
LEVELS = {
    level: Statistic(
        name=f"q{level * 100:02.0f}",
        title="Median" if level == 0.5 else f"{level:.0%} quantile",
        unit="eV/atom",
        formula="of r - g",
        combine=lambda sums: sums[..., 0],
    )
    for level in (0.05, 0.25, 0.5, 0.75, 0.95)
}
"""Quantiles of the shift of a structure."""

PEARSON = Statistic(name="pearson", title="Pearson", unit="1", formula="cov(g, r) / √(var g · var r)", combine=_pearson)
SLOPE = Statistic(name="slope", title="Slope", unit="1", formula="cov(g, r) / var g", combine=_slope)
MAE = Statistic(name="mae", title="Mean absolute gap", unit="eV/atom", formula="mean |r - g|", combine=_over_rows(6))
RMSE = Statistic(
    name="rmse",
    title="Root mean square gap",
    unit="eV/atom",
    formula="√ mean (r - g)²",
    combine=lambda sums: np.sqrt(ratio(sums[..., 7], sums[..., 0])),
)
AGREEMENT = (
    PEARSON,
    SLOPE,
    Statistic(name="r_squared", title="R² of a line", unit="1", formula="Pearson²", combine=_fit),
    Statistic(
        name="r_squared_identity",
        title="R² of r = g",
        unit="1",
        formula="1 - Σ (r - g)² / Σ (r - r̄)²; negative if the mean r is a better guess than g",
        combine=_identity,
    ),
    MAE,
    RMSE,
    Statistic(name="bias", title="Mean gap", unit="eV/atom", formula="mean (r - g)", combine=_over_rows(8)),
)
"""Statistics of ``agreement_sums``: g on the x axis, r on the y axis."""
