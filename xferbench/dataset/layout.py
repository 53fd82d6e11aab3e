"""What a dataset directory consists of, and its manifest."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping  # noqa: TC003 - schema.parse reads the annotations
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from xferbench.errors import FormatError, IntegrityError, StorageError
from xferbench.functionals import SIDES, Functional, Pair
from xferbench.records import SPLITS, Drop, Geometry, SplitRule
from xferbench.schema import parse
from xferbench.storage import disk_errors, read_bytes, read_json, sha256, to_json
from xferbench.tables import FRAME_SCHEMA, read_batches

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

SCHEMA = 3
"""Version of the directory's format."""

CONFIGS = SIDES
"""Of a data set of pairs."""

TRAINING = "target-frames"
"""A further one, for training: every target frame of the source, those in pairs included."""

CARD = "README.md"
MANIFEST = "manifest.json"
DROPS = "drops.jsonl"
SHARD_SCHEMA = FRAME_SCHEMA.append(pa.field("subset_key", pa.float64(), nullable=False))


def shard(config: str, split: str, index: int = 0, count: int = 1) -> str:
    """Path of a Parquet file within the directory, named as ``datasets`` names shards."""
    return f"data/{config}/{split}-{index:05d}-of-{count:05d}.parquet"


SHARD_PATTERN = re.compile(
    rf"data/({'|'.join((*CONFIGS, TRAINING))})/({'|'.join(SPLITS)})-(\d{{5}})-of-(\d{{5}})\.parquet"
)


def configurations(stated: Iterable[str]) -> tuple[str, ...]:
    """The configurations of a data set, given the files that its manifest states: of pairs if any file of source frames is there."""
    found = {match[1] for match in map(SHARD_PATTERN.fullmatch, stated) if match is not None}
    if found == {"target"}:
        return ("target",)
    return (*CONFIGS, *({TRAINING} & found))


def shards(stated: Iterable[str]) -> dict[str, tuple[str, str]]:
    """The Parquet files that a data set must have, given those that its manifest states.

    A split has equally many shards in both configurations of pairs, at least one: as many as the names say.

    Returns:
        Path -> configuration and split, in the order of the rows.
    """
    files = tuple(stated)
    counts: Counter[tuple[bool, str]] = Counter()
    for match in map(SHARD_PATTERN.fullmatch, files):
        if match is not None:
            key = match[1] == TRAINING, match[2]
            counts[key] = max(counts[key], int(match[4]))
    sizes = [
        (config, split, max(counts[config == TRAINING, split], 1))
        for config in configurations(files)
        for split in SPLITS
    ]
    return {
        shard(config, split, index, count): (config, split) for config, split, count in sizes for index in range(count)
    }


def expected_files(stated: Iterable[str]) -> tuple[str, ...]:
    """Everything the manifest must vouch for, given what it states; with itself, everything in the directory."""
    return (CARD, DROPS, *shards(stated))


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFacts:
    """What a file must be.

    Attributes:
        rows: Of a table or of JSON lines; ``None`` for text.
    """

    sha256: str
    bytes: int
    rows: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamFile:
    """A file that the data set was made from."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitFacts:
    """What is in a split.

    Attributes:
        pairs: Rows: frames, where there are no pairs.
        uncovered_elements: Symbols that train does not contain.
    """

    pairs: int
    materials: int
    elements: tuple[str, ...]
    uncovered_elements: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupFacts:
    """What materials were dealt as.

    Attributes:
        count: Groups; the materials themselves if nothing else was asked for.
        held_out: Groups that are in test for a held-out element.
        unknown_materials: Materials without a label of their own, which are one group.
    """

    count: int
    held_out: int
    unknown_materials: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HygieneFacts:
    """What is peculiar in a split.

    Attributes:
        clean: Pairs without any flag of ``hygiene.UNCLEAN``.
        flags: Each of ``hygiene.FLAGS`` -> pairs that have it.
    """

    clean: int
    flags: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class SubsetFacts:
    """What is in a nested training subset."""

    pairs: int
    materials: int
    elements: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainingFacts:
    """What is in the configuration ``TRAINING``; as the keys of the same name of the manifest."""

    fingerprint: str
    splits: Mapping[str, SplitFacts]
    labels: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Manifest:
    """The schema of ``manifest.json``.

    Attributes:
        functionals: Which stand on each side.
        drops: Reason -> count.
        labels: Functional -> property -> frames that have it.
        libraries: Name -> version that wrote the files; ``None`` if it was not installed as a package.
        subsets: Percent of the training materials -> counts.
        sha256: Of the manifest itself without this key.
        atom_energies: Functional -> symbol -> eV of an isolated atom; absent from the file if there are none.
        synthetic: Whether the labels are a model's; absent from the file if they are not.
        training: Of further frames; absent from the file if there are none.
        upstream: Files that the frames were read from; absent from the file if there are none.
        phases: Of pairs of one material: ``volume_change`` and ``rms`` -> 5th, 50th and 95th percentile.
    """

    schema: int
    dataset: str
    version: str
    title: str
    licence: str
    citation: str
    functionals: Pair
    geometry: Geometry
    split_rule: SplitRule
    fingerprint: str
    splits: Mapping[str, SplitFacts]
    groups: GroupFacts
    hygiene: Mapping[str, HygieneFacts]
    subsets: Mapping[str, SubsetFacts]
    drops: Mapping[str, int]
    labels: Mapping[str, Mapping[str, int]]
    files: Mapping[str, FileFacts]
    libraries: Mapping[str, str | None]
    sha256: str
    synthetic: bool = False
    training: TrainingFacts | None = None
    phases: Mapping[str, Mapping[str, float]] | None = None
    upstream: tuple[UpstreamFile, ...] = ()
    atom_energies: Mapping[Functional, Mapping[str, float]] = field(default_factory=dict)


def seal(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest with its own digest."""
    content = {key: value for key, value in manifest.items() if key != "sha256"}
    return {**content, "sha256": f"sha256:{hashlib.sha256(to_json(content).encode()).hexdigest()}"}


def has_manifest(directory: Path) -> bool:
    """Whether a directory claims to be a data set.

    Raises:
        StorageError: It may not be looked into.
    """
    with disk_errors("read", directory):
        return (directory / MANIFEST).is_file()


def read_manifest(directory: Path) -> tuple[Manifest, dict[str, Any]]:
    """Read and check the manifest's form, not what it says of the files.

    Returns:
        The manifest twice: typed, and as plain JSON values.

    Raises:
        StorageError: There is no manifest.
        IntegrityError: It is truncated, altered, or of another schema; every problem in one message.
    """
    path = directory / MANIFEST
    if not has_manifest(directory):
        raise StorageError(f"no data set in {directory}: {MANIFEST} is missing; make it with `xferbench prepare`")
    value = read_json(path)
    schema = value.get("schema") if isinstance(value, dict) else None
    if schema != SCHEMA:
        raise IntegrityError(f"{path} has schema {schema!r:.40}, this version reads {SCHEMA}: make the data set again")
    try:
        manifest = parse(Manifest, value, path)
    except FormatError as error:
        raise IntegrityError(f"{error}; it was altered: make the data set again") from error
    return manifest, value


def file_problems(directory: Path, manifest: Manifest) -> list[str]:
    """Compare the directory's files with the manifest by name, size and hash; one line for each difference.

    Raises:
        StorageError: Something cannot be read.
    """
    expected = expected_files(manifest.files)
    problems = [
        f"{MANIFEST} states a file {path!r:.80} that no data set has"
        for path in manifest.files
        if path not in set(expected)
    ]
    with disk_errors("read", directory):
        foreign = sorted(set(_present_files(directory)) - {MANIFEST, *expected})
        problems += [f"{path} does not belong to the data set" for path in foreign]
        problems += [
            problem for path in expected if (problem := _file_problem(directory, path, manifest.files.get(path)))
        ]
    return problems


def _file_problem(directory: Path, path: str, facts: FileFacts | None) -> str | None:
    if facts is None:
        return f"{MANIFEST} does not state {path}"
    if not (directory / path).is_file():
        return f"{path} is missing"
    size = (directory / path).stat().st_size
    if size != facts.bytes:
        return f"{path} has {size} bytes instead of {facts.bytes}"
    if sha256(directory / path) != facts.sha256:
        return f"{path} has another hash than the manifest states"
    return None


def foreign_files(directory: Path) -> list[str]:
    """Files under the directory that no data set, of however many shards, has."""
    known = {MANIFEST, CARD, DROPS}
    return [path for path in _present_files(directory) if path not in known and not SHARD_PATTERN.fullmatch(path)]


def _present_files(directory: Path) -> list[str]:
    """Paths of all files under a directory, links included."""
    paths = (path for path in directory.rglob("*") if path.is_symlink() or not path.is_dir())
    return sorted(path.relative_to(directory).as_posix() for path in paths)


def integrity_error(directory: Path, problems: Sequence[str], recipe: str = "xferbench prepare") -> IntegrityError:
    """All problems as one error, with the command that mends them; a long list is cut and counted."""
    shown = 20
    more = f"; and {len(problems) - shown} more" if len(problems) > shown else ""
    return IntegrityError(f"{directory} is damaged: {'; '.join(problems[:shown])}{more}: make it again with `{recipe}`")


def read_shard(directory: Path, path: str, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """Read one Parquet file of the directory, row group by row group; at least one table comes.

    Args:
        directory: Of the data set.
        path: Within the directory.
        columns: All of them if not given.

    Raises:
        StorageError: It cannot be read.
        IntegrityError: It is not Parquet, or has other columns.
    """
    wanted = SHARD_SCHEMA if columns is None else pa.schema([SHARD_SCHEMA.field(name) for name in columns])
    for table in read_batches(directory / path, columns):
        if not table.schema.equals(wanted):
            different = set(map(str, wanted)).symmetric_difference(map(str, table.schema))
            raise IntegrityError(
                f"{directory / path} has other columns than a data set of schema {SCHEMA}: {', '.join(sorted(different))}"
            )
        yield table


def drops_text(drops: Sequence[Drop]) -> str:
    """Drops as JSON lines."""
    rows = ({"record_id": drop.record_id, "reason": drop.reason, "detail": drop.detail} for drop in drops)
    return "".join(json.dumps(row, sort_keys=True, ensure_ascii=False) + "\n" for row in rows)


def read_drops(directory: Path) -> list[Drop]:
    """The inverse of ``drops_text``.

    Raises:
        StorageError: The file cannot be read.
        IntegrityError: A line is not a drop.
    """
    path = directory / DROPS
    try:
        lines = read_bytes(path).splitlines()  # of bytes: text also splits at separators inside strings
        return [parse(Drop, json.loads(line), f"{path} line {i}") for i, line in enumerate(lines, start=1)]
    except (ValueError, RecursionError, FormatError) as error:
        raise IntegrityError(f"{path} does not hold one drop per line ({error}); make the data set again") from error
