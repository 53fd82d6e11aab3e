"""What is peculiar about a pair: flags by which pairs can be counted, sliced and left out.

A flag is a fact about the calculations, not a fault: what a task makes of it is the task's business. ``UNCLEAN`` are the
flags that a comparison of PBE with r²SCAN should not mix in without saying so.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xferbench.records import PROPERTIES, Functional

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from xferbench.records import Frame, Pair

    Floats = NDArray[np.float64]

HUBBARD_U = "hubbard_u"
CORRECTED = "corrected"
MOMENTS_DIFFER = "moments_differ"
SPIN_FLIP = "spin_flip"
FAR_FROM_EQUILIBRIUM = "far_from_equilibrium"
ISOLATED_ATOM = "isolated_atom"
DUPLICATE_GEOMETRY = "duplicate_geometry"
MISSING = {name: f"missing_{name}" for name in PROPERTIES if name != "energy"}

FLAGS = {
    HUBBARD_U: "a Hubbard U on one side",
    CORRECTED: "the source states an empirical correction other than zero, which is not part of the energy",
    MOMENTS_DIFFER: "the size of an atom's moment differs by more than the threshold",
    SPIN_FLIP: "two atoms are parallel on one side and antiparallel on the other, both with sizeable moments",
    FAR_FROM_EQUILIBRIUM: "a force above the threshold on one side",
    ISOLATED_ATOM: "an atom further from all others, periodic images included, than the threshold",
    DUPLICATE_GEOMETRY: "another pair has the same structure, to 1e-3 Å",
    **{flag: f"no {name} on one side" for name, flag in MISSING.items()},
}
"""Flag -> what it means."""

UNCLEAN = frozenset({HUBBARD_U, MOMENTS_DIFFER, SPIN_FLIP, DUPLICATE_GEOMETRY, ISOLATED_ATOM})


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Where a flag begins.

    Attributes:
        moment: µB by which an atom's |m| differs, and which a moment must have for its sign to mean something.
        force: eV/Å, the largest force on an atom.
        isolation: Å to the nearest atom.
        place: Å to which coordinates are rounded when structures are compared.
    """

    moment: float = 0.5
    force: float = 10.0
    isolation: float = 6.0
    place: float = 1e-3


THRESHOLDS = Thresholds()


def flags(pair: Pair, thresholds: Thresholds = THRESHOLDS) -> frozenset[str]:
    """The flags of one pair by itself: all but ``duplicate_geometry``."""
    sides = (pair.gga, pair.r2scan)
    found = {
        HUBBARD_U: any(side.functional is Functional.PBE_U for side in sides),
        CORRECTED: any(side.correction not in {None, 0.0} for side in sides),
        FAR_FROM_EQUILIBRIUM: any(_largest(side.forces) > thresholds.force for side in sides),
        ISOLATED_ATOM: any(has_isolated_atom(side, thresholds.isolation) for side in sides),
        **{flag: any(getattr(side, name) is None for side in sides) for name, flag in MISSING.items()},
    }
    return frozenset(flag for flag, holds in found.items() if holds) | _magnetism(pair, thresholds.moment)


def duplicates(pairs: Iterable[Pair], thresholds: Thresholds = THRESHOLDS) -> frozenset[str]:
    """Ids of the pairs whose r2SCAN structure another pair has as well; the first of equal ones is among them.

    Structures are equal if species in order, lattice and wrapped coordinates round to the same place. Two that lie on either
    side of a rounding edge are missed, and a supercell or another choice of axes is another structure.
    """
    seen: dict[bytes, list[str]] = {}
    for pair in pairs:
        seen.setdefault(geometry_key(pair.r2scan, thresholds.place), []).append(pair.pair_id)
    return frozenset(name for names in seen.values() if len(names) > 1 for name in names)


def geometry_key(frame: Frame, place: float = THRESHOLDS.place) -> bytes:
    """A digest of a structure, equal where everything rounds to the same place.

    Args:
        frame: Whole lattice vectors between an atom and its image make no difference.
        place: Å.
    """
    digest = hashlib.sha256(np.asarray(frame.numbers, dtype="<i8").tobytes())
    fractional = np.linalg.solve(frame.cell.T, (frame.positions - frame.positions[0]).T).T
    steps = np.maximum(np.rint(np.linalg.norm(frame.cell, axis=1) / place), 1)
    periodic = np.array(frame.pbc)
    rounded = np.rint(fractional * steps)
    rounded[:, periodic] %= steps[periodic]
    for values in (np.rint(frame.cell / place), rounded):
        digest.update((values + 0.0).astype("<i8").tobytes())
    return digest.digest()


def has_isolated_atom(frame: Frame, distance: float) -> bool:
    """Whether an atom is further than ``distance`` Å from all others and from its own images."""
    if frame.n_atoms > 1 and _nearest_in_cell(frame.positions).max() <= distance:
        return False  # near enough without looking at images, as almost all are
    from ase.neighborlist import neighbor_list

    central = neighbor_list("i", frame.atoms(), distance)
    return len(np.unique(central)) < frame.n_atoms


def _nearest_in_cell(positions: Floats) -> Floats:
    apart = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    np.fill_diagonal(apart, np.inf)
    nearest: Floats = apart.min(axis=1)
    return nearest


def _largest(forces: Floats | None) -> float:
    return 0.0 if forces is None else float(np.linalg.norm(forces, axis=1).max(initial=0.0))


def _magnetism(pair: Pair, threshold: float) -> frozenset[str]:
    """How the moments of the two sides differ; the sign of all moments at once means nothing."""
    first, second = pair.gga.magmoms, pair.r2scan.magmoms
    if first is None or second is None or len(first) != len(second):
        return frozenset()
    found = set()
    if np.abs(np.abs(first) - np.abs(second)).max(initial=0.0) > threshold:
        found.add(MOMENTS_DIFFER)
    relative = np.sign(first * second)[(np.abs(first) > threshold) & (np.abs(second) > threshold)]
    if len(set(relative.tolist())) > 1:
        found.add(SPIN_FLIP)
    return frozenset(found)
