"""What is set aside comes back, in order or sorted, and leaves nothing on the disk."""

from __future__ import annotations

import errno
import os
from operator import itemgetter

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xferbench.dataset import spill
from xferbench.dataset.spill import SortedSpill, Spill
from xferbench.errors import StorageError

SCHEMA = pa.schema([("name", pa.string()), ("number", pa.int64()), ("list", pa.list_(pa.float64()))])
keys = st.text("abÅz\U0001f600", max_size=3)


def table(names, first=0):
    numbers = range(first, first + len(names))
    return pa.table([names, numbers, [[float(n)] * (n % 3) for n in numbers]], schema=SCHEMA)


@pytest.fixture
def tiny(monkeypatch):
    """Every run, block and file so small that a few rows do what many do."""
    monkeypatch.setattr(spill, "IN_MEMORY", 100)
    monkeypatch.setattr(spill, "RUN", 200)
    monkeypatch.setattr(spill, "BLOCK", 60)


class TestSpill:
    def test_tables_come_back_as_they_were_any_number_of_times(self):
        tables = [table(["b", "a"]), table(["c"], 5)]
        with Spill(SCHEMA) as aside:
            for item in tables:
                aside.append(item)
            assert len(aside) == 2
            assert [item.to_pylist() for item in aside] == [item.to_pylist() for item in tables]
            assert [item.to_pylist() for item in aside] == [item.to_pylist() for item in tables]
            assert aside.read(1).schema.equals(SCHEMA)

    def test_a_part_of_a_table_is_kept_as_that_part(self):
        with Spill(SCHEMA) as aside:
            aside.append(table(["a", "b", "c"]).slice(1, 1))
            assert aside.read(0).to_pylist() == [{"name": "b", "number": 1, "list": [1.0]}]

    def test_an_empty_table_is_nothing(self):
        with Spill(SCHEMA) as aside:
            aside.append(table([]))
            assert list(aside) == []

    @pytest.mark.usefixtures("tiny")
    def test_what_goes_to_the_disk_has_no_name_there(self, tmp_path):
        with Spill(SCHEMA, tmp_path) as aside:
            for n in range(50):
                aside.append(table(["x" * 20], n))
            assert list(tmp_path.iterdir()) == []
            assert [item["number"][0].as_py() for item in aside] == list(range(50))

    def test_a_full_disk_is_one_clear_line(self, tmp_path, monkeypatch):
        with Spill(SCHEMA, tmp_path) as aside:

            def write(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

            monkeypatch.setattr(aside._file, "write", write)
            with pytest.raises(StorageError, match=rf"cannot write {tmp_path}: No space left on device; free some"):
                aside.append(table(["a"]))


class TestSortedSpill:
    @given(st.lists(st.lists(keys, max_size=8), max_size=12))
    def test_the_order_is_that_of_python_and_no_key_is_divided(self, batches):
        with pytest.MonkeyPatch.context() as patch:
            for name, value in (("RUN", 200), ("BLOCK", 60)):
                patch.setattr(spill, name, value)
            starts = [sum(map(len, batches[:i])) for i in range(len(batches))]
            tables = [table(names, first) for names, first in zip(batches, starts, strict=True)]
            with SortedSpill(SCHEMA, "name") as aside:
                for item in tables:
                    aside.append(item)
                merged = list(aside.merged())
            rows = [row for item in merged for row in item.to_pylist()]
            assert [row["name"] for row in rows] == sorted(name for names in batches for name in names)
            assert sorted(rows, key=itemgetter("number")) == [row for item in tables for row in item.to_pylist()]
            firsts, lasts = ([item["name"][i].as_py() for item in merged] for i in (0, -1))
            assert all(last < first for last, first in zip(lasts, firsts[1:], strict=False))

    @pytest.mark.usefixtures("tiny")
    def test_many_runs_come_out_in_many_tables(self):
        names = [f"{n * 7919 % 1000:03d}" for n in range(1000)]
        with SortedSpill(SCHEMA, "name") as aside:
            for start in range(0, 1000, 10):
                aside.append(table(names[start : start + 10], start))
            merged = list(aside.merged())
        assert len(merged) > 50
        assert [name for item in merged for name in item["name"].to_pylist()] == sorted(names)

    @pytest.mark.usefixtures("tiny")
    def test_one_key_is_never_divided(self):
        with SortedSpill(SCHEMA, "name") as aside:
            for n in range(40):
                aside.append(table(["a", "same", "z"], 3 * n))
            counts = [item["name"].to_pylist().count("same") for item in aside.merged()]
        assert max(counts) == 40
        assert sum(counts) == 40

    @pytest.mark.usefixtures("tiny")
    def test_merging_again_gives_the_same(self):
        with SortedSpill(SCHEMA, "name") as aside:
            for n in range(30):
                aside.append(table([f"{n * 7 % 30:02d}"], n))
            assert pa.concat_tables(aside.merged()).equals(pa.concat_tables(aside.merged()))

    @pytest.mark.usefixtures("tiny")
    def test_unsorted_gives_every_row_once(self):
        with SortedSpill(SCHEMA, "name") as aside:
            for n in range(30):
                aside.append(table([f"{n * 7 % 30:02d}"], n))
            assert sorted(pa.concat_tables(aside.unsorted())["number"].to_pylist()) == list(range(30))

    def test_nothing_in_gives_nothing_out(self):
        with SortedSpill(SCHEMA, "name") as aside:
            assert list(aside.merged()) == list(aside.unsorted()) == []

    def test_the_disk_is_free_after_the_block(self):
        with SortedSpill(SCHEMA, "name") as aside:
            aside.append(table(["a"]))
        with pytest.raises(ValueError, match="closed"):
            list(aside.merged())
