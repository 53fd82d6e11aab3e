"""This package's own source: what of it a model's interpreter is given, and which state of it that is."""

from __future__ import annotations

import hashlib
import shutil
from contextlib import suppress
from importlib.util import cache_from_source
from pathlib import Path
from typing import TYPE_CHECKING

from xferbench.storage import disk_errors, sha256

if TYPE_CHECKING:
    from xferbench.models.spec import ModelSpec

PACKAGE = Path(__file__).parents[1]
SUFFIXES = (".py", ".toml")
"""Code and its small tables. Labels lie in files of other kinds: a model's process is given none of them."""


def copy_source(directory: Path) -> str:
    """Write the package's source below ``directory``, so that it can be imported from there.

    What this interpreter has compiled goes with it: the same interpreter then starts in half the time, others ignore it.

    Returns:
        ``source_sha256`` of the copy.

    Raises:
        StorageError: The disk refuses.
    """
    with disk_errors("write", directory):
        for path in _files():
            for file in (path, Path(cache_from_source(str(path)))):
                copy = directory / PACKAGE.name / file.relative_to(PACKAGE)
                copy.parent.mkdir(parents=True, exist_ok=True)
                with suppress(FileNotFoundError):
                    shutil.copy2(file, copy)  # for this run alone: nothing that a crash may not halve
        return source_sha256(directory / PACKAGE.name)


def source_sha256(package: Path = PACKAGE) -> str:
    """Hash of the package's source, by default as it was imported: two ends of a pipe that agree on it agree on everything."""
    digest = hashlib.sha256()
    for path in _files(package):
        data = path.read_bytes()
        digest.update(f"{path.relative_to(package).as_posix()} {len(data)}\n".encode() + data)
    return f"sha256:{digest.hexdigest()}"


def spec_sha256(spec: ModelSpec) -> str | None:
    """Hash of a user's model file; ``None`` for a built-in model.

    Raises:
        StorageError: It cannot be read.
    """
    return None if spec.path is None else sha256(Path(spec.path))


def _files(package: Path = PACKAGE) -> list[Path]:
    files = (path for suffix in SUFFIXES for path in package.rglob(f"*{suffix}"))
    return sorted(
        path for path in files if not path.relative_to(package).parts[0].startswith("_") or path.parent == package
    )
