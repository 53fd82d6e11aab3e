"""Pairing tables gives what pairing frames one by one gives, whatever the frames."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xferbench.dataset import joining
from xferbench.dataset.joining import UNJUDGED_SCHEMA, certainly_pairs, join, unjudged, unjudged_table
from xferbench.errors import FormatError
from xferbench.functionals import Functional, Pair
from xferbench.pairing import TOLERANCE, pair
from xferbench.records import Frame, Geometry
from xferbench.tables import FRAME_SCHEMA, frames_table, is_regular, table_frames

PAIR = Pair(source=(Functional("PBE"), Functional("PBE+U")), target=(Functional("r2SCAN"),))
SAME, MATERIAL = Geometry.SAME_GEOMETRY, Geometry.SAME_MATERIAL
TWO = np.array([[0.0, 0.0, 0.0], [2.0, 2.0, 2.0]])

CHANGES = {
    "nothing": {},
    "U": {"functional": Functional("PBE+U")},
    "the other functional": {"functional": Functional("r2SCAN")},
    "another material": {"material_id": "KCl"},
    "other species": {"numbers": np.array([19, 17])},
    "swapped species": {"numbers": np.array([17, 11])},
    "an unknown element": {"numbers": np.array([11, 119])},
    "no element": {"numbers": np.array([0, 17])},
    "one atom": {"numbers": np.array([11]), "positions": TWO[:1], "forces": TWO[:1]},
    "no atoms": {"numbers": np.array([], dtype=int), "positions": np.zeros((0, 3)), "forces": None},
    "two-dimensional numbers": {"numbers": np.array([[11], [17]])},
    "planar positions": {"positions": np.zeros((2, 2))},
    "positions of three": {"positions": np.zeros((3, 3))},
    "a moved atom": {"positions": TWO + 0.01},
    "barely moved": {"positions": TWO + 0.3 * TOLERANCE},
    "just within": {"positions": TWO + np.array([0.9 * TOLERANCE, 0, 0])},
    "just beyond": {"positions": TWO + np.array([1.1 * TOLERANCE, 0, 0])},
    "a lattice vector on": {"positions": TWO + np.array([4.0, 0, -4.0])},
    "a NaN position": {"positions": TWO * np.nan},
    "another cell": {"cell": np.eye(3) * 4.1},
    "cell lengths": {"cell": np.ones(6)},
    "infinite cell": {"cell": np.full((3, 3), np.inf)},
    "a slab": {"pbc": (True, True, False)},
    "no energy": {"energy": None},
    "NaN energy": {"energy": float("nan")},
    "infinite correction": {"correction": float("inf")},
    "a correction": {"correction": -0.5},
    "no forces": {"forces": None},
    "forces of three": {"forces": np.zeros((3, 3))},
    "NaN forces": {"forces": TWO * np.nan},
    "stress": {"stress": np.eye(3)},
    "Voigt stress": {"stress": np.zeros(6)},
    "half a stress": {"stress": np.zeros((2, 3))},
    "infinite stress": {"stress": np.full((3, 3), np.inf)},
    "magmoms": {"magmoms": np.ones(2)},
    "a magmom too few": {"magmoms": np.ones(1)},
    "NaN magmoms": {"magmoms": np.full(2, np.nan)},
}


def frame(functional=Functional("PBE"), *, pair_id="p", frame_id=None, **changes):
    values = {
        "frame_id": frame_id or f"{pair_id}-{functional}",
        "pair_id": pair_id,
        "material_id": "NaCl",
        "functional": functional,
        "numbers": np.array([11, 17]),
        "positions": TWO,
        "cell": np.eye(3) * 4,
        "energy": -7.0,
        "forces": np.zeros((2, 3)),
        **changes,
    }
    return Frame(**values)


def joined(frames, geometry):
    counts = Counter(item.frame_id for item in frames)
    frames = sorted(frames, key=lambda item: item.pair_id)
    return join(unjudged(frames), PAIR, geometry, {name for name, count in counts.items() if count > 1})


def check_against_pairing(frames, geometry):
    result = joined(frames, geometry)
    pairs, drops = pair(frames, PAIR, geometry)
    assert list(result.drops) == drops
    for table, side in ((result.source, "source"), (result.target, "target")):
        expected = [getattr(item, side) for item in pairs]
        assert table.equals(frames_table(expected))
        assert table.schema.equals(FRAME_SCHEMA)


@pytest.mark.parametrize("geometry", Geometry)
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_one_changed_frame_among_good_ones_is_judged_as_alone(change, geometry):
    frames = [
        frame(functional, pair_id=name) for name in "apz" for functional in (Functional("PBE"), Functional("r2SCAN"))
    ]
    for position in (2, 3):
        changed = [*frames[:position], replace(frames[position], **change), *frames[position + 1 :]]
        check_against_pairing(changed, geometry)


kinds = st.tuples(
    st.sampled_from("abcd"),
    st.sampled_from([Functional(name) for name in ("PBE", "PBE+U", "r2SCAN", "HSE06")]),
    st.sampled_from(list(CHANGES)),
    st.integers(0, 5),
)


@given(st.lists(kinds, max_size=10), st.sampled_from(list(Geometry)))
def test_any_mixture_is_judged_as_one_by_one(mixture, geometry):
    frames = [
        frame(**{"functional": functional, **CHANGES[change]}, pair_id=name, frame_id=f"{name}-{functional}-{n}")
        for name, functional, change, n in mixture
    ]
    check_against_pairing(frames, geometry)


def test_clean_pairs_are_told_without_judging_one(make_pairs, monkeypatch):
    def judge(*arguments, **settings):
        raise AssertionError("judged")

    monkeypatch.setattr(joining, "judge", judge)
    frames = [item for pair_ in make_pairs() for item in (pair_.target, pair_.source)]
    assert joined(frames, SAME).source.num_rows == len(frames) // 2


REGULAR = [name for name, change in CHANGES.items() if is_regular(frame(**change))]


@pytest.mark.parametrize("change", REGULAR)
def test_what_is_certain_is_what_pairing_accepts(change):
    source, target = frame(), replace(frame(Functional("r2SCAN")), **CHANGES[change])
    pairs, _ = pair([source, replace(target, functional=Functional("r2SCAN"))], PAIR, SAME)
    (certain,) = certainly_pairs(frames_table([source]), frames_table([target]), SAME)
    assert not certain or pairs


def test_no_frames_give_no_pairs_and_no_drops():
    result = joined([], MATERIAL)
    assert (result.source.num_rows, result.target.num_rows, list(result.drops)) == (0, 0, [])


def test_an_odd_frame_travels_whole():
    odd = frame(stress=np.zeros(6), provenance={"a": 1})
    table = unjudged([odd, frame(Functional("r2SCAN"))])
    assert table.schema.equals(UNJUDGED_SCHEMA)
    assert table["irregular"].is_null().to_pylist() == [False, True]
    assert table["frame_id"].to_pylist() == ["p-PBE", "p-r2SCAN"]
    (drop,) = joined([odd, frame(Functional("r2SCAN"))], MATERIAL).drops
    assert drop.detail == "p-PBE: stress (6,) for 2 atoms"


def test_a_table_of_frames_has_no_odd_ones(make_pairs):
    table = frames_table([make_pairs()[0].source])
    assert unjudged_table(table).schema.equals(UNJUDGED_SCHEMA)
    assert table_frames(unjudged_table(table))[0].frame_id == make_pairs()[0].source.frame_id


def test_an_odd_frame_does_not_fit_a_table_by_itself():
    with pytest.raises(FormatError, match="frame p-PBE has an array of a wrong shape and fits no table"):
        frames_table([frame(stress=np.zeros(6))])
