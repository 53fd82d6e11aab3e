"""The leaderboard: build it, and check what it is built from."""

from __future__ import annotations

from pathlib import Path

import click

import xferbench as xb
from xferbench.cli.common import DIRECTORY, Commands, json_option, note, show
from xferbench.errors import CheckFailedError


@click.group(cls=Commands)
def leaderboard() -> None:
    """The leaderboard: cards, results and predictions in, a site and a README out."""


@leaderboard.command("build")
@click.argument("directory", type=DIRECTORY, default=Path("leaderboard"))
@click.option("--cache-dir", type=DIRECTORY, help="Instead of $XFERBENCH_CACHE or the user's cache directory.")
def leaderboard_build(directory: Path, cache_dir: Path | None) -> None:
    """Make the site and README.md of DIRECTORY from its cards, results and predictions."""
    report = xb.build_leaderboard(directory, cache_dir=cache_dir, say=note)
    for key, reason in report.untested.items():
        note(f"{key}: the order is not tested: {reason}")
    click.echo(f"{report.readme}\n{report.page}")


OUT = click.option(
    "-o", "--out", type=DIRECTORY, default=Path("xferbench-out"), show_default=True, help="Where `score` put results."
)


@click.group(cls=Commands)
def card() -> None:
    """What a model is, in one TOML file, for a board."""


@card.command("new")
@click.argument("model")
@OUT
@json_option
def card_new(model: str, *, out: Path, as_json: bool) -> None:
    """Begin the card of MODEL, a model.py or its id, from its results; what only its authors know is left empty."""
    show(xb.new_card(model, out=out), as_json=as_json)


@click.command()
@click.argument("model")
@OUT
@click.option(
    "--board", type=DIRECTORY, default=Path("leaderboard"), show_default=True, help="The board, in a checkout of yours."
)
@click.option("--replace", is_flag=True, help="The board has this model already, and it is yours.")
@click.option("--dry-run", is_flag=True, help="Only check.")
@json_option
def submit(model: str, *, out: Path, board: Path, replace: bool, dry_run: bool, as_json: bool) -> None:
    """Check card, results and predictions of MODEL, copy them into a checkout of the board, and say what to do next."""
    show(xb.submit(model, out=out, board=board, replace=replace, dry_run=dry_run, say=note), as_json=as_json)


@click.command()
@click.argument("root", type=DIRECTORY, default=Path())
@click.option("--model", metavar="ID", help="Only the card and the results of this model.")
@click.option(
    "--allow-self-reported", is_flag=True, help="Results without stored predictions are only read, not a problem."
)
def verify(root: Path, *, model: str | None, allow_self_reported: bool) -> None:
    """Check every task, card and result below ROOT, and score stored predictions again."""
    report = xb.verify(root, model=model, allow_self_reported=allow_self_reported, say=note)
    click.echo(str(report))
    if report.problems:
        raise CheckFailedError(f"{len(report.problems)} problem(s) below {root}")


@click.command()
@click.argument("directory", type=DIRECTORY, default=Path("leaderboard"))
@click.option("--dry-run", is_flag=True, help="Only say what would move.")
def rescore(directory: Path, *, dry_run: bool) -> None:
    """Bring the results of the board in DIRECTORY up to date from its stored predictions, and say what moved."""
    click.echo(str(xb.rescore(directory, dry_run=dry_run, say=note)))
