"""What is peculiar about a pair: flags by which pairs can be counted, sliced and left out.

A flag is a fact about the calculations, not a fault: what a task makes of it is the task's business. ``UNCLEAN`` are the
flags that a comparison of two functionals should not mix in without saying so.

Flags are told of whole tables at once, in a few vector operations: a pair costs microseconds.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from xferbench.functionals import Functional, names
from xferbench.records import PROPERTIES, Geometry
from xferbench.tables import flat_values, frames_table, list_lengths, table_frames, take

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from xferbench.records import Frame, FramePair

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]
    Mask = NDArray[np.bool_]

HUBBARD_U = "hubbard_u"
CORRECTED = "corrected"
MOMENTS_DIFFER = "moments_differ"
SPIN_FLIP = "spin_flip"
FAR_FROM_EQUILIBRIUM = "far_from_equilibrium"
ISOLATED_ATOM = "isolated_atom"
VOLUME_DIFFERS = "volume_differs"
DUPLICATE_GEOMETRY = "duplicate_geometry"
IDENTICAL_LABELS, PLACEHOLDER = "identical_labels", "placeholder_labels"
MISSING = {name: f"missing_{name}" for name in PROPERTIES if name != "energy"}

FLAGS = {
    HUBBARD_U: "a Hubbard U on one side",
    CORRECTED: "an empirical correction other than zero is stated, or is part of the energy",
    MOMENTS_DIFFER: "the size of an atom's moment differs by more than the threshold",
    SPIN_FLIP: "two atoms are parallel on one side and antiparallel on the other, both with sizeable moments",
    FAR_FROM_EQUILIBRIUM: "a force above the threshold on one side",
    ISOLATED_ATOM: "an atom further from all others, periodic images included, than the threshold",
    VOLUME_DIFFERS: "the volumes per atom of the two sides differ by more than the threshold",
    DUPLICATE_GEOMETRY: "another pair has the same structure, to 1e-3 Å",
    IDENTICAL_LABELS: "both sides state the same energy or the same forces",
    PLACEHOLDER: "forces or stress of zeros on one side where the other side's are not",
    **{flag: f"no {name} on one side" for name, flag in MISSING.items()},
}
"""Flag -> what it means."""

UNCLEAN = frozenset({HUBBARD_U, MOMENTS_DIFFER, SPIN_FLIP, DUPLICATE_GEOMETRY, ISOLATED_ATOM})

GRIDS = (0.0, 0.39)
"""Offsets, in steps, of the grids that coordinates are rounded to. Two structures that a rounding edge of one grid keeps
apart are rarely on an edge of the other as well; on the second one no simple fraction of a lattice vector is on an edge."""


IN_ENERGY = json.dumps({"corrected": True})[1:-1]
"""What the provenance of a frame has whose energy holds a correction, as ``frames_table`` writes it."""

STRUCTURE = ("numbers", "positions", "cell", "pbc")
"""Columns of a table."""

FLAT = 1e-6
"""Å³. A cell of a smaller volume is taken for none: coordinates are compared as they are."""

NEXT_ATOMS = 8
"""How many atoms of the list are tried as neighbours of each before all of them are looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Where a flag begins.

    Attributes:
        moment: µB by which an atom's |m| differs, and which a moment must have for its sign to mean something.
        force: eV/Å, the largest force on an atom.
        isolation: Å to the nearest atom.
        volume: Of the larger volume per atom over the smaller, minus 1.
        place: Å to which coordinates are rounded when structures are compared.
    """

    moment: float = 0.5
    force: float = 10.0
    isolation: float = 6.0
    volume: float = 0.1
    place: float = 1e-3


THRESHOLDS = Thresholds()


def flags(pair: FramePair, thresholds: Thresholds = THRESHOLDS) -> frozenset[str]:
    """The flags of one pair by itself: all but ``duplicate_geometry``."""
    masks = flag_masks(frames_table([pair.source]), frames_table([pair.target]), thresholds)
    found = frozenset(flag for flag, mask in masks.items() if mask[0])
    return found - {VOLUME_DIFFERS} if pair.geometry is Geometry.SAME_GEOMETRY else found


def flag_masks(source: pa.Table, target: pa.Table, thresholds: Thresholds = THRESHOLDS) -> dict[str, Mask]:
    """The flags of pairs by themselves: all but ``duplicate_geometry``.

    Args:
        source: ``FRAME_SCHEMA``.
        target: Row i is the partner of row i.
        thresholds: Where flags begin.

    Returns:
        Flag -> (pairs,) whether each has it.
    """
    sides = (source, target)
    differ, flip = _magnetism(source, target, thresholds.moment)
    return {
        HUBBARD_U: _either(_is_hubbard(side) for side in sides),
        CORRECTED: _either(_is_corrected(side) for side in sides),
        MOMENTS_DIFFER: differ,
        SPIN_FLIP: flip,
        FAR_FROM_EQUILIBRIUM: _either(largest_forces(side) > thresholds.force for side in sides),
        ISOLATED_ATOM: _either(_isolated(side, thresholds.isolation) for side in sides),
        VOLUME_DIFFERS: volume_ratios(source, target) > 1 + thresholds.volume,
        IDENTICAL_LABELS: np.logical_or.reduce(list(identical_labels(source, target).values())),
        PLACEHOLDER: np.logical_or.reduce(list(placeholders(source, target).values())),
        **{flag: _either(side[name].is_null().to_numpy() for side in sides) for name, flag in MISSING.items()},
    }


SAME_ENERGY = 1e-6
"""eV. Energies of two functionals are some eV apart; closer than this they are one number, rounded or not."""

SAME_FORCE = 1e-6
"""eV/Å, for each component."""

MEANT = {"forces": 0.01, "stress": 1e-4}
"""eV/Å and eV/Å³: the largest component from which on a label says something, rather than that symmetry leaves nothing."""


def identical_labels(source: pa.Table, target: pa.Table) -> dict[str, Mask]:
    """Which pairs state the same on both sides: ``energy`` and ``forces`` -> (pairs,).

    Forces that symmetry makes zero are the same in every functional and say nothing. Nor does a stress: that of one material may
    be rounded to nothing.
    """
    energies = [side["energy"].to_numpy().astype(np.float64) for side in (source, target)]
    moved = _largest_difference(source, target, "forces")
    return {
        "energy": np.abs(energies[0] - energies[1]) < SAME_ENERGY,
        "forces": (moved < SAME_FORCE) & (largest_component(source, "forces") > MEANT["forces"]),
    }


def placeholders(source: pa.Table, target: pa.Table) -> dict[str, Mask]:
    """Which pairs have nothing but zeros on one side where the other side has values: ``forces`` and ``stress`` -> (pairs,)."""
    found = {}
    for name, meant in MEANT.items():
        sides = [largest_component(side, name) for side in (source, target)]
        found[name] = _either((one == 0) & (other > meant) for one, other in (sides, sides[::-1]))
    return found


def largest_component(side: pa.Table, name: str) -> NDArray[np.float64]:
    """(rows,) the largest component of a label of vectors in size; NaN where there is none."""
    column = side[name].combine_chunks()
    n = list_lengths(column)
    values = np.abs(flat_values(column)).reshape(-1, 3).max(axis=1, initial=0.0)
    out = np.full(len(n), np.nan)
    there = n > 0
    if there.any():
        out[there] = np.maximum.reduceat(values, (np.cumsum(n) - n)[there])
    return out


def _largest_difference(source: pa.Table, target: pa.Table, name: str) -> NDArray[np.float64]:
    """(rows,) the largest difference of a component; infinity where the two cannot be compared."""
    columns = [side[name].combine_chunks() for side in (source, target)]
    lengths = [list_lengths(column) for column in columns]
    same = (lengths[0] == lengths[1]) & (lengths[0] > 0)
    out = np.full(len(same), np.inf)
    if not same.any():
        return out
    values = [flat_values(column.filter(same)).reshape(-1, 3) for column in columns]
    n = lengths[0][same]
    out[same] = np.maximum.reduceat(np.abs(values[0] - values[1]).max(axis=1), np.cumsum(n) - n)
    return out


def duplicates(pairs: Iterable[FramePair], thresholds: Thresholds = THRESHOLDS) -> frozenset[str]:
    """Ids of the pairs whose target structure another pair has as well; the first of equal ones is among them.

    Structures are equal if species in order, lattice and wrapped coordinates round to the same place, on either of two
    grids. A supercell, another order of atoms or another choice of axes is another structure.
    """
    frames = [pair.target for pair in pairs]
    if not frames:
        return frozenset()
    same = repeated(geometry_keys(frames_table(frames), thresholds.place))
    return frozenset(frame.pair_id for frame, is_same in zip(frames, same, strict=True) if is_same)


def repeated(keys: NDArray[np.uint64]) -> Mask:
    """Which structures occur more than once.

    Args:
        keys: (structures, 2), those of ``geometry_keys``.
    """
    found = np.zeros(len(keys), dtype=bool)
    for grid in range(len(GRIDS)):
        _, inverse, counts = np.unique(keys[:, grid], return_inverse=True, return_counts=True)
        found |= counts[inverse] > 1
    return found


def geometry_keys(table: pa.Table, place: float = THRESHOLDS.place) -> NDArray[np.uint64]:
    """Hashes of structures, equal where everything rounds to the same place.

    Args:
        table: ``FRAME_SCHEMA``. Whole lattice vectors between an atom and its image make no difference, nor does a shift of
            all atoms. A frame without a structure equals none but itself.
        place: Å.

    Returns:
        (rows, 2) for the two ``GRIDS``.
    """
    n = list_lengths(table["numbers"].combine_chunks())
    there = list_lengths(table["positions"].combine_chunks()) == n
    keys = np.empty((len(n), len(GRIDS)), dtype=np.uint64)
    keys[there] = _structure_keys(_rows(table, there, STRUCTURE), place)
    names = _rows(table, ~there, ("frame_id",))["frame_id"].to_pylist()
    keys[~there] = np.array([_hash(name.encode()) for name in names], dtype=np.uint64)[:, None]
    return keys


def _structure_keys(table: pa.Table, place: float) -> NDArray[np.uint64]:
    column = table["numbers"].combine_chunks()
    n, numbers = list_lengths(column), flat_values(column)
    lattices, periodic = _cells(table), _periodic(table)
    starts, owner = np.cumsum(n) - n, np.repeat(np.arange(len(n)), n)
    positions = flat_values(table["positions"].combine_chunks()).reshape(-1, 3)
    flat = np.abs(np.linalg.det(lattices)) < FLAT
    cells, periodic = np.where(flat[:, None, None], np.eye(3), lattices), periodic & ~flat[:, None]
    fractional = np.einsum("ij,ijk->ik", positions - positions[starts[owner]], np.linalg.inv(cells)[owner])
    steps = np.maximum(np.rint(np.linalg.norm(cells, axis=2) / place), 1)
    keys = np.empty((len(n), len(GRIDS)), dtype=np.uint64)
    for grid, offset in enumerate(GRIDS):
        rounded = np.floor(fractional * steps[owner] + offset + 0.5)
        rounded = np.where(periodic[owner], rounded % steps[owner], rounded)
        atoms = np.column_stack([numbers, rounded]).astype("<i8").tobytes()
        edges = np.floor(lattices / place + offset + 0.5).astype("<i8").tobytes()
        ends = 4 * 8 * np.cumsum(n)
        keys[:, grid] = [
            _hash(edges[9 * 8 * i : 9 * 8 * (i + 1)] + atoms[a:b])
            for i, (a, b) in enumerate(zip((ends - 4 * 8 * n).tolist(), ends.tolist(), strict=True))
        ]
    return keys


def _hash(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def has_isolated_atom(frame: Frame, distance: float) -> bool:
    """Whether an atom is further than ``distance`` Å from all others and from its own images."""
    if _images_near(frame.cell[None], np.array([frame.pbc]), distance)[0]:
        return False
    if frame.n_atoms > 1 and _nearest_in_cell(frame.positions).max() <= distance:
        return False  # near enough without looking at images, as almost all are
    from ase.neighborlist import neighbor_list

    central = neighbor_list("i", frame.atoms(), distance)
    return len(np.unique(central)) < frame.n_atoms


def largest_forces(table: pa.Table) -> Floats:
    """(rows,) eV/Å: the largest force on an atom of each frame, 0 where there are none."""
    column = table["forces"].combine_chunks()
    return _row_max(np.linalg.norm(flat_values(column).reshape(-1, 3), axis=1), list_lengths(column))


def volume_ratios(source: pa.Table, target: pa.Table) -> Floats:
    """(pairs,) the larger volume per atom over the smaller, 1 where a frame is not periodic in all directions."""
    volumes = []
    for table in (source, target):
        periodic = _periodic(table).all(axis=1)
        volume = np.abs(np.linalg.det(_cells(table))) / list_lengths(table["numbers"].combine_chunks())
        volumes.append(np.where(periodic & (volume > 0), volume, np.nan))
    ratios: Floats = np.nan_to_num(np.maximum(*volumes) / np.minimum(*volumes), nan=1.0)
    return ratios


def _either(masks: Iterable[Mask]) -> Mask:
    found: Mask = np.logical_or.reduce(list(masks))
    return found


def _is_hubbard(table: pa.Table) -> Mask:
    with_u = pa.array([name for name in names() if Functional(name).hubbard_u], pa.string())
    found: Mask = pc.is_in(table["functional"], value_set=with_u).to_numpy().astype(bool)
    return found


def _is_corrected(table: pa.Table) -> Mask:
    """A correction beside the energy, or one in it that the source does not state apart."""
    stated = pc.fill_null(pc.not_equal(table["correction"], 0.0), False)
    found: Mask = pc.or_(stated, pc.match_substring(table["provenance"], IN_ENERGY)).to_numpy().astype(bool)
    return found


def _magnetism(source: pa.Table, target: pa.Table, threshold: float) -> tuple[Mask, Mask]:
    """Whether moments differ in size, and in sign; the sign of all moments at once means nothing."""
    columns = [table["magmoms"].combine_chunks() for table in (source, target)]
    lengths = [list_lengths(column) for column in columns]
    common = (lengths[0] == lengths[1]) & (lengths[0] > 0)
    n = np.where(common, lengths[0], 0)
    first, second = (
        flat_values(column)[np.repeat(common, length)] for column, length in zip(columns, lengths, strict=True)
    )
    differ = _row_max(np.abs(np.abs(first) - np.abs(second)), n) > threshold
    relative = np.sign(first * second) * ((np.abs(first) > threshold) & (np.abs(second) > threshold))
    return differ, (_row_max(relative, n) > 0) & (_row_max(-relative, n) > 0)


def _isolated(table: pa.Table, distance: float) -> Mask:
    """See ``has_isolated_atom``, which only few structures are left for."""
    there = list_lengths(table["positions"].combine_chunks()) == list_lengths(table["numbers"].combine_chunks())
    found: Mask = there & ~_images_near(_cells(table), _periodic(table), distance)
    found[found] = _somewhere_alone(_rows(table, found, STRUCTURE), distance)
    if found.any():
        found[found] = [has_isolated_atom(frame, distance) for frame in table_frames(_rows(table, found))]
    return found


def _somewhere_alone(table: pa.Table, distance: float) -> Mask:
    """Where some atom is not near any of the next atoms in the list, or an image of theirs; other atoms may be."""
    n = list_lengths(table["numbers"].combine_chunks())
    starts, owner = np.cumsum(n) - n, np.repeat(np.arange(len(n)), n)
    cells = _cells(table) * _periodic(table)[:, :, None]
    inverses = np.linalg.pinv(cells)
    positions = flat_values(table["positions"].combine_chunks()).reshape(-1, 3)
    alone = np.ones(len(owner), dtype=bool)
    for shift in range(1, NEXT_ATOMS + 1):
        atoms = np.flatnonzero(alone)
        rows = owner[atoms]
        partners = starts[rows] + (atoms - starts[rows] + shift) % n[rows]
        apart = positions[partners] - positions[atoms]
        apart -= np.einsum("ij,ijk->ik", np.rint(np.einsum("ij,ijk->ik", apart, inverses[rows])), cells[rows])
        near = (np.linalg.norm(apart, axis=1) <= distance) & (partners != atoms)
        alone[atoms[near]] = alone[partners[near]] = False
    return np.bincount(owner[alone], minlength=len(n)) > 0


def _images_near(cells: Floats, periodic: Mask, distance: float) -> Mask:
    """Where a lattice vector is so short that every atom has an image of its own within the distance."""
    lengths = np.where(periodic, np.linalg.norm(cells, axis=2), np.inf)
    near: Mask = lengths.min(axis=1) <= distance
    return near


def _nearest_in_cell(positions: Floats) -> Floats:
    apart = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    np.fill_diagonal(apart, np.inf)
    nearest: Floats = apart.min(axis=1)
    return nearest


def _row_max(values: Floats, lengths: Integers) -> Floats:
    """The largest value of each row, 0 where it has none or only negative ones."""
    largest = np.zeros(len(lengths))
    filled = np.flatnonzero(lengths)
    if len(filled):
        starts = (np.cumsum(lengths) - lengths)[filled]
        largest[filled] = np.maximum(np.maximum.reduceat(values, starts), 0.0)
    return largest


def _rows(table: pa.Table, mask: Mask, columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of a mask, with some of the columns."""
    part = table if columns is None else table.select(list(columns))
    return part if mask.all() else take(part, np.flatnonzero(mask))


def _cells(table: pa.Table) -> Floats:
    return flat_values(table["cell"].combine_chunks()).reshape(-1, 3, 3)


def _periodic(table: pa.Table) -> Mask:
    return flat_values(table["pbc"].combine_chunks()).reshape(-1, 3).astype(bool)
