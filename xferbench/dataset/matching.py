"""Pairs of one material that are not one phase are taken out; of the others it is recorded how their structures differ."""

from __future__ import annotations

import json

import pyarrow as pa

from xferbench.pairing import OTHER_PHASE, Match, compare, recorded
from xferbench.records import Drop
from xferbench.tables import FRAME_SCHEMA, table_frames, take

PROVENANCE = FRAME_SCHEMA.get_field_index("provenance")


def matched(source: pa.Table, target: pa.Table) -> tuple[pa.Table, pa.Table, list[Match], list[Drop]]:
    """Compare the structures of pairs that were relaxed apart.

    Args:
        source: ``FRAME_SCHEMA``.
        target: Row i is the partner of row i.

    Returns:
        The rows of both that are one phase, the match of each, which is also in the provenance of the target frame, and a
        drop for each pair that is not.
    """
    kept: list[int] = []
    matches: list[Match] = []
    provenance: list[str] = []
    drops: list[Drop] = []
    for row, (first, second) in enumerate(zip(table_frames(source), table_frames(target), strict=True)):
        match = compare(first, second)
        if isinstance(match, Match):
            kept.append(row)
            matches.append(match)
            provenance.append(json.dumps(recorded(second, match).provenance, sort_keys=True))
        else:
            drops.append(Drop(record_id=second.pair_id, reason=OTHER_PHASE, detail=match))
    column = pa.array(provenance, type=pa.string())
    partners = take(target, kept).set_column(PROVENANCE, FRAME_SCHEMA.field("provenance"), column)
    return take(source, kept), partners, matches, drops
