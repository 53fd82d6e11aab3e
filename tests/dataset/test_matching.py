"""Whole tables of same-material pairs give what ``pairing`` gives one by one."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from xferbench.dataset.joining import join, unjudged
from xferbench.dataset.matching import matched
from xferbench.functionals import Functional, Pair
from xferbench.pairing import OTHER_PHASE, pair
from xferbench.records import Geometry
from xferbench.tables import frames_table, table_frames

PAIR = Pair(source=(Functional("PBE"), Functional("PBE+U")), target=(Functional("r2SCAN"),))


@pytest.fixture
def frames(make_pairs):
    """Pairs of one phase each, but for the third."""
    pairs = [item for item in make_pairs(4, 1) if item.source.n_atoms > 1]
    stretched = [
        replace(item.target, cell=item.target.cell * 1.02, positions=item.target.positions * 1.02) for item in pairs
    ]
    cell = np.diag([3.0, 3.0, 9.0])
    stretched[2] = replace(stretched[2], cell=cell, positions=np.zeros_like(stretched[2].positions))
    return [item.source for item in pairs], stretched


def test_pairs_of_one_phase_stay_and_say_how_they_differ(frames):
    source, target, matches, drops = matched(*map(frames_table, frames))
    kept = [item.pair_id for i, item in enumerate(frames[0]) if i != 2]
    assert source["pair_id"].to_pylist() == target["pair_id"].to_pylist() == kept
    assert [match.volume_change for match in matches] == pytest.approx([1.02**3 - 1] * len(kept))
    stated = [json.loads(text)["same_material"]["volume_change"] for text in target["provenance"].to_pylist()]
    assert stated == [match.volume_change for match in matches]
    assert [(drop.record_id, drop.reason) for drop in drops] == [(frames[0][2].pair_id, OTHER_PHASE)]


def test_no_pairs_stay_no_pairs(frames):
    empty = frames_table([])
    source, target, matches, drops = matched(empty, empty)
    assert (source.num_rows, target.num_rows, matches, drops) == (0, 0, [], [])
    assert target.schema.equals(empty.schema)


def test_matching_twice_changes_nothing(frames):
    once = matched(*map(frames_table, frames))
    twice = matched(once[0], once[1])
    assert twice[:3] == once[:3]


def test_joining_a_table_is_pairing_its_frames(frames):
    everything = sorted([*frames[0], *frames[1]], key=lambda frame: frame.pair_id)
    joined = join(unjudged(everything), PAIR, Geometry.SAME_MATERIAL, set())
    pairs, drops = pair(everything, PAIR, Geometry.SAME_MATERIAL)
    assert [frame.provenance for frame in table_frames(joined.target)] == [item.target.provenance for item in pairs]
    assert list(joined.drops) == drops
    assert len(joined.matches) == len(pairs)
