from __future__ import annotations

import json

import click
import pytest
from click.testing import CliRunner

from xferbench.cli.common import Commands, as_json, cached, show_json
from xferbench.errors import DataError


def group_of(body):
    group = Commands("group")

    @group.command("work")
    @cached
    @as_json
    def work(**options):
        body(options)

    return group


def test_an_error_becomes_one_line_and_its_exit_code():
    def fail(_options):
        raise DataError("two\nlines")

    result = CliRunner().invoke(group_of(fail), ["work"])
    assert result.exit_code == DataError.exit_code == 3
    assert (result.stdout, result.stderr) == ("", "Error: two lines\n")


def test_anything_else_stays_a_bug():
    def fail(_options):
        raise ZeroDivisionError

    assert isinstance(CliRunner().invoke(group_of(fail), ["work"]).exception, ZeroDivisionError)


def test_shared_options_arrive_under_their_names():
    seen = {}
    result = CliRunner().invoke(group_of(seen.update), ["work", "--offline", "--json", "--cache-dir", "here"])
    assert result.exit_code == 0, result.output
    assert {name: str(value) for name, value in seen.items()} == {
        "offline": "True",
        "json_output": "True",
        "cache_dir": "here",
    }


def test_json_is_sorted_readable_and_never_holds_what_json_does_not_know():
    @click.command()
    def show():
        show_json({"b": "Å", "a": 1})

    out = CliRunner().invoke(show).stdout
    assert out.index('"a"') < out.index('"b"')
    assert "Å" in out
    assert json.loads(out) == {"a": 1, "b": "Å"}
    with pytest.raises(ValueError, match="not JSON compliant"):
        show_json(float("nan"))
