"""What a metric is: a line of ``METRICS`` with unit, direction and formula, and how it is computed and resampled."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from xferbench.metrics.resampling import Resampler
from xferbench.metrics.sample import sum_by

if TYPE_CHECKING:
    from collections.abc import Callable

    from xferbench.metrics.sample import Floats, Integers, Sample

Better = Literal["lower", "higher", "one"]
"""``one``: the best value is 1, and both sides of it are worse."""

Reference = Literal["none", "raw", "referenced", "aligned"]

Quantity = Literal["energy", "differences", "ground", "forces", "stress", "magmoms", "gap", "force_gap", "stress_gap"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric(ABC):
    """One line of ``METRICS``.

    Attributes:
        name: ``<quantity>_<statistic>``, the quantity in the singular.
        quantity: Which rows it is computed on, see the table of ``xferbench.metrics``.
        unit: As stored; "1" is a pure number. Rendered tables may show another, see ``units.RENDERED``.
        better: Which values are better.
        references: The references it can be computed with; ``none`` for quantities without an energy zero.
        formula: In symbols: p̂ predicted, p true, over the rows and columns of that table.
        undefined: Why there may be rows and no value.
        resampled: Whether a bootstrap says anything about it.
    """

    name: str
    quantity: Quantity
    unit: str
    better: Better
    references: tuple[Reference, ...] = ("none",)
    formula: str
    undefined: str = "the sample defines no value"
    resampled: bool = True

    @abstractmethod
    def resampler(self, rows: Sample, group: Integers, n_groups: int) -> Resampler:
        """What gives the (m,) values of m resamples, from how often each group is drawn, shape (m, n_groups).

        Args:
            rows: Of the quantity.
            group: (n_frames,) group of each frame, drawn as a whole.
            n_groups: Number of groups, with rows or without.
        """

    def value(self, rows: Sample) -> float:
        """The metric over all frames; NaN if the sample defines none."""
        once = self.resampler(rows, np.zeros(rows.n_frames, dtype=np.int64), 1)
        return float(once(np.ones((1, 1)))[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class SumMetric(Metric):
    """A formula of sums, so that resampling it is one matrix product.

    Attributes:
        terms: Rows -> (n_rows, k), what is summed.
        combine: Sums (..., k) -> values (...); NaN where the sums define none.
    """

    terms: Callable[[Sample], Floats]
    combine: Callable[[Floats], Floats]

    def components(self, rows: Sample) -> Floats:
        """(n_frames, k) weighted sums over the rows of each frame."""
        parts = [(first, self._piece(piece)) for first, piece in rows.pieces()]
        sums = np.zeros((rows.n_frames, parts[0][1].shape[1]))
        for first, part in parts:
            sums[first : first + len(part)] += part
        return sums

    def _piece(self, rows: Sample) -> Floats:
        terms = self.terms(rows)
        weighted = terms if rows.weight is None else terms * rows.weight[:, None]
        return sum_by(weighted, rows.frame, rows.n_frames)

    def resampler(self, rows: Sample, group: Integers, n_groups: int) -> Resampler:
        """See ``Metric.resampler``."""
        sums = sum_by(self.components(rows), group, n_groups)
        return Resampler(sums=sums, finish=lambda _counts, drawn: self.combine(drawn))


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderMetric(Metric):
    """A number that depends on the order of the rows, such as a quantile: each row counts as often as its group is drawn.

    Weights of a sample are for sums, and are not looked at.

    Attributes:
        prepare: Rows, (n_rows,) group of each row and number of groups -> resampler.
    """

    prepare: Callable[[Sample, Integers, int], Resampler]

    def resampler(self, rows: Sample, group: Integers, n_groups: int) -> Resampler:
        """See ``Metric.resampler``."""
        return self.prepare(rows, group[rows.frame], n_groups)
