"""``records.fingerprint`` of tables of frames that arrive in any order and do not fit into memory.

The definition stays that of ``records``: the frames sorted by ``frame_id``, each value with its kind and its length. Here
the encoded frames are sorted on disk and hashed from there (``docs/decisions/0006``).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from xferbench.dataset.spill import SortedSpill
from xferbench.tables import list_lengths

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

NONE = b"n" + bytes(8)
NUMBERS = ("numbers", "positions", "cell", "pbc", "energy", "forces", "stress", "magmoms", "correction")
SCHEMA = pa.schema(
    [pa.field("frame_id", pa.string(), nullable=False), pa.field("encoded", pa.binary(), nullable=False)]
)


class SortedFingerprint:
    """Collects frames, then gives the fingerprint of all of them."""

    def __init__(self, scratch: Path | None = None) -> None:
        self._frames = SortedSpill(SCHEMA, "frame_id", scratch)

    def close(self) -> None:
        """Free the memory and the disk."""
        self._frames.close()

    def add(self, table: pa.Table, splits: Sequence[str]) -> None:
        """Add frames.

        Args:
            table: ``FRAME_SCHEMA``.
            splits: Of each row.
        """
        self._frames.append(pa.table([table["frame_id"], pa.array(encoded(table, splits), pa.binary())], schema=SCHEMA))

    def hexdigest(self) -> str:
        """``records.fingerprint`` of the frames added so far."""
        digest = hashlib.sha256()
        for table in self._frames.merged():
            for chunk in table["encoded"].chunks:
                digest.update(_contents(chunk))
        return f"sha256:{digest.hexdigest()}"


def encoded(table: pa.Table, splits: Sequence[str]) -> list[bytes]:
    """What ``records.fingerprint`` hashes of each row.

    Args:
        table: ``FRAME_SCHEMA``.
        splits: Of each row.
    """
    texts = [table[name].to_pylist() for name in ("frame_id", "pair_id", "material_id")]
    functionals = table["functional"].to_pylist()
    columns = [_texts(values) for values in (*texts, splits, functionals)]
    columns += [_arrays(table[name].combine_chunks()) for name in NUMBERS]
    return [b"".join(parts) for parts in zip(*columns, strict=True)]


def _texts(values: Sequence[str]) -> list[bytes]:
    return [b"s" + len(data).to_bytes(8, "little") + data for data in map(str.encode, values)]


def _arrays(column: pa.Array) -> list[bytes]:
    """Each row's numbers as little-endian doubles."""
    n, inner = _lengths(column), column.drop_null() if not pa.types.is_nested(column.type) else column
    while pa.types.is_nested(inner.type):
        inner = inner.flatten()
    values = np.ascontiguousarray(inner.to_numpy(zero_copy_only=False), dtype="<f8")
    data, ends = values.tobytes(), (8 * np.cumsum(n)).tolist()
    heads = {size: b"f" + size.to_bytes(8, "little") for size in {8 * int(length) for length in np.unique(n)}}
    sizes = (8 * n).tolist()
    rows = [heads[size] + data[end - size : end] for end, size in zip(ends, sizes, strict=True)]
    if column.null_count:
        rows = [row if valid else NONE for row, valid in zip(rows, column.is_valid().to_pylist(), strict=True)]
    return rows


def _lengths(column: pa.Array) -> NDArray[np.int64]:
    """How many numbers each row has."""
    if not pa.types.is_nested(column.type):
        return np.asarray(column.is_valid().to_numpy(zero_copy_only=False), dtype=np.int64)
    inner, per = column.type.value_type, 1
    while pa.types.is_nested(inner):
        per, inner = per * inner.list_size, inner.value_type
    if pa.types.is_fixed_size_list(column.type):
        return np.full(len(column), per * column.type.list_size, dtype=np.int64)
    return list_lengths(column) * per


def _contents(column: pa.Array) -> memoryview:
    """The values of a binary column, one after the other."""
    offsets, data = (np.frombuffer(column.buffers()[1], dtype=np.int32), memoryview(column.buffers()[2] or b""))
    return data[offsets[column.offset] : offsets[column.offset + len(column)]]
