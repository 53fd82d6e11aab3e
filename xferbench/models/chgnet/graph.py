"""Neighbour search: a batch of periodic crystals -> atom graph and bond graph, in a few array operations.

CHGNet reads two graphs of a crystal (Deng et al. 2023, Fig. 1). The **atom graph** has a bond between every two atoms
(periodic images included) at most ``atom_cutoff`` apart. The **bond graph** has an angle for every ordered pair of
different bonds shorter than ``bond_cutoff`` that leave the same atom.

A bond is stored once, undirected, as ``center -> neighbor``; its reverse is implied. Bonds of the bond graph come first,
so ``[:n_short]`` are its nodes. A *directed* short bond is the number ``b`` (as stored) or ``b + n_short`` (reversed).

How it is fast: images are enumerated for all crystals at once and only in one half of space (the other half is the
reverse bonds); a matrix product gives all squared distances of crystals of one size; only pairs that survive are computed exactly.

References:
    B. Deng et al., Nat. Mach. Intell. 5, 1031 (2023), doi:10.1038/s42256-023-00716-3.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from xferbench.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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

    def take(self, index: int, atoms: Integers) -> Crystals:
        """One crystal, of these atoms."""
        return Crystals(
            numbers=self.numbers[atoms],
            positions=self.positions[atoms],
            owner=np.zeros(len(atoms), dtype=np.int64),
            counts=self.counts[index : index + 1].copy(),
            cells=self.cells[index : index + 1].copy(),
            pbc=self.pbc[index : index + 1].copy(),
        )

    @classmethod
    def join(cls, parts: Sequence[Crystals]) -> Crystals:
        """Crystals one after the other."""
        names = ("numbers", "positions", "counts", "cells", "pbc")
        arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
        return cls(owner=np.repeat(np.arange(len(arrays["counts"])), arrays["counts"]), **arrays)


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

    @classmethod
    def from_bonds(
        cls,
        *,
        crystals: Crystals,
        center: Integers,
        neighbor: Integers,
        image: Integers,
        vector: Floats,
        n_short: int,
    ) -> Graphs:
        """Graphs of given bonds, with every angle that the short ones make."""
        vertex, first, second = angles(np.concatenate([center[:n_short], neighbor[:n_short]]), len(crystals.numbers))
        return cls(
            crystals=crystals,
            center=center,
            neighbor=neighbor,
            image=image,
            vector=vector,
            n_short=n_short,
            vertex=vertex,
            first=first,
            second=second,
        )

    @property
    def size(self) -> int:
        """Directed bonds plus angles: what time and memory are proportional to."""
        return 2 * len(self.center) + len(self.vertex)

    def split(self) -> list[Graphs]:
        """The graphs of each crystal alone, to be kept: their integers are small, and no array is a view."""
        crystals, n = self.crystals, len(self.crystals.counts)
        first_atom = np.cumsum(crystals.counts) - crystals.counts
        owner = crystals.owner[self.center]
        # bonds of a crystal, short ones first, in the order they have here
        order = np.argsort(owner, kind="stable")
        n_short = np.bincount(owner[: self.n_short], minlength=n)
        bonds = np.split(order, np.cumsum(np.bincount(owner, minlength=n))[:-1])
        atoms = np.split(np.arange(len(crystals.numbers)), first_atom[1:])
        return [
            Graphs.from_bonds(
                crystals=crystals.take(index, atoms[index]),
                center=(self.center[chosen] - first_atom[index]).astype(np.int32),
                neighbor=(self.neighbor[chosen] - first_atom[index]).astype(np.int32),
                image=self.image[chosen].astype(np.int16),
                vector=self.vector[chosen],
                n_short=int(n_short[index]),
            ).compact()
            for index, chosen in enumerate(bonds)
        ]

    def compact(self) -> Graphs:
        """The same with small integers for the angles."""
        angles = {name: getattr(self, name).astype(np.int32) for name in ("vertex", "first", "second")}
        return replace(self, **angles)

    @classmethod
    def join(cls, parts: Sequence[Graphs]) -> Graphs:
        """Graphs of a batch from those of its crystals; the inverse of ``split`` but for the order of bonds."""
        atoms = np.cumsum([0, *(len(part.crystals.numbers) for part in parts)])
        shorts = np.cumsum([0, *(part.n_short for part in parts)])

        def bonds(name: str, *, moved: bool) -> np.ndarray:
            """Of all crystals, short ones first."""
            arrays = [getattr(part, name) for part in parts]
            if moved:
                arrays = [array + start for array, start in zip(arrays, atoms, strict=False)]
            cut = list(zip(arrays, parts, strict=True))
            return np.concatenate([*(a[: p.n_short] for a, p in cut), *(a[p.n_short :] for a, p in cut)])

        # the reverse of short bond b is b + n_short, in a crystal and in the batch
        forward, backward = [], []
        for part, atom, short in zip(parts, atoms, shorts, strict=False):
            n, half = part.n_short, np.searchsorted(part.first, part.n_short)
            first, second = (
                np.where(end < n, end + short, end + (short + shorts[-1] - n)) for end in (part.first, part.second)
            )
            angles = np.stack([part.vertex + atom, first, second])
            forward.append(angles[:, :half])
            backward.append(angles[:, half:])
        vertex, first, second = np.concatenate([*forward, *backward], axis=1)
        return cls(
            crystals=Crystals.join([part.crystals for part in parts]),
            center=bonds("center", moved=True),
            neighbor=bonds("neighbor", moved=True),
            image=bonds("image", moved=False),
            vector=bonds("vector", moved=False),
            n_short=int(shorts[-1]),
            vertex=vertex,
            first=first,
            second=second,
        )


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
    center, neighbor, image, vector, n_short = _bonds(crystals, atom_cutoff, bond_cutoff)
    # atoms that coincide are the shortest of bonds
    near = vector[:n_short]
    clear = np.ones(len(crystals.counts), dtype=bool)
    clear[crystals.owner[center[:n_short][_square(near) < COINCIDENT**2]]] = False
    _require(clear, "two atoms at the same place")
    if isolated == "raise":
        lonely = f'an isolated atom: no neighbour within {atom_cutoff:g} Å; predicted if loaded with isolated="allow"'
        _require(_all_bonded(crystals, center, neighbor), lonely)
    return Graphs.from_bonds(
        crystals=crystals, center=center, neighbor=neighbor, image=image, vector=vector, n_short=n_short
    )


def _require(good: np.ndarray, what: str) -> None:
    """Raise one error that names, by place in the batch, every crystal that is not ``good`` (n_crystals,)."""
    if not good.all():
        if len(good) == 1:
            raise ModelError(f"the structure cannot be predicted: it has {what}")
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


def _square(vector: Floats) -> Floats:
    """Squared lengths (n,) of vectors (n, 3); columns are added up faster than rows."""
    x, y, z = vector.T
    square: Floats = x * x + y * y + z * z
    return square


def _bonds(crystals: Crystals, cutoff: float, short_cutoff: float) -> tuple[Integers, Integers, Integers, Floats, int]:
    """Every bond once, those below ``short_cutoff`` first.

    Returns:
        center (n,), neighbor (n,), image (n, 3), vector (n, 3) and n_short as in ``Graphs``.
    """
    wrapped, moved, atom, image = _image_atoms(crystals, cutoff)
    cells = crystals.cells[crystals.owner]
    origin = np.einsum("ni,nij->nj", wrapped, cells)
    target = np.einsum("ni,nij->nj", wrapped.take(atom, axis=0) + image, cells.take(atom, axis=0))
    row, column = _close_pairs(crystals, origin, target, crystals.owner[atom], cutoff)
    vector = target.take(column, axis=0)
    vector -= origin.take(row, axis=0)
    square = _square(vector)
    # inside the cell itself, each pair is met twice and each atom meets itself
    elsewhere = (image[:, 0] | image[:, 1] | image[:, 2]) != 0
    fresh = elsewhere[column] | (row < atom[column])
    short = fresh & (square < min(short_cutoff, cutoff) ** 2)
    near = np.flatnonzero(short)
    found = np.concatenate([near, np.flatnonzero(fresh & ~short & (square <= cutoff**2))])
    center, column = row[found], column[found]
    neighbor = atom[column]
    translation = image.take(column, axis=0)
    translation += moved.take(neighbor, axis=0)
    translation -= moved.take(center, axis=0)
    return center, neighbor, translation, vector.take(found, axis=0), len(near)


def _image_atoms(crystals: Crystals, cutoff: float) -> tuple[Floats, Integers, Integers, Integers]:
    """Atoms of the cells and of the half of their images that can lie within the cutoff of an atom of the cell.

    A translation is taken if it is zero or its first non-zero component is positive; the others belong to reverse bonds.
    Along each lattice vector, the translations of an atom that stay within reach are an interval around zero; counted in
    the order of their components, the wanted half of such a box is all from the zero translation on.

    Returns:
        Fractional coordinates in [0, 1) (n_atoms, 3), the translations (n_atoms, 3) that brought them there, and the image
        atoms, sorted by crystal: atom (n,), translation (n, 3).
    """
    inverse = np.linalg.inv(crystals.cells)
    owner, starts = crystals.owner, np.cumsum(crystals.counts) - crystals.counts
    periodic = crystals.pbc[owner]
    fractional = np.einsum("ni,nij->nj", crystals.positions, inverse[owner])
    moved = np.where(periodic, -np.floor(fractional), 0.0)
    fractional = fractional + moved
    # 1 / norm is the distance between lattice planes
    reach = cutoff * np.linalg.norm(inverse, axis=1)
    low, high = np.minimum.reduceat(fractional, starts) - reach, np.maximum.reduceat(fractional, starts) + reach
    least = np.where(periodic, np.ceil(low[owner] - fractional), 0.0).astype(np.int64)
    size = np.where(periodic, np.floor(high[owner] - fractional), 0.0).astype(np.int64) - least + 1
    zero = -((least[:, 0] * size[:, 1] + least[:, 1]) * size[:, 2] + least[:, 2])
    repeats = size.prod(1) - zero
    atom = np.repeat(np.arange(len(owner)), repeats)
    place = np.arange(len(atom)) - np.repeat(np.cumsum(repeats) - repeats - zero, repeats)
    rest, z = np.divmod(place, size[atom, 2])
    x, y = np.divmod(rest, size[atom, 1])
    image = np.stack([x, y, z], axis=1)
    image += least.take(atom, axis=0)
    return fractional, moved.astype(np.int64), atom, image


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
    a, b = origin - middle.take(crystals.owner, axis=0), target - middle.take(target_owner, axis=0)
    a_square, b_square = _square(a), _square(b)
    edges = np.searchsorted(target_owner, np.arange(n_crystals + 1))
    limit = cutoff**2 + 1e-3 + 4e-6 * np.maximum.reduceat(b_square, edges[:-1])
    left = np.column_stack([-2 * a, a_square - limit[crystals.owner], np.ones(len(a))]).astype(np.float32)
    # one row more, far from everything, to pad with
    right = np.zeros((len(b) + 1, 5), dtype=np.float32)
    right[:-1, :3], right[:, 3], right[:-1, 4], right[-1, 4] = b, 1, b_square, 1e30
    rows, columns = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    for begin, height, first, width in _alike(crystals.counts, edges):
        inside = np.arange(width.max())
        wide = np.where(inside < width[:, None], first[:, None] + inside, len(b))
        tall = begin[:, None] + np.arange(height)
        # all is finite; on some processors BLAS raises the flag in lanes it throws away (numpy#24067)
        with np.errstate(invalid="ignore"):
            distance = left.take(tall, axis=0) @ right.take(wide, axis=0).transpose(0, 2, 1)
        hits = np.flatnonzero(distance <= 0)
        crystal_row, column = np.divmod(hits, len(inside))
        rows.append(tall.ravel()[crystal_row])
        columns.append(wide[crystal_row // height, column])
    return np.concatenate(rows), np.concatenate(columns)


def _alike(counts: Integers, edges: Integers) -> Iterator[tuple[Integers, int, Integers, Integers]]:
    """Crystals, or slabs of large ones, that are worked off together: equally many atoms, and image atoms about alike.

    Args:
        counts: (n_crystals,) atoms.
        edges: (n_crystals + 1,) where the image atoms of each crystal start.

    Yields:
        First atom of each slab (n,), atoms of every slab, first image atom (n,) and number of image atoms (n,).
    """
    width = np.diff(edges)
    step = np.maximum(1, PAIR_BLOCK // width)
    slabs = -(-counts // step)
    crystal = np.repeat(np.arange(len(counts)), slabs)
    offset = (np.arange(len(crystal)) - np.repeat(np.cumsum(slabs) - slabs, slabs)) * step[crystal]
    begin = np.repeat(np.cumsum(counts) - counts, slabs) + offset
    height, width, first = np.minimum(step[crystal], counts[crystal] - offset), width[crystal], edges[crystal]
    order = np.lexsort((width, height))
    for same in np.split(order, np.flatnonzero(np.diff(height[order])) + 1) if len(order) else []:
        rows = int(height[same[0]])
        together = max(1, PAIR_BLOCK // (rows * int(width[same[-1]])))
        for start in range(0, len(same), together):
            part = same[start : start + together]
            yield begin[part], rows, first[part], width[part]


def angles(start: Integers, n_atoms: int) -> tuple[Integers, Integers, Integers]:
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
