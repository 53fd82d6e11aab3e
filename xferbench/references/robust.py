"""Two other regressions on the same equations: Huber's, which outliers do not pull, and ridge, which shrinks.

References:
    Huber, Ann. Math. Statist. 35, 73 (1964); Holland and Welsch, Commun. Statist. A6, 813 (1977) for the constant and for
    reweighted least squares. Hoerl and Kennard, Technometrics 12, 55 (1970) for ridge regression.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from xferbench.references.elemental import Offsets, composition_energies
from xferbench.references.fitting import fit_matrix

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

HUBER = 1.345
"""Threshold in standard deviations at which Huber's estimator has 95 % of the efficiency of least squares on normal errors."""

MAD_TO_SIGMA = 1.4826
"""Median absolute deviation of a normal law -> its standard deviation."""

ITERATIONS, CONVERGED = 100, 1e-9
"""Reweighting stops after so many steps, or when no rest moves by more than this part of the threshold."""

ROUNDING = 1e-13
"""Part of the largest energy up to which a threshold is rounding."""

ALPHAS = np.logspace(-6, 3, 19)
"""Ridge strengths tried, in units of one structure: the penalty on an element equals that of so many structures of it."""

FOLDS = 5


def huber(
    fractions: Floats, energies: Floats, elements: Sequence[int], *, weights: Floats, threshold: float | None = None
) -> tuple[Offsets, float]:
    """References by Huber's loss: squares up to the threshold, absolute values beyond it; reweighted least squares.

    Args:
        fractions: (n, n_elements).
        energies: (n,) eV/atom.
        elements: Atomic numbers of the columns.
        weights: (n,) of the structures.
        threshold: In eV/atom; 1.345 robust standard deviations of the least-squares rests if not given.

    Returns:
        The references, and the threshold. Where half of the rests vanish it is zero, and least squares stays.

    Raises:
        DataError: As ``fit_matrix``.
    """
    there = weights > 0
    fractions, energies, weights = fractions[there], energies[there], weights[there]
    references = fit_matrix(fractions, energies, elements, weights=weights)
    rest = energies - composition_energies(references, fractions, elements)
    if threshold is None:
        threshold = HUBER * MAD_TO_SIGMA * _median(np.abs(rest), weights)
    if threshold <= ROUNDING * np.abs(energies).max():
        return Offsets(energies=references.energies, null_space=references.null_space), 0.0
    for _ in range(ITERATIONS):
        shrink = threshold / np.maximum(np.abs(rest), threshold)
        references = fit_matrix(fractions, energies, elements, weights=weights * shrink)
        before, rest = rest, energies - composition_energies(references, fractions, elements)
        if np.abs(rest - before).max() <= CONVERGED * threshold:
            break
    return Offsets(energies=references.energies, null_space=references.null_space), threshold


def ridge(fractions: Floats, energies: Floats, *, weights: Floats, groups: Sequence[str]) -> tuple[Floats, float]:
    """References that are shrunk towards their common mean, as far as left-out groups say.

    Args:
        fractions: (n, n_elements), every column with some atom.
        energies: (n,) eV/atom.
        weights: (n,) of the structures; those of weight 0 are not there.
        groups: (n,) that are left out together.

    Returns:
        (n_elements,) eV/atom, and the chosen strength.
    """
    from sklearn.linear_model import Ridge

    there = weights > 0
    matrix, weights = fractions[there], weights[there]
    names = [name for name, kept in zip(groups, there, strict=True) if kept]
    mean = float(np.average(energies[there], weights=weights))
    rest = energies[there] - mean
    alpha = _strength(matrix, rest, weights, names)
    model = Ridge(alpha=alpha, fit_intercept=False, solver="svd").fit(matrix, rest, sample_weight=weights)
    energies_of_elements: Floats = mean + model.coef_
    return energies_of_elements, alpha


def _strength(matrix: Floats, rest: Floats, weights: Floats, groups: Sequence[str]) -> float:
    """The strength with the smallest squared error on left-out groups; the smallest if there are too few of them."""
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import GroupKFold

    folds = min(FOLDS, len(set(groups)))
    if folds < 2:
        return float(ALPHAS[0])
    errors = np.zeros(len(ALPHAS))
    for kept, left_out in GroupKFold(folds).split(matrix, groups=groups):
        # one column for each strength: one decomposition serves all
        targets = np.tile(rest[kept, None], len(ALPHAS))
        model = Ridge(alpha=ALPHAS, fit_intercept=False, solver="svd").fit(matrix[kept], targets, weights[kept])
        errors += weights[left_out] @ (model.predict(matrix[left_out]) - rest[left_out, None]) ** 2
    return float(ALPHAS[np.argmin(errors)])


def _median(values: Floats, weights: Floats) -> float:
    """Weighted median: the mean of the two middle values where the weight splits evenly."""
    order = np.argsort(values)
    cumulative = np.cumsum(weights[order])
    half = cumulative[-1] / 2
    low, high = np.searchsorted(cumulative, half), np.searchsorted(cumulative, half, side="right")
    return float((values[order][low] + values[order][min(high, len(values) - 1)]) / 2)
