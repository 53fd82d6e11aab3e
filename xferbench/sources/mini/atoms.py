"""Energies of isolated atoms with the code, cutoff and PAW set-ups of ``mini``: the other convention of elemental references.

``atoms.jsonl`` has their records, in the format of ``recordfile``; ``factory.mini.isolated_atoms`` makes them.
"""

from __future__ import annotations

from pathlib import Path

from xferbench.errors import FormatError
from xferbench.functionals import Functional
from xferbench.sources.mini.checks import PBE, R2SCAN
from xferbench.sources.mini.recordfile import read_records

RECORDS = Path(__file__).with_name("atoms.jsonl")


def energies(path: Path = RECORDS) -> dict[Functional, dict[str, float]]:
    """Functional -> symbol -> eV of an isolated atom, relative to the same zero as the energies of ``mini``.

    Without the entropy of the occupations: the energy of a record, (E + F)/2, is that of width zero where the entropy vanishes
    with the square of the width, as in a metal. Of degenerate levels filled evenly it vanishes with the width itself, and E is.

    Raises:
        StorageError: The file cannot be read.
        FormatError: It breaks the format of records (all problems with their line numbers), or has other structures.
    """
    tables: dict[Functional, dict[str, float]] = {PBE: {}, R2SCAN: {}}
    for record in read_records(path):
        symbol, *others = record["structure"]["species"]
        if others:
            raise FormatError(f"{path}: {record['id']} is no isolated atom")
        if record["status"] == "ok":
            tables[Functional(record["functional"])][symbol] = 2 * record["energy_eV"] - record["free_energy_eV"]
    return tables
