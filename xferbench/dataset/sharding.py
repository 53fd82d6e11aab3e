"""Pairs -> the Parquet files of a split, in shards and row groups of bounded size.

Where a row group or a shard ends depends on the rows alone, not on how they arrive, so the same pairs give the same bytes.
Both configurations are cut at the same rows.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from xferbench.dataset.layout import CONFIGS, SHARD_SCHEMA, shard
from xferbench.storage import disk_errors
from xferbench.tables import TableWriter

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Tables = tuple[pa.Table, ...]

GROUP_ROWS = 8192
GROUP_ATOMS = 1 << 17
"""A row group ends with the row that reaches one of these."""

SHARD_ROWS = 1 << 17
SHARD_ATOMS = 1 << 21
"""A shard ends with the row group that reaches one of these."""


def write_shards(
    directory: Path, split: str, tables: Iterable[Tables], configs: Sequence[str] = CONFIGS
) -> dict[str, int]:
    """Write the shards of one split in one or several configurations, at least one each.

    Args:
        directory: A new directory.
        split: Train, val or test.
        tables: Rows of source frames and of their partners, ``SHARD_SCHEMA``; or one table for each of ``configs``.
        configs: Of the tables.

    Returns:
        Path within the directory -> rows.

    Raises:
        StorageError: The disk refuses.
    """
    rows: list[int] = []
    atoms = SHARD_ATOMS  # the first row group opens the first shard
    writers: list[TableWriter] = []
    threads = ThreadPoolExecutor(len(configs))  # compression is most of the work, and needs no Python
    try:
        for group in _row_groups(tables, len(configs)):
            if atoms >= SHARD_ATOMS or rows[-1] >= SHARD_ROWS:
                _close(writers)
                writers = [_writer(directory, config, split, len(rows)) for config in configs]
                atoms = 0
                rows.append(0)
            list(threads.map(TableWriter.write, writers, group))
            rows[-1] += group[-1].num_rows
            atoms += int(_atoms(group[-1]).sum())
        _close(writers)
    except BaseException:
        for writer in writers:
            writer.abandon()
        raise
    finally:
        threads.shutdown()
    return _named(directory, split, rows, configs)


def _row_groups(tables: Iterable[Tables], width: int) -> Iterator[Tables]:
    """Cut rows into row groups of ``width`` tables; without rows, one empty group."""
    kept: Tables = tuple(SHARD_SCHEMA.empty_table() for _ in range(width))
    empty = True
    for more in tables:
        kept = tuple(pa.concat_tables([old, new]) for old, new in zip(kept, more, strict=True))
        cuts = _cuts(_atoms(kept[-1]))
        for start, stop in pairwise([0, *cuts]):
            empty = False
            yield tuple(table.slice(start, stop - start) for table in kept)
        if cuts:
            kept = tuple(table.slice(cuts[-1]) for table in kept)
    if empty or kept[-1].num_rows:
        yield kept


def _cuts(atoms: NDArray[np.int64]) -> list[int]:
    """Rows before which complete row groups end."""
    total = np.concatenate([[0], np.cumsum(atoms)])
    cuts: list[int] = []
    start = 0
    while True:
        full = int(np.searchsorted(total, total[start] + GROUP_ATOMS))
        stop = min(full, start + GROUP_ROWS)
        if stop >= len(total):
            return cuts
        cuts.append(stop)
        start = stop


def _atoms(table: pa.Table) -> NDArray[np.int64]:
    atoms: NDArray[np.int64] = table["n_atoms"].to_numpy()
    return atoms


def _writer(directory: Path, config: str, split: str, index: int) -> TableWriter:
    return TableWriter(directory / shard(config, split, index, 0), SHARD_SCHEMA)


def _close(writers: list[TableWriter]) -> None:
    for writer in writers:
        writer.close()


def _named(directory: Path, split: str, rows: list[int], configs: Sequence[str]) -> dict[str, int]:
    """Give the shards their names, which say how many there are."""
    named = {}
    for config in configs:
        for index, count in enumerate(rows):
            path = shard(config, split, index, len(rows))
            with disk_errors("write", directory / path):
                (directory / shard(config, split, index, 0)).rename(directory / path)
            named[path] = count
    return named
