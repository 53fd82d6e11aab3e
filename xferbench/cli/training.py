"""Training: transfer a potential from GGA to r2SCAN."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from xferbench.cli.common import DIRECTORY, FILE, as_json, cached, note, show_json

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@click.argument("method")
@click.argument("dataset", default="mini")
@click.option("-o", "--out", type=DIRECTORY, help="Directory of the run; default: runs/METHOD-DATASET-seedN.")
@click.option("--preset", default="paper", show_default=True, help="Settings to begin with: paper or small.")
@click.option("--config", type=FILE, help="TOML with settings, such as the config.toml of another run.")
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Any setting: loss.energy=1, options.rank=4."
)
@click.option("--start", help="CHGNet to start from: 0.3.0 (default), r2scan, or a .pth.tar.")
@click.option("--subset", type=float, help="Fraction of the training materials; smaller ones lie inside larger ones.")
@click.option("--epochs", type=int, help="Passes over the training frames.")
@click.option("--batch-size", type=int, help="Frames per step of the optimiser.")
@click.option("--lr", type=float, help="Learning rate at the start.")
@click.option("--seed", type=int, help="Of weights and order.")
@click.option("--device", help="What torch calls it: cpu, cuda, cuda:1.")
@click.option("--threads", type=int, help="Of torch on a CPU.")
@click.option("--resume", is_flag=True, help="Continue a run that was interrupted, to the same result.")
@cached
@as_json
def train(
    method: str,
    dataset: str,
    *,
    out: Path | None,
    preset: str,
    config: Path | None,
    settings: tuple[str, ...],
    resume: bool,
    cache_dir: Path | None,
    offline: bool,
    json_output: bool,
    **options: Any,  # noqa: ANN401 - click's options
) -> None:
    """Train METHOD (see `xferbench list methods`) on DATASET, a name or a prepared directory; evaluate and export it.

    Started by torchrun, the processes train together.
    """
    from xferbench import workflow

    request = workflow.TrainRequest(
        method=method,
        dataset=dataset,
        out=out,
        preset=preset,
        config=config,
        settings=settings,
        options=options,
        resume=resume,
        progress=True,
        cache_dir=cache_dir,
        offline=offline,
    )
    try:
        run = workflow.train(request)
    except KeyboardInterrupt as stop:
        note(f"{stop or 'stopped'}; continue with the same command and --resume")
        raise
    if os.environ.get("RANK", "0") != "0":
        return  # of the processes that torchrun started, the first one speaks
    if json_output:
        show_json({"run": str(run.directory), **run.evaluation})
    else:
        click.echo(workflow.training_table(run))
    if run.evaluation["left_out"]:
        note(f"left out {len(run.evaluation['left_out'])} training frames with isolated atoms, see evaluation.json")
    note(f"best epoch {run.best_epoch}; score it with: xferbench score {run.model}")
