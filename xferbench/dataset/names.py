"""What the name of a data set means: the index of prepared sets, and the one way to open one.

``<cache>/prepared.json`` has an entry for every data set that was prepared, wherever it was written. In every command and in
Python a data set is named in one way, and ``open_dataset`` reads the name in this order:

1. the name of a prepared set: that of its source, that with its split (``mini+by-chemsys``), or the one it was given; if
   several have one name, the one prepared last that is still there. A set that comes with the package (``mini``) is always as
   this version of the package has it;
2. the name of a source that can be prepared, which then happens;
3. the path of a prepared directory. A path with a separator (``./mini``) is never taken for a name.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shlex
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from xferbench.dataset.building import build_if_needed
from xferbench.dataset.cache import load_source, place
from xferbench.dataset.integrity import verify
from xferbench.dataset.layout import MANIFEST
from xferbench.dataset.opened import Dataset
from xferbench.errors import DataError, FormatError, IntegrityError, StorageError, UnknownNameError, UsageError
from xferbench.registry import EMBEDDED, SOURCES, near
from xferbench.schema import parse
from xferbench.splits import regroup
from xferbench.storage import cache_directory, lock, read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from xferbench.records import Geometry, SourceDataset
    from xferbench.splits import Grouping

INDEX = "prepared.json"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
PATIENCE = 30.0
"""Seconds to wait for another process that is writing the index, which takes it milliseconds."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """An entry of the index: a data set that was prepared.

    Attributes:
        name: What it is called.
        directory: Where it was written, as an absolute path.
        version: Of the data source, with the mark of its split.
        fingerprint: Digest of every structure, label and split.
        bytes: Size of its files.
        recipe: The command that makes it again.
    """

    name: str
    directory: str
    version: str
    fingerprint: str
    bytes: int
    recipe: str

    @property
    def is_there(self) -> bool:
        """Whether the directory still holds a data set with this fingerprint; its files are compared when it is opened."""
        try:
            manifest = json.loads((Path(self.directory) / MANIFEST).read_bytes())
        except (OSError, ValueError):
            return False
        return isinstance(manifest, dict) and manifest.get("fingerprint") == self.fingerprint


@dataclass(frozen=True, slots=True, kw_only=True)
class _Index:
    """The file: the data set that was prepared last comes last."""

    schema: Literal[1]
    datasets: tuple[Prepared, ...]


def prepared(cache_dir: Path | None = None) -> list[Prepared]:
    """Every data set that was prepared, in the order in which their names mean them: the last one of a name counts.

    Args:
        cache_dir: See ``cache_directory``.

    Raises:
        StorageError: The index cannot be read.
        DataError: It is damaged.
    """
    path = cache_directory(cache_dir) / INDEX
    if not path.exists():
        return []
    try:
        return list(parse(_Index, read_json(path), path).datasets)
    except (FormatError, IntegrityError) as error:
        raise IntegrityError(
            f"{path} is damaged ({error}); remove it and run `xferbench prepare` again: data sets stay where they are"
        ) from error


def prepare(
    source: str,
    directory: Path | None = None,
    *,
    name: str | None = None,
    release: str | None = None,
    paths: Sequence[Path] = (),
    geometry: Geometry | None = None,
    split_by: Grouping = "material",
    hold_out: Sequence[str] = (),
    fractions: Sequence[float] = (),
    salt: str = "",
    cache_dir: Path | None = None,
    offline: bool = False,
) -> Dataset:
    """Make sure that a data set is on disk, whole and up to date; note it in the index, and open it.

    A directory that was made from the same upstream files is left alone after its files' hashes were compared; one that
    holds the same content, after it was verified. A damaged or outdated one is replaced, which is logged as a warning.

    Args:
        source: A key of ``SOURCES``.
        directory: Where to write; its place in the cache if not given.
        name: What to call a data set of local files; the name of its source if not given. Any command takes it from then on.
        release: Of the upstream data set; the newest if not given.
        paths: Upstream files, or directories of them, to read instead of the network.
        geometry: What the two frames of a pair share, where the files are a user's own.
        split_by: What goes into one split together, see ``grouping``. Another grouping is another version of the data set.
        hold_out: Symbols of elements that only test may contain; that is another version, too.
        fractions: Of train, val and test, in place of the source's own; another version, too.
        salt: Of the hash that deals materials; the same.
        cache_dir: See ``cache_directory``.
        offline: Forbid the network, as ``HF_HUB_OFFLINE`` does.

    Raises:
        UnknownNameError: No such data set.
        UsageError: It has no such release, or is not made from files; a held-out element does not exist; a name is taken.
        StorageError: The disk refuses, another run is writing there, or the directory holds something else.
        DataError: The source is out of reach or damaged, or train or test would be empty.
    """
    if name is not None:
        _check_new_name(name, source, paths)
    if source not in SOURCES and (known := _named(source, cache_dir)):
        raise UnknownNameError(
            f"{source!r} is a prepared data set, not a source; it was made by `{known[-1].recipe}`, and any command opens it"
        )
    loaded = load_source(
        source,
        release=release,
        paths=paths,
        cache_dir=cache_dir,
        offline=offline,
        geometry=geometry,
        split_by=split_by,
        hold_out=hold_out,
        fractions=fractions,
        salt=salt,
    )
    if name is not None:
        loaded = replace(loaded, name=name)
    words = ["xferbench", "prepare", source]
    words += [] if release is None else ["--release", release]
    words += [word for path in paths for word in ("--from", _absolute(path))]
    words += [] if geometry is None else ["--geometry", geometry.value]
    words += [] if split_by == "material" else ["--split-by", split_by]
    words += ["--hold-out-elements", ",".join(hold_out)] if hold_out else []
    words += ["--fractions", ",".join(f"{part:g}" for part in fractions)] if fractions else []
    words += ["--salt", salt] if salt else []
    words += [] if name is None else ["--name", name]
    words += [] if directory is None else ["--out", str(directory.resolve())]
    called = name or f"{loaded.name}{regroup(loaded.split, split_by, hold_out, fractions, salt)[1]}"
    return prepare_source(loaded, directory, name=called, recipe=shlex.join(words), cache_dir=cache_dir)


def prepare_source(
    source: SourceDataset, directory: Path | None = None, *, name: str, recipe: str, cache_dir: Path | None = None
) -> Dataset:
    """``prepare`` for a data source that is loaded already.

    Args:
        source: What to write.
        directory: Where; its place in the cache if not given.
        name: What the data set is called from then on.
        recipe: The command that makes it again.
        cache_dir: See ``cache_directory``.

    Raises:
        StorageError: The disk refuses, another run is writing there, or the directory holds something else.
        DataError: The source is out of reach or damaged, or train or test would be empty.
    """
    opened = build_if_needed(source, place(source, cache_dir) if directory is None else directory)
    try:
        _note(opened, name, recipe, cache_dir)
    except StorageError as error:  # a cache that cannot be written is no reason to refuse what is written elsewhere
        log.warning("%s is prepared, but its name is not noted: %s", opened.directory, error)
    return opened


def open_dataset(
    name: str | os.PathLike[str],
    *,
    fingerprint: str | None = None,
    cache_dir: Path | None = None,
    offline: bool = False,
    say: Callable[[str], None] | None = None,
) -> Dataset:
    """Open a data set by its name or its path, after comparing the size and hash of every file with its manifest.

    What is prepared and whole is opened as it is, without the network; a source that is not prepared yet is prepared first.

    Args:
        name: Of a prepared data set or of a source, or the path of a prepared directory; see the module.
        fingerprint: Open, of all prepared sets, one with this fingerprint, as a task pins it. If there is none, the source
            is prepared, and it is for the caller to compare.
        cache_dir: See ``cache_directory``.
        offline: Forbid the network.
        say: Is told if something has to be prepared.

    Raises:
        UnknownNameError: Neither a name nor a directory.
        StorageError: It was prepared and is not there any more, or cannot be read.
        IntegrityError: A file is truncated, altered, missing or foreign.
        DataError: It cannot be prepared.

    Example:
        >>> import xferbench as xb
        >>> data = xb.open_dataset("mini")
        >>> data.frames("target", "test")[0].forces.shape[1]
        3
    """
    text = os.fspath(name)
    if os.sep in text:
        return Dataset.open(Path(text))
    say = say or log.info
    if fingerprint is not None and (found := _with_fingerprint(fingerprint, cache_dir, say)):
        return found
    entries = _named(text, cache_dir)
    there = [entry for entry in entries if entry.is_there]
    pinned, embedded = fingerprint is not None, text in EMBEDDED
    if there and not pinned and not embedded:
        return _open(there[-1])
    if text in SOURCES and (pinned or embedded or not entries or entries[-1].recipe == f"xferbench prepare {text}"):
        if pinned or not there:
            say(f"preparing data set {text}")
        opened = prepare(text, cache_dir=cache_dir, offline=offline)
        if pinned and there:  # what a task needs does not change what the name means
            _note_again(there[-1], cache_dir)
        return opened
    if there:
        return _open(there[-1])
    if entries:
        last = entries[-1]
        raise StorageError(
            f"data set {text!r} was prepared in {last.directory} and is not there any more; make it again: {last.recipe}"
        )
    if not Path(text).is_dir():
        known = sorted({*SOURCES, *(entry.name for entry in prepared(cache_dir))})
        raise UnknownNameError(f"{text!r} is neither a data set nor a directory; {near(text, known)}")
    return Dataset.open(Path(text))


def check(
    name: str,
    directory: Path | None = None,
    *,
    release: str | None = None,
    paths: Sequence[Path] = (),
    cache_dir: Path | None = None,
    geometry: Geometry | None = None,
    split_by: Grouping = "material",
    hold_out: Sequence[str] = (),
) -> Dataset:
    """Verify a prepared data set and open it; nothing is written.

    Args:
        name: Of a prepared data set or a source.
        directory: Where it is; where the index or the cache has it if not given.
        release: Which one is meant, as for ``prepare``.
        paths: The files it was made from, if it was.
        cache_dir: See ``cache_directory``.
        geometry: As for ``prepare``.
        split_by: Which split is meant, as for ``prepare``.
        hold_out: As for ``prepare``.

    Raises:
        UnknownNameError: No such data set.
        StorageError: It is not prepared.
        IntegrityError: It is damaged; every problem in one message.
        DataError: The directory holds another data set.
    """
    chosen = bool(release or paths or geometry or hold_out or split_by != "material")
    entries = [] if directory or chosen else [entry for entry in _named(name, cache_dir) if entry.is_there]
    wanted = name
    if entries:
        directory, wanted = Path(entries[-1].directory), ""
    elif directory is None:
        source = load_source(
            name,
            release=release,
            paths=paths,
            cache_dir=cache_dir,
            geometry=geometry,
            split_by=split_by,
            hold_out=hold_out,
        )
        directory = place(source, cache_dir)
    verify(directory)
    dataset = Dataset.open(directory)
    if wanted and dataset.name != wanted:
        raise DataError(
            f"{directory} holds the data set {dataset.name!r}, not {name!r}; name that one, or another place"
        )
    return dataset


def _with_fingerprint(fingerprint: str, cache_dir: Path | None, say: Callable[[str], None]) -> Dataset | None:
    """A prepared set with this fingerprint that is whole; a damaged one is passed over, and said to be."""
    for entry in reversed(prepared(cache_dir)):
        if entry.fingerprint == fingerprint and entry.is_there:
            try:
                return Dataset.open(Path(entry.directory))
            except (IntegrityError, StorageError) as error:
                say(f"passed over: {error}")
    return None


def _open(entry: Prepared) -> Dataset:
    return Dataset.open(Path(entry.directory), recipe=entry.recipe)


def _named(name: str, cache_dir: Path | None) -> list[Prepared]:
    return [entry for entry in prepared(cache_dir) if entry.name == name]


def _note(opened: Dataset, name: str, recipe: str, cache_dir: Path | None) -> None:
    """Enter a data set in the index, as what its name means now; an older entry of the directory goes."""
    files = opened.manifest["files"]
    _note_again(
        Prepared(
            name=name,
            directory=str(opened.directory.resolve()),
            version=opened.version,
            fingerprint=opened.fingerprint,
            bytes=sum(int(facts["bytes"]) for facts in files.values()),
            recipe=recipe,
        ),
        cache_dir,
    )


def _note_again(entry: Prepared, cache_dir: Path | None) -> None:
    path = cache_directory(cache_dir) / INDEX
    with lock(path, wait=PATIENCE):
        known = prepared(cache_dir)
        kept = [item for item in known if item.directory != entry.directory]
        if [*kept, entry] != known:
            write_json(path, asdict(_Index(schema=1, datasets=(*kept, entry))))


def _absolute(path: Path) -> str:
    """A ``--from`` that means the same from anywhere: ``PBE=file`` keeps its functional, the name of a repository is none."""
    before, mark, after = str(path).partition("=")
    if path.exists():
        return str(path.resolve())
    return f"{before}={Path(after).resolve()}" if mark and Path(after).exists() else str(path)


def _check_new_name(name: str, source: str, paths: Sequence[Path]) -> None:
    if not paths:
        raise UsageError(f"--name {name} is for a data set of your own files; add --from, or leave it out")
    if not NAME.fullmatch(name):
        raise UsageError(f"--name {name!r}: write letters and digits, with '.', '-', '_' or '+' between them")
    if name in SOURCES and name != source:
        raise UsageError(f"--name {name}: that is the name of a data source; choose another")
