"""Training: transfer a potential from source to target."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

import xferbench as xb
from xferbench.cli.common import DIRECTORY, FILE, data_options, json_option, note, show

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@click.argument("dataset", default="mini")
@click.option(
    "--model", help="What to start from, ARCHITECTURE:WEIGHTS: chgnet:0.3.0 (default), sevennet:7net-0, or a file."
)
@click.option("--strategy", help="Which weights move, see `xferbench list strategies`; default: finetune.")
@click.option(
    "--references",
    metavar="SCHEME[:TRAINING]",
    help="Elemental energies to start with, a scheme of `xferbench refs compare`, then frozen, trainable, lr=0.3 or after=500; "
    "default: model-aware, from scratch fit.",
)
@click.option("--atoms", type=FILE, help="File with the energies of isolated atoms, for the schemes that need them.")
@click.option("-o", "--out", type=DIRECTORY, help="Directory of the run; default: below runs, named by its settings.")
@click.option(
    "--preset", "presets", multiple=True, help="Settings to begin with: paper-1 … paper-4, small; may be repeated."
)
@click.option("--config", type=FILE, help="TOML with settings, such as the config.toml of another run.")
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Any setting: loss.energy=1, options.rank=4."
)
@click.option("--subset", type=float, help="Fraction of the training materials; smaller ones lie inside larger ones.")
@click.option("--epochs", type=int, help="Passes over the training frames.")
@click.option("--batch-size", type=int, help="Frames per step of the optimizer.")
@click.option("--lr", type=float, help="Learning rate at the start.")
@click.option("--seed", type=int, help="Of weights and order.")
@click.option("--device", help="What torch calls it: cpu, cuda, cuda:1.")
@click.option("--threads", type=int, help="Of torch on a CPU.")
@click.option("--resume", is_flag=True, help="Continue a run that was interrupted, to the same result.")
@data_options
@json_option
def train(
    dataset: str,
    *,
    model: str | None,
    strategy: str | None,
    references: str | None,
    atoms: Path | None,
    out: Path | None,
    presets: tuple[str, ...],
    config: Path | None,
    settings: tuple[str, ...],
    subset: float | None,
    epochs: int | None,
    batch_size: int | None,
    lr: float | None,
    seed: int | None,
    device: str | None,
    threads: int | None,
    resume: bool,
    cache_dir: Path | None,
    offline: bool,
    as_json: bool,
) -> None:
    """Train on DATASET, a name or a path, with a strategy and references; evaluate and export the model.

    Started by torchrun, the processes train together.
    """
    try:
        run = xb.train(
            dataset,
            model=model,
            strategy=strategy,
            references=references,
            atoms=atoms,
            out=out,
            presets=presets,
            config=config,
            settings=settings,
            subset=subset,
            epochs=epochs,
            batch_size=batch_size,
            lr=lr,
            seed=seed,
            device=device,
            threads=threads,
            resume=resume,
            cache_dir=cache_dir,
            offline=offline,
            progress=True,
            say=note,
        )
    except KeyboardInterrupt as stop:
        note(f"{stop or 'stopped'}; continue with the same command and --resume")
        raise
    if os.environ.get("RANK", "0") != "0":
        return  # of the processes that torchrun started, the first one speaks
    show(run, as_json=as_json)
    if run.evaluation["left_out"]:
        note(f"left out {len(run.evaluation['left_out'])} training frames with isolated atoms, see evaluation.json")
    note(f"best epoch {run.best_epoch}; score it with: xferbench score {run.model}")
