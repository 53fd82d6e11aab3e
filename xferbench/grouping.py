"""Which materials go into one split together: those of a chemical system, or of a prototype.

| by | label of a structure | example |
|---|---|---|
| ``chemsys`` | its elements, in alphabetical order | ``Cl-Na`` |
| ``prototype`` | its anonymous formula and space group number | ``AB_225`` |

Two labels that one material has (a phase transition within a relaxation, say) are one group, and so on along chains, so no
label and no material ever meets itself in another split. The space group is spglib's at ``SYMPREC``. Frames of one material
and formula share the highest number that any of them has, because a distorted copy loses symmetry and gains none. Where
spglib finds no space group the label is ``unknown``; all of those are one group, and are counted.

A prototype in this sense is coarser than a crystal structure: wurtzite-like and other structures of one formula and space
group are together. So nothing of one structure type leaks, and some splits are stricter than they need be.
"""

from __future__ import annotations

import warnings
from collections import Counter
from dataclasses import dataclass
from math import gcd
from string import ascii_uppercase
from typing import TYPE_CHECKING

import numpy as np

from xferbench.errors import DataError, UsageError
from xferbench.tables import table_frames

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet

    import pyarrow as pa
    from numpy.typing import NDArray

    from xferbench.records import Frame, SplitRule

    Integers = NDArray[np.int64]

SYMPREC = 0.1
"""Å, the Materials Project's."""

UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """Where every material of a data set belongs.

    Attributes:
        names: Material id -> name of its group.
        labels: Material id -> its labels.
        held_out: Names of the groups that contain a held-out element.
        unknown: Materials without a label of their own.
    """

    names: Mapping[str, str]
    labels: Mapping[str, AbstractSet[str]]
    held_out: frozenset[str]
    unknown: int


class Grouper:
    """Looks at structures as they pass, then tells the groups."""

    def __init__(self, rule: SplitRule) -> None:
        """Start without materials.

        Raises:
            UsageError: A held-out element does not exist.
        """
        self._rule = rule
        self._held_out = frozenset(atomic_numbers(rule.held_out))
        self._materials: set[str] = set()
        self._with_held_out: set[str] = set()
        self._labels: dict[str, set[str]] = {}
        self._space_groups: dict[tuple[str, str], int] = {}

    def add(self, table: pa.Table) -> None:
        """Look at frames.

        Args:
            table: ``FRAME_SCHEMA``.
        """
        for frame in table_frames(table):
            material = frame.material_id
            self._materials.add(material)
            if self._held_out.intersection(frame.numbers.tolist()):
                self._with_held_out.add(material)
            if self._rule.by == "chemsys":
                self._labels.setdefault(material, set()).add(chemical_system(frame.numbers))
            elif self._rule.by == "prototype":
                key = (material, anonymous_formula(frame.numbers))
                self._space_groups[key] = max(self._space_groups.get(key, 0), space_group(frame))

    def groups(self, known: Groups | None = None) -> Groups:
        """The groups of all materials that have passed.

        Args:
            known: Groups of other materials, which keep their names and take in what belongs to them.

        Raises:
            DataError: No material contains a held-out element.
        """
        labels = self._all_labels()
        unknown = sum(found == {UNKNOWN} for found in labels.values())
        if known is not None:
            labels = {material: found | known.labels.get(material, set()) for material, found in labels.items()}
            labels = {**known.labels, **labels}
        elif self._held_out and not self._with_held_out:
            raise DataError(
                f"no material contains {' or '.join(self._rule.held_out)}, so there is nothing to hold out; choose other elements"
            )
        names = components(labels)
        if known is not None:
            kept = {names[material]: name for material, name in sorted(known.names.items(), reverse=True)}
            names = {material: known.names.get(material, kept.get(name, name)) for material, name in names.items()}
        held_out = frozenset(names[material] for material in self._with_held_out)
        return Groups(
            names=names,
            labels=labels,
            held_out=held_out if known is None else held_out | known.held_out,
            unknown=unknown,
        )

    def _all_labels(self) -> dict[str, AbstractSet[str]]:
        if self._rule.by == "material":
            return {material: {material} for material in self._materials}
        for (material, formula), number in self._space_groups.items():
            self._labels.setdefault(material, set()).add(f"{formula}_{number}" if number else UNKNOWN)
        return dict(self._labels)


def components(labels: Mapping[str, AbstractSet[str]]) -> dict[str, str]:
    """Materials that share a label, directly or along a chain, get one name: the first of their labels.

    Args:
        labels: Material -> its labels, at least one.

    Returns:
        Material -> name of its group.
    """
    parent: dict[str, str] = {}

    def root(label: str) -> str:
        while parent.setdefault(label, label) != label:
            parent[label] = label = parent[parent[label]]
        return label

    firsts = {}
    for material, found in sorted(labels.items()):
        first, *others = sorted(found)
        firsts[material] = first
        for other in others:
            low, high = sorted((root(first), root(other)))
            parent[high] = low
    return {material: root(first) for material, first in firsts.items()}


def chemical_system(numbers: Integers) -> str:
    """Elements in alphabetical order: ``Cl-Na``."""
    from ase.data import chemical_symbols

    return "-".join(sorted(chemical_symbols[number] for number in set(numbers.tolist())))


def reduced_composition(numbers: Integers) -> str:
    """Elements in alphabetical order with their smallest whole numbers: ``Cl1Na1``."""
    from ase.data import chemical_symbols

    counts = Counter(numbers.tolist())
    divisor = gcd(*counts.values())
    return "".join(sorted(f"{chemical_symbols[number]}{count // divisor}" for number, count in counts.items()))


def anonymous_formula(numbers: Integers) -> str:
    """The reduced formula without names, the rarest element first: ``AB2``, as pymatgen writes it."""
    counts = sorted(Counter(numbers.tolist()).values())
    divisor = gcd(*counts)
    letters = [*ascii_uppercase, *(f"{letter}'" for letter in ascii_uppercase)]
    amounts = (count // divisor for count in counts)
    return "".join(f"{letter}{amount if amount > 1 else ''}" for letter, amount in zip(letters, amounts, strict=False))


def space_group(frame: Frame) -> int:
    """Space group number by spglib, 0 where it finds none or the frame is not periodic in all directions."""
    if not all(frame.pbc):
        return 0
    import spglib
    from spglib.error import SpglibError

    fractional = np.linalg.lstsq(frame.cell.T, frame.positions.T, rcond=None)[0].T
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # spglib 2 announces that 3 will raise where it returns None
        try:
            found = spglib.get_symmetry_dataset((frame.cell, fractional, frame.numbers), symprec=SYMPREC)  # type: ignore[arg-type]
        except SpglibError:
            return 0
    return 0 if found is None else int(found.number)


def atomic_numbers(symbols: Sequence[str]) -> list[int]:
    """Atomic numbers of element symbols.

    Raises:
        UsageError: One is no element.
    """
    from ase.data import atomic_numbers as known

    wrong = [symbol for symbol in symbols if not known.get(symbol)]
    if wrong:
        raise UsageError(f"{', '.join(map(repr, wrong))} is no element; give symbols such as Yb,Lu")
    return [int(known[symbol]) for symbol in symbols]
