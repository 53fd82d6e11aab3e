"""How many labelled structures a shift needs: what is left on the test pairs against the number of calibration pairs.

Two ways to choose what to label: at random, and so that the compositions tell the elements apart. The second is greedy
D-optimal design: the next structure is the one whose composition c has the largest cᵀM⁻¹c, M being the sum of ccᵀ over those
chosen plus a small multiple of the identity; each step multiplies det M by 1 + cᵀM⁻¹c. While an element is not covered, a
structure that holds it has by far the largest gain, so elements are covered first. It looks at compositions only.

References:
    Fedorov, Theory of Optimal Experiments (1972), for D-optimal design; Sherman and Morrison 1950 for the update.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xferbench.errors import DataError
from xferbench.references.comparing import Estimate
from xferbench.references.elemental import composition_energies
from xferbench.references.fitting import fit_matrix

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xferbench.references.labels import Labels

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

SMALLEST = 10
"""Fewest labelled structures; then twice as many, and so on to all."""

PRIOR = 1e-6
"""Multiple of the identity in M: small against the square of any fraction, so that an uncovered element comes first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """One number of labelled structures, chosen one way.

    Attributes:
        n: Labelled calibration pairs.
        choice: ``random`` or ``covering``.
        n_repeats: Choices averaged over; 1 for ``covering``, which has no randomness.
        n_elements: Elements covered, mean over repeats.
        determined: Fraction of the test pairs whose composition is determined, mean over repeats.
        mae: Mean over repeats of the MAE over determined test pairs, eV/atom, with the smallest and largest of them. Easier
            pairs are determined first: compare only where ``determined`` is alike.
    """

    n: int
    choice: str
    n_repeats: int
    n_elements: float
    determined: float
    mae: Estimate


def learning_curve(calibration: Labels, test: Labels, *, n_repeats: int = 20, seed: int = 0) -> list[CurvePoint]:
    """Fit the paired scheme to growing choices of calibration pairs.

    Args:
        calibration: What may be chosen.
        test: What is judged; same columns of elements.
        n_repeats: Of the random choice.
        seed: Of the random choice; repeat k shuffles with ``RandomState(seed + k)``.

    Raises:
        DataError: No calibration or no test pairs.
    """
    n_all = len(calibration)
    if not n_all or not len(test):
        raise DataError(f"{n_all} calibration and {len(test)} test pairs with both energies: need some of each")
    sizes = sizes_up_to(n_all)
    covering = [covering_order(calibration.fractions, sizes[-1])]
    shuffled = [np.random.RandomState(seed + k).permutation(n_all) for k in range(n_repeats)]
    return [
        _point(calibration, test, n, choice, orders)
        for n in sizes
        for choice, orders in (("random", shuffled), ("covering", covering))
    ]


def sizes_up_to(n_all: int) -> list[int]:
    """10, 20, 40, … and all."""
    sizes = []
    size = SMALLEST
    while size < n_all:
        sizes.append(size)
        size *= 2
    return [*sizes, n_all]


def covering_order(fractions: Floats, n: int) -> Integers:
    """Greedy D-optimal order of structures.

    Args:
        fractions: (n_structures, n_elements).
        n: How many to choose, at most all.

    Returns:
        (n,) rows. Choosing fewer gives the beginning of the same order; ties go to the first row.
    """
    n_rows, n_columns = fractions.shape
    inverse = np.eye(n_columns) / PRIOR
    gain = (fractions**2).sum(axis=1) / PRIOR
    free = np.ones(n_rows, dtype=bool)
    order = np.empty(n, dtype=np.int64)
    for step in range(n):
        best = int(np.argmax(np.where(free, gain, -np.inf)))
        order[step], free[best] = best, False
        column = inverse @ fractions[best]
        size = 1 + float(fractions[best] @ column)
        gain -= (fractions @ column) ** 2 / size
        inverse -= np.outer(column, column) / size
    return order


def _point(calibration: Labels, test: Labels, n: int, choice: str, orders: list[Integers]) -> CurvePoint:
    maes, determined, covered = [], [], []
    for order in orders:
        rows = order[:n]
        fractions = calibration.fractions[rows]
        fitted = fit_matrix(fractions, calibration.gap[rows], calibration.elements, weights=np.ones(n))
        rest = test.gap - composition_energies(fitted, test.fractions, test.elements)
        known = np.isfinite(rest)
        determined.append(float(known.mean()))
        covered.append(len(fitted.energies))
        if known.any():
            maes.append(float(np.abs(rest[known]).mean()))
    return CurvePoint(
        n=n,
        choice=choice,
        n_repeats=len(orders),
        n_elements=float(np.mean(covered)),
        determined=float(np.mean(determined)),
        mae=Estimate(value=float(np.mean(maes)), low=min(maes), high=max(maes))
        if maes
        else Estimate(value=None, low=None, high=None),
    )
