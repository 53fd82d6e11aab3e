"""Structures with energies, as they are: extended XYZ, whatever ASE reads, Parquet, entries of pymatgen, energies beside structures.

Nothing is paired and nothing is split: these are the structures that ``lift`` is asked about. Labels go by the names of
``labels``, functionals by the key ``functional`` or by the caller's word. A JSON file of ``ComputedStructureEntry``, as
``monty.serialization.dumpfn`` writes a list of them and the Materials Project's client gives them, is read by
``mp_thermo``: ``energy`` is uncorrected and ``correction`` is apart.

A table of energies (CSV or other text in columns) has a column ``frame_id`` (or ``id``, ``name``, ``entry_id``, ``material_id``) and one of energies by
its usual name; its energies then count, and labels within the structure file do not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from xferbench.errors import DataError, FormatError, UsageError
from xferbench.pairing import MISSING_ENERGY
from xferbench.records import Drop, Frame
from xferbench.sources import mp_thermo
from xferbench.sources.foreign import atoms_records, kind_of, plain_files, read_foreign_json, text_table
from xferbench.sources.labels import SPELLINGS, Heard, spelling
from xferbench.sources.reading import Unusable
from xferbench.sources.rows import rows
from xferbench.sources.user import frame

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from xferbench.functionals import Functional
    from xferbench.sources.foreign import PlainFile

    Record = Mapping[str, Any]

IDS = ("frame_id", "id", "name", "entry_id", "material_id")
"""Columns of a table of energies that may name the structure, the first found counts."""

ENTRY = ("structure", "composition", "energy")
"""Keys of a ``ComputedStructureEntry``."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Labelled:
    """What a file holds.

    Attributes:
        frames: With an energy and a functional each; no two have one id.
        drops: The rest, with reasons.
        notes: What a reader should know of the labels, a line each.
    """

    frames: list[Frame]
    drops: list[Drop]
    notes: list[str]


def read(path: Path, *, functional: Functional | None = None, energies: Path | None = None) -> Labelled:
    """Read structures with energies.

    Args:
        path: The file.
        functional: Of frames that do not say.
        energies: A table of energies, by the ids of the structures.

    Raises:
        StorageError: A file cannot be read.
        DataError: It is of no kind that is read, or no structure has an energy.
        UsageError: No functional is known.
    """
    heard = Heard()
    given = None if energies is None else _energies(energies)
    frames: list[Frame] = []
    drops: list[Drop] = []
    with plain_files(path) as files:
        for file in files:
            for item in _items(file, functional, given, heard):
                if isinstance(item, Drop):
                    drops.append(item)
                elif item.energy is None:
                    drops.append(Drop(record_id=item.frame_id, reason=MISSING_ENERGY))
                else:
                    frames.append(item)
    if not frames:
        why = f"; the first of {len(drops)}: {drops[0].reason} {drops[0].detail}".rstrip() if drops else ""
        raise DataError(
            f"{path} holds no structure with an energy{why}; give total energies in eV, or --energies TABLE"
        )
    unused = set() if given is None else set(given) - {frame.frame_id for frame in frames}
    notes = [*heard.lines(), *([f"{len(unused)} rows of {energies} name no structure of {path}"] if unused else [])]
    return Labelled(frames=_distinct(frames), drops=drops, notes=notes)


def _items(
    file: PlainFile, functional: Functional | None, given: Mapping[str, Record] | None, heard: Heard
) -> Iterator[Frame | Drop]:
    for i, record in enumerate(_records(file)):
        place = f"{file.name}#{i}"
        try:
            yield _frame(record, functional, place, given, heard)
        except Unusable as problem:
            yield problem.drop(place)


def _records(file: PlainFile) -> Iterator[Record]:
    kind = kind_of(file)
    if kind == "parquet":
        yield from rows(file.path)
    elif kind == "json" and (found := _entries(read_foreign_json(file))):
        yield from found
    else:
        yield from atoms_records(file, kind)


def _entries(value: Any) -> list[Record]:  # noqa: ANN401 - JSON is what it is
    """Entries of pymatgen, if that is what a JSON value is."""
    items = value if isinstance(value, list) else value.get("entries", [value]) if isinstance(value, dict) else []
    items = list(items.values()) if isinstance(items, dict) else items
    return items if items and all(isinstance(item, dict) and set(ENTRY) <= set(item) for item in items) else []


def _frame(
    record: Record, functional: Functional | None, place: str, given: Mapping[str, Record] | None, heard: Heard
) -> Frame:
    if set(ENTRY) <= set(record):
        return _entry(record, functional)
    if given is not None:
        name = next((str(record[key]) for key in IDS if record.get(key) is not None), place)
        bare = {key: value for key, value in record.items() if spelling(str(key)) is None}
        record = {**bare, "frame_id": name, **given.get(name, {})}
    if record.get("functional") is None and functional is None:
        raise UsageError(f"{place} does not say its functional; name it with --functional, as --functional PBE")
    return frame(record, functional if record.get("functional") is None else None, place, heard=heard)


def _entry(entry: Record, functional: Functional | None) -> Frame:
    """One entry of pymatgen; its material is its Materials Project id, else its own id."""
    stated = [(entry.get(key) or {}).get("run_type") for key in ("parameters", "data")]
    run_type = next((str(value) for value in stated if value), functional)
    if run_type is None:
        raise UsageError(
            f"entry {entry.get('entry_id')} has no run_type; name its functional with --functional, as --functional PBE"
        )
    name = str(entry.get("entry_id") or "entry")
    material = str((entry.get("data") or {}).get("material_id") or name)
    made = mp_thermo.frame(material, run_type, entry)
    return replace(made, frame_id=name)


def _energies(path: Path) -> dict[str, Record]:
    """Id -> the columns of labels of its row.

    Raises:
        FormatError: No column of ids or of energies, an id twice, or a value that is no number.
    """
    found: dict[str, Record] = {}
    with plain_files(path) as files:
        for file in files:
            table = text_table(file, (*IDS, *SPELLINGS))
            header = table.header or ()
            key = next((name for name in IDS if name in header), None)
            columns = [name for name in header if (what := spelling(name)) is not None and what.quantity == "energy"]
            if key is None or not columns:
                raise FormatError(
                    f"{file.shown} needs a column of ids ({', '.join(IDS)}) and one of energies (energy in eV, or energy_per_atom)"
                )
            for line, cells in table.rows:
                row = dict(zip(header, cells, strict=False))
                if row[key] in found:
                    raise FormatError(
                        f"{file.shown} line {line} has {row[key]} again; keep one energy for each structure"
                    )
                found[row[key]] = {name: _number(row.get(name, ""), file, line) for name in columns if row.get(name)}
    return found


def _number(text: str, file: PlainFile, line: int) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise FormatError(f"{file.shown} line {line}: {text[:40]!r} is no number; write energies in eV") from error


def _distinct(frames: list[Frame]) -> list[Frame]:
    """Frames whose ids are all different: a repeated one gets its number."""
    seen: dict[str, int] = {}
    out = []
    for item in frames:
        seen[item.frame_id] = seen.get(item.frame_id, 0) + 1
        count = seen[item.frame_id]
        out.append(item if count == 1 else replace(item, frame_id=f"{item.frame_id} ({count})"))
    return out
