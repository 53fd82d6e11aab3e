"""What a manifest says about pairs and drops. Computed when a directory is built, and again when it is verified."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from xferbench.dataset.digesting import SortedFingerprint
from xferbench.records import GGA, PROPERTIES, SPLITS, Functional
from xferbench.splits import SUBSET_PERCENTS, assign, subset_key, uncovered_elements
from xferbench.tables import list_lengths

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    import pyarrow as pa
    from numpy.typing import NDArray

    from xferbench.records import Drop, SplitRule

    Mask = NDArray[np.bool_]

ELEMENTS = 119
"""Atomic numbers are below this."""

LEVELS = tuple(percent / 100 for percent in SUBSET_PERCENTS)


class Places:
    """Where the materials of a data set go: each material is hashed once, and its split and subset key remembered."""

    def __init__(self, rule: SplitRule) -> None:
        self._rule = rule
        self._known: dict[str, tuple[int, float]] = {}

    def of(self, material_ids: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Number of the split in ``SPLITS``, and subset key, of each row.

        Raises:
            DataError: The rule's fractions are no fractions.
        """
        new = set(material_ids) - self._known.keys()
        for material, split in assign(new, self._rule).items():
            self._known[material] = (SPLITS.index(split), subset_key(material, self._rule))
        n = len(material_ids)
        splits = np.fromiter((self._known[material][0] for material in material_ids), dtype=np.int64, count=n)
        keys = np.fromiter((self._known[material][1] for material in material_ids), dtype=np.float64, count=n)
        return splits, keys

    def count(self, split: str, below: float = 1.0) -> int:
        """Materials of a split whose subset key is below a number."""
        wanted = SPLITS.index(split)
        return sum(place == wanted and key < below for place, key in self._known.values())


class Tally:
    """Counts pairs as they pass, and computes the fingerprint of what has passed."""

    def __init__(self, rule: SplitRule, scratch: Path | None = None) -> None:
        self.places = Places(rule)
        self._pairs = np.zeros(len(SPLITS), dtype=np.int64)
        self._elements = np.zeros((len(SPLITS), ELEMENTS), dtype=bool)
        self._subset_pairs = np.zeros(len(LEVELS), dtype=np.int64)
        self._subset_elements = np.zeros((len(LEVELS), ELEMENTS), dtype=bool)
        self._labels: dict[str, Counter[str]] = {}
        self._fingerprint = SortedFingerprint(scratch)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._fingerprint.close()

    def add(self, gga: pa.Table, r2scan: pa.Table) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Count pairs.

        Args:
            gga: ``FRAME_SCHEMA``.
            r2scan: Row i is the partner of row i.

        Returns:
            Number of the split in ``SPLITS``, and subset key, of each pair.

        Raises:
            DataError: The split rule's fractions are no fractions.
        """
        splits, keys = self.places.of(r2scan["material_id"].to_pylist())
        present = _present(gga) | _present(r2scan)
        self._pairs += np.bincount(splits, minlength=len(SPLITS))
        for number in range(len(SPLITS)):
            self._elements[number] |= present[splits == number].any(axis=0)
        train = splits == SPLITS.index("train")
        for number, level in enumerate(LEVELS):
            inside = train & (keys < level)
            self._subset_pairs[number] += inside.sum()
            self._subset_elements[number] |= present[inside].any(axis=0)
        names = [SPLITS[number] for number in splits.tolist()]
        for table in (gga, r2scan):
            self._count_labels(table)
            self._fingerprint.add(table, names)
        return splits, keys

    def facts(self, drops: Iterable[Drop]) -> dict[str, Any]:
        """The computed part of the manifest, as plain JSON values.

        Args:
            drops: What was left out of the pairs that were counted.

        Returns:
            The manifest's ``fingerprint``, ``splits``, ``subsets``, ``drops`` and ``labels``.
        """
        return {
            "fingerprint": self._fingerprint.hexdigest(),
            "splits": self._split_facts(),
            "subsets": {str(percent): self._subset_facts(number) for number, percent in enumerate(SUBSET_PERCENTS)},
            "drops": dict(sorted(Counter(drop.reason for drop in drops).items())),
            "labels": {name: {item: counts[item] for item in PROPERTIES} for name, counts in self._sorted_labels()},
        }

    def _count_labels(self, table: pa.Table) -> None:
        functionals = np.array(table["functional"].to_pylist(), dtype=object)
        for functional in (*GGA, Functional.R2SCAN):
            rows: Mask = functionals == functional.value
            if rows.any():
                counts = self._labels.setdefault(functional.value, Counter())
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
