"""Tables set aside on disk while a data set is built or verified, in the order they came or sorted.

The file has no name: the system frees it when the process ends, however it ends. What fits into ``IN_MEMORY`` bytes never
reaches the disk. Errors of the disk are raised as ``StorageError``.
"""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from xferbench.storage import disk_errors
from xferbench.tables import take

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

IN_MEMORY = 1 << 23
RUN = 1 << 24
"""Bytes that are sorted at a time."""

BLOCK = 1 << 18
"""Bytes of a sorted run that are read back at a time: one block of each run is in memory while runs are merged."""


class Closing(ABC):
    """Something that is closed at the end of a ``with``."""

    @abstractmethod
    def close(self) -> None:
        """Free the memory and the disk."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *problem: object) -> None:
        self.close()


class Spill(Closing):
    """Tables of one schema that can be read back, any number of times."""

    def __init__(self, schema: pa.Schema, place: Path | None = None) -> None:
        """Start empty.

        Args:
            schema: Of all tables.
            place: A directory on the disk to use; the system's place for temporary files if not given.
        """
        self.schema = schema
        self._place = Path(tempfile.gettempdir()) if place is None else place
        self._file = tempfile.SpooledTemporaryFile(IN_MEMORY, dir=str(self._place))  # noqa: SIM115 - closed by `close`
        self._parts: list[tuple[int, int]] = []
        self._end = 0

    def close(self) -> None:
        """Free the memory and the disk."""
        self._file.close()

    def append(self, table: pa.Table) -> None:
        """Set a table aside; it is read back as it was appended."""
        for batch in table.combine_chunks().to_batches():
            message = batch.serialize()
            with disk_errors("write", self._place):
                self._file.seek(self._end)
                self._file.write(message)
            self._parts.append((self._end, message.size))
            self._end += message.size

    def read(self, part: int) -> pa.Table:
        """Read one of the tables, counted from 0 without the empty ones."""
        start, size = self._parts[part]
        with disk_errors("read", self._place):
            self._file.seek(start)
            data = self._file.read(size)
        return pa.Table.from_batches([pa.ipc.read_record_batch(pa.py_buffer(data), self.schema)])

    def __len__(self) -> int:
        return len(self._parts)

    def __iter__(self) -> Iterator[pa.Table]:
        return (self.read(part) for part in range(len(self)))


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class _Block:
    """A piece of a sorted run: its first key, where it is, and its size in bytes."""

    first: str
    part: int
    size: int


class SortedSpill(Closing):
    """Rows in, in any order; rows out, sorted by a text column. An external merge sort.

    Rows with one key come out in one table, in an order of their own.
    """

    def __init__(self, schema: pa.Schema, key: str, place: Path | None = None) -> None:
        self._spill = Spill(schema, place)
        self._key = key
        self._blocks: list[_Block] = []
        self._run: list[pa.Table] = []
        self._size = 0

    def close(self) -> None:
        """Free the memory and the disk."""
        self._spill.close()

    def append(self, table: pa.Table) -> None:
        """Add rows."""
        self._run.append(table)
        self._size += table.nbytes
        if self._size >= RUN:
            self._sort_run()

    def unsorted(self) -> Iterator[pa.Table]:
        """All rows, in no particular order."""
        self._sort_run()
        return iter(self._spill)

    def merged(self) -> Iterator[pa.Table]:
        """All rows, sorted, in tables of about the size of a run.

        A table ends before the first key of the next unread block: every row below that key has been read by then. What
        lies beyond it is carried over, at most one block of each run.
        """
        self._sort_run()
        blocks, read = sorted(self._blocks), 0
        carried: list[pa.Table] = []
        while read < len(blocks):
            size = 0
            while read < len(blocks) and size < RUN:
                carried.append(self._spill.read(blocks[read].part))
                size += blocks[read].size
                read += 1
            table = self._sorted(carried)
            rows = self._below(table, blocks[read].first) if read < len(blocks) else table.num_rows
            if rows:
                yield table.slice(0, rows)
            carried = [_copy(table.slice(rows))] if rows < table.num_rows else []

    def _sort_run(self) -> None:
        if not self._run:
            return
        table = self._sorted(self._run)
        self._run, self._size = [], 0
        rows = max(1, table.num_rows * BLOCK // max(table.nbytes, 1))
        for start in range(0, table.num_rows, rows):
            block = table.slice(start, rows)
            self._blocks.append(_Block(first=block[self._key][0].as_py(), part=len(self._spill), size=block.nbytes))
            self._spill.append(block)

    def _sorted(self, tables: list[pa.Table]) -> pa.Table:
        table = pa.concat_tables(tables).combine_chunks()
        order = pc.sort_indices(table[self._key])  # by code point, as Python sorts
        if not np.array_equal(order.to_numpy(), np.arange(len(order))):
            table = take(table, order)
        return table

    def _below(self, table: pa.Table, key: str) -> int:
        """How many rows of a sorted table are below a key."""
        return int(pc.sum(pc.less(table[self._key], key)).as_py() or 0)


def _copy(table: pa.Table) -> pa.Table:
    """Rows on their own, without the table they were a part of."""
    return take(table, range(table.num_rows))
