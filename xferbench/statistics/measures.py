"""What transfer gained, what it cost, and one number out of many errors for those who must have one.

Everything here is plain arithmetic on errors (lower is better) that were measured elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, inf, log
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]


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
        domain: {key: _ratio(error, floors[domain][key], f"{domain}/{key}") for key, error in values.items()}
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


def _ratio(error: float, floor: float, name: str) -> float:
    if not 0 <= error < inf or not 0 < floor < inf:
        raise ValueError(f"{name}: error {error} over floor {floor} says nothing")
    return error / floor


def _geometric_mean(values: list[float]) -> float:
    return exp(sum(map(log, values)) / len(values)) if min(values) > 0 else 0.0
