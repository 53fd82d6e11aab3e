"""Source -> pairs -> splits -> directory."""

from __future__ import annotations

import logging
import platform
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from xferbench.dataset.cache import load_source, place
from xferbench.dataset.card import render
from xferbench.dataset.gathering import Gathering
from xferbench.dataset.integrity import verify
from xferbench.dataset.layout import (
    CARD,
    CONFIGS,
    DROPS,
    MANIFEST,
    TRAINING,
    drops_text,
    foreign_files,
    has_manifest,
    read_manifest,
    seal,
)
from xferbench.dataset.opened import Dataset
from xferbench.dataset.sharding import write_shards
from xferbench.dataset.upstream import differs, made_from, stated_facts
from xferbench.errors import DataError, IntegrityError, StorageError
from xferbench.records import SPLITS, Geometry
from xferbench.storage import disk_errors, new_directory, sha256, tidy, write_json, write_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from xferbench.dataset.gathering import Paired
    from xferbench.records import Drop, SourceDataset
    from xferbench.splits import Grouping

LIBRARIES = ("ase", "datasets", "numpy", "pyarrow", "pymatgen", "xferbench")
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Draft:
    """A data set that is paired but not written.

    Attributes:
        facts: The manifest without what depends on the written bytes and the library versions.
        card: Text of README.md.
    """

    paired: Paired
    drops: Sequence[Drop]
    facts: Mapping[str, Any]
    card: str


def prepare(
    name: str,
    directory: Path | None = None,
    *,
    release: str | None = None,
    paths: Sequence[Path] = (),
    cache_dir: Path | None = None,
    offline: bool = False,
    geometry: Geometry | None = None,
    split_by: Grouping = "material",
    hold_out: Sequence[str] = (),
) -> Dataset:
    """Make sure that a data set is on disk, whole and up to date, and open it.

    A directory that was made from the same upstream files is left alone after its files' hashes were compared; one that
    holds the same content, after it was verified. A damaged or outdated one is replaced,
    which is logged as a warning.

    Args:
        name: A key of ``SOURCES``.
        directory: Where to write; its place in the cache if not given.
        release: Of the upstream data set; the newest if not given.
        paths: Upstream files, or directories of them, to read instead of the network.
        cache_dir: See ``cache_directory``.
        offline: Forbid the network, as ``HF_HUB_OFFLINE`` does.
        geometry: What the two frames of a pair share, where the files are a user's own.
        split_by: What goes into one split together, see ``grouping``. Another grouping is another version of the data set.
        hold_out: Symbols of elements that only test may contain; that is another version, too.

    Raises:
        UnknownNameError: No such data set.
        UsageError: It has no such release, or is not made from files; or a held-out element does not exist.
        StorageError: The disk refuses, another run is writing there, or the directory holds something else.
        DataError: The source is out of reach or damaged, or train or test would be empty.
    """
    source = load_source(
        name,
        release=release,
        paths=paths,
        cache_dir=cache_dir,
        offline=offline,
        geometry=geometry,
        split_by=split_by,
        hold_out=hold_out,
    )
    directory = place(source, cache_dir) if directory is None else directory
    stated = stated_facts(source)
    tidy(directory)
    known = made_from(directory, stated)
    if known is not None:
        log.info("%s was made from the same files and is up to date", directory)
        return known
    with _drafted(source, directory, stated) as draft:
        if has_manifest(directory) and _up_to_date(directory, draft):
            log.info("%s is verified and up to date", directory)
            return Dataset.open(directory)
        return _write(draft, directory)


def build(source: SourceDataset, directory: Path) -> Dataset:
    """Pair, split and write a data source, replacing a data set that is already there.

    Raises:
        StorageError: The disk refuses, another run is writing there, or the directory holds something else.
        DataError: Train or test would be empty.
    """
    with _drafted(source, directory, stated_facts(source)) as draft:
        return _write(draft, directory)


def library_versions() -> dict[str, str | None]:
    """Versions of Python and of the libraries that can move a byte of the files; ``None`` if one is not installed."""
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    return versions


@contextmanager
def _drafted(source: SourceDataset, directory: Path, stated: Mapping[str, Any]) -> Iterator[_Draft]:
    """Read and pair a source, with the disk that ``directory`` is on for what does not fit into memory.

    Args:
        source: What to read.
        directory: Where the data set is to be.
        stated: See ``stated_facts``.
    """
    with Gathering(_existing(directory)) as gathering:
        gathering.add_frames(source.frames)
        paired = gathering.pair(source.geometry, source.split)
        drops = sorted([*source.drops, *paired.unpaired], key=lambda drop: (drop.record_id, drop.reason, drop.detail))
        facts = {**stated, **paired.facts(drops)}
        _check_splits(facts, drops)
        yield _Draft(paired=paired, drops=drops, facts=facts, card=render(facts, source.card))


def _existing(directory: Path) -> Path:
    """The nearest directory above that exists."""
    with disk_errors("read", directory):
        return next(path for path in directory.absolute().parents if path.is_dir())


def _check_splits(facts: Mapping[str, Any], drops: Sequence[Drop]) -> None:
    """Without training or test pairs there is nothing to benchmark."""
    empty = [split for split in ("train", "test") if not facts["splits"][split]["pairs"]]
    if not empty:
        return
    what = "frames" if facts["geometry"] == Geometry.UNPAIRED.value else "pairs"
    counts = {split: split_facts["pairs"] for split, split_facts in facts["splits"].items()}
    materials = sum(split_facts["materials"] for split_facts in facts["splits"].values())
    if drops and not materials:
        first = drops[0]
        raise DataError(
            f"data set {facts['dataset']!r} has no {what}: all was left out ({facts['drops']}), "
            f"such as {first.record_id!r}: {first.reason}, {first.detail}"
        )
    if not materials:
        raise DataError(
            f"data set {facts['dataset']!r} has no {what}: what it is made from holds no records; look there"
        )
    raise DataError(
        f"data set {facts['dataset']!r} has no {what} in {' and '.join(empty)}: {sum(counts.values())} {what} of {materials} "
        f"materials fell as {counts} (left out: {facts['drops'] or 'none'}) by fractions "
        f"{facts['split_rule']['fractions']} of salt {facts['split_rule']['salt']!r}; add materials or change the rule"
    )


def _up_to_date(directory: Path, draft: _Draft) -> bool:
    """Whether the directory holds exactly the draft and is whole; says in the log why not.

    Raises:
        StorageError: It holds another data set.
    """
    try:
        manifest, values = read_manifest(directory)
        if manifest.dataset != draft.facts["dataset"]:
            raise StorageError(
                f"{directory} holds the data set {manifest.dataset!r}, not {draft.facts['dataset']!r}; "
                "choose another place or remove it"
            )
        verify(directory)
    except IntegrityError as error:
        log.warning("building again: %s", error)
        return False
    if differs(values, draft.facts) or draft.card != _text(directory / CARD):
        log.warning("building again: %s is an older state of the data set %s", directory, manifest.dataset)
        return False
    return True


def _write(draft: _Draft, directory: Path) -> Dataset:
    _check_replaceable(directory)
    with new_directory(directory) as new:
        rows = {DROPS: len(draft.drops)}
        for split in SPLITS:
            for configs, found in _parts(draft):
                rows |= write_shards(new, split, found.tables(split), configs)
        write_text(new / DROPS, drops_text(draft.drops))
        write_text(new / CARD, draft.card)
        files = {
            path: {"sha256": sha256(new / path), "bytes": (new / path).stat().st_size, "rows": rows.get(path)}
            for path in (CARD, *rows)
        }
        write_json(new / MANIFEST, seal({**draft.facts, "files": files, "libraries": library_versions()}))
    return Dataset.open(directory)


def _parts(draft: _Draft) -> list[tuple[tuple[str, ...], Paired]]:
    """What is written into which configurations."""
    unpaired = draft.facts["geometry"] == Geometry.UNPAIRED.value
    parts: list[tuple[tuple[str, ...], Paired]] = [(("r2scan",) if unpaired else CONFIGS, draft.paired)]
    return parts if draft.paired.training is None else [*parts, ((TRAINING,), draft.paired.training)]


def _check_replaceable(directory: Path) -> None:
    """Never remove what is not a data set: a directory is replaced only if every file in it is one that a data set has."""
    with disk_errors("read", directory):
        if not directory.is_dir() or not any(directory.iterdir()):
            return
        foreign = foreign_files(directory)
    if foreign or not has_manifest(directory):
        what = f"holds {foreign[0]}" if foreign else f"has no {MANIFEST}"
        raise StorageError(
            f"{directory} is not empty and {what}, so it is no data set to replace; remove it or choose another place"
        )


def _text(path: Path) -> str:
    with disk_errors("read", path):
        return path.read_text(encoding="utf-8")
