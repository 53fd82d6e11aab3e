"""Each flag on a pair made for it, on one that just misses it, and on real pairs."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from xferbench import hygiene
from xferbench.hygiene import FLAGS, UNCLEAN, Thresholds, duplicates, flags, geometry_key, has_isolated_atom
from xferbench.records import Functional, Geometry, Pair
from xferbench.sources import mini


@pytest.fixture
def pair(make_pairs):
    """A clean pair of two atoms with all labels."""
    (made,) = [item for item in make_pairs() if item.pair_id == "3-17-1"]
    return change(made, magmoms=np.array([1.0, -1.0]), forces=np.zeros((2, 3)))


def change(pair, gga=None, r2scan=None, **both):
    return Pair(
        gga=dataclasses.replace(pair.gga, **both, **(gga or {})),
        r2scan=dataclasses.replace(pair.r2scan, **both, **(r2scan or {})),
        geometry=Geometry.SAME_GEOMETRY,
    )


def test_a_clean_pair_has_no_flag(pair):
    assert flags(pair) == frozenset()


@pytest.mark.parametrize("side", ["gga", "r2scan"])
@pytest.mark.parametrize(
    ("fields", "flag"),
    [
        ({"functional": Functional.PBE_U}, hygiene.HUBBARD_U),
        ({"correction": -0.7}, hygiene.CORRECTED),
        ({"forces": np.array([[6.0, 8.1, 0.0], [0.0, 0.0, 0.0]])}, hygiene.FAR_FROM_EQUILIBRIUM),
        ({"forces": None}, "missing_forces"),
        ({"stress": None}, "missing_stress"),
        ({"magmoms": None}, "missing_magmoms"),
        ({"magmoms": np.array([1.6, -1.0])}, hygiene.MOMENTS_DIFFER),
        ({"magmoms": np.array([1.0, 1.0])}, hygiene.SPIN_FLIP),
        ({"cell": np.eye(3) * 20.0, "positions": np.array([[0.0, 0, 0], [0, 0, 7.0]])}, hygiene.ISOLATED_ATOM),
    ],
)
def test_a_flag_needs_one_side_only(pair, side, fields, flag):
    assert flags(change(pair, **{side: fields})) == {flag}


@pytest.mark.parametrize(
    "fields",
    [
        {"correction": 0.0},
        {"forces": np.array([[6.0, 7.9, 0.0], [0.0, 0.0, 0.0]])},
        {"magmoms": np.array([1.4, -1.0])},
        {"magmoms": np.array([-1.0, 1.0])},
        {"cell": np.eye(3) * 20.0, "positions": np.array([[0.0, 0, 0], [0, 0, 5.9]])},
    ],
)
def test_what_just_misses_a_threshold_has_no_flag(pair, fields):
    assert flags(change(pair, r2scan=fields)) == frozenset()


def test_the_sign_of_a_tiny_moment_means_nothing(pair):
    made = change(pair, gga={"magmoms": np.array([2.0, 0.1])}, r2scan={"magmoms": np.array([2.0, -0.1])})
    assert flags(made) == frozenset()


def test_thresholds_are_settings(pair):
    made = change(pair, r2scan={"magmoms": np.array([1.4, -1.0])})
    assert flags(made, Thresholds(moment=0.3)) == {hygiene.MOMENTS_DIFFER}


class TestIsolation:
    def test_images_are_neighbours(self, pair):
        lone = dataclasses.replace(pair.gga, numbers=np.array([3]), positions=np.zeros((1, 3)), cell=np.eye(3) * 5.0)
        assert not has_isolated_atom(lone, 6.0)
        assert has_isolated_atom(lone, 4.9)
        assert has_isolated_atom(dataclasses.replace(lone, pbc=(False, False, False)), 6.0)

    def test_a_far_atom_is_near_an_image(self, pair):
        ends = dataclasses.replace(pair.gga, positions=np.array([[0.0, 0, 0], [0, 0, 19.0]]), cell=np.eye(3) * 20.0)
        assert not has_isolated_atom(ends, 6.0)


class TestDuplicates:
    def test_equal_structures_are_named_all(self, pair, make_pairs):
        again = change(pair, pair_id="again", energy=1.0)
        assert duplicates([pair, *make_pairs(2, 3), again]) >= {pair.pair_id, "again"}
        assert duplicates(make_pairs()) == frozenset()

    def test_images_shifts_of_all_and_tiny_steps_make_no_other_structure(self, pair):
        frame = pair.r2scan
        moved = frame.positions + np.array([0.3, 0.2, 0.1])
        moved[1] -= frame.cell[0] + frame.cell[2]
        tiny = frame.positions + 1e-6
        keys = {geometry_key(dataclasses.replace(frame, positions=place)) for place in (frame.positions, moved, tiny)}
        assert len(keys) == 1

    def test_other_places_species_or_cells_do(self, pair):
        frame = pair.r2scan
        others = [
            frame,
            dataclasses.replace(frame, positions=frame.positions * [[1], [1.01]]),
            dataclasses.replace(frame, numbers=frame.numbers[::-1]),
            dataclasses.replace(frame, cell=frame.cell * 1.01),
        ]
        assert len({geometry_key(item) for item in others}) == 4


def test_every_flag_has_a_meaning_and_the_unclean_ones_are_flags(pair):
    assert set(FLAGS) >= UNCLEAN
    worst = change(pair, functional=Functional.PBE_U, correction=1.0, forces=None, stress=None, magmoms=None)
    assert flags(worst) <= set(FLAGS)


def test_the_embedded_pairs_are_clean_but_for_the_moments_of_magnetic_ones():
    from xferbench.pairing import pair as join

    pairs, _ = join(mini.load().frames, Geometry.SAME_GEOMETRY)
    unclean = {item.pair_id: set(flags(item)) & UNCLEAN for item in pairs}
    assert set().union(*unclean.values()) <= {"moments_differ"}
    magnetic = {item.pair_id for item in pairs if {26, 28} & set(item.gga.numbers.tolist())}
    assert {name for name, found in unclean.items() if found} <= magnetic
    assert duplicates(pairs) == frozenset()
