"""A dataset directory, opened for reading."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xferbench.dataset.layout import (
    CONFIGS,
    SHARD_SCHEMA,
    TRAINING,
    configurations,
    file_problems,
    integrity_error,
    read_manifest,
    read_shard,
    shards,
)
from xferbench.errors import DataError, UsageError
from xferbench.functionals import Functional, Pair
from xferbench.records import SPLITS, FramePair, Geometry
from xferbench.registry import check_name
from xferbench.tables import table_frames

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa

    from xferbench.records import Frame


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dataset:
    """Pairs on disk, whose files are what the manifest says.

    Attributes:
        manifest: ``manifest.json`` as plain values.
        splits: Material id -> train, val or test.
    """

    directory: Path
    manifest: dict[str, Any]
    splits: Mapping[str, str]

    @classmethod
    def open(cls, directory: Path, *, recipe: str = "xferbench prepare") -> Dataset:
        """Open a directory after comparing the size and hash of every file with the manifest.

        Args:
            directory: Of the data set.
            recipe: The command that makes it again, for the message if it is damaged.

        Raises:
            StorageError: There is no data set.
            IntegrityError: A file is truncated, altered, missing or foreign; every problem in one message.
        """
        manifest, values = read_manifest(directory)
        problems = file_problems(directory, manifest)
        if problems:
            raise integrity_error(directory, problems, recipe)
        splits = {
            material: split
            for path, (config, split) in shards(manifest.files).items()
            if config != "source"
            for table in read_shard(directory, path, ["material_id"])
            for material in table["material_id"].unique().to_pylist()
        }
        return cls(directory=directory, manifest=values, splits=splits)

    def to_json(self) -> dict[str, Any]:
        """The manifest as plain values."""
        return self.manifest

    def __str__(self) -> str:
        return f"{summary(self)}\n{self.directory}"

    @property
    def name(self) -> str:
        """Name of the data source."""
        return str(self.manifest["dataset"])

    @property
    def version(self) -> str:
        """Version of the data source."""
        return str(self.manifest["version"])

    @property
    def fingerprint(self) -> str:
        """Digest of every structure, label and split."""
        return str(self.manifest["fingerprint"])

    @property
    def atom_energies(self) -> dict[Functional, dict[str, float]]:
        """Functional -> symbol -> eV of an isolated atom, with the code and pseudopotentials of the labels; empty if unknown."""
        return {Functional(name): dict(table) for name, table in self.manifest.get("atom_energies", {}).items()}

    @property
    def functionals(self) -> Pair:
        """Which functionals stand on each side."""
        return Pair(**self.manifest["functionals"])

    @property
    def geometry(self) -> Geometry:
        """What the two frames of a pair share, if there are pairs."""
        return Geometry(self.manifest["geometry"])

    @property
    def configs(self) -> tuple[str, ...]:
        """What ``frames`` can be asked for: ``source`` and ``target``, and ``target-frames`` if there are more for training."""
        return configurations(self.manifest["files"])

    def learned_from(self, frames: str = "all") -> str:
        """The one of ``configs`` with the target frames that a run is trained, validated and tested on.

        Args:
            frames: "all" that the data set has for training, or those in "pairs" only.
        """
        return TRAINING if frames == "all" and TRAINING in self.configs else "target"

    def check_pairs(self) -> None:
        """Refuse what compares functionals.

        Raises:
            DataError: There are no pairs.
        """
        if self.geometry is Geometry.UNPAIRED:
            raise DataError(
                f"data set {self.name} has {self.functionals.prose('target')} frames and no partners, so nothing can be "
                "compared on it; it is good for training and for "
                f"`xferbench refs fit --functional {self.functionals.name('target')}`"
            )

    def check_structures(self) -> None:
        """Refuse what needs to know where the atoms are.

        Raises:
            DataError: There are energies only.
        """
        if self.geometry is Geometry.ENERGIES_ONLY:
            raise DataError(
                f"data set {self.name} has energies and no structures, so no potential can be run on it; it is good for "
                "`xferbench refs fit`, `refs compare` and `analyze`"
            )

    def frames(self, family: str, split: str | None = None) -> list[Frame]:
        """Frames of one functional family, sorted by ``pair_id`` within a split. Of a large data set, see ``iter_frames``.

        Args:
            family: One of ``configs``.
            split: One split; all of them, train first, if not given.

        Raises:
            UnknownNameError: No such family or split.
            DataError: source frames are asked for where there are none.
        """
        return list(self.iter_frames(family, split))

    def pairs(self, split: str | None = None) -> list[FramePair]:
        """Pairs in the order of ``frames``. Of a large data set, see ``iter_pairs``.

        Raises:
            UnknownNameError: No such split.
        """
        return list(self.iter_pairs(split))

    def iter_subset(self, fraction: float) -> Iterator[FramePair]:
        """The pairs of a nested part of the training materials; each smaller part lies inside every larger one.

        Args:
            fraction: Of the materials, in (0, 1]; it holds on average, and the manifest states the counts for
                ``splits.SUBSET_PERCENTS``.

        Raises:
            UsageError: The fraction is not in (0, 1].
            DataError: There are no pairs.
        """
        if not 0 < fraction <= 1:
            raise UsageError(f"a training subset is a fraction above 0 and at most 1, not {fraction:g}")
        columns = ["material_id", "subset_key"]
        chosen = {
            material
            for table in self.tables("target", "train", columns)
            for material, key in zip(*(table[name].to_pylist() for name in columns), strict=True)
            if fraction == 1 or key < fraction
        }
        return (pair for pair in self.iter_pairs("train") if pair.material_id in chosen)

    def subset(self, fraction: float) -> list[FramePair]:
        """What ``iter_subset`` returns, as a list.

        Raises:
            UsageError: The fraction is not in (0, 1].
            DataError: There are no pairs.
        """
        return list(self.iter_subset(fraction))

    def iter_frames(self, family: str, split: str | None = None) -> Iterator[Frame]:
        """What ``frames`` returns, one by one, with one row group in memory at a time.

        Raises:
            UnknownNameError: No such family or split.
        """
        return (frame for table in self.tables(family, split) for frame in table_frames(table))

    def iter_pairs(self, split: str | None = None) -> Iterator[FramePair]:
        """What ``pairs`` returns, one by one.

        Raises:
            UnknownNameError: No such split.
            DataError: There are no pairs.
        """
        self.check_pairs()
        geometry = self.geometry
        families = (self.iter_frames(config, split) for config in CONFIGS)
        return (
            FramePair(source=source, target=target, geometry=geometry) for source, target in zip(*families, strict=True)
        )

    def tables(self, family: str, split: str | None = None, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """The rows of ``frames`` as tables, one row group in memory at a time.

        Args:
            family: One of ``configs``.
            split: One split; all of them, train first, if not given.
            columns: Some of the columns; all of them, ``FRAME_SCHEMA`` and ``subset_key``, if not given.

        Raises:
            UnknownNameError: No such family, split or column.
            DataError: source frames are asked for where there are none.
        """
        if family == "source":
            self.check_pairs()
        check_name("family", family, self.configs)
        chosen = SPLITS if split is None else (check_name("split", split, SPLITS),)
        for name in columns or ():
            check_name("column", name, SHARD_SCHEMA.names)
        paths = [
            path
            for path, (config, name) in shards(self.manifest["files"]).items()
            if (config, name) in {(family, item) for item in chosen}
        ]
        return (table for path in paths for table in read_shard(self.directory, path, columns))


def _count(name: str, count: int, frames: int) -> str:
    """How many labels of a kind there are; where only some frames have one, how many have none."""
    return f"{count} {name}" + (f" ({frames - count} without)" if 0 < count < frames else "")


def summary(dataset: Dataset) -> str:
    """A data set in a few lines of text."""
    manifest = dataset.manifest
    what = "frames" if dataset.geometry is Geometry.UNPAIRED else "pairs"
    lines = [f"{dataset.name} {dataset.version}: {manifest['title']} ({manifest['geometry']})"]
    for split in SPLITS:
        facts = manifest["splits"][split]
        uncovered = ", ".join(facts["uncovered_elements"])
        lines.append(
            f"  {split:5s} {facts['pairs']:7d} {what} of {facts['materials']} materials, {len(facts['elements'])} elements"
            + (f", not in train: {uncovered}" if uncovered else "")
        )
    if "training" in manifest:
        counts = ", ".join(f"{split} {manifest['training']['splits'][split]['pairs']}" for split in SPLITS)
        lines.append(f"  all target frames, for training: {counts}")
    drops = ", ".join(f"{count} {reason}" for reason, count in manifest["drops"].items())
    labels = "; ".join(
        f"{functional} {', '.join(_count(name, count, counts['energy']) for name, count in counts.items())}"
        for functional, counts in manifest.get("labels", {}).items()
    )
    if labels:
        lines.append(f"  labels: {labels}")
    return "\n".join([*lines, f"  left out: {drops or 'nothing'}", f"  {dataset.fingerprint}"])
