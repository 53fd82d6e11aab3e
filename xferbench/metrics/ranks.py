"""Rank correlation, which no sums determine: rows are sorted once, and ranked anew in each resample.

A row counts as often as its group is drawn, so the values are those of the repeated rows, without repeating them.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import nan, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from xferbench.metrics.resampling import Resampler
from xferbench.metrics.sums import RESOLUTION, beyond_baseline

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xferbench.metrics.sample import Sample

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]
    Whole = NDArray[Any]
    """Of np.int32 or np.int64."""


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
