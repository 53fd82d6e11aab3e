"""Results against each other: compare, gap, fit-scaling."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xferbench.cli.common import DIRECTORY, FILE, as_json, cached, note, show_json

if TYPE_CHECKING:
    from collections.abc import Sequence


@click.command()
@click.argument("models", nargs=-1, required=True)
@click.option("-t", "--task", default="mini-static", show_default=True, help="Task id or TOML file.")
@click.option("-m", "--metric", help="Key of one of the task's metrics, such as force_mae; default: the main one.")
@click.option(
    "-o",
    "--out",
    type=DIRECTORY,
    default=Path("xferbench-out"),
    show_default=True,
    help="Where results and predictions of model ids lie; a leaderboard directory is one.",
)
@click.option("--dataset", "directory", type=DIRECTORY, help="A prepared data set; default: in the cache.")
@cached
@as_json
def compare(models: Sequence[str], *, json_output: bool, **options: Any) -> None:  # noqa: ANN401 - click's options
    """Do models differ? Paired differences, p-values after Holm, ties and rank intervals, from stored predictions.

    MODELS: two or more of model ids with a result below --out, floors such as floor:ridge, result .json files, and
    predictions .parquet files.
    """
    from xferbench import workflow

    report = workflow.compare(models, say=note, **options)
    if json_output:
        show_json(report.to_json())
    else:
        click.echo(workflow.comparison_table(report))


@click.command()
@click.argument("r2scan", type=FILE)
@click.argument("gga", type=FILE)
@click.option("-t", "--task", default="mini-static", show_default=True, help="An r2SCAN task: id or TOML file.")
@click.option("--dataset", "directory", type=DIRECTORY, help="A prepared data set; default: in the cache.")
@cached
@as_json
def gap(r2scan: Path, gga: Path, *, json_output: bool, **options: Any) -> None:  # noqa: ANN401 - click's options
    """What two models, one per functional, say of the difference of the functionals.

    R2SCAN and GGA: predictions (.parquet) of the two models for the same structures.
    """
    from xferbench import workflow

    report = workflow.gap(r2scan, gga, say=note, **options)
    if json_output:
        show_json(report.to_json())
    else:
        click.echo(workflow.gap_table(report))


@click.command("fit-scaling")
@click.argument("table", type=FILE)
@click.option(
    "--from",
    "first",
    type=click.FloatRange(0, min_open=True),
    required=True,
    help="Smallest number of structures to fit; decide it before looking.",
)
@click.option(
    "--to", "last", type=click.FloatRange(0, min_open=True), default=float("inf"), help="Largest number; default: all."
)
@click.option("--floor", is_flag=True, help="Fit an irreducible error too: a·n^-b + c.")
@click.option(
    "--versus", multiple=True, help="first:second, two columns: where they cross, what first is worth in data."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the intervals.")
@as_json
def fit_scaling(table: Path, *, json_output: bool, **options: Any) -> None:  # noqa: ANN401 - click's options
    """Fit power laws to errors against training structures, with intervals.

    TABLE is a CSV file: a column of sizes, then one column of errors for each curve.
    """
    from xferbench import workflow

    report = workflow.fit_scaling(table, **options)
    if json_output:
        show_json(report.to_json())
    else:
        click.echo(workflow.scaling_table(report))
