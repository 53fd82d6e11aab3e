"""Data sets: prepare, audit, list, describe, export and publish them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click

from xferbench.cli.common import DIRECTORY, FILE, Commands, as_json, cached, note, show_json

LISTS = ("datasets", "tasks", "models", "methods")


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
@click.option("--hold-out-elements", metavar="SYMBOLS", help="Only test may contain these, comma-separated: Yb,Lu.")
@click.option(
    "--exclude-test-from-source",
    "source_train",
    type=click.Path(path_type=Path),
    metavar="TRAIN",
    help="List the records of this training set of the source functional that share nothing with the test pairs.",
)
@click.option("--check", is_flag=True, help="Only verify what is there: every hash, count, id and split.")
@cached
@as_json
def prepare(
    dataset: str,
    out: Path | None,
    *,
    hold_out_elements: str | None,
    source_train: Path | None,
    check: bool,
    offline: bool,
    json_output: bool,
    **options: Any,  # noqa: ANN401 - click's options
) -> None:
    """Build and verify a data set directory that `datasets.load_dataset` opens."""
    from xferbench import dataset as datasets
    from xferbench import workflow
    from xferbench.records import Geometry

    options["geometry"] = None if options["geometry"] is None else Geometry(options["geometry"])
    options["hold_out"] = [symbol.strip() for symbol in (hold_out_elements or "").split(",") if symbol.strip()]
    if check:
        opened = datasets.check(dataset, out, **options)
    else:
        opened = datasets.prepare(dataset, out, offline=offline, **options)
    if source_train is not None:
        note(workflow.exclusion_line(workflow.exclude_from_source(opened, source_train)))
    if json_output:
        show_json(opened.manifest)
        return
    click.echo(datasets.summary(opened))
    click.echo(opened.directory)


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
@cached
@as_json
def audit(target: str, *, out: Path | None, json_output: bool, **options: Any) -> None:  # noqa: ANN401 - click's options
    """Compare a training set with the test pairs, on this machine: only counts are printed.

    TARGET is a task, a data set or a prepared directory. TRAIN may be JSON documents, JSON lines, extended XYZ, Parquet,
    CSV, or a text file of ids or formulas, one a line.
    """
    from xferbench import workflow

    made = workflow.audit(target, out=out, **options)
    if json_output:
        show_json({**dataclasses.asdict(made), "overlapping": None})
    else:
        click.echo(workflow.audit_table(made))
    if out is not None:
        note(f"wrote {out}")


@click.command(name="list")
@click.argument("what", type=click.Choice(LISTS))
@as_json
def list_(what: str, *, json_output: bool) -> None:
    """List data sets, tasks, models (with floors) or transfer methods."""
    from xferbench import workflow

    rows = workflow.listing(what)
    if json_output:
        show_json(rows)
    else:
        width = max((len(row["name"]) for row in rows), default=0)
        click.echo("\n".join(f"{row['name']:{width}s}  {row['about']}" for row in rows) or f"no {what} yet")


@click.command()
@click.argument("name")
@as_json
def info(name: str, *, json_output: bool) -> None:
    """Show what is known of a data set, task, model or floor."""
    from xferbench import workflow

    facts = workflow.info(name)
    if json_output:
        show_json(facts)
    else:
        width = max(map(len, facts))
        click.echo("\n".join(f"{key:{width}s}  {_inline(value)}" for key, value in facts.items()))


def _inline(value: object) -> str:
    """A value on one line of text."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {_inline(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_inline, value))
    return " ".join(str(value).split())


@click.command()
@click.argument("dataset", default="mini")
@click.option(
    "-f",
    "--format",
    "form",
    type=click.Choice(["extxyz", "mace", "chgnet"]),
    required=True,
    help="Whose keys and units.",
)
@click.option("-o", "--out", type=DIRECTORY, required=True, help="One file per functional family and split.")
@cached
@as_json
def export(dataset: str, form: str, out: Path, *, cache_dir: Path | None, offline: bool, json_output: bool) -> None:
    """Write a data set as extended XYZ (ASE or MACE keys) or CHGNet's JSON. DATASET is a name or a prepared directory."""
    from xferbench import workflow

    exported = workflow.export_dataset(dataset, form, out, cache_dir=cache_dir, offline=offline)
    if json_output:
        show_json([{**dataclasses.asdict(item), "path": str(item.path)} for item in exported])
    else:
        click.echo(workflow.export_table(exported))


@click.group(cls=Commands)
def publish() -> None:
    """Put things where others find them."""


@publish.command("dataset")
@click.argument("directory", type=DIRECTORY)
@click.option("--repo-id", required=True, help="owner/name on the Hugging Face Hub; made if it does not exist.")
@click.option("--private", is_flag=True, help="Make a new repository private.")
@click.option("--dry-run", is_flag=True, help="Verify and list files and bytes; send nothing.")
@as_json
def publish_dataset(directory: Path, repo_id: str, *, private: bool, dry_run: bool, json_output: bool) -> None:
    """Verify a prepared DIRECTORY and push it to the Hugging Face Hub. The token is HF_TOKEN or that of `hf auth login`."""
    from xferbench import workflow

    published = workflow.publish_dataset(directory, repo_id, private=private, dry_run=dry_run)
    if json_output:
        show_json(dataclasses.asdict(published))
    else:
        click.echo(workflow.published_table(published))
