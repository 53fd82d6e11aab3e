"""Is a dataset directory what it says it is?

Everything a manifest states is computed again from the files by the functions that built them: pairs are paired again,
materials are dealt to splits again, and the facts are summarised again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any

from xferbench.dataset.cache import locate
from xferbench.dataset.facts import Places
from xferbench.dataset.gathering import Gathering
from xferbench.dataset.layout import (
    CONFIGS,
    DROPS,
    MANIFEST,
    file_problems,
    integrity_error,
    read_drops,
    read_manifest,
    read_shard,
    seal,
    shards,
)
from xferbench.dataset.opened import Dataset
from xferbench.errors import DataError
from xferbench.records import SPLITS, Digest
from xferbench.tables import FRAME_SCHEMA, table_frames

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa

    from xferbench.dataset.gathering import Paired
    from xferbench.dataset.layout import Manifest
    from xferbench.records import Drop


def check(
    name: str,
    directory: Path | None = None,
    *,
    release: str | None = None,
    paths: Sequence[Path] = (),
    cache_dir: Path | None = None,
) -> Dataset:
    """Verify a prepared data set and open it; nothing is written.

    Args:
        name: A key of ``SOURCES``.
        directory: Where it is; its place in the cache if not given.
        release: Which one is meant, as for ``prepare``.
        paths: The files it was made from, if it was.
        cache_dir: See ``cache_directory``.

    Raises:
        UnknownNameError: No such data set.
        StorageError: It is not prepared.
        IntegrityError: It is damaged; every problem in one message.
        DataError: The directory holds another data set.
    """
    directory = locate(name, cache_dir, release=release, paths=paths) if directory is None else directory
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
        with Gathering() as gathering:
            problems = _rows_problem(manifest, DROPS, len(drops))
            places = Places(manifest.split_rule)
            orders = {place: _Order() for place in product(SPLITS, CONFIGS)}
            for path, (config, split) in shards(manifest.files).items():
                check = _ShardCheck(path=path, config=config, split=split, places=places)
                for table in read_shard(directory, path):
                    check.add(table)
                    orders[split, config].add(table["pair_id"].to_pylist())
                    gathering.add_table(table.select(FRAME_SCHEMA.names))
                problems += [*_rows_problem(manifest, path, check.rows), *check.problems()]
            for split in SPLITS:
                problems += _order_problems(split, *(orders[split, config] for config in CONFIGS))
            paired = gathering.pair(manifest.geometry, manifest.split_rule)
            return problems + _fact_problems(paired, drops, values)
    except DataError as error:
        return [str(error)]


@dataclass(slots=True, kw_only=True)
class _ShardCheck:
    """Looks at the rows of one Parquet file as they pass.

    Attributes:
        strangers: Frames of another functional than the configuration's.
        misplaced: Materials that the split rule puts elsewhere, so that no material can be in two splits.
        wrong_keys: Materials of rows with another subset key than the rule's.
        miscounted: Frames whose ``n_atoms`` is not their number of atoms.
    """

    path: str
    config: str
    split: str
    places: Places
    rows: int = 0
    strangers: list[str] = field(default_factory=list)
    misplaced: set[str] = field(default_factory=set)
    wrong_keys: list[str] = field(default_factory=list)
    miscounted: list[str] = field(default_factory=list)

    def add(self, table: pa.Table) -> None:
        """Look at some rows.

        Raises:
            FormatError: One is not a frame.
        """
        frames = table_frames(table, first=self.rows)
        self.rows += len(frames)
        self.strangers += [frame.frame_id for frame in frames if frame.functional.is_gga != (self.config == "gga")]
        counts = zip(frames, table["n_atoms"].to_pylist(), strict=True)
        self.miscounted += [frame.frame_id for frame, n_atoms in counts if frame.n_atoms != n_atoms]
        materials = [frame.material_id for frame in frames]
        splits, keys = self.places.of(materials)
        for material, split, key, stated in zip(
            materials, splits.tolist(), keys.tolist(), table["subset_key"].to_pylist(), strict=True
        ):
            if SPLITS[split] != self.split:
                self.misplaced.add(material)
            if key != stated:
                self.wrong_keys.append(material)

    def problems(self) -> list[str]:
        """One line for each kind of problem."""
        wrong = sorted(self.misplaced)
        lines = [
            (self.strangers, "frames of another functional", "is"),
            (wrong, "materials of other splits", "is"),
            (self.miscounted, "frames with a wrong n_atoms", "is"),
        ]
        problems = [
            f"{self.path} holds {len(found)} {what}, the first {verb} {found[0]}"
            for found, what, verb in lines
            if found
        ]
        if self.wrong_keys:
            problems.append(
                f"{self.path} has {len(self.wrong_keys)} wrong subset keys, the first is of {self.wrong_keys[0]}"
            )
        return problems


@dataclass(slots=True)
class _Order:
    """The sequence of the ids of a split in one configuration: whether it is sorted, and a digest to compare it by."""

    last: str | None = None
    is_sorted: bool = True
    digest: Digest = field(default_factory=Digest)

    def add(self, ids: Sequence[str]) -> None:
        """Append ids."""
        for name in ids:
            self.is_sorted &= self.last is None or self.last < name
            self.last = name
        self.digest.add(*ids)


def _rows_problem(manifest: Manifest, path: str, count: int) -> list[str]:
    stated = manifest.files[path].rows
    return [] if stated == count else [f"{path} has {count} rows instead of {stated}"]


def _order_problems(split: str, gga: _Order, r2scan: _Order) -> list[str]:
    """Row i must be the same pair in both configurations, and rows sorted."""
    problems = []
    if gga.digest.hexdigest() != r2scan.digest.hexdigest():
        problems.append(f"the rows of gga and r2scan in {split} are not the same pairs in the same order")
    if not gga.is_sorted:
        problems.append(f"the rows of {split} are not sorted by pair_id, each once")
    return problems


def _fact_problems(paired: Paired, drops: Sequence[Drop], values: Mapping[str, Any]) -> list[str]:
    """What pairing and counting again gives otherwise than the manifest says."""
    problems = [f"pair {drop.record_id} is none: {drop.reason} ({drop.detail})" for drop in paired.unpaired]
    return problems + [
        f"{MANIFEST} states other {key} than the files give"
        for key, value in paired.facts(drops).items()
        if values[key] != value
    ]
