"""``records.fingerprint`` of tables of frames that arrive in any order and do not fit into memory.

The definition stays that of ``records``: the frames sorted by ``frame_id``, each value with its kind and its length. Here
the encoded frames are sorted on disk and hashed from there (``docs/decisions/0006``).
"""

from __future__ import annotations

import hashlib
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from xferbench.dataset.spill import SortedSpill
from xferbench.tables import list_lengths

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from numpy.typing import NDArray

WAITING = 2
"""Tables that may wait for their encoding: those of the two sides of the same pairs."""

NONE = b"n" + bytes(8)
TEXTS = ("frame_id", "pair_id", "material_id", "functional")
NUMBERS = ("numbers", "positions", "cell", "pbc", "energy", "forces", "stress", "magmoms", "correction")
SCHEMA = pa.schema(
    [pa.field("frame_id", pa.string(), nullable=False), pa.field("encoded", pa.binary(), nullable=False)]
)


class SortedFingerprint:
    """Collects frames, then gives the fingerprint of all of them. Encoding and sorting go on in a thread of their own."""

    def __init__(self, scratch: Path | None = None) -> None:
        self._frames = SortedSpill(SCHEMA, "frame_id", scratch)
        self._thread = ThreadPoolExecutor(1)
        self._unfinished: deque[Future[None]] = deque()

    def close(self) -> None:
        """Free the memory and the disk."""
        self._thread.shutdown()
        self._frames.close()

    def add(self, table: pa.Table, splits: Sequence[str]) -> None:
        """Add frames.

        Args:
            table: ``FRAME_SCHEMA``.
            splits: Of each row.
        """
        self._finish(WAITING - 1)
        self._unfinished.append(self._thread.submit(self._add, table, splits))

    def _add(self, table: pa.Table, splits: Sequence[str]) -> None:
        self._frames.append(pa.table([table["frame_id"], encoded(table, splits)], schema=SCHEMA))

    def _finish(self, left: int = 0) -> None:
        """Wait until this many tables at most are left to be added.

        Raises:
            StorageError: The disk refused.
        """
        while len(self._unfinished) > left:
            self._unfinished.popleft().result()

    def hexdigest(self) -> str:
        """``records.fingerprint`` of the frames added so far."""
        self._finish()
        digest = hashlib.sha256()
        for table in self._frames.merged():
            for chunk in table["encoded"].chunks:
                digest.update(_contents(chunk))
        return f"sha256:{digest.hexdigest()}"


def encoded(table: pa.Table, splits: Sequence[str]) -> pa.Array:
    """What ``records.fingerprint`` hashes of each row, as a binary column.

    Args:
        table: ``FRAME_SCHEMA``.
        splits: Of each row.
    """
    columns = {name: table[name].combine_chunks() for name in (*TEXTS, *NUMBERS)}
    parts = [part for name in TEXTS[:3] for part in _text(columns[name])]
    parts += [*_text(pa.array(splits, pa.string())), *_text(columns["functional"])]
    parts += [part for name in NUMBERS for part in _array(columns[name])]
    return pc.binary_join_element_wise(*parts, b"")


def _text(column: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Each row's kind and length, and its bytes."""
    data = column.cast(pa.binary())
    return _heads(b"s", pc.binary_length(data).to_numpy(zero_copy_only=False)), data


def _array(column: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Each row's kind and length, and its numbers as little-endian doubles."""
    n, inner = _lengths(column), column.drop_null() if not pa.types.is_nested(column.type) else column
    while pa.types.is_nested(inner.type):
        inner = inner.flatten()
    values = np.ascontiguousarray(inner.to_numpy(zero_copy_only=False), dtype="<f8")
    offsets = np.concatenate([[0], np.cumsum(8 * n)]).astype(np.int32)
    data = pa.Array.from_buffers(pa.binary(), len(n), [None, pa.py_buffer(offsets), pa.py_buffer(values)])
    heads = _heads(b"f", 8 * n)
    return (pc.if_else(column.is_null(), pa.scalar(NONE), heads) if column.null_count else heads), data


def _heads(kind: bytes, sizes: NDArray[np.integer[Any]]) -> pa.Array:
    """The kind and the length that stand before each value."""
    heads = np.empty((len(sizes), 9), dtype=np.uint8)
    heads[:, 0] = kind[0]
    heads[:, 1:] = np.ascontiguousarray(sizes, dtype="<i8").view(np.uint8).reshape(-1, 8)
    return pa.Array.from_buffers(pa.binary(9), len(sizes), [None, pa.py_buffer(heads)]).cast(pa.binary())


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
