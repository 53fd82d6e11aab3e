"""What becomes of all frames that carry one ``pair_id``: a pair, or the first reason why not."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import numpy as np

from xferbench.pairing.phases import Match, compare, recorded
from xferbench.records import Drop, Frame, Functional, Geometry, Pair

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from collections.abc import Set as AbstractSet

    from numpy.typing import NDArray

    Problem = tuple[str, str] | None
    """A reason and its detail, or nothing wrong."""

DUPLICATE_ID = "duplicate_id"
NO_PARTNER = "no_partner"
SEVERAL_PARTNERS = "several_partners"
MATERIAL_DIFFERS = "material_differs"
UNKNOWN_ELEMENT = "unknown_element"
WRONG_SHAPE = "wrong_shape"
NOT_FINITE = "not_finite"
MISSING_ENERGY = "missing_energy"
SPECIES_DIFFER = "species_differ"
PBC_DIFFERS = "pbc_differs"
LATTICE_DIFFERS = "lattice_differs"
COORDINATES_DIFFER = "coordinates_differ"
OTHER_PHASE = "other_phase"
WRONG_FUNCTIONAL = "wrong_functional"

REASONS = {
    DUPLICATE_ID: "a frame_id occurs more than once",
    NO_PARTNER: "only one of the two functionals is there",
    SEVERAL_PARTNERS: "several frames of one functional family share the pair_id",
    MATERIAL_DIFFERS: "the two frames name different parent materials",
    UNKNOWN_ELEMENT: "an atomic number outside 1 to 118",
    WRONG_SHAPE: "an array whose shape does not fit the number of atoms",
    NOT_FINITE: "NaN or infinity in the structure or a label",
    MISSING_ENERGY: "a frame without energy",
    SPECIES_DIFFER: "different atoms, or the same atoms in another order",
    PBC_DIFFERS: "different periodic directions",
    LATTICE_DIFFERS: "lattice vectors further apart than the tolerance",
    COORDINATES_DIFFER: "an atom further from its partner than the tolerance, whole lattice vectors aside",
    OTHER_PHASE: "relaxed to different phases: pymatgen's StructureMatcher finds no mapping of the two structures",
    WRONG_FUNCTIONAL: "a frame that stands alone and is not of r2SCAN",
}
"""Why a pair, or a frame that stands alone, is dropped, in the order of the checks: reason -> what it means."""


TOLERANCE = 1e-6
"""Å by which a lattice vector or an atom may differ within a pair of the same geometry."""


def pair(frames: Iterable[Frame], geometry: Geometry, *, tolerance: float = TOLERANCE) -> tuple[list[Pair], list[Drop]]:
    """Join the frames of each ``pair_id``.

    Args:
        frames: In any order. Those without ``pair_id`` are passed over.
        geometry: ``same_geometry`` has species, periodicity, lattice and coordinates compared; ``same_material``, whose
            two structures are relaxed apart, has them matched as phases; ``energies_only`` has no structures.
        tolerance: Å, for the length by which a lattice vector or an atom may differ.

    Returns:
        Pairs sorted by ``pair_id``, and one drop per ``pair_id`` that gave no pair, sorted likewise: together they are
        all ``pair_id`` of ``frames``.
    """
    groups: dict[str, list[Frame]] = defaultdict(list)
    for frame in frames:
        if frame.pair_id:
            groups[frame.pair_id].append(frame)
    counts = Counter(frame.frame_id for group in groups.values() for frame in group)
    repeated = {frame_id for frame_id, count in counts.items() if count > 1}
    pairs, drops = [], []
    for _, group in sorted(groups.items()):
        verdict = judge(group, geometry, repeated, tolerance=tolerance)
        if isinstance(verdict, Pair):
            pairs.append(verdict)
        else:
            drops.append(verdict)
    return pairs, drops


def judge(
    group: Sequence[Frame], geometry: Geometry, repeated: AbstractSet[str], *, tolerance: float = TOLERANCE
) -> Pair | Drop:
    """What becomes of all frames that carry one ``pair_id``.

    Args:
        group: At least one frame.
        geometry: See ``pair``.
        repeated: Every ``frame_id`` that occurs more than once in the whole data set.
        tolerance: See ``pair``.
    """
    problem = _group_problem(group, repeated) or _pair_problem(group, geometry, tolerance)
    if problem is not None:
        return Drop(record_id=group[0].pair_id, reason=problem[0], detail=problem[1])
    gga, r2scan = _by_family(group)
    if geometry is Geometry.SAME_MATERIAL:
        match = compare(gga, r2scan)
        if not isinstance(match, Match):
            return Drop(record_id=group[0].pair_id, reason=OTHER_PHASE, detail=match)
        r2scan = recorded(r2scan, match)
    return Pair(gga=gga, r2scan=r2scan, geometry=geometry)


def judge_alone(frame: Frame, repeated: AbstractSet[str]) -> Drop | None:
    """What keeps a frame that is not to be paired from being used; nothing if it is fine.

    Args:
        frame: Without ``pair_id``.
        repeated: Every ``frame_id`` that occurs more than once among such frames.
    """
    if frame.frame_id in repeated:
        problem: Problem = DUPLICATE_ID, f"frame_id {frame.frame_id}"
    elif frame.functional is not Functional.R2SCAN:
        problem = WRONG_FUNCTIONAL, f"{frame.frame_id} is {frame.functional.value}"
    else:
        problem = _frame_problem(frame, Geometry.UNPAIRED)
    return None if problem is None else Drop(record_id=frame.frame_id, reason=problem[0], detail=problem[1])


def _by_family(group: Sequence[Frame]) -> list[Frame]:
    """The GGA frame first."""
    return sorted(group, key=lambda frame: not frame.functional.is_gga)


def _group_problem(group: Sequence[Frame], repeated: AbstractSet[str]) -> Problem:
    """Whether the frames of one ``pair_id`` are one of each family."""
    doubled = sorted({frame.frame_id for frame in group} & repeated)
    if doubled:
        return DUPLICATE_ID, f"frame_id {', '.join(doubled)}"
    families = Counter("GGA" if frame.functional.is_gga else "r2SCAN" for frame in group)
    if max(families.values()) > 1:
        return SEVERAL_PARTNERS, ", ".join(sorted(frame.frame_id for frame in group))
    if len(families) == 1:
        return NO_PARTNER, f"only {group[0].frame_id}"
    return None


def _pair_problem(group: Sequence[Frame], geometry: Geometry, tolerance: float) -> Problem:
    """The first thing that keeps two frames from being a pair."""
    gga, r2scan = _by_family(group)
    if gga.material_id != r2scan.material_id:
        return MATERIAL_DIFFERS, f"{gga.material_id} and {r2scan.material_id}"
    problem = _frame_problem(gga, geometry) or _frame_problem(r2scan, geometry)
    if problem is None and geometry is Geometry.SAME_GEOMETRY:
        problem = _geometry_problem(gga, r2scan, tolerance)
    if problem is None and geometry is Geometry.ENERGIES_ONLY:
        problem = _composition_problem(gga, r2scan)
    return problem


def _frame_problem(frame: Frame, geometry: Geometry) -> Problem:
    """Whether a frame is usable by itself: with a structure, or without one where there are to be energies only."""
    n = frame.n_atoms
    places = 0 if geometry is Geometry.ENERGIES_ONLY else n
    vectors = {"positions": (places, 3), "cell": (3, 3), "forces": (n, 3), "stress": (3, 3)}
    wanted = {"numbers": (n,), **vectors, "magmoms": (n,)}
    arrays = {name: getattr(frame, name) for name in wanted if getattr(frame, name) is not None}
    scalars = {name: getattr(frame, name) for name in ("energy", "correction") if getattr(frame, name) is not None}
    wrong = [f"{name} {value.shape}" for name, value in arrays.items() if value.shape != wanted[name]]
    if n == 0 or wrong:
        return WRONG_SHAPE, f"{frame.frame_id}: {', '.join(wrong) or 'positions'} for {n} atoms"
    if frame.numbers.min() < 1 or frame.numbers.max() > 118:
        return UNKNOWN_ELEMENT, f"{frame.frame_id}: atomic numbers {frame.numbers.min()} to {frame.numbers.max()}"
    infinite = [name for name, value in {**arrays, **scalars}.items() if not np.isfinite(value).all()]
    if infinite:
        return NOT_FINITE, f"{frame.frame_id}: {', '.join(infinite)}"
    if frame.energy is None:
        return MISSING_ENERGY, frame.frame_id
    return None


def _composition_problem(gga: Frame, r2scan: Frame) -> Problem:
    """Whether two frames without structure are of the same reduced composition."""
    first, second = (np.bincount(frame.numbers, minlength=119) / frame.n_atoms for frame in (gga, r2scan))
    return None if np.allclose(first, second, rtol=0, atol=1e-9) else (SPECIES_DIFFER, "of another composition")


def _geometry_problem(gga: Frame, r2scan: Frame, tolerance: float) -> Problem:
    """Whether two frames are the same atoms in the same places."""
    if not np.array_equal(gga.numbers, r2scan.numbers):
        return SPECIES_DIFFER, f"{gga.n_atoms} and {r2scan.n_atoms} atoms"
    if tuple(gga.pbc) != tuple(r2scan.pbc):
        return PBC_DIFFERS, f"{tuple(gga.pbc)} and {tuple(r2scan.pbc)}"
    apart = np.linalg.norm(gga.cell - r2scan.cell, axis=1).max()
    if apart > tolerance:
        return LATTICE_DIFFERS, f"by {apart:.3g} Å, tolerance {tolerance:g} Å"
    apart = displacements(gga, r2scan).max()
    if apart > tolerance:
        return COORDINATES_DIFFER, f"by {apart:.3g} Å, tolerance {tolerance:g} Å"
    return None


def displacements(first: Frame, second: Frame) -> NDArray[np.float64]:
    """How far each atom of one frame is from the atom of the same index in the other, whole lattice vectors removed.

    Exact for atoms near an image of their partner, which is all that telling equal geometries from different ones needs;
    a large value is an upper bound of the minimum-image distance.

    Args:
        first: Its cell and periodic directions are used.
        second: Of as many atoms.

    Returns:
        (n_atoms,) distances in Å.
    """
    delta = second.positions - first.positions
    lattice = first.cell[np.array(first.pbc, dtype=bool)]
    images = np.rint(delta @ np.linalg.pinv(lattice))
    distances: NDArray[np.float64] = np.linalg.norm(delta - images @ lattice, axis=1)
    return distances
