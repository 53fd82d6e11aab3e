"""Source -> pairs -> splits -> directory."""

from __future__ import annotations

import logging
import platform
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

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
from xferbench.dataset.plausibility import Plausibility
from xferbench.dataset.sharding import write_shards
from xferbench.dataset.upstream import differs, made_from, stated_facts
from xferbench.errors import DataError, IntegrityError, StorageError
from xferbench.pairing import NO_PARTNER
from xferbench.records import SPLITS, Geometry
from xferbench.sources.reading import REPEATED_RECORD
from xferbench.splits import filled, rule_facts
from xferbench.storage import disk_errors, new_directory, sha256, tidy, write_json, write_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from xferbench.dataset.gathering import Paired
    from xferbench.functionals import Pair
    from xferbench.records import Drop, SourceDataset

LIBRARIES = ("ase", "datasets", "numpy", "pyarrow", "pymatgen", "xferbench")
CONSEQUENCES = {REPEATED_RECORD: 1, NO_PARTNER: 2}
"""Reasons that follow from others: they are told only where there is nothing else to tell, the last one last."""

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


def build_if_needed(source: SourceDataset, directory: Path) -> Dataset:
    """Open the data set in a directory if it is what a source gives, whole and up to date; else build it there.

    A directory that was made from the same upstream files is left alone after its files' hashes were compared; one that
    holds the same content, after it was verified. A damaged or outdated one is replaced, which is logged as a warning.

    Raises:
        StorageError: The disk refuses, another run is writing there, or the directory holds something else.
        DataError: The source is out of reach or damaged, or train or test would be empty.
    """
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
    with ExitStack() as stack:
        paired, functionals = _paired(source, directory, stack)
        if any(not paired.tally.places.count(split) for split in ("train", "test")):
            other = filled(paired.tally.places.materials, source.split)
            if other is not None:  # few materials: what they are dealt by is no more than chance
                log.warning(
                    "note: of %d materials none fell to train or to test by salt %r; they are dealt by %r",
                    len(paired.tally.places.materials), source.split.salt, other.salt,
                )  # fmt: skip
                stack.close()
                source, stated = replace(source, split=other), {**stated, "split_rule": rule_facts(other)}
                paired, functionals = _paired(source, directory, stack)
        drops = sorted([*source.drops, *paired.unpaired], key=lambda drop: (drop.record_id, drop.reason, drop.detail))
        facts = {**stated, "functionals": functionals.to_json(), **paired.facts(drops)}
        _check_splits(facts, drops)
        yield _Draft(paired=paired, drops=drops, facts=facts, card=render(facts, source.card))


def _paired(source: SourceDataset, directory: Path, stack: ExitStack) -> tuple[Paired, Pair]:
    gathering = stack.enter_context(Gathering(_existing(directory)))
    gathering.add_frames(source.frames)
    functionals = source.functionals or gathering.functionals()
    plausibility = Plausibility(geometry=source.geometry)
    return gathering.pair(functionals, source.geometry, source.split, plausibility), functionals


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
        first = min(drops, key=lambda drop: (CONSEQUENCES.get(drop.reason, 0), len(drop.detail) < 40))  # a cause first
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
    parts: list[tuple[tuple[str, ...], Paired]] = [(("target",) if unpaired else CONFIGS, draft.paired)]
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
