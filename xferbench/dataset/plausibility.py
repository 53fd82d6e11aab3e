"""What the labels of the two sides say about each other: copies, placeholders, units and signs of one side only.

Pairs are of one geometry, so the labels of two functionals resemble each other and are not equal. Equal energies or forces in a share of
the pairs mean that one file is a copy of the other; zeros against numbers that somebody filled a column; forces of one side that are the
other's times a known factor another unit; energies that elements explain far better as they are than per atom are energies per atom.
Single cases are flags of ``hygiene``. Where there is too little to tell, the log says so.
"""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from xferbench import hygiene, references
from xferbench.errors import DataError
from xferbench.mistakes import FORCE_FACTORS, STRESS_FACTORS, wrong_factor
from xferbench.records import Geometry
from xferbench.tables import flat_values, list_lengths

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

SHARE = 0.05
"""Of the pairs, from which on a coincidence is none."""

FEWEST = 2
"""Pairs from which on it is none either."""

ALL = 0.9
"""Of the frames of a side, from which on labels of zeros are placeholders."""

SAMPLE = 5000
"""Pairs that are kept for the comparisons of numbers, the first ones."""

SOME = 0.02
"""Of the frames, from which on energies per atom among total ones are no single slips."""

LARGE = {"forces": 0.05, "stress": 0.003}
"""eV/Å and eV/Å³: a smaller difference of the two sides of a pair is never looked into."""

OUTSIDE = 6.0
"""Times the median difference over all pairs, from which on a pair does not belong to the rest. Near equilibrium two functionals may well
pull in opposite directions, by as much as they differ everywhere."""

UNLIKE = 4.0
"""Factor by which two sides differ that do not resemble each other."""

OPPOSITE = 1.5
"""Factor by which two sides of opposite direction may differ to be each other's negative."""

FAR_OFF = 1.0
"""eV/atom that an energy must miss what elements explain before it is asked whether it is per atom."""

SIZES = 1.5
"""Largest cell over smallest from which on energies per atom can be told from total ones."""

PER_ATOM_RATIO = 0.5
"""As in scoring: energies must fit elements at least this much better as energies per atom before they are called so."""

PER_ATOM_FLOOR = 0.1
"""eV/atom. What elements explain better than this as total energies is not doubted."""

FREE_TO_MOVE = 1e-3
"""Trace of the projector on what symmetry leaves of a vector, from which on an atom may have a force."""

LOOKED_AT = 20
"""Structures whose symmetry is looked at."""

log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Side:
    """What is kept of one side: its functional, and of the first pairs functionals, atoms, energies, forces and stresses."""

    functional: str = ""
    functionals: list[str] = field(default_factory=list)
    numbers: list[NDArray[np.int64]] = field(default_factory=list)
    energies: list[float] = field(default_factory=list)
    forces: list[Floats] = field(default_factory=list)
    stress: list[Floats] = field(default_factory=list)
    zeros: Counter[str] = field(default_factory=Counter)
    there: Counter[str] = field(default_factory=Counter)
    still: list[tuple[Floats, Floats, NDArray[np.int64]]] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Plausibility:
    """Looks at pairs as they pass, and concludes at the end."""

    geometry: Geometry
    pairs: int = 0
    same: Counter[str] = field(default_factory=Counter)
    empty: Counter[str] = field(default_factory=Counter)
    sides: tuple[Side, Side] = field(default_factory=lambda: (Side(), Side()))

    def add(self, source: pa.Table, target: pa.Table) -> None:
        """Look at pairs.

        Args:
            source: ``FRAME_SCHEMA``.
            target: Row i is the partner of row i.
        """
        if not source.num_rows:
            return
        tables = (source, target)
        self.same.update({name: int(mask.sum()) for name, mask in hygiene.identical_labels(*tables).items()})
        if self.geometry is Geometry.SAME_GEOMETRY:
            self.empty.update({name: int(mask.sum()) for name, mask in hygiene.placeholders(*tables).items()})
        self.pairs += source.num_rows
        for side, table in zip(self.sides, tables, strict=True):
            _take_in(side, table)

    def conclude(self) -> None:
        """Say what the pairs say.

        Raises:
            DataError: One side is a copy of the other, holds placeholders, or is in another unit.
        """
        first, second = self.sides
        names = f"{first.functional} and {second.functional}"
        for name, count in self.same.items():
            if self._too_many(count):
                what = "energies" if name == "energy" else name
                raise DataError(
                    f"{names} state identical {what} in {count} of {self.pairs} pairs: one file is a copy of the other, or holds its "
                    "labels; compare the two files, and take each functional's from its own calculation"
                )
        for name, count in self.empty.items():
            if self._too_many(count):
                side = max(self.sides, key=lambda item: item.zeros[name])
                raise DataError(
                    f"{side.functional} {name} are zeros in {count} of {self.pairs} pairs whose other side has numbers: they are placeholders; "
                    f"leave the {name} out where they were not calculated"
                )
        for side in self.sides:
            self._zeros(side)
            for part in _of_one_zero(side):
                per_atom(part)
                some_per_atom(part)
        if self.geometry is Geometry.SAME_GEOMETRY:
            self._factors()

    def _too_many(self, count: int) -> bool:
        return count >= FEWEST and count >= SHARE * self.pairs

    def _zeros(self, side: Side) -> None:
        for name in ("stress", "forces"):
            n, zeros = side.there[name], side.zeros[name]
            if n < FEWEST or zeros < ALL * n or (name == "forces" and not _may_move(side)):
                continue
            raise DataError(
                f"{side.functional} {name} are zeros in {zeros} of {n} frames: they are placeholders; leave the {name} out where they were "
                "not calculated"
            )

    def _factors(self) -> None:
        """One side's vectors against the other's: functionals differ by per cents, units by factors."""
        first, second = self.sides
        for name, factors in (("forces", FORCE_FACTORS), ("stress", STRESS_FACTORS)):
            values = [
                np.concatenate([np.zeros(0), *(item.ravel() for item in getattr(side, name))]) for side in self.sides
            ]
            if len(values[0]) != len(values[1]) or not len(values[0]):
                continue
            self._single_factors(name, factors)
            for (one, other), (judged, right) in (
                ((second, first), (values[1], values[0])),
                ((first, second), (values[0], values[1])),
            ):
                found = wrong_factor(judged, right, factors)
                if found is not None and found[1] is not None:
                    raise DataError(
                        f"{one.functional} {name} are {found[0]:.3g} times those of {other.functional} over {self.pairs} pairs: it looks as if "
                        f"{found[1]} in {one.functional}, unless it is {other.functional} that is wrong; mend the file and prepare again"
                    )

    def _single_factors(self, name: str, factors: Mapping[str, float]) -> None:
        """The same pair by pair: what is wrong in some frames only is lost in a sum over all.

        Raises:
            DataError: It is wrong in a share of them, by a known factor.
        """
        first, second = self.sides
        frames = [_by_frame(side, name) for side in self.sides]
        pairs = list(zip(*frames, strict=True)) if len(frames[0]) == len(frames[1]) else []
        apart = np.array([np.abs(one - other).max(initial=0.0) for one, other in pairs])
        if not len(apart):
            return
        far = max(LARGE[name], OUTSIDE * float(np.median(apart)))
        odd = [pair for pair, distance in zip(pairs, apart, strict=True) if distance > far and _unlike(*pair)]
        if not odd:
            return
        values = [np.concatenate([pair[side] for pair in odd]) for side in (0, 1)]
        found = wrong_factor(values[1], values[0], factors)
        backwards = wrong_factor(values[0], values[1], factors)
        cause, side = next(
            (
                (item[1], name_)
                for item, name_ in ((found, second), (backwards, first))
                if item is not None and item[1] is not None
            ),
            (None, second),
        )
        if cause is not None and self._too_many(len(odd)):
            raise DataError(
                f"{name} of the two sides do not belong together in {len(odd)} of {self.pairs} pairs: it looks as if {cause} in some frames of "
                f"{side.functional}; mend the file and prepare again"
            )
        log.info("%s of the two sides do not resemble each other in %d of %d pairs", name, len(odd), self.pairs)


def _of_one_zero(side: Side) -> list[Side]:
    """The energies of a side by functional: with a Hubbard U they have another zero than without."""
    parts = {name: Side(functional=name) for name in side.functionals}
    for name, numbers, energy in zip(side.functionals, side.numbers, side.energies, strict=True):
        parts[name].numbers.append(numbers)
        parts[name].energies.append(energy)
    return list(parts.values())


def _by_frame(side: Side, name: str) -> list[Floats]:
    """The components of each frame that was kept."""
    values = np.concatenate([np.zeros(0), *(item.ravel() for item in getattr(side, name))])
    lengths = [3 * len(item) if name == "forces" else 9 for item in side.numbers]
    return np.split(values, np.cumsum(lengths)[:-1]) if sum(lengths) == len(values) else []


def _unlike(one: Floats, other: Floats) -> bool:
    """Whether two labels are of one direction and of another size, or of opposite directions."""
    product, sizes = float(one @ other), (float(np.linalg.norm(one)), float(np.linalg.norm(other)))
    if min(sizes) == 0 or abs(product) < 0.9 * sizes[0] * sizes[1]:
        return False
    return max(sizes) < OPPOSITE * min(sizes) if product < 0 else max(sizes) > UNLIKE * min(sizes)


def _take_in(side: Side, table: pa.Table) -> None:
    side.functional = side.functional or str(table["functional"][0].as_py())
    for name in ("forces", "stress"):
        largest = hygiene.largest_component(table, name)
        side.there[name] += int(np.isfinite(largest).sum())
        side.zeros[name] += int((largest == 0).sum())
    room = SAMPLE - len(side.energies)
    if room <= 0:
        return
    part = table.slice(0, room)
    columns = {name: part[name].combine_chunks() for name in ("numbers", "forces", "stress", "positions", "cell")}
    n = list_lengths(columns["numbers"])
    numbers = np.split(flat_values(columns["numbers"]), np.cumsum(n)[:-1])
    side.functionals += part["functional"].to_pylist()
    side.numbers += numbers
    side.energies += part["energy"].to_numpy().tolist()
    for name in ("forces", "stress"):
        lengths = list_lengths(columns[name])
        if (lengths > 0).all():
            getattr(side, name).append(flat_values(columns[name]))
    still = np.flatnonzero((hygiene.largest_component(part, "forces") == 0) & (n > 1))[: LOOKED_AT - len(side.still)]
    places = np.cumsum(n) - n
    if len(still) and len(flat_values(columns["positions"])) == 3 * n.sum():
        positions, cells = (
            flat_values(columns["positions"]).reshape(-1, 3),
            flat_values(columns["cell"]).reshape(-1, 3, 3),
        )
        side.still += [(cells[i], positions[places[i] : places[i] + n[i]], numbers[i]) for i in still]


def per_atom(side: Side) -> None:
    """Energies per atom in place of total ones, told by which of the two the elements explain.

    Raises:
        DataError: They are per atom.
    """
    usable = np.isfinite(np.array(side.energies, dtype=np.float64))
    numbers = [item for item, good in zip(side.numbers, usable, strict=True) if good]
    energy = np.array(side.energies, dtype=np.float64)[usable]
    sizes = np.array([len(item) for item in numbers], dtype=np.float64)
    if len(sizes) < FEWEST or sizes.max() < SIZES * sizes.min():
        log.info("%s: cells of one size, so energies per atom cannot be told from total ones", side.functional)
        return
    as_total = references.fit(numbers, energy / sizes).rmse
    as_per_atom = references.fit(numbers, energy).rmse
    if as_total < PER_ATOM_FLOOR or as_per_atom > PER_ATOM_RATIO * as_total:
        return
    raise DataError(
        f"{side.functional} energies look like eV/atom in cells of {sizes.min():.0f} to {sizes.max():.0f} atoms: as they are, elements "
        f"explain them to {as_per_atom:.3g} eV/atom, divided by the number of atoms to {as_total:.3g}; multiply each by the number of "
        "atoms of its cell, or call them energy_per_atom"
    )


def some_per_atom(side: Side) -> None:
    """The same in some frames only: those that elements do not explain as total energies, and do as energies per atom.

    Raises:
        DataError: There are such frames.
    """
    usable = np.isfinite(np.array(side.energies, dtype=np.float64))
    numbers = [item for item, good in zip(side.numbers, usable, strict=True) if good]
    sizes = np.array([len(item) for item in numbers], dtype=np.float64)
    elements = sorted(set(np.concatenate([np.zeros(0, dtype=np.int64), *numbers]).tolist()))
    if len(numbers) <= 2 * len(elements):
        return
    energy = np.array(side.energies, dtype=np.float64)[usable]
    rest_total, rest = _explained(references.composition_matrix(numbers, elements), energy / sizes, energy)
    wrong = (sizes > 1) & (np.abs(rest_total) > FAR_OFF) & (np.abs(rest) < PER_ATOM_RATIO / 2 * np.abs(rest_total))
    count = int(wrong.sum())
    if len(set(sizes[wrong].tolist())) < 2:  # of one size, half the energy may be a compressed or a stretched structure
        return
    if count >= FEWEST and count >= SOME * len(numbers):
        raise DataError(
            f"{side.functional} energies look like eV/atom in {count} of {len(numbers)} frames, and like those of whole cells in the others; "
            "multiply each of them by the number of atoms of its cell"
        )
    if count:
        log.warning("note: %s energies look like eV/atom in %d of %d frames", side.functional, count, len(numbers))


def _explained(fractions: Floats, energy: Floats, other: Floats) -> tuple[Floats, Floats]:
    """What elements leave of energies and of other ones, by the fit with the least absolute rest (iteratively reweighted)."""
    weights = np.ones(len(energy))
    for _ in range(30):
        root = np.sqrt(weights)
        solution = np.linalg.lstsq(fractions * root[:, None], energy * root, rcond=None)[0]
        rest = energy - fractions @ solution
        weights = 1 / np.maximum(np.abs(rest), 1e-3)
    return rest, other - fractions @ solution


def _may_move(side: Side) -> bool:
    """Whether symmetry allows forces in structures that have none, in most of those that were looked at."""
    if not side.still:
        return False
    free = sum(_has_free_atom(*item) for item in side.still)
    return free > len(side.still) / 2


def _has_free_atom(cell: Floats, positions: Floats, numbers: NDArray[np.int64]) -> bool:
    import spglib

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of how it will tell errors
            places = np.linalg.solve(cell.T, positions.T).T
            found = spglib.get_symmetry((cell.tolist(), places.tolist(), numbers.tolist()), symprec=1e-3)
    except np.linalg.LinAlgError:
        return True
    if found is None:
        return True
    inverse = np.linalg.inv(cell.T)
    fractional = positions @ np.linalg.inv(cell)
    turned = np.einsum("rij,nj->rni", found["rotations"], fractional) + found["translations"][:, None]
    for i in range(len(numbers)):
        moved = turned[:, i] - fractional[i]
        stays = np.abs((moved - np.rint(moved)) @ cell).max(axis=1) < 1e-2
        projector = np.mean([cell.T @ rotation @ inverse for rotation in found["rotations"][stays]], axis=0)
        if np.trace(projector) > FREE_TO_MOVE:
            return True
    return False
