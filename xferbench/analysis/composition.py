"""Structures of one composition: what two functionals say about their energies without any reference.

Among structures of the same composition, polymorphs, volumes and displacements, elemental references cancel exactly. The
energies are therefore compared as deviations from the mean of their composition: correlations of the deviations are those
of all energy differences within compositions. Whole compositions are resampled, since the mean belongs to all of them.
"""

from __future__ import annotations

from itertools import compress
from typing import TYPE_CHECKING

import numpy as np

from xferbench.analysis.estimating import AGREEMENT, Estimate, agreement_sums, resampling
from xferbench.analysis.labels import Statistic, ratio
from xferbench.measure import clusters, sum_by

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xferbench.analysis.columns import Columns

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

RESOLUTION = 1e-3
"""eV/atom. Structures closer than this in either functional have no order worth comparing."""

ORDER = Statistic(
    name="same_order",
    title="Same order",
    unit="1",
    formula="fraction of structure pairs of one composition, at least 1 meV/atom apart in both functionals, that both put in "
    "the same order",
    combine=lambda sums: ratio(sums[..., 0], sums[..., 1]),
)
WITHIN = tuple(item for item in AGREEMENT if item.name in {"pearson", "slope", "mae"})


def within_composition(columns: Columns, *, n_resamples: int, seed: int, confidence: float) -> list[Estimate]:
    """Correlation, slope, remaining gap and order agreement of structures that share a composition."""
    plan = resampling(columns.formulas, n_resamples=n_resamples, seed=seed, confidence=confidence)
    source, target, used = deviations(columns)
    found = plan.estimates(agreement_sums(source, target), used, WITHIN)
    found.insert(1, plan.spearman(source, target, used))
    names = list(compress(columns.formulas, used))
    order = np.zeros((len(columns), 2))
    order[used] = order_sums(columns.source[used], columns.target[used], names)
    return [*found, *plan.estimates(order, used, [ORDER])]


def deviations(columns: Columns) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Energies per atom minus the mean of their composition.

    Returns:
        source and target (n,) eV/atom, and (n,) whether a pair has both energies and a companion; NaN elsewhere.
    """
    used = columns.has("energy")
    distinct, group = clusters(columns.formulas)
    counts = np.bincount(group[used], minlength=len(distinct))
    used &= counts[group] > 1
    both = np.stack([columns.source, columns.target], axis=-1)
    sums = sum_by(both[used], group[used], len(distinct))
    rest = both - (sums / np.maximum(counts, 1)[:, None])[group]
    rest[~used] = np.nan
    return rest[:, 0], rest[:, 1], used


def order_sums(source: Floats, target: Floats, formulas: list[str]) -> Floats:
    """For each structure: companions that both functionals put on the same side of it, and companions they can order.

    Returns:
        (n, 2).
    """
    out = np.zeros((len(source), 2))
    _, group = clusters(formulas)
    order = np.argsort(group, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
        for i in rows:
            a, b = source[rows] - source[i], target[rows] - target[i]
            ordered = np.minimum(np.abs(a), np.abs(b)) >= RESOLUTION
            out[i] = ((a * b)[ordered] > 0).sum(), ordered.sum()
    return out
