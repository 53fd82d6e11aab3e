"""The maintainers' commands: what they print, and how they end."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from xferbench.factory.cli import main as factory
from xferbench.factory.mini import collect
from xferbench.factory.mini.status import FLOORS


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(factory, arguments)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["mini", "work", "records", "--part", "0/2"], 2, "--part must be i/n with 1 <= i <= n"),
        (["mini", "work", "records", "--part", "3/2"], 2, "--part must be i/n with 1 <= i <= n"),
        (["mini", "atoms", "r.jsonl", "--elements", "Xx"], 2, "unknown element 'Xx'"),
        (["mini", "atoms", "r.jsonl", "--elements", ","], 2, "no element is named"),
        (["mini", "collect", "nowhere.jsonl"], 3, "cannot read nowhere.jsonl"),
        (["mini", "verify", "no-such-record"], 2, "no record or pair 'no-such-record'"),
    ],
)
def test_bad_input_ends_in_one_clear_line_and_the_right_code(run, arguments, code, message):
    result = run(*arguments)
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert result.exit_code == code
    assert result.stdout == ""


def test_status_prints_every_floor_and_the_same_as_json(run):
    text = run("mini", "status").stdout
    counts = json.loads(run("mini", "status", "--json").stdout)["counts"]
    assert set(counts) == set(FLOORS)
    for name, floor in FLOORS.items():
        assert f"{name}: {counts[name]} of {floor}" in text


def test_records_are_brought_home(run, tmp_path, monkeypatch):
    home = tmp_path / "home.jsonl"
    home.write_bytes(b"")
    lines = collect.RECORDS.read_bytes().splitlines(keepends=True)
    (tmp_path / "more.jsonl").write_bytes(b"".join(reversed(lines)))
    monkeypatch.setattr(collect, "RECORDS", home)
    monkeypatch.setattr(collect.collect, "__defaults__", (home,))
    assert run("mini", "collect", "more.jsonl").stdout == f"{len(lines)} new records in {home}\n"
    assert home.read_bytes() == b"".join(lines)
    assert run("mini", "collect", "more.jsonl").stdout == f"0 new records in {home}\n"
