"""How a command ends: interrupted, terminated, with closed streams. One line, the right code, no traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

from xferbench.cli.common import Commands, Terminated

RUN = "from xferbench.cli import run; run()"
WAIT = """
import sys, time
import click
from xferbench import cli
from xferbench.cli.common import Commands
@cli.main.command("{name}")
def wait():
    print("ready", flush=True)
    time.sleep(60)
cli.main.commands["{name}"] = wait
sys.argv = ["xferbench", "{name}"]
cli.run()
"""


@pytest.mark.parametrize(
    ("number", "code", "name", "words"),
    [
        (
            signal.SIGINT,
            130,
            "score",
            "stopped: finished batches are kept below the output, the same command goes on there",
        ),
        (
            signal.SIGTERM,
            143,
            "score",
            "stopped: finished batches are kept below the output, the same command goes on there",
        ),
        (signal.SIGTERM, 143, "prepare", "stopped: no data set was written or changed"),
        (signal.SIGINT, 130, "list", "stopped: nothing was changed; run the command again"),
    ],
)
def test_a_signal_ends_in_one_line_and_its_code(number, code, name, words):
    with subprocess.Popen(
        [sys.executable, "-c", WAIT.format(name=name)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.1)
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == code
    (line,) = errors.splitlines()
    assert line.startswith(words)


@pytest.mark.parametrize(("stop", "code"), [(KeyboardInterrupt, 130), (Terminated, 143)])
@pytest.mark.parametrize("name", ["train", "study"])
def test_commands_that_say_it_themselves_are_not_spoken_for(stop, code, name):
    group = Commands("group")

    @group.command(name)
    def work():
        raise stop

    result = CliRunner().invoke(group, [name])
    assert (result.exit_code, result.output) == (code, "")


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_no_matter(closed, cache):
    command = f"'{sys.executable}' -W ignore -c '{RUN}' list tasks {closed}"
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"XFERBENCH_CACHE": str(cache)},
    )
    assert done.returncode == 0
    assert "Traceback" not in done.stdout + done.stderr
    assert ("mini-static" in done.stdout) is (">&-" not in closed.replace("2>&-", ""))


def test_a_reader_that_leaves_ends_it_quietly(cache):
    command = f"'{sys.executable}' -W ignore -c '{RUN}' list | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["/bin/bash", "-c", command],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"XFERBENCH_CACHE": str(cache)},
    )
    assert done.returncode in {0, 141}
    assert "Traceback" not in done.stderr


def test_list_alone_lists_everything(cache):
    from xferbench.cli import main

    result = CliRunner().invoke(main, ["list", "--cache-dir", str(cache)])
    assert result.exit_code == 0
    for word in ("datasets:", "tasks:", "models:", "strategies:", "mini-static", "floor:ridge", "extxyz"):
        assert word in result.output
