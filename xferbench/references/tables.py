"""Energies of isolated atoms from a file.

JSON maps a functional to its table, ``{"PBE": {"H": -1.1}, "r2SCAN": {"H": -1.2}}``. CSV has a column of symbols named
``element`` or ``Element`` and one column per functional. Energies are in eV per atom. They must come from the same code and
the same pseudopotentials as the data they are used on; nothing in the numbers can tell.
"""

from __future__ import annotations

import csv
import hashlib
import io
from typing import TYPE_CHECKING, Any

from xferbench.errors import FormatError
from xferbench.functionals import Functional
from xferbench.references.plausibility import implausible
from xferbench.storage import read_bytes, read_json, to_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    Tables = Mapping[Functional, Mapping[str, float]]


def read_atoms(path: Path) -> Tables:
    """Read tables of isolated atoms; columns and keys that are no functional are left alone.

    Returns:
        Functional -> symbol -> eV.

    Raises:
        StorageError: The file cannot be read.
        IntegrityError: It is not JSON.
        FormatError: It has no table of a functional, a value that is no number, or an energy that cannot be right.
    """
    raw = read_json(path) if path.suffix == ".json" else _read_csv(path)
    found = {} if not isinstance(raw, dict) else {name: Functional.get(name) for name in raw}
    problems: list[str] = []
    tables: dict[Functional, dict[str, float]] = {}
    for name, functional in found.items():
        if functional in tables:
            problems.append(f"{name} is a second table of {functional}")
        elif functional is not None:
            tables[functional] = _numbers(raw[name], name, problems)
    if not tables:
        raise FormatError(f"{path} has no table of a functional; name one column or key after each, as PBE and r2SCAN")
    for functional, table in tables.items():
        problems += [f"{functional} {symbol} {why}" for symbol, why in implausible(table).items()]
    if problems:
        raise FormatError(f"{path}: {'; '.join(problems)}")
    return tables


def digest(tables: Tables) -> str:
    """SHA-256 of tables, the same for the same numbers in any order; empty if there are none."""
    plain = {functional: dict(sorted(table.items())) for functional, table in sorted(tables.items())}
    return f"sha256:{hashlib.sha256(to_json(plain).encode()).hexdigest()}" if plain else ""


def _read_csv(path: Path) -> dict[str, dict[str, str]]:
    """Column -> symbol -> text; empty cells are left out."""
    try:
        rows = list(csv.DictReader(io.StringIO(read_bytes(path).decode("utf-8-sig"))))
    except (UnicodeDecodeError, csv.Error) as error:
        raise FormatError(f"{path} is not a CSV file: {error}") from error
    key = next((name for name in ("element", "Element") if rows and name in rows[0]), None)
    if key is None:
        raise FormatError(f"{path} has no column named element, or no rows; write element,PBE,r2SCAN in the first line")
    named = [row[key] for row in rows]
    twice = sorted({name for name in named if named.count(name) > 1})
    if twice:
        raise FormatError(f"{path} has several rows of {', '.join(twice)}; keep one of each")
    return {name: {row[key]: row[name] for row in rows if row[name]} for name in rows[0] if name and name != key}


def _numbers(table: Any, name: str, problems: list[str]) -> dict[str, float]:  # noqa: ANN401 - whatever JSON holds
    if not isinstance(table, dict):
        problems.append(f"{name} must map symbols to eV")
        return {}
    numbers = {}
    for symbol, value in table.items():
        try:
            numbers[symbol] = float("" if isinstance(value, bool) else value)  # to Python, true is 1
        except (TypeError, ValueError):
            problems.append(f"{name} {symbol} is {value!r}, not a number")
    return numbers
