"""What looks wrong about predictions that can be scored: units, signs, the other functional's head. Notes, never corrections.

Predictions are laid against labels by the line through the origin with the least absolute error, which a few wild frames
do not move. A slope near a known wrong factor names its cause; one far from 1 without a known cause is told as it is.
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

    from xferbench.metrics import Sample
    from xferbench.records import Functional
    from xferbench.results import Corrections, Identity
    from xferbench.scoring.rows import Rows

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


def suspect(
    rows: Mapping[tuple[str, str], Rows], identity: Identity, corrections: Corrections | None, declared: Functional
) -> tuple[str, ...]:
    """Everything that looks wrong, a sentence each.

    Args:
        rows: Of forces, stress and energy differences.
        identity: Which functional the predictions follow.
        corrections: Whether predicted energies hold empirical corrections.
        declared: Functional the model says it reproduces.
    """
    found = [
        slope_suspicion("energy differences within a composition", rows["differences", "none"].sample, ENERGY_FACTORS),
        slope_suspicion("forces", rows["forces", "none"].sample, FORCE_FACTORS),
        slope_suspicion("stress", rows["stress", "none"].sample, STRESS_FACTORS),
        identity_suspicion(identity, declared),
        None if corrections is None else correction_suspicion(corrections),
    ]
    return tuple(text for text in found if text is not None)


def slope_suspicion(name: str, sample: Sample | None, factors: Mapping[str, float]) -> str | None:
    """The cause that the slope of predictions against labels points to, if it is not near 1.

    Args:
        name: Of the quantity, for the sentence.
        sample: Its rows; none if it was not predicted.
        factors: Cause -> slope it would give. The first is the right one.
    """
    if sample is None:
        return None
    prediction, label = sample.prediction.ravel(), sample.label.ravel()
    slope, followed = robust_slope(prediction, label)
    if slope == 0 or max(followed, followed_in_squares(prediction, label, slope)) < FOLLOWED:
        return None
    known = {cause: slope / factor for cause, factor in factors.items() if slope / factor > 0}
    right = next(iter(factors))
    if right in known and 1 / PLAUSIBLE < known[right] < PLAUSIBLE:
        return None
    cause = min(known, key=lambda item: abs(np.log(known[item])), default=None)
    told = f"{name}: predictions are {slope:.3g} times the labels"
    if cause is not None and cause != right and NEAR[0] < known[cause] < NEAR[1]:
        return f"{told}; it looks as if {cause}"
    return f"{told}; check unit and sign"


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


def identity_suspicion(identity: Identity, declared: Functional) -> str | None:
    """A model that follows the other functional than it declares."""
    if not identity.declared_loses:
        return None
    evidence = ", ".join(
        f"{entry.quantity} λ = {entry.value:.2f} [{entry.ci_low:.2f}, {entry.ci_high:.2f}]"
        for entry in identity.entries
        if entry.verdict == identity.verdict
    )
    return (
        f"the model declares {declared}, but its predictions follow the {identity.verdict} labels ({evidence}; 0 is GGA, "
        "1 is r2SCAN): wrong head, or weights before the transfer?"
    )


def correction_suspicion(found: Corrections) -> str | None:
    """Energies that hold corrections nobody declared, or hold none of those that were declared."""
    share = "" if found.value is None else f"{found.value:.2f} [{found.ci_low:.2f}, {found.ci_high:.2f}] of them"
    if found.verdict == "corrected" and found.declared != "MP2020":
        return (
            f"energies hold the MP2020 corrections of the Materials Project ({share}), and the labels do not: formation and "
            "reaction energies from this model are those of corrected GGA; declare energy_corrections in its card"
        )
    if found.verdict == "uncorrected" and found.declared == "MP2020":
        return f"the card declares energies with MP2020 corrections, but the predictions hold {share}: another head or version?"
    return None
