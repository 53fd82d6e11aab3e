"""Frames without ``pair_id`` are joined by structure: equal species, lattice and wrapped coordinates, in whatever order.

``pairing`` says what is equal: no lattice vector and no atom more than its tolerance apart, whole lattice vectors aside.
Comparing everything with everything is out of the question, and rounding separates neighbours on either side of an edge. So
each structure is described by a few numbers: random directions of its lattice, and the sum over its atoms of the sine of random
directions of (cos 2πf, sin 2πf) of each, other ones for each element. No wrapping and no order of atoms changes them. Structures
that are equal differ by no more than a bound in each number; those that differ by less are taken for equal, and ``pairing``
compares each couple atom by atom afterwards.

A structure that several frames of one functional have is ambiguous: all of them are left out, and counted. For the first frames
that find no partner, the nearest candidate and what differs is told.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import count, pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from xferbench.pairing import NO_PARTNER, TOLERANCE, difference
from xferbench.records import Drop, Frame
from xferbench.sources.reading import AMBIGUOUS_MATCH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from collections.abc import Set as AbstractSet

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

DIRECTIONS = 4
"""Two structures of MD that have nothing to do with each other agree in all of them with a probability of 1e-16."""

SEED = 20260409
ROUNDING = 1e-12
"""Relative error of a projection."""


EXPLAINED = 10
"""Frames without a partner for which a candidate is looked for."""

CANDIDATES = 400
"""Frames of the other functional that are looked at for that, at most."""


def joined(read: Callable[[], Iterable[Frame | Drop]]) -> Iterator[Frame | Drop]:
    """Give frames without ``pair_id`` one: the same for those of one structure. The others pass.

    Args:
        read: Gives all frames, the same in the same order each time; it is called up to three times.
    """
    index = Index()
    for item in read():
        if isinstance(item, Frame) and not item.pair_id:
            index.add(item)
    places = index.names()
    reasons = _explained(read, index, places)
    numbers = iter(range(len(places)))
    for item in read():
        if isinstance(item, Drop) or item.pair_id:
            yield item
            continue
        number = next(numbers)
        place = places[number]
        if place.most > 1:
            detail = f"{place.most} frames of one functional have this structure"
            yield Drop(record_id=item.frame_id, reason=AMBIGUOUS_MATCH, detail=detail)
        elif number in reasons:
            yield Drop(record_id=item.frame_id, reason=NO_PARTNER, detail=reasons[number])
        else:
            yield replace(item, pair_id=place.name)


class Place(NamedTuple):
    """What a frame's structure is called, how many frames of one functional, with a Hubbard U or without, have it at most, and how many in all."""

    name: str
    most: int
    all: int


def _explained(read: Callable[[], Iterable[Frame | Drop]], index: Index, places: Sequence[Place]) -> dict[int, str]:
    """Number of a frame without a partner -> the nearest candidate among those that have none either, and what differs."""
    alone = [i for i, place in enumerate(places) if place.all == 1]
    there: dict[int, set[int]] = defaultdict(set)
    for i in alone:
        there[index.composition[i]].add(index.functional[i])
    chosen = [i for i in alone if len(there[index.composition[i]]) > 1][:EXPLAINED]
    if not chosen:
        return {}
    wanted = {index.composition[i] for i in chosen}
    others = [i for i in alone if index.composition[i] in wanted][: CANDIDATES + EXPLAINED]
    frames = _frames_of(read, {*chosen, *others})
    found = {}
    for i in chosen:
        candidates = [
            j
            for j in others
            if index.composition[j] == index.composition[i] and index.functional[j] != index.functional[i]
        ]
        nearest = min(((*difference(frames[i], frames[j], TOLERANCE), j) for j in candidates), default=None)
        if nearest is not None:
            _, words, j = nearest
            found[i] = f"only {frames[i].frame_id}; nearest is {frames[j].frame_id}: {words}"
    return found


def _frames_of(read: Callable[[], Iterable[Frame | Drop]], wanted: AbstractSet[int]) -> dict[int, Frame]:
    numbers = count()
    return {
        number: item
        for item in read()
        if isinstance(item, Frame) and not item.pair_id and (number := next(numbers)) in wanted
    }


@dataclass(slots=True)
class Index:
    """What is remembered of each structure: some 70 bytes."""

    composition: list[int] = field(default_factory=list)
    name: list[int] = field(default_factory=list)
    functional: array[int] = field(default_factory=lambda: array("b"))
    codes: dict[str, int] = field(default_factory=dict)
    periodic: array[int] = field(default_factory=lambda: array("b"))
    numbers: array[float] = field(default_factory=lambda: array("d"))

    def add(self, frame: Frame) -> None:
        """Remember a structure."""
        values, bound = projections(frame)
        self.composition.append(_digest(np.sort(np.asarray(frame.numbers, dtype="<i8")).tobytes()))
        parts = (np.asarray(frame.numbers, dtype="<i8"), frame.cell, frame.positions)
        self.name.append(_digest(bytes(frame.pbc), *(np.ascontiguousarray(item).tobytes() for item in parts)))
        self.functional.append(self.codes.setdefault(frame.functional.without_u, len(self.codes)))
        self.periodic.append(sum(mark << axis for axis, mark in enumerate(frame.pbc)))
        self.numbers.extend((*values.tolist(), bound))

    def names(self) -> list[Place]:
        """Of each frame, in order."""
        table = np.array(self.numbers).reshape(-1, DIRECTIONS + 1)
        families: dict[tuple[int, int], list[int]] = defaultdict(list)
        for i, key in enumerate(self.composition):
            families[key, self.periodic[i]].append(i)
        found = [Place("", 0, 0)] * len(table)
        for members in families.values():
            for group in _groups(table, np.array(members)):
                most = max(Counter(self.functional[i] for i in group).values())
                name = f"structure-{min(self.name[i] for i in group):016x}"
                for i in group:
                    found[i] = Place(name, most, len(group))
        return found


def projections(frame: Frame) -> tuple[Floats, float]:
    """A structure as a few numbers, and by how much those of an equal one may differ.

    Returns:
        (DIRECTIONS,) values and the bound of the difference of each.
    """
    lattice = frame.cell[np.array(frame.pbc, dtype=bool)]
    inverse = np.linalg.pinv(lattice)
    images = frame.positions @ inverse
    n = frame.n_atoms
    waves = np.zeros((n, 9))
    waves[:, : len(lattice)] = np.cos(2 * np.pi * images)
    waves[:, 3 : 3 + len(lattice)] = np.sin(2 * np.pi * images)
    waves[:, 6:] = frame.positions - images @ lattice
    of_cell = _of_cell()
    of_atoms = np.empty((n, DIRECTIONS, 9))
    for number in np.unique(frame.numbers):
        of_atoms[frame.numbers == number] = _of_element(int(number))
    angles = np.einsum("nkj,nj->nk", of_atoms, waves)
    weights = np.linalg.norm(of_atoms, axis=2)  # the sine is no steeper than its argument
    values: Floats = of_cell @ frame.cell.ravel() + np.sin(angles).sum(axis=0)
    stretch = 2 * np.pi * np.linalg.norm(inverse, 2) if len(lattice) else 1.0
    moved = 1 + np.abs(images).sum(axis=1, initial=0.0)  # by the atom, and by the lattice under its image
    reach = weights.T @ (max(stretch, 1.0) * 2 * moved) + np.abs(of_cell).sum(axis=1)
    size = (
        np.abs(of_cell) @ np.abs(frame.cell.ravel()) + (np.abs(of_atoms) * np.abs(waves)[:, None]).sum(axis=(0, 2)) + n
    )
    return values, float((TOLERANCE * reach + ROUNDING * size).max())


@lru_cache(maxsize=1)
def _of_cell() -> Floats:
    """(DIRECTIONS, 9) for the lattice: always the same."""
    return np.random.default_rng(SEED).standard_normal((DIRECTIONS, 9))


@lru_cache(maxsize=128)
def _of_element(number: int) -> Floats:
    """(DIRECTIONS, 9) for the atoms of an element: always the same."""
    return np.random.default_rng((SEED, number)).standard_normal((DIRECTIONS, 9))


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
