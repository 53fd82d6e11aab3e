"""Frames and predictions as Arrow tables and Parquet files.

One row per frame or per prediction. Matrices are fixed-size lists, so a column's values are one contiguous buffer and
``datasets`` shows them as ``List(List(float64, length=3))``. A label that is missing is null.
"""

from __future__ import annotations

import json
import os
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from xferbench.errors import FormatError, IntegrityError, UnknownNameError
from xferbench.functionals import Functional
from xferbench.labels import Calculations, PredictionTable, Ragged, Values
from xferbench.records import PROPERTIES, Frame, Predictions
from xferbench.storage import disk_errors, write_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

VECTOR = pa.list_(pa.float64(), 3)
MATRIX = pa.list_(VECTOR, 3)

STRUCTURE_FIELDS = [
    pa.field("numbers", pa.list_(pa.int64()), nullable=False),
    pa.field("positions", pa.list_(VECTOR), nullable=False),
    pa.field("cell", MATRIX, nullable=False),
    pa.field("pbc", pa.list_(pa.bool_(), 3), nullable=False),
]
LABEL_FIELDS = [
    pa.field("energy", pa.float64()),
    pa.field("forces", pa.list_(VECTOR)),
    pa.field("stress", pa.list_(VECTOR)),  # three rows or null: Arrow cannot read back null fixed-size lists everywhere
    pa.field("magmoms", pa.list_(pa.float64())),
]
FRAME_SCHEMA = pa.schema(
    [
        pa.field("frame_id", pa.string(), nullable=False),
        pa.field("pair_id", pa.string(), nullable=False),
        pa.field("material_id", pa.string(), nullable=False),
        pa.field("functional", pa.string(), nullable=False),
        pa.field("n_atoms", pa.int64(), nullable=False),
        *STRUCTURE_FIELDS,
        *LABEL_FIELDS,
        pa.field("correction", pa.float64()),
        pa.field("provenance", pa.string(), nullable=False),
    ]
)
PREDICTION_SCHEMA = pa.schema(
    [pa.field("frame_id", pa.string(), nullable=False), *LABEL_FIELDS, pa.field("error", pa.string())]
)
SETTINGS_KEY = b"xferbench"
PARQUET = {"compression": "zstd", "write_page_checksum": True}


def row_frame(row: Mapping[str, Any]) -> Frame:
    """One row of ``FRAME_SCHEMA`` as a frame."""
    a, b, c = row["pbc"]
    return Frame(
        frame_id=row["frame_id"],
        pair_id=row["pair_id"],
        material_id=row["material_id"],
        functional=Functional(row["functional"]),
        numbers=np.array(row["numbers"], dtype=np.int64),
        positions=np.array(row["positions"], dtype=np.float64).reshape(-1, 3),
        cell=np.array(row["cell"], dtype=np.float64),
        pbc=(a, b, c),
        **_row_labels(row),
        correction=row["correction"],
        provenance=json.loads(row["provenance"]),
    )


def frames_table(frames: Iterable[Frame]) -> pa.Table:
    """Frames, in the given order, as a table of ``FRAME_SCHEMA``.

    Raises:
        FormatError: An array of a frame has another shape than a column; the first such frame is named.
    """
    rows = list(frames)
    names = ("frame_id", "pair_id", "material_id", "functional", "n_atoms", "energy", "correction")
    columns = {name: [getattr(frame, name) for frame in rows] for name in names}
    try:
        arrays = {
            "numbers": _ragged([frame.numbers for frame in rows], np.int64),
            "pbc": pa.FixedSizeListArray.from_arrays(_flat([frame.pbc for frame in rows], (3,), np.bool_), 3),
            "cell": _fixed(_fixed(_flat([frame.cell for frame in rows], (3, 3)))),
            "magmoms": _ragged([frame.magmoms for frame in rows], np.float64),
            **{name: _vectors([getattr(frame, name) for frame in rows]) for name in ("positions", "forces", "stress")},
        }
    except ValueError as error:
        odd = next((frame for frame in rows if not is_regular(frame)), None)
        if odd is None:
            raise
        raise FormatError(f"frame {odd.frame_id} has an array of a wrong shape and fits no table") from error
    encode = json.JSONEncoder(sort_keys=True).encode
    columns["provenance"] = [encode(frame.provenance) for frame in rows]
    return pa.table([arrays.get(name, columns.get(name)) for name in FRAME_SCHEMA.names], schema=FRAME_SCHEMA)


def flat_table(columns: Mapping[str, Any], n: NDArray[np.int64], *, has_magmoms: NDArray[np.bool_]) -> pa.Table:
    """Frames whose arrays lie one after the other, with forces and stress and without correction, as ``FRAME_SCHEMA``.

    Args:
        columns: By name: texts and ``energy`` (rows,) as sequences; ``numbers`` (atoms,), ``positions`` and ``forces``
            (atoms, 3), ``cell`` and ``stress`` (rows, 3, 3), ``pbc`` (rows, 3), ``magmoms`` (atoms of the rows that have
            them,).
        n: (rows,) atoms of each row.
        has_magmoms: (rows,).
    """
    three = np.full(len(n), 3)
    arrays = {
        "n_atoms": pa.array(n),
        "numbers": _cut(pa.array(columns["numbers"]), n),
        "positions": _cut(_fixed(columns["positions"].ravel()), n),
        "cell": _fixed(_fixed(columns["cell"].ravel())),
        "pbc": _fixed(columns["pbc"].ravel()),
        "forces": _cut(_fixed(columns["forces"].ravel()), n),
        "stress": _cut(_fixed(columns["stress"].ravel()), three),
        "magmoms": _cut(pa.array(columns["magmoms"]), np.where(has_magmoms, n, 0), ~has_magmoms),
        "correction": pa.nulls(len(n), pa.float64()),
    }
    return pa.table([arrays.get(name, columns.get(name)) for name in FRAME_SCHEMA.names], schema=FRAME_SCHEMA)


def is_regular(frame: Frame) -> bool:
    """Whether the arrays of a frame have as many axes, and vectors as many components, as the columns of a table."""
    vectors = (value for value in (frame.positions, frame.forces, frame.stress) if value is not None)
    lists = (value for value in (frame.numbers, frame.magmoms) if value is not None)
    return (
        frame.cell.shape == (3, 3)
        and all(value.ndim == 2 and value.shape[1] == 3 for value in vectors)
        and all(value.ndim == 1 for value in lists)
    )


def table_frames(table: pa.Table, *, first: int = 0) -> list[Frame]:
    """The inverse of ``frames_table``.

    The arrays of all frames are views of a few large ones.

    Args:
        table: ``FRAME_SCHEMA``, further columns aside.
        first: Number of the first row, for the message.

    Raises:
        FormatError: A row is not a frame.
    """
    missing = [name for name in FRAME_SCHEMA.names if name not in table.column_names]
    if missing:
        raise FormatError(f"a table without the columns {', '.join(missing)} holds no frames")
    columns = {name: table[name].combine_chunks() for name in FRAME_SCHEMA.names}
    _check_nulls(columns, first)
    pbc = columns["pbc"].flatten().to_numpy(zero_copy_only=False).reshape(-1, 3).tolist()
    cell = _values(columns["cell"].flatten().flatten()).reshape(-1, 3, 3)
    arrays = {name: _rows(columns[name]) for name in ("numbers", "positions", "forces", "stress", "magmoms")}
    scalars = {
        name: columns[name].to_pylist() for name in ("frame_id", "pair_id", "material_id", "energy", "correction")
    }
    functionals, provenance = columns["functional"].to_pylist(), columns["provenance"].to_pylist()
    frames = []
    for i in range(table.num_rows):
        try:
            functional, facts = Functional(functionals[i]), json.loads(provenance[i])
        except (TypeError, ValueError, UnknownNameError) as error:
            raise _no_frame(first + i, scalars["frame_id"][i], repr(error)) from error
        labels: dict[str, Any] = {name: values[i] for name, values in arrays.items()}
        frames.append(
            Frame(
                **{name: values[i] for name, values in scalars.items()},
                **labels,
                functional=functional,
                cell=cell[i],
                pbc=tuple(pbc[i]),
                provenance=facts,
            )
        )
    return frames


def calculations(table: pa.Table) -> Calculations:
    """The labels of frames as arrays, without looking at single ones.

    Args:
        table: ``FRAME_SCHEMA``, further columns aside.

    Raises:
        FormatError: A number within an array is missing.
    """
    columns = {name: table[name].combine_chunks() for name in ("frame_id", "functional", "numbers", *PROPERTIES)}
    _check_nulls(columns, 0)
    return Calculations(
        frame_id=columns["frame_id"].to_numpy(zero_copy_only=False),
        functional=columns["functional"].to_numpy(zero_copy_only=False),
        numbers=ragged(columns["numbers"]),
        values=Values(
            energy=np.array(columns["energy"].to_numpy(zero_copy_only=False), dtype=np.float64),
            forces=ragged(columns["forces"], 3),
            stress=ragged(columns["stress"], 9),
            magmoms=ragged(columns["magmoms"]),
        ),
    )


def ragged(column: pa.Array, width: int | None = None) -> Ragged:
    """A list column, however nested, as rows of ``width`` numbers, or as single ones."""
    present = column.is_valid().to_numpy(zero_copy_only=False)
    lengths, inner = list_lengths(column), column.flatten()
    size = 1
    while pa.types.is_nested(inner.type):
        if len(inner):
            nested = list_lengths(inner)
            size *= int(nested[0]) if pa.types.is_fixed_size_list(inner.type) or (nested == nested[0]).all() else 0
        inner = inner.flatten()
    values = inner.to_numpy(zero_copy_only=False)
    if len(values) != lengths.sum() * size or (width is not None and lengths.size and (lengths * size % width).any()):
        raise ValueError("lists of uneven length")
    rows = lengths * size // (width or 1)
    return Ragged(
        values=values if width is None else values.reshape(-1, width),
        offsets=np.concatenate([[0], np.cumsum(rows)]),
        present=np.asarray(present, dtype=bool),
    )


def take(table: pa.Table, rows: Sequence[int] | NDArray[np.int64]) -> pa.Table:
    """Rows of a table, by number.

    Not ``pa.Table.take`` alone: of a part of a table, pyarrow 26 takes other rows of a matrix column than of the rest
    (fixed-size lists of fixed-size lists with an offset), silently. Columns are made whole first.
    """
    columns = [_whole(table[name].combine_chunks()) for name in table.column_names]
    return pa.table(columns, schema=table.schema).take(pa.array(rows, type=pa.int64()))


def _whole(column: pa.Array) -> pa.Array:
    """A column that is not a part of another one, as far as fixed-size lists without nulls go."""
    if not pa.types.is_fixed_size_list(column.type) or column.null_count:
        return column
    return pa.FixedSizeListArray.from_arrays(_whole(column.flatten()), type=column.type)


def _check_nulls(columns: Mapping[str, pa.Array], first: int) -> None:
    """Nothing but labels may be missing, and no number within an array.

    Raises:
        FormatError: Something is; the first row of it is named.
    """
    for field in FRAME_SCHEMA:
        if field.name not in columns:
            continue
        column = columns[field.name]
        if not field.nullable and column.null_count:
            row = column.is_null().to_pylist().index(True)
            raise _no_frame(first + row, columns["frame_id"][row].as_py(), f"no {field.name}")
        if pa.types.is_nested(field.type) and _inner_nulls(column):
            row = next(i for i in range(len(column)) if _inner_nulls(column.slice(i, 1)))
            raise _no_frame(first + row, columns["frame_id"][row].as_py(), f"a null within {field.name}")


def _inner_nulls(column: pa.Array) -> int:
    """Nulls below the first level of a nested column."""
    if not pa.types.is_nested(column.type):
        return 0
    inner = column.flatten()  # of the valid lists
    return int(inner.null_count) + _inner_nulls(inner)


def _no_frame(row: int, frame_id: str | None, why: str) -> FormatError:
    return FormatError(f"row {row} ({frame_id}) of a table is not a frame: {why}")


def _flat(values: Sequence[Any], shape: tuple[int, ...], dtype: type = np.float64) -> NDArray[Any]:
    """Arrays of one shape, one after the other.

    Raises:
        ValueError: One has another shape.
    """
    return np.array(values, dtype=dtype).reshape(len(values), *shape).ravel()


def _fixed(values: NDArray[Any] | pa.Array) -> pa.Array:
    """Triples of consecutive values."""
    return pa.FixedSizeListArray.from_arrays(pa.array(values), 3)


def _ragged(arrays: Sequence[NDArray[Any] | None], dtype: type) -> pa.Array:
    """A list column of one-dimensional arrays, null where there is none.

    Raises:
        ValueError: One has another number of axes.
    """
    return _lists(arrays, pa.array(_joined(arrays, (0,), dtype)))


def _vectors(arrays: Sequence[NDArray[Any] | None]) -> pa.Array:
    """A list column of arrays of shape (n, 3), null where there is none.

    Raises:
        ValueError: One has another shape.
    """
    return _lists(arrays, _fixed(_joined(arrays, (0, 3), np.float64).ravel()))


def _joined(arrays: Sequence[NDArray[Any] | None], empty: tuple[int, ...], dtype: type) -> NDArray[Any]:
    return np.concatenate(
        [np.empty(empty, dtype=dtype), *(array for array in arrays if array is not None)],
        dtype=dtype,
        casting="same_kind",
    )


def _lists(arrays: Sequence[NDArray[Any] | None], values: pa.Array) -> pa.Array:
    """Cut values into one list per array."""
    lengths = np.array([0 if array is None else len(array) for array in arrays], dtype=np.int64)
    return _cut(values, lengths, np.array([array is None for array in arrays], dtype=bool))


def _cut(values: pa.Array, lengths: NDArray[np.int64], missing: NDArray[np.bool_] | None = None) -> pa.Array:
    """Cut values into lists of these lengths."""
    offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int32)
    mask = pa.array(missing) if missing is not None and missing.any() else None
    return pa.ListArray.from_arrays(pa.array(offsets), values, mask=mask)


def _values(array: pa.Array) -> NDArray[Any]:
    """Numbers without nulls as an array of their own, which may be written to."""
    return np.array(array.to_numpy(zero_copy_only=False))


def _rows(column: pa.Array) -> list[NDArray[Any] | None]:
    """A list column as one array per row, ``None`` where there is none."""
    inner = column.flatten()
    vectors = pa.types.is_fixed_size_list(inner.type)
    values = _values(inner.flatten()).reshape(-1, 3) if vectors else _values(inner)
    lengths = list_lengths(column)
    ends = np.cumsum(lengths).tolist()
    parts: list[NDArray[Any] | None] = [values[end - n : end] for end, n in zip(ends, lengths.tolist(), strict=True)]
    if column.null_count:
        parts = [part if valid else None for part, valid in zip(parts, column.is_valid().to_pylist(), strict=True)]
    return parts


def list_lengths(column: pa.Array) -> NDArray[np.int64]:
    """How many values each list of a column has, 0 where it is null."""
    lengths: NDArray[np.int64] = (
        pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    )
    return lengths


def flat_values(column: pa.Array) -> NDArray[Any]:
    """All numbers of a list column, however nested, one after the other; those of lists that are null are left out."""
    while pa.types.is_nested(column.type):
        column = column.flatten()
    values: NDArray[Any] = column.to_numpy(zero_copy_only=False)
    return values


def predictions_table(predictions: Predictions) -> pa.Table:
    """Predictions sorted by id, their settings in the schema's metadata under ``xferbench``.

    Raises:
        FormatError: An array of a prediction has a shape that no prediction may have; the first such frame is named.
    """
    table = PredictionTable.of(predictions.records)
    if table.odd:
        name, found = next(iter(table.odd.items()))
        raise FormatError(f"the prediction of {next(iter(found))} has {name} of shape {next(iter(found.values()))}")
    table = table.take(np.argsort(table.frame_id.astype(str), kind="stable"))
    stress = table.matrices()
    columns = {
        "frame_id": pa.array(table.frame_id.tolist(), pa.string()),
        "energy": pa.array(table.energy, mask=~table.has_energy),
        "forces": _cut(_fixed(table.forces.values.ravel()), table.forces.lengths, ~table.forces.present),
        "stress": _cut(_fixed(stress.values.ravel()), 3 * stress.lengths, ~stress.present),
        "magmoms": _cut(pa.array(table.magmoms.values), table.magmoms.lengths, ~table.magmoms.present),
        "error": pa.array([text or None for text in table.error.tolist()], pa.string()),
    }
    return pa.table(
        columns, schema=PREDICTION_SCHEMA.with_metadata({SETTINGS_KEY: settings_json(predictions.settings)})
    )


def flat_predictions_table(
    ids: Sequence[str],
    energy: NDArray[np.float64],
    labels: Mapping[str, tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.bool_]]],
    errors: Mapping[int, str],
    settings: Mapping[str, Any],
) -> pa.Table:
    """``predictions_table`` of arrays that lie one after the other.

    Args:
        ids: (rows,) of the frames, sorted.
        energy: (rows,) eV; NaN where there is none.
        labels: ``forces``, ``stress`` and ``magmoms``: values, how many of them (or vectors) each row has, and (rows,) whether it has none.
        errors: Row -> why it failed.
        settings: As in ``Predictions``.
    """
    columns = {
        name: _cut(pa.array(values) if name == "magmoms" else _fixed(values.ravel()), lengths, missing)
        for name, (values, lengths, missing) in labels.items()
    }
    columns["frame_id"] = pa.array(ids, pa.string())
    columns["energy"] = pa.array(energy, mask=np.isnan(energy))
    columns["error"] = pa.array([errors.get(row) for row in range(len(ids))], pa.string())
    schema = PREDICTION_SCHEMA.with_metadata({SETTINGS_KEY: settings_json(settings)})
    return pa.table([columns[name] for name in schema.names], schema=schema)


def settings_json(settings: Mapping[str, Any]) -> bytes:
    """Settings as they are kept in a table's metadata."""
    return json.dumps(dict(settings), sort_keys=True).encode()


def read_settings(path: Path) -> dict[str, Any]:
    """The settings of a predictions file, without its rows; empty if another program wrote it.

    Raises:
        StorageError: The file cannot be read.
        IntegrityError: It is not Parquet, or its settings are damaged.
    """
    metadata = next(iter(read_batches(path))).schema.metadata or {}
    try:
        settings = json.loads(metadata.get(SETTINGS_KEY, b"{}"))
    except ValueError as error:
        raise IntegrityError(f"{path}: its settings are damaged ({error}); make it again") from error
    if not isinstance(settings, dict):
        raise IntegrityError(f"{path}: its settings are damaged: no object; make it again")
    return settings


def table_predictions(table: pa.Table) -> Predictions:
    """The inverse of ``predictions_table``. A table without settings, as another program writes it, has none.

    Raises:
        FormatError: The settings are damaged.
        ValueError: Lists within a prediction are of uneven length.
    """
    metadata = table.schema.metadata or {}
    try:
        settings = json.loads(metadata.get(SETTINGS_KEY, b"{}"))
    except (ValueError, RecursionError) as error:
        raise FormatError(
            f"the settings stored with the predictions are no JSON ({error}); make the file again"
        ) from error
    if not isinstance(settings, dict):
        raise FormatError(
            f"the settings stored with the predictions are {settings!r:.40}, not an object; make the file again"
        )
    n, names = table.num_rows, set(table.column_names)

    def column(name: str, kind: pa.DataType) -> pa.Array:
        return table[name].combine_chunks() if name in names else pa.nulls(n, kind)

    def numbers(name: str, width: int | None) -> Ragged:
        found = column(name, pa.list_(pa.float64()))
        if pa.types.is_null(found.type):
            found = pa.nulls(n, pa.list_(pa.float64()))
        found = ragged(found, width)
        return replace(found, values=np.asarray(found.values, dtype=np.float64))

    energy = column("energy", pa.float64())
    errors = column("error", pa.string())
    records = PredictionTable(
        frame_id=table["frame_id"].combine_chunks().cast(pa.string()).to_numpy(zero_copy_only=False),
        energy=np.array(energy.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64),
        has_energy=energy.is_valid().to_numpy(zero_copy_only=False),
        forces=numbers("forces", 3),
        stress=numbers("stress", None),
        magmoms=numbers("magmoms", None),
        error=errors.cast(pa.string()).to_numpy(zero_copy_only=False),
    )
    return Predictions(records=records, settings=settings)


def write_table(path: Path, table: pa.Table) -> None:
    """Write Parquet, whole or not at all; the same table and pyarrow version give the same bytes.

    Raises:
        StorageError: The disk refuses.
    """
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **PARQUET)
    write_bytes(path, sink.getvalue().to_pybytes())


class TableWriter:
    """Writes a Parquet file row group by row group. The file is neither hidden nor moved: write into a new directory."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path = path
        with disk_errors("write", path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._stream = path.open("xb")
            self._writer = pq.ParquetWriter(self._stream, schema, **PARQUET)

    def write(self, table: pa.Table) -> None:
        """Append a table as one row group, whose bytes depend on its values only.

        Raises:
            StorageError: The disk refuses.
        """
        with disk_errors("write", self._path):
            self._writer.write_table(table.combine_chunks(), row_group_size=max(table.num_rows, 1))

    def close(self) -> None:
        """Complete the file and flush it to the disk.

        Raises:
            StorageError: The disk refuses.
        """
        with disk_errors("write", self._path), self._stream:
            self._writer.close()
            self._stream.flush()
            os.fsync(self._stream.fileno())

    def abandon(self) -> None:
        """Free the file after an error; it stays incomplete."""
        self._writer.is_open = False  # so that it does not try to complete the file when it is collected
        with suppress(OSError):
            self._stream.close()


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read Parquet.

    Raises:
        StorageError: The file cannot be read.
        IntegrityError: It is not Parquet: truncated or altered.
    """
    with _parquet_errors(path), path.open("rb") as stream:
        table = pq.read_table(stream, columns=columns, page_checksum_verification=True)
        # names are decoded when they are asked for: a damaged one shall be found here
        list(table.column_names)
        return table


def read_batches(path: Path, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """Read Parquet row group by row group, an empty table first so that the columns are known of an empty file too.

    Raises:
        StorageError: The file cannot be read.
        IntegrityError: It is not Parquet: truncated or altered.
    """
    with _parquet_errors(path), path.open("rb") as stream:
        file = pq.ParquetFile(stream, page_checksum_verification=True)
        names = columns if columns is None else [name for name in columns if name in file.schema_arrow.names]
        yield pa.Table.from_batches([], schema=_selected(file.schema_arrow, names))
        for group in range(file.num_row_groups):
            yield file.read_row_group(group, columns=names)


def _selected(schema: pa.Schema, names: Sequence[str] | None) -> pa.Schema:
    list(schema.names)  # decodes them
    return schema if names is None else pa.schema([schema.field(name) for name in names])


@contextmanager
def _parquet_errors(path: Path) -> Iterator[None]:
    with disk_errors("read", path):
        try:
            yield
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise IntegrityError(
                f"{path} is not a readable Parquet file ({error}); it is truncated or was altered: make it again"
            ) from error


def _row_labels(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "energy": row.get("energy"),
        "forces": _array(row.get("forces")),
        "stress": _array(row.get("stress")),
        "magmoms": _array(row.get("magmoms")),
    }


def _array(values: list[Any] | None) -> NDArray[np.float64] | None:
    return None if values is None else np.array(values, dtype=np.float64)
