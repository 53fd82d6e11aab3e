"""Data sets: prepare, audit, list, describe, export and publish them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import click

import xferbench as xb
from xferbench.cli.common import (
    DIRECTORY,
    FILE,
    Commands,
    cache_option,
    data_options,
    json_option,
    note,
    numbers,
    show,
    show_json,
    words,
)

LISTS = {
    "datasets": "list_datasets",
    "tasks": "list_tasks",
    "models": "list_models",
    "strategies": "list_strategies",
}


@click.command()
@click.argument("dataset", default="mini")
@click.option("-o", "--out", type=DIRECTORY, help="Where to write; default: in the cache.")
@click.option(
    "--from",
    "paths",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="PATH",
    help="Read this file, or the files in this directory, instead of the network. Repeatable.",
)
@click.option("--name", help="What to call a data set of your own files; every command takes this name from then on.")
@click.option("--release", help="Of the upstream data set, such as 2025.1; default: the newest.")
@click.option(
    "--geometry",
    type=click.Choice(["same_geometry", "same_material"]),
    help="What the two frames of a pair share, where the files are your own; default: same_geometry.",
)
@click.option(
    "--split-by",
    type=click.Choice(["material", "chemsys", "prototype"]),
    default="material",
    show_default=True,
    help="What goes into one split together. Another grouping is another version of the data set.",
)
@click.option(
    "--hold-out-elements",
    "hold_out",
    callback=words,
    metavar="SYMBOLS",
    help="Only test may contain these, comma-separated: Yb,Lu.",
)
@click.option(
    "--fractions",
    metavar="TRAIN,VAL,TEST",
    callback=numbers,
    help="Of the materials in each split, such as 0.6,0.2,0.2. Another version of the data set, as is:",
)
@click.option("--salt", default="", help="Any text: deals the materials anew, where chance left a split too small.")
@click.option(
    "--exclude-test-from-source",
    "source_train",
    type=click.Path(path_type=Path),
    metavar="TRAIN",
    help="List the records of this training set of the source functional that share nothing with the test pairs.",
)
@click.option("--check", is_flag=True, help="Only verify what is there: every hash, count, id and split.")
@data_options
@json_option
def prepare(
    dataset: str,
    *,
    out: Path | None,
    paths: tuple[Path, ...],
    name: str | None,
    release: str | None,
    geometry: Literal["same_geometry", "same_material"] | None,
    split_by: Literal["material", "chemsys", "prototype"],
    hold_out: tuple[str, ...],
    fractions: tuple[float, ...],
    salt: str,
    source_train: Path | None,
    check: bool,
    cache_dir: Path | None,
    offline: bool,
    as_json: bool,
) -> None:
    """Build and verify a data set directory that `datasets.load_dataset` opens. Every command knows its name from then on."""
    if check:
        opened = xb.verify_dataset(
            name or dataset,
            out=out,
            paths=paths,
            release=release,
            geometry=geometry,
            split_by=split_by,
            hold_out=hold_out,
            cache_dir=cache_dir,
        )
    else:
        opened = xb.prepare(
            dataset,
            out=out,
            name=name,
            paths=paths,
            release=release,
            geometry=geometry,
            split_by=split_by,
            hold_out=hold_out,
            fractions=fractions,
            salt=salt,
            cache_dir=cache_dir,
            offline=offline,
        )
    if source_train is not None:
        note(str(xb.exclude_from_source(opened, source_train)))
    show(opened, as_json=as_json)


@click.command()
@click.argument("target", default="mini")
@click.option("--train", type=click.Path(path_type=Path), required=True, help="The training set: a file or directory.")
@click.option("-o", "--out", type=FILE, help="Also write the audit as JSON, for `xferbench score --audit`.")
@click.option(
    "--tolerance",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.05,
    show_default=True,
    help="Between equal structures, in atomic spacings.",
)
@click.option("--counts-only", is_flag=True, help="Leave out which test pairs overlap.")
@click.option("--hash", "with_hash", is_flag=True, help="State the SHA-256 of the training file.")
@data_options
@json_option
def audit(
    target: str,
    *,
    train: Path,
    out: Path | None,
    tolerance: float,
    counts_only: bool,
    with_hash: bool,
    cache_dir: Path | None,
    offline: bool,
    as_json: bool,
) -> None:
    """Compare a training set with the test pairs, on this machine: only counts are printed.

    TARGET is a task, or the name or path of a data set. TRAIN may be JSON documents, JSON lines, extended XYZ, Parquet,
    CSV, or a text file of ids or formulas, one a line.
    """
    report = xb.audit_overlap(
        target,
        train,
        out=out,
        tolerance=tolerance,
        counts_only=counts_only,
        with_hash=with_hash,
        cache_dir=cache_dir,
        offline=offline,
    )
    show(report, as_json=as_json)
    if out is not None:
        note(f"wrote {out}")


@click.command(name="list")
@click.argument("what", type=click.Choice(list(LISTS)), required=False)
@cache_option
@json_option
def list_(what: str | None, *, cache_dir: Path | None, as_json: bool) -> None:
    """List data sets and what is prepared of them, tasks, models (with floors) or strategies of training; without a name, all."""

    def found(name: str) -> Any:  # noqa: ANN401 - lists of several kinds
        return xb.list_datasets(cache_dir=cache_dir) if name == "datasets" else getattr(xb, LISTS[name])()

    if what is not None:
        show(found(what), as_json=as_json)
    elif as_json:
        show_json({name: found(name).to_json() for name in LISTS})
    else:
        click.echo("\n\n".join(f"{name}:\n{found(name)}" for name in LISTS))


@click.command()
@click.argument("name")
@cache_option
@json_option
def info(name: str, *, cache_dir: Path | None, as_json: bool) -> None:
    """Show what is known of a data set, task, model or floor."""
    show(xb.info(name, cache_dir=cache_dir), as_json=as_json)


@click.command()
@click.argument("dataset", default="mini")
@click.option(
    "-f",
    "--format",
    type=click.Choice(["extxyz", "mace", "chgnet"]),
    required=True,
    help="Whose keys and units.",
)
@click.option("-o", "--out", type=DIRECTORY, required=True, help="One file per functional family and split.")
@data_options
@json_option
def export(
    dataset: str,
    *,
    format: Literal["extxyz", "mace", "chgnet"],  # noqa: A002 - the name of the option
    out: Path,
    cache_dir: Path | None,
    offline: bool,
    as_json: bool,
) -> None:
    """Write a data set as extended XYZ (ASE or MACE keys) or CHGNet's JSON. DATASET is a name or a path."""
    show(xb.export_dataset(dataset, format=format, out=out, cache_dir=cache_dir, offline=offline), as_json=as_json)


@click.group(cls=Commands)
def publish() -> None:
    """Put things where others find them."""


@publish.command("dataset")
@click.argument("dataset")
@click.option("--repo-id", required=True, help="owner/name on the Hugging Face Hub; made if it does not exist.")
@click.option("--private", is_flag=True, help="Make a new repository private.")
@click.option("--dry-run", is_flag=True, help="Verify and list files and bytes; send nothing.")
@cache_option
@json_option
def publish_dataset(
    dataset: str, *, repo_id: str, private: bool, dry_run: bool, cache_dir: Path | None, as_json: bool
) -> None:
    """Verify a prepared DATASET, a name or a path, and push it to the Hugging Face Hub.

    The token is HF_TOKEN or that of `hf auth login`.
    """
    report = xb.publish_dataset(dataset, repo_id, private=private, dry_run=dry_run, cache_dir=cache_dir)
    show(report, as_json=as_json)


@publish.command("leaderboard")
@click.argument("directory", type=DIRECTORY, default=Path("leaderboard"))
@click.option(
    "--repo-id", required=True, help="owner/name of a Space on the Hugging Face Hub; made if it does not exist."
)
@click.option("--private", is_flag=True, help="Make a new repository private.")
@click.option("--dry-run", is_flag=True, help="Check and list files and bytes; send nothing.")
@json_option
def publish_leaderboard(directory: Path, *, repo_id: str, private: bool, dry_run: bool, as_json: bool) -> None:
    """Push the built board in DIRECTORY, with all it is made from, to a static Space of the Hugging Face Hub.

    The token is HF_TOKEN or that of `hf auth login`.
    """
    show(xb.publish_leaderboard(directory, repo_id, private=private, dry_run=dry_run), as_json=as_json)


@click.command()
@click.argument("what", type=click.Choice(["task", "card", "result"]))
def schema(what: Literal["task", "card", "result"]) -> None:
    """Print the JSON Schema of a task file, a model card or a result, for editors and for checking files elsewhere."""
    show(xb.json_schema(what), as_json=False)
