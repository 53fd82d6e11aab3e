"""Anybody's training set, record by record: ids and structures, or as much as there is of them.

Files are unpacked and told by content (``sources.foreign``), so everything that ``prepare`` reads is read here.

| content | what is read |
|---|---|
| JSON | documents: ids, and a pymatgen structure or arrays or a formula; also documents of documents, as MPtrj has them |
| extended XYZ | ids in the comment line, cell, species, positions |
| Parquet, Arrow | columns of ids, ``numbers``, ``positions``, ``cell``, ``pbc``, a structure or a formula |
| databases and trajectories of ASE, ``vasprun.xml``, ``OUTCAR``, ``POSCAR``, CIF | structures, and ids among the key-value pairs |
| text in columns, whatever separates them | columns of ids or formulas; without a known header, the first column |
| any other text | one id or formula a line |
| a prepared data set | its training pairs |
| another directory | all files in it |

Labels are not looked at. Positions are read only when they are asked for.
"""

from __future__ import annotations

import re
from collections.abc import Sized
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from xferbench.dataset import Dataset
from xferbench.dataset.layout import CONFIGS, has_manifest
from xferbench.errors import DataError, FormatError
from xferbench.grouping import reduced_composition
from xferbench.sources.documents import documents
from xferbench.sources.foreign import (
    ARROW_FILE,
    ENTRY,
    PlainFile,
    atoms_records,
    first_bytes,
    kind_of,
    plain_files,
    plain_text,
    text_table,
    xyz_frames,
)
from xferbench.storage import disk_errors
from xferbench.tables import flat_values, list_lengths

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]
    Structure = tuple[Floats, Floats, NDArray[np.bool_]]
    """Positions, cell, periodic directions."""

ID_KEYS = (
    "material_id", "mp_id", "mpid", "matpes_id", "task_id", "frame_id", "pair_id", "original_mp_id", "id", "ids", "name",
)  # fmt: skip
FORMULA_KEYS = ("formula", "reduced_formula", "formula_pretty", "pretty_formula", "composition")
ARRAYS = ("numbers", "positions", "cell", "pbc")
MP_ID = re.compile(r"(mp|mvc)-[0-9]+|(mp|mvc)-[a-z]+(?![a-z])")
PART = re.compile(r"([A-Z][a-z]?)(\d*\.?\d*)")
HEAVIEST = 118
BATCH = 4096
"""Rows of a table in memory at a time."""

NAME = re.compile(r"(?=.*[A-Za-z])[\w.:/#+@-]+")
"""The form of an id."""

STRUCTURES = re.compile(r"(^|/)(POSCAR|CONTCAR)[^/]*$|\.(cif|vasp|poscar|contcar)$", re.IGNORECASE)
"""Names of text files that ASE reads."""

LATTICE = re.compile(r'\bLattice="([^"]+)"', re.IGNORECASE)
PROPERTIES = re.compile(r'\bProperties="?([^\s"]+)', re.IGNORECASE)
PERIODIC = re.compile(r'\bpbc="([^"]+)"', re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Record:
    """One record of a training set.

    Attributes:
        ids: Names it goes by, normalised; the first is what it is called.
        numbers: Atomic numbers of the structure or of its formula, if known.
        structure: Reads positions, cell and periodic directions, if there are any.
        unlike_name: It is a line of a text without a header, and has not the form of an id.
    """

    ids: tuple[str, ...]
    numbers: Integers | None = None
    structure: Callable[[], Structure] | None = None
    unlike_name: bool = False


def records(path: Path) -> Iterator[Record]:
    """Read a training set.

    Raises:
        StorageError: A file cannot be read.
        DataError: There is nothing in it, or a file is damaged or of no known layout.
    """
    with disk_errors("read", path):
        is_directory = path.is_dir()
    if is_directory and has_manifest(path):
        dataset = Dataset.open(path)
        families = [
            family for family in CONFIGS if any(f"data/{family}/" in name for name in dataset.manifest["files"])
        ]
        for family in families:
            for table in dataset.tables(family, "train"):
                yield from _rows(table)
    elif is_directory:
        with disk_errors("read", path):
            files = sorted(item for item in path.rglob("*") if item.is_file() and not item.name.startswith("."))
        if not files:
            raise DataError(f"no files in {path}; name the training set itself")
        for file in files:
            yield from _file(file)
    else:
        yield from _file(path)


def normal_id(name: object) -> str:
    """An id as it is compared: of the Materials Project, without task and step (``mp-13-0-2`` is ``mp-13``); a formula reduced."""
    text = str(name).strip()
    found = MP_ID.match(text.lower())
    if found:
        return found.group()
    numbers = formula_numbers(text)
    return text if numbers is None else reduced_composition(numbers)


@lru_cache(maxsize=1 << 16)
def formula_numbers(text: str) -> Integers | None:
    """Atomic numbers of a formula such as ``Fe2O3`` or ``Li1 Fe1 O2``; none if it is no plain formula."""
    compact = text.replace(" ", "")
    parts = PART.findall(compact)
    if not compact or "".join(symbol + amount for symbol, amount in parts) != compact:
        return None
    known = _symbols()
    numbers: list[int] = []
    for symbol, amount in parts:
        count = float(amount or 1)
        if symbol not in known or not count.is_integer() or not 0 < count < 1000:
            return None
        numbers += [known[symbol]] * int(count)
    return np.array(numbers)


def _file(path: Path) -> Iterator[Record]:
    with plain_files(path) as files:
        for file in files:
            kind = kind_of(file)
            if kind == "json" and not _is_database(file):
                for document in documents(file.path):
                    yield from _document(document.key, document.value)
            elif kind == "xyz":
                yield from _extxyz(file)
            elif kind == "parquet" or file.suffix in {".parquet", ".pq"}:
                yield from _parquet(file.path)
            elif kind == "arrow":
                yield from _arrow(file.path)
            elif kind == "text" and not STRUCTURES.search(file.name):
                yield from _text(file)
            else:
                yield from (_described({"id": None, **record}, ()) for record in atoms_records(file, kind))


def _is_database(file: PlainFile) -> bool:
    """Whether JSON is a database of ASE."""
    return b'"nextid"' in _last_bytes(file.path)


def _last_bytes(path: Path, count: int = 4096) -> bytes:
    with disk_errors("read", path), path.open("rb") as stream:
        stream.seek(max(path.stat().st_size - count, 0))
        return stream.read()


def _document(key: str, value: Mapping[str, Any]) -> Iterator[Record]:
    """One document, or the documents in it."""
    inner = [(name, item) for name, item in value.items() if isinstance(item, dict) and "structure" in item]
    if inner and len(inner) == len(value):
        for name, item in inner:
            yield _described(item, (key, name))
    else:
        yield _described(value, () if key.isdigit() else (key,))


def _described(value: Mapping[str, Any], names: tuple[str, ...]) -> Record:
    history = value.get("provenance")
    places = (value, history) if isinstance(history, dict) else (value,)
    given = [place[key] for key in ID_KEYS for place in places if isinstance(place.get(key), str | int)]
    ids = _ids((*names, *given))
    structure = value.get("structure", value)
    if isinstance(structure, dict) and "sites" in structure:
        return Record(ids=ids, numbers=_site_numbers(structure["sites"]), structure=lambda: _pymatgen(structure))
    if value.get("numbers") is not None:
        numbers = _numbers(value["numbers"])
        whole = all(isinstance(value.get(key), Sized) and len(value[key]) > 0 for key in ("positions", "cell"))
        return Record(ids=ids, numbers=numbers, structure=(lambda: _arrays(value)) if whole else None)
    stated = (formula_numbers(str(name).strip()) for name in names)
    formula = _formula(value)
    return Record(
        ids=ids, numbers=next((item for item in stated if item is not None), None) if formula is None else formula
    )


def _numbers(values: object) -> Integers | None:
    """Atomic numbers, if that is what they are."""
    try:
        array = np.asarray(values)
    except ValueError:  # lists of unequal lengths
        return None
    usable = (
        array.ndim == 1 and array.dtype.kind in "iu" and array.size > 0 and 0 < array.min() <= array.max() <= HEAVIEST
    )
    return array.astype(np.int64) if usable else None


def _ids(names: Iterable[object]) -> tuple[str, ...]:
    """Normalised, and as they are."""
    texts = [str(name).strip() for name in names]
    return tuple(dict.fromkeys([*texts, *map(normal_id, texts)]))


def _formula(value: Mapping[str, Any]) -> Integers | None:
    for key in FORMULA_KEYS:
        if isinstance(value.get(key), str):
            return formula_numbers(value[key])
    return None


def _site_numbers(sites: object) -> Integers | None:
    """Atomic numbers of pymatgen's sites; none if one is disordered or unknown."""
    known = _symbols()
    try:
        return np.array([known[_element(site)] for site in sites])  # type: ignore[attr-defined]
    except (KeyError, TypeError, IndexError, ValueError):
        return None


def _element(site: Mapping[str, Any]) -> str:
    (species,) = site["species"]
    symbol: str = species["element"]
    return symbol


def _pymatgen(structure: Mapping[str, Any]) -> Structure:
    lattice = structure["lattice"]
    cell = np.array(lattice["matrix"], dtype=float)
    places = np.array([site["abc"] for site in structure["sites"]], dtype=float)
    return places @ cell, cell, np.array(lattice.get("pbc", [True] * 3), dtype=bool)


def _arrays(value: Mapping[str, Any]) -> Structure:
    periodic = value.get("pbc")
    return (
        np.array(value["positions"], dtype=float).reshape(-1, 3),
        np.array(value["cell"], dtype=float).reshape(3, 3),
        np.array([True] * 3 if periodic is None else periodic, dtype=bool),
    )


def _parquet(path: Path) -> Iterator[Record]:
    """Rows of anybody's Parquet file, some at a time however large its row groups are."""
    with disk_errors("read", path), path.open("rb") as stream:
        try:
            file = pq.ParquetFile(stream)
            known = {*ID_KEYS, *FORMULA_KEYS, *ARRAYS}
            names = [name for name in file.schema_arrow.names if name in known]
            for batch in file.iter_batches(batch_size=BATCH, columns=names):
                yield from _rows(pa.Table.from_batches([batch]))
        except pa.ArrowException as error:
            raise FormatError(f"{path} is no readable Parquet file ({error})") from error


def _rows(table: pa.Table) -> Iterator[Record]:
    """Rows of a table; its arrays are cut, not copied."""
    names = table.column_names
    ids = [table[key].to_pylist() for key in ID_KEYS if key in names]
    formulas = {key: table[key].to_pylist() for key in FORMULA_KEYS if key in names}
    arrays = {name: _cut(table[name]) for name in ARRAYS if name in names and _is_list(table[name].type)}
    numbers = arrays.get("numbers")
    for row in range(table.num_rows):
        known = _ids(column[row] for column in ids if column[row] is not None)
        if numbers is None:
            yield Record(ids=known, numbers=_formula({key: column[row] for key, column in formulas.items()}))
        else:
            value = {name: parts[row] for name, parts in arrays.items()}
            yield _described({**value, "structure": None}, known)


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _cut(column: pa.ChunkedArray) -> list[NDArray[Any]]:
    """The numbers of each row of a list column, flat, whether its vectors are lists of their own or not."""
    whole = column.combine_chunks()
    lengths = list_lengths(whole) * (3 if pa.types.is_nested(whole.type.value_type) else 1)
    values, ends = flat_values(whole), np.cumsum(lengths).tolist()
    return [values[end - n : end] for end, n in zip(ends, lengths.tolist(), strict=True)]


def _arrow(path: Path) -> Iterator[Record]:
    """Rows of an Arrow stream, as ``datasets`` saves them, or of an Arrow (Feather) file."""
    with disk_errors("read", path), path.open("rb") as stream:
        try:
            if first_bytes(path).startswith(ARROW_FILE):
                file = pa.ipc.open_file(stream)
                batches: Iterable[pa.RecordBatch] = map(file.get_batch, range(file.num_record_batches))
            else:
                batches = pa.ipc.open_stream(stream)
            for batch in batches:
                yield from _rows(pa.Table.from_batches([batch]))
        except pa.ArrowException as error:
            raise FormatError(f"{path} is no readable Arrow file ({error})") from error


def _extxyz(file: PlainFile) -> Iterator[Record]:
    """Frames of an extended XYZ file. Other XYZ files have no cell, and give compositions only."""
    for frame in xyz_frames(file):
        yield _xyz_frame(frame.comment, frame.atoms)


def _xyz_frame(comment: str, lines: list[str]) -> Record:
    entries = {key: quoted or braced or bare for key, quoted, braced, bare in ENTRY.findall(comment)}
    ids = _ids(plain_text(entries[key]) for key in ID_KEYS if key in entries)
    species, places = _columns(comment)
    known = _symbols()
    try:
        numbers = np.array([known[line.split(None, species + 1)[species]] for line in lines])
    except (KeyError, IndexError):
        return Record(ids=ids)
    lattice = LATTICE.search(comment)
    if lattice is None:
        return Record(ids=ids, numbers=numbers)
    return Record(ids=ids, numbers=numbers, structure=lambda: _xyz_structure(comment, lattice.group(1), lines, places))


def _columns(comment: str) -> tuple[int, int]:
    """Where the species and the positions stand in a line: usually first."""
    found = PROPERTIES.search(comment)
    parts = (found.group(1) if found else "species:S:1:pos:R:3").split(":")
    starts, column = {}, 0
    for name, width in zip(parts[::3], parts[2::3], strict=False):
        starts[name.lower()] = column
        column += int(width) if width.isdigit() else 1
    return starts.get("species", 0), starts.get("pos", starts.get("positions", 1))


def _xyz_structure(comment: str, lattice: str, lines: list[str], first: int) -> Structure:
    periodic = PERIODIC.search(comment)
    marks = [True] * 3 if periodic is None else [mark in {"T", "True", "1"} for mark in periodic.group(1).split()]
    positions = np.array([line.split()[first : first + 3] for line in lines], dtype=float)
    return positions, np.array(lattice.split(), dtype=float).reshape(3, 3), np.array(marks)


def _text(file: PlainFile) -> Iterator[Record]:
    """A table with a known column, or the first column of one without, or lines."""
    table = text_table(file, (*ID_KEYS, *FORMULA_KEYS))
    if table.header is None:
        for _, cells in table.rows:
            name = cells[0]
            yield replace(_named(*cells[:1]) if name else Record(ids=()), unlike_name=NAME.fullmatch(name) is None)
        return
    ids = [i for i, name in enumerate(table.header) if name in ID_KEYS]
    formulas = [i for i, name in enumerate(table.header) if name in FORMULA_KEYS]
    for _, row in table.rows:
        names = [row[i] for i in ids if i < len(row) and row[i].strip()]
        stated = [formula_numbers(row[i]) for i in formulas if i < len(row)]
        yield _named(*names, numbers=next((item for item in stated if item is not None), None))


def _named(*names: str, numbers: Integers | None = None) -> Record:
    """A record that is a name, and maybe a formula."""
    stated = (formula_numbers(name.strip()) for name in names)
    return Record(ids=_ids(names), numbers=next((item for item in stated if item is not None), numbers))


@cache
def _symbols() -> dict[str, int]:
    from ase.data import chemical_symbols

    return {symbol: number for number, symbol in enumerate(chemical_symbols) if number}
