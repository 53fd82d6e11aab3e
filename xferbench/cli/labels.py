"""What the labels of a data set say without any model: elemental references, and the gap between the functionals."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import click

from xferbench.cli.common import DIRECTORY, FILE, Commands, as_json, cached, note, show_json

if TYPE_CHECKING:
    from pathlib import Path


@click.group(cls=Commands)
def refs() -> None:
    """Elemental reference energies."""


@refs.command("fit")
@click.argument("dataset", default="mini")
@click.option("-f", "--functional", help="PBE, PBE+U or r2SCAN; default: each one the data set has.")
@click.option("--split", default="train", show_default=True, help="The frames to fit on.")
@click.option("--elements", help="Elements that must be covered, comma-separated; one without data is an error.")
@click.option("--allow-missing", is_flag=True, help="List elements without data instead of stopping.")
@click.option("-o", "--out", type=FILE, help="Also write the references as JSON.")
@cached
@as_json
def refs_fit(dataset: str, *, out: Path | None, json_output: bool, **options: Any) -> None:  # noqa: ANN401 - click's options
    """Fit eV per element by least squares on composition fractions, per functional (seed paper, Eq. 2)."""
    from xferbench import workflow
    from xferbench.storage import write_json

    fits = workflow.fit_references(dataset, **options)
    if out is not None:
        write_json(out, [dataclasses.asdict(fit) for fit in fits])
        note(f"wrote {out}")
    if json_output:
        show_json([dataclasses.asdict(fit) for fit in fits])
    else:
        click.echo("\n\n".join(workflow.references_table(fit) for fit in fits))


@refs.command("compare")
@click.argument("dataset", default="mini")
@click.option("--predictions", type=FILE, help="Of a GGA model for the r2SCAN frames, for the model-aware scheme.")
@click.option(
    "--atoms",
    type=FILE,
    help="Energies of isolated atoms, JSON or CSV, of the code that made the labels; default: the data set's.",
)
@click.option("--curve", is_flag=True, help="Also the error against the number of labelled structures.")
@click.option(
    "--resamples",
    "n_resamples",
    type=click.IntRange(1),
    default=200,
    show_default=True,
    help="Of the materials, for every interval.",
)
@click.option("-o", "--out", type=FILE, help="Also write a page (.md) or full precision (.json).")
@cached
@as_json
def refs_compare(dataset: str, *, out: Path | None, json_output: bool, **options: Any) -> None:  # noqa: ANN401 - click's options
    """Compare ways to choose elemental references, each judged on materials it was not fitted to.

    DATASET is a name or a prepared directory.
    """
    from xferbench import workflow
    from xferbench.workflow import referencing_report

    report = workflow.compare_references(dataset, **options)
    if out is not None:
        referencing_report.write(report, out)
        note(f"wrote {out}")
    if json_output:
        show_json(report.to_json())
    else:
        click.echo(referencing_report.text(report))


@click.command()
@click.argument("dataset", default="mini")
@click.option(
    "-o", "--out", type=DIRECTORY, help="Write tables, SVG figures, a Markdown report and one HTML page here."
)
@click.option("--png", is_flag=True, help='Write the figures as PNG too; needs pip install "xferbench[png]".')
@click.option("--split", type=click.Choice(["train", "val", "test"]), help="Only these pairs; default: all.")
@click.option("--functional", help="PBE or PBE+U, which are never pooled; default: the one most pairs have.")
@click.option(
    "--resamples", "n_resamples", type=click.IntRange(1), default=1000, show_default=True, help="Of the materials."
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Of resamples, trees and permutations."
)
@cached
@as_json
def analyze(
    dataset: str,
    *,
    out: Path | None,
    png: bool,
    cache_dir: Path | None,
    offline: bool,
    json_output: bool,
    **options: Any,  # noqa: ANN401 - click's options
) -> None:
    """How far GGA and r2SCAN labels differ, before and after referencing. DATASET is a name or a prepared directory."""
    from xferbench import workflow
    from xferbench.analysis import Settings

    report = workflow.analyze(dataset, Settings(**options), out=out, png=png, cache_dir=cache_dir, offline=offline)
    if json_output:
        show_json(report.analysis.to_json())
    else:
        click.echo(report.table)
    for path in report.written:
        note(f"wrote {path}")
