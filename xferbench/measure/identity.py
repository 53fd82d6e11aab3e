"""Whose labels do predictions follow: those of a source, or those of a target?

For labels G (source) and R (target), D = R - G, and predictions M of the same quantity, all frames together as one long vector,
M is fitted by least squares, without intercept, to

    M = s (G + λ D),        s softening, λ identity: 0 follows the source, 1 the target.

A universal potential is too soft (s < 1) by more than functionals differ, so s must be fitted as well: the plain projection
<M - G, D> / <D, D> = s λ + (s - 1) <G, D> / <D, D> is driven far outside 0 … 1 by a softening of some per cent.
``docs/identity.md`` derives both, their bias and their power. λ > 1/2 holds exactly if, at the fitted s, R is nearer to M than G.
"""

from __future__ import annotations

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
