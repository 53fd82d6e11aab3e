"""What becomes of all frames that carry one ``pair_id``: a pair, or the first reason why not."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import numpy as np

from xferbench.functionals import SIDES
from xferbench.pairing.ordering import difference, reordered
from xferbench.pairing.phases import Match, compare, recorded
from xferbench.records import Drop, Frame, FramePair, Geometry

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from collections.abc import Set as AbstractSet

    from numpy.typing import NDArray

    from xferbench.functionals import Pair

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
    NO_PARTNER: "only one of the two sides is there",
    SEVERAL_PARTNERS: "several frames of one side share the pair_id",
    MATERIAL_DIFFERS: "the two frames name different parent materials",
    UNKNOWN_ELEMENT: "an atomic number outside 1 to 118",
    WRONG_SHAPE: "an array whose shape does not fit the number of atoms",
    NOT_FINITE: "NaN or infinity in the structure or a label",
    MISSING_ENERGY: "a frame without energy",
    SPECIES_DIFFER: "different atoms",
    PBC_DIFFERS: "different periodic directions",
    LATTICE_DIFFERS: "lattice vectors further apart than the tolerance",
    COORDINATES_DIFFER: "an atom further from its partner than the tolerance, whole lattice vectors aside",
    OTHER_PHASE: "relaxed to different phases: pymatgen's StructureMatcher finds no mapping of the two structures",
    WRONG_FUNCTIONAL: "a frame of a functional that stands on neither side; or one that stands alone and is not of the target side",
}
"""Why a pair, or a frame that stands alone, is dropped, in the order of the checks: reason -> what it means."""


TOLERANCE = 1e-6
"""Å by which a lattice vector or an atom may differ within a pair of the same geometry."""


def pair(
    frames: Iterable[Frame], functionals: Pair, geometry: Geometry, *, tolerance: float = TOLERANCE
) -> tuple[list[FramePair], list[Drop]]:
    """Join the frames of each ``pair_id``.

    Args:
        frames: In any order. Those without ``pair_id`` are passed over.
        functionals: Which stand on each side.
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
        verdict = judge(group, functionals, geometry, repeated, tolerance=tolerance)
        if isinstance(verdict, FramePair):
            pairs.append(verdict)
        else:
            drops.append(verdict)
    return pairs, drops


def judge(
    group: Sequence[Frame],
    functionals: Pair,
    geometry: Geometry,
    repeated: AbstractSet[str],
    *,
    tolerance: float = TOLERANCE,
) -> FramePair | Drop:
    """What becomes of all frames that carry one ``pair_id``.

    Args:
        group: At least one frame.
        functionals: See ``pair``.
        geometry: See ``pair``.
        repeated: Every ``frame_id`` that occurs more than once in the whole data set.
        tolerance: See ``pair``.
    """
    problem = _group_problem(group, functionals, repeated)
    if problem is not None:
        return Drop(record_id=group[0].pair_id, reason=problem[0], detail=problem[1])
    source, target = sorted(group, key=lambda frame: SIDES.index(functionals.side_of(frame.functional) or "target"))
    problem = _pair_problem(source, target, geometry, tolerance)
    if (
        problem is not None
        and problem[0] in {SPECIES_DIFFER, COORDINATES_DIFFER}
        and geometry is Geometry.SAME_GEOMETRY
    ):
        other = reordered(source, target, tolerance)
        if other is not None:
            problem, target = None, other
    if problem is not None:
        return Drop(record_id=group[0].pair_id, reason=problem[0], detail=problem[1])
    if geometry is Geometry.SAME_MATERIAL:
        match = compare(source, target)
        if not isinstance(match, Match):
            return Drop(record_id=group[0].pair_id, reason=OTHER_PHASE, detail=match)
        target = recorded(target, match)
    return FramePair(source=source, target=target, geometry=geometry)


def judge_alone(frame: Frame, functionals: Pair, repeated: AbstractSet[str]) -> Drop | None:
    """What keeps a frame that is not to be paired from being used; nothing if it is fine.

    Args:
        frame: Without ``pair_id``.
        functionals: See ``pair``; it must be of the target side.
        repeated: Every ``frame_id`` that occurs more than once among such frames.
    """
    if frame.frame_id in repeated:
        problem: Problem = DUPLICATE_ID, f"frame_id {frame.frame_id}"
    elif functionals.side_of(frame.functional) != "target":
        problem = WRONG_FUNCTIONAL, f"{frame.frame_id} is {frame.functional}, not {functionals.name('target')}"
    else:
        problem = _frame_problem(frame, Geometry.UNPAIRED)
    return None if problem is None else Drop(record_id=frame.frame_id, reason=problem[0], detail=problem[1])


def _group_problem(group: Sequence[Frame], functionals: Pair, repeated: AbstractSet[str]) -> Problem:
    """Whether the frames of one ``pair_id`` are one of each side."""
    doubled = sorted({frame.frame_id for frame in group} & repeated)
    if doubled:
        return DUPLICATE_ID, f"frame_id {', '.join(doubled)}"
    strangers = sorted(
        f"{frame.frame_id} is {frame.functional}" for frame in group if not functionals.side_of(frame.functional)
    )
    if strangers:
        return WRONG_FUNCTIONAL, f"{strangers[0]}, not of {functionals}"
    sides = Counter(functionals.side_of(frame.functional) for frame in group)
    if max(sides.values()) > 1:
        return SEVERAL_PARTNERS, ", ".join(sorted(frame.frame_id for frame in group))
    if len(sides) == 1:
        return NO_PARTNER, f"only {group[0].frame_id}"
    return None


def _pair_problem(source: Frame, target: Frame, geometry: Geometry, tolerance: float) -> Problem:
    """The first thing that keeps two frames from being a pair."""
    if source.material_id != target.material_id:
        return MATERIAL_DIFFERS, f"{source.material_id} and {target.material_id}"
    problem = _frame_problem(source, geometry) or _frame_problem(target, geometry)
    if problem is None and geometry is Geometry.SAME_GEOMETRY:
        problem = _geometry_problem(source, target, tolerance)
    if problem is None and geometry is Geometry.ENERGIES_ONLY:
        problem = _composition_problem(source, target)
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


def _composition_problem(source: Frame, target: Frame) -> Problem:
    """Whether two frames without structure are of the same reduced composition."""
    first, second = (np.bincount(frame.numbers, minlength=119) / frame.n_atoms for frame in (source, target))
    return None if np.allclose(first, second, rtol=0, atol=1e-9) else (SPECIES_DIFFER, "of another composition")


def _geometry_problem(source: Frame, target: Frame, tolerance: float) -> Problem:
    """Whether two frames are the same atoms in the same places."""
    if tuple(source.pbc) != tuple(target.pbc):
        return PBC_DIFFERS, f"{tuple(source.pbc)} and {tuple(target.pbc)}"
    if not np.array_equal(source.numbers, target.numbers):
        same = np.array_equal(np.sort(source.numbers), np.sort(target.numbers))
        what = (
            f"in another order, and {difference(source, target, tolerance)[1]}"
            if same
            else f"{source.n_atoms} and {target.n_atoms} atoms"
        )
        return SPECIES_DIFFER, what
    apart = np.linalg.norm(source.cell - target.cell, axis=1).max()
    if apart > tolerance:
        return (
            LATTICE_DIFFERS,
            f"by {apart:.3g} Å, tolerance {tolerance:g} Å: {difference(source, target, tolerance)[1]}",
        )
    apart = displacements(source, target).max()
    if apart > tolerance:
        return (
            COORDINATES_DIFFER,
            f"by {apart:.3g} Å, tolerance {tolerance:g} Å: {difference(source, target, tolerance)[1]}",
        )
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
