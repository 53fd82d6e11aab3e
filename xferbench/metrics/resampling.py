"""How metrics are resampled: what is summed per group, and what becomes of the drawn sums, one metric or many at once.

Nearly all the work of a clustered bootstrap is the product of resample counts, (m, n_groups), with sums per group,
(n_groups, k). ``together`` puts the columns of all metrics side by side, each distinct one once, so that the counts are
read once for all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Resampler:
    """A metric of a sample, ready to be resampled.

    Attributes:
        sums: (n_groups, k) what is summed over the drawn groups.
        finish: Counts (m, n_groups), how often each group is drawn, and drawn sums (m, k) -> (m,) values, NaN where there
            is none.
    """

    sums: Floats
    finish: Callable[[Floats, Floats], Floats]

    def __call__(self, counts: Floats) -> Floats:
        """(m,) values of m resamples."""
        return self.finish(counts, counts @ self.sums)


def undefined(n_groups: int) -> Resampler:
    """The resampler of nothing: its values are NaN."""
    return Resampler(sums=np.zeros((n_groups, 0)), finish=lambda counts, _drawn: np.full(len(counts), np.nan))


def together(resamplers: Sequence[Resampler]) -> Callable[[Floats], list[Floats]]:
    """Many metrics of one set of groups as one function: counts (m, n_groups) -> the (m,) values of each.

    >>> double = Resampler(sums=np.array([[1.0], [2.0]]), finish=lambda _counts, drawn: 2 * drawn[:, 0])
    >>> together([double, double])(np.array([[1.0, 1.0], [2.0, 0.0]]))
    [array([6., 4.]), array([6., 4.])]
    """
    position: dict[bytes, int] = {}
    distinct: list[Floats] = []
    places = []
    for resampler in resamplers:
        own = []
        for column in resampler.sums.T:
            own.append(position.setdefault(column.tobytes(), len(distinct)))
            if own[-1] == len(distinct):
                distinct.append(column)
        places.append(own)
    stacked = np.stack(distinct, axis=1) if distinct else None

    def values(counts: Floats) -> list[Floats]:
        drawn = np.zeros((len(counts), 0)) if stacked is None else counts @ stacked
        return [item.finish(counts, drawn[:, own]) for item, own in zip(resamplers, places, strict=True)]

    return values
