"""Rows are cut by what they are, not by how they came, and both configurations alike."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from xferbench.dataset import sharding
from xferbench.dataset.layout import SHARD_SCHEMA, shard
from xferbench.dataset.sharding import write_shards
from xferbench.errors import StorageError
from xferbench.tables import frames_table


@pytest.fixture
def tables(make_pairs):
    """42 pairs as one pair of tables."""
    pairs = make_pairs()
    keys = pa.array([0.5] * len(pairs))
    return tuple(
        frames_table(frames).append_column(SHARD_SCHEMA.field("subset_key"), keys)
        for frames in ((pair.source for pair in pairs), (pair.target for pair in pairs))
    )


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(sharding, "GROUP_ROWS", 5)
    monkeypatch.setattr(sharding, "SHARD_ROWS", 10)


def files(directory):
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in directory.rglob("*.parquet")}


def pieces(tables, size):
    return [tuple(table.slice(start, size) for table in tables) for start in range(0, tables[0].num_rows, size)]


def test_few_rows_are_one_shard_of_one_row_group(tables, tmp_path):
    rows = write_shards(tmp_path, "test", [tables])
    assert rows == {shard("source", "test"): 42, shard("target", "test"): 42}
    for (path, count), table in zip(rows.items(), tables, strict=True):
        assert pq.read_table(tmp_path / path).equals(table)
        assert pq.read_metadata(tmp_path / path).num_row_groups == 1
        assert count == 42


def test_no_rows_are_one_empty_shard(tables, tmp_path):
    rows = write_shards(tmp_path, "val", [])
    assert rows == {shard("source", "val"): 0, shard("target", "val"): 0}
    assert pq.read_schema(tmp_path / shard("source", "val")).equals(SHARD_SCHEMA)


def test_many_rows_are_several_shards_whose_names_say_how_many(tables, tmp_path, small):
    rows = write_shards(tmp_path, "train", [tables])
    assert list(rows) == [shard(config, "train", i, 5) for config in ("source", "target") for i in range(5)]
    assert list(rows.values()) == [10, 10, 10, 10, 2] * 2
    assert set(files(tmp_path)) == set(rows)
    parts = [pq.read_table(tmp_path / shard("target", "train", i, 5)) for i in range(5)]
    assert pa.concat_tables(parts).equals(tables[1])


@pytest.mark.parametrize("size", [1, 4, 5, 7, 41])
def test_how_the_rows_arrive_does_not_move_a_byte(tables, tmp_path, small, size):
    write_shards(tmp_path / "whole", "train", [tables])
    write_shards(tmp_path / "pieces", "train", pieces(tables, size))
    assert files(tmp_path / "pieces") == files(tmp_path / "whole")


def test_large_cells_make_small_row_groups_and_shards(tables, tmp_path, monkeypatch):
    monkeypatch.setattr(sharding, "GROUP_ATOMS", 7)
    monkeypatch.setattr(sharding, "SHARD_ATOMS", 20)
    rows = write_shards(tmp_path, "train", [tables])
    assert sum(rows.values()) == 84
    for path in rows:
        file = pq.ParquetFile(tmp_path / path)
        groups = [file.read_row_group(i)["n_atoms"].to_pylist() for i in range(file.num_row_groups)]
        assert all(sum(group[:-1]) < 7 for group in groups)
        assert sum(sum(group) for group in groups[:-1]) < 20


def test_both_configurations_are_cut_at_the_same_rows(tables, tmp_path, small):
    write_shards(tmp_path, "train", [tables])
    for i in range(5):
        source, target = (pq.ParquetFile(tmp_path / shard(config, "train", i, 5)) for config in ("source", "target"))
        assert source.read(["pair_id"]).equals(target.read(["pair_id"]))
        sizes = [[file.metadata.row_group(k).num_rows for k in range(file.num_row_groups)] for file in (source, target)]
        assert sizes[0] == sizes[1]


def test_a_full_disk_is_one_clear_line_and_no_file_stays_open(tables, tmp_path, small, monkeypatch):
    def fsync(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(StorageError, match="No space left on device"):
        write_shards(tmp_path, "train", [tables])
    opened = [link.readlink() for link in Path("/proc/self/fd").iterdir() if link.exists()]
    assert not [path for path in opened if path.is_relative_to(tmp_path)]
