"""Is a dataset directory what it says it is?

Everything a manifest states is computed again from the files by the functions that built them: pairs are paired again,
materials are dealt to splits again, and the facts are summarised again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any

from xferbench.dataset.facts import Places
from xferbench.dataset.gathering import Gathering
from xferbench.dataset.layout import (
    DROPS,
    MANIFEST,
    TRAINING,
    configurations,
    file_problems,
    integrity_error,
    read_drops,
    read_manifest,
    read_shard,
    seal,
    shards,
)
from xferbench.errors import DataError, UsageError
from xferbench.records import SPLITS, Digest, Geometry
from xferbench.splits import subset_key
from xferbench.tables import FRAME_SCHEMA, table_frames

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa

    from xferbench.dataset.gathering import Paired
    from xferbench.dataset.layout import Manifest
    from xferbench.functionals import Functional
    from xferbench.records import Drop, SplitRule


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
            checks: list[_ShardCheck] = []
            configs = configurations(manifest.files)
            orders = {place: _Order() for place in product(SPLITS, configs)}
            for path, (config, split) in shards(manifest.files).items():
                check = _ShardCheck(
                    path=path,
                    split=split,
                    functionals=manifest.functionals.of("source" if config == "source" else "target"),
                    rule=manifest.split_rule,
                )
                for table in read_shard(directory, path):
                    check.add(table)
                    orders[split, config].add(table[key(config, manifest.geometry)].to_pylist())
                    gathering.add_table(table.select(FRAME_SCHEMA.names))
                checks.append(check)
            for split in SPLITS:
                problems += _order_problems(split, {config: orders[split, config] for config in configs})
            paired = gathering.pair(manifest.functionals, manifest.geometry, manifest.split_rule)
            places = Places(manifest.split_rule, (paired.training or paired).tally.places.groups)
            for check in checks:
                problems += [*_rows_problem(manifest, check.path, check.rows), *check.problems(places)]
            return problems + _fact_problems(paired, drops, values)
    except (DataError, UsageError) as error:
        return [str(error)]


@dataclass(slots=True, kw_only=True)
class _ShardCheck:
    """Looks at the rows of one Parquet file as they pass.

    Attributes:
        functionals: Of the configuration.
        materials: Those of the rows, which must be where the split rule puts them.
        strangers: Frames of another functional than the configuration's.
        wrong_keys: Materials of rows with another subset key than the rule's.
        miscounted: Frames whose ``n_atoms`` is not their number of atoms.
    """

    path: str
    split: str
    functionals: tuple[Functional, ...]
    rule: SplitRule
    rows: int = 0
    materials: set[str] = field(default_factory=set)
    strangers: list[str] = field(default_factory=list)
    wrong_keys: list[str] = field(default_factory=list)
    miscounted: list[str] = field(default_factory=list)

    def add(self, table: pa.Table) -> None:
        """Look at some rows.

        Raises:
            FormatError: One is not a frame.
        """
        frames = table_frames(table, first=self.rows)
        self.rows += len(frames)
        self.strangers += [frame.frame_id for frame in frames if frame.functional not in self.functionals]
        counts = zip(frames, table["n_atoms"].to_pylist(), strict=True)
        self.miscounted += [frame.frame_id for frame, n_atoms in counts if frame.n_atoms != n_atoms]
        materials = [frame.material_id for frame in frames]
        self.materials.update(materials)
        keys = {material: subset_key(material, self.rule) for material in set(materials)}
        stated = zip(materials, table["subset_key"].to_pylist(), strict=True)
        self.wrong_keys += [material for material, key in stated if key != keys[material]]

    def problems(self, places: Places) -> list[str]:
        """One line for each kind of problem.

        Args:
            places: Where materials belong, so that none can be in two splits.
        """
        materials = sorted(self.materials)
        splits, _ = places.of(materials)
        wrong = [name for name, split in zip(materials, splits.tolist(), strict=True) if SPLITS[split] != self.split]
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


def key(config: str, geometry: Geometry) -> str:
    """What the rows of a configuration are sorted by."""
    return "frame_id" if config == TRAINING or geometry is Geometry.UNPAIRED else "pair_id"


def _order_problems(split: str, orders: Mapping[str, _Order]) -> list[str]:
    """Row i must be the same pair in both configurations of pairs, and rows sorted."""
    problems = []
    if "source" in orders and orders["source"].digest.hexdigest() != orders["target"].digest.hexdigest():
        problems.append(f"the rows of source and target in {split} are not the same pairs in the same order")
    if not orders["target"].is_sorted:
        problems.append(
            f"the rows of {split} are not sorted by {'pair' if 'source' in orders else 'frame'}_id, each once"
        )
    if TRAINING in orders and not orders[TRAINING].is_sorted:
        problems.append(f"the rows of {TRAINING} in {split} are not sorted by frame_id, each once")
    return problems


def _fact_problems(paired: Paired, drops: Sequence[Drop], values: Mapping[str, Any]) -> list[str]:
    """What pairing and counting again gives otherwise than the manifest says."""
    problems = [f"pair {drop.record_id} is none: {drop.reason} ({drop.detail})" for drop in paired.unpaired]
    return problems + [
        f"{MANIFEST} states other {key} than the files give"
        for key, value in paired.facts(drops).items()
        if values.get(key) != value
    ]
