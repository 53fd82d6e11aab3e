"""Two processes read what one reads, in a sequence that is always the same, and leave nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from xferbench.errors import DataError, FormatError, StorageError
from xferbench.sources import matpes_tables, parallel
from xferbench.sources.documents import documents
from xferbench.sources.parallel import read_all


def lines(path):
    """A reader for these tests, which a new process finds beside them."""
    for line in path.read_text().splitlines():
        if line == "fail":
            raise FormatError(f"{path} fails")
        if line == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if line == "print":
            print("no item")  # noqa: T201 - what a careless library does
        if line == "pid":
            yield os.getpid()
        yield line


@pytest.fixture
def files(tmp_path, monkeypatch):
    """``files(text, …)`` -> paths that are read apart."""
    monkeypatch.setattr(parallel, "WORTHWHILE", 0)
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.setattr(lines, "__module__", Path(__file__).stem)

    def write(*texts):
        paths = [tmp_path / str(i) for i in range(len(texts))]
        for path, text in zip(paths, texts, strict=True):
            path.write_text("\n".join(text))
        return paths

    return write


def is_running(pid):
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def wait_until(condition):
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def test_readers_take_turns(files):
    assert list(read_all(files("ac", "bdef"), lines)) == list("abcdef")


def test_more_files_than_readers_are_shared_out(files):
    assert sorted(read_all(files("a", "b", "c", "d", "e"), lines)) == list("abcde")


def test_readers_are_other_processes_and_end_with_the_reading(files):
    items = list(read_all(files(["pid"], ["pid"]), lines))
    pids = {item for item in items if isinstance(item, int)}
    assert len(pids | {os.getpid()}) == 3
    assert not any(map(is_running, pids))


def test_small_files_are_read_here(files, monkeypatch):
    monkeypatch.setattr(parallel, "WORTHWHILE", 1000)
    assert list(read_all(files(["pid"], ["pid"]), lines)) == [os.getpid(), "pid"] * 2


def test_one_file_is_read_here(files):
    assert list(read_all(files(["pid"]), lines)) == [os.getpid(), "pid"]


def test_who_stops_asking_ends_the_readers(files):
    items = read_all(files(["pid", *"x" * 100_000], ["pid", *"x" * 100_000]), lines)
    pids = [next(items), next(items)]
    assert all(map(is_running, pids))
    items.close()
    assert not any(map(is_running, pids))


def test_an_error_of_a_reader_is_raised_here(files):
    paths = files(["a", "fail"], "bcd")
    items = read_all(paths, lines)
    assert [next(items), next(items)] == ["a", "b"]
    with pytest.raises(FormatError, match=f"{paths[0]} fails"):
        next(items)


def test_a_reader_that_is_killed_is_one_clear_error(files):
    paths = files(["a"], ["die"])
    with pytest.raises(DataError, match=rf"the process that read {paths[1]} ended with code -9 before it was done"):
        list(read_all(paths, lines))


def test_what_a_library_prints_is_no_item(files, capfd):
    assert list(read_all(files(["print"], []), lines)) == ["print"]
    assert "no item" in capfd.readouterr().err


def test_a_module_in_the_working_directory_is_not_taken_for_one_of_pythons(files, tmp_path, monkeypatch):
    (tmp_path / "pickle.py").write_text("raise SystemExit('the wrong one')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    assert list(read_all(files("a", "b"), lines)) == ["a", "b"]


def test_a_missing_file_is_said_so(files, tmp_path):
    with pytest.raises(StorageError, match="cannot read"):
        read_all([*files("a"), tmp_path / "nothing"], lines)


def test_readers_end_when_the_caller_is_killed(files, tmp_path):
    paths = files(["pid", *"x" * 2_000_000], ["pid", *"x" * 2_000_000])
    code = f"""
import sys, time
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
import {Path(__file__).stem} as here
from xferbench.sources import parallel
parallel.WORTHWHILE = 0
items = parallel.read_all([Path(path) for path in {list(map(str, paths))!r}], here.lines)
print(next(items), next(items), flush=True)
time.sleep(60)
"""
    caller = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    pids = [int(pid) for pid in caller.stdout.readline().split()]
    assert len(pids) == 2
    assert all(map(is_running, pids))
    caller.kill()
    caller.communicate()
    assert wait_until(lambda: not any(map(is_running, pids)))


def test_ctrl_c_is_the_callers_business(files):
    items = read_all(files(["pid", *"x" * 100_000], []), lines)
    pid = next(items)
    os.kill(pid, signal.SIGINT)
    assert list(items) == ["pid", *"x" * 100_000]


def test_documents_read_apart_are_those_read_here(files, tmp_path, document):
    paths = []
    for name in ("PBE", "r2SCAN"):
        rows = [document(matpes_id=f"m{i}", functional=name) for i in range(5)]
        rows[3]["energy"] = None
        paths.append(tmp_path / f"MatPES-{name}.json")
        paths[-1].write_text(json.dumps(rows))
    here = [item for path in paths for item in matpes_tables.read(path)]
    files()
    apart = list(read_all(paths, matpes_tables.read))
    assert [here[0], here[2]] == apart[:2]
    assert [here[1], here[3]] == apart[2:]


def test_a_truncated_file_is_the_same_error_as_here(files, tmp_path):
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text("[]")
    bad.write_text('[{"a": 1}, {"b": ')
    files()
    with pytest.raises(DataError) as here:
        list(documents(bad))
    with pytest.raises(DataError) as apart:
        list(read_all([good, bad], matpes_tables.read))
    assert str(apart.value) == str(here.value)
    assert type(apart.value) is type(here.value)
