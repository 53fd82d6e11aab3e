"""Frames -> pairs, splits and facts, in bounded memory: what building and verifying a data set have in common.

1. Frames are set aside on disk, sorted by ``pair_id`` (``SortedSpill``).
2. Read back in that order, all frames of a ``pair_id`` are together: they are paired, dealt to splits, counted,
   fingerprinted and set aside again.
3. Frames without ``pair_id`` go the same way, each by itself.

In memory are at any time some tens of MB of frames, 8 bytes per frame, the names of the materials, and the drops.
"""

from __future__ import annotations

import logging
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from xferbench.dataset.dealing import settled
from xferbench.dataset.facts import Tally
from xferbench.dataset.joining import UNJUDGED_SCHEMA, join, single, unjudged, unjudged_table
from xferbench.dataset.layout import SHARD_SCHEMA
from xferbench.dataset.spill import Closing, SortedSpill, Spill
from xferbench.errors import DataError
from xferbench.functionals import Functional, Pair, by_ladder
from xferbench.records import SPLITS, Geometry
from xferbench.sources.stream import FrameStream
from xferbench.tables import take

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from xferbench.dataset.facts import Places
    from xferbench.dataset.plausibility import Plausibility
    from xferbench.pairing import Match
    from xferbench.records import Drop, Frame, SplitRule

    Tables = tuple[pa.Table, ...]

log = logging.getLogger(__name__)
PHASES = ("volume_change", "rms")
PERCENTILES = (5, 50, 95)
BATCH_FRAMES = 2048
BATCH_ATOMS = 1 << 17
"""Frames are taken from a source in batches of at most so many."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Paired:
    """All pairs of a data set, on disk; of an unpaired one, its frames.

    Attributes:
        spills: Split -> tables of ``SHARD_SCHEMA`` of the source frames and of their partners, sorted by ``pair_id``; where
            there are no pairs, of the frames, sorted by ``frame_id``.
        unpaired: One drop per ``pair_id`` that gave no pair, and per frame without ``pair_id`` that is of no use.
        training: The frames that stand alone, besides the pairs.
        phases: How the structures of each pair differ, where they are relaxed apart.
    """

    spills: Mapping[str, tuple[Spill, ...]]
    tally: Tally
    unpaired: Sequence[Drop]
    training: Paired | None = None
    phases: Sequence[Match] = ()

    def tables(self, split: str) -> Iterator[Tables]:
        """The pairs of a split, source first, or its frames."""
        return zip(*self.spills[split], strict=True)

    def facts(self, drops: Iterable[Drop]) -> dict[str, Any]:
        """See ``Tally.facts``; and ``training`` and ``phases``, if there are such."""
        facts = self.tally.facts(drops)
        if self.training is not None:
            further = self.training.tally.facts(())
            facts["training"] = {key: further[key] for key in ("fingerprint", "splits", "labels")}
        if self.phases:
            facts["phases"] = {name: _percentiles([getattr(item, name) for item in self.phases]) for name in PHASES}
        return facts


class Gathering(Closing):
    """Collects frames, then pairs them. A context: leaving it frees the disk."""

    def __init__(self, scratch: Path | None = None) -> None:
        """Start empty.

        Args:
            scratch: A directory on the disk to use; the system's place for temporary files if not given.
        """
        self._scratch = scratch
        self._stack = ExitStack()
        self._frames = self._collection("pair_id")
        self._alone = self._collection("frame_id")

    def close(self) -> None:
        """Free the memory and the disk."""
        self._stack.close()

    def add_frames(self, frames: Iterable[Frame]) -> None:
        """Take frames, in any order and with arrays of any shape; of a ``FrameStream``, tables as they come."""
        for batch in _batches(frames.items() if isinstance(frames, FrameStream) else frames):
            self._add(unjudged_table(batch) if isinstance(batch, pa.Table) else unjudged(batch))

    def _collection(self, key: str) -> _Collection:
        return _Collection(self._stack.enter_context(SortedSpill(UNJUDGED_SCHEMA, key, self._scratch)))

    def add_table(self, table: pa.Table) -> None:
        """Take frames from a table of ``FRAME_SCHEMA``."""
        self._add(unjudged_table(table))

    def functionals(self) -> Pair:
        """The sides that the frames suggest: functionals of the lower of two rungs of Jacob's ladder are the source.

        Raises:
            DataError: They are of more rungs, or there is no telling which of two on one rung is the source.
        """
        found = sorted({Functional(name) for item in (self._frames, self._alone) for name in item.functionals})
        pair = by_ladder(found)
        if pair is not None:
            return pair
        if len({functional.without_u for functional in found}) > 1:
            raise DataError(
                f"frames of {', '.join(found)} do not say what the source is and what the target: they are not of two rungs; "
                "give two files, the source first: --from FUNCTIONAL=PATH --from FUNCTIONAL=PATH"
            )
        return Pair(source=tuple(found), target=())

    def pair(
        self, functionals: Pair, geometry: Geometry, rule: SplitRule, plausibility: Plausibility | None = None
    ) -> Paired:
        """Pair the frames and deal the pairs to splits.

        Args:
            functionals: Which stand on each side.
            geometry: What the two frames of a pair share.
            rule: How pairs are dealt.
            plausibility: Looks at the pairs as they pass, and concludes at the end.

        Raises:
            UsageError: A held-out element does not exist.
            DataError: The rule's fractions are no fractions, no material has a held-out element, or frames to be paired are
                among those of an unpaired data set.
            StorageError: The disk refuses.
            DataError: As ``plausibility`` concludes.
        """
        drops: list[Drop] = []
        if geometry is Geometry.UNPAIRED:
            if self._frames:
                raise DataError(
                    "a data set without pairs has frames with a pair_id; leave it empty, or declare the pairs"
                )
            return self._dealt(self._single(functionals, drops), 1, rule, drops)
        phases: list[Match] = []
        paired = replace(
            self._dealt(self._pairs(functionals, geometry, drops, phases, plausibility), 2, rule, drops), phases=phases
        )
        if not self._alone:
            return paired
        training = self._dealt(self._single(functionals, drops), 1, rule, [], like=paired.tally.places)
        return replace(paired, training=training)

    def _pairs(
        self,
        functionals: Pair,
        geometry: Geometry,
        drops: list[Drop],
        phases: list[Match],
        plausibility: Plausibility | None,
    ) -> Iterator[Tables]:
        """The pairs among the frames that name one; what gives none is added to the drops, how phases differ to ``phases``."""
        repeated = self._frames.repeated()
        reordered = 0
        for frames in self._frames.rows.merged():
            joined = join(frames, functionals, geometry, repeated)
            phases.extend(joined.matches)
            drops.extend(joined.drops)
            reordered += joined.reordered
            if plausibility is not None:
                plausibility.add(joined.source, joined.target)
            yield joined.source, joined.target
        self._frames.rows.close()
        if plausibility is not None:
            plausibility.conclude()
        if reordered:
            log.warning(
                "note: %d pairs had their atoms in two orders; the target's were put into the source's", reordered
            )

    def _single(self, functionals: Pair, drops: list[Drop]) -> Iterator[Tables]:
        """The frames that stand alone; those of no use are added to the drops."""
        repeated = self._alone.repeated()
        for frames in self._alone.rows.merged():
            kept, dropped = single(frames, functionals, repeated)
            drops.extend(dropped)
            yield (kept,)
        self._alone.rows.close()

    def _dealt(
        self, rows: Iterator[Tables], width: int, rule: SplitRule, drops: Sequence[Drop], like: Places | None = None
    ) -> Paired:
        """Deal rows to splits and count them.

        Args:
            rows: Tables of equal length: ``width`` at a time.
            width: See ``rows``.
            rule: How.
            drops: Complete when ``rows`` has come to its end.
            like: Materials known there go where they are there.
        """
        tally = self._stack.enter_context(Tally(rule, self._scratch))
        spills = {split: tuple(self._spill() for _ in range(width)) for split in SPLITS}
        for tables in settled(rows, rule, tally.places, self._scratch, like=like):
            splits, keys = tally.add(*tables)
            for number, split in enumerate(SPLITS):
                chosen = np.flatnonzero(splits == number)
                column = pa.array(keys[chosen])
                for table, spill in zip(tables, spills[split], strict=True):
                    spill.append(take(table, chosen).append_column(SHARD_SCHEMA.field("subset_key"), column))
        return Paired(spills=spills, tally=tally, unpaired=drops)

    def _add(self, table: pa.Table) -> None:
        alone = pc.equal(table["pair_id"], "").to_numpy().astype(bool)
        if not alone.any() and table.num_rows:
            self._frames.add(table)  # as almost always
            return
        for collection, chosen in ((self._frames, ~alone), (self._alone, alone)):
            if chosen.any():
                collection.add(take(table, np.flatnonzero(chosen)))

    def _spill(self) -> Spill:
        return self._stack.enter_context(Spill(SHARD_SCHEMA, self._scratch))


class _Collection:
    """Frames on disk and the hashes of their ids."""

    def __init__(self, rows: SortedSpill) -> None:
        self.rows = rows
        self._hashes: list[NDArray[np.int64]] = []
        self._count = 0
        self.functionals: set[str] = set()

    def __bool__(self) -> bool:
        return self._count > 0

    def add(self, table: pa.Table) -> None:
        """Take frames."""
        self._count += table.num_rows
        self.functionals.update(table["functional"].unique().to_pylist())
        self._hashes.append(_hashes(table))
        self.rows.append(table)

    def repeated(self) -> set[str]:
        """Every ``frame_id`` that occurs more than once: those of equal hashes are compared as texts. To be asked once."""
        hashes = np.sort(np.concatenate([np.empty(0, dtype=np.int64), *self._hashes]))
        self._hashes.clear()
        suspects = np.unique(hashes[1:][hashes[1:] == hashes[:-1]])
        if len(suspects) == 0:
            return set()
        counts: Counter[str] = Counter()
        for table in self.rows.unsorted():
            rows = np.flatnonzero(np.isin(_hashes(table), suspects))
            counts.update(table["frame_id"].take(rows).to_pylist())
        return {frame_id for frame_id, count in counts.items() if count > 1}


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    return {str(percent): float(np.percentile(values, percent)) for percent in PERCENTILES}


def _hashes(table: pa.Table) -> NDArray[np.int64]:
    """Of the frame ids; they hold within this process only."""
    return np.fromiter(map(hash, table["frame_id"].to_pylist()), dtype=np.int64, count=table.num_rows)


def _batches(items: Iterable[Frame | pa.Table]) -> Iterator[list[Frame] | pa.Table]:
    """Tables as they are; at most ``BATCH_FRAMES`` frames at a time, and not many more than ``BATCH_ATOMS`` atoms."""
    batch: list[Frame] = []
    atoms = 0
    for item in items:
        if isinstance(item, pa.Table):
            yield item
            continue
        batch.append(item)
        atoms += item.n_atoms
        if len(batch) == BATCH_FRAMES or atoms >= BATCH_ATOMS:
            yield batch
            batch, atoms = [], 0
    if batch:
        yield batch
