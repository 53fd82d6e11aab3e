"""Studies: many training runs and what they say together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import click

from xferbench.cli.common import DIRECTORY, FILE, Commands, as_json, cached, note, show_json
from xferbench.errors import CheckFailedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def _list(_context: object, _parameter: object, value: str | None) -> tuple[str, ...]:
    """Comma-separated words."""
    return tuple(filter(None, map(str.strip, (value or "").split(","))))


def _fractions(_context: object, _parameter: object, value: str | None) -> tuple[float, ...]:
    """Comma-separated numbers."""
    try:
        return tuple(float(word) for word in _list(_context, _parameter, value))
    except ValueError as error:
        raise click.BadParameter(f"write numbers joined by commas, such as 0.01,0.1,1 ({error})") from error


def shared(command: Callable[..., Any]) -> Callable[..., Any]:
    """What both kinds of study take."""
    options = (
        click.option(
            "-o", "--out", type=DIRECTORY, required=True, help="Directory of the study; what is finished there is kept."
        ),
        click.option(
            "--seeds", "n_seeds", type=click.IntRange(1), default=3, show_default=True, help="Training seeds."
        ),
        click.option("--preset", default="paper", show_default=True, help="Settings of training: paper or small."),
        click.option("--config", "config_file", type=FILE, help="TOML with settings of training."),
        click.option(
            "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Any setting of training, such as clip=1."
        ),
        click.option(
            "--option", "options", multiple=True, metavar="METHOD:KEY=VALUE", help="Of one method, such as lora:rank=4."
        ),
        click.option("--epochs", type=int, help="Passes over the training frames of each run."),
        click.option("--device", help="What torch calls it: cpu, cuda."),
        click.option(
            "--jobs", type=click.IntRange(1), default=1, show_default=True, help="Runs at a time on this machine."
        ),
        click.option(
            "--cluster",
            type=click.Choice(["slurm", "local"]),
            help="Submit each run as a job, through submitit.",
        ),
        click.option(
            "--cluster-option",
            "cluster_options",
            multiple=True,
            metavar="KEY=VALUE",
            help="Of submitit: timeout_min=600.",
        ),
        cached,
        as_json,
    )
    for option in reversed(options):  # the last one applied is the first one in the help
        command = option(command)
    return command


@click.group(cls=Commands)
def study() -> None:
    """Studies of transfer: a grid of training runs, resumable, with tables, figures and a page."""


@study.command("methods")
@click.argument("dataset", default="mini")
@click.option("--methods", callback=_list, help="Comma-separated; default: all of `xferbench list methods`.")
@click.option("--subset", type=float, default=1.0, show_default=True, help="Fraction of the training materials.")
@shared
def study_methods(dataset: str, *, subset: float, **options: Any) -> None:  # noqa: ANN401 - click's options
    """Compare transfer methods on DATASET over training seeds: errors, negative transfer, gain, forgetting."""
    _conduct("methods", dataset, subsets=(subset,), **options)


@study.command("scaling")
@click.argument("dataset", default="mini")
@click.option(
    "--methods", callback=_list, default="scratch,finetune-refit-refs", show_default=True, help="Comma-separated."
)
@click.option(
    "--sizes",
    "subsets",
    callback=_fractions,
    default="0.01,0.02,0.05,0.1,0.2,0.5,1",
    show_default=True,
    help="Fractions of the training materials, each inside the next.",
)
@click.option(
    "--fit-from",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Smallest number of r2SCAN training frames that the power laws are fitted to; declare it before looking.",
)
@shared
def study_scaling(dataset: str, **options: Any) -> None:  # noqa: ANN401 - click's options
    """Follow test errors on DATASET over nested training sets: exponents, data equivalence, crossings.

    Elemental references are fitted to all training energies, so that all sizes predict the same test frames; `--set
    reference_data=subset` fits them to what each run may see.
    """
    options["settings"] = ("reference_data=train", *options["settings"])
    _conduct("scaling", dataset, **options)


def _conduct(
    kind: Literal["methods", "scaling"],
    dataset: str,
    *,
    out: Path,
    methods: tuple[str, ...],
    subsets: tuple[float, ...],
    n_seeds: int,
    preset: str,
    config_file: Path | None,
    settings: tuple[str, ...],
    options: tuple[str, ...],
    epochs: int | None,
    device: str | None,
    jobs: int,
    cluster: str | None,
    cluster_options: tuple[str, ...],
    cache_dir: Path | None,
    offline: bool,
    json_output: bool,
    fit_from: int = 1,
) -> None:
    from xferbench.workflow import studies

    config = studies.settings(preset, path=config_file, settings=settings, epochs=epochs, device=device)
    grid = studies.Grid(
        kind=kind,
        methods=methods,
        subsets=subsets,
        n_seeds=n_seeds,
        fit_from=fit_from,
        config=config,
        options=studies.method_options(options),
    )
    means = studies.Means(jobs=jobs, cluster=cluster, cluster_options=cluster_options, say=note)
    try:
        report = studies.conduct(dataset, grid, out, means, cache_dir=cache_dir, offline=offline)
    except KeyboardInterrupt:
        note("stopped; the same command goes on where the runs are")
        raise
    if json_output:
        show_json(report.study.to_json())
    else:
        click.echo(report.text)
    note(f"wrote {report.written[-1]} and {len(report.written) - 1} more files")
    n_failed = len(report.study.failed)
    if n_failed:
        raise CheckFailedError(
            f"{n_failed} of {len(report.study.plan.cells())} runs failed; the report says why, the same command tries them again"
        )
