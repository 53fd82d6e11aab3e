"""Files that are whole or absent: temporary name, flush to disk, then move; hashes; locks; one kind of JSON.

Everything the suite writes goes through here, so a run killed at any moment leaves the old file or none.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xferbench.errors import IntegrityError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator

TEMPORARY = ".xferbench-tmp-"


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
        hint = "free some space or choose another place" if error.errno == 28 else "check the path and its permissions"
        raise StorageError(f"cannot {action} {path}: {reason}; {hint}") from error


def to_json(value: object) -> str:
    """Deterministic JSON: sorted keys, full precision, one trailing newline; NaN and infinity are refused."""
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file so that it is complete under its name or not there at all.

    Raises:
        StorageError: The disk refuses.
    """
    with disk_errors("write", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=f"{TEMPORARY}{path.name}-", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            os.chmod(temporary, 0o666 & ~_umask())
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
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
        IntegrityError: It is not JSON: truncated or altered.
    """
    data = read_bytes(path)
    try:
        return json.loads(data)
    except ValueError as error:
        raise IntegrityError(f"{path} is not valid JSON ({error}); it is truncated or was altered: make it again") from error


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
            raise StorageError(f"{path} is being written by another run; wait for it or choose another output") from error
        yield


@contextmanager
def new_directory(path: Path) -> Iterator[Path]:
    """Build a directory under a temporary name beside ``path`` and move it there when the block succeeds.

    An old directory of that name is replaced. Leftovers of killed runs are removed first. Killed at any moment, ``path``
    is the old directory, the new one, or (between two renames) absent; it is never a mixture.

    Yields:
        The temporary directory to fill.

    Raises:
        StorageError: The disk refuses, or another run is writing ``path``.
    """
    with lock(path):
        with disk_errors("write", path):
            for leftover in path.parent.glob(f"{TEMPORARY}{path.name}-*"):
                shutil.rmtree(leftover)
            temporary = Path(tempfile.mkdtemp(prefix=f"{TEMPORARY}{path.name}-", dir=path.parent))
        try:
            with disk_errors("write", path):
                yield temporary
                temporary.chmod(0o777 & ~_umask())
                if path.exists():
                    old = Path(tempfile.mkdtemp(prefix=f"{TEMPORARY}{path.name}-", dir=path.parent))
                    path.replace(old / path.name)
                    temporary.replace(path)
                    shutil.rmtree(old)
                else:
                    temporary.replace(path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _umask() -> int:
    """The process's umask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
