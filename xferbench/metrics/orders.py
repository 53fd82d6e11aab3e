"""Quantiles, which no sums determine: rows are sorted once, and weighed anew in each resample.

A row counts as often as its group is drawn, so the values are those of the repeated rows, without repeating them.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from xferbench.metrics.resampling import Resampler

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from xferbench.metrics.sample import Sample

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

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
