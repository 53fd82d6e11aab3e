"""The labels of a data set as arrays, read once: every pair of the scored split, and the calibration pairs of another one.

Each shard is read once, a row group of both sides at a time. Of the calibration split no more is kept than the pairs that may
still be chosen, so memory grows with the pairs that are used and not with the data set.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from xferbench.dataset.facts import ELEMENTS
from xferbench.dataset.flagging import STRUCTURE
from xferbench.dataset.layout import CONFIGS, SHARD_SCHEMA
from xferbench.dataset.symmetry import free_components
from xferbench.hygiene import DUPLICATE_GEOMETRY, flag_masks, geometry_keys, repeated
from xferbench.labels import Labels
from xferbench.records import SPLITS, FramePair
from xferbench.tables import calculations, table_frames, take

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from xferbench.dataset.opened import Dataset

    Integers = NDArray[np.int64]
    Mask = NDArray[np.bool_]
    Objects = NDArray[np.object_]

EACH = 20
"""Calibration pairs that contain an element, if so many do."""

STRUCTURES = 4_000
"""Pairs of the scored and the calibration split, about, whose structures are kept where not all are asked for."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Read:
    """What was read.

    Attributes:
        test: All pairs of the scored split, in the order of the rows.
        calibration: The chosen pairs of the calibration split.
        frame_ids: Of both sides of every pair of every split, to tell an unknown id from one that is not asked for.
    """

    test: Labels
    calibration: Labels
    frame_ids: Callable[[], frozenset[str]]


def read_labels(
    dataset: Dataset,
    split: str,
    calibration: str,
    *,
    eligible: Callable[[Labels], Mask],
    at_most: int,
    structures: bool = False,
) -> Read:
    """Read the labels of both sides.

    Args:
        dataset: With pairs.
        split: Whose pairs are all wanted.
        calibration: The split of which some pairs are wanted.
        eligible: (n,) which pairs may serve for calibration.
        at_most: Calibration pairs, see ``choose``.
        structures: Whether the structures of all wanted pairs are needed, and not just those of some.
    """
    test, chosen = [_nothing(dataset)], _nothing(dataset)
    keys: dict[str, list[NDArray[np.uint64]]] = {name: [] for name in SPLITS}
    ids: list[Objects] = []
    total = sum(int(dataset.manifest["splits"][name]["pairs"]) for name in {split, calibration})
    share = 1.0 if structures else min(STRUCTURES / max(total, 1), 1.0)
    for name in SPLITS:
        columns = None if name in {split, calibration} else STRUCTURE
        for tables in zip(*(dataset.tables(config, name, columns) for config in CONFIGS), strict=True):
            keys[name].append(geometry_keys(tables[-1]))
            ids.extend(table["frame_id"].to_numpy() for table in tables)
            if not tables[0].num_rows:
                continue
            if name == split:
                part = _with_free(_with_structures(_labels(tables, dataset), tables, share), tables)
                test.append(replace(part, flags=flag_masks(*tables)))
            elif name == calibration:
                part = _labels(tables, dataset)
                rows = np.flatnonzero(eligible(part))
                rows = rows[_candidates(part.take(rows), at_most)]
                part = _with_structures(part.take(rows), tuple(take(table, rows) for table in tables), share)
                several = Labels.join([chosen, part])
                chosen = several.take(_candidates(several, at_most))
    counts = [sum(map(len, keys[name])) for name in SPLITS]
    same = repeated(np.concatenate([item for name in SPLITS for item in keys[name]]))
    duplicates = dict(zip(SPLITS, np.split(same, np.cumsum(counts)[:-1]), strict=True))
    scored = test[0] if len(test) == 1 else Labels.join(test[1:])
    return Read(
        test=replace(scored, flags={**scored.flags, DUPLICATE_GEOMETRY: duplicates[split]}),
        calibration=chosen.take(choose(chosen, at_most)),
        frame_ids=lambda: frozenset(name for part in ids for name in part.tolist()),
    )


def choose(labels: Labels, at_most: int) -> Integers:
    """The calibration pairs: of every element as many as the number allows, and the rest as the hash has it.

    The pairs stand in the order of a hash of their ids. As many of the first pairs with each element are taken as fit into the
    number, up to ``EACH``; then the first of the others. So the choice depends on nothing but the pairs, and the choice from any
    part of them that holds the choice is the same.

    Returns:
        Their rows, ascending.
    """
    order, ranks = _ranked(labels)
    each = next((number for number in range(EACH, 0, -1) if (ranks <= number).sum() <= at_most), 0)
    first = ranks <= each
    others = np.flatnonzero(~first)[: max(0, at_most - int(first.sum()))]
    return np.sort(np.concatenate([order[first], order[others]]))


def _candidates(labels: Labels, at_most: int) -> Integers:
    """Rows of the pairs that ``choose`` may choose from, whatever other pairs there are besides."""
    order, ranks = _ranked(labels)
    return np.sort(order[(ranks <= EACH) | (np.arange(len(order)) < at_most)])


def _ranked(labels: Labels) -> tuple[Integers, Integers]:
    """Rows in the order of the hash, and the smallest rank of each among the pairs with one of its elements."""
    order = np.argsort(hashes(labels.pair_id), kind="stable")
    numbers = labels.target.numbers
    present = np.zeros((len(labels), ELEMENTS), dtype=bool)
    present[numbers.owner, numbers.values] = True
    present = present[order]
    return order, np.where(present, np.cumsum(present, axis=0), len(labels) + 1).min(axis=1)


def hashes(pair_ids: Objects) -> NDArray[np.uint64]:
    """A number of each pair that orders pairs at random, always the same way."""
    return np.array(
        [int.from_bytes(hashlib.sha256(f"calibration {name}".encode()).digest()[:8], "little") for name in pair_ids],
        dtype=np.uint64,
    )


def _labels(tables: Sequence[pa.Table], dataset: Dataset) -> Labels:
    """Rows of both sides, without their structures."""
    source, target = tables
    return Labels(
        pair_id=target["pair_id"].to_numpy(),
        material_id=target["material_id"].to_numpy(),
        geometry=dataset.geometry,
        source=calculations(source),
        target=calculations(target),
    )


def _with_structures(labels: Labels, tables: Sequence[pa.Table], share: float) -> Labels:
    """With the structures of about a share of the pairs."""
    rows = np.arange(len(labels))
    if share < 1:
        rows = np.flatnonzero(hashes(labels.pair_id) < np.uint64(int(share * 2.0**64)))
    sides = [table_frames(table if len(rows) == len(labels) else take(table, rows)) for table in tables]
    pairs = (FramePair(source=one, target=other, geometry=labels.geometry) for one, other in zip(*sides, strict=True))
    return replace(labels, structures=dict(zip(rows.tolist(), pairs, strict=True)))


def _with_free(labels: Labels, tables: Sequence[pa.Table]) -> Labels:
    """With the components that symmetry leaves free on each side."""
    source, target = (free_components(table_frames(table)) for table in tables)
    return replace(labels, source=replace(labels.source, free=source), target=replace(labels.target, free=target))


def _nothing(dataset: Dataset) -> Labels:
    tables = [pa.Table.from_batches([], schema=SHARD_SCHEMA) for _ in CONFIGS]
    return _labels(tables, dataset)
