"""Metrics that need an order of rows: quantiles and rank correlation, which no sums determine.

Each function here prepares a sample once (sorting it) and returns a function of resample counts, shape (m, n_groups) -> (m,).
A row counts as often as its group is drawn, so the values are those of the repeated rows, without repeating them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from xferbench.metrics.sums import RESOLUTION, beyond_baseline

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from xferbench.metrics.sample import Sample

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]
    Resampler = Callable[[Floats], Floats]

BLOCK = 1_000_000
"""Weights held in memory at a time."""

WINDOW = 2_000
"""Sorted rows around a quantile that are looked at first; more if a resample has its quantile outside them."""


def error_quantile(fraction: float) -> Callable[[Sample, Integers, int], Resampler]:
    """The smallest error norm that at least this fraction of the rows does not exceed (no interpolation)."""

    def prepare(rows: Sample, group: Integers, n_groups: int) -> Resampler:
        norms = np.linalg.norm(rows.prediction - rows.label, axis=1)
        return quantile(norms, group, n_groups, fraction)

    return prepare


def quantile(values: Floats, group: Integers, n_groups: int, fraction: float) -> Resampler:
    """Quantile of values whose groups are resampled: the inverse of their distribution function.

    Only rows near the quantile are weighed one by one; those below are counted per group. So 2,000 resamples of ten
    million atoms need no more than their window.

    Args:
        values: (n_rows,).
        group: (n_rows,) group of each row.
        n_groups: Number of groups.
        fraction: Above 0, at most 1.
    """
    order = np.argsort(values)  # the order of equal values is irrelevant, and the unstable sort several times faster
    ordered, owner = values[order], group[order]
    n_rows = len(ordered)
    totals = np.bincount(group, minlength=n_groups).astype(np.float64)

    def positions(counts: Floats, half: int) -> Integers:
        """(m,) position of the quantile of each resample, searched within ``half`` rows around that of the sample."""
        low, high = max(0, int(fraction * n_rows) - half), min(n_rows, int(fraction * n_rows) + half)
        target = fraction * (counts @ totals) * (1 - 1e-12)  # 0.95 * 20 is a little more than 19
        reached = counts @ np.bincount(owner[:low], minlength=n_groups).astype(np.float64)
        cumulated = reached[:, None] + np.cumsum(counts[:, owner[low:high]], axis=1)
        found = low + (cumulated < target[:, None]).sum(axis=1)
        outside = ((found == low) & (reached >= target) & (low > 0)) | ((found == high) & (high < n_rows))
        if outside.any():
            found[outside] = positions(counts[outside], 4 * half)
        clipped: Integers = np.minimum(found, n_rows - 1)
        return clipped

    def values_of(counts: Floats) -> Floats:
        drawn = counts @ totals > 0
        return np.where(drawn, ordered[positions(counts, WINDOW)] if n_rows else np.nan, np.nan)

    return _in_blocks(values_of, min(n_rows, 2 * WINDOW))


def spearman_beyond_baseline(rows: Sample, group: Integers, _n_groups: int) -> Resampler:
    """Rank correlation of what prediction and label add to the baseline; rows must have one column."""
    x, y = (np.rint(side[:, 0] / RESOLUTION) for side in beyond_baseline(rows))
    by_x = np.argsort(x, kind="stable")
    owner, y = group[by_x], y[by_x]
    by_y = np.argsort(y, kind="stable")
    x_ends, x_level = _levels(x[by_x])
    y_ends, y_level = _levels(y[by_y])
    y_level[by_y] = y_level.copy()

    def values_of(counts: Floats) -> Floats:
        weights = np.take(counts, owner, axis=1)
        x_rank, xx = _ranks(weights, x_ends)
        y_rank, yy = _ranks(np.take(weights, by_y, axis=1), y_ends)
        x_rank = x_rank if x_rank.shape == weights.shape else np.take(x_rank, x_level, axis=1)
        xy = np.einsum("ij,ij,ij->i", weights, x_rank, np.take(y_rank, y_level, axis=1))
        values: Floats = np.divide(xy, np.sqrt(xx * yy), out=np.full_like(xy, np.nan), where=(xx > 0) & (yy > 0))
        return values

    return _in_blocks(values_of, len(group))


def _levels(ordered: Floats) -> tuple[Integers, Integers]:
    """Of sorted values: the last position of each distinct one, and which distinct one each row has."""
    last = np.append(ordered[1:] != ordered[:-1], np.ones(min(len(ordered), 1), dtype=bool))
    return np.flatnonzero(last), np.cumsum(last) - last


def _ranks(weights: Floats, ends: Integers) -> tuple[Floats, Floats]:
    """Mid-ranks of the distinct values and their sum of squares, both about the mean, of rows sorted by value.

    A mid-rank is the weight below and half of the weight at the value; weighted with it, the mean is half of the total
    weight, whatever the ties.

    Args:
        weights: (m, n_rows) of the sorted rows.
        ends: (n_levels,) last row of each distinct value.
    """
    upto = np.cumsum(weights, axis=1)
    if len(ends) < weights.shape[1]:  # there are ties
        upto = upto[:, ends]
        weights = np.diff(upto, axis=1, prepend=0.0)
    rank: Floats = upto - 0.5 * weights
    rank -= 0.5 * upto[:, -1:]
    return rank, np.einsum("ij,ij,ij->i", weights, rank, rank)


def _in_blocks(values_of: Resampler, n_rows: int) -> Resampler:
    """Work on as many resamples at a time as memory allows."""
    step = max(1, BLOCK // max(n_rows, 1))

    def values(counts: Floats) -> Floats:
        parts = [values_of(counts[start : start + step]) for start in range(0, len(counts), step)]
        return np.concatenate(parts) if parts else np.zeros(0)

    return values
