"""Quantiles and rank correlations, which no sums determine: rows are sorted once, and weighed anew in each resample.

A row counts as often as its group is drawn, so the values are those of the repeated rows, without repeating them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import nan, sqrt
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from xferbench.measure.sample import RESOLUTION, Resampler, beyond_baseline

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from xferbench.measure.sample import Sample

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]
    Whole = NDArray[Any]
    """Of np.int32 or np.int64."""

BLOCK = 1_000_000
"""Weights held in memory at a time."""

WINDOW = 1_000
"""Sorted rows on either side of a quantile that are looked at in any case."""

DEVIATIONS = 5.0
"""Standard deviations of the position of a quantile that its window holds; a resample farther out widens it."""


def error_quantile(fraction: float) -> Callable[[Sample, Integers, int], Resampler]:
    """The smallest error norm that at least this fraction of the rows does not exceed (no interpolation)."""

    def prepare(rows: Sample, group: Integers, n_groups: int) -> Resampler:
        return quantile(np.concatenate([_norms(piece) for _, piece in rows.pieces()]), group, n_groups, fraction)

    return prepare


def _norms(rows: Sample) -> Floats:
    norms: Floats = np.linalg.norm(rows.prediction - rows.label, axis=1)
    return norms


class _Window(NamedTuple):
    """The rows around a quantile in the order of their values, and how many rows of each group lie below them.

    Attributes:
        low: Position of the first row among all.
        values: (n,) ascending.
        owner: (n,) group of each.
        below: (n_groups,) rows with a smaller position.
    """

    low: int
    values: Floats
    owner: Integers
    below: Floats


def quantile(values: Floats, group: Integers, n_groups: int, fraction: float) -> Resampler:
    """Quantile of values whose groups are resampled: the inverse of their distribution function.

    Only rows near the quantile are sorted and weighed one by one; those below are counted per group. How far "near" is
    follows from how much the fraction of rows below the quantile differs between groups. So 2,000 resamples of ten
    million atoms need no more than their window.

    Args:
        values: (n_rows,).
        group: (n_rows,) group of each row.
        n_groups: Number of groups.
        fraction: Above 0, at most 1.
    """
    n_rows = len(values)
    totals = np.bincount(group, minlength=n_groups).astype(np.float64)

    @cache
    def window(half: int) -> _Window:
        return _window(values, group, n_groups, int(fraction * n_rows), half)

    narrow = window(WINDOW)
    spread = np.sqrt(((narrow.below - fraction * totals) ** 2).sum())
    usual = max(WINDOW, int(DEVIATIONS * spread))

    def find(counts: Floats, target: Floats, reached: Floats, half: int) -> Floats:
        """(m,) the quantile of each resample, searched within ``half`` rows around that of the sample."""
        near = window(half)
        cumulated = reached[:, None] + np.cumsum(np.take(counts, near.owner, axis=1), axis=1)
        found = (cumulated < target[:, None]).sum(axis=1)
        end = len(near.owner)
        outside = ((found == 0) & (reached >= target) & (near.low > 0)) | ((found == end) & (near.low + end < n_rows))
        at: Floats = near.values[np.minimum(found, end - 1)]
        if outside.any():
            wider = counts[outside] @ window(4 * half).below
            at[outside] = find(counts[outside], target[outside], wider, 4 * half)
        return at

    def finish(counts: Floats, drawn: Floats) -> Floats:
        target = fraction * drawn[:, 0] * (1 - 1e-12)  # 0.95 * 20 is a little more than 19
        out = np.full(len(counts), np.nan)
        step = max(1, BLOCK // (2 * usual))
        for start in range(0, len(counts), step):
            some = np.flatnonzero(drawn[start : start + step, 0] > 0) + start
            if some.size:
                out[some] = find(counts[some], target[some], drawn[some, 1], usual)
        return out

    return Resampler(sums=np.stack([totals, window(usual).below], axis=1), finish=finish)


def _window(values: Floats, group: Integers, n_groups: int, centre: int, half: int) -> _Window:
    n_rows = len(values)
    low, high = max(0, centre - half), min(n_rows, centre + half)
    order = np.arange(n_rows)
    if low > 0 or high < n_rows:  # equal values may stand in any order
        order = np.argpartition(values, sorted({low, high - 1}))
    near = order[low:high]
    near = near[np.argsort(values[near])]
    below = np.bincount(group[order[:low]], minlength=n_groups).astype(np.float64)
    return _Window(low=low, values=values[near], owner=group[near], below=below)


def spearman_beyond_baseline(rows: Sample, group: Integers, n_groups: int) -> Resampler:
    """Rank correlation of what prediction and label add to the baseline; rows must have one column."""
    x, y = (np.rint(side[:, 0] / RESOLUTION) for side in beyond_baseline(rows))
    by_x, by_y = np.argsort(x, kind="stable"), np.argsort(y, kind="stable")
    in_y = np.empty_like(by_y)
    in_y[by_y] = np.arange(len(by_y))
    totals = np.bincount(group, minlength=n_groups).astype(np.float64)
    small = 2 * n_groups * totals.max(initial=0) < np.iinfo(np.int32).max
    correlation = _Correlation(
        x=_side(x[by_x], group[by_x]),
        y=_side(y[by_y], group[by_y]),
        in_y=in_y[by_x],
        totals=totals,
        kind=np.int32 if small else np.int64,  # half the memory is most of the speed
    )
    return Resampler(sums=totals[:, None], finish=correlation.of_each)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Side:
    """One of two ranked columns, its rows in ascending order.

    Attributes:
        owner: (n_rows,) group of each row.
        tied: Positions of rows that share their value with another.
        start: For each of these, the first position of its value.
        end: One more than the last.
        heads: Positions among ``tied`` at which a new value begins.
    """

    owner: Integers
    tied: Integers
    start: Integers
    end: Integers
    heads: Integers

    def rank(self, drawn: Whole, weight: Whole, rank: Whole) -> float:
        """Write the weights of the rows and their doubled mid-ranks, whole numbers.

        Returns:
            The sum of the cubes of the weights of distinct values, less that of single rows.
        """
        np.take(drawn, self.owner, out=weight, mode="clip")
        np.cumsum(weight, dtype=rank.dtype, out=rank)
        upto = rank[self.end - 1]
        before = np.where(self.start > 0, rank[self.start - 1], 0)
        np.multiply(rank, 2, out=rank)
        np.subtract(rank, weight, out=rank)
        rank[self.tied] = upto + before
        level, single = (upto - before)[self.heads].astype(np.float64), weight[self.tied].astype(np.float64)
        return float((level * level) @ level - (single * single) @ single)


def _side(ordered: Floats, owner: Integers) -> _Side:
    """Of sorted values and the groups of their rows."""
    new = np.append(np.ones(min(len(ordered), 1), dtype=bool), ordered[1:] != ordered[:-1])
    starts, level = np.flatnonzero(new), np.cumsum(new) - 1
    sizes = np.diff(np.append(starts, len(ordered)))
    tied = np.flatnonzero(sizes[level] > 1)
    start = starts[level[tied]]
    return _Side(
        owner=owner, tied=tied, start=start, end=start + sizes[level[tied]], heads=np.flatnonzero(tied == start)
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Correlation:
    """Two sides of the same rows.

    Attributes:
        in_y: (n_rows,) where among the rows sorted by y those stand that are sorted by x.
        totals: (n_groups,) rows of each group.
        kind: Type of weights and ranks.
    """

    x: _Side
    y: _Side
    in_y: Integers
    totals: Floats
    kind: type[np.int32 | np.int64]

    def of_each(self, counts: Floats, drawn: Floats) -> Floats:
        """(m,) values of m resamples, which take turns in the same memory: to ask for it anew takes longer than to fill it."""
        n_rows = len(self.in_y)
        whole = [np.empty(n_rows, dtype=self.kind) for _ in range(5)]
        real = [np.empty(n_rows) for _ in range(2)]
        return np.array([self._of(row, float(total[0]), whole, real) for row, total in zip(counts, drawn, strict=True)])

    def _of(self, counts: Floats, total: float, whole: list[Whole], real: list[Floats]) -> float:
        """One resample.

        With N the total weight and mid-ranks r about their mean, Σ w r² = (N³ - Σ t³)/12 over the weights t of the
        distinct values (Kendall, Rank Correlation Methods (1948), section 3.8).
        """
        weight, x_rank, other, y_rank, beside = whole
        left, right = real
        times = counts.astype(self.kind)
        single = float((counts * counts * counts) @ self.totals)
        xx = total**3 - single - self.x.rank(times, weight, x_rank)
        yy = total**3 - single - self.y.rank(times, other, y_rank)
        if xx <= 0 or yy <= 0:
            return nan
        np.take(y_rank, self.in_y, out=beside, mode="clip")
        np.subtract(x_rank, total, out=left)
        np.multiply(left, weight, out=left)
        np.subtract(beside, total, out=right)
        return float(3 * (left @ right) / sqrt(xx * yy))
