"""References that cannot be right, caught by name before they shift an energy by tens of eV."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from xferbench.references.composition import atomic_number

if TYPE_CHECKING:
    from collections.abc import Mapping

NEAR_ZERO = 1e-4
"""eV/atom. Fits by normal equations leave 1e-6 (single precision) or 1e-14 (double) for an element without data; the smallest
reference that is meant is the isolated PBE helium atom of VASP, -5e-4 eV."""

TYPICAL = 1.0
"""eV/atom. Only among references of which half are larger than this is a zero suspicious: shifts may well be small."""


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
        elif abs(value) < NEAR_ZERO and typical > TYPICAL:
            found[symbol] = (
                f"is {value:.2g} eV/atom among references of typically {typical:.3g}: an element without data"
            )
    return found


def _is_symbol(symbol: str) -> bool:
    try:
        return atomic_number(symbol) > 0
    except KeyError:
        return False
