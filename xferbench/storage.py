"""Files that are whole or absent: temporary name, flush to disk, then move; hashes; locks; one kind of JSON.

Everything the suite writes goes through here, so a run killed at any moment leaves the old file or none.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import math
import os
import secrets
import shutil
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from xferbench.errors import IntegrityError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

TEMPORARY = ".xferbench-tmp-"
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def disk_errors(action: str, path: Path) -> Iterator[None]:
    """Turn an ``OSError`` inside the block into one clear line.

    Args:
        action: What was tried, as a verb: "write", "read".
        path: What it was tried on.

    Raises:
        StorageError: The system said no (disk full, read-only, missing, no permission).
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        full = error.errno in DISK_FULL
        hint = "free some space or choose another place" if full else "check the path and its permissions"
        raise StorageError(f"cannot {action} {path}: {reason}; {hint}") from error


def to_json(value: object) -> str:
    """Deterministic JSON: sorted keys, full precision, one trailing newline; NaN and infinity are refused."""
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def finite(value: float) -> float | None:
    """A number as JSON has it: null stands for NaN and infinity."""
    return value if math.isfinite(value) else None


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file so that it is complete under its name or not there at all.

    Raises:
        StorageError: The disk refuses.
    """
    write_chunks(path, [data])


def write_chunks(path: Path, chunks: Iterable[bytes]) -> None:
    """``write_bytes`` of content that is made as it is written and need not fit in memory.

    Raises:
        StorageError: The disk refuses.
    """
    temporary = path.with_name(f"{TEMPORARY}{path.name}-{secrets.token_hex(8)}")
    with disk_errors("write", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as stream:
                stream.writelines(chunks)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def write_text(path: Path, text: str) -> None:
    """``write_bytes`` in UTF-8."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: object) -> None:
    """``to_json`` through ``write_bytes``."""
    write_text(path, to_json(value))


def read_bytes(path: Path) -> bytes:
    """The bytes of a file.

    Raises:
        StorageError: It cannot be read.
    """
    with disk_errors("read", path):
        return path.read_bytes()


def read_json(path: Path) -> Any:  # noqa: ANN401 - JSON is what it is; callers check its schema
    """Parse a JSON file.

    Raises:
        StorageError: It cannot be read.
        IntegrityError: It is not JSON: truncated or altered; or an object has a name twice, and which counts is anybody's guess.
    """
    data = read_bytes(path)
    try:
        return json.loads(data, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:  # the second: brackets nested by the thousand
        raise IntegrityError(
            f"{path} is not valid JSON ({error}); it is truncated or was altered: mend it or make it again"
        ) from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object as a dictionary.

    Raises:
        ValueError: A name is there twice.
    """
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"{', '.join(map(repr, twice))} more than once in one object")
    return values


def sha256(path: Path) -> str:
    """``sha256:…`` of a file's bytes.

    Raises:
        StorageError: It cannot be read.
    """
    with disk_errors("read", path), path.open("rb") as stream:
        return f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold ``<path>.lock`` for the block. The system frees it when the process ends, however it ends.

    Raises:
        StorageError: Another process holds it, or the lock file cannot be made.
    """
    name = path.with_name(f".{path.name}.lock")
    with disk_errors("lock", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = name.open("a+")
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StorageError(
                f"{path} is being written by another run; wait for it or choose another output"
            ) from error
        yield


@contextmanager
def new_directory(path: Path) -> Iterator[Path]:
    """Build a directory under a temporary name beside ``path`` and move it there when the block succeeds.

    An old directory of that name is replaced. Killed at any moment, ``path`` is the old directory, the new one, or (between
    two renames) absent, in which case the next run puts the old one back first; it is never a mixture. The temporary
    directories have fixed names and are touched under the lock only, so no run removes what another is writing.

    Yields:
        The temporary directory to fill.

    Raises:
        StorageError: The disk refuses, ``path`` is a file, or another run is writing ``path``.
    """
    path = path.resolve()  # one lock and one place for every spelling of the path; a link to a directory stays
    new, old = _beside(path)
    with lock(path):
        with disk_errors("write", path):
            _recover(path, new, old)
            if path.exists() and not path.is_dir():
                raise StorageError(
                    f"cannot write the directory {path}: it is a file; remove it or choose another place"
                )
            new.mkdir()
        try:
            yield new
            with disk_errors("write", path):
                if path.exists():
                    path.rename(old)
                new.rename(path)
        finally:
            with suppress(OSError):  # the next run recovers, under the lock
                _recover(path, new, old)


def tidy(path: Path) -> None:
    """Finish what a killed ``new_directory`` left to do, for those who may find ``path`` as it should be and write nothing.

    Where that is not possible now, because another run is writing or the disk refuses, it is left to the next run.
    """
    path = path.resolve()
    new, old = _beside(path)
    if new.exists() or old.exists():
        with suppress(StorageError), lock(path), disk_errors("write", path):
            _recover(path, new, old)


def _beside(path: Path) -> tuple[Path, Path]:
    """The names under which ``new_directory`` keeps the new and the old directory."""
    return path.with_name(f"{TEMPORARY}{path.name}.new"), path.with_name(f"{TEMPORARY}{path.name}.old")


def _recover(path: Path, new: Path, old: Path) -> None:
    """Put back an old directory that a run stopped between two renames left aside, and remove what is left over."""
    if old.exists() and not path.exists():
        old.rename(path)
    for leftover in (new, old):
        if leftover.exists():
            shutil.rmtree(leftover)
