"""Frames and predictions as Arrow tables and Parquet files.

One row per frame or per prediction. Matrices are fixed-size lists, so a column's values are one contiguous buffer and
``datasets`` shows them as ``List(List(float64, length=3))``. A label that is missing is null.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from xferbench.errors import FormatError, IntegrityError
from xferbench.records import Frame, Functional, Prediction, Predictions
from xferbench.storage import disk_errors, write_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
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


def frame_row(frame: Frame) -> dict[str, Any]:
    """One frame as a row of ``FRAME_SCHEMA``."""
    return {
        "frame_id": frame.frame_id,
        "pair_id": frame.pair_id,
        "material_id": frame.material_id,
        "functional": frame.functional.value,
        "n_atoms": frame.n_atoms,
        "numbers": frame.numbers.tolist(),
        "positions": frame.positions.tolist(),
        "cell": frame.cell.tolist(),
        "pbc": list(frame.pbc),
        **_label_row(frame),
        "correction": frame.correction,
        "provenance": json.dumps(frame.provenance, sort_keys=True),
    }


def row_frame(row: Mapping[str, Any]) -> Frame:
    """The inverse of ``frame_row``."""
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
    """Frames, in the given order, as a table of ``FRAME_SCHEMA``."""
    return pa.Table.from_pylist([frame_row(frame) for frame in frames], schema=FRAME_SCHEMA)


def table_frames(table: pa.Table) -> list[Frame]:
    """The inverse of ``frames_table``.

    Raises:
        FormatError: A row is not a frame.
    """
    frames = []
    for i, row in enumerate(table.to_pylist()):
        try:
            frames.append(row_frame(row))
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"row {i} ({row.get('frame_id')}) of a table is not a frame: {error!r}") from error
    return frames


def predictions_table(predictions: Predictions) -> pa.Table:
    """Predictions sorted by id, their settings in the schema's metadata under ``xferbench``."""
    rows = [
        {"frame_id": record.frame_id, **_label_row(record), "error": record.error}
        for record in sorted(predictions.records, key=lambda item: item.frame_id)
    ]
    settings = json.dumps(dict(predictions.settings), sort_keys=True).encode()
    return pa.Table.from_pylist(rows, schema=PREDICTION_SCHEMA.with_metadata({SETTINGS_KEY: settings}))


def table_predictions(table: pa.Table) -> Predictions:
    """The inverse of ``predictions_table``. A table without settings, as another program writes it, has none."""
    metadata = table.schema.metadata or {}
    settings = json.loads(metadata.get(SETTINGS_KEY, b"{}"))
    names = set(table.column_names)
    records = [
        Prediction(frame_id=row["frame_id"], **_row_labels(row), error=row["error"] if "error" in names else None)
        for row in table.to_pylist()
    ]
    return Predictions(records=records, settings=settings)


def write_table(path: Path, table: pa.Table) -> None:
    """Write Parquet, whole or not at all; the same table and pyarrow version give the same bytes.

    Raises:
        StorageError: The disk refuses.
    """
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    write_bytes(path, sink.getvalue().to_pybytes())


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read Parquet.

    Raises:
        StorageError: The file cannot be read.
        IntegrityError: It is not Parquet: truncated or altered.
    """
    with disk_errors("read", path), path.open("rb") as stream:
        try:
            table = pq.read_table(stream, columns=columns, page_checksum_verification=True)
            # names are decoded when they are asked for: a damaged one shall be found here
            list(table.column_names)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise IntegrityError(
                f"{path} is not a readable Parquet file ({error}); it is truncated or was altered: make it again"
            ) from error
        return table


def _label_row(labels: Frame | Prediction) -> dict[str, Any]:
    return {
        "energy": labels.energy,
        "forces": _list(labels.forces),
        "stress": _list(labels.stress),
        "magmoms": _list(labels.magmoms),
    }


def _row_labels(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "energy": row.get("energy"),
        "forces": _array(row.get("forces")),
        "stress": _array(row.get("stress")),
        "magmoms": _array(row.get("magmoms")),
    }


def _list(values: NDArray[np.float64] | None) -> list[Any] | None:
    return None if values is None else values.tolist()


def _array(values: list[Any] | None) -> NDArray[np.float64] | None:
    return None if values is None else np.array(values, dtype=np.float64)
