"""The command line: parse, call one function, print.

Results go to stdout, progress and notes to stderr. Nothing heavy is imported before a command runs, so that
``xferbench --help`` answers at once.
"""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from typing import TYPE_CHECKING, NoReturn

import click

from xferbench.cli import board, comparing, data, labels, mini, scoring, studies, training
from xferbench.cli.common import Commands

if TYPE_CHECKING:
    from collections.abc import Iterable


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="xferbench")
def main() -> None:
    """Benchmark interatomic potentials across density functionals: learned on GGA, asked for r2SCAN."""


for command in (
    data.prepare,
    data.audit,
    data.list_,
    data.info,
    data.export,
    data.publish,
    labels.refs,
    labels.analyze,
    scoring.quickstart,
    scoring.score,
    scoring.check,
    training.train,
    studies.study,
    comparing.compare,
    comparing.gap,
    comparing.fit_scaling,
    board.leaderboard,
    board.validate,
    mini.mini,
):
    main.add_command(command)


def run() -> NoReturn:
    """The console script: run the command, flush, and leave at once with its exit code.

    Arrow keeps threads; now and then they abort an interpreter that is shutting down ("terminate called without an active
    exception"), which would turn our exit code into 134 after the work is done.
    """
    code: object = 0
    try:
        main()
    except SystemExit as end:
        code = end.code
    except BaseException:  # noqa: BLE001 - a bug: its traceback is shown, as the interpreter would
        traceback.print_exc()
        code = 1
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


def command_paths(group: click.Group = main, prefix: str = "") -> Iterable[tuple[str, click.Command]]:
    """Every command with its full name: for documents and their tests."""
    for name, command in sorted(group.commands.items()):
        if isinstance(command, click.Group):
            yield from command_paths(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command
