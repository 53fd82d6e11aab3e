"""Rows of Parquet come one by one, or the file is refused in one line."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from xferbench.errors import FormatError, StorageError
from xferbench.sources import rows
from xferbench.sources.rows import is_parquet


@pytest.fixture
def path(tmp_path):
    pq.write_table(pa.table({"a": [1, 2, 3], "b": [[1.0], [], None]}), tmp_path / "x.bin")
    return tmp_path / "x.bin"


def test_rows_are_dictionaries_in_order(path, monkeypatch):
    monkeypatch.setattr(rows, "BATCH", 2)
    assert list(rows.rows(path)) == [{"a": 1, "b": [1.0]}, {"a": 2, "b": []}, {"a": 3, "b": None}]


def test_parquet_is_told_by_content(path, tmp_path):
    (tmp_path / "x.parquet").write_text("{}")
    assert is_parquet(path)
    assert not is_parquet(tmp_path / "x.parquet")


def test_missing_columns_are_named(path):
    with pytest.raises(FormatError, match="lacks the columns c, d"):
        list(rows.rows(path, ("a", "d", "c")))


@pytest.mark.parametrize("keep", [4, 30])
def test_a_truncated_file_is_refused(path, keep):
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(FormatError, match="is no readable Parquet file"):
        list(rows.rows(path))


def test_a_missing_file_is_said_so(tmp_path):
    with pytest.raises(StorageError, match="cannot read"):
        list(rows.rows(tmp_path / "none"))
    with pytest.raises(StorageError, match="cannot read"):
        is_parquet(tmp_path / "none")
