"""What each element contributes: references of both functionals, the shift between them, and its share in what remains."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import compress
from typing import TYPE_CHECKING

import numpy as np

from xferbench import references
from xferbench.analysis.labels import Statistic
from xferbench.analysis.referencing import drawn_shifts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xferbench.analysis.columns import Columns
    from xferbench.analysis.estimating import Estimate, Resampling
    from xferbench.analysis.importance import Importance
    from xferbench.analysis.referencing import Referenced

ENOUGH = 0.5
"""Share of the resamples that must determine a shift for it to have an interval."""

SHIFT = Statistic(
    name="shift",
    title="Elemental shift",
    unit="eV/atom",
    formula="least squares of r - g on the fractions of the elements",
    combine=lambda sums: sums[..., 0],
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ElementRow:
    """One element.

    Attributes:
        n_pairs: Pairs that contain it, of those with both energies.
        n_materials: Materials they belong to.
        source: Reference in the source functional, eV/atom; ``None`` if the data do not determine it by itself.
        target: The same in the target.
        shift: target minus source.
        determined: Share of the resamples in which the element's shift is determined.
        tree: The paper's measure of importance; ``None`` with too few materials.
        permutation: The control.
    """

    symbol: str
    n_pairs: int
    n_materials: int
    source: float | None
    target: float | None
    shift: Estimate
    determined: float
    tree: Estimate | None
    permutation: Estimate | None


def element_rows(
    columns: Columns, fitted: Referenced, importance: Importance, resampling: Resampling
) -> tuple[ElementRow, ...]:
    """Every element of the pairs with both energies, by atomic number.

    Args:
        columns: All pairs.
        fitted: References fitted to all of them.
        importance: Of what is left after them.
        resampling: Over the same pairs.
    """
    if fitted.fits is None:
        return ()
    from ase.data import atomic_numbers

    source, target = fitted.fits
    elements = [atomic_numbers[symbol] for symbol in source.energies]
    drawn = drawn_shifts(columns, elements, resampling)
    used = columns.has("energy")
    present = references.composition_matrix(list(compress(columns.numbers, used)), elements) > 0
    rows = []
    for i, symbol in enumerate(source.energies):
        holds = np.zeros(len(columns), dtype=bool)
        holds[used] = present[:, i]
        open_ = symbol in source.undetermined
        shift = np.float64(np.nan) if open_ else np.float64(target.energies[symbol] - source.energies[symbol])
        estimate, determined = _with_interval(resampling, shift, drawn[:, i], holds)
        rows.append(
            ElementRow(
                symbol=symbol,
                n_pairs=estimate.n_pairs,
                n_materials=estimate.n_clusters,
                source=None if open_ else source.energies[symbol],
                target=None if open_ else target.energies[symbol],
                shift=replace(estimate, reason="only combinations with other elements are determined")
                if open_
                else estimate,
                determined=determined,
                tree=importance.tree.get(symbol),
                permutation=importance.permutation.get(symbol),
            )
        )
    return tuple(rows)


def _with_interval(
    resampling: Resampling, shift: np.float64, drawn: NDArray[np.float64], holds: NDArray[np.bool_]
) -> tuple[Estimate, float]:
    """The shift, and the share of resamples that determine it; without interval if those are too few."""
    determined = float(np.isfinite(drawn).mean())
    estimate = resampling.estimate(SHIFT, np.asarray(shift), drawn, holds)
    if determined < ENOUGH:
        estimate = replace(estimate, ci_low=None, ci_high=None)
    return estimate, determined
