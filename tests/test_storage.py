"""Files and directories are whole or absent, whatever the disk or another run does."""

from __future__ import annotations

import errno
import hashlib
import json
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest

from xferbench import storage
from xferbench.errors import IntegrityError, StorageError
from xferbench.storage import (
    disk_errors,
    lock,
    new_directory,
    read_bytes,
    read_json,
    sha256,
    tidy,
    to_json,
    write_bytes,
    write_chunks,
    write_json,
    write_text,
)


def fail_with(number):
    """A stand-in for a system call that fails."""

    def call(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    return call


def names(directory):
    """What is in a directory besides lock files."""
    return sorted(path.name for path in directory.iterdir() if not path.name.endswith(".lock"))


class TestDiskErrors:
    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
    def test_a_full_disk_asks_for_space(self, number):
        with (
            pytest.raises(StorageError, match=r"cannot write /a: .*; free some space or choose another place"),
            disk_errors("write", Path("/a")),
        ):
            fail_with(number)()

    @pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOENT, errno.ENOTDIR])
    def test_anything_else_asks_to_check_the_path(self, number):
        with (
            pytest.raises(StorageError, match=r"cannot read /a: .*; check the path and its permissions") as caught,
            disk_errors("read", Path("/a")),
        ):
            fail_with(number)()
        assert os.strerror(number) in str(caught.value)

    def test_an_error_without_number_keeps_its_text(self):
        with pytest.raises(StorageError, match="cannot read /a: odd"), disk_errors("read", Path("/a")):
            raise OSError("odd")

    def test_other_errors_pass(self):
        with pytest.raises(KeyError), disk_errors("read", Path("/a")):
            raise KeyError


class TestJson:
    def test_keys_are_sorted_and_the_text_ends_in_a_newline(self):
        assert to_json({"b": 1, "a": [2.0, "Å"]}) == '{\n "a": [\n  2.0,\n  "Å"\n ],\n "b": 1\n}\n'

    def test_order_of_insertion_does_not_matter(self):
        assert to_json({"b": 1, "a": 2}) == to_json({"a": 2, "b": 1})

    def test_numbers_keep_every_bit(self):
        values = [0.1 + 0.2, 1e-323, 1.7976931348623157e308, -0.0]
        assert json.loads(to_json(values)) == values

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_what_is_no_json_is_refused(self, value):
        with pytest.raises(ValueError, match="not JSON compliant"):
            to_json({"a": value})

    def test_a_number_without_a_value_is_null(self):
        values = [storage.finite(value) for value in (0.1, -0.0, float("nan"), float("inf"), -float("inf"))]
        assert json.loads(to_json(values)) == [0.1, -0.0, None, None, None]

    def test_a_file_round_trip(self, tmp_path):
        write_json(tmp_path / "a.json", {"x": [1, None]})
        assert read_json(tmp_path / "a.json") == {"x": [1, None]}

    @pytest.mark.parametrize(
        "data",
        [b"", b'{"a": 1', b"\xff\xfe\xfd", b"[" * 100_000, b"9" * 10_000],
        ids=["empty", "truncated", "binary", "deep", "long number"],
    )
    def test_a_file_that_is_no_json_is_one_clear_line(self, tmp_path, data):
        path = tmp_path / "a.json"
        path.write_bytes(data)
        with pytest.raises(IntegrityError, match=r"is not valid JSON .* truncated or was altered") as caught:
            read_json(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 500

    @pytest.mark.parametrize("text", ['{"Li": 1, "O": 2, "Li": 1}', '[{"PBE": {"Li": 1, "Li": 2}}]'])
    def test_a_name_that_an_object_has_twice_is_refused(self, tmp_path, text):
        (tmp_path / "a.json").write_text(text)
        with pytest.raises(IntegrityError, match=r"a\.json is not valid JSON \('Li' more than once in one object"):
            read_json(tmp_path / "a.json")


class TestFiles:
    def test_text_is_utf_8(self, tmp_path):
        write_text(tmp_path / "a", "Å\n")
        assert (tmp_path / "a").read_bytes() == b"\xc3\x85\n"

    def test_parents_are_made(self, tmp_path):
        write_bytes(tmp_path / "x" / "y" / "a", b"1")
        assert read_bytes(tmp_path / "x" / "y" / "a") == b"1"

    def test_an_old_file_is_replaced_and_nothing_is_left_beside_it(self, tmp_path):
        for data in (b"old", b"new"):
            write_bytes(tmp_path / "a", data)
        assert (tmp_path / "a").read_bytes() == b"new"
        assert names(tmp_path) == ["a"]

    def test_permissions_are_those_of_any_new_file(self, tmp_path):
        write_bytes(tmp_path / "a", b"")
        (tmp_path / "b").touch()
        assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode

    @pytest.mark.parametrize("call", ["fsync", "write"])
    def test_a_full_disk_leaves_the_old_file_and_no_other(self, tmp_path, monkeypatch, call):
        write_bytes(tmp_path / "a", b"old")
        if call == "fsync":
            monkeypatch.setattr(storage.os, "fsync", fail_with(errno.ENOSPC))
        else:
            monkeypatch.setattr(Path, "open", fail_with(errno.ENOSPC))
        with pytest.raises(StorageError, match=r"cannot write .*a: No space left on device; free some space"):
            write_bytes(tmp_path / "a", b"new")
        monkeypatch.undo()
        assert (tmp_path / "a").read_bytes() == b"old"
        assert names(tmp_path) == ["a"]

    def test_an_interrupt_leaves_the_old_file_and_no_other(self, tmp_path, monkeypatch):
        def interrupt(descriptor):
            raise KeyboardInterrupt

        write_bytes(tmp_path / "a", b"old")
        monkeypatch.setattr(storage.os, "fsync", interrupt)
        with pytest.raises(KeyboardInterrupt):
            write_bytes(tmp_path / "a", b"new")
        assert (tmp_path / "a").read_bytes() == b"old"
        assert names(tmp_path) == ["a"]

    def test_a_file_in_the_way_of_a_directory_is_one_clear_line(self, tmp_path):
        (tmp_path / "a").touch()
        with pytest.raises(StorageError, match=r"cannot write .*b: (Not a directory|File exists); check the path"):
            write_bytes(tmp_path / "a" / "b", b"")

    def test_a_missing_file_is_one_clear_line(self, tmp_path):
        for function in (read_bytes, read_json, sha256):
            with pytest.raises(StorageError, match=r"cannot read .*gone: No such file or directory"):
                function(tmp_path / "gone")

    def test_the_hash_is_that_of_the_bytes(self, tmp_path):
        (tmp_path / "a").write_bytes(b"abc" * 100_000)
        assert sha256(tmp_path / "a") == "sha256:" + hashlib.sha256(b"abc" * 100_000).hexdigest()


class TestWriteChunks:
    def test_chunks_are_written_one_after_the_other(self, tmp_path):
        write_chunks(tmp_path / "x" / "a", (str(i).encode() for i in range(4)))
        assert (tmp_path / "x" / "a").read_bytes() == b"0123"

    def test_an_error_while_the_content_is_made_leaves_the_old_file(self, tmp_path):
        write_bytes(tmp_path / "a", b"old")

        def chunks():
            yield b"new"
            raise ValueError("no more")

        with pytest.raises(ValueError, match="no more"):
            write_chunks(tmp_path / "a", chunks())
        assert (tmp_path / "a").read_bytes() == b"old"
        assert names(tmp_path) == ["a"]


def hold(path, ready, release):
    """Hold a lock in another process until told otherwise."""
    with lock(path):
        ready.set()
        release.wait(30)


class TestLock:
    def test_it_is_free_again_after_the_block(self, tmp_path):
        for _ in range(2):
            with lock(tmp_path / "a"):
                pass

    def test_it_is_free_again_after_an_error(self, tmp_path):
        with pytest.raises(KeyError), lock(tmp_path / "a"):
            raise KeyError
        with lock(tmp_path / "a"):
            pass

    def test_another_lock_in_the_same_place_is_another_lock(self, tmp_path):
        with lock(tmp_path / "a"), lock(tmp_path / "b"):
            assert names(tmp_path) == []

    def test_a_second_holder_is_refused(self, tmp_path):
        with (
            lock(tmp_path / "a"),
            pytest.raises(StorageError, match="a is being written by another run; wait for it or choose another"),
            lock(tmp_path / "a"),
        ):
            pytest.fail("two runs hold one lock")

    def test_a_killed_holder_frees_it(self, tmp_path):
        context = multiprocessing.get_context("spawn")
        ready, release = context.Event(), context.Event()
        other = context.Process(target=hold, args=(tmp_path / "a", ready, release), daemon=True)
        other.start()
        assert ready.wait(30)
        with pytest.raises(StorageError, match="another run"), lock(tmp_path / "a"):
            pytest.fail("two processes hold one lock")
        other.kill()
        other.join(30)
        with lock(tmp_path / "a"):
            pass
        other.close()

    def test_a_place_that_cannot_be_made_is_one_clear_line(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(StorageError, match=r"cannot lock .*"), lock(tmp_path / "file" / "a"):
            pytest.fail("locked inside a file")


def fill(path, text):
    with new_directory(path) as new:
        (new / "inner").mkdir()
        write_text(new / "inner" / "file", text)


def content(path):
    return {item.relative_to(path).as_posix(): item.read_text() for item in path.rglob("*") if item.is_file()}


class TestNewDirectory:
    def test_it_appears_whole(self, tmp_path):
        fill(tmp_path / "data", "1")
        assert content(tmp_path / "data") == {"inner/file": "1"}
        assert names(tmp_path) == ["data"]

    def test_it_is_not_there_while_it_is_filled(self, tmp_path):
        with new_directory(tmp_path / "data") as new:
            assert not (tmp_path / "data").exists()
            assert new.parent == tmp_path

    def test_parents_are_made(self, tmp_path):
        fill(tmp_path / "x" / "y" / "data", "1")
        assert content(tmp_path / "x" / "y" / "data") == {"inner/file": "1"}

    def test_an_old_one_is_replaced_as_a_whole(self, tmp_path):
        fill(tmp_path / "data", "old")
        (tmp_path / "data" / "extra").touch()
        fill(tmp_path / "data", "new")
        assert content(tmp_path / "data") == {"inner/file": "new"}
        assert names(tmp_path) == ["data"]

    def test_permissions_are_those_of_any_new_directory(self, tmp_path):
        fill(tmp_path / "data", "1")
        (tmp_path / "other").mkdir()
        assert (tmp_path / "data").stat().st_mode == (tmp_path / "other").stat().st_mode

    @pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt, FileNotFoundError])
    def test_an_error_in_the_block_passes_and_leaves_the_old_one(self, tmp_path, error):
        fill(tmp_path / "data", "old")

        def interrupted():
            with new_directory(tmp_path / "data") as new:
                write_text(new / "half", "")
                raise error

        with pytest.raises(error):
            interrupted()
        assert content(tmp_path / "data") == {"inner/file": "old"}
        assert names(tmp_path) == ["data"]

    @pytest.mark.parametrize("failing", [1, 2])
    def test_a_move_that_fails_leaves_the_old_one(self, tmp_path, monkeypatch, failing):
        fill(tmp_path / "data", "old")
        rename, calls = Path.rename, []

        def sometimes(self, target):
            calls.append(target)
            if len(calls) == failing:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return rename(self, target)

        monkeypatch.setattr(Path, "rename", sometimes)
        with pytest.raises(StorageError, match="No space left"):
            fill(tmp_path / "data", "new")
        assert content(tmp_path / "data") == {"inner/file": "old"}
        assert names(tmp_path) == ["data"]

    def test_a_run_killed_between_its_two_moves_loses_nothing(self, tmp_path):
        fill(tmp_path / "data", "old")
        (tmp_path / "data").rename(tmp_path / f"{storage.TEMPORARY}data.old")
        with pytest.raises(KeyError), new_directory(tmp_path / "data"):
            raise KeyError
        assert content(tmp_path / "data") == {"inner/file": "old"}

    def test_leftovers_of_killed_runs_are_removed(self, tmp_path):
        fill(tmp_path / "data", "old")
        for role in ("new", "old"):
            (tmp_path / f"{storage.TEMPORARY}data.{role}" / "half").mkdir(parents=True)
        fill(tmp_path / "data", "new")
        assert content(tmp_path / "data") == {"inner/file": "new"}
        assert names(tmp_path) == ["data"]

    def test_what_a_run_killed_after_its_moves_left_is_removed_without_writing(self, tmp_path):
        fill(tmp_path / "data", "new")
        (tmp_path / f"{storage.TEMPORARY}data.old" / "half").mkdir(parents=True)
        tidy(tmp_path / "data")
        assert content(tmp_path / "data") == {"inner/file": "new"}
        assert names(tmp_path) == ["data"]

    def test_tidying_leaves_alone_what_another_run_is_writing(self, tmp_path):
        with new_directory(tmp_path / "data") as new:
            tidy(tmp_path / "data")
            write_text(new / "file", "1")
        assert content(tmp_path / "data") == {"file": "1"}

    def test_tidying_where_there_is_nothing_makes_nothing(self, tmp_path):
        tidy(tmp_path / "data")
        assert list(tmp_path.iterdir()) == []

    def test_a_run_never_removes_what_a_neighbour_is_writing(self, tmp_path):
        with new_directory(tmp_path / "data-2") as neighbour:
            fill(tmp_path / "data", "1")
            write_text(neighbour / "file", "2")
        assert content(tmp_path / "data-2") == {"file": "2"}

    def test_two_runs_do_not_write_the_same_directory(self, tmp_path):
        with new_directory(tmp_path / "data") as new:
            write_text(new / "file", "first")
            with pytest.raises(StorageError, match="data is being written by another run"):
                fill(tmp_path / "data", "second")
        assert content(tmp_path / "data") == {"file": "first"}

    def test_other_spellings_of_the_path_are_the_same_directory(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "x").mkdir()
        with (
            new_directory(tmp_path / "data"),
            pytest.raises(StorageError, match="another run"),
            new_directory(Path("x/../data")),
        ):
            pytest.fail("two runs write one directory")

    def test_a_link_to_a_directory_stays_a_link(self, tmp_path):
        (tmp_path / "real").mkdir()
        (tmp_path / "link").symlink_to("real")
        fill(tmp_path / "link", "1")
        assert (tmp_path / "link").is_symlink()
        assert content(tmp_path / "real") == {"inner/file": "1"}

    def test_a_file_is_never_replaced_by_a_directory(self, tmp_path):
        (tmp_path / "data").write_text("precious")
        with pytest.raises(StorageError, match=r"cannot write the directory .*data: it is a file; remove it"):
            fill(tmp_path / "data", "1")
        assert (tmp_path / "data").read_text() == "precious"

    def test_a_limit_on_file_size_is_a_full_disk(self, tmp_path):
        code = (
            "import resource, sys; from pathlib import Path; from xferbench.storage import *\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
            "with new_directory(Path(sys.argv[1])) as new: write_text(new / 'file', 'x' * 5000)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, tmp_path / "data"], capture_output=True, text=True, check=False
        )
        assert "StorageError: cannot write" in done.stderr
        assert "File too large; free some space or choose another place" in done.stderr
        assert names(tmp_path) == []


class TestLitter:
    def test_what_a_killed_run_left_is_removed_by_the_next_one(self, tmp_path):
        leftover = tmp_path / f"{storage.TEMPORARY}old.json-{'a' * 16}"
        leftover.write_text("half")
        os.utime(leftover, (1, 1))
        write_text(tmp_path / "new.json", "{}")
        assert [path.name for path in tmp_path.iterdir()] == ["new.json"]

    def test_what_another_run_is_writing_stays(self, tmp_path):
        def chunks():
            (temporary,) = tmp_path.iterdir()
            os.utime(temporary, (1, 1))
            write_text(tmp_path / "other.json", "{}")
            assert temporary.exists()
            yield b"whole"

        storage.write_chunks(tmp_path / "new.json", chunks())
        assert {path.name for path in tmp_path.iterdir()} == {"new.json", "other.json"}

    def test_a_lock_leaves_nothing_beside_what_it_locks(self, tmp_path):
        with lock(tmp_path / "a"):
            assert list(tmp_path.iterdir()) == []
        assert list(tmp_path.iterdir()) == []

    def test_two_paths_of_one_name_have_two_locks(self, tmp_path):
        assert storage.aside("locks", tmp_path / "a" / "x") != storage.aside("locks", tmp_path / "b" / "x")
        (tmp_path / "a").mkdir()
        (tmp_path / "link").symlink_to(tmp_path / "a")
        assert storage.aside("locks", tmp_path / "a" / "x") == storage.aside("locks", tmp_path / "link" / "x")

    def test_json_nested_without_end_is_refused(self, tmp_path):
        (tmp_path / "a.json").write_text("[" * 100 + "]" * 100)
        with pytest.raises(IntegrityError, match="brackets nested deeper than 40"):
            read_json(tmp_path / "a.json")
