"""Pairing of whole tables: what is certainly a pair is told by a few vector operations, the rest is judged one by one.

``pairing.judge`` alone decides. The operations here only recognise what it would certainly accept (tests hold them to
that), which is nearly everything in a clean data set and takes a hundredth of the time.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from xferbench.dataset.matching import matched
from xferbench.errors import FormatError
from xferbench.functionals import SIDES
from xferbench.pairing import TOLERANCE, judge, judge_alone
from xferbench.pairing.ordering import REORDERED
from xferbench.records import Drop, Frame, Geometry
from xferbench.tables import FRAME_SCHEMA, frames_table, is_regular, list_lengths, table_frames, take

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from numpy.typing import NDArray

    from xferbench.functionals import Pair, Side
    from xferbench.pairing import Match

    Mask = NDArray[np.bool_]
    Indices = NDArray[np.int64]

IRREGULAR = "irregular"
UNJUDGED_SCHEMA = FRAME_SCHEMA.append(pa.field(IRREGULAR, pa.binary()))
"""Frames on the way to be judged; one with arrays that fit no column is carried whole in ``irregular``."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Joined:
    """The pairs and drops of some ``pair_id``.

    Attributes:
        source: ``FRAME_SCHEMA``, sorted by ``pair_id``.
        target: Row i is the partner of row i.
        matches: How the structures of each pair differ, where they are relaxed apart.
        reordered: Pairs whose atoms came in two orders.
    """

    source: pa.Table
    target: pa.Table
    drops: Sequence[Drop]
    matches: Sequence[Match] = ()
    reordered: int = 0


def unjudged(frames: Sequence[Frame]) -> pa.Table:
    """Frames, whatever shapes their arrays have, as a table of ``UNJUDGED_SCHEMA``."""
    try:
        return unjudged_table(frames_table(frames))
    except FormatError:  # some frame is irregular
        whole = [None if is_regular(frame) else pickle.dumps(frame) for frame in frames]
    table = frames_table(frame if is_regular(frame) else _emptied(frame) for frame in frames)
    return table.append_column(UNJUDGED_SCHEMA.field(IRREGULAR), pa.array(whole, type=pa.binary()))


def unjudged_table(table: pa.Table) -> pa.Table:
    """A table of ``FRAME_SCHEMA`` as one of ``UNJUDGED_SCHEMA``."""
    return table.append_column(UNJUDGED_SCHEMA.field(IRREGULAR), pa.nulls(table.num_rows, pa.binary()))


def join(table: pa.Table, functionals: Pair, geometry: Geometry, repeated: AbstractSet[str]) -> Joined:
    """Pair the frames of a table.

    Args:
        table: ``UNJUDGED_SCHEMA``, sorted by ``pair_id``, with all frames of each ``pair_id`` in it.
        functionals: Declared by the source, as ``geometry``.
        geometry: Declared by the source.
        repeated: Every ``frame_id`` that occurs more than once in the whole data set.
    """
    table = table.combine_chunks()
    starts = _starts(table["pair_id"])
    sizes = np.diff(np.append(starts, table.num_rows))
    source, target = _couples(table, functionals, starts[sizes == 2])
    frames = table.select(FRAME_SCHEMA.names)
    certain = _untouched(table, source, repeated) & _untouched(table, target, repeated)
    source, target = source[certain], target[certain]
    kept = certainly_pairs(take(frames, source), take(frames, target), geometry)
    source, target = source[kept], target[kept]
    rest = np.ones(table.num_rows, dtype=bool)
    rest[source] = rest[target] = False
    more_source, more_target, drops, changed = _judged(table, np.flatnonzero(rest), functionals, geometry, repeated)
    if more_source:
        source, target = np.append(source, more_source), np.append(target, more_target)
        order = np.argsort(np.minimum(source, target))
        source, target = source[order], target[order]
    partners = _replaced(take(frames, target), target, changed)
    if geometry is not Geometry.SAME_MATERIAL:
        return Joined(source=take(frames, source), target=partners, drops=drops, reordered=len(changed))
    kept, partners, matches, others = matched(take(frames, source), partners)
    drops = sorted([*drops, *others], key=lambda drop: drop.record_id)
    return Joined(source=kept, target=partners, drops=drops, matches=matches)


def single(table: pa.Table, functionals: Pair, repeated: AbstractSet[str]) -> tuple[pa.Table, list[Drop]]:
    """Judge the frames of a table one by one, as standing alone.

    Args:
        table: ``UNJUDGED_SCHEMA``.
        functionals: As for ``join``.
        repeated: As for ``join``.

    Returns:
        Those of use, as ``FRAME_SCHEMA``, and what keeps each other one from it.
    """
    table = table.combine_chunks()
    frames = table.select(FRAME_SCHEMA.names)
    kept = _untouched(table, np.arange(table.num_rows), repeated) & _usable(frames)
    kept &= _of_side(table, functionals, "target")
    doubtful = np.flatnonzero(~kept)
    verdicts = [judge_alone(frame, functionals, repeated) for frame in _frames(take(table, doubtful))]
    kept[doubtful] = [verdict is None for verdict in verdicts]
    return take(frames, np.flatnonzero(kept)), [verdict for verdict in verdicts if verdict is not None]


def certainly_pairs(source: pa.Table, target: pa.Table, geometry: Geometry) -> Mask:
    """Which rows are pairs beyond doubt, phases aside (``matching``); the others may be.

    Args:
        source: ``FRAME_SCHEMA``, one frame per ``pair_id``.
        target: Row i has the ``pair_id`` of row i of ``source``.
        geometry: See ``pairing.pair``.
    """
    if geometry is Geometry.ENERGIES_ONLY:  # frames of another make, and few of them
        return np.zeros(source.num_rows, dtype=bool)
    certain: Mask = _usable(source) & _usable(target) & _mask(pc.equal(source["material_id"], target["material_id"]))
    if geometry is Geometry.SAME_GEOMETRY:
        certain &= list_lengths(_column(source, "numbers")) == list_lengths(_column(target, "numbers"))
        if certain.all():  # as nearly always: nothing to copy
            return _same_geometry(source, target)
        rows = np.flatnonzero(certain)
        certain[rows] = _same_geometry(take(source, rows), take(target, rows))
    return certain


def _starts(pair_ids: pa.ChunkedArray) -> Indices:
    """Where each run of equal ids begins."""
    ids = pair_ids.combine_chunks()
    if len(ids) == 0:
        return np.empty(0, dtype=np.int64)
    changes = _mask(pc.not_equal(ids.slice(1), ids.slice(0, len(ids) - 1)))
    return np.concatenate([[0], np.flatnonzero(changes) + 1])


def _couples(table: pa.Table, functionals: Pair, firsts: Indices) -> tuple[Indices, Indices]:
    """Rows of the source and of the target frame, where two neighbours are one of each."""
    is_source, is_target = (_of_side(table, functionals, side) for side in SIDES)
    firsts = firsts[(is_source[firsts] & is_target[firsts + 1]) | (is_target[firsts] & is_source[firsts + 1])]
    source = np.where(is_target[firsts], firsts + 1, firsts)
    return source, 2 * firsts + 1 - source


def _of_side(table: pa.Table, functionals: Pair, side: Side) -> Mask:
    """Rows whose functional stands on a side."""
    return _mask(pc.is_in(table["functional"], value_set=pa.array(functionals.of(side), pa.string())))


def _untouched(table: pa.Table, rows: Indices, repeated: AbstractSet[str]) -> Mask:
    """Rows that are neither irregular nor have a repeated id."""
    fine = _mask(pc.is_null(table[IRREGULAR]))[rows]
    if repeated:
        fine &= ~_mask(pc.is_in(table["frame_id"], value_set=pa.array(sorted(repeated))))[rows]
    return fine


def _judged(
    table: pa.Table, rows: Indices, functionals: Pair, geometry: Geometry, repeated: AbstractSet[str]
) -> tuple[list[int], list[int], list[Drop], dict[int, Frame]]:
    """Judge the frames of some rows as objects; the last item has the rows of partners whose atoms were put into another order."""
    source, target, drops, changed = [], [], [], {}
    numbered = list(zip(rows.tolist(), _frames(take(table, rows)), strict=True))
    for _, members in groupby(numbered, key=lambda item: item[1].pair_id):
        group = list(members)
        verdict = judge([frame for _, frame in group], functionals, geometry, repeated)
        if isinstance(verdict, Drop):
            drops.append(verdict)
        else:
            places = {functionals.side_of(frame.functional): row for row, frame in group}
            source.append(places["source"])
            target.append(places["target"])
            if REORDERED in verdict.target.provenance and geometry is Geometry.SAME_GEOMETRY:
                changed[places["target"]] = verdict.target
    return source, target, drops, changed


def _replaced(table: pa.Table, rows: Indices, changed: Mapping[int, Frame]) -> pa.Table:
    """A table with some of its rows as other frames.

    Args:
        table: ``FRAME_SCHEMA``.
        rows: Number of each of its rows elsewhere.
        changed: That number -> the frame to stand there.
    """
    if not changed:
        return table
    chosen = np.arange(table.num_rows)
    replaced = np.flatnonzero(np.isin(rows, list(changed)))
    chosen[replaced] = table.num_rows + np.arange(len(replaced))
    new = frames_table([changed[int(rows[i])] for i in replaced])
    return take(pa.concat_tables([table, new]).combine_chunks(), chosen)


def _frames(table: pa.Table) -> list[Frame]:
    """Frames of a table of ``UNJUDGED_SCHEMA``."""
    return [
        frame if whole is None else pickle.loads(whole)  # noqa: S301 - written by this process into a file without a name
        for frame, whole in zip(table_frames(table), table[IRREGULAR].to_pylist(), strict=True)
    ]


def _emptied(frame: Frame) -> Frame:
    nothing = np.empty((0, 3))
    return replace(
        frame,
        numbers=np.empty(0, dtype=np.int64),
        positions=nothing,
        cell=np.zeros((3, 3)),
        forces=None,
        stress=None,
        magmoms=None,
    )


def _usable(table: pa.Table) -> Mask:
    """Which frames are usable by themselves beyond doubt."""
    n = list_lengths(_column(table, "numbers"))
    usable: Mask = n > 0
    for name, wanted in (("positions", n), ("forces", n), ("magmoms", n), ("stress", 3)):
        column = _column(table, name)
        usable &= (list_lengths(column) == wanted) | _mask(pc.is_null(column))
        usable[_rows_where(column, lambda values: ~np.isfinite(values))] = False
    usable[_rows_where(_column(table, "numbers"), lambda values: (values < 1) | (values > 118))] = False
    usable &= np.isfinite(_matrices(table)).all(axis=(1, 2))
    correction = pc.fill_null(_column(table, "correction"), 0.0)
    energy = pc.fill_null(_column(table, "energy"), np.nan)
    finite: Mask = np.isfinite(_numbers(energy)) & np.isfinite(_numbers(correction))
    return usable & finite


def _same_geometry(source: pa.Table, target: pa.Table) -> Mask:
    """Which rows are the same atoms in the same places beyond doubt: without looking for periodic images.

    Half the tolerance keeps clear of rounding.
    """
    n = list_lengths(_column(source, "numbers"))
    atoms_differ = _flat(_column(source, "numbers")) != _flat(_column(target, "numbers"))
    moved = (_flat(_column(source, "positions")) - _flat(_column(target, "positions"))).reshape(-1, 3)
    atoms_differ |= np.linalg.norm(moved, axis=1) > TOLERANCE / 2
    same: Mask = np.linalg.norm(_matrices(source) - _matrices(target), axis=2).max(axis=1, initial=0.0) <= TOLERANCE / 2
    same[np.repeat(np.arange(len(n)), n)[atoms_differ]] = False
    pbc = [_flat(_column(table, "pbc")).reshape(-1, 3) for table in (source, target)]
    same &= (pbc[0] == pbc[1]).all(axis=1)
    return same


def _rows_where(column: pa.Array, test: Callable[[NDArray[np.float64]], Mask]) -> Indices:
    """Rows of a list column in which any value passes a test."""
    values = _flat(column)
    found = test(values)
    if not found.any():
        return np.empty(0, dtype=np.int64)
    n = list_lengths(column)
    per_row = n * (len(values) // max(int(n.sum()), 1))
    return np.unique(np.repeat(np.arange(len(n)), per_row)[found])


def _matrices(table: pa.Table) -> NDArray[np.float64]:
    return _flat(_column(table, "cell")).reshape(-1, 3, 3)


def _column(table: pa.Table, name: str) -> pa.Array:
    return table[name].combine_chunks()


def _flat(column: pa.Array) -> NDArray[np.float64]:
    while pa.types.is_nested(column.type):
        column = column.flatten()
    return _numbers(column)


def _numbers(array: pa.Array) -> NDArray[np.float64]:
    values: NDArray[np.float64] = array.to_numpy(zero_copy_only=False)
    return values


def _mask(array: pa.Array | pa.ChunkedArray) -> Mask:
    values: Mask = np.asarray(
        array.to_numpy(zero_copy_only=False) if isinstance(array, pa.Array) else array.to_numpy(), bool
    )
    return values
