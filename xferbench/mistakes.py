"""The usual mistakes of units and signs, and how to tell them from two sets of numbers that should agree.

One set is laid against the other by the line through the origin with the least absolute error, which a few wild frames do not
move. A slope near a known wrong factor names its cause.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from xferbench.units import (
    BOHR_IN_ANGSTROM,
    EV_IN_KCAL_PER_MOL,
    EV_IN_KJ_PER_MOL,
    EV_PER_A3_IN_GPA,
    HARTREE_IN_EV,
    KBAR_IN_GPA,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

FLIPPED = "the sign is flipped"
NEAR = (0.5, 1.3)
"""A slope between these parts of a known wrong one is taken for it: potentials are softened by tens of per cent, seldom stiffer."""

PLAUSIBLE = 4.0
"""A slope within this factor of 1 is a bad potential rather than a wrong unit."""

FOLLOWED = 0.4
"""Fraction of the size of the predictions that a line must account for before its slope means anything."""

KBAR = EV_PER_A3_IN_GPA / KBAR_IN_GPA

STRESS_FACTORS = {
    "eV/Å³, tension positive": 1.0,
    f"{FLIPPED} (compression positive?)": -1.0,
    "it is in GPa instead of eV/Å³": EV_PER_A3_IN_GPA,
    "it is in GPa instead of eV/Å³, and the sign is flipped": -EV_PER_A3_IN_GPA,
    "it is in kBar instead of eV/Å³": KBAR,
    "it is in kBar with VASP's sign instead of eV/Å³, tension positive": -KBAR,
    "it was converted from GPa twice": 1 / EV_PER_A3_IN_GPA,
    "it was converted from kBar twice": 1 / KBAR,
    "it is kBar, converted as if it were GPa": 1 / KBAR_IN_GPA,
    "it is kBar with VASP's sign, converted as if it were GPa": -1 / KBAR_IN_GPA,
    "it is GPa, converted as if it were kBar": KBAR_IN_GPA,
}
"""What a stress is in -> slope against the labels."""

FORCE_FACTORS = {
    "eV/Å": 1.0,
    f"{FLIPPED} (gradients instead of forces?)": -1.0,
    "they are in meV/Å instead of eV/Å": 1e3,
    "they are in kcal/mol/Å instead of eV/Å": EV_IN_KCAL_PER_MOL,
    "they are in kJ/mol/Å instead of eV/Å": EV_IN_KJ_PER_MOL,
    "they are in Hartree/Bohr instead of eV/Å": BOHR_IN_ANGSTROM / HARTREE_IN_EV,
}
"""What forces are in -> slope against the labels."""

ENERGY_FACTORS = {
    "eV": 1.0,
    FLIPPED: -1.0,
    "they are in meV instead of eV": 1e3,
    "they are in kcal/mol instead of eV": EV_IN_KCAL_PER_MOL,
    "they are in kJ/mol instead of eV": EV_IN_KJ_PER_MOL,
    "they are in Hartree instead of eV": 1 / HARTREE_IN_EV,
    "they are in Rydberg instead of eV": 2 / HARTREE_IN_EV,
}
"""What energies are in -> slope of differences within a composition."""


def wrong_factor(values: Floats, right: Floats, factors: Mapping[str, float]) -> tuple[float, str | None] | None:
    """The slope of values against the right ones and the cause that it points to, if it is not near 1.

    Args:
        values: (n,) to be judged.
        right: (n,) in the unit and with the sign of the package.
        factors: Cause -> slope it would give. The first is the right one.

    Returns:
        Nothing if the slope is near 1, or means nothing since the values do not follow it; no cause if none is near.
    """
    slope, followed = robust_slope(values, right)
    if slope == 0 or max(followed, followed_in_squares(values, right, slope)) < FOLLOWED:
        return None
    known = {cause: slope / factor for cause, factor in factors.items() if slope / factor > 0}
    first = next(iter(factors))
    if first in known and 1 / PLAUSIBLE < known[first] < PLAUSIBLE:
        return None
    cause = min(known, key=lambda item: abs(np.log(known[item])), default=None)
    return slope, cause if cause is not None and cause != first and NEAR[0] < known[cause] < NEAR[1] else None


def robust_slope(prediction: Floats, label: Floats) -> tuple[float, float]:
    """The line through the origin with the least absolute error, and how much of the predictions it accounts for.

    The slope is the median of prediction/label, each weighed with |label|.

    >>> robust_slope(np.array([2.0, 4.0, 60.0]), np.array([1.0, 2.0, 1.0]))
    (2.0, 0.12121212121212122)

    Returns:
        The slope, and 1 - Σ |prediction - slope label| / Σ |prediction|; both 0 if either side is zero throughout.

    References:
        Laplace's method of situation; Bloomfield and Steiger, Least Absolute Deviations (1983), section 1.2.
    """
    size = np.abs(label)
    there = size > 0
    total = float(np.abs(prediction).sum())
    if not there.any() or total == 0:
        return 0.0, 0.0
    ratio, weight = prediction[there] / label[there], size[there]
    order = np.argsort(ratio, kind="stable")
    reached = np.cumsum(weight[order])
    slope = float(ratio[order][np.searchsorted(reached, reached[-1] / 2)])
    return slope, 1 - float(np.abs(prediction - slope * label).sum()) / total


def followed_in_squares(prediction: Floats, label: Floats, slope: float) -> float:
    """How much of the predictions the least-squares line through the origin accounts for; 0 if it has another sign than ``slope``.

    Sums of absolute values are lost in many small labels, such as the stresses near equilibrium, which the other functional
    shifts by more than they are; squares look at the large ones. Wild frames spoil squares, and the other sums see past them.

    >>> round(followed_in_squares(np.array([-4.0, 3.0]), np.array([5.0, 0.0]), -1.0), 9)
    0.4

    Returns:
        1 - ‖prediction - line‖ / ‖prediction‖ = 1 - √(1 - cos²).
    """
    product = float(prediction @ label)
    if product * slope <= 0:
        return 0.0
    cosine = product / float(np.linalg.norm(prediction) * np.linalg.norm(label))
    return 1 - float(np.sqrt(max(0.0, 1 - cosine * cosine)))
