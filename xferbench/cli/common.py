"""What every command shares: how errors end, where output goes, common options."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import click

from xferbench.errors import XferbenchError

if TYPE_CHECKING:
    from collections.abc import Callable

DIRECTORY = click.Path(file_okay=False, path_type=Path)
FILE = click.Path(dir_okay=False, path_type=Path)


INTERRUPTED, TERMINATED, NOBODY_READS = 130, 143, 141
"""Exit codes of a shell for SIGINT, SIGTERM and SIGPIPE."""

KEPT = {
    "score": "finished batches are kept below the output, the same command goes on there",
    "quickstart": "finished batches are kept below the output, the same command goes on there",
    "prepare": "no data set was written or changed, downloads are kept; the same command begins again",
    "check": "a check keeps nothing; run it again",
    "leaderboard": "files are whole, old or new; the same command makes them again",
}
"""Command -> what is left of an interrupted run and how to go on; the rest changes nothing before it ends."""

OWN_WORDS = ("train", "study")
"""Commands that say it themselves, with the epoch or the run."""


class Terminated(KeyboardInterrupt):
    """SIGTERM, which is to end a run as Ctrl-C does."""


class Report(Protocol):
    """What a function of the API returns: text by ``str``, and plain values."""

    def to_json(self) -> object:
        """Plain values at full precision."""


class Commands(click.Group):
    """A group that prints an ``XferbenchError`` as one line and exits with its code, and ends an interrupted run in one line."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's own signature
        """Run the chosen command."""
        try:
            return super().invoke(ctx)
        except XferbenchError as error:
            _stop(f"Error: {error}", error.exit_code)
        except BrokenPipeError:
            sys.exit(NOBODY_READS)
        except KeyboardInterrupt as stop:
            code = TERMINATED if isinstance(stop, Terminated) else INTERRUPTED
            name = ctx.invoked_subcommand or ""
            if name in OWN_WORDS:
                sys.exit(code)
            _stop(f"stopped: {KEPT.get(name, 'nothing was changed; run the command again')}", code)


def _stop(message: str, code: int) -> NoReturn:
    """Print one line to stderr and leave."""
    click.echo(" ".join(message.split("\n")), err=True)
    sys.exit(code)


def note(message: str) -> None:
    """Something a user should know, on stderr."""
    click.echo(message, err=True)


def show(report: Report, *, as_json: bool) -> None:
    """A result on stdout: text for people, or JSON for machines."""
    if as_json:
        click.echo(json.dumps(report.to_json(), indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False))
    else:
        click.echo(str(report))


def show_json(value: object) -> None:
    """Plain values on stdout."""
    click.echo(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False))


def words(_context: object, _parameter: object, value: str | None) -> tuple[str, ...]:
    """Comma-separated words, as the callback of an option."""
    return tuple(filter(None, map(str.strip, (value or "").split(","))))


def numbers(context: object, parameter: object, value: str | None) -> tuple[float, ...]:
    """Comma-separated numbers, as the callback of an option."""
    try:
        return tuple(float(word) for word in words(context, parameter, value))
    except ValueError as error:
        raise click.BadParameter(f"write numbers joined by commas, such as 0.01,0.1,1 ({error})") from error


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """The ``--json`` option."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")(command)


def cache_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """The option that says where data sets live."""
    return click.option(
        "--cache-dir", type=DIRECTORY, help="Instead of $XFERBENCH_CACHE or the user's cache directory."
    )(command)


def data_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of a command that may have to prepare a data set."""
    offline = click.option("--offline", is_flag=True, help="Never use the network. Also: XFERBENCH_OFFLINE=1.")
    return offline(cache_option(command))
