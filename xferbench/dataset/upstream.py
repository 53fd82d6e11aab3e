"""The files that a data set was made from: stated in its manifest, and known again without reading what is in them.

A data set follows from its upstream files, the rules of its source and the version of this package. A directory that
states the same is up to date, which takes as long as hashing. Anything else is read, paired and compared.
"""

from __future__ import annotations

import logging
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from xferbench.dataset.layout import SCHEMA, has_manifest, read_manifest
from xferbench.dataset.opened import Dataset
from xferbench.errors import IntegrityError
from xferbench.splits import rule_facts
from xferbench.storage import disk_errors, sha256

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from xferbench.records import SourceDataset

log = logging.getLogger(__name__)

OPTIONAL = ("synthetic", "atom_energies")
"""Facts that a manifest states only if there are any."""


def stated_facts(source: SourceDataset) -> dict[str, Any]:
    """What the manifest says of a data set before anything is read, as plain JSON values.

    Files that are not here are fetched.

    Raises:
        DataError: They are out of reach.
        StorageError: One cannot be read.
    """
    facts: dict[str, Any] = {
        "schema": SCHEMA,
        "dataset": source.name,
        "version": source.version,
        "title": source.title,
        "licence": source.licence,
        "citation": source.citation,
        "geometry": source.geometry.value,
        "split_rule": rule_facts(source.split),
    }
    if source.functionals is not None:
        facts["functionals"] = source.functionals.to_json()
    if source.synthetic:
        facts["synthetic"] = True
    if source.atom_energies:
        facts["atom_energies"] = {functional: dict(table) for functional, table in source.atom_energies.items()}
    if source.upstream is not None:
        facts["upstream"] = [_file_facts(path) for path in source.upstream()]
    return facts


def _file_facts(path: Path) -> dict[str, str | int]:
    with disk_errors("read", path):
        size = path.stat().st_size
    return {"name": path.name, "bytes": size, "sha256": sha256(path)}


def made_from(directory: Path, facts: Mapping[str, Any]) -> Dataset | None:
    """The data set in a directory, if this version of the package made it from the same files by the same rules.

    Args:
        directory: Where it may be.
        facts: See ``stated_facts``; without upstream files nothing is known of where frames come from.

    Returns:
        ``None`` if it is another one, or if a file of it is not what the manifest says.

    Raises:
        StorageError: Something cannot be read.
    """
    if "upstream" not in facts or not has_manifest(directory):
        return None
    try:
        _, values = read_manifest(directory)
        if differs(values, facts):
            return None
        if values["libraries"].get("xferbench", "") != _own_version():
            return None
        return Dataset.open(directory)
    except IntegrityError as error:
        log.debug("not taken as it is: %s", error)  # the thorough way says it, too
        return None


def differs(values: Mapping[str, Any], facts: Mapping[str, Any]) -> bool:
    """Whether a manifest says something else than ``facts``, or something optional that they do not say."""
    return any(values.get(key) != facts.get(key) for key in (*facts, *OPTIONAL))


def _own_version() -> str | None:
    try:
        return version("xferbench")
    except PackageNotFoundError:
        return None
