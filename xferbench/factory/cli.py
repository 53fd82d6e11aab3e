"""The maintainers' commands: ``python -m xferbench.factory``."""

from __future__ import annotations

from pathlib import Path

import click

from xferbench.cli.common import DIRECTORY, Commands, cache_option, json_option, show
from xferbench.factory.mini.cli import mini


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
def main() -> None:
    """Make the data that studies and the package itself are built on. Users need none of this."""


@main.command()
@click.argument("name", default="synthetic-teacher")
@click.option("-o", "--out", type=DIRECTORY, help="Where to write; default: in the cache.")
@click.option(
    "--from",
    "paths",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="PATH",
    help="Read the chunks of another machine instead of labelling. Repeatable.",
)
@cache_option
@json_option
def synthetic(name: str, *, out: Path | None, paths: tuple[Path, ...], cache_dir: Path | None, as_json: bool) -> None:
    """Prepare NAME, synthetic-teacher or synthetic-teacher-dense: crystals labelled by two CHGNets, to study methods."""
    from xferbench.factory import synthetic as room

    show(room.prepare(name, out=out, paths=paths, cache_dir=cache_dir), as_json=as_json)


main.add_command(mini)


def run() -> None:
    """What ``python -m xferbench.factory`` runs."""
    main(prog_name="python -m xferbench.factory")
