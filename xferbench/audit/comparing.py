"""Training records against test pairs. The test pairs are in memory, the training set passes by."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from xferbench.audit.reading import FORMULA_KEYS, MP_ID, Record, normal_id, records
from xferbench.audit.record import KINDS, Audit, Regime, regime
from xferbench.audit.structures import TOLERANCE, fingerprint, same
from xferbench.errors import DataError, UsageError
from xferbench.grouping import chemical_system, reduced_composition
from xferbench.storage import sha256

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from xferbench.dataset import Dataset
    from xferbench.records import Frame, FramePair

    Floats = NDArray[np.float64]

ID, STRUCTURE, COMPOSITION, CHEMSYS = KINDS
UNLIKE = 0.25
"""Of the records, lines without the form of a name from which on a text is no list of names."""


class Known:
    """The test pairs of a data set, to be found by id, composition, chemical system and structure."""

    def __init__(self, dataset: Dataset, split: str, tolerance: float = TOLERANCE) -> None:
        """Read the pairs of a split.

        Raises:
            UnknownNameError: No such split.
            UsageError: The tolerance is not positive.
            DataError: The split has no pairs.
        """
        if not 0 < tolerance < 1:
            raise UsageError(f"the tolerance must be between 0 and 1 atomic spacings, not {tolerance:g}")
        self.tolerance = tolerance
        self.pair_ids: list[str] = []
        self._found: dict[str, dict[str, list[int]]] = {kind: {} for kind in (ID, COMPOSITION, CHEMSYS)}
        self._frames: dict[str, list[tuple[int, Frame]]] = {}
        self._described: dict[str, tuple[NDArray[np.int64], Floats]] = {}
        self.uncompared = 0
        self._materials_project = any(MP_ID.fullmatch(normal_id(material)) for material in dataset.splits)
        self._materials = {name for material in dataset.splits for name in (material, normal_id(material))}
        for row, pair in enumerate(dataset.iter_pairs(split)):
            self._add(row, pair)
        if not self.pair_ids:
            raise DataError(f"split {split!r} of {dataset.directory} has no pairs to compare with")

    def comparable(self, record: Record) -> bool:
        """Whether it can be told that a record is none of the pairs: by its formula, or by an id as the data set has them."""
        return (
            record.numbers is not None
            or any(name in self._materials or name in self._found[ID] for name in record.ids)
            or (self._materials_project and any(MP_ID.fullmatch(name) for name in record.ids))
        )

    def match(self, record: Record, seen: NDArray[np.bool_] | None = None) -> dict[str, list[int]]:
        """The test pairs that a training record agrees with.

        Args:
            record: Of the training set.
            seen: (pairs,) those whose structures need not be compared.

        Returns:
            Each of ``KINDS`` -> numbers of pairs.
        """
        names = list(record.ids)
        found: dict[str, list[int]] = {kind: [] for kind in KINDS}
        if record.numbers is not None:
            composition = reduced_composition(record.numbers)
            names.append(composition)
            found[COMPOSITION] = self._found[COMPOSITION].get(composition, [])
            found[CHEMSYS] = self._found[CHEMSYS].get(chemical_system(record.numbers), [])
            if found[COMPOSITION] and not (seen is not None and seen[found[COMPOSITION]].all()):
                found[STRUCTURE] = self._same_structures(record, composition)
        found[ID] = sorted({row for name in names for row in self._found[ID].get(name, ())})
        return found

    def _add(self, row: int, pair: FramePair) -> None:
        self.pair_ids.append(pair.pair_id)
        composition = reduced_composition(pair.target.numbers)
        names = {pair.pair_id, pair.material_id, pair.source.frame_id, pair.target.frame_id}
        keys = {ID: names | {normal_id(name) for name in names}, COMPOSITION: {composition}}
        keys[CHEMSYS] = {chemical_system(pair.target.numbers)}
        for kind, values in keys.items():
            for value in values:
                self._found[kind].setdefault(value, []).append(row)
        sides = (pair.source, pair.target)
        equal = all(np.array_equal(*(getattr(side, name) for side in sides)) for name in ("positions", "cell"))
        frames = sides[1:] if equal else sides
        self._frames.setdefault(composition, []).extend((row, frame) for frame in frames if frame.has_structure)

    def _same_structures(self, record: Record, composition: str) -> list[int]:
        """Pairs with a structure of the record's; a record whose structure cannot be compared has none, and is counted."""
        if record.numbers is None or record.structure is None or not self._frames[composition]:
            return []
        if composition not in self._described:
            found = [(row, _described(frame)) for row, frame in self._frames[composition]]
            known = [(row, item) for row, item in found if item is not None]
            self._described[composition] = np.array([row for row, _ in known]), np.array([item for _, item in known])
        numbers, others = self._described[composition]
        described = structure_of(record)
        if described is None or not len(others):
            self.uncompared += 1
            return []
        return sorted(set(numbers[same(described, others, self.tolerance)].tolist()))


def check_comparable(train: Path, n: int, comparable: int, unlike_names: int = 0) -> None:
    """That nothing was found proves something only where something could have been.

    Args:
        train: The training set.
        n: Its records.
        comparable: Those that could have been found.
        unlike_names: Lines of texts without a header that are no names: of a list, few; of other texts, most.

    Raises:
        DataError: Nothing could.
    """
    if comparable and unlike_names > UNLIKE * n:
        raise DataError(
            f"{unlike_names} of {n} lines of {train} are neither a formula nor an id: it is no list of either; give structures, "
            "or a table with a column material_id or formula; nothing is written"
        )
    if not comparable:
        raise DataError(
            f"nothing in the {n} records of {train} can be compared: no structure, no formula, and no id of the data set; "
            f"give structures, or a column {' or '.join(FORMULA_KEYS[:2])}; nothing is written"
        )


def structure_of(record: Record) -> Floats | None:
    """The description of a record's structure; none if it has none, or it is damaged or beyond what is compared."""
    if record.numbers is None or record.structure is None:
        return None
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # huge numbers are caught below
            positions, cell, pbc = record.structure()
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
    whole = positions.shape == (len(record.numbers), 3) and cell.shape == (3, 3) and pbc.shape == (3,)
    if not whole or not (np.isfinite(positions).all() and np.isfinite(cell).all()):
        return None
    return fingerprint(record.numbers, positions, cell, pbc)


def _described(frame: Frame) -> Floats | None:
    return fingerprint(frame.numbers, frame.positions, frame.cell, np.array(frame.pbc))


def audit(
    dataset: Dataset,
    train: Path,
    *,
    split: str = "test",
    tolerance: float = TOLERANCE,
    counts_only: bool = False,
    with_hash: bool = False,
) -> Audit:
    """Compare a training set with the test pairs of a data set.

    The training set is read once, record by record; memory does not grow with it.

    Args:
        dataset: Whose pairs.
        train: A file or directory, see ``reading``.
        split: Which pairs.
        tolerance: See ``structures``.
        counts_only: Leave out which pairs overlap.
        with_hash: State the SHA-256 of the training file.

    Raises:
        UsageError: The tolerance is not positive, or a hash is wanted of a directory.
        StorageError: A file cannot be read.
        DataError: There is nothing in the training set, or nothing that can be compared, or a file is damaged or of no known layout.
    """
    if with_hash and train.is_dir():
        raise UsageError(f"{train} is a directory, which has no hash; leave the hash out or name a file")
    known = Known(dataset, split, tolerance)
    hits = {kind: np.zeros(len(known.pair_ids), dtype=bool) for kind in KINDS}
    compared: Counter[str] = Counter(dict.fromkeys(KINDS, 0))
    n = comparable = unlike_names = 0
    for record in records(train):
        n += 1
        compared.update(_comparable(record))
        is_comparable = known.comparable(record)
        comparable += is_comparable
        unlike_names += record.unlike_name and not is_comparable
        for kind, rows in known.match(record, hits[STRUCTURE]).items():
            hits[kind][rows] = True
    if n == 0:
        raise DataError(f"{train} has no records; name the training set itself")
    check_comparable(train, n, comparable, unlike_names)
    overlapping = {kind: tuple(sorted(known.pair_ids[row] for row in np.flatnonzero(hits[kind]))) for kind in KINDS}
    systems_known = compared[CHEMSYS] == n
    regimes = Counter(
        regime({kind for kind in KINDS if hits[kind][row]}, systems_known=systems_known)
        for row in range(len(known.pair_ids))
    )
    return Audit(
        dataset=dataset.name,
        version=dataset.version,
        fingerprint=dataset.fingerprint,
        split=split,
        tolerance=tolerance,
        test_pairs=len(known.pair_ids),
        train_records=n,
        compared=dict(compared),
        unread=n - comparable,
        uncompared=known.uncompared,
        counts={kind: len(names) for kind, names in overlapping.items()},
        regimes={name.value: regimes[name] for name in Regime},
        overlapping=None if counts_only else overlapping,
        train_sha256=sha256(train) if with_hash else None,
    )


def _comparable(record: Record) -> list[str]:
    """In what a record can agree with a pair."""
    kinds = [ID] if record.ids else []
    if record.numbers is not None:
        kinds += [COMPOSITION, CHEMSYS, *([STRUCTURE] if record.structure is not None else [])]
    return kinds
