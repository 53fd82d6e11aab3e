"""Data sets: prepare, list, describe, export and publish them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from xferbench.cli.common import DIRECTORY, Commands, as_json, cached, show_json

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
@click.option("--check", is_flag=True, help="Only verify what is there: every hash, count, id and split.")
@cached
@as_json
def prepare(
    dataset: str,
    out: Path | None,
    *,
    paths: tuple[Path, ...],
    release: str | None,
    check: bool,
    cache_dir: Path | None,
    offline: bool,
    json_output: bool,
) -> None:
    """Build and verify a data set directory that `datasets.load_dataset` opens."""
    from xferbench import dataset as datasets

    if check:
        opened = datasets.check(dataset, out, release=release, paths=paths, cache_dir=cache_dir)
    else:
        opened = datasets.prepare(dataset, out, release=release, paths=paths, cache_dir=cache_dir, offline=offline)
    if json_output:
        show_json(opened.manifest)
        return
    click.echo(datasets.summary(opened))
    click.echo(opened.directory)


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
        click.echo("\n".join(f"{row['name']:24s} {row['about']}".rstrip() for row in rows) or f"no {what} yet")


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
        click.echo("\n".join(f"{key:14s} {_inline(value)}" for key, value in facts.items()))


def _inline(value: object) -> str:
    """A value on one line of text."""
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
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
