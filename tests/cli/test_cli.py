from __future__ import annotations

import os
import subprocess
import sys

import click
import pytest

import xferbench as xb
from xferbench.cli import command_paths


def test_every_command_and_option_has_help():
    for name, command in command_paths():
        assert command.help, name
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, f"{name} {parameter.name}"


def test_common_options_are_spelled_alike_and_end_the_list():
    ends = ["offline", "cache_dir", "as_json"]
    for name, command in command_paths():
        options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
        assert all("-o" in option.opts for option in options if "--out" in option.opts), name
        common = [option.name for option in options if option.name in ends]
        assert [option.name for option in options][len(options) - len(common) :] == [
            end for end in ends if end in common
        ], name


def test_the_version_is_that_of_the_package(run):
    from importlib.metadata import version

    assert run("--version").stdout.strip().endswith(version(xb.__name__))


def test_a_bug_keeps_its_traceback(run, monkeypatch):
    monkeypatch.setattr(xb, "list_tasks", lambda: 1 / 0)
    result = run("list", "tasks")
    assert isinstance(result.exception, ZeroDivisionError)


def test_an_interrupted_pipe_is_quiet(cache):
    command = [sys.executable, "-c", "from xferbench.cli import run; run()", "info", "mini-static"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"XFERBENCH_CACHE": str(cache)},
    ) as process:
        process.stdout.close()
        assert b"Traceback" not in process.stderr.read()


@pytest.mark.parametrize(
    ("body", "code", "text"),
    [
        ("print('done')", 0, "done"),
        ("raise SystemExit(3)", 3, ""),
        ("raise SystemExit", 0, ""),
        ("1 / 0", 1, "ZeroDivisionError"),
        ("import atexit; atexit.register(lambda: os.abort()); raise SystemExit(2)", 2, ""),
    ],
)
def test_the_exit_code_is_the_commands_whatever_happens_while_the_interpreter_ends(body, code, text):
    source = f"import os\nfrom xferbench import cli\ndef main():\n    {body}\ncli.main = main\ncli.run()"
    process = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=False)
    assert process.returncode == code
    assert text in process.stdout + process.stderr
