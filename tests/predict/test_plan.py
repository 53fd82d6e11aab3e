from __future__ import annotations

from dataclasses import replace
from itertools import chain, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xferbench.errors import DataError, UsageError
from xferbench.predict.plan import make, shard


def digest(frames):
    return make(frames, 5).structures_sha256


def test_the_structures_digest_sees_structures_and_ids_but_no_label(frames):
    first = frames[0]
    unlabelled = replace(first, energy=None, forces=None, stress=None, magmoms=None, provenance={"a": 1})
    assert digest([unlabelled, *frames[1:]]) == digest(frames)
    for changed in (
        replace(first, frame_id="other"),
        replace(first, positions=first.positions + 1e-12),
        replace(first, cell=first.cell * 1.01),
        replace(first, numbers=first.numbers[::-1]),
        replace(first, pbc=(True, True, False)),
    ):
        assert digest([changed, *frames[1:]]) != digest(frames)


def test_the_order_of_the_frames_changes_nothing(frames):
    one, other = make(frames, 5), make(frames[::-1], 5)
    assert one.ids == other.ids == sorted(one.ids)
    assert one.structures_sha256 == other.structures_sha256
    for number in range(len(one)):
        assert [frame.frame_id for frame in one.batch(number)] == [frame.frame_id for frame in other.batch(number)]


@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=30), budget=st.integers(1, 20))
def test_batches_are_neighbours_within_the_budget_that_no_neighbour_fits_into(sizes, budget):
    class Frame:
        numbers, positions, cell, pbc = np.array([1]), np.zeros((1, 3)), np.eye(3), (True, True, True)

        def __init__(self, place, n_atoms):
            self.frame_id, self.n_atoms = f"{place:03d}", n_atoms

    plan = make([Frame(place, n) for place, n in enumerate(sizes)], budget)
    batches = [[frame.n_atoms for frame in plan.batch(number)] for number in range(len(plan))]
    assert list(chain(*batches)) == sizes
    assert all(sum(batch) <= budget or len(batch) == 1 for batch in batches)
    assert all(sum(batch) + following[0] > budget for batch, following in pairwise(batches))


@given(n_batches=st.integers(1, 50), data=st.data())
def test_shards_are_all_batches_once_in_order(n_batches, data):
    n = data.draw(st.integers(1, n_batches))
    parts = [shard(f"{i}/{n}", n_batches) for i in range(1, n + 1)]
    assert [number for part in parts for number in part] == list(range(n_batches))
    assert all(len(part) for part in parts)


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "a/b", "1/0", "-1/3", "1/3/3", ""])
def test_nonsense_is_no_shard(text):
    with pytest.raises(UsageError, match="must be like 3/8"):
        shard(text, 10)


def test_more_shards_than_batches_are_refused():
    with pytest.raises(UsageError, match="only 2 batches"):
        shard("1/3", 2)


def test_impossible_plans_are_refused(frames):
    with pytest.raises(UsageError, match="budget of 0 atoms"):
        make(frames, 0)
    with pytest.raises(DataError, match="no structures"):
        make([], 5)
    with pytest.raises(DataError, match="occurs more than once"):
        make([*frames, frames[0]], 5)
