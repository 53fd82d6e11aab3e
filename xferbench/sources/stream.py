"""Frames that are read when they are asked for, and what every source that reads files shares."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa

from xferbench.errors import DataError, UsageError
from xferbench.records import Drop, Frame
from xferbench.storage import disk_errors, sha256
from xferbench.tables import table_frames

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    Items = Iterable[Frame | Drop | pa.Table]


@dataclass(slots=True, kw_only=True, eq=False)
class FrameStream:
    """Frames of a source as they are read; what gave no frame ends in ``drops``.

    Nothing is fetched or read before the first frame is asked for, so that naming a data set costs nothing. It may be
    iterated again, and then reads again.

    Attributes:
        read: Called once per iteration; a source that is fast gives tables of ``FRAME_SCHEMA`` instead of frames.
        drops: Complete when an iteration has come to its end.
    """

    read: Callable[[], Items]
    drops: list[Drop] = field(default_factory=list)

    def __iter__(self) -> Iterator[Frame]:
        """Read from the start, frame by frame."""
        for item in self.items():
            if isinstance(item, pa.Table):
                yield from table_frames(item)
            else:
                yield item

    def items(self) -> Iterator[Frame | pa.Table]:
        """Read from the start, tables as they come."""
        self.drops.clear()
        for item in self.read():
            if isinstance(item, Drop):
                self.drops.append(item)
            else:
                yield item


def local_files(paths: Sequence[Path], accept: Callable[[str], bool], wanted: str) -> list[Path]:
    """The files a user named: a file counts as it is, of a directory and the folders in it those whose names are accepted.

    Args:
        paths: Files and directories.
        accept: Whether a file of this name, found in a directory, belongs to the source.
        wanted: What is looked for, in words, for the message.

    Returns:
        Each file once, in the order given; those of a directory by name.

    Raises:
        StorageError: A path cannot be read.
        DataError: There is nothing to read.
    """
    files: list[Path] = []
    for path in paths:
        with disk_errors("read", path):
            if path.is_dir():
                below = sorted(item for item in path.rglob("*") if item.is_file() and accept(item.name))
                files += [
                    item for item in below if not any(part.startswith(".") for part in item.relative_to(path).parts)
                ]
            else:
                path.stat()
                files.append(path)
    files = list(dict.fromkeys(files))
    if not files:
        raise DataError(f"no {wanted} in {', '.join(map(str, paths))}; name the files themselves or another directory")
    return files


def local_version(files: Iterable[Path]) -> str:
    """A version for files that a user brought: ``local-`` and 12 digits of a hash of their contents.

    Raises:
        StorageError: One cannot be read.
    """
    digests = sorted(sha256(path) for path in files)
    return f"local-{hashlib.sha256(' '.join(digests).encode()).hexdigest()[:12]}"


def check_release(name: str, release: str | None, known: Sequence[str]) -> str:
    """The release asked for, or the newest.

    Args:
        name: The data set.
        release: As on the command line.
        known: Oldest first.

    Raises:
        UsageError: There is no such release.
    """
    if release is None:
        return known[-1]
    if release not in known:
        raise UsageError(f"{name} has no release {release!r}; known: {', '.join(known)}")
    return release
