"""Killing `prepare` finds what it is looking for, on a data set of a few hundred records."""

from __future__ import annotations

import subprocess
import sys

import pytest

LEAVES = "import pathlib, sys, time; p = pathlib.Path(sys.argv[1]); p.mkdir(); (p / 'half').touch(); time.sleep(60)"


@pytest.fixture
def module(script):
    return script("kill_prepare")


@pytest.fixture
def place(tmp_path):
    (tmp_path / "place").mkdir()
    return tmp_path / "place"


def pretend(monkeypatch, module, code):
    """Let a process that runs ``code`` stand for `prepare`."""
    monkeypatch.setattr(
        module, "start", lambda _, place: subprocess.Popen([sys.executable, "-c", code, place / module.NAME])
    )


def test_a_killed_run_ends_with_the_bytes_of_an_undisturbed_one(module, place, capsys):
    module.write(place.parent / "source", 400)
    (done,) = module.rounds(place.parent / "source", place, 1, seed=0)
    assert done.moment > 0
    assert set(module.hashes(place / "prepared")) > {"README.md", "manifest.json", "drops.jsonl"}
    assert "the same bytes" in capsys.readouterr().out


def test_half_a_data_set_is_noticed(module, place, monkeypatch):
    pretend(monkeypatch, module, LEAVES)
    with pytest.raises(SystemExit, match=r"killed after 3.00 s: neither nothing nor the whole data set .*'half'"):
        module.kill(place, place, 3.0, {"a": "0"})


def test_other_bytes_and_files_that_are_left_are_noticed(module, place, monkeypatch):
    pretend(monkeypatch, module, "import time; time.sleep(60)")
    monkeypatch.setattr(module, "finish", lambda *_: 1.0)
    with pytest.raises(SystemExit, match=r"the next run gave other bytes: \['a'\]"):
        module.kill(place, place, 0.1, {"a": "0"})
    (place / "rest").touch()
    with pytest.raises(SystemExit, match=r"the next run left files: {'rest'}"):
        module.kill(place, place, 0.1, {})


def test_a_run_that_was_over_before_does_not_count(module, place, monkeypatch):
    pretend(monkeypatch, module, "")
    assert module.kill(place, place, 3.0, {}) is None


def test_a_run_that_fails_is_no_measurement(module, place, monkeypatch):
    pretend(monkeypatch, module, "raise SystemExit(3)")
    with pytest.raises(SystemExit, match="prepare ended with exit code 3"):
        module.finish(place, place)


def test_files_that_differ_are_named(module):
    assert module.different({"a": "1", "b": "2"}, {"b": "3", "c": "4"}) == ["a", "b", "c"]
    assert module.different({"a": "1"}, {"a": "1"}) == []
