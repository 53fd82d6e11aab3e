"""How errors fall with data: a power law per method and quantity, and each method against training from scratch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xferbench.statistics import Curve as Measure
from xferbench.statistics import crossing, data_equivalence, fit_power_law
from xferbench.workflow.studies.plan import SCRATCH
from xferbench.workflow.studies.summarising import finite

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from xferbench.statistics import Estimate, PowerLawFit
    from xferbench.workflow.studies.summarising import Curve

FEWEST = 3
"""Sizes of a power law; through two it passes whatever they are."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Versus:
    """A method against training from scratch.

    Attributes:
        crossing: Training pairs from which scratch is better, by the laws; infinite: never.
        equivalence: Training pairs -> times the data that scratch needs for the same error, by the laws.
        observed: The same between the measured points, without a law; NaN beyond the last.
    """

    method: str
    quantity: str
    crossing: Estimate
    equivalence: Mapping[int, Estimate]
    observed: Mapping[int, float]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scaling:
    """Power laws of a study.

    Attributes:
        fits: (method, quantity) -> law with intervals over test materials and training seeds.
        comparisons: With scratch.
        unfitted: Curves without a law, and why.
    """

    fits: Mapping[tuple[str, str], PowerLawFit]
    comparisons: Sequence[Versus]
    unfitted: Sequence[str]


def fit(curves: Mapping[tuple[str, str], Curve], n_pairs: Mapping[float, int], fit_from: int) -> Scaling:
    """Fit all curves, and compare those that have a counterpart from scratch.

    Args:
        curves: By method and quantity.
        n_pairs: Subset -> training pairs.
        fit_from: Smallest number of pairs to fit, declared before.
    """
    fits, unfitted = {}, []
    for key, curve in curves.items():
        sizes = _sizes(curve, n_pairs)
        why = _unfit(curve, sum(n >= fit_from for n in sizes), fit_from)
        if why is not None:
            unfitted.append(f"{key[0]}, {key[1]}: {why}")
            continue
        fits[key] = fit_power_law(sizes, curve.errors, fit_range=(fit_from, math.inf), curves=curve.draws)
    compared = [
        _versus(curves[key], curves[SCRATCH, key[1]], law, fits[SCRATCH, key[1]], n_pairs)
        for key, law in fits.items()
        if key[0] != SCRATCH and (SCRATCH, key[1]) in fits
    ]
    return Scaling(fits=fits, comparisons=compared, unfitted=unfitted)


def to_json(scaling: Scaling) -> dict[str, Any]:
    """Plain values; infinity is null."""
    return {
        "fits": [
            {
                "method": method,
                "quantity": quantity,
                "prefactor": _estimate(law.prefactor),
                "exponent": _estimate(law.exponent),
                "r2": finite(law.r2),
                "n_points": law.n_points,
                "n_outside": law.n_outside,
            }
            for (method, quantity), law in scaling.fits.items()
        ],
        "comparisons": [
            {
                "method": item.method,
                "quantity": item.quantity,
                "crossing": _estimate(item.crossing),
                "data_equivalence": [
                    {"n_pairs": n, **_estimate(factor), "observed": finite(item.observed[n])}
                    for n, factor in item.equivalence.items()
                ],
            }
            for item in scaling.comparisons
        ],
        "unfitted": list(scaling.unfitted),
    }


def _unfit(curve: Curve, usable: int, fit_from: int) -> str | None:
    """Why no law is fitted, if none is."""
    if usable < FEWEST:
        return f"{usable} sizes from {fit_from} pairs on, {FEWEST} are needed"
    if not (np.isfinite(curve.draws).all() and (curve.draws > 0).all()):
        return "too few test materials have it: some draws have no error"
    return None


def _versus(
    first: Curve, second: Curve, law: PowerLawFit, scratch: PowerLawFit, n_pairs: Mapping[float, int]
) -> Versus:
    sizes = _sizes(first, n_pairs)
    needed = _measured(second, n_pairs).size(first.errors)
    return Versus(
        method=first.method,
        quantity=first.quantity,
        crossing=crossing(law, scratch),
        equivalence=dict(zip(sizes, data_equivalence(law, scratch, sizes), strict=True)),
        observed={n: float(size / n) for n, size in zip(sizes, needed, strict=True)},
    )


def _sizes(curve: Curve, n_pairs: Mapping[float, int]) -> list[int]:
    return [n_pairs[subset] for subset in curve.subsets]


def _measured(curve: Curve, n_pairs: Mapping[float, int]) -> Measure:
    return Measure(x=np.array(_sizes(curve, n_pairs), dtype=np.float64), errors=curve.errors)


def _estimate(estimate: Estimate) -> dict[str, float | None]:
    return {name: finite(value) for name, value in estimate._asdict().items()}
