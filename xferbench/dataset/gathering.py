"""Frames -> pairs, splits and facts, in bounded memory: what building and verifying a data set have in common.

1. Frames are set aside on disk, sorted by ``pair_id`` (``SortedSpill``).
2. Read back in that order, all frames of a ``pair_id`` are together: they are paired, dealt to splits, counted,
   fingerprinted and set aside again.

In memory are at any time some tens of MB of frames, 8 bytes per frame, the names of the materials, and the drops.
"""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from xferbench.dataset.facts import Tally
from xferbench.dataset.joining import UNJUDGED_SCHEMA, join, unjudged, unjudged_table
from xferbench.dataset.layout import SHARD_SCHEMA
from xferbench.dataset.spill import SortedSpill, Spill
from xferbench.records import SPLITS
from xferbench.tables import take

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from numpy.typing import NDArray

    from xferbench.records import Drop, Frame, Geometry, SplitRule

BATCH_FRAMES = 2048
BATCH_ATOMS = 1 << 17
"""Frames are taken from a source in batches of at most so many."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Paired:
    """All pairs of a data set, on disk.

    Attributes:
        spills: Split -> tables of ``SHARD_SCHEMA`` of the GGA frames and of their partners, sorted by ``pair_id``.
        unpaired: One drop per ``pair_id`` that gave no pair.
    """

    spills: Mapping[str, tuple[Spill, Spill]]
    tally: Tally
    unpaired: Sequence[Drop]

    def tables(self, split: str) -> Iterator[tuple[pa.Table, pa.Table]]:
        """The pairs of a split, GGA first."""
        return zip(*self.spills[split], strict=True)

    def facts(self, drops: Iterable[Drop]) -> dict[str, Any]:
        """See ``Tally.facts``."""
        return self.tally.facts(drops)


class Gathering:
    """Collects frames, then pairs them. A context: leaving it frees the disk."""

    def __init__(self, scratch: Path | None = None) -> None:
        """Start empty.

        Args:
            scratch: A directory on the disk to use; the system's place for temporary files if not given.
        """
        self._scratch = scratch
        self._stack = ExitStack()
        self._frames = self._stack.enter_context(SortedSpill(UNJUDGED_SCHEMA, "pair_id", scratch))
        self._hashes: list[NDArray[np.int64]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def add_frames(self, frames: Iterable[Frame]) -> None:
        """Take frames, in any order and with arrays of any shape."""
        for batch in _batches(frames):
            self._add(unjudged(batch))

    def add_table(self, table: pa.Table) -> None:
        """Take frames from a table of ``FRAME_SCHEMA``."""
        self._add(unjudged_table(table))

    def pair(self, geometry: Geometry, rule: SplitRule) -> Paired:
        """Pair the frames and deal the pairs to splits.

        Raises:
            DataError: The rule's fractions are no fractions.
            StorageError: The disk refuses.
        """
        tally = self._stack.enter_context(Tally(rule, self._scratch))
        spills = {split: (self._spill(), self._spill()) for split in SPLITS}
        unpaired: list[Drop] = []
        repeated = self._repeated()
        for frames in self._frames.merged():
            joined = join(frames, geometry, repeated)
            unpaired += joined.drops
            splits, keys = tally.add(joined.gga, joined.r2scan)
            for number, split in enumerate(SPLITS):
                rows = np.flatnonzero(splits == number)
                column = pa.array(keys[rows])
                for table, spill in zip((joined.gga, joined.r2scan), spills[split], strict=True):
                    spill.append(take(table, rows).append_column(SHARD_SCHEMA.field("subset_key"), column))
        self._frames.close()
        return Paired(spills=spills, tally=tally, unpaired=unpaired)

    def _add(self, table: pa.Table) -> None:
        self._hashes.append(_hashes(table))
        self._frames.append(table)

    def _spill(self) -> Spill:
        return self._stack.enter_context(Spill(SHARD_SCHEMA, self._scratch))

    def _repeated(self) -> set[str]:
        """Every ``frame_id`` that occurs more than once: those of equal hashes are compared as texts."""
        hashes = np.sort(np.concatenate([np.empty(0, dtype=np.int64), *self._hashes]))
        self._hashes.clear()
        suspects = np.unique(hashes[1:][hashes[1:] == hashes[:-1]])
        if len(suspects) == 0:
            return set()
        counts: Counter[str] = Counter()
        for table in self._frames.unsorted():
            rows = np.flatnonzero(np.isin(_hashes(table), suspects))
            counts.update(table["frame_id"].take(rows).to_pylist())
        return {frame_id for frame_id, count in counts.items() if count > 1}


def _hashes(table: pa.Table) -> NDArray[np.int64]:
    """Of the frame ids; they hold within this process only."""
    return np.fromiter(map(hash, table["frame_id"].to_pylist()), dtype=np.int64, count=table.num_rows)


def _batches(frames: Iterable[Frame]) -> Iterator[list[Frame]]:
    """At most ``BATCH_FRAMES`` frames at a time, and not many more than ``BATCH_ATOMS`` atoms."""
    iterator = iter(frames)
    while first := list(islice(iterator, 1)):
        batch, atoms = first, first[0].n_atoms
        for frame in islice(iterator, BATCH_FRAMES - 1):
            batch.append(frame)
            atoms += frame.n_atoms
            if atoms >= BATCH_ATOMS:
                break
        yield batch
