"""From one functional to another: lift."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

import xferbench as xb
from xferbench.cli.common import FILE, data_options, json_option, note, show, words

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@click.argument("structures", type=FILE)
@click.option("--to", "target", default="r2SCAN", show_default=True, help="The functional to lift to.")
@click.option("-f", "--functional", help="That of the structures, where their file does not say.")
@click.option("--energies", type=FILE, help="A table of energies by id, for a file of structures without.")
@click.option(
    "--pairs",
    multiple=True,
    help="Pairs made with the code and potentials of the structures: a file with both functionals, FUNCTIONAL=FILE twice, or a prepared data set.",
)
@click.option(
    "--models",
    callback=words,
    help="TARGET,SOURCE: two models, model.py files or files of predictions; or one model.py that serves both functionals.",
)
@click.option("--zero", help="Where the energies come from, if they are of a kind that is known: mp, matpes, gpaw.")
@click.option(
    "--confidence",
    type=click.FloatRange(0.5, 0.99),
    default=0.9,
    show_default=True,
    help="Of the intervals.",
)
@click.option("--max-pairs", type=click.IntRange(10), default=5000, show_default=True, help="Of a large data set.")
@click.option("--device", default="cpu", show_default=True, help="For models, as the framework names it.")
@click.option("-o", "--out", type=FILE, help="Lifted structures (.extxyz), or the table (.csv).")
@data_options
@json_option
def lift(
    structures: Path,
    *,
    target: str,
    functional: str | None,
    energies: Path | None,
    pairs: tuple[str, ...],
    models: tuple[str, ...],
    zero: str | None,
    confidence: float,
    max_pairs: int,
    device: str,
    out: Path | None,
    cache_dir: Path | None,
    offline: bool,
    as_json: bool,
) -> None:
    """Energies of a target functional for STRUCTURES that have those of a source functional.

    By offsets of the elements from pairs of your own, by the difference of two models, or both.
    """
    report = xb.lift(
        structures,
        to=target,
        functional=functional,
        energies=energies,
        pairs=pairs,
        models=models,
        zero=zero,
        confidence=confidence,
        max_pairs=max_pairs,
        device=device,
        out=out,
        cache_dir=cache_dir,
        offline=offline,
    )
    show(report, as_json=as_json)
    if out is not None:
        note(f"wrote {out}")
