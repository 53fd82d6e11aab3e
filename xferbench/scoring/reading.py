"""Predictions from a file of any program: Parquet, CSV and other text in columns, JSON, or whatever ASE reads; packed or not.

| column | type | meaning |
|---|---|---|
| ``frame_id`` | text, required | id of the data set's frame |
| ``energy`` | number, required | eV, of the whole cell |
| ``forces`` | list of lists, optional | (n_atoms, 3) eV/Å |
| ``stress`` | list of lists, or list, optional | (3, 3), or six numbers xx yy zz yz xz xy; eV/Å³, tension positive |
| ``magmoms`` | list, optional | (n_atoms,) µB |
| ``error`` | text, optional | why a structure has no numbers |

JSON is a list of objects, or an object of lists, or of objects or energies by ``frame_id``. In extended XYZ, a trajectory or a database
``frame_id`` is among the keys of each frame, and labels go by the names of ``sources.labels``. A column that is pandas' index, by
pandas' own word, is none.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from xferbench.errors import PredictionsError
from xferbench.registry import near
from xferbench.sources.documents import without_monty
from xferbench.sources.foreign import atoms_records, kind_of, plain_files, read_foreign_json, text_table
from xferbench.sources.labels import labels
from xferbench.sources.reading import Unusable
from xferbench.tables import read_table, table_predictions
from xferbench.units import voigt_to_matrix

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from xferbench.records import Prediction, Predictions
    from xferbench.sources.foreign import PlainFile

FIRST = 3
"""Ids named in a message."""


class Column(NamedTuple):
    """What a column may hold: text or numbers, nested in how many lists."""

    kind: str
    depths: tuple[int, ...]


COLUMNS = {
    "frame_id": Column("text", (0,)),
    "energy": Column("numbers", (0,)),
    "forces": Column("numbers", (2,)),
    "stress": Column("numbers", (1, 2)),
    "magmoms": Column("numbers", (1,)),
    "error": Column("text", (0,)),
}
REQUIRED = ("frame_id", "energy")


def read_predictions(path: Path) -> Predictions:
    """Read predictions and check the columns; whether they fit a task's frames is for ``score`` to see.

    Raises:
        StorageError: The file cannot be read.
        IntegrityError: It is damaged.
        FormatError: It is of no kind that is read.
        PredictionsError: Columns are missing, unknown or of the wrong type, or a list is ragged; all told at once.
    """
    with plain_files(path) as files:
        if len(files) > 1:
            raise PredictionsError(
                f"{path} holds {len(files)} files, such as {files[0].name}; name the one with the predictions"
            )
        table = _table(files[0])
    problems = _column_problems(table.schema)
    if problems:
        raise PredictionsError(f"{path}: {'; '.join(problems)}")
    missing = table.column("frame_id").null_count
    if missing:
        raise PredictionsError(
            f"{path}: {missing} of {table.num_rows} rows have no frame_id; give each row its frame's id"
        )
    try:
        return table_predictions(table)
    except ValueError as error:
        ragged = [row["frame_id"] for row in table.to_pylist() if _is_ragged(row)]
        raise PredictionsError(
            f"{path}: lists of uneven length in {some(ragged)} ({error}); "
            "forces have three numbers per atom, stress 3×3 or six in all"
        ) from error


PREDICTIONS = re.compile(
    r"\.(parquet|pq|csv|tsv|txt|json|jsonl|ndjson|xyz|extxyz|traj|db)(\.(gz|bz2|xz|zst|zip))?$", re.IGNORECASE
)
"""How the name of a file of predictions ends."""


def _table(file: PlainFile) -> pa.Table:
    """The rows of a file as a table, without an index of pandas."""
    kind = kind_of(file)
    if kind == "parquet" or file.suffix in {".parquet", ".pq"}:
        table = read_table(file.path)
        try:
            index = (table.schema.pandas_metadata or {}).get("index_columns", [])
        except (ValueError, TypeError):  # damaged; columns are judged as they are
            index = []
        return table.drop_columns([name for name in table.column_names if name in index and name not in COLUMNS])
    if kind == "text":
        rows = list(_text_rows(file))
    elif kind == "json":
        rows = _json_rows(file)
    elif kind == "arrow":
        raise PredictionsError(f"{file.shown} is an Arrow stream; save the predictions as Parquet")
    else:
        rows = [_atoms_row(record) for record in atoms_records(file, kind)]
    if not rows:
        raise PredictionsError(f"{file.shown} holds no predictions")
    names = list(dict.fromkeys(name for row in rows for name in row))
    try:
        return pa.table({name: pa.array([row.get(name) for row in rows]) for name in names})
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise PredictionsError(
            f"{file.shown}: a column holds values of several kinds ({error}); numbers and texts do not mix"
        ) from error


def _text_rows(file: PlainFile) -> Iterator[dict[str, Any]]:
    """Rows of text in columns: numbers are numbers, lists are written as JSON."""
    table = text_table(file, REQUIRED)
    if table.header is None:
        raise PredictionsError(
            f"{file.shown} has no header with {' and '.join(REQUIRED)}; its first line must name the columns"
        )
    for line, cells in table.rows:
        if len(cells) != len(table.header):
            raise PredictionsError(f"{file.shown} line {line} has {len(cells)} cells in place of {len(table.header)}")
        row: dict[str, Any] = {}
        for name, cell in zip(table.header, cells, strict=True):
            if not name:
                continue  # what pandas calls the index of a CSV
            try:
                row[name] = _value(name, cell)
            except ValueError as error:
                raise PredictionsError(
                    f"{file.shown} line {line}: {name} is {cell[:40]!r}, not {_wanted(COLUMNS[name])}"
                ) from error
        yield row


def _value(name: str, cell: str) -> Any:  # noqa: ANN401 - a cell
    """What a cell of a table holds.

    Raises:
        ValueError: Not what the column should.
    """
    column = COLUMNS.get(name)
    if column is None or column.kind == "text":
        return cell or None
    if not cell or cell.lower() in {"none", "null"}:
        return None
    return float(cell) if column.depths == (0,) else json.loads(cell)


def _json_rows(file: PlainFile) -> list[dict[str, Any]]:
    value = without_monty(read_foreign_json(file))
    if isinstance(value, dict) and value and all(isinstance(item, list) for item in value.values()):
        lengths = {len(item) for item in value.values()}
        if len(lengths) > 1:
            raise PredictionsError(
                f"{file.shown}: columns of {min(lengths)} to {max(lengths)} values; every row needs one of each"
            )
        value = [dict(zip(value, row, strict=True)) for row in zip(*value.values(), strict=True)]
    elif isinstance(value, dict):
        value = [
            {"frame_id": name, **item} if isinstance(item, dict) else {"frame_id": name, "energy": item}
            for name, item in value.items()
        ]
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise PredictionsError(
            f"{file.shown} is JSON of no known layout; a list of objects with {' and '.join(REQUIRED)} is"
        )
    return value


def _atoms_row(record: Mapping[str, Any]) -> dict[str, Any]:
    """A frame with a calculator's results as a row."""
    numbers, cell = record["numbers"], np.asarray(record["cell"], dtype=np.float64)
    name = record.get("frame_id")
    try:
        found = labels(record, len(numbers), cell)
    except Unusable as problem:
        raise PredictionsError(f"frame {name}: {problem.reason}, {problem.detail}") from problem
    values = {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in found.items()}
    return {"frame_id": None if name is None else str(name), **values}


def normal(record: Prediction) -> Prediction:
    """The same prediction with its stress as a matrix, and no error instead of an empty one."""
    stress = record.stress
    if stress is not None and stress.shape == (6,):
        stress = voigt_to_matrix(stress)
    return replace(record, stress=stress, error=record.error or None)


def some(ids: Sequence[str]) -> str:
    """How many ids, and the first few: ``5 frames (a, b, c, …)``."""
    names = sorted(ids)
    more = ", …" if len(names) > FIRST else ""
    return f"{len(names)} frame{'s' if len(names) != 1 else ''} ({', '.join(names[:FIRST])}{more})"


def _column_problems(schema: pa.Schema) -> list[str]:
    problems = [
        f"column {name!r} is missing; {near(name, schema.names)}" for name in REQUIRED if name not in schema.names
    ]
    for name in sorted(schema.names):
        if name not in COLUMNS:
            problems.append(f"unknown column {name!r}; {near(name, COLUMNS)}; rename or remove it")
        elif not _fits(schema.field(name).type, COLUMNS[name], required=name == "frame_id"):
            problems.append(f"column {name!r} has the type {schema.field(name).type}, not {_wanted(COLUMNS[name])}")
    return problems


def _fits(kind: pa.DataType, column: Column, *, required: bool) -> bool:
    """Whether an Arrow type holds what a column should; a column of nothing but nulls has no type, and fits if optional."""
    depth = 0
    while pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        kind, depth = kind.value_type, depth + 1
    if pa.types.is_null(kind):
        return not required
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    numbers = pa.types.is_floating(kind) or pa.types.is_integer(kind)
    return depth in column.depths and (text if column.kind == "text" else numbers)


def _wanted(column: Column) -> str:
    return " or ".join("list of " * depth + column.kind for depth in column.depths)


def _is_ragged(row: dict[str, Any]) -> bool:
    for name in ("forces", "stress", "magmoms"):
        try:
            np.array(row.get(name), dtype=np.float64)
        except (TypeError, ValueError):
            return True
    return False
