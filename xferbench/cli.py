"""The command line: parse, call one function, print.

Results go to stdout, progress and notes to stderr. Nothing heavy is imported before a command runs, so that
``xferbench --help`` answers at once.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from xferbench.errors import CheckFailedError, UsageError, XferbenchError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

DIRECTORY = click.Path(file_okay=False, path_type=Path)
FILE = click.Path(dir_okay=False, path_type=Path)


class Commands(click.Group):
    """A group that prints an ``XferbenchError`` as one line and exits with its code; anything else is a bug."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's own signature
        """Run the chosen command."""
        try:
            return super().invoke(ctx)
        except XferbenchError as error:
            _stop(f"Error: {error}", error.exit_code)


def _stop(message: str, code: int) -> NoReturn:
    """Print one line to stderr and leave."""
    click.echo(" ".join(message.split("\n")), err=True)
    sys.exit(code)


def note(message: str) -> None:
    """Something a user should know, on stderr."""
    click.echo(message, err=True)


def show_json(value: object) -> None:
    """Machine-readable output on stdout."""
    click.echo(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False))


def as_json(command: Callable[..., Any]) -> Callable[..., Any]:
    """The ``--json`` option."""
    return click.option("--json", "json_output", is_flag=True, help="Print JSON instead of text.")(command)


def cached(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say where data sets live."""
    for option in (
        click.option("--cache-dir", type=DIRECTORY, help="Instead of $XFERBENCH_CACHE or the user's cache directory."),
        click.option("--offline", is_flag=True, help="Never use the network. Also: HF_HUB_OFFLINE=1."),
    ):
        command = option(command)
    return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="xferbench")
def main() -> None:
    """Benchmark interatomic potentials across density functionals: learned on GGA, asked for r2SCAN."""


@main.command()
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


@main.command()
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


LISTS = ("datasets", "tasks", "models", "methods")


@main.command(name="list")
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


@main.command()
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


@main.group(cls=Commands)
def refs() -> None:
    """Elemental reference energies."""


@refs.command("fit")
@click.argument("dataset", default="mini")
@click.option("-f", "--functional", help="PBE, PBE+U or r2SCAN; default: each one the data set has.")
@click.option("--split", default="train", show_default=True, help="The frames to fit on.")
@click.option("--elements", help="Elements that must be covered, comma-separated; one without data is an error.")
@click.option("--allow-missing", is_flag=True, help="List elements without data instead of stopping.")
@click.option("-o", "--out", type=FILE, help="Also write the references as JSON.")
@cached
@as_json
def refs_fit(dataset: str, *, out: Path | None, json_output: bool, **options: Any) -> None:  # noqa: ANN401 - click's options
    """Fit eV per element by least squares on composition fractions, per functional (seed paper, Eq. 2)."""
    from xferbench import workflow
    from xferbench.storage import write_json

    fits = workflow.fit_references(dataset, **options)
    if out is not None:
        write_json(out, [dataclasses.asdict(fit) for fit in fits])
        note(f"wrote {out}")
    if json_output:
        show_json([dataclasses.asdict(fit) for fit in fits])
    else:
        click.echo("\n\n".join(workflow.references_table(fit) for fit in fits))


@refs.command("compare")
@click.argument("dataset", default="mini")
@click.option("--predictions", type=FILE, help="Of a GGA model for the r2SCAN frames, for the model-aware scheme.")
@click.option("--atoms", type=FILE, help="Energies of isolated atoms, JSON or CSV, of the code that made the labels.")
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
@cached
@as_json
def refs_compare(dataset: str, *, out: Path | None, json_output: bool, **options: Any) -> None:  # noqa: ANN401 - click's options
    """Compare ways to choose elemental references, each judged on materials it was not fitted to.

    DATASET is a name or a prepared directory.
    """
    from xferbench import workflow
    from xferbench.workflow import referencing_report

    report = workflow.compare_references(dataset, **options)
    if out is not None:
        referencing_report.write(report, out)
        note(f"wrote {out}")
    if json_output:
        show_json(report.to_json())
    else:
        click.echo(referencing_report.text(report))


@main.command()
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


@main.command()
@click.argument("models", nargs=-1, required=True)
@click.option("-t", "--task", default="mini-static", show_default=True, help="Task id or TOML file.")
@click.option("-m", "--metric", help="Key of one of the task's metrics, such as force_mae; default: the main one.")
@click.option(
    "-o",
    "--out",
    type=DIRECTORY,
    default=Path("xferbench-out"),
    show_default=True,
    help="Where results and predictions of model ids lie; a leaderboard directory is one.",
)
@click.option("--dataset", "directory", type=DIRECTORY, help="A prepared data set; default: in the cache.")
@cached
@as_json
def compare(models: Sequence[str], *, json_output: bool, **options: Any) -> None:  # noqa: ANN401 - click's options
    """Do models differ? Paired differences, p-values after Holm, ties and rank intervals, from stored predictions.

    MODELS: two or more of model ids with a result below --out, floors such as floor:ridge, result .json files, and
    predictions .parquet files.
    """
    from xferbench import workflow

    report = workflow.compare(models, say=note, **options)
    if json_output:
        show_json(report.to_json())
    else:
        click.echo(workflow.comparison_table(report))


@main.command()
@click.argument("r2scan", type=FILE)
@click.argument("gga", type=FILE)
@click.option("-t", "--task", default="mini-static", show_default=True, help="An r2SCAN task: id or TOML file.")
@click.option("--dataset", "directory", type=DIRECTORY, help="A prepared data set; default: in the cache.")
@cached
@as_json
def gap(r2scan: Path, gga: Path, *, json_output: bool, **options: Any) -> None:  # noqa: ANN401 - click's options
    """What two models, one per functional, say of the difference of the functionals.

    R2SCAN and GGA: predictions (.parquet) of the two models for the same structures.
    """
    from xferbench import workflow

    report = workflow.gap(r2scan, gga, say=note, **options)
    if json_output:
        show_json(report.to_json())
    else:
        click.echo(workflow.gap_table(report))


@main.command("fit-scaling")
@click.argument("table", type=FILE)
@click.option(
    "--from",
    "first",
    type=click.FloatRange(0, min_open=True),
    required=True,
    help="Smallest number of structures to fit; decide it before looking.",
)
@click.option(
    "--to", "last", type=click.FloatRange(0, min_open=True), default=float("inf"), help="Largest number; default: all."
)
@click.option("--floor", is_flag=True, help="Fit an irreducible error too: a·n^-b + c.")
@click.option(
    "--versus", multiple=True, help="first:second, two columns: where they cross, what first is worth in data."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the intervals.")
@as_json
def fit_scaling(table: Path, *, json_output: bool, **options: Any) -> None:  # noqa: ANN401 - click's options
    """Fit power laws to errors against training structures, with intervals.

    TABLE is a CSV file: a column of sizes, then one column of errors for each curve.
    """
    from xferbench import workflow

    report = workflow.fit_scaling(table, **options)
    if json_output:
        show_json(report.to_json())
    else:
        click.echo(workflow.scaling_table(report))


@main.command()
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


@main.command()
@click.argument("root", type=DIRECTORY, default=Path())
def validate(root: Path) -> None:
    """Check every task, card and result below ROOT, and score stored predictions again."""
    from xferbench import workflow

    lines, problems = workflow.validate(root, say=note)
    click.echo("\n".join(lines))
    if problems:
        click.echo("\n".join(problems))
        raise CheckFailedError(f"{len(problems)} problem(s) below {root}")


@main.command()
@click.argument("dataset", default="mini")
@click.option(
    "-o", "--out", type=DIRECTORY, help="Write tables, SVG figures, a Markdown report and one HTML page here."
)
@click.option("--split", type=click.Choice(["train", "val", "test"]), help="Only these pairs; default: all.")
@click.option("--functional", help="PBE or PBE+U, which are never pooled; default: the one most pairs have.")
@click.option(
    "--resamples", "n_resamples", type=click.IntRange(1), default=1000, show_default=True, help="Of the materials."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of resamples, trees and permutations.")
@cached
@as_json
def analyze(
    dataset: str,
    *,
    out: Path | None,
    cache_dir: Path | None,
    offline: bool,
    json_output: bool,
    **options: Any,  # noqa: ANN401 - click's options
) -> None:
    """How far GGA and r2SCAN labels differ, before and after referencing. DATASET is a name or a prepared directory."""
    from xferbench import workflow
    from xferbench.analysis import Settings

    report = workflow.analyze(dataset, Settings(**options), out=out, cache_dir=cache_dir, offline=offline)
    if json_output:
        show_json(report.analysis.to_json())
    else:
        click.echo(report.table)
    for path in report.written:
        note(f"wrote {path}")


@main.command()
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


@main.group(cls=Commands)
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


@main.group(cls=Commands)
def leaderboard() -> None:
    """The leaderboard: cards and results in, a table and a page out."""


@leaderboard.command("build")
@click.argument("directory", type=DIRECTORY, default=Path("leaderboard"))
def leaderboard_build(directory: Path) -> None:
    """Make README.md and index.html from models/*.toml and results/*/*.json in DIRECTORY."""
    from xferbench import leaderboard as board

    report = board.build(directory)
    click.echo(f"{report.readme}\n{report.page}")


@main.group(cls=Commands)
def mini() -> None:
    """Our own DFT pairs: extend, build and verify them."""


@mini.command("generate")
@click.argument("records", type=FILE)
@click.option("--budget", type=float, default=60.0, show_default=True, help="Minutes after which no new pair is begun.")
@click.option("--part", default="0/1", show_default=True, help="i/n: every n-th seed structure, starting at i.")
@click.option("--kinds", help="Perturbations, comma-separated; default: all.")
@click.option("--elements", help="Only structures made of these elements, comma-separated.")
@click.option("--spin", is_flag=True, help="The magnetic structures instead of the others.")
@click.option("--limit", type=click.IntRange(1), default=400, show_default=True, help="Seconds per calculation.")
def mini_generate(
    records: Path, *, budget: float, part: str, kinds: str | None, elements: str | None, spin: bool, limit: int
) -> None:
    """Run GPAW for pairs that RECORDS (JSON lines) does not have yet, and append them. Resumable."""
    from xferbench.sources.mini import generate

    generate.generate(
        records,
        budget_minutes=budget,
        part=_part(part),
        kinds=_split(kinds),
        elements=_split(elements),
        spin=spin,
        limit_seconds=limit,
        progress=note,
    )


@mini.command("build")
@click.option("--records", type=FILE, help="JSON lines; default: those in the package.")
@click.option("--out", type=FILE, help="Parquet; default: the one in the package.")
def mini_build(records: Path | None, out: Path | None) -> None:
    """Turn records into the embedded Parquet file. The same records give the same bytes."""
    from xferbench.sources.mini import build

    click.echo(build.build(records, out))


@mini.command("verify")
@click.argument("records", nargs=-1)
@click.option(
    "-n", type=click.IntRange(1), default=1, show_default=True, help="Recompute N cheap pairs if no RECORDS are named."
)
def mini_verify(records: Sequence[str], n: int) -> None:
    """Recompute records with GPAW and compare them with the stored numbers. Needs `xferbench[dft]`."""
    from xferbench.sources.mini import verify

    click.echo("\n".join(map(str, verify.verify(records, n=n, progress=note))))


def _split(text: str | None) -> list[str] | None:
    return None if text is None else [item.strip() for item in text.split(",") if item.strip()]


def _part(text: str) -> tuple[int, int]:
    """``i/n`` as two numbers."""
    numbers = text.split("/")
    if len(numbers) != 2 or not all(item.isdigit() for item in numbers) or not int(numbers[0]) < int(numbers[1]):
        raise UsageError(f"--part must be i/n with i < n, for example 0/2, not {text!r}")
    return int(numbers[0]), int(numbers[1])


def run() -> NoReturn:
    """The console script: run the command, flush, and leave at once with its exit code.

    Arrow keeps threads; now and then they abort an interpreter that is shutting down ("terminate called without an active
    exception"), which would turn our exit code into 134 after the work is done.
    """
    code: object = 0
    try:
        main()
    except SystemExit as end:
        code = end.code
    except BaseException:  # noqa: BLE001 - a bug: its traceback is shown, as the interpreter would
        traceback.print_exc()
        code = 1
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


def command_paths(group: click.Group = main, prefix: str = "") -> Iterable[tuple[str, click.Command]]:
    """Every command with its full name: for documents and their tests."""
    for name, command in sorted(group.commands.items()):
        if isinstance(command, click.Group):
            yield from command_paths(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command
