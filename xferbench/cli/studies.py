"""Studies: many training runs and what they say together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypedDict

import click

import xferbench as xb
from xferbench.cli.common import DIRECTORY, FILE, Commands, data_options, json_option, note, numbers, show, words
from xferbench.errors import CheckFailedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import NotRequired, Unpack


class Options(TypedDict):
    """What both kinds of study take, as `xferbench.study` names it."""

    out: Path
    methods: tuple[str, ...]
    n_seeds: int
    models: tuple[str, ...]
    presets: tuple[str, ...]
    config: Path | None
    settings: tuple[str, ...]
    options: tuple[str, ...]
    epochs: int | None
    minutes: NotRequired[float | None]
    device: str | None
    jobs: int
    cluster: Literal["slurm", "local"] | None
    cluster_options: tuple[str, ...]
    cache_dir: Path | None
    offline: bool


def shared(command: Callable[..., Any]) -> Callable[..., Any]:
    """What both kinds of study take."""
    options = (
        click.option(
            "-o", "--out", type=DIRECTORY, required=True, help="Directory of the study; what is finished there is kept."
        ),
        click.option(
            "--seeds", "n_seeds", type=click.IntRange(1), default=3, show_default=True, help="Training seeds."
        ),
        click.option("--preset", "presets", multiple=True, help="Settings of training, such as small."),
        click.option("--model", "models", multiple=True, help="What to start from; several are compared side by side."),
        click.option("--config", type=FILE, help="TOML with settings of training."),
        click.option(
            "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Any setting of training, such as clip=1."
        ),
        click.option(
            "--option",
            "options",
            multiple=True,
            metavar="METHOD:KEY=VALUE",
            help="Of one method, such as lora+fit:rank=4.",
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
        data_options,
        json_option,
    )
    for option in reversed(options):  # the last one applied is the first one in the help
        command = option(command)
    return command


@click.group(cls=Commands)
def study() -> None:
    """Studies of transfer: a grid of training runs, resumable, with tables, figures and a page."""


@study.command("methods")
@click.argument("dataset", default="mini")
@click.option(
    "--methods",
    callback=words,
    help="Comma-separated: paper-1 … paper-4 or STRATEGY[+REFERENCES], such as lora+fit; default: fifteen of them.",
)
@click.option("--subset", type=float, default=1.0, show_default=True, help="Fraction of the training materials.")
@click.option(
    "--budget-minutes",
    "minutes",
    type=click.FloatRange(0, min_open=True),
    help="Instead of --epochs: as many as fit into so many minutes a run, timed first.",
)
@shared
def study_methods(dataset: str, *, subset: float, as_json: bool, **options: Unpack[Options]) -> None:
    """Compare transfer methods on DATASET over training seeds: errors, negative transfer, gain, forgetting."""
    _study("methods", dataset, subsets=(subset,), fit_from=1, as_json=as_json, options=options)


@study.command("scaling")
@click.argument("dataset", default="mini")
@click.option("--methods", callback=words, default="paper-1,paper-4", show_default=True, help="Comma-separated.")
@click.option(
    "--sizes",
    "subsets",
    callback=numbers,
    default="0.01,0.02,0.05,0.1,0.2,0.5,1",
    show_default=True,
    help="Fractions of the training materials, each inside the next.",
)
@click.option(
    "--fit-from",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Smallest number of target training frames that the power laws are fitted to; declare it before looking.",
)
@shared
def study_scaling(
    dataset: str, *, subsets: tuple[float, ...], fit_from: int, as_json: bool, **options: Unpack[Options]
) -> None:
    """Follow test errors on DATASET over nested training sets: exponents, data equivalence, crossings.

    Elemental references are fitted to all training energies, so that all sizes predict the same test frames; `--set
    reference_data=subset` fits them to what each run may see.
    """
    _study("scaling", dataset, subsets=subsets, fit_from=fit_from, as_json=as_json, options=options)


@study.command("write")
@click.argument("out", type=DIRECTORY)
@json_option
def study_write(out: Path, *, as_json: bool) -> None:
    """Write tables, figures, report and page of the study in OUT again, from its study.json; nothing is trained."""
    report = xb.write_study(out)
    show(report, as_json=as_json)
    note(f"wrote {report.written[-1]} and {len(report.written) - 1} more files")


def _study(
    kind: Literal["methods", "scaling"],
    dataset: str,
    *,
    subsets: tuple[float, ...],
    fit_from: int,
    as_json: bool,
    options: Options,
) -> None:
    try:
        report = xb.study(kind, dataset, subsets=subsets, fit_from=fit_from, say=note, **options)
    except KeyboardInterrupt:
        note("stopped; the same command goes on where the runs are")
        raise
    show(report, as_json=as_json)
    note(f"wrote {report.written[-1]} and {len(report.written) - 1} more files")
    n_failed = len(report.study.failed)
    if n_failed:
        raise CheckFailedError(
            f"{n_failed} of {len(report.study.plan.cells())} runs failed; the report says why, the same command tries them again"
        )
