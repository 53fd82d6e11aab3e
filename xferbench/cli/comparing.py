"""Results against each other: compare, gap, fit-scaling."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

import xferbench as xb
from xferbench.cli.common import DIRECTORY, FILE, data_options, json_option, note, show

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
@click.option("--dataset", help="Name or path of a prepared data set; default: the one that the task pins.")
@data_options
@json_option
def compare(
    models: Sequence[str],
    *,
    task: str,
    metric: str | None,
    out: Path,
    dataset: str | None,
    cache_dir: Path | None,
    offline: bool,
    as_json: bool,
) -> None:
    """Do models differ? Paired differences, p-values after Holm, ties and rank intervals, from stored predictions.

    MODELS: two or more of model ids with a result below --out, floors such as floor:ridge, result .json files, and
    predictions .parquet files.
    """
    report = xb.compare(
        models, task=task, metric=metric, out=out, dataset=dataset, cache_dir=cache_dir, offline=offline, say=note
    )
    show(report, as_json=as_json)


@click.command()
@click.argument("target", type=FILE)
@click.argument("source", type=FILE)
@click.option("-t", "--task", default="mini-static", show_default=True, help="A target task: id or TOML file.")
@click.option("--dataset", help="Name or path of a prepared data set; default: the one that the task pins.")
@data_options
@json_option
def gap(
    target: Path, source: Path, *, task: str, dataset: str | None, cache_dir: Path | None, offline: bool, as_json: bool
) -> None:
    """What two models, one per functional, say of the difference of the functionals.

    TARGET and SOURCE: predictions (.parquet) of the two models for the same structures.
    """
    report = xb.gap(target, source, task=task, dataset=dataset, cache_dir=cache_dir, offline=offline, say=note)
    show(report, as_json=as_json)


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
@json_option
def fit_scaling(
    table: Path, *, first: float, last: float, floor: bool, versus: tuple[str, ...], seed: int, as_json: bool
) -> None:
    """Fit power laws to errors against training structures, with intervals.

    TABLE is a CSV file: a column of sizes, then one column of errors for each curve.
    """
    show(xb.fit_scaling(table, first=first, last=last, floor=floor, versus=versus, seed=seed), as_json=as_json)
