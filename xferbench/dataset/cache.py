"""Where prepared data sets live, whether the network may be used, and how a source is loaded."""

from __future__ import annotations

import inspect
import os
from pathlib import Path
from typing import TYPE_CHECKING

from xferbench.registry import SOURCES, resolve

if TYPE_CHECKING:
    from xferbench.records import SourceDataset

TRUE = ("1", "ON", "TRUE", "YES")
"""Values of an environment variable that mean yes, in any case; those of ``huggingface_hub``."""


def cache_directory(cache_dir: Path | None = None) -> Path:
    """The argument, else ``XFERBENCH_CACHE``, else ``xferbench`` in ``XDG_CACHE_HOME`` or ``~/.cache``."""
    if cache_dir is not None:
        return cache_dir
    own, shared = os.environ.get("XFERBENCH_CACHE"), os.environ.get("XDG_CACHE_HOME")
    if own:
        return Path(own)
    return (Path(shared) if shared else Path.home() / ".cache") / "xferbench"


def is_offline(flag: bool = False) -> bool:
    """Whether the network is forbidden: by the flag, ``XFERBENCH_OFFLINE`` or ``HF_HUB_OFFLINE``."""
    names = ("XFERBENCH_OFFLINE", "HF_HUB_OFFLINE")
    return flag or any(os.environ.get(name, "").upper() in TRUE for name in names)


def load_source(name: str, *, cache_dir: Path | None = None, offline: bool = False) -> SourceDataset:
    """Load a data source.

    A loader that uses the network takes ``offline`` and ``cache_dir``, and raises ``DataError`` when it is offline and has
    no copy. One that needs neither takes neither.

    Raises:
        UnknownNameError: No such source.
        DataError: The source is out of reach or damaged.
    """
    load = resolve("dataset", name, SOURCES)
    options = {"cache_dir": cache_directory(cache_dir), "offline": is_offline(offline)}
    accepted = inspect.signature(load).parameters
    source: SourceDataset = load(**{key: value for key, value in options.items() if key in accepted})
    return source


def locate(name: str, cache_dir: Path | None = None) -> Path:
    """The directory in the cache where the present version of a data set is prepared.

    Raises:
        UnknownNameError: No such source.
    """
    return place(load_source(name, cache_dir=cache_dir), cache_dir)


def place(source: SourceDataset, cache_dir: Path | None = None) -> Path:
    """The directory in the cache for a loaded source."""
    return cache_directory(cache_dir) / "datasets" / f"{source.name}-{source.version}"
