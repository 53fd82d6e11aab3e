"""Energies without their elemental part, and the elemental part itself.

Each functional's own references are fitted to its own energies (the seed paper's AtomRef) and removed from them. *In
sample*, the references are fitted to the very pairs that are then compared, as in the paper's figures: with few pairs per
element this flatters. *Out of sample*, they are fitted to the training split and removed from the test split, as a
transfer would have to do it.

References:
    Huang et al., npj Comput. Mater. 11, 313 (2025), doi 10.1038/s41524-025-01796-y: Eq. 2, Figs. 1b and 2b.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import compress
from typing import TYPE_CHECKING

import numpy as np

from xferbench import references
from xferbench.measure import sum_by

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xferbench.analysis.columns import Columns
    from xferbench.analysis.estimating import Resampling
    from xferbench.references import ElementalReferences

    Floats = NDArray[np.float64]
    Rows = NDArray[np.bool_]

OPEN = 1e-6
"""Share of an element in the directions that a resample leaves open, up to which its shift counts as determined."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Referenced:
    """Energies per atom with each functional's own references removed.

    Attributes:
        source: (n,) eV/atom; NaN for pairs that are not compared.
        target: (n,) the same.
        fits: Of the source, and of the target; ``None`` without pairs to fit.
        n_fitted: Pairs that the references were fitted to.
        n_open: Pairs of the compared split whose composition the fitted ones do not determine; they are left out.
    """

    source: Floats
    target: Floats
    fits: tuple[ElementalReferences, ElementalReferences] | None
    n_fitted: int
    n_open: int

    @property
    def used(self) -> Rows:
        """(n,) pairs that are compared."""
        return np.isfinite(self.source) & np.isfinite(self.target)

    def take(self, rows: Rows) -> Referenced:
        """The energies of a mask, shape (n,); what was fitted stays."""
        return replace(self, source=self.source[rows], target=self.target[rows])


def referenced(columns: Columns, fitted: Rows, compared: Rows) -> Referenced:
    """Fit both functionals' references on some pairs and remove them from others.

    Args:
        columns: All pairs.
        fitted: (n,) pairs to fit to; those without both energies are skipped.
        compared: (n,) pairs to compare.
    """
    fitted, compared = fitted & columns.has("energy"), compared & columns.has("energy")
    nothing = np.full(len(columns), np.nan)
    if not fitted.any():
        return Referenced(source=nothing, target=nothing, fits=None, n_fitted=0, n_open=int(compared.sum()))
    numbers = _numbers(columns, fitted)
    fits = references.fit(numbers, columns.source[fitted]), references.fit(numbers, columns.target[fitted])
    inside = compared.copy()
    inside[compared] = references.estimable(fits[0], _numbers(columns, compared))
    rest = []
    for fit, energies in zip(fits, (columns.source, columns.target), strict=True):
        rest.append(nothing.copy())
        if inside.any():
            rest[-1][inside] = references.subtract(fit, _numbers(columns, inside), energies[inside])
    n_open = int(compared.sum() - inside.sum())
    return Referenced(source=rest[0], target=rest[1], fits=fits, n_fitted=int(fitted.sum()), n_open=n_open)


def drawn_shifts(columns: Columns, elements: list[int], resampling: Resampling) -> Floats:
    """The elemental shift, fitted to the gaps of each resample.

    The normal equations of a resample are sums over its clusters, which makes thousands of fits cheap; the values that are
    reported come from ``references.fit``, which does not square the condition number.

    Args:
        columns: All pairs; those with both energies are used.
        elements: Atomic numbers, the order of the answer.
        resampling: Over the same pairs.

    Returns:
        (n_resamples, n_elements) eV/atom; NaN where a resample does not determine an element by itself.
    """
    used = columns.has("energy")
    matrix = references.composition_matrix(_numbers(columns, used), elements)
    cluster, n_clusters = resampling.cluster[used], resampling.plan.n_clusters
    gaps = columns.gap[used]
    rows = []
    for weight in (
        *matrix.T,
        gaps,
    ):  # a row of the equations at a time: all of them per cluster would not fit in memory
        sums = sum_by(matrix * weight[:, None], cluster, n_clusters)
        rows.append(resampling.plan.resample(sums))
    drawn = np.stack(rows, axis=1)
    return np.array([_solve(equations[:-1], equations[-1]) for equations in drawn])


def _solve(gram: Floats, target: Floats) -> Floats:
    """Least-squares solution of normal equations; NaN for unknowns that they leave open."""
    values, vectors = np.linalg.eigh(gram)
    known = values > values[-1] * len(values) * 1e-13
    solution: Floats = vectors[:, known] @ ((vectors[:, known].T @ target) / values[known])
    solution[(vectors[:, ~known] ** 2).sum(axis=1) > OPEN**2] = np.nan
    return solution


def _numbers(columns: Columns, rows: Rows) -> list[NDArray[np.int64]]:
    return list(compress(columns.numbers, rows))
