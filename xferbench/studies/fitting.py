"""How errors fall with data: a power law per method and quantity, each method against training from scratch, and what to expect of more."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xferbench.measure import FACTORS, FEWEST_SIZES, Estimate, PowerLaw, Versus, expected_errors, fit_power_law, versus
from xferbench.measure import Curve as Measure
from xferbench.storage import finite
from xferbench.studies.plan import scratch_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike

    from xferbench.measure import PowerLawFit
    from xferbench.records import Floats
    from xferbench.studies.summarising import Curve, Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Law:
    """A power law of a study; its intervals are over test materials and training seeds.

    Attributes:
        prefactor: Of error = prefactor · n^-exponent.
        exponent: The same.
        r2: Fraction of the variance of log(error) that it explains; NaN if all errors are equal.
        n_points: Sizes that it was fitted to.
        n_outside: Smaller ones.
    """

    prefactor: Estimate
    exponent: Estimate
    r2: float
    n_points: int
    n_outside: int

    @classmethod
    def of(cls, fitted: PowerLawFit) -> Law:
        """Without its draws."""
        return cls(
            prefactor=fitted.prefactor,
            exponent=fitted.exponent,
            r2=fitted.r2,
            n_points=fitted.n_points,
            n_outside=fitted.n_outside,
        )

    def __call__(self, sizes: ArrayLike) -> Floats:
        """The error at sizes n, in their shape."""
        return PowerLaw(prefactor=self.prefactor.value, exponent=self.exponent.value)(sizes)


Key = tuple[str, str]
"""Method and quantity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """How the errors of a study fall with data.

    Attributes:
        fits: Method and quantity -> power law.
        comparisons: The same -> against training from scratch.
        unfitted: Curves without a law, and why.
    """

    fits: Mapping[Key, Law]
    comparisons: Mapping[Key, Versus]
    unfitted: Sequence[str]


def fit(curves: Mapping[Key, Curve], n_training: Mapping[float, int], fit_from: int) -> Scaling:
    """Fit all curves, and compare those that have a counterpart from scratch.

    Args:
        curves: By method and quantity.
        n_training: Subset -> training frames.
        fit_from: Smallest number of training frames to fit, declared before.
    """
    fits, unfitted = {}, []
    for key, curve in curves.items():
        sizes = _sizes(curve, n_training)
        why = _unfit(curve, sum(n >= fit_from for n in sizes), fit_from)
        if why is not None:
            unfitted.append(f"{key[0]}, {key[1]}: {why}")
            continue
        fits[key] = fit_power_law(sizes, curve.errors, fit_range=(fit_from, math.inf), curves=curve.draws)
    compared = {
        (method, quantity): versus(
            law,
            fits[scratch_of(method), quantity],
            _sizes(curves[method, quantity], n_training),
            curves[method, quantity].errors,
            _measured(curves[scratch_of(method), quantity], n_training),
        )
        for (method, quantity), law in fits.items()
        if method != scratch_of(method) and (scratch_of(method), quantity) in fits
    }
    return Scaling(
        fits={key: Law.of(fitted) for key, fitted in fits.items()},
        comparisons=compared,
        unfitted=unfitted,
    )


def expected(entries: Sequence[Entry], fit_from: int) -> dict[Key, dict[int, Estimate]]:
    """The error to expect of one more run with ``measure.FACTORS`` times the labels of the largest training set.

    Args:
        entries: Errors of the runs of a study.
        fit_from: Smallest number of training frames to look at.

    Returns:
        Method and quantity -> training frames -> error; those with fewer sizes than that takes are left out.
    """
    runs: dict[Key, list[tuple[int, float]]] = {}
    for entry in entries:
        if entry.n_training >= fit_from:
            errors = [(entry.n_training, error) for error in entry.values.values() if error > 0]
            runs.setdefault((entry.method, entry.quantity), []).extend(errors)
    found = {}
    for key, points in runs.items():
        sizes = [n for n, _ in points]
        if len(set(sizes)) >= FEWEST_SIZES:
            beyond = [max(sizes) * factor for factor in FACTORS]
            found[key] = dict(zip(beyond, expected_errors(sizes, [error for _, error in points], beyond), strict=True))
    return found


def to_json(scaling: Scaling) -> dict[str, Any]:
    """Plain values; infinity is null."""
    return {
        "fits": [
            {
                "method": method,
                "quantity": quantity,
                "prefactor": law.prefactor.to_json(),
                "exponent": law.exponent.to_json(),
                "r2": finite(law.r2),
                "n_points": law.n_points,
                "n_outside": law.n_outside,
            }
            for (method, quantity), law in scaling.fits.items()
        ],
        "comparisons": [
            {"method": method, "quantity": quantity, **item.to_json("n_training")}
            for (method, quantity), item in scaling.comparisons.items()
        ],
        "unfitted": list(scaling.unfitted),
    }


def from_json(values: Mapping[str, Any]) -> Scaling:
    """What ``to_json`` made plain."""
    fits = {(item["method"], item["quantity"]): item for item in values["fits"]}
    return Scaling(
        fits={
            key: Law(
                prefactor=Estimate.from_json(item["prefactor"], math.inf),
                exponent=Estimate.from_json(item["exponent"]),
                r2=math.nan if item["r2"] is None else item["r2"],
                n_points=item["n_points"],
                n_outside=item["n_outside"],
            )
            for key, item in fits.items()
        },
        comparisons={
            (item["method"], item["quantity"]): Versus.from_json(item, "n_training") for item in values["comparisons"]
        },
        unfitted=values["unfitted"],
    )


def _unfit(curve: Curve, usable: int, fit_from: int) -> str | None:
    """Why no law is fitted, if none is."""
    if usable < FEWEST_SIZES:
        return f"{usable} sizes from {fit_from} frames on, {FEWEST_SIZES} are needed"
    if not (np.isfinite(curve.draws).all() and (curve.draws > 0).all()):
        return "too few test materials have it: some draws have no error"
    return None


def _sizes(curve: Curve, n_training: Mapping[float, int]) -> list[int]:
    return [n_training[subset] for subset in curve.subsets]


def _measured(curve: Curve, n_training: Mapping[float, int]) -> Measure:
    return Measure(x=np.array(_sizes(curve, n_training), dtype=np.float64), errors=curve.errors)
