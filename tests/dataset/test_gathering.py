"""Frames in any order and any number become the pairs, splits and facts that a small computation by hand gives."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from xferbench.dataset import gathering, spill
from xferbench.dataset.gathering import Gathering
from xferbench.dataset.layout import SHARD_SCHEMA
from xferbench.errors import DataError
from xferbench.functionals import Functional, Pair
from xferbench.pairing import pair
from xferbench.records import SPLITS, Geometry, SplitRule, fingerprint
from xferbench.sources.stream import FrameStream
from xferbench.splits import assign, subset_key
from xferbench.tables import frames_table, table_frames

PAIR = Pair(source=(Functional("PBE"), Functional("PBE+U")), target=(Functional("r2SCAN"),))
RULE = SplitRule(salt="synthetic", fractions=(0.6, 0.1, 0.3), group="formula")


@pytest.fixture
def frames(make_pairs):
    items = [frame for item in make_pairs() for frame in (item.source, item.target)]
    random.Random(3).shuffle(items)
    return items


@pytest.fixture
def tiny(monkeypatch):
    """Batches, runs and blocks of a few frames each."""
    monkeypatch.setattr(gathering, "BATCH_FRAMES", 3)
    for name, value in (("IN_MEMORY", 1000), ("RUN", 3000), ("BLOCK", 900)):
        monkeypatch.setattr(spill, name, value)


def gathered(frames, geometry=Geometry.SAME_GEOMETRY):
    """Split -> pairs of ids, the facts, and the drops."""
    with Gathering() as gathering_:
        gathering_.add_frames(frames)
        paired = gathering_.pair(PAIR, geometry, RULE)
        rows = {
            split: [
                ids
                for tables in paired.tables(split)
                for ids in zip(*(table["frame_id"].to_pylist() for table in tables), strict=True)
            ]
            for split in SPLITS
        }
        return rows, paired.facts(paired.unpaired), list(paired.unpaired)


@pytest.mark.parametrize("scale", ["whole", "tiny"])
def test_pairs_are_those_of_pairing_in_the_splits_of_the_rule(frames, request, scale):
    if scale == "tiny":
        request.getfixturevalue("tiny")
    rows, facts, drops = gathered(frames)
    pairs, _ = pair(frames, PAIR, Geometry.SAME_GEOMETRY)
    place = assign((item.material_id for item in pairs), RULE)
    for split in SPLITS:
        expected = [(p.source.frame_id, p.target.frame_id) for p in pairs if place[p.material_id] == split]
        assert rows[split] == expected
    assert facts["fingerprint"] == fingerprint(frames, place)
    assert drops == []


@pytest.mark.parametrize("scale", ["whole", "tiny"])
def test_a_stream_may_mix_tables_with_frames(frames, request, scale):
    if scale == "tiny":
        request.getfixturevalue("tiny")
    items = [frames_table(frames[:5]), *frames[5:9], frames_table(frames[9:10]), *frames[10:]]
    assert gathered(FrameStream(read=lambda: items)) == gathered(frames)


def test_tables_and_frames_are_the_same_to_it(frames, tiny):
    with Gathering() as gathering_:
        for start in range(0, len(frames), 10):
            gathering_.add_table(frames_table(frames[start : start + 10]))
        facts = gathering_.pair(PAIR, Geometry.SAME_GEOMETRY, RULE).facts([])
    assert facts == gathered(frames)[1]


def test_rows_are_whole_frames_with_their_subset_key(frames, tiny):
    with Gathering() as gathering_:
        gathering_.add_frames(frames)
        paired = gathering_.pair(PAIR, Geometry.SAME_GEOMETRY, RULE)
        table = pa.concat_tables(target for _, target in paired.tables("train"))
    assert table.schema.equals(SHARD_SCHEMA)
    keys = table["subset_key"].to_pylist()
    originals = {frame.frame_id: frame for frame in frames}
    for frame, key in zip(table_frames(table), keys, strict=True):
        assert key == subset_key(frame.material_id, RULE)
        np.testing.assert_array_equal(frame.positions, originals[frame.frame_id].positions)
        assert frame.energy == originals[frame.frame_id].energy


def test_a_frame_id_repeated_far_away_drops_both_pairs(frames, tiny):
    first, last = (sorted(frames, key=lambda frame: frame.frame_id)[i] for i in (0, -1))
    renamed = [replace(frame, frame_id=first.frame_id) if frame is last else frame for frame in frames]
    rows, _, drops = gathered(renamed)
    assert [(drop.record_id, drop.reason) for drop in drops] == [
        (first.pair_id, "duplicate_id"),
        (last.pair_id, "duplicate_id"),
    ]
    assert sum(map(len, rows.values())) == 40


def test_ids_of_equal_hashes_are_no_duplicates(frames, monkeypatch):
    monkeypatch.setattr(
        gathering, "_hashes", lambda table: np.zeros(table.num_rows, dtype=np.int64)
    )  # the worst hash there is
    assert gathered(frames)[2] == []


def test_odd_frames_become_drops_and_do_not_stop_the_others(frames, tiny):
    odd = [replace(frames[0], stress=np.zeros(6)), *frames[1:]]
    rows, _, drops = gathered(odd)
    assert [(drop.record_id, drop.reason) for drop in drops] == [(frames[0].pair_id, "wrong_shape")]
    assert sum(map(len, rows.values())) == 41


def test_no_frames_give_empty_facts():
    rows, facts, drops = gathered([])
    assert rows == {split: [] for split in SPLITS}
    assert facts["splits"]["train"]["pairs"] == 0
    assert drops == []


def test_large_cells_make_small_batches(frames, monkeypatch):
    monkeypatch.setattr(gathering, "BATCH_ATOMS", 5)
    batches = list(gathering._batches(frames))
    assert [frame for batch in batches for frame in batch] == frames
    assert all(sum(frame.n_atoms for frame in batch[:-1]) < 5 for batch in batches)


def test_fractions_that_are_none_are_refused(frames):
    with Gathering() as gathering_:
        gathering_.add_frames(frames)
        with pytest.raises(DataError, match="split fractions"):
            gathering_.pair(PAIR, Geometry.SAME_GEOMETRY, replace(RULE, fractions=(0.5, 0.1, 0.1)))


def test_nothing_is_left_on_the_disk(frames, tiny, tmp_path):
    with Gathering(tmp_path) as gathering_:
        gathering_.add_frames(frames)
        gathering_.pair(PAIR, Geometry.SAME_GEOMETRY, RULE)
        assert list(tmp_path.iterdir()) == []
