"""Which elements make two functionals disagree: the seed paper's decision tree, and a control.

Both look at one row per material: the fractions of its elements, and its mean gap after referencing. The *tree* is the
paper's: impurity decrease of a fully grown decision tree (its Eqs. 4 and 5), divided by the number of atoms of the element
in the data. That division favours rare elements, and a fully grown tree also splits noise. The *control* has neither: the
same kind of tree is grown on four fifths of the materials, and the fractions of one element are permuted among the
materials of the last fifth; what counts is how much larger the error becomes on materials the tree has not seen.

References:
    Huang et al., npj Comput. Mater. 11, 313 (2025), Fig. 1c, d and Methods, Eqs. 4 and 5.
    Breiman, Machine Learning 45, 5 (2001), section 10, for permutation importance.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import compress
from typing import TYPE_CHECKING

import numpy as np

from xferbench import references
from xferbench.analysis.estimating import DECIMALS, Estimate, Resampling, resampling
from xferbench.analysis.labels import Statistic, ratio
from xferbench.measure import clusters, sum_by

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from xferbench.analysis.columns import Columns

    Floats = NDArray[np.float64]

FOLDS = 5
REPEATS = 20
"""Permutations of each element's fractions in each fold."""

TREES = 100
"""Most resamples for the intervals of the tree, each of which grows a tree anew."""

TOO_FEW = f"fewer than {2 * FOLDS} materials"
TREE = Statistic(
    name="tree",
    title="Decision tree, per atom",
    unit="1",
    formula="impurity decrease / atoms of the element, largest = 1",
    combine=lambda sums: sums[..., 0],
)
PERMUTATION = Statistic(
    name="permutation",
    title="Permutation control",
    unit="eV/atom",
    formula="mean increase of |error| on unseen materials",
    combine=lambda sums: ratio(sums[..., 0], sums[..., 1]),
)
SKILL = Statistic(
    name="tree_r_squared",
    title="R² of the tree on unseen materials",
    unit="1",
    formula="1 - Σ (error)² / Σ (gap - mean gap)²",
    combine=lambda sums: 1 - ratio(sums[..., 1], sums[..., 3] - sums[..., 2] ** 2 / np.maximum(sums[..., 0], 1)),
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Importance:
    """Element symbol -> how much it matters, by both measures, and whether the tree knows anything at all."""

    tree: dict[str, Estimate]
    permutation: dict[str, Estimate]
    skill: Estimate | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Materials:
    """One row per material.

    Attributes:
        names: Ids, sorted.
        fractions: (n, n_elements).
        target: (n,) mean gap, eV/atom.
        elements: Atomic numbers of the columns.
        atoms: (n_elements,) atoms of each element over all structures.
    """

    names: list[str]
    fractions: Floats
    target: Floats
    elements: list[int]
    atoms: Floats


def importance(columns: Columns, gaps: Floats, *, n_resamples: int, seed: int, confidence: float) -> Importance:
    """Both measures with intervals over materials.

    Args:
        columns: All pairs.
        gaps: (n,) gap after referencing, eV/atom; NaN leaves a pair out.
        n_resamples: Of the control; the tree takes ``TREES`` of them.
        seed: Of the trees, the permutations and the resamples.
        confidence: Of the intervals.
    """
    table = by_material(columns, gaps)
    if len(table.names) < 2 * FOLDS:
        return Importance(tree={}, permutation={}, skill=None)
    symbols = _symbols(table.elements)
    plan = resampling(table.names, n_resamples=n_resamples, seed=seed, confidence=confidence)
    trees = resampling(table.names, n_resamples=min(n_resamples, TREES), seed=seed, confidence=confidence)
    errors, increases = permutation_rows(table, seed)
    everyone = np.ones(len(errors), dtype=bool)
    centred = table.target - table.target.mean()
    skill_sums = np.stack([np.ones_like(centred), errors**2, centred, centred**2], axis=-1)
    permutation = {
        symbol: plan.estimates(np.stack([column, np.ones_like(column)], axis=-1), everyone, [PERMUTATION])[0]
        for symbol, column in zip(symbols, increases.T, strict=True)
    }
    return Importance(
        tree=_tree_estimates(table, symbols, trees, seed),
        permutation=permutation,
        skill=plan.estimates(skill_sums, everyone, [SKILL])[0],
    )


def by_material(columns: Columns, gaps: Floats) -> Materials:
    """Means over the pairs of each material that have a gap."""
    used = np.isfinite(gaps)
    numbers = list(compress(columns.numbers, used))
    names, group = clusters(list(compress(columns.material_ids, used)))
    elements: list[int] = np.unique(np.concatenate(numbers)).tolist() if numbers else []
    fractions = references.composition_matrix(numbers, elements)
    atoms = (fractions * np.array([[len(item)] for item in numbers])).sum(axis=0) if numbers else np.zeros(0)
    size = np.maximum(np.bincount(group, minlength=len(names)), 1)[:, None]
    rows = sum_by(np.column_stack([fractions, gaps[used]]), group, len(names)) / size
    target = np.round(rows[:, -1], DECIMALS)
    return Materials(names=names, fractions=rows[:, :-1], target=target, elements=elements, atoms=atoms)


def tree_importance(fractions: Floats, target: Floats, seed: int, weights: Floats | None = None) -> Floats:
    """Impurity decrease of a fully grown tree: (n_elements,), sums to 1, or to 0 if the target does not vary.

    References:
        Eqs. 4 and 5 of Huang et al.; scikit-learn's ``feature_importances_``.
    """
    from sklearn.tree import DecisionTreeRegressor

    tree = DecisionTreeRegressor(random_state=seed).fit(fractions, target, sample_weight=weights)
    values: Floats = tree.feature_importances_
    return values


def permutation_rows(table: Materials, seed: int) -> tuple[Floats, Floats]:
    """Cross-validated errors of the tree, and what permuting an element does to them.

    Returns:
        (n,) prediction minus target, eV/atom; (n, n_elements) mean increase of its absolute value.
    """
    from sklearn.tree import DecisionTreeRegressor

    stream = np.random.RandomState(seed)
    fold = stream.permutation(len(table.target)) % FOLDS
    errors, increases = np.zeros(len(table.target)), np.zeros(table.fractions.shape)
    for k in range(FOLDS):
        inside, outside = fold != k, np.flatnonzero(fold == k)
        tree = DecisionTreeRegressor(random_state=seed).fit(table.fractions[inside], table.target[inside])
        features, target = table.fractions[outside], table.target[outside]
        errors[outside] = tree.predict(features) - target
        for column in range(features.shape[1]):
            for _ in range(REPEATS):
                mixed = features.copy()
                mixed[:, column] = stream.permutation(mixed[:, column])
                worse = np.abs(tree.predict(mixed) - target) - np.abs(errors[outside])
                increases[outside, column] += worse / REPEATS
    return errors, increases


def _tree_estimates(table: Materials, symbols: list[str], plan: Resampling, seed: int) -> dict[str, Estimate]:
    """Importance divided by the atoms of each element, scaled so that the largest is 1; resamples with the same scale."""
    values = tree_importance(table.fractions, table.target, seed) / table.atoms
    scale = values.max() or 1.0
    drawn = np.array(
        [
            tree_importance(table.fractions, table.target, seed, counts.astype(np.float64))
            for block in plan.plan.counts()
            for counts in block
        ]
    )
    drawn /= table.atoms * scale
    everyone = np.ones(len(table.target), dtype=bool)
    return {symbol: plan.estimate(TREE, values[i] / scale, drawn[:, i], everyone) for i, symbol in enumerate(symbols)}


def _symbols(elements: Sequence[int]) -> list[str]:
    from ase.data import chemical_symbols

    return [chemical_symbols[element] for element in elements]
