"""How errors fall with data: power laws a·n^-b and a·n^-b + c, where two of them cross, and what one costs in the other.

Fits are least squares in the logarithm of the error, on a range of n that the caller declares before looking. The
uncertainty comes from draws of whole curves, made in one of two ways:

``replicates``
    The caller has raw replicates, several training seeds and errors per material, and resamples both
    (``resample_curve``). The interval covers test materials and training seeds.
``points``
    There is one number per size. The scatter of the points about the fitted law stands for all noise; each draw is the
    law plus normal noise of that scatter in the logarithm, whose size is drawn too (χ² with the degrees of freedom of
    the fit). For a·n^-b the interval of the exponent is then the usual t interval. A wrong form of the law
    is not covered, and extrapolation rests on nothing else.

A crossing is a ratio of two differences. If the exponents can hardly be told apart it may lie anywhere up to infinity, and
its interval then says so: draws in which the curves never meet count as infinite (Fieller, J. R. Stat. Soc. B 16, 175
(1954), on ratios whose confidence sets are not bounded).

References:
    Hestness et al., arXiv:1712.00409; Rosenfeld et al., ICLR 2020, arXiv:1909.12673 (the form with a floor).
    Weerahandi, J. Am. Stat. Assoc. 88, 899 (1993) (intervals from draws of the noise and of its size).
    Rao and Wu, J. Am. Stat. Assoc. 83, 231 (1988) (resampling few units: one fewer drawn than there are).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, NDArray

    from xferbench.statistics.bootstrap import ClusterBootstrap

    Floats = NDArray[np.float64]

FARTHEST = 1e15
"""Structures. Laws with floors that have not met until here are said never to meet."""

NEGLIGIBLE = 1e-9
"""Floors below this part of the smallest error are zero."""

STARTS = (0.1, 0.5, 0.9)
"""Parts of the smallest error from which a floor is searched, besides none."""

ITERATIONS = 200

STEPS = 2000
"""Points of the logarithmic grid on which a crossing of laws with floors is bracketed."""


class Estimate(NamedTuple):
    """A number with its interval; each may be infinite.

    Attributes:
        value: From the fits to the data as they are.
        low: Lower end of the interval.
        high: Upper end.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerLaw:
    """error = prefactor · n^-exponent + floor.

    >>> law = PowerLaw(prefactor=8.0, exponent=0.5)
    >>> float(law(4)), float(law.size(2.0))
    (4.0, 16.0)
    """

    prefactor: float
    exponent: float
    floor: float = 0.0

    def __call__(self, sizes: ArrayLike) -> Floats:
        """The error at sizes n, in their shape."""
        errors: Floats = _law(_row(self), np.asarray(sizes, dtype=np.float64).ravel()).reshape(np.shape(sizes))
        return errors

    def size(self, errors: ArrayLike) -> Floats:
        """The size at which an error is reached, in their shape; infinite at the floor and below."""
        sizes: Floats = _size(_row(self), np.asarray(errors, dtype=np.float64).reshape(1, -1)).reshape(np.shape(errors))
        return sizes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PowerLawFit:
    """A fitted law and how sure it is.

    Attributes:
        law: Least squares in the logarithm of the error.
        r2: Fraction of the variance of log(error) that the law explains; NaN if all errors are equal.
        fit_range: Smallest and largest n that were declared.
        n_points: Points inside.
        n_outside: Points left out because n lies outside.
        prefactor: With interval.
        exponent: With interval.
        floor: With interval; zero if the law was fitted without.
        with_floor: Whether the form has a floor.
        method: Where the draws come from, see the module.
        confidence: Of all intervals.
        draws: (n_resamples, 3) prefactor, exponent and floor of the law of each drawn curve.
    """

    law: PowerLaw
    r2: float
    fit_range: tuple[float, float]
    n_points: int
    n_outside: int
    prefactor: Estimate
    exponent: Estimate
    floor: Estimate
    with_floor: bool
    method: Literal["points", "replicates"]
    confidence: float
    draws: Floats


def fit_power_law(
    sizes: ArrayLike,
    errors: ArrayLike,
    *,
    fit_range: tuple[float, float],
    floor: bool = False,
    curves: Floats | None = None,
    n_resamples: int = 2000,
    seed: int | Sequence[int] = 0,
    confidence: float = 0.95,
) -> PowerLawFit:
    """Fit a power law to errors at several training-set sizes.

    Args:
        sizes: (n_points,) numbers of training structures.
        errors: (n_points,) positive errors, any unit; NaN where there is none.
        fit_range: Smallest and largest size to use, both included. Declare it before looking at the curve.
        floor: Whether the law has an irreducible error c ≥ 0.
        curves: (any number, n_points) resampled errors from ``resample_curve``; without them the scatter of the points
            is used.
        n_resamples: Number of draws if there are no ``curves``.
        seed: Of these draws. Give two curves that are compared different seeds, or their noise is the same.
        confidence: Of the intervals.

    Raises:
        ValueError: Too few points in the range, errors that are not positive, or shapes that do not match.
    """
    n, e = np.asarray(sizes, dtype=np.float64), np.asarray(errors, dtype=np.float64)
    if n.ndim != 1 or n.shape != e.shape or (curves is not None and curves.shape[1:] != n.shape):
        drawn_shape = "" if curves is None else f", {curves.shape}"
        raise ValueError(f"sizes, errors and curves do not match: {n.shape}, {e.shape}{drawn_shape}")
    there = np.isfinite(e)
    inside = there & (n >= fit_range[0]) & (n <= fit_range[1])
    n_parameters = 3 if floor else 2
    x, y = _logarithms(n[inside], e[inside], n_parameters + (curves is None))
    parameters = _fit(x, y[None], floor=floor)
    rest = y - np.log(_law(parameters, np.exp(x))[0])
    if curves is None:
        drawn = y - rest + _noise(rest, len(x) - n_parameters, n_resamples, seed)
    else:
        drawn = np.log(curves[:, inside])
    draws = _fit(x, drawn, floor=floor)
    estimates = [_estimate(value, draws[:, column], confidence) for column, value in enumerate(parameters[0].tolist())]
    return PowerLawFit(
        law=PowerLaw(**dict(zip(("prefactor", "exponent", "floor"), parameters[0].tolist(), strict=True))),
        r2=_r2(rest, y),
        fit_range=fit_range,
        n_points=len(x),
        n_outside=int(there.sum() - inside.sum()),
        prefactor=estimates[0],
        exponent=estimates[1],
        floor=estimates[2],
        with_floor=floor,
        method="points" if curves is None else "replicates",
        confidence=confidence,
        draws=draws,
    )


def resample_curve(
    sums: Sequence[Floats],
    combine: Callable[[Floats], Floats],
    plan: ClusterBootstrap,
    *,
    seed: int | Sequence[int] = 0,
) -> Floats:
    """Resample a learning curve over test materials and training seeds.

    One resample draws the materials once, for all sizes and seeds (the test set is the same), and the seeds anew for
    each size. Of s seeds s - 1 are drawn, which gives the spread of a mean of s; a single seed has no spread to show.
    Two curves resampled with one plan are paired in the materials; give them different seeds.

    Args:
        sums: For each size, sums per seed and material: (n_seeds, n_clusters, k) as ``metrics.Metric.components`` and
            ``metrics.sum_by`` make them.
        combine: Sums (..., k) -> values (...), as in ``metrics.Metric``.
        plan: Over the materials.
        seed: Of the draw of training seeds.

    Returns:
        (n_resamples, n_sizes) mean over the drawn seeds of the metric.
    """
    stream = np.random.default_rng(seed)
    columns = []
    for runs in sums:
        values = np.stack([combine(plan.resample(run)) for run in runs], axis=1)
        chosen = stream.integers(0, len(runs), size=(len(values), max(len(runs) - 1, 1)))
        columns.append(np.take_along_axis(values, chosen, axis=1).mean(axis=1))
    return np.stack(columns, axis=1)


def crossing(first: PowerLawFit, second: PowerLawFit) -> Estimate:
    """The size from which ``second`` is better than ``first``: where training from scratch overtakes transfer.

    Infinite if it never is. Laws with floors are followed from the smallest fitted size, which is the answer if
    ``second`` is better there already, to ``FARTHEST``.
    """
    _same_confidence(first, second)
    start = min(first.fit_range[0], second.fit_range[0])
    value = float(_crossings(_row(first.law), _row(second.law), start)[0])
    n = min(len(first.draws), len(second.draws))
    return _estimate(value, _crossings(first.draws[:n], second.draws[:n], start), first.confidence)


def data_equivalence(first: PowerLawFit, second: PowerLawFit, sizes: ArrayLike) -> list[Estimate]:
    """How many times the data ``second`` needs to reach the error that ``first`` has at each size.

    Both errors are those of the fitted laws. Infinite where the error lies below the floor of ``second``.
    """
    _same_confidence(first, second)
    n = np.asarray(sizes, dtype=np.float64)
    count = min(len(first.draws), len(second.draws))
    values = _size(_row(second.law), _law(_row(first.law), n))[0] / n
    drawn = _size(second.draws[:count], _law(first.draws[:count], n)) / n
    return [_estimate(float(value), column, first.confidence) for value, column in zip(values, drawn.T, strict=True)]


def _row(law: PowerLaw) -> Floats:
    return np.array([[law.prefactor, law.exponent, law.floor]])


def _law(parameters: Floats, sizes: Floats) -> Floats:
    """(n_laws, n_sizes) errors of (n_laws, 3) parameters."""
    prefactor, exponent, floor = parameters.T[..., None]
    return np.asarray(prefactor * sizes**-exponent + floor, dtype=np.float64)


def _size(parameters: Floats, errors: Floats) -> Floats:
    """(n_laws, n) sizes at which (n_laws, n) errors are reached."""
    prefactor, exponent, floor = parameters.T[..., None]
    above = errors - floor
    reachable = (above > 0) & (exponent > 0)
    ratio = np.divide(prefactor, above, out=np.ones_like(above), where=reachable)
    with np.errstate(over="ignore"):  # beyond the largest double is as good as never
        sizes = ratio ** (1 / np.where(exponent > 0, exponent, 1.0))
    return np.where(reachable, sizes, np.inf)


def _logarithms(n: Floats, e: Floats, at_least: int) -> tuple[Floats, Floats]:
    if len(set(n.tolist())) < at_least:
        raise ValueError(f"{len(n)} points in the fit range, {at_least} of different size are needed: widen the range")
    if (n <= 0).any() or (e <= 0).any():
        raise ValueError("a power law needs positive sizes and errors")
    return np.log(n), np.log(e)


def _r2(rest: Floats, y: Floats) -> float:
    return float(1 - (rest**2).sum() / ((y - y.mean()) ** 2).sum()) if np.ptp(y) > 0 else float("nan")


def _noise(rest: Floats, freedom: int, n_resamples: int, seed: int | Sequence[int]) -> Floats:
    """(n_resamples, n_points) normal noise of the scatter of ``rest``, whose true size is as uncertain as it is."""
    stream = np.random.default_rng(seed)
    size = np.sqrt((rest**2).sum() / stream.chisquare(freedom, (n_resamples, 1)))
    return np.asarray(size * stream.standard_normal((n_resamples, len(rest))))


def _fit(x: Floats, y: Floats, *, floor: bool) -> Floats:
    """(n_curves, 3) parameters of laws through (n_curves, n_points) logarithms of errors."""
    straight = _straight(x, y)
    if not floor:
        return straight
    candidates = [straight, *(_with_floor(x, y, part) for part in STARTS)]
    costs = [((np.log(_law(candidate, np.exp(x))) - y) ** 2).sum(axis=1) for candidate in candidates]
    best: Floats = np.stack(candidates)[np.argmin(costs, axis=0), np.arange(len(y))]
    return best


def _straight(x: Floats, y: Floats) -> Floats:
    """Straight lines in logarithms."""
    centred = x - x.mean()
    slope = y @ centred / (centred @ centred)
    prefactor = np.exp(y.mean(axis=1) - slope * x.mean())
    return np.stack([prefactor, -slope, np.zeros_like(slope)], axis=1)


def _with_floor(x: Floats, y: Floats, part: float) -> Floats:
    """Laws with floors, searched from floors that are a part of the smallest error.

    Levenberg and Marquardt's method for all curves side by side. The parameters are log(prefactor), exponent and
    log(floor), so that no floor is negative.
    """
    lowest = np.exp(y.min(axis=1, keepdims=True))
    start = np.array([_straight(x, row[None])[0] for row in np.log(np.exp(y) - part * lowest)])
    p = np.stack([np.log(start[:, 0]), start[:, 1], np.log(part * lowest[:, 0])], axis=1)
    least = np.log(NEGLIGIBLE * lowest[:, 0])
    rest, slopes = _linearised(p, x, y)
    damping = np.full(len(y), 1e-3)
    for _ in range(ITERATIONS):
        normal = np.einsum("cpi,cpj->cij", slopes, slopes)
        scale = np.einsum("cii->ci", normal) + 1e-12
        normal += damping[:, None, None] * scale[:, :, None] * np.eye(3)
        step = np.linalg.solve(normal, np.einsum("cpi,cp->ci", slopes, rest)[..., None])[..., 0]
        trial = p - np.clip(step, -1, 1)
        trial[:, 2] = np.maximum(trial[:, 2], least)
        new_rest, new_slopes = _linearised(trial, x, y)
        better = (new_rest**2).sum(axis=1) < (rest**2).sum(axis=1)
        p, rest = np.where(better[:, None], trial, p), np.where(better[:, None], new_rest, rest)
        slopes = np.where(better[:, None, None], new_slopes, slopes)
        damping = np.where(better, damping / 5, np.minimum(damping * 5, 1e12))
        if not better.any() and damping.min() > 1e6:
            break
    floors = np.where(p[:, 2] > least, np.exp(p[:, 2]), 0.0)
    return np.stack([np.exp(p[:, 0]), p[:, 1], floors], axis=1)


def _linearised(p: Floats, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """(n_curves, n_points) residuals in the logarithm, and (n_curves, n_points, 3) their derivatives."""
    decay, floor = np.exp(p[:, :1] - p[:, 1:2] * x), np.exp(p[:, 2:])
    total = decay + floor
    slopes = np.stack([decay / total, -x * decay / total, floor / total], axis=2)
    return np.log(total) - y, slopes


def _crossings(first: Floats, second: Floats, start: float) -> Floats:
    """(n,) sizes from which each law of ``second`` is better than that of ``first``."""
    if not first[:, 2].any() and not second[:, 2].any():
        steeper = second[:, 1] - first[:, 1]
        lead = np.log(second[:, 0]) - np.log(first[:, 0])
        position = np.divide(lead, steeper, out=np.full_like(lead, np.inf), where=steeper > 0)
        with np.errstate(over="ignore"):  # beyond the largest double is as good as never
            return np.asarray(np.exp(position), dtype=np.float64)
    grid = np.linspace(np.log(start), np.log(FARTHEST), STEPS)
    ahead = np.log(_law(second, np.exp(grid))) - np.log(_law(first, np.exp(grid)))
    meets = (ahead[:, :-1] > 0) & (ahead[:, 1:] <= 0)
    at = meets.argmax(axis=1)
    rows = np.arange(len(ahead))
    here, there = ahead[rows, at], ahead[rows, at + 1]
    step = np.divide(here, here - there, out=np.zeros_like(here), where=here != there)
    found = np.exp(grid[at] + step * (grid[1] - grid[0]))
    return np.where(meets.any(axis=1), found, np.where(ahead[:, 0] <= 0, start, np.inf))


def _estimate(value: float, drawn: Floats, confidence: float) -> Estimate:
    """Percentiles by ranks, which may be infinite."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail], method="inverted_cdf")
    return Estimate(value, float(low), float(high))


def _same_confidence(first: PowerLawFit, second: PowerLawFit) -> None:
    if first.confidence != second.confidence:
        raise ValueError(f"fits with {first.confidence} and {second.confidence} confidence cannot be combined")
