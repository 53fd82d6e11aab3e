"""Why forces or a stress differ from the derivative of the energy: known mistakes, tried one after the other.

A mistake is a factor, an arrangement of components, or both. The one that turns the expected numbers into the found
ones with the smallest error is named, if that error is small; otherwise the potential is suspected not to be conservative.
"""

from __future__ import annotations

from functools import partial
from itertools import permutations, product
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from xferbench.units import EV_PER_A3_IN_GPA, KBAR_IN_GPA, matrix_to_voigt, voigt_to_matrix

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from xferbench.records import Floats

CLOSE = 0.05
"""Relative error below which a suspected mistake counts as found, if it is also a third of what no mistake leaves."""

TINY = 1e-300

MAX_PERMUTED = 5
"""Rows of forces of which every order is tried: 120 of them."""

ENERGY_PER_ATOM = "the energy looks like eV/atom instead of eV"

FORCES_PER_ATOM = "the forces miss a factor n_atoms: derived from the energy per atom?"

VIRIAL = "looks like a virial (eV) instead of a stress: divide by the volume"

ORDERS = {
    (2, 0, 1): "Voigt order xx yy zz xy yz zx (VASP) instead of xx yy zz yz xz xy",
    (2, 1, 0): "Voigt order xx yy zz xy xz yz (LAMMPS) instead of xx yy zz yz xz xy",
    (0, 2, 1): "off-diagonal components xz and xy swapped",
    (1, 0, 2): "off-diagonal components yz and xz swapped",
    (1, 2, 0): "off-diagonal components yz xz xy hold xz xy yz",
}
"""Which of ASE's yz, xz, xy the found yz, xz, xy hold -> what that is called."""


class Mistake(NamedTuple):
    """A suspected mistake: what it is called, and what it makes of the right numbers."""

    cause: str
    apply: Callable[[Floats], Floats]


def explain(found: Floats, expected: Floats, mistakes: Iterable[Mistake], noise: float = 0.0) -> str | None:
    """The mistake that best explains ``found``; ``None`` if none does.

    Args:
        found: What the model says, any shape.
        expected: What the derivative of the energy says, same shape.
        mistakes: To try.
        noise: Error of ``expected``, same unit.
    """
    limit = min(CLOSE + noise / max(_rms(expected), TINY), _relative_error(found, expected) / 3)
    errors = [(_relative_error(found, mistake.apply(expected)), mistake.cause) for mistake in mistakes]
    error, cause = min(errors, key=lambda item: item[0])
    return cause if error < limit else None


def explain_forces(found: Floats, expected: Floats, n_atoms: int, noise: float) -> str:
    """The suspected cause of forces that are not -dE/dx.

    Args:
        found: (n_atoms, 3), or fewer rows if only some were differentiated, eV/Å.
        expected: Same shape.
        n_atoms: In the whole cell.
        noise: Error of ``expected`` in eV/Å.
    """
    if not found.any():
        return "all forces are zero: not computed?"
    factors = [_times(cause, factor) for cause, factor in _force_factors(n_atoms).items()]
    orders = _row_orders(len(found)) if len(found) == n_atoms else []
    return explain(found, expected, [*factors, *orders], noise) or _unknown(found, expected, "forces", "-dE/dx")


def explain_stress(found: Floats, expected: Floats, n_atoms: int, volume: float, noise: float) -> str:
    """The suspected cause of a stress that is not (1/V) dE/dε.

    Args:
        found: (3, 3), eV/Å³.
        expected: (6,), in Voigt order.
        n_atoms: In the cell.
        volume: Of the cell in Å³.
        noise: Error of ``expected`` in eV/Å³.
    """
    if not found.any():
        return "the stress is zero: not computed?"
    six = matrix_to_voigt(found)
    if np.abs(found - found.T).max() > CLOSE * np.abs(found).max():
        return "the stress is not symmetric: part of the virial is missing?"
    arrangements = [Mistake("", lambda values: values), *_stress_arrangements()]
    factors = [_times("", 1.0), *(_times(cause, f) for cause, f in _stress_factors(n_atoms, volume).items())]
    pairs = [_both(first, second) for first, second in product(factors, arrangements)][1:]
    return explain(six, expected, pairs, noise) or _unknown(six, expected, "stress", "dE/dε / V")


def reordered(voigt: Floats, order: Sequence[int]) -> Floats:
    """A Voigt stress (6,) whose last three components are picked in another order, as in ``ORDERS``."""
    return voigt[[0, 1, 2, *(3 + k for k in order)]]


def restored(stress: Floats, order: Sequence[int]) -> Floats:
    """The (3, 3) stress behind one whose Voigt components came in the wrong ``order`` of ``ORDERS``."""
    return voigt_to_matrix(reordered(matrix_to_voigt(stress), np.argsort(order).tolist()))


def _force_factors(n_atoms: int) -> Mapping[str, float]:
    from ase.units import Bohr, Hartree, Ry, kcal, kJ, mol

    return {
        "sign flipped: the forces are +dE/dx": -1.0,
        ENERGY_PER_ATOM: float(n_atoms),
        FORCES_PER_ATOM: 1.0 / n_atoms,
        "the forces look like meV/Å": 1e3,
        "the forces look like Hartree/Bohr": Bohr / Hartree,
        "the forces look like Rydberg/Bohr": Bohr / Ry,
        "the forces look like kcal/mol/Å": mol / kcal,
        "the forces look like kJ/mol/Å": mol / kJ,
        "the forces are doubled: each pair counted twice?": 2.0,
        "the forces are halved: each pair counted once instead of twice?": 0.5,
    }


def _stress_factors(n_atoms: int, volume: float) -> Mapping[str, float]:
    gpa, kbar = EV_PER_A3_IN_GPA, EV_PER_A3_IN_GPA / KBAR_IN_GPA
    return {
        "sign flipped: compression must be negative": -1.0,
        "looks like GPa instead of eV/Å³": gpa,
        "looks like GPa with the sign flipped": -gpa,
        "looks like kBar instead of eV/Å³": kbar,
        "looks like VASP sign in kBar": -kbar,
        VIRIAL: volume,
        "looks like a virial (eV) instead of a stress: divide by minus the volume": -volume,
        ENERGY_PER_ATOM: float(n_atoms),
        "the stress misses a factor n_atoms: derived from the energy per atom?": 1.0 / n_atoms,
        "the stress is doubled": 2.0,
        "the stress is halved": 0.5,
    }


def _stress_arrangements() -> list[Mistake]:
    return [
        *(Mistake(cause, partial(reordered, order=order)) for order, cause in ORDERS.items()),
        _times("off-diagonal components doubled", np.array([1.0, 1.0, 1.0, 2.0, 2.0, 2.0])),
        _times("off-diagonal components halved", np.array([1.0, 1.0, 1.0, 0.5, 0.5, 0.5])),
        _times("off-diagonal components are zero", np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])),
    ]


def _row_orders(n_rows: int) -> list[Mistake]:
    """Every other order of the rows, for cells small enough to try them all."""
    if n_rows > MAX_PERMUTED:
        return []
    cause = "the forces are not in the order of the atoms: sorted by element?"
    return [Mistake(cause, itemgetter(list(order))) for order in list(permutations(range(n_rows)))[1:]]


def _times(cause: str, factor: float | Floats) -> Mistake:
    return Mistake(cause, lambda values: values * factor)


def _both(first: Mistake, second: Mistake) -> Mistake:
    cause = "; ".join(cause for cause in (first.cause, second.cause) if cause)
    return Mistake(cause, lambda values: first.apply(second.apply(values)))


def _rms(values: Floats) -> float:
    return float(np.sqrt(np.mean(values**2)))


def _relative_error(found: Floats, wrong: Floats) -> float:
    return _rms(found - wrong) / max(_rms(wrong), TINY)


def _unknown(found: Floats, expected: Floats, what: str, derivative: str) -> str:
    """No known mistake: nearly right, proportional by some factor, or unrelated."""
    factor = float((found * expected).sum() / (expected**2).sum()) if expected.any() else 0.0
    if factor == 0.0 or _relative_error(found, factor * expected) > CLOSE:
        return f"not conservative: {what} predicted directly, or detached from part of the energy?"
    if abs(factor - 1) < CLOSE:
        return "nearly right: a small term is missing, low precision, or an energy that jumps at a cutoff?"
    return f"{what} {factor:.4g} times {derivative}: a unit or a factor?"
