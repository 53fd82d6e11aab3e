"""Which structures are predicted together: decided once, from the list of structures and a budget of atoms."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from xferbench.errors import DataError, UsageError
from xferbench.records import Digest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xferbench.records import Frame, Integers

BATCH_ATOMS = 512
"""Atoms of a batch: fills a CPU core with a small network, and leaves room on any GPU."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """The batches of a run, the same whatever the order of the frames, and on every machine.

    Attributes:
        frames: As they were given. They are asked for again batch by batch, and may be made then.
        order: Indices of the frames, sorted by id.
        ids: Sorted.
        starts: (batches + 1,) where each batch starts in ``order``, and the end.
        batch_atoms: The budget they were cut with; a larger structure is a batch of its own.
        structures_sha256: Digest of ids and structures, without any label.
    """

    frames: Sequence[Frame]
    order: Integers
    ids: Sequence[str]
    starts: Integers
    batch_atoms: int
    structures_sha256: str

    def __len__(self) -> int:
        """How many batches there are."""
        return len(self.starts) - 1

    def batch(self, number: int) -> list[Frame]:
        """The frames of a batch, sorted by id."""
        return [self.frames[index] for index in self.order[self.starts[number] : self.starts[number + 1]].tolist()]

    def size(self, number: int) -> int:
        """How many frames a batch has."""
        return int(self.starts[number + 1] - self.starts[number])

    def rows(self, numbers: range) -> slice:
        """Where the frames of neighbouring batches lie in ``ids``."""
        return slice(int(self.starts[numbers.start]), int(self.starts[numbers.stop]))


def make(frames: Sequence[Frame], batch_atoms: int) -> Plan:
    """Plan a run.

    Args:
        frames: In any order.
        batch_atoms: Neighbours in the order of ids are put together until they have this many atoms.

    Raises:
        UsageError: An impossible budget.
        DataError: No frames, or two of one id.
    """
    if batch_atoms < 1:
        raise UsageError(f"a budget of {batch_atoms} atoms is impossible; give 1 or more")
    n = len(frames)
    if not n:
        raise DataError("there are no structures to predict; choose a split or limit that has some")
    order = np.arange(n)
    ids, n_atoms, digest = _read(frames, order)
    if any(a > b for a, b in pairwise(ids)):
        order = np.array(sorted(range(n), key=ids.__getitem__))
        ids, n_atoms, digest = _read(frames, order)
    twice = next((a for a, b in pairwise(ids) if a == b), None)
    if twice is not None:
        raise DataError(f"frame id {twice!r} occurs more than once; make the data set again")
    return Plan(
        frames=frames,
        order=order,
        ids=ids,
        starts=_starts(n_atoms, batch_atoms),
        batch_atoms=batch_atoms,
        structures_sha256=digest,
    )


def shard(text: str, n_batches: int) -> range:
    """The batches of a shard ``i/n``, i from 1: neighbours, so that joining shards is putting them one after the other.

    Raises:
        UsageError: It is no such thing.
    """
    first, _, count = text.partition("/")
    if not (first.isdigit() and count.isdigit() and 1 <= int(first) <= int(count)):
        raise UsageError(f"shard {text!r} must be like 3/8, the first being 1/8")
    i, n = int(first), int(count)
    if n > n_batches:
        raise UsageError(f"shard {text}: there are only {n_batches} batches; use at most that many shards")
    return range(n_batches * (i - 1) // n, n_batches * i // n)


def _read(frames: Sequence[Frame], order: Integers) -> tuple[list[str], Integers, str]:
    """Ids, numbers of atoms and digest, in an order."""
    digest, ids, n_atoms = Digest(), [], np.zeros(len(order), dtype=np.int64)
    for place, index in enumerate(order.tolist()):
        frame = frames[index]
        ids.append(frame.frame_id)
        n_atoms[place] = frame.n_atoms
        digest.add(frame.frame_id, frame.numbers, frame.positions, frame.cell, str(frame.pbc))
    return ids, n_atoms, digest.hexdigest()


def _starts(n_atoms: Integers, budget: int) -> Integers:
    starts, filled = [0], 0
    for place, n in enumerate(n_atoms.tolist()):
        if filled and filled + n > budget:
            starts.append(place)
            filled = 0
        filled += n
    return np.array([*starts, len(n_atoms)])
