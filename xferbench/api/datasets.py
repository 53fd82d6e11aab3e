"""Data sets: prepare, open, verify, audit, analyse, export, publish."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from xferbench import analysis, export, publish
from xferbench import audit as audits
from xferbench import dataset as datasets
from xferbench.audit.excluding import Exclusion, exclude_test
from xferbench.audit.structures import TOLERANCE
from xferbench.dataset import open_dataset
from xferbench.errors import UsageError
from xferbench.records import SPLITS, Geometry
from xferbench.registry import check_name
from xferbench.report import raster
from xferbench.scoring import check_dataset
from xferbench.tasks import list_tasks, load_task

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from xferbench.analysis import Analysis
    from xferbench.audit import Audit
    from xferbench.dataset import Dataset
    from xferbench.export import Exported
    from xferbench.publish import Published

    StrPath = str | os.PathLike[str]

GEOMETRIES = ("same_geometry", "same_material")
"""What the two frames of a pair of a user's own files may share."""


def prepare(
    dataset: str = "mini",
    *,
    out: StrPath | None = None,
    name: str | None = None,
    paths: Sequence[StrPath] = (),
    release: str | None = None,
    geometry: Literal["same_geometry", "same_material"] | None = None,
    split_by: Literal["material", "chemsys", "prototype"] = "material",
    hold_out: Sequence[str] = (),
    fractions: Sequence[float] = (),
    salt: str = "",
    cache_dir: StrPath | None = None,
    offline: bool = False,
) -> Dataset:
    """Make sure that a data set is on disk, whole and up to date, and open it.

    What is there and whole is not made again. From then on the data set is known by its name in every command and to
    ``open_dataset``: that of its source, with the mark of its split if that is not the usual one
    (``mini+by-chemsys``), or the ``name`` it is given. ``datasets.load_dataset`` opens the directory, too.

    Args:
        dataset: A data source, see ``list_datasets``.
        out: Where to write; in the cache if not given.
        name: What to call a data set made of your own files.
        paths: Files, or directories of them, to read instead of the network; ``PBE=file`` says the functional of a file.
        release: Of the upstream data set, such as ``2025.1``; the newest if not given.
        geometry: What the two frames of a pair share, where the files are your own; ``same_geometry`` if not given.
        split_by: What goes into one split together: a material, a chemical system, a structure prototype.
        hold_out: Symbols of elements that only the test split may contain.
        fractions: Of train, val and test, such as ``(0.6, 0.2, 0.2)``; the source's own if not given.
        salt: Any text: another one deals materials anew. The source's own if not given.
        cache_dir: Instead of ``$XFERBENCH_CACHE`` or the user's cache directory.
        offline: Never use the network.

    Returns:
        The data set. ``print`` shows how many pairs and materials each split has.

    Raises:
        UnknownNameError: No such data source.
        UsageError: It has no such release, is not made from files, or the name is taken.
        StorageError: The disk refuses, another run is writing there, or the directory holds something else.
        DataError: The source is out of reach or damaged, or train or test would be empty.

    Example:
        >>> import xferbench as xb
        >>> mini = xb.prepare("mini")
        >>> len(mini.pairs("test"))
        59
    """
    return datasets.prepare(
        dataset,
        None if out is None else Path(out),
        name=name,
        paths=[Path(path) for path in paths],
        release=release,
        geometry=None if geometry is None else Geometry(check_name("geometry", geometry, GEOMETRIES)),
        split_by=split_by,
        hold_out=hold_out,
        fractions=fractions,
        salt=salt,
        cache_dir=_path(cache_dir),
        offline=offline,
    )


def verify_dataset(
    dataset: str = "mini",
    *,
    out: StrPath | None = None,
    paths: Sequence[StrPath] = (),
    release: str | None = None,
    geometry: Literal["same_geometry", "same_material"] | None = None,
    split_by: Literal["material", "chemsys", "prototype"] = "material",
    hold_out: Sequence[str] = (),
    cache_dir: StrPath | None = None,
) -> Dataset:
    """Compute again every hash, count, id, pair and split that a prepared data set states, and open it. Nothing is written.

    Args:
        dataset: The name of a prepared data set or a source.
        out: Its directory; where the name has it if not given.
        paths: As for ``prepare``, to say which one is meant.
        release: The same.
        geometry: The same.
        split_by: The same.
        hold_out: The same.
        cache_dir: Instead of ``$XFERBENCH_CACHE`` or the user's cache directory.

    Raises:
        StorageError: It is not prepared.
        IntegrityError: It is damaged; every problem in one message.
        DataError: The directory holds another data set.
    """
    return datasets.check(
        dataset,
        _path(out),
        paths=[Path(path) for path in paths],
        release=release,
        geometry=None if geometry is None else Geometry(check_name("geometry", geometry, GEOMETRIES)),
        split_by=split_by,
        hold_out=hold_out,
        cache_dir=_path(cache_dir),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport:
    """What a training set shares with the test pairs. ``print`` shows counts only.

    Attributes:
        audit: Counts, and unless they were left out the pairs that overlap.
    """

    audit: Audit

    def to_json(self) -> dict[str, Any]:
        """Counts as plain values; the pairs that overlap are in the file that ``audit_overlap`` writes."""
        return {**dataclasses.asdict(self.audit), "overlapping": None}

    def __str__(self) -> str:
        made = self.audit
        lines = [
            f"{made.train_records} training records against {made.test_pairs} {made.split} pairs of {made.dataset} {made.version}"
        ]
        for kind, meaning in audits.KINDS.items():
            told = (
                f"{made.compared[kind]} records have one"
                if made.compared[kind]
                else "no record has one: nothing is proved"
            )
            lines.append(f"  {kind:12s} {made.counts[kind]:7d} pairs overlap ({meaning}; {told})")
        if made.unread:
            lines.append(
                f"  {made.unread} records could not be compared: no structure, no formula, no id as the data set has them"
            )
        if made.uncompared:
            lines.append(f"  {made.uncompared} structures of a test composition that could not be compared")
        lines += [f"  {name:15s} {count:7d} pairs" for name, count in made.regimes.items()]
        return "\n".join(lines)


def audit_overlap(
    target: str,
    train: StrPath,
    *,
    tolerance: float = TOLERANCE,
    counts_only: bool = False,
    with_hash: bool = False,
    out: StrPath | None = None,
    cache_dir: StrPath | None = None,
    offline: bool = False,
) -> AuditReport:
    """Compare a training set with the test pairs of a task or data set. Nothing leaves this machine.

    Args:
        target: A task, or the name or path of a data set.
        train: The training set: a file or a directory of JSON documents, JSON lines, extended XYZ, Parquet, CSV, or a text
            file of ids or formulas, one a line.
        tolerance: Up to which structures are the same, in units of (volume per atom)^(1/3).
        counts_only: Leave out which pairs overlap.
        with_hash: State the SHA-256 of the training file.
        out: Where to write the audit as JSON, for ``score``; nothing is written if not given.
        cache_dir: Instead of ``$XFERBENCH_CACHE`` or the user's cache directory.
        offline: Never use the network.

    Raises:
        UsageError: Unknown names, or a tolerance that is none.
        DataError: The training set cannot be read, or the data set is damaged or another one than the task's.
    """
    if target.endswith(".toml") or target.partition("@")[0] in list_tasks():
        task = load_task(target)
        split = task.split
        data = open_dataset(task.dataset, fingerprint=task.fingerprint, cache_dir=_path(cache_dir), offline=offline)
        check_dataset(task, data)
    else:
        data, split = open_dataset(target, cache_dir=_path(cache_dir), offline=offline), "test"
    made = audits.audit(
        data, Path(train), split=split, tolerance=tolerance, counts_only=counts_only, with_hash=with_hash
    )
    if out is not None:
        audits.write_audit(Path(out), made)
    return AuditReport(audit=made)


def exclude_from_source(dataset: Dataset, train: StrPath) -> Exclusion:
    """Write, beside a prepared data set, which records of a source training set share nothing with its test pairs.

    Args:
        dataset: Opened.
        train: The training set of the source functional: a file or a directory.

    Returns:
        How many records are left, and why others are not; ``print`` says it in a line.

    Raises:
        DataError: The training set cannot be read, or nothing is left of it.
    """
    directory = dataset.directory
    return exclude_test(dataset, Path(train), directory.with_name(f"{directory.name}.source-train.txt"))


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalysisReport:
    """How far the labels of two functionals differ. ``print`` shows the table.

    Attributes:
        analysis: Every number.
        written: Files that were written.
    """

    analysis: Analysis
    written: list[Path]

    def to_json(self) -> dict[str, Any]:
        """Plain values, as ``analysis.json`` has them."""
        return self.analysis.to_json()

    def __str__(self) -> str:
        return analysis.terminal_table(self.analysis)


def analyze(
    dataset: StrPath = "mini",
    *,
    split: Literal["train", "val", "test"] | None = None,
    functional: str | None = None,
    n_resamples: int = 1000,
    seed: int = 0,
    out: StrPath | None = None,
    png: bool = False,
    cache_dir: StrPath | None = None,
    offline: bool = False,
) -> AnalysisReport:
    """Compare the labels of the two functionals of a data set, before and after elemental references are removed.

    Args:
        dataset: The name or path of a data set.
        split: Only these pairs; all of them if not given.
        functional: Which source functional, where there are several: they are never pooled. The one most pairs have if not
            given.
        n_resamples: Of the materials, for every interval.
        seed: Of resamples, trees and permutations.
        out: Where tables, figures, report and page go; nothing is written if not given.
        png: Whether to write the figures as PNG too.
        cache_dir: Instead of ``$XFERBENCH_CACHE`` or the user's cache directory.
        offline: Never use the network.

    Raises:
        DataError: Nothing to compare, or the data set is damaged.
        UsageError: Unknown names, or PNG without a directory or without its packages.
    """
    if split is not None:
        check_name("split", split, SPLITS)
    if png and out is None:
        raise UsageError("--png needs a directory for the figures; add --out DIRECTORY")
    if png:
        raster.require()  # a missing package should not cost the analysis
    settings = analysis.Settings(split=split, functional=functional, n_resamples=n_resamples, seed=seed)
    found = analysis.analyze(open_dataset(dataset, cache_dir=_path(cache_dir), offline=offline), settings)
    written = [] if out is None else analysis.write(found, Path(out), png=png)
    return AnalysisReport(analysis=found, written=written)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """The files of an export. ``print`` shows them with their frames, and what they lack."""

    files: tuple[Exported, ...]

    def to_json(self) -> list[dict[str, Any]]:
        """Plain values."""
        return [{**dataclasses.asdict(item), "path": str(item.path)} for item in self.files]

    def __str__(self) -> str:
        lines = []
        for item in self.files:
            lacking = [f"{count} without {name}" for name, count in item.missing.items()]
            lacking += [f"{count} left out: {reason}" for reason, count in item.left_out.items()]
            lines.append(f"{item.path}: {item.frames} frames" + (f" ({', '.join(lacking)})" if lacking else ""))
        return "\n".join(lines)


def export_dataset(
    dataset: StrPath = "mini",
    *,
    format: Literal["extxyz", "mace", "chgnet"],  # noqa: A002 - what everybody calls it
    out: StrPath,
    cache_dir: StrPath | None = None,
    offline: bool = False,
) -> ExportReport:
    """Write a data set in the format of a trainer, one file for each functional and split. No number loses a digit.

    Args:
        dataset: The name or path of a data set.
        format: Whose keys and units: ``extxyz`` is ASE's, ``mace`` has ``REF_energy`` and so on, ``chgnet`` is its JSON.
        out: Directory for the files.
        cache_dir: Instead of ``$XFERBENCH_CACHE`` or the user's cache directory.
        offline: Never use the network.

    Raises:
        DataError: The data set is damaged or has no structures, or the disk refuses.
        UsageError: Unknown names.
    """
    data = open_dataset(dataset, cache_dir=_path(cache_dir), offline=offline)
    return ExportReport(files=tuple(export.export(data, format, Path(out))))


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishReport:
    """What was uploaded, or would be. ``print`` shows the files with their sizes, and where they are."""

    published: Published

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return dataclasses.asdict(self.published)

    def __str__(self) -> str:
        published = self.published
        width = max(map(len, published.files))
        lines = [f"{name:{width}s} {size:12,d} bytes" for name, size in published.files.items()]
        total = f"{len(published.files)} files, {sum(published.files.values()):,d} bytes"
        sent = f"uploaded to {published.address}"
        return "\n".join(
            [*lines, f"{total}: {sent if published.uploaded else f'would go to {published.address}; nothing sent'}"]
        )


def publish_dataset(
    dataset: StrPath, repo_id: str, *, private: bool = False, dry_run: bool = False, cache_dir: StrPath | None = None
) -> PublishReport:
    """Verify a prepared data set and upload it to the Hugging Face Hub as one commit.

    The token is the one that ``huggingface_hub`` finds: ``HF_TOKEN``, or that of ``hf auth login``.

    Args:
        dataset: The name or path of a prepared data set.
        repo_id: ``owner/name``; made if it does not exist.
        private: Make a new repository private; an existing one stays what it is.
        dry_run: Verify and list only; the network is not used.
        cache_dir: Instead of ``$XFERBENCH_CACHE`` or the user's cache directory.

    Raises:
        IntegrityError: The directory is not what its manifest says.
        UsageError: The name is no repository, or the network is forbidden.
        StorageError: The Hub refuses: no token, no right to write, no connection.
    """
    publish.check_repository(repo_id)
    data = open_dataset(dataset, cache_dir=_path(cache_dir), offline=True)
    return PublishReport(published=publish.publish_dataset(data.directory, repo_id, private=private, dry_run=dry_run))


def _path(path: StrPath | None) -> Path | None:
    return None if path is None else Path(path)
