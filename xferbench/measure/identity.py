"""Whose labels do predictions follow: those of a source, or those of a target?

For labels G (source) and R (target), D = R - G, and predictions M of the same quantity, all frames together as one long vector,
M is fitted by least squares, without intercept, to

    M = s (G + λ D),        s softening, λ identity: 0 follows the source, 1 the target.

A universal potential is too soft (s < 1) by more than functionals differ, so s must be fitted as well: the plain projection
<M - G, D> / <D, D> = s λ + (s - 1) <G, D> / <D, D> is driven far outside 0 … 1 by a softening of some per cent.
A stress has one more term, a pressure common to all frames: M = s (G + λ D) + p 1. Basis, cutoff and training data of a potential
shift all of its pressures alike, as functionals do, and that shift is no evidence; p is fitted and forgotten.
``docs/identity.md`` derives both, their bias and their power. λ > 1/2 holds exactly if, at the fitted s, R is nearer to M than G.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from xferbench.measure.metrics import SumMetric

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xferbench.measure.sample import Sample

    Floats = NDArray[np.float64]

COLLINEAR = 1e-9
"""1 - cos² between G and D below which softening and identity cannot be told apart."""

FLAT = 1e-6
"""Softening below which predictions do not follow the labels at all."""


class Fit(NamedTuple):
    """Of sums (..., 5): identity λ, softening s, and the plain projection, each (...); NaN where undetermined."""

    value: Floats
    softening: Floats
    uncorrected: Floats


def terms(rows: Sample) -> Floats:
    """(n_rows, 5) what ``fit`` needs: <G, G>, <G, D>, <D, D>, <M, G>, <M, D>.

    Args:
        rows: Predictions M, labels R of the target, and as baseline the labels G of the source.

    Raises:
        ValueError: The sample has no baseline.
    """
    if rows.baseline is None:
        raise ValueError("identity needs the labels of the source beside those of the target")
    m, g, d = rows.prediction, rows.baseline, rows.label - rows.baseline
    pairs = ((g, g), (g, d), (d, d), (m, g), (m, d))
    if m.shape[1] == 1:
        return np.concatenate([one * other for one, other in pairs], axis=1)
    return np.stack([np.einsum("ij,ij->i", *pair) for pair in pairs], axis=-1)


def terms_beside_pressure(rows: Sample) -> Floats:
    """(n_rows, 9) of stresses: ``terms``, then the traces of G, D and M, and 3, the square of the unit matrix.

    Args:
        rows: As for ``terms``, each row a stress of nine components.

    Raises:
        ValueError: The sample has no baseline.
    """
    plain = terms(rows)
    sides = (rows.baseline, rows.label, rows.prediction)
    source, target, model = (np.zeros(0) if side is None else side[:, ::4].sum(axis=1) for side in sides)
    return np.column_stack([plain, source, target - source, model, np.full(len(plain), 3.0)])


def without_pressure(totals: Floats) -> Floats:
    """(..., 5) the sums of ``terms`` of what a common pressure does not explain: ⟨a, b⟩ - ⟨a, 1⟩⟨b, 1⟩ / ⟨1, 1⟩.

    >>> from xferbench.measure import sample
    >>> unit, source = np.eye(3).ravel(), np.diag([1.0, 2.0, 4.0]).ravel()
    >>> target = source + np.diag([0.5, 0.0, 0.0]).ravel()
    >>> rows = sample([target + 7 * unit], [target], baseline=[source])  # the target's own labels, under another pressure
    >>> [round(float(number), 9) for number in fit(without_pressure(terms_beside_pressure(rows).sum(axis=0)))[:2]]
    [1.0, 1.0]

    Args:
        totals: (..., 9) of ``terms_beside_pressure``.
    """
    g, d, m, unit = np.moveaxis(totals[..., 5:], -1, 0)
    products = np.stack([g * g, g * d, d * d, m * g, m * d], axis=-1)
    return totals[..., :5] - products / np.where(unit > 0, unit, 1.0)[..., None]


def sums(model: Floats, source: Floats, target: Floats) -> Floats:
    """(5,) the sums of ``terms`` over arrays of one shape."""
    m, g, d = (side.ravel() for side in (model, source, target - source))
    return np.array([g @ g, g @ d, d @ d, m @ g, m @ d])


def fit(totals: Floats) -> Fit:
    """Least squares of M = s G + b D without intercept, λ = b/s.

    >>> model = 0.8 * np.array([1.0, 2.0])  # target labels (1, 2), softened; the source says (1, 0)
    >>> [round(float(number), 9) for number in fit(sums(model, np.array([1.0, 0.0]), np.array([1.0, 2.0])))]
    [1.0, 0.8, 0.8]

    Args:
        totals: (..., 5) sums over frames.
    """
    gg, gd, dd, mg, md = np.moveaxis(totals, -1, 0)
    determinant = gg * dd - gd * gd
    possible = determinant > COLLINEAR * gg * dd
    softening = _divide(mg * dd - md * gd, determinant, possible)
    return Fit(
        value=_divide(md * gg - mg * gd, mg * dd - md * gd, possible & (softening > FLAT)),
        softening=softening,
        uncorrected=_divide(md - gd, dd, dd > 0),
    )


def _divide(above: Floats, below: Floats, possible: NDArray[np.bool_]) -> Floats:
    return np.divide(above, below, out=np.full_like(above, np.nan), where=possible)


IDENTITY = SumMetric(
    name="identity",
    quantity="energy",
    unit="1",
    better="one",
    formula="λ of M = s (G + λ D)",
    undefined="the labels do not differ, or only by a factor",
    terms=terms,
    combine=lambda totals: fit(totals).value,
)
"""λ, of samples whose baseline is the label of the source."""

STRESS_IDENTITY = replace(
    IDENTITY,
    quantity="stress",
    formula="λ of M = s (G + λ D) + p 1",
    terms=terms_beside_pressure,
    combine=lambda totals: fit(without_pressure(totals)).value,
)
"""λ of stresses, beside a common pressure."""

SOFTENING = SumMetric(
    name="softening",
    quantity="energy",
    unit="1",
    better="one",
    formula="s of M = s (G + λ D)",
    undefined="the labels do not differ, or only by a factor",
    terms=terms,
    combine=lambda totals: fit(totals).softening,
)
"""s, of the same samples."""

STRESS_SOFTENING = replace(
    SOFTENING,
    quantity="stress",
    formula="s of M = s (G + λ D) + p 1",
    terms=terms_beside_pressure,
    combine=lambda totals: fit(without_pressure(totals)).softening,
)
"""s, of stresses."""
