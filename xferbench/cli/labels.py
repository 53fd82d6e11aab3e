"""What the labels of a data set say without any model: elemental references, and the gap between the functionals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import click

import xferbench as xb
from xferbench.cli.common import DIRECTORY, FILE, Commands, data_options, json_option, note, show, words

if TYPE_CHECKING:
    from pathlib import Path


@click.group(cls=Commands)
def refs() -> None:
    """Elemental reference energies."""


@refs.command("fit")
@click.argument("dataset", default="mini")
@click.option("-f", "--functional", help="As PBE or r2SCAN; default: each one the data set has.")
@click.option("--split", default="train", show_default=True, help="The frames to fit on.")
@click.option(
    "--elements", callback=words, help="Elements that must be covered, comma-separated; one without data is an error."
)
@click.option("--allow-missing", is_flag=True, help="List elements without data instead of stopping.")
@click.option("-o", "--out", type=FILE, help="Also write the references as JSON.")
@data_options
@json_option
def refs_fit(
    dataset: str,
    *,
    functional: str | None,
    split: str,
    elements: tuple[str, ...],
    allow_missing: bool,
    out: Path | None,
    cache_dir: Path | None,
    offline: bool,
    as_json: bool,
) -> None:
    """Fit eV per element by least squares on composition fractions, per functional (seed paper, Eq. 2)."""
    fits = xb.fit_references(
        dataset,
        functional=functional,
        split=split,
        elements=elements,
        allow_missing=allow_missing,
        out=out,
        cache_dir=cache_dir,
        offline=offline,
    )
    show(fits, as_json=as_json)
    if out is not None:
        note(f"wrote {out}")


@refs.command("compare")
@click.argument("dataset", default="mini")
@click.option("--predictions", type=FILE, help="Of a source model for the target frames, for the model-aware scheme.")
@click.option(
    "--atoms",
    type=FILE,
    help="Energies of isolated atoms, JSON or CSV, of the code that made the labels; default: the data set's.",
)
@click.option("--curve", is_flag=True, help="Also the error against the number of labelled structures.")
@click.option(
    "--resamples",
    "n_resamples",
    type=click.IntRange(1),
    default=200,
    show_default=True,
    help="Of the materials, for every interval.",
)
@click.option("-o", "--out", type=FILE, help="Also write a page (.md) or full precision (.json).")
@data_options
@json_option
def refs_compare(
    dataset: str,
    *,
    predictions: Path | None,
    atoms: Path | None,
    curve: bool,
    n_resamples: int,
    out: Path | None,
    cache_dir: Path | None,
    offline: bool,
    as_json: bool,
) -> None:
    """Compare ways to choose elemental references, each judged on materials it was not fitted to.

    DATASET is a name or a path.
    """
    report = xb.compare_references(
        dataset,
        predictions=predictions,
        atoms=atoms,
        curve=curve,
        n_resamples=n_resamples,
        out=out,
        cache_dir=cache_dir,
        offline=offline,
    )
    show(report, as_json=as_json)
    if out is not None:
        note(f"wrote {out}")


@refs.command("export")
@click.argument("dataset", default="mini")
@click.option(
    "--for",
    "package",
    required=True,
    help="mace, sevennet, orb, matgl, chgnet, metatrain, nequip or fairchem.",
)
@click.option("-f", "--functional", help="Default: the target functional of the data set.")
@click.option("--minus", help="Write the correction from this functional to --functional.")
@click.option("--atoms", is_flag=True, help="Isolated atoms in place of fitted references.")
@click.option("--split", default="train", show_default=True, help="The frames to fit on.")
@click.option("-o", "--out", type=FILE, help="The file; a text that explains it is written beside it.")
@data_options
@json_option
def refs_export(
    dataset: str,
    *,
    package: str,
    functional: str | None,
    minus: str | None,
    atoms: bool,
    split: str,
    out: Path | None,
    cache_dir: Path | None,
    offline: bool,
    as_json: bool,
) -> None:
    """Elemental references, or the correction between two functionals, in the file that a training package takes.

    DATASET is a name or a path; its code and potentials are those of the references.
    """
    made = xb.export_references(
        dataset,
        package=package,
        functional=functional,
        minus=minus,
        atoms=atoms,
        split=split,
        out=out,
        cache_dir=cache_dir,
        offline=offline,
    )
    show(made, as_json=as_json)


@click.command()
@click.argument("dataset", default="mini")
@click.option(
    "-o", "--out", type=DIRECTORY, help="Write tables, SVG figures, a Markdown report and one HTML page here."
)
@click.option("--png", is_flag=True, help='Write the figures as PNG too; needs pip install ".[png]".')
@click.option("--split", type=click.Choice(["train", "val", "test"]), help="Only these pairs; default: all.")
@click.option(
    "--functional",
    help="Of the source side, as PBE or PBE+U, which are never pooled; default: the one most pairs have.",
)
@click.option(
    "--resamples", "n_resamples", type=click.IntRange(1), default=1000, show_default=True, help="Of the materials."
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Of resamples, trees and permutations."
)
@data_options
@json_option
def analyze(
    dataset: str,
    *,
    out: Path | None,
    png: bool,
    split: Literal["train", "val", "test"] | None,
    functional: str | None,
    n_resamples: int,
    seed: int,
    cache_dir: Path | None,
    offline: bool,
    as_json: bool,
) -> None:
    """How far source and target labels differ, before and after referencing. DATASET is a name or a path."""
    report = xb.analyze(
        dataset,
        split=split,
        functional=functional,
        n_resamples=n_resamples,
        seed=seed,
        out=out,
        png=png,
        cache_dir=cache_dir,
        offline=offline,
    )
    show(report, as_json=as_json)
    for path in report.written:
        note(f"wrote {path}")
