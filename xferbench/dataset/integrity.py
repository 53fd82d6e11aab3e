"""Is a dataset directory what it says it is?

Everything a manifest states is computed again from the files by the functions that built them: pairs are paired again,
materials are dealt to splits again, and the facts are summarised again.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from xferbench.dataset.cache import locate
from xferbench.dataset.facts import summarise
from xferbench.dataset.layout import (
    CONFIGS,
    DROPS,
    MANIFEST,
    SHARDS,
    file_problems,
    integrity_error,
    read_drops,
    read_manifest,
    read_shard,
    seal,
    shard,
)
from xferbench.dataset.opened import Dataset
from xferbench.errors import DataError
from xferbench.pairing import pair
from xferbench.records import SPLITS
from xferbench.splits import assign, subset_key
from xferbench.tables import table_frames

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pyarrow as pa

    from xferbench.dataset.layout import Manifest
    from xferbench.records import Drop, Frame


def check(name: str, directory: Path | None = None, *, cache_dir: Path | None = None) -> Dataset:
    """Verify a prepared data set and open it; nothing is written.

    Args:
        name: A key of ``SOURCES``.
        directory: Where it is; its place in the cache if not given.
        cache_dir: See ``cache_directory``.

    Raises:
        UnknownNameError: No such data set.
        StorageError: It is not prepared.
        IntegrityError: It is damaged; every problem in one message.
        DataError: The directory holds another data set.
    """
    directory = locate(name, cache_dir) if directory is None else directory
    verify(directory)
    dataset = Dataset.open(directory)
    if dataset.name != name:
        raise DataError(
            f"{directory} holds the data set {dataset.name!r}, not {name!r}; name that one, or another place"
        )
    return dataset


def verify(directory: Path) -> None:
    """Check files, rows, ids, pairs, splits and every number of the manifest.

    Raises:
        StorageError: There is no data set.
        IntegrityError: It is damaged; every problem in one message.
    """
    manifest, values = read_manifest(directory)
    problems = file_problems(directory, manifest)
    if not problems:
        problems = _content_problems(directory, manifest, values)
    if seal(values) != values:
        problems.insert(0, f"{MANIFEST} was altered: it has another hash than it states")
    if problems:
        raise integrity_error(directory, problems)


def _content_problems(directory: Path, manifest: Manifest, values: Mapping[str, Any]) -> list[str]:
    """What is wrong with files that are byte for byte what the manifest says."""
    try:
        drops = read_drops(directory)
        tables = {path: read_shard(directory, *place) for path, place in SHARDS.items()}
        frames = {path: table_frames(table) for path, table in tables.items()}
        place = assign((frame.material_id for shard_ in frames.values() for frame in shard_), manifest.split_rule)
    except DataError as error:
        return [str(error)]
    problems = _row_problems(manifest, {DROPS: len(drops), **{path: len(rows) for path, rows in frames.items()}})
    for split in SPLITS:
        problems += _order_problems(split, *(frames[shard(config, split)] for config in CONFIGS))
    for path, (config, split) in SHARDS.items():
        problems += _shard_problems(path, config, frames[path])
        problems += _split_problems(path, split, frames[path], place)
        problems += _subset_problems(path, tables[path], manifest)
    return problems + _fact_problems([item for rows in frames.values() for item in rows], drops, manifest, values)


def _row_problems(manifest: Manifest, rows: Mapping[str, int]) -> list[str]:
    return [
        f"{path} has {count} rows instead of {manifest.files[path].rows}"
        for path, count in rows.items()
        if manifest.files[path].rows != count
    ]


def _order_problems(split: str, gga: list[Frame], r2scan: list[Frame]) -> list[str]:
    """Row i must be the same pair in both configurations, and rows sorted."""
    ids = [frame.pair_id for frame in gga]
    problems = []
    if ids != [frame.pair_id for frame in r2scan]:
        problems.append(f"the rows of gga and r2scan in {split} are not the same pairs in the same order")
    if any(first >= second for first, second in pairwise(ids)):
        problems.append(f"the rows of {split} are not sorted by pair_id, each once")
    return problems


def _shard_problems(path: str, config: str, frames: list[Frame]) -> list[str]:
    """Every frame must have the functional of its configuration."""
    strangers = [frame.frame_id for frame in frames if frame.functional.is_gga != (config == "gga")]
    return (
        [f"{path} holds {len(strangers)} frames of another functional, the first is {strangers[0]}"]
        if strangers
        else []
    )


def _split_problems(path: str, split: str, frames: list[Frame], place: Mapping[str, str]) -> list[str]:
    """Every material must be where the split rule puts it, so no material can be in two splits."""
    wrong = sorted({frame.material_id for frame in frames if place[frame.material_id] != split})
    return [f"{path} holds {len(wrong)} materials of other splits, the first is {wrong[0]}"] if wrong else []


def _subset_problems(path: str, table: pa.Table, manifest: Manifest) -> list[str]:
    columns = table.select(["material_id", "subset_key"]).to_pylist()
    wrong = [row for row in columns if row["subset_key"] != subset_key(row["material_id"], manifest.split_rule)]
    return [f"{path} has {len(wrong)} wrong subset keys, the first is of {wrong[0]['material_id']}"] if wrong else []


def _fact_problems(frames: list[Frame], drops: list[Drop], manifest: Manifest, values: Mapping[str, Any]) -> list[str]:
    """Pair and summarise again, and compare with the manifest."""
    pairs, unpaired = pair(frames, manifest.geometry)
    problems = [f"pair {drop.record_id} is none: {drop.reason} ({drop.detail})" for drop in unpaired]
    facts = summarise(pairs, drops, manifest.split_rule)
    return problems + [
        f"{MANIFEST} states other {key} than the files give" for key, value in facts.items() if values[key] != value
    ]
