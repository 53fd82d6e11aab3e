"""References that cannot be right, caught by name before they shift an energy by tens of eV."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from xferbench.references.composition import atomic_number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from xferbench.references.labels import Labels

NEAR_ZERO = 1e-4
"""eV/atom. Fits by normal equations leave 1e-6 (single precision) or 1e-14 (double) for an element without data; the smallest
reference that is meant is the isolated PBE helium atom of VASP, -5e-4 eV."""

TYPICAL = 1.0
"""eV/atom. Only among references of which half are larger than this is a zero suspicious: shifts may well be small."""

LARGEST = 1e7
"""eV/atom. All electrons of the heaviest known atom together have -1.5e6 eV."""

BINDING = 1.0
"""eV/atom. What r2SCAN adds to an atom in a crystal differs by less than this from what it adds to it alone; on ``mini`` by 0.29
in the mean (``xferbench refs compare mini``)."""


def implausible(references: Mapping[str, float]) -> dict[str, str]:
    """Elements whose reference energy cannot be one, and why.

    The case in point is an element without training data: pseudo-inverse fits give it the smallest solution, zero up to
    rounding, without a word. The r2SCAN vector that CHGNet ships has such zeros for Yb, Po, At, Rn, Fr and Ra, among
    references down to -88 eV/atom.

    Args:
        references: Symbol -> eV/atom.

    Returns:
        Symbol -> reason, in the given order; empty if nothing is wrong.
    """
    finite = [abs(value) for value in references.values() if math.isfinite(value)]
    typical = float(np.median(finite)) if finite else 0.0
    found = {}
    for symbol, value in references.items():
        if not _is_symbol(symbol):
            found[symbol] = "is no chemical symbol"
        elif not math.isfinite(value):
            found[symbol] = f"is {value}, not a number"
        elif abs(value) > LARGEST:
            found[symbol] = f"is {value:.2g} eV/atom: no atom has such an energy"
        elif abs(value) < NEAR_ZERO and typical > TYPICAL:
            found[symbol] = (
                f"is {value:.2g} eV/atom among references of typically {typical:.3g}: an element without data"
            )
    return found


def not_the_gap(shift: Mapping[str, float], labels: Labels) -> str | None:
    """Why a shift per element that is no fit cannot be the one between the two labels of pairs.

    It leaves more of their gap than a single number for all atoms does, and more than binding explains. In that way tables in
    another unit or with the functionals exchanged are found; one wrong element among many is not.

    Args:
        shift: Symbol -> eV/atom; pairs with an element that it lacks are passed over.
        labels: Of the pairs.

    Returns:
        The reason, in words that follow what the shift is made of; ``None`` if it may be, or no pair can tell.
    """
    values = np.array([shift.get(symbol, np.nan) for symbol in labels.symbols])
    known = ~(labels.fractions[:, np.isnan(values)] > 0).any(axis=1)
    if not known.any():
        return None
    gap = labels.gap[known]
    left = float(np.abs(gap - labels.fractions[known] @ np.nan_to_num(values)).mean())
    mean = float(np.abs(gap - gap.mean()).mean())
    if left <= max(mean, BINDING):
        return None
    return (
        f"leave {left:.3g} eV/atom of the gap between the labels of {len(gap)} training pairs, where one shift for all atoms "
        f"leaves {mean:.3g}: check that they are in eV, source and target in their places, and of the code and pseudopotentials "
        "of the labels"
    )


def _is_symbol(symbol: str) -> bool:
    try:
        return atomic_number(symbol) > 0
    except KeyError:
        return False
