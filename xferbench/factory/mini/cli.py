"""The commands of this room: parse, call one function, print."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from xferbench.cli.common import DIRECTORY, FILE, Commands, json_option, note, show
from xferbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@click.group(cls=Commands)
def mini() -> None:
    """The density-functional calculations of mini."""


@mini.command("work")
@click.argument("directory", type=DIRECTORY)
@click.option(
    "--part", default="1/1", show_default=True, help="i/n: the i-th of n workers, each with a file of its own."
)
@click.option("--budget", type=float, default=60.0, show_default=True, help="Minutes after which nothing is begun.")
@click.argument("crystals", nargs=-1)
def mini_work(directory: Path, crystals: Sequence[str], *, part: str, budget: float) -> None:
    """Compute what is missing, or all copies of the named CRYSTALS, into a file in DIRECTORY. May be killed at any moment."""
    from xferbench.factory.mini import collect, work

    index, number = _part(part)
    out = directory / f"records-{index}.jsonl"
    worked = work.work(
        out,
        others=[collect.RECORDS, *sorted(path for path in directory.glob("records-*.jsonl") if path != out)],
        scans=collect.SCANS,
        part=(index, number),
        budget_minutes=budget,
        names=list(crystals) or None,
        progress=note,
    )
    click.echo(worked)


@mini.command("collect")
@click.argument("files", nargs=-1, type=FILE, required=True)
@click.option("--first-edition", is_flag=True, help="Only records whose mesh passes the rule of the second edition.")
def mini_collect(files: Sequence[Path], *, first_edition: bool) -> None:
    """Add the finished records of FILES, which may still grow, to the committed ones."""
    from xferbench.factory.mini import collect

    add = collect.collect_first_edition if first_edition else collect.collect
    click.echo(f"{add(files)} new records in {collect.RECORDS}")


@mini.command("status")
@click.argument("files", nargs=-1, type=FILE)
@json_option
def mini_status(files: Sequence[Path], *, as_json: bool) -> None:
    """What there is of the list and what is missing, in the committed records and those of FILES."""
    from xferbench.factory.mini import collect, status

    show(status.status([collect.RECORDS, *files], collect.SCANS), as_json=as_json)


@mini.command("build")
@click.argument("out", type=FILE)
@click.option("--card", type=FILE, help="Also write the card, its figures counted from the table.")
def mini_build(out: Path, *, card: Path | None) -> None:
    """Turn the finished crystals of the committed records into OUT, the Parquet file of the second edition."""
    from xferbench.factory.mini import collect, edition

    click.echo(edition.build([collect.RECORDS], collect.SCANS, out, card))


@mini.command("publish")
@click.argument("root", type=DIRECTORY, default=".")
def mini_publish(root: Path) -> None:
    """Put the second edition in the place of the first in the checkout ROOT: table, card, version, pins of the tasks."""
    from xferbench.factory.mini import collect, publishing

    click.echo(publishing.publish(root, [collect.RECORDS], collect.SCANS))


@mini.command("verify")
@click.argument("records", nargs=-1)
@click.option("--file", "path", type=FILE, help="Record file; default: the committed one.")
@click.option("--fraction", type=float, default=0.05, show_default=True, help="Of all records, if none are named.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of that choice.")
def mini_verify(records: Sequence[str], *, path: Path | None, fraction: float, seed: int) -> None:
    """Recompute records, named or drawn at random, and compare them with the stored numbers."""
    from xferbench.factory.mini import collect, verify

    verify.verify(path or collect.RECORDS, records, fraction=fraction, seed=seed, progress=click.echo)


@mini.command("atoms")
@click.argument("records", type=FILE)
@click.option("--budget", type=float, default=60.0, show_default=True, help="Minutes after which no new atom is begun.")
@click.option("--elements", help="Only these, comma-separated; default: all of mini.")
def mini_atoms(records: Path, *, budget: float, elements: str | None) -> None:
    """Compute the isolated atoms that RECORDS (JSON lines) does not have yet, and append them."""
    from xferbench.factory.mini import isolated_atoms

    chosen = None if elements is None else [item.strip() for item in elements.split(",") if item.strip()]
    click.echo(isolated_atoms.generate_atoms(records, budget_minutes=budget, elements=chosen, progress=note))


@mini.command("accuracy")
@click.argument("directory", type=DIRECTORY)
@click.option("--each", type=click.IntRange(0), default=6, show_default=True, help="Crystals of each kind of bonding.")
@click.option("--budget", type=float, default=60.0, show_default=True, help="Minutes of computing; 0: only the table.")
@json_option
def mini_accuracy(directory: Path, *, each: int, budget: float, as_json: bool) -> None:
    """Measure errors of k points, cutoff, width and shear stress on finished crystals: checks into DIRECTORY, then a table."""
    from xferbench.factory.mini import accuracy, collect

    out = directory / "records-checks.jsonl"
    others = [collect.RECORDS, *sorted(path for path in directory.glob("records-*.jsonl") if path != out)]
    if budget > 0:
        note(
            str(
                accuracy.measure(
                    out, others=others, scans=collect.SCANS, each=each, budget_minutes=budget, progress=note
                )
            )
        )
    show(accuracy.table([*others, *([out] if out.exists() else [])], collect.SCANS), as_json=as_json)


def _part(text: str) -> tuple[int, int]:
    """``i/n`` as two numbers."""
    numbers = text.split("/")
    if len(numbers) != 2 or not all(item.isdigit() for item in numbers) or not 1 <= int(numbers[0]) <= int(numbers[1]):
        raise UsageError(f"--part must be i/n with 1 <= i <= n, for example 1/2, not {text!r}")
    return int(numbers[0]), int(numbers[1])
