"""A training set without what it shares with the test pairs: for a model of the source functional that shall transfer honestly.

Left out is every record that makes a test pair ``seen-structure``: one of a test material, by id, or with a test structure.
Where the data set was split by chemical system, or elements were held out, so is everything of a test pair's chemical system,
or with such an element. What is left is told by name, in the order of the file: no format but the owner's has to be written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping  # noqa: TC003 - a public annotation
from dataclasses import dataclass
from pathlib import Path  # noqa: TC003 - a public annotation
from typing import TYPE_CHECKING

from xferbench.audit.comparing import CHEMSYS, ID, STRUCTURE, Known, check_comparable
from xferbench.audit.reading import Record, records
from xferbench.audit.structures import TOLERANCE
from xferbench.errors import DataError
from xferbench.grouping import atomic_numbers
from xferbench.storage import write_chunks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xferbench.dataset import Dataset

HELD_OUT = "held_out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclusion:
    """What was left out of a training set.

    Attributes:
        path: Names of the records that are left, one a line; a record without a name is ``#`` and its number from 0.
        records: Records read.
        kept: Records left.
        dropped: ``id``, ``structure``, and if they count ``chemsys`` and ``held_out`` -> records; one may have several.
    """

    path: Path
    records: int
    kept: int
    dropped: Mapping[str, int]

    def __str__(self) -> str:
        dropped = ", ".join(f"{count} by {kind}" for kind, count in self.dropped.items())
        return f"source training set: {self.kept} of {self.records} records are left ({dropped}), listed in {self.path}"


def exclude_test(dataset: Dataset, train: Path, out: Path, *, tolerance: float = TOLERANCE) -> Exclusion:
    """Write which records of a training set share nothing with the test pairs.

    Args:
        dataset: Whose test pairs.
        train: A file or directory, see ``reading``.
        out: Text file to write.
        tolerance: See ``structures``.

    Raises:
        StorageError: A file cannot be read or written.
        DataError: Nothing is in the training set, or nothing is left of it, or a file is damaged or of no known layout.
    """
    rule = dataset.manifest["split_rule"]
    kinds = [ID, STRUCTURE, *([CHEMSYS] if rule.get("by") == "chemsys" else [])]
    held_out = frozenset(atomic_numbers(rule.get("held_out", ())))
    known = Known(dataset, "test", tolerance)
    counts: Counter[str] = Counter(dict.fromkeys([*kinds, *([HELD_OUT] if held_out else [])], 0))
    total = kept = 0
    comparable = 0

    def reasons(record: Record) -> list[str]:
        nonlocal comparable
        matched = known.match(record)
        comparable += known.comparable(record)
        found = [kind for kind in kinds if matched[kind]]
        present = set() if record.numbers is None else set(record.numbers.tolist())
        return [*found, *([HELD_OUT] if held_out & present else [])]

    def names() -> Iterator[bytes]:
        nonlocal total, kept
        for record in records(train):
            found = reasons(record)
            counts.update(found)
            if not found:
                kept += 1
                yield f"{record.ids[0] if record.ids else f'#{total}'}\n".encode()
            total += 1
        check_comparable(train, total, comparable)
        if not kept:
            raise DataError(
                f"of the {total} records of {train} none is left without the test materials; nothing is written"
            )

    write_chunks(out, names())
    return Exclusion(path=out, records=total, kept=kept, dropped=dict(counts))
