"""``xferbench analyze``, ``export`` and ``publish``: what one does with a paired data set besides scoring on it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from xferbench import analysis, export, publish
from xferbench import dataset as datasets
from xferbench.drawing import raster
from xferbench.errors import UnknownNameError, UsageError
from xferbench.registry import SOURCES, near

if TYPE_CHECKING:
    from xferbench.analysis import Analysis, Settings
    from xferbench.dataset import Dataset
    from xferbench.export import Exported
    from xferbench.publish import Published


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalysisReport:
    """What ``analyze`` found, and the files it wrote."""

    analysis: Analysis
    table: str
    written: list[Path]


def analyze(
    dataset: str,
    settings: Settings,
    *,
    out: Path | None = None,
    png: bool = False,
    cache_dir: Path | None = None,
    offline: bool = False,
) -> AnalysisReport:
    """Compare the two functionals of a data set.

    Args:
        dataset: A name, prepared in the cache if need be, or a directory that ``xferbench prepare`` made.
        settings: What to analyse.
        out: Where tables, figures, report and page go; nothing is written if not given.
        png: Whether to write the figures as PNG too.
        cache_dir: Where data sets live.
        offline: Never use the network.

    Raises:
        DataError: Nothing to compare, or the data set is damaged.
        UsageError: Unknown names, or PNG without a directory or without its packages.
    """
    if png and out is None:
        raise UsageError("--png needs a directory for the figures; add --out DIRECTORY")
    if png:
        raster.require()  # a missing package should not cost the analysis
    found = analysis.analyze(open_paired(dataset, cache_dir=cache_dir, offline=offline), settings)
    written = [] if out is None else analysis.write(found, out, png=png)
    return AnalysisReport(analysis=found, table=analysis.terminal_table(found), written=written)


def export_dataset(
    dataset: str, form: str, out: Path, *, cache_dir: Path | None = None, offline: bool = False
) -> list[Exported]:
    """Write a data set in the format of a trainer.

    Args:
        dataset: A name or a directory, as for ``analyze``.
        form: One of ``export.FORMATS``.
        out: Directory for the files.
        cache_dir: Where data sets live.
        offline: Never use the network.

    Raises:
        DataError: The data set is damaged, or the disk refuses.
        UsageError: Unknown names.
    """
    return export.export(open_paired(dataset, cache_dir=cache_dir, offline=offline), form, out)


def export_table(exported: list[Exported]) -> str:
    """Files with their frames, and what they lack."""
    lines = []
    for item in exported:
        lacking = [f"{count} without {name}" for name, count in item.missing.items()]
        lacking += [f"{count} left out: {reason}" for reason, count in item.left_out.items()]
        lines.append(f"{item.path}: {item.frames} frames" + (f" ({', '.join(lacking)})" if lacking else ""))
    return "\n".join(lines)


def published_table(published: Published) -> str:
    """Files with their sizes, and where they are or would be."""
    width = max(map(len, published.files))
    lines = [f"{name:{width}s} {size:12,d} bytes" for name, size in published.files.items()]
    total = f"{len(published.files)} files, {sum(published.files.values()):,d} bytes"
    where = (
        f"uploaded to {published.address}" if published.uploaded else f"would go to {published.address}; nothing sent"
    )
    return "\n".join([*lines, f"{total}: {where}"])


def publish_dataset(directory: Path, repo_id: str, *, private: bool, dry_run: bool) -> Published:
    """See ``publish.publish_dataset``."""
    return publish.publish_dataset(directory, repo_id, private=private, dry_run=dry_run)


def open_paired(dataset: str, *, cache_dir: Path | None = None, offline: bool = False) -> Dataset:
    """A data set by name, prepared in the cache if need be, or by its directory.

    Raises:
        UnknownNameError: Neither a name nor a directory.
        DataError: It is damaged.
    """
    if dataset in SOURCES:
        return datasets.prepare(dataset, cache_dir=cache_dir, offline=offline)
    if not Path(dataset).is_dir():
        raise UnknownNameError(f"{dataset!r} is neither a directory nor a data set; {near(dataset, SOURCES)}")
    return datasets.Dataset.open(Path(dataset))
