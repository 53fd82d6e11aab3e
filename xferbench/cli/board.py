"""The leaderboard: build it, and check what it is built from."""

from __future__ import annotations

from pathlib import Path

import click

from xferbench.cli.common import DIRECTORY, Commands, note
from xferbench.errors import CheckFailedError


@click.group(cls=Commands)
def leaderboard() -> None:
    """The leaderboard: cards and results in, a table and a page out."""


@leaderboard.command("build")
@click.argument("directory", type=DIRECTORY, default=Path("leaderboard"))
def leaderboard_build(directory: Path) -> None:
    """Make README.md and index.html from models/*.toml and results/*/*.json in DIRECTORY."""
    from xferbench import leaderboard as board

    report = board.build(directory)
    click.echo(f"{report.readme}\n{report.page}")


@click.command()
@click.argument("root", type=DIRECTORY, default=Path())
def validate(root: Path) -> None:
    """Check every task, card and result below ROOT, and score stored predictions again."""
    from xferbench import workflow

    lines, problems = workflow.validate(root, say=note)
    click.echo("\n".join(lines))
    if problems:
        click.echo("\n".join(problems))
        raise CheckFailedError(f"{len(problems)} problem(s) below {root}")
