"""Bringing records home: from the files of workers, and of the first edition, into the one that is committed."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xferbench.errors import FormatError
from xferbench.factory.mini.work import keeps, read_scans
from xferbench.sources.mini.checks import XC
from xferbench.sources.mini.recordfile import read_records
from xferbench.storage import write_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable

    Record = dict[str, Any]

RECORDS = Path(__file__).with_name("records.jsonl")
"""Every record of the second edition."""

SCANS = Path(__file__).with_name("scans.jsonl")
"""Scans of the first edition, one crystal a line: PBE at its start cell on Γ-centred meshes."""


def collect(files: Iterable[Path], into: Path = RECORDS) -> int:
    """Add the finished records of files, which may still grow, to the committed ones, sorted by id.

    Returns:
        How many are new.

    Raises:
        StorageError: A file cannot be read or written.
        FormatError: A file breaks the format, or two have different records of one id.
    """
    return _add((record for path in files for record in read_records(path, growing=True)), into)


def collect_first_edition(files: Iterable[Path], into: Path = RECORDS, scans: Path = SCANS) -> int:
    """Add those records of the first edition whose own mesh passes the rule, pair by pair.

    Returns:
        How many are new.

    Raises:
        StorageError: A file cannot be read or written.
        FormatError: A file breaks the format, or two have different records of one id.
    """
    known = read_scans(scans)

    kept = [
        record
        for path in files
        for record in read_records(path)
        if keeps(record, known.get(record["seed_structure"], []))
    ]
    halves = Counter(name for name, _ in {(record["pair_id"], record["functional"]) for record in kept})
    return _add((record for record in kept if halves[record["pair_id"]] == len(XC)), into)


def _add(records: Iterable[Record], into: Path) -> int:
    found = {record["id"]: record for record in (read_records(into) if into.exists() else [])}
    before = len(found)
    for record in records:
        if found.setdefault(record["id"], record) != record:
            raise FormatError(f"{record['id']} differs from its record in {into}; remove the wrong one")
    lines = (json.dumps(found[name], sort_keys=True, allow_nan=False) + "\n" for name in sorted(found))
    write_bytes(into, "".join(lines).encode())
    return len(found) - before
