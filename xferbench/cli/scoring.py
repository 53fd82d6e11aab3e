"""Models: score them, check them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import xferbench as xb
from xferbench.cli.common import DIRECTORY, FILE, data_options, json_option, note, show
from xferbench.errors import CheckFailedError

if TYPE_CHECKING:
    from collections.abc import Callable


@click.command()
@click.option(
    "-o", "--out", type=DIRECTORY, default=Path("xferbench-quickstart"), show_default=True, help="Where results go."
)
@click.option("--device", default="cpu", show_default=True, help="What torch calls it: cpu, cuda, cuda:1, mps.")
def quickstart(out: Path, device: str) -> None:
    """Score three CHGNet models and the floors on the embedded DFT pairs, and write an HTML report."""
    report = xb.quickstart(out, device=device, progress=True, say=note)
    show(report, as_json=False)
    click.echo(f"\nReport: {report.page.resolve()}")


def running(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say how a model is run; the command hands them on."""
    for option in (
        click.option("--memory", type=click.FloatRange(0, min_open=True), help="GiB it may have; default: of the machine, any on a GPU."),
        click.option("--pass-env", multiple=True, metavar="NAME", help="Hand it this environment variable, too."),
        click.option("--read", multiple=True, type=click.Path(exists=True, path_type=Path), help="Show it this under bwrap: weights outside its folder."),
        click.option("--sandbox", type=click.Choice(["auto", "bwrap", "process", "none"]), default="auto", show_default=True, help="How it is kept apart; see docs/security.md."),
        click.option("--timeout", type=click.FloatRange(0, min_open=True), default=600.0, show_default=True, help="Seconds per call."),
        click.option("--threads", type=click.IntRange(1), help="Of each worker; default: one if there are several."),
        click.option("--env", type=DIRECTORY, help="The model's virtual environment, instead of --python."),
        click.option("--python", type=FILE, help="The interpreter that runs the model; default: of its env.toml, else this one."),
        click.option("--device", default="cpu", show_default=True, help="What its framework calls it: cpu, cuda, cuda:0,cuda:1, mps."),
    ):  # fmt: skip
        command = option(command)
    return command


@click.command()
@click.argument("model")
@click.option(
    "-t",
    "--task",
    help="Task id or TOML file; default: mini-static, or with --dataset the static task of that data set.",
)
@click.option("-o", "--out", type=DIRECTORY, default=Path("xferbench-out"), show_default=True, help="Where results go.")
@click.option("--dataset", help="Name or path of a prepared data set, your own too; default: the one the task pins.")
@click.option("--engine", help="Run a built-in model another way; for chgnet: xferbench (default) or chgnet.")
@running
@click.option(
    "--batch-atoms", type=click.IntRange(1), default=512, show_default=True, help="Atoms per call of the model."
)
@click.option(
    "--workers", type=click.IntRange(1), default=1, show_default=True, help="Copies of the model on this machine."
)
@click.option("--ray", metavar="ADDRESS", help="Run on a Ray cluster; local: on one of this machine.")
@click.option("--shard", metavar="I/N", help="Predict only this part, for a job array; see `xferbench merge`.")
@click.option("--limit", type=click.IntRange(1), help="Only the first N test frames: for testing, never for a board.")
@click.option(
    "--resume/--no-resume", default=True, show_default=True, help="Continue an interrupted run, or start anew."
)
@click.option("--allow-missing", is_flag=True, help="Count frames that a predictions file lacks as failed.")
@click.option("--model-id", help="Name of the row, for a predictions file.")
@click.option(
    "--functional", help="Which head to ask, of a model with several; what it reproduces, for a predictions file."
)
@click.option(
    "--audit", type=FILE, help="Audit of the training set, from `xferbench audit`: scores all and clean frames."
)
@data_options
@json_option
def score(
    model: str,
    *,
    task: str | None,
    out: Path,
    dataset: str | None,
    engine: str | None,
    batch_atoms: int,
    workers: int,
    ray: str | None,
    shard: str | None,
    limit: int | None,
    resume: bool,
    allow_missing: bool,
    model_id: str | None,
    functional: str | None,
    audit: Path | None,
    cache_dir: Path | None,
    offline: bool,
    as_json: bool,
    **how: Any,  # noqa: ANN401 - the options of ``running``
) -> None:
    """Score a model: model.py, a built-in such as chgnet:r2scan, floor:copy-source, or a file of predictions.

    The model runs in a process, and if you like an interpreter, of its own that is handed structures only, never labels. A run
    that was interrupted continues where it stopped.
    """
    report = xb.score(
        model,
        task=task,
        out=out,
        dataset=dataset,
        engine=engine,
        batch_atoms=batch_atoms,
        workers=workers,
        ray=ray,
        shard=shard,
        limit=limit,
        resume=resume,
        allow_missing=allow_missing,
        model_id=model_id,
        functional=functional,
        audit=audit,
        cache_dir=cache_dir,
        offline=offline,
        progress=True,
        say=note,
        **how,
    )
    show(report, as_json=as_json)
    for path in report.written:
        note(f"wrote {path}")


@click.command()
@click.argument("model")
@click.option("--functional", help="Which head, of a model with several; default: all of them.")
@running
@json_option
def check(model: str, *, functional: str | None, as_json: bool, **how: Any) -> None:  # noqa: ANN401 - the options of ``running``
    """Test a model against the contract: shapes, units, signs, gradients, symmetries, heads."""
    report = xb.check(model, functional=functional, **how)
    show(report, as_json=as_json)
    if report.failed:
        raise CheckFailedError(
            f"{model} fails {len(report.failed)} of {len(report.results)} checks: {', '.join(report.failed)}"
        )


@click.command()
@click.argument("shards", nargs=-1, required=True, type=FILE)
@click.option("-o", "--out", type=FILE, help="The file to write; default: beside the shards.")
@json_option
def merge(shards: tuple[Path, ...], out: Path | None, *, as_json: bool) -> None:
    """Join the predictions of all shards of a run; `xferbench score` then finds them done and scores them."""
    show(xb.merge(shards, out), as_json=as_json)


@click.command()
@click.argument("model")
@click.option("--functional", help="Which head, of a model with several.")
@running
@click.option("-o", "--out", type=FILE, help="A JSON file to write, too.")
@json_option
def cost(model: str, *, functional: str | None, out: Path | None, as_json: bool, **how: Any) -> None:  # noqa: ANN401 - the options of ``running``
    """Time a model on crystals of 8, 64 and 512 atoms: microseconds per atom, memory. Never part of a rank."""
    show(xb.cost(model, functional=functional, out=out, **how), as_json=as_json)
