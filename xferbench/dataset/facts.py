"""What a manifest says about pairs and drops. Computed when a directory is built, and again when it is verified."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from xferbench.dataset.digesting import SortedFingerprint
from xferbench.dataset.spill import Closing
from xferbench.hygiene import DUPLICATE_GEOMETRY, FLAGS, UNCLEAN, flag_masks, geometry_keys, repeated
from xferbench.records import PROPERTIES, SPLITS
from xferbench.splits import SUBSET_PERCENTS, assign, subset_key, uncovered_elements
from xferbench.tables import list_lengths

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray

    from xferbench.grouping import Groups
    from xferbench.records import Drop, SplitRule

    Mask = NDArray[np.bool_]

ELEMENTS = 119
"""Atomic numbers are below this."""

LEVELS = tuple(percent / 100 for percent in SUBSET_PERCENTS)


class Places:
    """Where the materials of a data set go: each material is hashed once, and its split and subset key remembered."""

    def __init__(self, rule: SplitRule, groups: Groups | None = None) -> None:
        """Start without materials.

        Args:
            rule: How materials are dealt.
            groups: What they belong to; may follow before the first one, see ``dealing``.
        """
        self._rule = rule
        self.groups = groups
        self._known: dict[str, tuple[int, float]] = {}

    @property
    def materials(self) -> list[str]:
        """Ids of all materials that were dealt."""
        return list(self._known)

    def of(self, material_ids: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Number of the split in ``SPLITS``, and subset key, of each row.

        Raises:
            DataError: The rule's fractions are no fractions.
        """
        new = set(material_ids) - self._known.keys()
        for material, split in assign(new, self._rule, self.groups).items():
            self._known[material] = (SPLITS.index(split), subset_key(material, self._rule))
        n = len(material_ids)
        splits = np.fromiter((self._known[material][0] for material in material_ids), dtype=np.int64, count=n)
        keys = np.fromiter((self._known[material][1] for material in material_ids), dtype=np.float64, count=n)
        return splits, keys

    def group_facts(self) -> dict[str, int]:
        """How many groups there are, how many of them are held out, and how many materials have no label of their own."""
        if self.groups is None:
            return {"count": len(self._known), "held_out": 0, "unknown_materials": 0}
        return {
            "count": len(set(self.groups.names.values())),
            "held_out": len(self.groups.held_out),
            "unknown_materials": self.groups.unknown,
        }

    def count(self, split: str, below: float = 1.0) -> int:
        """Materials of a split whose subset key is below a number."""
        wanted = SPLITS.index(split)
        return sum(place == wanted and key < below for place, key in self._known.values())


class Hygiene:
    """Counts flags as pairs pass, and remembers 17 bytes of each pair to find equal structures at the end."""

    def __init__(self) -> None:
        self._flags = {split: Counter[str]() for split in SPLITS}
        self._splits: list[NDArray[np.int64]] = []
        self._unclean: list[Mask] = []
        self._keys: list[NDArray[np.uint64]] = []

    def add(self, source: pa.Table, target: pa.Table, splits: NDArray[np.int64]) -> None:
        """Count the flags of pairs.

        Args:
            source: ``FRAME_SCHEMA``.
            target: Row i is the partner of row i.
            splits: Number of the split in ``SPLITS`` of each pair.
        """
        masks = flag_masks(source, target)
        for number, split in enumerate(SPLITS):
            self._flags[split].update({flag: int(mask[splits == number].sum()) for flag, mask in masks.items()})
        self._splits.append(splits.astype(np.int8))
        self._unclean.append(np.logical_or.reduce([mask for flag, mask in masks.items() if flag in UNCLEAN]))
        self._keys.append(geometry_keys(target))

    def facts(self) -> dict[str, dict[str, Any]]:
        """Split -> pairs without any flag of ``UNCLEAN``, and pairs with each of ``FLAGS``; empty if there were no pairs."""
        if not self._keys:
            return {}
        same = repeated(np.concatenate(self._keys))
        splits, clean = np.concatenate(self._splits), ~(np.concatenate(self._unclean) | same)
        found = {}
        for number, split in enumerate(SPLITS):
            inside = splits == number
            counts = {**self._flags[split], DUPLICATE_GEOMETRY: int(same[inside].sum())}
            found[split] = {"clean": int(clean[inside].sum()), "flags": {flag: counts[flag] for flag in FLAGS}}
        return found


class Tally(Closing):
    """Counts pairs as they pass, and computes the fingerprint of what has passed."""

    def __init__(self, rule: SplitRule, scratch: Path | None = None) -> None:
        self.places = Places(rule)
        self._hygiene = Hygiene()
        self._pairs = np.zeros(len(SPLITS), dtype=np.int64)
        self._elements = np.zeros((len(SPLITS), ELEMENTS), dtype=bool)
        self._subset_pairs = np.zeros(len(LEVELS), dtype=np.int64)
        self._subset_elements = np.zeros((len(LEVELS), ELEMENTS), dtype=bool)
        self._labels: dict[str, Counter[str]] = {}
        self._fingerprint = SortedFingerprint(scratch)

    def close(self) -> None:
        """Free the memory and the disk."""
        self._fingerprint.close()

    def add(self, *tables: pa.Table) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Count pairs, or frames that stand alone.

        Args:
            *tables: ``FRAME_SCHEMA``; source frames and their partners, row by row, or one table alone.

        Returns:
            Number of the split in ``SPLITS``, and subset key, of each pair.

        Raises:
            DataError: The split rule's fractions are no fractions.
        """
        splits, keys = self.places.of(tables[-1]["material_id"].to_pylist())
        present = np.logical_or.reduce([_present(table) for table in tables])
        self._pairs += np.bincount(splits, minlength=len(SPLITS))
        for number in range(len(SPLITS)):
            self._elements[number] |= present[splits == number].any(axis=0)
        train = splits == SPLITS.index("train")
        for number, level in enumerate(LEVELS):
            inside = train & (keys < level)
            self._subset_pairs[number] += inside.sum()
            self._subset_elements[number] |= present[inside].any(axis=0)
        names = [SPLITS[number] for number in splits.tolist()]
        for table in tables:
            self._fingerprint.add(table, names)  # which goes on while the rest is counted
            self._count_labels(table)
        if len(tables) == 2:  # a pair has flags, a frame alone has none
            self._hygiene.add(tables[0], tables[1], splits)
        return splits, keys

    def facts(self, drops: Iterable[Drop]) -> dict[str, Any]:
        """The computed part of the manifest, as plain JSON values.

        Args:
            drops: What was left out of the pairs that were counted.

        Returns:
            The manifest's ``fingerprint``, ``splits``, ``groups``, ``subsets``, ``drops``, ``labels`` and ``hygiene``.
        """
        return {
            "fingerprint": self._fingerprint.hexdigest(),
            "splits": self._split_facts(),
            "groups": self.places.group_facts(),
            "subsets": {str(percent): self._subset_facts(number) for number, percent in enumerate(SUBSET_PERCENTS)},
            "drops": dict(sorted(Counter(drop.reason for drop in drops).items())),
            "labels": {name: {item: counts[item] for item in PROPERTIES} for name, counts in self._sorted_labels()},
            "hygiene": self._hygiene.facts(),
        }

    def _count_labels(self, table: pa.Table) -> None:
        functionals = np.array(table["functional"].to_pylist(), dtype=object)
        for functional in sorted(set(functionals)):
            rows: Mask = functionals == functional
            counts = self._labels.setdefault(functional, Counter())
            counts.update({name: int(table[name].is_valid().to_numpy()[rows].sum()) for name in PROPERTIES})

    def _sorted_labels(self) -> list[tuple[str, Counter[str]]]:
        return sorted(self._labels.items())

    def _split_facts(self) -> dict[str, dict[str, Any]]:
        elements = {split: symbols(present) for split, present in zip(SPLITS, self._elements, strict=True)}
        uncovered = uncovered_elements({split: frozenset(names) for split, names in elements.items()})
        return {
            split: {
                "pairs": int(pairs),
                "materials": self.places.count(split),
                "elements": elements[split],
                "uncovered_elements": uncovered[split],
            }
            for split, pairs in zip(SPLITS, self._pairs, strict=True)
        }

    def _subset_facts(self, number: int) -> dict[str, int]:
        return {
            "pairs": int(self._subset_pairs[number]),
            "materials": self.places.count("train", LEVELS[number]),
            "elements": int(self._subset_elements[number].sum()),
        }


def symbols(present: NDArray[np.bool_]) -> list[str]:
    """Symbols of the elements whose atomic numbers are marked, by atomic number.

    Args:
        present: (119,) whether the element of that atomic number is there.
    """
    from ase.data import chemical_symbols

    return [chemical_symbols[number] for number in np.flatnonzero(present)]


def _present(table: pa.Table) -> Mask:
    """(rows, 119): which elements each frame has."""
    column = table["numbers"].combine_chunks()
    rows = np.repeat(np.arange(len(column)), list_lengths(column))
    present = np.zeros((len(column), ELEMENTS), dtype=bool)
    present[rows, column.flatten().to_numpy(zero_copy_only=False)] = True
    return present
