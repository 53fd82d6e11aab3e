"""Rows of a Parquet file of any size, one by one, in constant memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xferbench.errors import FormatError
from xferbench.storage import disk_errors

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

PARQUET = b"PAR1"
BATCH = 1024


def is_parquet(path: Path) -> bool:
    """Whether the file begins as Parquet does.

    Raises:
        StorageError: It cannot be read.
    """
    with disk_errors("read", path), path.open("rb") as stream:
        return stream.read(len(PARQUET)) == PARQUET


def rows(path: Path, needed: Collection[str] = ()) -> Iterator[Mapping[str, Any]]:
    """Rows of a Parquet file, a batch at a time.

    Args:
        path: The file.
        needed: Columns that must be there.

    Raises:
        StorageError: It cannot be read.
        FormatError: It is not Parquet, or lacks a column.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with disk_errors("read", path), path.open("rb") as stream:
        try:
            table = pq.ParquetFile(stream)
            missing = set(needed) - set(table.schema_arrow.names)
            if missing:
                raise FormatError(f"{path} lacks the columns {', '.join(sorted(missing))}")
            for batch in table.iter_batches(batch_size=BATCH):
                yield from batch.to_pylist()
        except pa.ArrowException as error:
            raise FormatError(f"{path} is no readable Parquet file ({error})") from error
