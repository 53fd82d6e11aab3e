"""Neighbour search: a batch of periodic crystals -> atom graph and bond graph, in a few array operations.

CHGNet reads two graphs of a crystal (Deng et al. 2023, Fig. 1). The **atom graph** has a bond between every two atoms
(periodic images included) at most ``atom_cutoff`` apart. The **bond graph** has an angle for every ordered pair of
different bonds shorter than ``bond_cutoff`` that leave the same atom.

A bond is stored once, undirected, as ``center -> neighbor``; its reverse is implied. Bonds of the bond graph come first,
so ``[:n_short]`` are its nodes. A *directed* short bond is the number ``b`` (as stored) or ``b + n_short`` (reversed).

How it is fast: images are enumerated for all crystals at once and only in one half of space (the other half is the
reverse bonds); a matrix product gives all squared distances of a crystal; only pairs that survive are computed exactly.

References:
    B. Deng et al., Nat. Mach. Intell. 5, 1031 (2023), doi:10.1038/s42256-023-00716-3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xferbench.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms

    from xferbench.records import Floats, Integers

PAIR_BLOCK = 1 << 20
"""Pairs whose distances are held at once; larger crystals are worked off in slabs."""

COINCIDENT = 1e-4
"""Å. Atoms closer than this have no bond direction."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Crystals:
    """Bare structures of a batch, concatenated.

    Attributes:
        numbers: (n_atoms,) atomic numbers.
        positions: (n_atoms, 3) Å.
        owner: (n_atoms,) which crystal an atom belongs to, ascending.
        counts: (n_crystals,) atoms of each crystal.
        cells: (n_crystals, 3, 3) Å, one lattice vector per row.
        pbc: (n_crystals, 3).
    """

    numbers: Integers
    positions: Floats
    owner: Integers
    counts: Integers
    cells: Floats
    pbc: np.ndarray

    @classmethod
    def from_atoms(cls, structures: Sequence[Atoms]) -> Crystals:
        """Concatenate ASE atoms.

        Raises:
            ModelError: A structure has no atoms, no volume, or coordinates that are not finite.
        """
        counts = np.array([len(atoms) for atoms in structures], dtype=np.int64)
        cells = np.array([atoms.cell.array for atoms in structures], dtype=np.float64).reshape(-1, 3, 3)
        positions = np.concatenate([np.zeros((0, 3)), *(atoms.positions for atoms in structures)])
        owner = np.repeat(np.arange(len(counts)), counts)
        finite = np.asarray(np.isfinite(cells).all((1, 2)))
        finite[owner[~np.isfinite(positions).all(1)]] = False
        _require(finite, "coordinates that are not finite; check the structure")
        _require(counts > 0, "no atoms")
        _require(np.abs(np.linalg.det(cells)) > 1e-6, "a cell without volume; give it three independent vectors")
        return cls(
            numbers=np.concatenate([np.zeros(0, dtype=np.int64), *(atoms.numbers for atoms in structures)]),
            positions=positions,
            owner=owner,
            counts=counts,
            cells=cells,
            pbc=np.array([atoms.pbc for atoms in structures], dtype=bool).reshape(-1, 3),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Graphs:
    """Atom graphs and bond graphs of a batch, concatenated; atoms and bonds are numbered over the whole batch.

    Attributes:
        crystals: The structures.
        center: (n_bonds,) atom a bond starts from.
        neighbor: (n_bonds,) atom it leads to.
        image: (n_bonds, 3) lattice translations of the neighbour relative to the coordinates as given.
        vector: (n_bonds, 3) Å, from center to neighbour.
        n_short: The first ``n_short`` bonds are nodes of the bond graph.
        vertex: (n_angles,) atom at the tip of an angle.
        first: (n_angles,) directed short bond that receives the message; ascending.
        second: (n_angles,) directed short bond on the other side.
    """

    crystals: Crystals
    center: Integers
    neighbor: Integers
    image: Integers
    vector: Floats
    n_short: int
    vertex: Integers
    first: Integers
    second: Integers

    @property
    def size(self) -> int:
        """Directed bonds plus angles: what time and memory are proportional to."""
        return 2 * len(self.center) + len(self.vertex)


def build(structures: Sequence[Atoms], *, atom_cutoff: float, bond_cutoff: float, isolated: str = "raise") -> Graphs:
    """Atom graph and bond graph of every structure.

    Args:
        structures: Any cells, however skewed or small; atoms may lie outside the cell.
        atom_cutoff: Å, longest bond.
        bond_cutoff: Å, angles are made of bonds shorter than this. A bond of exactly this length has weight zero.
        isolated: "raise" or "allow" atoms without any neighbour.

    Raises:
        ModelError: Naming the structures: an atom without neighbours, coinciding atoms, or a broken structure.
    """
    crystals = Crystals.from_atoms(structures)
    center, neighbor, image, vector = _bonds(crystals, atom_cutoff)
    square = np.einsum("ij,ij->i", vector, vector)
    clear = np.ones(len(crystals.counts), dtype=bool)
    clear[crystals.owner[center[square < COINCIDENT**2]]] = False
    _require(clear, "two atoms at the same place")
    if isolated == "raise":
        _require(_all_bonded(crystals, center, neighbor), f"an isolated atom: no neighbour within {atom_cutoff:g} Å")
    short = square < bond_cutoff**2
    order = np.concatenate([np.flatnonzero(short), np.flatnonzero(~short)])
    n_short = int(np.count_nonzero(short))
    center, neighbor = center[order], neighbor[order]
    vertex, first, second = _angles(np.concatenate([center[:n_short], neighbor[:n_short]]), len(crystals.numbers))
    return Graphs(
        crystals=crystals,
        center=center,
        neighbor=neighbor,
        image=image.take(order, axis=0),
        vector=vector.take(order, axis=0),
        n_short=n_short,
        vertex=vertex,
        first=first,
        second=second,
    )


def _require(good: np.ndarray, what: str) -> None:
    """Raise one error that names, by place in the batch, every crystal that is not ``good`` (n_crystals,)."""
    if not good.all():
        bad = np.flatnonzero(~good)
        names = ", ".join(map(str, bad[:10])) + (", …" if len(bad) > 10 else "")
        raise ModelError(f"{len(bad)} of {len(good)} structures cannot be predicted: structure {names} has {what}")


def _all_bonded(crystals: Crystals, center: Integers, neighbor: Integers) -> np.ndarray:
    """Which crystals (n_crystals,) have a bond at every atom."""
    bonded = np.zeros(len(crystals.numbers), dtype=bool)
    bonded[center] = bonded[neighbor] = True
    result = np.ones(len(crystals.counts), dtype=bool)
    result[crystals.owner[~bonded]] = False
    return result


def _bonds(crystals: Crystals, cutoff: float) -> tuple[Integers, Integers, Integers, Floats]:
    """Every bond once.

    Returns:
        center (n,), neighbor (n,), image (n, 3), vector (n, 3) as in ``Graphs``.
    """
    wrapped, moved, atom, image = _image_atoms(crystals, cutoff)
    cells = crystals.cells[crystals.owner]
    origin = np.einsum("ni,nij->nj", wrapped, cells)
    target = np.einsum("ni,nij->nj", wrapped[atom] + image, cells[atom])
    row, column = _close_pairs(crystals, origin, target, crystals.owner[atom], cutoff)
    vector = target.take(column, axis=0)
    vector -= origin.take(row, axis=0)
    inside = np.einsum("ij,ij->i", vector, vector) <= cutoff**2
    # inside the cell itself, each pair is met twice and each atom meets itself
    inside &= np.asarray(image.any(1))[column] | (row < atom[column])
    found = np.flatnonzero(inside)
    row, column = row[found], column[found]
    neighbor = atom[column]
    translation = image.take(column, axis=0)
    translation += moved.take(neighbor, axis=0)
    translation -= moved.take(row, axis=0)
    return row, neighbor, translation, vector.take(found, axis=0)


def _image_atoms(crystals: Crystals, cutoff: float) -> tuple[Floats, Integers, Integers, Integers]:
    """Atoms of the cells and of the half of their images that can lie within the cutoff of an atom of the cell.

    A translation is taken if it is zero or its first non-zero component is positive; the others belong to reverse bonds.

    Returns:
        Fractional coordinates in [0, 1) (n_atoms, 3), the translations (n_atoms, 3) that brought them there, and the image
        atoms, sorted by crystal: atom (n,), translation (n, 3).
    """
    inverse = np.linalg.inv(crystals.cells)
    reach = np.where(crystals.pbc, cutoff * np.linalg.norm(inverse, axis=1), np.inf)
    owner = crystals.owner
    fractional = np.einsum("ni,nij->nj", crystals.positions, inverse[owner])
    moved = np.where(crystals.pbc[owner], -np.floor(fractional), 0.0)
    fractional = fractional + moved
    starts = np.cumsum(crystals.counts) - crystals.counts
    low, high = np.minimum.reduceat(fractional, starts), np.maximum.reduceat(fractional, starts)
    most = np.where(crystals.pbc, np.floor(np.where(crystals.pbc, reach, 0.0) + high - low), 0.0).astype(np.int64)
    grid = 2 * most + 1
    half = (grid.prod(1) + 1) // 2
    repeats = half[owner]
    atom = np.repeat(np.arange(len(owner)), repeats)
    place = np.arange(len(atom)) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    crystal = owner[atom]
    place += half[crystal] - 1
    rest, z = np.divmod(place, grid[crystal, 2])
    x, y = np.divmod(rest, grid[crystal, 1])
    image = np.stack([x, y, z], axis=1) - most[crystal]
    where = fractional.take(atom, axis=0)
    where += image
    outside = (where < (low - reach).take(crystal, axis=0)) | (where > (high + reach).take(crystal, axis=0))
    near = np.flatnonzero(~outside.any(1))
    return fractional, moved.astype(np.int64), atom[near], image.take(near, axis=0)


def _close_pairs(
    crystals: Crystals, origin: Floats, target: Floats, target_owner: Integers, cutoff: float
) -> tuple[Integers, Integers]:
    """Pairs (atom, image atom) of one crystal that are within the cutoff or a hair more.

    |a - b|² = a² + b² - 2 a·b is a matrix product of five columns; single precision is enough for a first sieve whose
    margin covers its rounding.

    Returns:
        row (n,) into ``origin``, column (n,) into ``target``.
    """
    n_crystals = len(crystals.counts)
    middle = np.zeros((n_crystals, 3))
    np.add.at(middle, crystals.owner, origin)
    middle /= crystals.counts[:, None]
    a, b = origin - middle[crystals.owner], target - middle[target_owner]
    a_square, b_square = np.einsum("ij,ij->i", a, a), np.einsum("ij,ij->i", b, b)
    limit = (
        cutoff**2 + 1e-3 + 4e-6 * np.maximum.reduceat(b_square, np.searchsorted(target_owner, np.arange(n_crystals)))
    )
    left = np.column_stack([-2 * a, a_square - limit[crystals.owner], np.ones(len(a))]).astype(np.float32)
    right = np.column_stack([b, np.ones(len(b)), b_square]).astype(np.float32).T
    hits, blocks = [np.zeros(0, dtype=np.int64)], [(0, 0, 0, 1)]
    stops = np.cumsum(crystals.counts).tolist()
    edges = np.searchsorted(target_owner, np.arange(n_crystals + 1)).tolist()
    start = 0
    for stop, first, last in zip(stops, edges[:-1], edges[1:], strict=True):
        width = last - first
        step = max(1, PAIR_BLOCK // width)
        for begin in range(start, stop, step):
            distance = left[begin : min(begin + step, stop)] @ right[:, first:last]
            hits.append(np.flatnonzero(distance <= 0))
            blocks.append((len(hits[-1]), begin, first, width))
        start = stop
    sizes, begins, firsts, widths = (np.array(column) for column in zip(*blocks, strict=True))
    row, column = np.divmod(np.concatenate(hits), np.repeat(widths, sizes))
    return row + np.repeat(begins, sizes), column + np.repeat(firsts, sizes)


def _angles(start: Integers, n_atoms: int) -> tuple[Integers, Integers, Integers]:
    """All ordered pairs of different directed bonds that leave the same atom.

    Args:
        start: (2 n_short,) atom each directed short bond leaves.
        n_atoms: Of the batch.

    Returns:
        vertex (n,), first (n,) ascending, second (n,).
    """
    by_atom = np.argsort(start, kind="stable")
    degree = np.bincount(start, minlength=n_atoms)
    begin = np.cumsum(degree) - degree
    partners = degree[start]
    first = np.repeat(np.arange(len(start)), partners)
    within = np.arange(len(first)) - np.repeat(np.cumsum(partners) - partners - begin[start], partners)
    second = by_atom[within]
    different = np.flatnonzero(first != second)
    first, second = first[different], second[different]
    return start[first], first, second
