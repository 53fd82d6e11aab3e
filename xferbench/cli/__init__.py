"""The command line: parse, call one function, print.

Results go to stdout, progress and notes to stderr. Nothing heavy is imported before a command runs, so that
``xferbench --help`` answers at once.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from xferbench.cli import board, comparing, data, labels, lifting, scoring, studies, training
from xferbench.cli.common import INTERRUPTED, TERMINATED, Commands, Terminated

if TYPE_CHECKING:
    from collections.abc import Iterable


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="xferbench")
def main() -> None:
    """Benchmark interatomic potentials across density functionals: learned on one, asked for another."""


for command in (
    data.prepare,
    data.audit,
    data.list_,
    data.info,
    data.schema,
    data.export,
    data.publish,
    labels.refs,
    labels.analyze,
    scoring.quickstart,
    scoring.score,
    scoring.check,
    scoring.merge,
    scoring.cost,
    training.train,
    studies.study,
    lifting.lift,
    comparing.compare,
    comparing.gap,
    comparing.fit_scaling,
    board.leaderboard,
    board.card,
    board.submit,
    board.verify,
    board.rescore,
):
    main.add_command(command)


def run() -> NoReturn:
    """The console script: run the command, flush, and leave at once with its exit code.

    Arrow keeps threads; now and then they abort an interpreter that is shutting down ("terminate called without an active
    exception"), which would turn our exit code into 134 after the work is done.
    """
    _open_streams()
    signal.signal(signal.SIGTERM, _terminate)
    code: object = 0
    try:
        main()
    except SystemExit as end:
        code = end.code
    except KeyboardInterrupt as stop:  # before or after a command
        code = TERMINATED if isinstance(stop, Terminated) else INTERRUPTED
    except BaseException:  # noqa: BLE001 - a bug: its traceback is shown, as the interpreter would
        traceback.print_exc()
        code = 1
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # nobody reads, or it is closed
            stream.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


def _open_streams() -> None:
    """What a shell closed (``>&-``) leads nowhere, rather than into the first file that is opened."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free, which is this one
        if getattr(sys, name) is None:
            mode = "r" if number == 0 else "w"
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - as long as the process


def _terminate(_number: int, _frame: object) -> NoReturn:
    raise Terminated


def command_paths(group: click.Group = main, prefix: str = "") -> Iterable[tuple[str, click.Command]]:
    """Every command with its full name: for documents and their tests."""
    for name, command in sorted(group.commands.items()):
        if isinstance(command, click.Group):
            yield from command_paths(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command
