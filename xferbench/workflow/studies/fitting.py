"""How errors fall with data: a power law per method and quantity, and each method against training from scratch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xferbench.statistics import Curve as Measure
from xferbench.statistics import fit_power_law, versus
from xferbench.storage import finite
from xferbench.workflow.studies.plan import SCRATCH

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from xferbench.statistics import PowerLawFit, Versus
    from xferbench.workflow.studies.summarising import Curve

FEWEST = 3
"""Sizes of a power law; through two it passes whatever they are."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scaling:
    """Power laws of a study.

    Attributes:
        fits: (method, quantity) -> law with intervals over test materials and training seeds.
        comparisons: (method, quantity) -> against training from scratch.
        unfitted: Curves without a law, and why.
    """

    fits: Mapping[tuple[str, str], PowerLawFit]
    comparisons: Mapping[tuple[str, str], Versus]
    unfitted: Sequence[str]


def fit(curves: Mapping[tuple[str, str], Curve], n_training: Mapping[float, int], fit_from: int) -> Scaling:
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
            fits[SCRATCH, quantity],
            _sizes(curves[method, quantity], n_training),
            curves[method, quantity].errors,
            _measured(curves[SCRATCH, quantity], n_training),
        )
        for (method, quantity), law in fits.items()
        if method != SCRATCH and (SCRATCH, quantity) in fits
    }
    return Scaling(fits=fits, comparisons=compared, unfitted=unfitted)


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


def _unfit(curve: Curve, usable: int, fit_from: int) -> str | None:
    """Why no law is fitted, if none is."""
    if usable < FEWEST:
        return f"{usable} sizes from {fit_from} frames on, {FEWEST} are needed"
    if not (np.isfinite(curve.draws).all() and (curve.draws > 0).all()):
        return "too few test materials have it: some draws have no error"
    return None


def _sizes(curve: Curve, n_training: Mapping[float, int]) -> list[int]:
    return [n_training[subset] for subset in curve.subsets]


def _measured(curve: Curve, n_training: Mapping[float, int]) -> Measure:
    return Measure(x=np.array(_sizes(curve, n_training), dtype=np.float64), errors=curve.errors)
