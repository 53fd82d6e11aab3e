from __future__ import annotations

import json

import click
import pytest
from click.testing import CliRunner

from xferbench.cli.common import Commands, data_options, json_option, show
from xferbench.errors import DataError


def group_of(body):
    group = Commands("group")

    @group.command("work")
    @data_options
    @json_option
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
        "as_json": "True",
        "cache_dir": "here",
    }


def test_json_is_sorted_readable_and_never_holds_what_json_does_not_know():
    class Report:
        def __init__(self, value):
            self.value = value

        def to_json(self):
            return self.value

        def __str__(self):
            return "words"

    @click.command()
    @json_option
    def command(**options):
        show(Report({"b": "Å", "a": 1}), **options)

    out = CliRunner().invoke(command, ["--json"]).stdout
    assert out.index('"a"') < out.index('"b"')
    assert "Å" in out
    assert json.loads(out) == {"a": 1, "b": "Å"}
    with pytest.raises(ValueError, match="not JSON compliant"):
        show(Report(float("nan")), as_json=True)
    assert CliRunner().invoke(command).stdout == "words\n"
