"""What looks wrong about predictions that can be scored: units, signs, the other functional's head. Notes, never corrections.

A slope of predictions against labels near a known wrong factor names its cause (``mistakes``); one far from 1 without a known
cause is told as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from xferbench.mistakes import ENERGY_FACTORS, FORCE_FACTORS, STRESS_FACTORS, wrong_factor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from xferbench.functionals import Functional
    from xferbench.measure import Sample
    from xferbench.results import Corrections, Identity
    from xferbench.tasks.rows import Rows


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
    found = wrong_factor(sample.prediction.ravel(), sample.label.ravel(), factors)
    if found is None:
        return None
    slope, cause = found
    told = f"{name}: predictions are {slope:.3g} times the labels"
    return f"{told}; check unit and sign" if cause is None else f"{told}; it looks as if {cause}"


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
        f"the model declares {declared}, but its predictions follow the {identity.verdict} labels ({evidence}; 0 is the "
        "source, 1 the target): wrong head, or weights before the transfer?"
    )


OFFSET_MATCH = 0.1
"""Relative distance up to which fitted offsets are taken for a known mistake of elemental energies."""

FEWEST_ELEMENTS = 3
"""Elements below which offsets resemble anything."""


def offset_suspicion(
    offsets: Mapping[str, float] | None,
    labels: Mapping[str, float],
    declared: Mapping[str, float] | None,
    source: Mapping[str, float],
) -> str | None:
    """Elemental energies that were added twice, not at all, or of the other functional.

    Args:
        offsets: Symbol -> eV/atom that must be added to the predictions to be the labels.
        labels: Symbol -> elemental energy of the labels.
        declared: Of the model, if it declares any.
        source: Of the labels of the source functional, on the same frames.
    """
    if offsets is None:
        return None
    own = labels if declared is None else declared
    known = {
        "the elemental energies were added twice": {name: -own.get(name, 0.0) for name in offsets},
        "the elemental energies are missing, and these are energies of formation or cohesion": {
            name: own.get(name, 0.0) for name in offsets
        },
        "the elemental energies are those of the source functional, and only the rest is of the target": {
            name: labels[name] - source[name] for name in offsets if name in labels and name in source
        },
    }
    values = np.array(list(offsets.values()))
    if len(values) < FEWEST_ELEMENTS:
        return None
    for cause, table in known.items():
        if set(table) != set(offsets):
            continue
        wanted = np.array([table[name] for name in offsets])
        size = float(np.linalg.norm(wanted))
        if size > len(values) ** 0.5 and np.linalg.norm(values - wanted) < OFFSET_MATCH * size:
            return f"energies are off by a sum over elements as if {cause}: raw energies mean nothing, aligned ones are right"
    return None


def correction_suspicion(found: Corrections) -> str | None:
    """Energies that hold corrections nobody declared, or hold none of those that were declared."""
    share = "" if found.value is None else f"{found.value:.2f} [{found.ci_low:.2f}, {found.ci_high:.2f}] of them"
    if found.verdict == "corrected" and found.declared != "MP2020":
        return (
            f"energies hold the MP2020 corrections of the Materials Project ({share}), and the labels do not: formation and "
            "reaction energies from this model are those of corrected labels; declare energy_corrections in its card"
        )
    if found.verdict == "uncorrected" and found.declared == "MP2020":
        return f"the card declares energies with MP2020 corrections, but the predictions hold {share}: another head or version?"
    return None
