"""How errors fall with data, what transfer gained and cost, and one number out of many: power laws a·n^-b and a·n^-b + c, where two of them cross, and what one costs in the other.

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
from math import exp, inf, log, nan
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from xferbench.measure.bootstrap import Estimate
from xferbench.storage import finite

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from xferbench.measure.bootstrap import ClusterBootstrap

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


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerLaw:
    """error = prefactor · n^-exponent + floor.

    >>> law = PowerLaw(prefactor=8.0, exponent=0.5)
    >>> round(float(law(4)), 9), round(float(law.size(2.0)), 9)
    (4.0, 16.0)
    """

    prefactor: float
    exponent: float
    floor: float = 0.0

    def __call__(self, sizes: ArrayLike) -> Floats:
        """The error at sizes n, in their shape."""
        n = np.log(np.asarray(sizes, dtype=np.float64)).ravel()
        errors: Floats = np.exp(_law(_row(self), n)).reshape(np.shape(sizes))
        return errors

    def size(self, errors: ArrayLike) -> Floats:
        """The size at which an error is reached, in their shape; infinite at the floor and below."""
        e = np.log(np.asarray(errors, dtype=np.float64)).reshape(1, -1)
        sizes: Floats = _exp(_size(_row(self), e)).reshape(np.shape(errors))
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
        draws: (n_resamples, 3) log(prefactor), exponent and log(floor) of the law of each drawn curve. Logarithms, because
            noisy curves of few points have laws whose prefactors no floating-point number holds.
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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Versus:
    """A first learning curve, of transfer, against a second one, from scratch.

    Attributes:
        crossing: Size from which the second is better, by the laws; infinite: never.
        equivalence: Size -> times the data that the second needs for the same error, by the laws.
        observed: The same between the measured points, without a law; NaN beyond the last.
    """

    crossing: Estimate
    equivalence: Mapping[float, Estimate]
    observed: Mapping[float, float]

    def to_json(self, size: str) -> dict[str, Any]:
        """Plain values; infinity is null.

        Args:
            size: What sizes are called.
        """
        return {
            "crossing": self.crossing.to_json(),
            "data_equivalence": [
                {size: n, **factor.to_json(), "observed": finite(self.observed[n])}
                for n, factor in self.equivalence.items()
            ],
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any], size: str) -> Versus:
        """What ``to_json`` made plain."""
        factors = values["data_equivalence"]
        return cls(
            crossing=Estimate.from_json(values["crossing"], inf),
            equivalence={item[size]: Estimate.from_json(item, inf) for item in factors},
            observed={item[size]: nan if item["observed"] is None else item["observed"] for item in factors},
        )


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
    rest = y - _law(parameters, x)[0]
    if curves is None:
        drawn = y - rest + _noise(rest, len(x) - n_parameters, n_resamples, seed)
    else:
        drawn = np.log(curves[:, inside])
    draws = _fit(x, drawn, floor=floor)
    columns = [(_exp(values[:, 0]), values[:, 1], _exp(values[:, 2])) for values in (parameters, draws)]
    estimates = [_estimate(float(value[0]), drawn, confidence) for value, drawn in zip(*columns, strict=True)]
    return PowerLawFit(
        law=_representable(
            PowerLaw(prefactor=estimates[0].value, exponent=estimates[1].value, floor=estimates[2].value)
        ),
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
    n = np.log(np.asarray(sizes, dtype=np.float64))
    count = min(len(first.draws), len(second.draws))
    values = _exp(_size(_row(second.law), _law(_row(first.law), n))[0] - n)
    drawn = _exp(_size(second.draws[:count], _law(first.draws[:count], n)) - n)
    return [_estimate(float(value), column, first.confidence) for value, column in zip(values, drawn.T, strict=True)]


def versus(
    first: PowerLawFit, second: PowerLawFit, sizes: Sequence[float], errors: ArrayLike, measured: Curve
) -> Versus:
    """Compare two learning curves at sizes of the first.

    Args:
        first: Its law.
        second: Law of the other.
        sizes: (n,) of the first.
        errors: (n,) of the first, as measured.
        measured: The other, as measured.
    """
    factors = measured.size(errors) / np.asarray(sizes, dtype=np.float64)
    return Versus(
        crossing=crossing(first, second),
        equivalence=dict(zip(sizes, data_equivalence(first, second, sizes), strict=True)),
        observed=dict(zip(sizes, factors.tolist(), strict=True)),
    )


def _row(law: PowerLaw) -> Floats:
    floor = np.log(law.floor) if law.floor > 0 else -np.inf
    return np.array([[np.log(law.prefactor), law.exponent, floor]])


def _representable(law: PowerLaw) -> PowerLaw:
    if not 0 < law.prefactor < np.inf:
        raise ValueError(
            f"the fitted law n^{-law.exponent:.4g} has no prefactor that a number can hold: the points are too few or too close"
        )
    return law


def _exp(logarithms: Floats) -> Floats:
    with np.errstate(over="ignore", under="ignore"):  # beyond the largest double is as good as infinite
        return np.asarray(np.exp(logarithms), dtype=np.float64)


def _law(parameters: Floats, n: Floats) -> Floats:
    """(n_laws, n_sizes) logarithms of the errors of (n_laws, 3) parameters at (n_sizes,) logarithms of sizes."""
    prefactor, exponent, floor = parameters.T[..., None]
    return np.asarray(np.logaddexp(prefactor - exponent * n, floor), dtype=np.float64)


def _size(parameters: Floats, e: Floats) -> Floats:
    """(n_laws, n) logarithms of the sizes at which errors are reached, of (n_laws, n) logarithms of errors."""
    prefactor, exponent, floor = parameters.T[..., None]
    reachable = (e > floor) & (exponent > 0)
    part = np.exp(np.minimum(np.where(reachable, floor, -np.inf) - e, 0.0))  # of the error that is floor
    above = e + np.log1p(-np.where(reachable, part, 0.0))
    return np.where(reachable, (prefactor - above) / np.where(exponent > 0, exponent, 1.0), np.inf)


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
    costs = [((_law(candidate, x) - y) ** 2).sum(axis=1) for candidate in candidates]
    best: Floats = np.stack(candidates)[np.argmin(costs, axis=0), np.arange(len(y))]
    return best


def _straight(x: Floats, y: Floats) -> Floats:
    """Straight lines in logarithms."""
    centred = x - x.mean()
    slope = y @ centred / (centred @ centred)
    return np.stack([y.mean(axis=1) - slope * x.mean(), -slope, np.full_like(slope, -np.inf)], axis=1)


def _with_floor(x: Floats, y: Floats, part: float) -> Floats:
    """Laws with floors, searched from floors that are a part of the smallest error.

    Levenberg and Marquardt's method for all curves side by side, in units of the smallest error of each. The parameters
    are log(prefactor), exponent and log(floor), so that no floor is negative.
    """
    lowest = y.min(axis=1, keepdims=True)
    y = y - lowest
    p = _straight(x, y + np.log1p(-part * np.exp(-y)))
    p[:, 2] = np.log(part)
    least = np.log(NEGLIGIBLE)
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
        damping = np.where(better, np.maximum(damping / 5, 1e-12), np.minimum(damping * 5, 1e12))
        if not better.any() and damping.min() > 1e6:
            break
    floors = np.where(p[:, 2] > least, p[:, 2] + lowest[:, 0], -np.inf)
    return np.stack([p[:, 0] + lowest[:, 0], p[:, 1], floors], axis=1)


def _linearised(p: Floats, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """(n_curves, n_points) residuals in the logarithm, and (n_curves, n_points, 3) their derivatives."""
    decay, floor = p[:, :1] - p[:, 1:2] * x, p[:, 2:]
    total = np.logaddexp(decay, floor)
    falling, flat = np.exp(decay - total), np.exp(floor - total)
    return total - y, np.stack([falling, -x * falling, flat], axis=2)


def _crossings(first: Floats, second: Floats, start: float) -> Floats:
    """(n,) sizes from which each law of ``second`` is better than that of ``first``."""
    if np.isneginf(first[:, 2]).all() and np.isneginf(second[:, 2]).all():
        steeper = second[:, 1] - first[:, 1]
        lead = second[:, 0] - first[:, 0]
        return _exp(np.divide(lead, steeper, out=np.full_like(lead, np.inf), where=steeper > 0))
    grid = np.linspace(np.log(start), np.log(FARTHEST), STEPS)
    ahead = _law(second, grid) - _law(first, grid)
    meets = (ahead[:, :-1] > 0) & (ahead[:, 1:] <= 0)
    at = meets.argmax(axis=1)
    rows = np.arange(len(ahead))
    here, there = ahead[rows, at], ahead[rows, at + 1]
    step = np.divide(here, here - there, out=np.zeros_like(here), where=meets[rows, at])
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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Curve:
    """Measured errors along an axis: training structures, or compute.

    Between points the error is interpolated linearly in both logarithms, as a power law between neighbours; beyond the
    ends it is unknown.

    Attributes:
        x: (n,) positive, finite and increasing.
        errors: (n,) positive and finite.

    Raises:
        ValueError: Anything else.
    """

    x: Floats
    errors: Floats

    def __post_init__(self) -> None:
        if self.x.ndim != 1 or self.x.shape != self.errors.shape or not self.x.size:
            raise ValueError(f"{self.x.shape} positions and {self.errors.shape} errors do not make a curve")
        finite = np.isfinite(self.x).all() and np.isfinite(self.errors).all()
        if not finite or (self.x <= 0).any() or (self.errors <= 0).any() or (np.diff(self.x) <= 0).any():
            raise ValueError("a curve needs positive errors at positive, increasing positions, all finite")

    def __call__(self, x: ArrayLike) -> Floats:
        """Errors at positions; NaN outside the measured range."""
        at = np.log(np.asarray(x, dtype=np.float64))
        return np.exp(np.interp(at, np.log(self.x), np.log(self.errors), left=np.nan, right=np.nan))

    def size(self, errors: ArrayLike) -> Floats:
        """The first position at which an error is reached; NaN where the curve never has it.

        A curve that starts below the error has reached it somewhere before its first point: NaN as well.
        """
        wanted = np.atleast_1d(np.asarray(errors, dtype=np.float64))
        return np.array([self._first(float(error)) for error in wanted]).reshape(np.shape(errors))

    def _first(self, error: float) -> float:
        reached = np.flatnonzero(self.errors <= error)
        if not reached.size or (reached[0] == 0 and self.errors[0] < error):
            return float("nan")
        i = int(reached[0])
        if i == 0:
            return float(self.x[0])
        x, y = np.log(self.x[i - 1 : i + 1]), np.log(self.errors[i - 1 : i + 1])
        return float(np.exp(np.interp(-log(error), -y, x)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """Transfer against training from scratch at the same point of an axis.

    Attributes:
        at: Structures or compute.
        transfer: Error.
        scratch: Error, same unit.
    """

    at: float
    transfer: float
    scratch: float

    @property
    def difference(self) -> float:
        """Scratch minus transfer: positive where transfer helps."""
        return self.scratch - self.transfer

    @property
    def fraction(self) -> float:
        """Part of the scratch error that transfer removes; negative where it adds some."""
        return 1 - self.transfer / self.scratch


def gain(transfer: Curve, scratch: Curve, at: ArrayLike) -> list[Gain]:
    """Gain of transfer at equal data or at equal compute, whichever the axes of the curves are.

    For equal compute let the axis of ``transfer`` say whether the pre-training counts: without it the question is what
    to do with a published model, with it whether pre-training should have been done.

    >>> transfer = Curve(x=np.array([100.0, 10000.0]), errors=np.array([40.0, 10.0]))
    >>> scratch = Curve(x=np.array([100.0, 10000.0]), errors=np.array([400.0, 25.0]))
    >>> [item] = gain(transfer, scratch, [1000.0])
    >>> round(item.transfer, 6), round(item.scratch, 6), round(item.fraction, 6)
    (20.0, 100.0, 0.8)

    Args:
        transfer: Errors of the transferred model.
        scratch: Errors of the model trained from nothing.
        at: Points of the axis; outside of a curve its error, and so the gain, is NaN.
    """
    points = np.atleast_1d(np.asarray(at, dtype=np.float64))
    return [
        Gain(at=x, transfer=first, scratch=second)
        for x, first, second in zip(points.tolist(), transfer(points).tolist(), scratch(points).tolist(), strict=True)
    ]


def negative_transfer_index(transfer: Mapping[str, float], scratch: Mapping[str, float]) -> dict[str, float]:
    """Error after transfer over error from scratch, per quantity: above 1, transfer did harm.

    >>> negative_transfer_index({"force": 54.0, "magmom": 0.027}, {"force": 45.0, "magmom": 0.018})
    {'force': 1.2, 'magmom': 1.5}

    Raises:
        ValueError: Different quantities, or an error from scratch that is not positive.
    """
    if transfer.keys() != scratch.keys():
        raise ValueError(f"different quantities: {sorted(transfer.keys() ^ scratch.keys())} on one side only")
    bad = [key for key, error in scratch.items() if error <= 0]
    if bad:
        raise ValueError(f"the error from scratch of {', '.join(bad)} is not positive: nothing to compare with")
    return {key: transfer[key] / scratch[key] for key in transfer}


def forgetting(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """Change of the error on the *source* functional by transfer, per quantity, in its unit: positive is forgotten.

    >>> forgetting({"energy": 30.0}, {"energy": 75.0})
    {'energy': 45.0}

    Raises:
        ValueError: Different quantities.
    """
    if before.keys() != after.keys():
        raise ValueError(f"different quantities: {sorted(before.keys() ^ after.keys())} on one side only")
    return {key: after[key] - before[key] for key in before}


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregate:
    """One number and everything it was made of.

    Attributes:
        value: Mean over the domains.
        domains: Domain -> geometric mean of its components.
        components: Domain -> metric -> error over the error of the floor, at most 1.
        capped: Components that were above 1, as ``domain/metric``.
    """

    value: float
    domains: Mapping[str, float]
    components: Mapping[str, Mapping[str, float]]
    capped: tuple[str, ...]


def aggregate(errors: Mapping[str, Mapping[str, float]], floors: Mapping[str, Mapping[str, float]]) -> Aggregate:
    """Errors relative to a floor that knows the composition only, as LAMBench does it; 0 is perfect, 1 is no better.

    No table shows it unless asked: a single number hides which task a model fails, and the cap makes every failure
    beyond the floor the same.

    >>> model = {"crystals": {"energy": 20.0, "force": 200.0}, "molecules": {"energy": 900.0}}
    >>> floor = {"crystals": {"energy": 80.0, "force": 200.0}, "molecules": {"energy": 300.0}}
    >>> result = aggregate(model, floor)
    >>> result.domains, result.value, result.capped
    ({'crystals': 0.5, 'molecules': 1.0}, 0.75, ('molecules/energy',))

    Args:
        errors: Domain -> metric -> error of the model.
        floors: The same of the floor.

    Raises:
        ValueError: Other domains or metrics on the two sides, none at all, or impossible errors.

    References:
        LAMBench, arXiv:2504.19578: error over that of a dummy, capped, log-mean within a domain, mean over domains.
    """
    if not errors or any(not values for values in errors.values()):
        raise ValueError("nothing to aggregate")
    names, others = (
        {f"{domain}/{key}" for domain, values in side.items() for key in values} for side in (errors, floors)
    )
    if names != others:
        raise ValueError(
            f"model and floor must have the same metrics; only one has {', '.join(sorted(names ^ others))}"
        )
    ratios = {
        domain: {key: _over_floor(error, floors[domain][key], f"{domain}/{key}") for key, error in values.items()}
        for domain, values in errors.items()
    }
    components = {domain: {key: min(ratio, 1.0) for key, ratio in values.items()} for domain, values in ratios.items()}
    domains = {domain: _geometric_mean(list(values.values())) for domain, values in components.items()}
    return Aggregate(
        value=sum(domains.values()) / len(domains),
        domains=domains,
        components=components,
        capped=tuple(f"{domain}/{key}" for domain, values in ratios.items() for key in values if values[key] > 1),
    )


def _over_floor(error: float, floor: float, name: str) -> float:
    if not 0 <= error < inf or not 0 < floor < inf:
        raise ValueError(f"{name}: error {error} over floor {floor} says nothing")
    return error / floor


def _geometric_mean(values: list[float]) -> float:
    return exp(sum(map(log, values)) / len(values)) if min(values) > 0 else 0.0
