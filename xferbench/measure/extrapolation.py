"""The error to expect with more labels than anybody has trained on, from the errors at fewer.

A power law alone is too sure of itself beyond its last point: that the law goes on straight is not in its interval. Here the
slope of the curve in both logarithms is what may change. Between neighbouring sizes it has been seen to take several values;
the slope beyond the last size is taken as one more of them, for as far as one asks. With m slopes d_i over the distances
l_i, their mean d and variance s² weighted with the distances, the expected logarithm at a distance f is

    y_last + d f,    with the variance    s² (1 + 1/m) f² + r² (1 + 1/n_last)

and Student's t of m - 1 degrees of freedom, where r is the scatter of runs of one size about their mean, as far as
there are several, and n_last the runs of the last size. With few sizes the interval is wide, as it should be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from xferbench.measure.bootstrap import Estimate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

FACTORS = (2, 4, 10)
"""Times the labels of the largest training set that people ask for."""

CONFIDENCE = 0.9

FEWEST_SIZES = 3
"""Two slopes, of which a spread can be told."""


def expected_errors(
    sizes: ArrayLike, errors: ArrayLike, at: Sequence[float], *, confidence: float = CONFIDENCE
) -> list[Estimate]:
    """The error that one more run is to be expected to have at sizes beyond the largest.

    >>> [found] = expected_errors([100, 200, 400, 100, 200, 400], [8, 4, 2, 8, 4, 2], [800])
    >>> round(found.value, 9), round(found.low, 9), round(found.high, 9)
    (1.0, 1.0, 1.0)

    Args:
        sizes: (n_runs,) training structures of each run, in any order.
        errors: (n_runs,) positive errors of the runs, any unit; NaN where there is none.
        at: Sizes, none below the largest of ``sizes``.
        confidence: Of the intervals.

    Returns:
        An estimate for each of ``at``, in the unit of ``errors``.

    Raises:
        ValueError: Fewer than ``FEWEST_SIZES`` sizes, sizes or errors that are not positive, or one of ``at`` within the data.
    """
    from scipy.special import stdtrit

    n, e = np.asarray(sizes, dtype=np.float64), np.asarray(errors, dtype=np.float64)
    n, e = n[np.isfinite(e)], e[np.isfinite(e)]
    if (n <= 0).any() or (e <= 0).any():
        raise ValueError("positive sizes and errors are needed")
    distinct, place = np.unique(n, return_inverse=True)
    if len(distinct) < FEWEST_SIZES:
        raise ValueError(f"{len(distinct)} sizes, {FEWEST_SIZES} are needed to tell how the curve bends")
    ahead = np.log(np.asarray(at, dtype=np.float64)) - np.log(distinct[-1])
    if not (ahead >= 0).all():
        raise ValueError(f"sizes below {distinct[-1]:g}, the largest one measured, are not extrapolated to")
    runs = np.bincount(place)
    level = np.bincount(place, np.log(e)) / runs
    rest, freedom = np.log(e) - level[place], len(e) - len(distinct)
    scatter = rest @ rest / freedom if freedom else 0.0
    lengths = np.diff(np.log(distinct))
    slopes, weights, m = np.diff(level) / lengths, lengths / lengths.sum(), len(lengths)
    slope = weights @ slopes
    variance = weights @ (slopes - slope) ** 2 * m / (m - 1)
    spread = np.sqrt(variance * (1 + 1 / m) * ahead**2 + scatter * (1 + 1 / runs[-1]))
    half = stdtrit(m - 1, (1 + confidence) / 2) * spread
    centre = level[-1] + slope * ahead
    with np.errstate(over="ignore"):
        ends = np.exp([centre, centre - half, centre + half])
    return [Estimate(*column) for column in ends.T.tolist()]
