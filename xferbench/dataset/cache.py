"""Where prepared data sets live, whether the network may be used, and how a source is loaded."""

from __future__ import annotations

import inspect
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from xferbench.errors import DataError, UnknownNameError, UsageError
from xferbench.grouping import atomic_numbers
from xferbench.records import Geometry
from xferbench.registry import SOURCES, resolve
from xferbench.splits import regroup
from xferbench.storage import cache_directory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xferbench.records import SourceDataset
    from xferbench.splits import Grouping

TRUE = ("1", "ON", "TRUE", "YES")
"""Values of an environment variable that mean yes, in any case; those of ``huggingface_hub``."""


SALT = re.compile(r"[A-Za-z0-9.-]{1,32}")
"""What a salt may be made of."""

REFUSALS = {
    "version": ("--release", "has no releases"),
    "paths": ("--from", "is not made from files"),
    "geometry": ("--geometry", "says itself what its pairs share"),
}
"""What is asked of a loader that does not take it -> the option, and why not."""


def is_offline(flag: bool = False) -> bool:
    """Whether the network is forbidden: by the flag, ``XFERBENCH_OFFLINE`` or ``HF_HUB_OFFLINE``."""
    names = ("XFERBENCH_OFFLINE", "HF_HUB_OFFLINE")
    return flag or any(os.environ.get(name, "").upper() in TRUE for name in names)


def load_source(
    name: str,
    *,
    release: str | None = None,
    paths: Sequence[Path] = (),
    cache_dir: Path | None = None,
    offline: bool = False,
    geometry: Geometry | None = None,
    split_by: Grouping = "material",
    hold_out: Sequence[str] = (),
    fractions: Sequence[float] = (),
    salt: str = "",
) -> SourceDataset:
    """Load a data source.

    With another split than its own it is another version of the data set, whose name says so.

    A loader takes those of the keywords ``version`` (the release), ``paths``, ``geometry`` (what the pairs of a user's files
    share), ``cache_dir`` and ``offline`` that mean something to it. One that uses the network or reads large files does so
    when its frames are asked for, so that loading costs nothing, and raises ``DataError`` then if it is offline and has no
    copy.

    Raises:
        UnknownNameError: No such source.
        UsageError: The source has no releases, or is not made from files; or a held-out element does not exist.
        DataError: The source is out of reach or damaged.
    """
    if name not in SOURCES and Path(name).is_dir():
        raise UnknownNameError(f"{name!r} is a directory; name the data set, and with --out the directory it is in")
    load = resolve("dataset", name, SOURCES)
    accepted = inspect.signature(load).parameters
    asked = {"version": release, "paths": tuple(paths), "geometry": geometry}
    chosen = {key: value for key, value in asked.items() if value}
    for key in chosen:
        if key not in accepted:
            option, what = REFUSALS[key]
            raise UsageError(f"data set {name!r} {what}; leave {option} out")
    options = {"cache_dir": cache_directory(cache_dir), "offline": is_offline(offline)}
    source: SourceDataset = load(**chosen, **{key: value for key, value in options.items() if key in accepted})
    if split_by == "material" and not (hold_out or fractions or salt):
        return source
    if split_by == "prototype" and source.geometry is Geometry.ENERGIES_ONLY:
        raise UsageError(f"data set {name!r} has no structures and so no prototypes; use --split-by chemsys")
    atomic_numbers(hold_out)
    if salt and not SALT.fullmatch(salt):
        raise UsageError(f"salt {salt!r:.40} must be of letters, digits, '.' and '-': it becomes part of a name")
    try:
        rule, mark = regroup(source.split, split_by, hold_out, fractions, salt)
    except DataError as error:
        raise UsageError(str(error)) from error
    return replace(source, split=rule, version=f"{source.version}{mark}")


def locate(
    name: str,
    cache_dir: Path | None = None,
    *,
    release: str | None = None,
    paths: Sequence[Path] = (),
    geometry: Geometry | None = None,
    split_by: Grouping = "material",
    hold_out: Sequence[str] = (),
) -> Path:
    """The directory in the cache where a data set is prepared.

    Raises:
        UnknownNameError: No such source.
        UsageError: The source has no releases, or is not made from files.
    """
    source = load_source(
        name,
        release=release,
        paths=paths,
        cache_dir=cache_dir,
        geometry=geometry,
        split_by=split_by,
        hold_out=hold_out,
    )
    return place(source, cache_dir)


def place(source: SourceDataset, cache_dir: Path | None = None) -> Path:
    """The directory in the cache for a loaded source."""
    return cache_directory(cache_dir) / "datasets" / f"{source.name}-{source.version}"
