"""Predictions from a Parquet file of any program.

| column | type | meaning |
|---|---|---|
| ``frame_id`` | text, required | id of the data set's frame |
| ``energy`` | number, required | eV, of the whole cell |
| ``forces`` | list of lists, optional | (n_atoms, 3) eV/Å |
| ``stress`` | list of lists, or list, optional | (3, 3), or six numbers xx yy zz yz xz xy; eV/Å³, tension positive |
| ``magmoms`` | list, optional | (n_atoms,) µB |
| ``error`` | text, optional | why a structure has no numbers |
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from xferbench.errors import PredictionsError
from xferbench.registry import near
from xferbench.tables import read_table, table_predictions
from xferbench.units import voigt_to_matrix

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from xferbench.records import Prediction, Predictions

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
        IntegrityError: It is not Parquet: truncated or altered.
        PredictionsError: Columns are missing, unknown or of the wrong type, or a list is ragged; all told at once.
    """
    table = read_table(path)
    problems = _column_problems(table.schema)
    if problems:
        raise PredictionsError(f"{path}: {'; '.join(problems)}")
    missing = table.column("frame_id").null_count
    if missing:
        raise PredictionsError(
            f"{path}: {missing} of {table.num_rows} rows have no frame_id; give each row its frame's id"
        )
    try:
        read = table_predictions(table)
        return replace(read, records=[normal(record) for record in read.records])
    except ValueError as error:
        ragged = [row["frame_id"] for row in table.to_pylist() if _is_ragged(row)]
        raise PredictionsError(
            f"{path}: lists of uneven length in {some(ragged)} ({error}); "
            "forces have three numbers per atom, stress 3×3 or six in all"
        ) from error


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
