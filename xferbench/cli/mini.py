"""The embedded data set: extend, build and verify it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from xferbench.cli.common import FILE, Commands, note
from xferbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@click.group(cls=Commands)
def mini() -> None:
    """Our own DFT pairs and isolated atoms: extend, build and verify them."""


@mini.command("generate")
@click.argument("records", type=FILE)
@click.option("--budget", type=float, default=60.0, show_default=True, help="Minutes after which no new pair is begun.")
@click.option("--part", default="0/1", show_default=True, help="i/n: every n-th seed structure, starting at i.")
@click.option("--kinds", help="Perturbations, comma-separated; default: all.")
@click.option("--elements", help="Only structures made of these elements, comma-separated.")
@click.option("--spin", is_flag=True, help="The magnetic structures instead of the others.")
@click.option("--limit", type=click.IntRange(1), default=400, show_default=True, help="Seconds per calculation.")
def mini_generate(
    records: Path, *, budget: float, part: str, kinds: str | None, elements: str | None, spin: bool, limit: int
) -> None:
    """Run GPAW for pairs that RECORDS (JSON lines) does not have yet, and append them. Resumable."""
    from xferbench.sources.mini import generate

    generated = generate.generate(
        records,
        budget_minutes=budget,
        part=_part(part),
        kinds=_split(kinds),
        elements=_split(elements),
        spin=spin,
        limit_seconds=limit,
        progress=note,
    )
    click.echo(generated)


@mini.command("atoms")
@click.argument("records", type=FILE)
@click.option("--budget", type=float, default=60.0, show_default=True, help="Minutes after which no new atom is begun.")
@click.option("--elements", help="Only these, comma-separated; default: all of mini.")
@click.option("--limit", type=click.IntRange(1), default=1200, show_default=True, help="Seconds per calculation.")
def mini_atoms(records: Path, *, budget: float, elements: str | None, limit: int) -> None:
    """Run GPAW for isolated atoms that RECORDS (JSON lines) does not have yet, and append them. Resumable."""
    from xferbench.sources.mini import isolated_atoms

    generated = isolated_atoms.generate_atoms(
        records, budget_minutes=budget, elements=_split(elements), limit_seconds=limit, progress=note
    )
    click.echo(generated)


@mini.command("build")
@click.option("--records", type=FILE, help="JSON lines; default: those in the package.")
@click.option("-o", "--out", type=FILE, help="Parquet; default: the one in the package.")
def mini_build(records: Path | None, out: Path | None) -> None:
    """Turn records into the embedded Parquet file. The same records give the same bytes."""
    from xferbench.sources.mini import build

    click.echo(build.build(records, out))


@mini.command("verify")
@click.argument("records", nargs=-1)
@click.option(
    "-n", type=click.IntRange(1), default=1, show_default=True, help="Recompute N cheap pairs if no RECORDS are named."
)
def mini_verify(records: Sequence[str], n: int) -> None:
    """Recompute records with GPAW and compare them with the stored numbers. Needs `xferbench[dft]`."""
    from xferbench.sources.mini import verify

    click.echo("\n".join(map(str, verify.verify(records, n=n, progress=note))))


def _split(text: str | None) -> list[str] | None:
    return None if text is None else [item.strip() for item in text.split(",") if item.strip()]


def _part(text: str) -> tuple[int, int]:
    """``i/n`` as two numbers."""
    numbers = text.split("/")
    if len(numbers) != 2 or not all(item.isdigit() for item in numbers) or not int(numbers[0]) < int(numbers[1]):
        raise UsageError(f"--part must be i/n with i < n, for example 0/2, not {text!r}")
    return int(numbers[0]), int(numbers[1])
