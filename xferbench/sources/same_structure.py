"""Frames without ``pair_id`` are joined by structure: equal species in order, lattice and wrapped coordinates.

``pairing`` says what is equal: no lattice vector and no atom more than its tolerance apart, whole lattice vectors aside.
Comparing everything with everything is out of the question, and rounding separates neighbours on either side of an edge. So
each structure is projected onto a few random directions of (lattice, cos 2πf, sin 2πf), which no wrapping changes. Structures
that are equal differ by no more than a bound in each projection; those that differ by less are taken for equal, and
``pairing`` compares each couple atom by atom afterwards.

A structure that several frames of one functional have is ambiguous: all of them are left out, and counted.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import defaultdict
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from xferbench.pairing import TOLERANCE
from xferbench.records import Drop, Frame
from xferbench.sources.reading import AMBIGUOUS_MATCH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

DIRECTIONS = 4
"""Two structures of MD that have nothing to do with each other agree in all of them with a probability of 1e-16."""

SEED = 20260409
ROUNDING = 1e-12
"""Relative error of a projection."""


def joined(read: Callable[[], Iterable[Frame | Drop]]) -> Iterator[Frame | Drop]:
    """Give frames without ``pair_id`` one: the same for those of one structure. The others pass.

    Args:
        read: Gives all frames, the same in the same order each time; it is called twice.
    """
    index = Index()
    for item in read():
        if isinstance(item, Frame) and not item.pair_id:
            index.add(item)
    names = iter(index.names())
    for item in read():
        if isinstance(item, Drop) or item.pair_id:
            yield item
            continue
        name, count = next(names)
        if count > 1:
            detail = f"{count} frames of one functional family have this structure"
            yield Drop(record_id=item.frame_id, reason=AMBIGUOUS_MATCH, detail=detail)
        else:
            yield replace(item, pair_id=name)


@dataclass(slots=True)
class Index:
    """What is remembered of each structure: some 70 bytes."""

    composition: list[int] = field(default_factory=list)
    name: list[int] = field(default_factory=list)
    is_gga: array[int] = field(default_factory=lambda: array("b"))
    numbers: array[float] = field(default_factory=lambda: array("d"))

    def add(self, frame: Frame) -> None:
        """Remember a structure."""
        values, bound = projections(frame)
        self.composition.append(_digest(np.asarray(frame.numbers, dtype="<i8").tobytes(), bytes(frame.pbc)))
        self.name.append(_digest(*(np.ascontiguousarray(item).tobytes() for item in (frame.cell, frame.positions))))
        self.is_gga.append(frame.functional.is_gga)
        self.numbers.extend((*values.tolist(), bound))

    def names(self) -> list[tuple[str, int]]:
        """Of each frame, in order: the name of its structure, and how many frames of one functional family have it at most."""
        table = np.array(self.numbers).reshape(-1, DIRECTIONS + 1)
        families: dict[int, list[int]] = defaultdict(list)
        for i, key in enumerate(self.composition):
            families[key].append(i)
        found: list[tuple[str, int]] = [("", 0)] * len(table)
        for members in families.values():
            for group in _groups(table, np.array(members)):
                is_gga = [bool(self.is_gga[i]) for i in group]
                first = min(self.name[i] for i in group)
                name = f"structure-{self.composition[group[0]] ^ first:016x}"
                for i in group:
                    found[i] = name, max(sum(is_gga), len(group) - sum(is_gga))
        return found


def projections(frame: Frame) -> tuple[Floats, float]:
    """A structure on random directions, and by how much an equal one may differ.

    Returns:
        (DIRECTIONS,) values and the bound of the difference of each.
    """
    n = frame.n_atoms
    of_cell, of_atoms = _directions(n)
    lattice = frame.cell[np.array(frame.pbc, dtype=bool)]
    inverse = np.linalg.pinv(lattice)
    images = frame.positions @ inverse
    waves = np.zeros((n, 9))
    waves[:, : len(lattice)] = np.cos(2 * np.pi * images)
    waves[:, 3 : 3 + len(lattice)] = np.sin(2 * np.pi * images)
    waves[:, 6:] = frame.positions - images @ lattice
    values: Floats = of_cell @ frame.cell.ravel() + of_atoms.reshape(DIRECTIONS, -1) @ waves.ravel()
    stretch = 2 * np.pi * np.linalg.norm(inverse, 2) if len(lattice) else 1.0
    moved = 1 + np.abs(images).sum(axis=1, initial=0.0)  # by the atom, and by the lattice under its image
    reach = np.linalg.norm(of_atoms, axis=2) @ (max(stretch, 1.0) * 2 * moved) + np.abs(of_cell).sum(axis=1)
    size = np.abs(of_cell) @ np.abs(frame.cell.ravel()) + np.abs(of_atoms).sum(axis=(1, 2))
    return values, float((TOLERANCE * reach + ROUNDING * size).max())


@lru_cache(maxsize=512)
def _directions(n: int) -> tuple[Floats, Floats]:
    """(DIRECTIONS, 9) for the lattice and (DIRECTIONS, n, 9) for the atoms: always the same."""
    random = np.random.default_rng((SEED, n))
    return random.standard_normal((DIRECTIONS, 9)), random.standard_normal((DIRECTIONS, n, 9))


def _digest(*parts: bytes) -> int:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return int.from_bytes(digest.digest()[:8], "big")


def _groups(table: Floats, members: NDArray[np.int64]) -> Iterator[list[int]]:
    """Members that are equal, directly or through others."""
    order = members[np.argsort(table[members, 0], kind="stable")]
    run = [int(order[0])]
    for before, after in pairwise(order.tolist()):
        if table[after, 0] - table[before, 0] > max(table[before, -1], table[after, -1]):
            yield from _components(table, run)
            run = []
        run.append(after)
    yield from _components(table, run)


def _components(table: Floats, run: list[int]) -> Iterator[list[int]]:
    """The same among members that one direction does not tell apart, which are few."""
    rest = run
    while rest:
        group, waiting, rest = [], [rest[0]], rest[1:]
        while waiting:
            one = waiting.pop()
            group.append(one)
            bounds = np.maximum(table[rest, -1], table[one, -1])
            near = (np.abs(table[rest, :-1] - table[one, :-1]) <= bounds[:, None]).all(axis=1)
            waiting += [item for item, close in zip(rest, near, strict=True) if close]
            rest = [item for item, close in zip(rest, near, strict=True) if not close]
        yield sorted(group)
