"""Files that are whole or absent: temporary name, flush to disk, then move; hashes; locks; one kind of JSON.

Everything the suite writes goes through here, so a run killed at any moment leaves the old file or none.
"""

from __future__ import annotations

import errno
import getpass
import hashlib
import json
import math
import os
import secrets
import shutil
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from xferbench.errors import IntegrityError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

TEMPORARY = ".xferbench-tmp-"
YOUNG = 2.0
"""Seconds that a temporary file may be without a lock: it is opened first and locked then."""

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

    Temporary files that killed runs left beside ``path`` are removed.

    Raises:
        StorageError: The disk refuses.
    """
    temporary = path.with_name(f"{TEMPORARY}{path.name}-{secrets.token_hex(8)}")
    with disk_errors("write", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path.parent)
        try:
            with temporary.open("xb") as stream:
                _hold(stream)  # until it is closed: this one is not left over
                stream.writelines(chunks)
                stream.flush()
                os.fsync(stream.fileno())
                temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def _sweep(directory: Path) -> None:
    """Remove temporary files that nobody is writing any more: the system takes back the lock of whoever is gone."""
    for leftover in directory.glob(f"{TEMPORARY}*-{'[0-9a-f]' * 16}"):
        with suppress(OSError), leftover.open("rb") as stream:
            _hold(stream)
            if time.time() - leftover.stat().st_mtime > YOUNG:
                leftover.unlink()


def _hold(stream: IO[bytes]) -> None:
    """Lock an open file until it is closed, where the system can.

    Raises:
        OSError: Another process holds it.
    """
    try:
        import fcntl
    except ImportError:  # Windows, where a file that is being written cannot be removed anyway
        return
    fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)


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
    with disk_errors("read", path):
        size = path.stat().st_size
    if size > JSON_BYTES:
        raise IntegrityError(f"{path} has {size} bytes, and no file of this kind more than {JSON_BYTES}; make it again")
    data = read_bytes(path)
    try:
        value = json.loads(data, object_pairs_hook=_object)
        _check_depth(value)
    except (ValueError, RecursionError) as error:  # the second: brackets nested by the thousand
        raise IntegrityError(
            f"{path} is not valid JSON ({error}); it is truncated or was altered: mend it or make it again"
        ) from error
    return value


JSON_BYTES = 1 << 28
"""Of a file of JSON that is read whole."""

JSON_DEPTH = 40
"""Brackets within brackets: more is no file of this package, and breaks whoever walks through it."""


def _check_depth(value: object, depth: int = 0) -> None:
    if depth > JSON_DEPTH:
        raise ValueError(f"brackets nested deeper than {JSON_DEPTH}")
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            _check_depth(item, depth + 1)


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


def cache_directory(cache_dir: Path | None = None) -> Path:
    """The argument, else ``XFERBENCH_CACHE``, else ``xferbench`` in ``XDG_CACHE_HOME`` or ``~/.cache``."""
    if cache_dir is not None:
        return cache_dir
    own, shared = os.environ.get("XFERBENCH_CACHE"), os.environ.get("XDG_CACHE_HOME")
    if own:
        return Path(own)
    return (Path(shared) if shared else Path.home() / ".cache") / "xferbench"


def aside(kind: str, path: Path, ending: str = "") -> Path:
    """Where something that belongs to a path and not into its folder is kept: in the cache, else among temporary files.

    Args:
        kind: ``locks`` or ``logs``.
        path: What it belongs to.
        ending: Of its name.
    """
    whole = path.absolute() if not path.parent.exists() else path.parent.resolve() / path.name
    name = f"{whole.name[:60]}-{hashlib.sha256(str(whole).encode()).hexdigest()[:16]}{ending}"
    for place in (cache_directory(), Path(tempfile.gettempdir()) / f"xferbench-{getpass.getuser()}"):
        with suppress(OSError):
            (place / kind).mkdir(parents=True, exist_ok=True)
            if os.access(place / kind, os.W_OK):
                return place / kind / name
    return path.with_name(f".{path.name}{ending or '.lock'}")


@contextmanager
def lock(path: Path, *, wait: float = 0.0) -> Iterator[None]:
    """Hold the lock of a path for the block. The system frees it when the process ends, however it ends.

    The lock is a file in the cache, called by a hash of the path: nothing is left beside what people commit.

    Args:
        path: What is to be written by nobody else meanwhile.
        wait: Seconds to wait for another process to let it go.

    Raises:
        StorageError: Another process holds it, or the lock file cannot be made.
    """
    import filelock

    name = aside("locks", path)
    with disk_errors("lock", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        name.parent.mkdir(parents=True, exist_ok=True)
        held = filelock.FileLock(name, timeout=wait)
        try:
            held.acquire()
        except filelock.Timeout as error:
            raise StorageError(
                f"{path} is being written by another run; wait for it or choose another output"
            ) from error
    try:
        yield
    finally:
        held.release()


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
