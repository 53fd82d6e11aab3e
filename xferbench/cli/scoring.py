"""Models: score them, check them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click

from xferbench.cli.common import DIRECTORY, FILE, as_json, cached, note, show_json
from xferbench.errors import CheckFailedError


@click.command()
@click.option(
    "-o", "--out", type=DIRECTORY, default=Path("xferbench-quickstart"), show_default=True, help="Where results go."
)
@click.option("--device", default="cpu", show_default=True, help="What torch calls it: cpu, cuda, cuda:1, mps.")
def quickstart(out: Path, device: str) -> None:
    """Score three CHGNet models and the floors on the embedded DFT pairs, and write an HTML report."""
    from xferbench import workflow

    report = workflow.quickstart(out, device=device, say=note)
    click.echo(report.table)
    click.echo(f"\nReport: {report.page.resolve()}")


@click.command()
@click.argument("model")
@click.option("-t", "--task", default="mini-static", show_default=True, help="Task id or TOML file.")
@click.option("-o", "--out", type=DIRECTORY, default=Path("xferbench-out"), show_default=True, help="Where results go.")
@click.option("--dataset", "directory", type=DIRECTORY, help="A prepared data set; default: in the cache.")
@click.option("--device", default="cpu", show_default=True, help="What torch calls it: cpu, cuda, cuda:1, mps.")
@click.option("--engine", help="Run a built-in model another way; for chgnet: xferbench (default) or chgnet.")
@click.option(
    "--batch-size", type=click.IntRange(1), default=16, show_default=True, help="Structures per call of the model."
)
@click.option("--limit", type=click.IntRange(1), help="Only the first N test frames: for testing, never for a board.")
@click.option(
    "--timeout", type=click.FloatRange(0, min_open=True), default=600.0, show_default=True, help="Seconds per batch."
)
@click.option(
    "--resume/--no-resume", default=True, show_default=True, help="Continue an interrupted run, or start anew."
)
@click.option("--allow-missing", is_flag=True, help="Count frames that a predictions file lacks as failed.")
@click.option("--model-id", help="Name of the row, for a predictions file.")
@click.option("--functional", help="What the model reproduces, for a predictions file: PBE, PBE+U or r2SCAN.")
@click.option(
    "--audit", type=FILE, help="Audit of the training set, from `xferbench audit`: scores all and clean frames."
)
@cached
@as_json
def score(model: str, *, json_output: bool, **options: Any) -> None:  # noqa: ANN401 - click's options
    """Score a model: model.py, a built-in such as chgnet:r2scan, floor:copy-gga, or a predictions .parquet.

    The model runs in a process of its own that is handed structures only, never labels. A run that was interrupted
    continues where it stopped.
    """
    from xferbench import workflow

    report = workflow.score(workflow.Request(model=model, progress=True, say=note, **options))
    if json_output:
        show_json([dataclasses.asdict(result) for result in report.results])
    else:
        click.echo(report.table)
    for path in report.written:
        note(f"wrote {path}")


@click.command()
@click.argument("model")
@click.option("--device", default="cpu", show_default=True, help="What torch calls it: cpu, cuda, cuda:1, mps.")
@click.option(
    "--timeout", type=click.FloatRange(0, min_open=True), default=600.0, show_default=True, help="Seconds in all."
)
@as_json
def check(model: str, *, device: str, timeout: float, json_output: bool) -> None:
    """Test a model against the contract: shapes, units, signs, gradients, symmetries."""
    from xferbench import workflow

    results = workflow.check_model(model, device=device, timeout=timeout)
    if json_output:
        show_json([dataclasses.asdict(result) for result in results])
    else:
        click.echo(workflow.checks_table(results))
    failed = [result.name for result in results if result.passed is False]
    if failed:
        raise CheckFailedError(f"{model} fails {len(failed)} of {len(results)} checks: {', '.join(failed)}")
