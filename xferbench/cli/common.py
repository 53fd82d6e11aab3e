"""What every command shares: how errors end, where output goes, common options."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from xferbench.errors import XferbenchError

if TYPE_CHECKING:
    from collections.abc import Callable

DIRECTORY = click.Path(file_okay=False, path_type=Path)
FILE = click.Path(dir_okay=False, path_type=Path)


class Commands(click.Group):
    """A group that prints an ``XferbenchError`` as one line and exits with its code; anything else is a bug."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's own signature
        """Run the chosen command."""
        try:
            return super().invoke(ctx)
        except XferbenchError as error:
            _stop(f"Error: {error}", error.exit_code)


def _stop(message: str, code: int) -> NoReturn:
    """Print one line to stderr and leave."""
    click.echo(" ".join(message.split("\n")), err=True)
    sys.exit(code)


def note(message: str) -> None:
    """Something a user should know, on stderr."""
    click.echo(message, err=True)


def show_json(value: object) -> None:
    """Machine-readable output on stdout."""
    click.echo(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False))


def as_json(command: Callable[..., Any]) -> Callable[..., Any]:
    """The ``--json`` option."""
    return click.option("--json", "json_output", is_flag=True, help="Print JSON instead of text.")(command)


def cached(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say where data sets live."""
    for option in (
        click.option("--cache-dir", type=DIRECTORY, help="Instead of $XFERBENCH_CACHE or the user's cache directory."),
        click.option("--offline", is_flag=True, help="Never use the network. Also: XFERBENCH_OFFLINE=1."),
    ):
        command = option(command)
    return command
