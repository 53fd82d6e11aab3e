"""Pairs are frames that belong together; everything else is a drop with its reason."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase.geometry import find_mic
from hypothesis import given
from hypothesis import strategies as st

from xferbench import pairing
from xferbench.functionals import Functional, Pair
from xferbench.pairing import displacements, judge, judge_alone, pair
from xferbench.records import Drop, Frame, Geometry

PAIR = Pair(source=(Functional("PBE"), Functional("PBE+U")), target=(Functional("r2SCAN"),))
SAME, MATERIAL = Geometry.SAME_GEOMETRY, Geometry.SAME_MATERIAL


def frame(functional=Functional("PBE"), *, pair_id="p", **changes):
    values = {
        "frame_id": f"{pair_id}-{functional}",
        "pair_id": pair_id,
        "material_id": "NaCl",
        "functional": functional,
        "numbers": np.array([11, 17]),
        "positions": np.array([[0.0, 0.0, 0.0], [2.0, 2.0, 2.0]]),
        "cell": np.eye(3) * 4,
        "energy": -7.0,
        "forces": np.zeros((2, 3)),
        **changes,
    }
    return Frame(**values)


def partners(**changes):
    """A PBE frame and a target frame of the same atoms, the second with changes."""
    return [frame(), frame(Functional("r2SCAN"), **changes)]


def only_drop(frames, geometry=SAME, **settings):
    pairs, drops = pair(frames, PAIR, geometry, **settings)
    assert pairs == []
    assert len(drops) == 1
    return drops[0]


def test_two_frames_of_the_same_atoms_are_a_pair():
    source, target = partners()
    pairs, drops = pair([target, source], PAIR, SAME)
    assert [(item.source, item.target, item.geometry) for item in pairs] == [(source, target, SAME)]
    assert drops == []


def test_a_pbe_plus_u_frame_is_a_gga_partner():
    pairs, _ = pair([frame(Functional("PBE+U")), frame(Functional("r2SCAN"))], PAIR, SAME)
    assert pairs[0].source.functional == Functional("PBE+U")


def test_no_frames_give_no_pairs_and_no_drops():
    assert pair([], PAIR, SAME) == ([], [])


def test_pairs_and_drops_are_sorted_by_pair_id():
    names = ["b", "d", "a", "c"]
    frames = [
        frame(functional, pair_id=name) for functional in (Functional("r2SCAN"), Functional("PBE")) for name in names
    ]
    pairs, drops = pair([*frames, frame(pair_id="z"), frame(pair_id="y")], PAIR, SAME)
    assert [item.pair_id for item in pairs] == ["a", "b", "c", "d"]
    assert [drop.record_id for drop in drops] == ["y", "z"]


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abcde"),
            st.sampled_from([Functional(name) for name in ("PBE", "PBE+U", "r2SCAN", "HSE06")]),
            st.integers(0, 2),
        )
    )
)
def test_every_pair_id_becomes_one_pair_or_one_drop_in_any_order(keys):
    frames = [
        frame(functional, pair_id=pair_id, frame_id=f"{pair_id}-{functional}-{n}") for pair_id, functional, n in keys
    ]
    pairs, drops = pair(frames, PAIR, SAME)
    ids = [item.pair_id for item in pairs] + [drop.record_id for drop in drops]
    assert sorted(ids) == sorted({pair_id for pair_id, _, _ in keys})
    again, drops_again = pair(reversed(frames), PAIR, SAME)
    assert [item.pair_id for item in again] == [item.pair_id for item in pairs]
    assert drops_again == drops


@pytest.mark.parametrize("functional", [Functional(name) for name in ("PBE", "PBE+U", "r2SCAN")])
def test_a_frame_alone_has_no_partner(functional):
    drop = only_drop([frame(functional)])
    assert (drop.record_id, drop.reason, drop.detail) == ("p", pairing.NO_PARTNER, f"only p-{functional}")


def test_a_pbe_and_a_pbe_plus_u_frame_leave_the_gga_partner_ambiguous():
    drop = only_drop([*partners(), frame(Functional("PBE+U"))])
    assert drop.reason == pairing.SEVERAL_PARTNERS
    assert drop.detail == "p-PBE, p-PBE+U, p-r2SCAN"


def test_two_gga_frames_are_not_each_others_partners():
    assert only_drop([frame(), frame(Functional("PBE+U"))]).reason == pairing.SEVERAL_PARTNERS


def test_a_repeated_frame_id_drops_every_pair_that_has_it():
    frames = [
        *partners(),
        frame(pair_id="q", frame_id="p-PBE"),
        frame(Functional("r2SCAN"), pair_id="q"),
        frame(pair_id="r"),
        frame(Functional("r2SCAN"), pair_id="r"),
    ]
    pairs, drops = pair(frames, PAIR, SAME)
    assert [item.pair_id for item in pairs] == ["r"]
    assert [(drop.record_id, drop.reason) for drop in drops] == [
        ("p", pairing.DUPLICATE_ID),
        ("q", pairing.DUPLICATE_ID),
    ]


def test_the_same_frame_twice_is_a_duplicate_even_if_identical():
    assert only_drop([*partners(), frame()]).reason == pairing.DUPLICATE_ID


def test_partners_of_different_materials_are_refused_because_they_could_leak():
    drop = only_drop(partners(material_id="KCl"), MATERIAL)
    assert (drop.reason, drop.detail) == (pairing.MATERIAL_DIFFERS, "NaCl and KCl")


BAD_FRAMES = {
    "no energy": ({"energy": None}, pairing.MISSING_ENERGY),
    "NaN energy": ({"energy": float("nan")}, pairing.NOT_FINITE),
    "infinite correction": ({"correction": float("inf")}, pairing.NOT_FINITE),
    "NaN position": ({"positions": np.array([[0, 0, 0], [2, 2, np.nan]])}, pairing.NOT_FINITE),
    "infinite cell": ({"cell": np.diag([4, 4, np.inf])}, pairing.NOT_FINITE),
    "NaN stress": ({"stress": np.full((3, 3), np.nan)}, pairing.NOT_FINITE),
    "forces of another cell": ({"forces": np.zeros((3, 3))}, pairing.WRONG_SHAPE),
    "Voigt stress": ({"stress": np.zeros(6)}, pairing.WRONG_SHAPE),
    "one magmom too few": ({"magmoms": np.zeros(1)}, pairing.WRONG_SHAPE),
    "positions of another cell": ({"positions": np.zeros((3, 3))}, pairing.WRONG_SHAPE),
    "six cell lengths": ({"cell": np.ones(6)}, pairing.WRONG_SHAPE),
    "no atoms": (
        {"numbers": np.array([], dtype=int), "positions": np.zeros((0, 3)), "forces": None},
        pairing.WRONG_SHAPE,
    ),
    "atomic number 0": ({"numbers": np.array([0, 17])}, pairing.UNKNOWN_ELEMENT),
    "atomic number 119": ({"numbers": np.array([11, 119])}, pairing.UNKNOWN_ELEMENT),
}


@pytest.mark.parametrize("geometry", [SAME, MATERIAL])
@pytest.mark.parametrize(("changes", "reason"), BAD_FRAMES.values(), ids=BAD_FRAMES)
def test_a_frame_that_cannot_be_used_is_dropped_with_its_id(changes, reason, geometry):
    drop = only_drop(partners(**changes), geometry)
    assert drop.reason == reason
    assert "p-r2SCAN" in drop.detail
    source_first = [frame(**changes), frame(Functional("r2SCAN"))]
    assert only_drop(source_first, geometry).reason == reason


DIFFERENT = {
    "another element": ({"numbers": np.array([11, 35])}, pairing.SPECIES_DIFFER),
    "another order": ({"numbers": np.array([17, 11])}, pairing.SPECIES_DIFFER),
    "one atom more": (
        {"numbers": np.array([11, 17, 17]), "positions": np.zeros((3, 3)), "forces": None},
        pairing.SPECIES_DIFFER,
    ),
    "a slab": ({"pbc": (True, True, False)}, pairing.PBC_DIFFERS),
    "a longer cell": ({"cell": np.diag([4, 4, 4.001])}, pairing.LATTICE_DIFFERS),
    "a rotated cell": ({"cell": np.eye(3)[[1, 0, 2]] * 4}, pairing.LATTICE_DIFFERS),
    "a moved atom": ({"positions": np.array([[0, 0, 0], [2, 2, 2.001]])}, pairing.COORDINATES_DIFFER),
    "swapped atoms": ({"positions": np.array([[2.0, 2, 2], [0, 0, 0]])}, pairing.COORDINATES_DIFFER),
}


@pytest.mark.parametrize(("changes", "reason"), DIFFERENT.values(), ids=DIFFERENT)
def test_different_geometries_are_no_same_geometry_pair(changes, reason):
    assert only_drop(partners(**changes)).reason == reason


@pytest.mark.parametrize("what", ["another order", "a longer cell", "a rotated cell", "a moved atom", "swapped atoms"])
def test_a_same_material_pair_may_differ_in_all_that_leaves_the_phase(what):
    pairs, drops = pair(partners(**DIFFERENT[what][0]), PAIR, MATERIAL)
    assert len(pairs) == 1
    assert drops == []
    assert set(pairs[0].target.provenance["same_material"]) == {"volume_change", "rms"}
    assert "same_material" not in pairs[0].source.provenance


@pytest.mark.parametrize(
    ("what", "detail"),
    [("another element", "NaCl and NaBr"), ("one atom more", "NaCl and NaCl2"), ("a slab", "not periodic in three")],
)
def test_another_phase_is_no_partner_of_the_same_material(what, detail):
    drop = only_drop(partners(**DIFFERENT[what][0]), MATERIAL)
    assert (drop.record_id, drop.reason) == ("p", pairing.OTHER_PHASE)
    assert drop.detail.startswith(detail)


def without_structure(functional=Functional("PBE"), **changes):
    return frame(functional, **{"positions": np.empty((0, 3)), "cell": np.zeros((3, 3)), "forces": None, **changes})


class TestEnergiesOnly:
    def test_two_energies_of_one_composition_are_a_pair(self):
        twice = without_structure(Functional("r2SCAN"), numbers=np.array([17, 17, 11, 11]))
        pairs, drops = pair([without_structure(), twice], PAIR, Geometry.ENERGIES_ONLY)
        assert (len(pairs), drops) == (1, [])
        assert not pairs[0].source.has_structure

    def test_another_composition_is_none(self):
        other = without_structure(Functional("r2SCAN"), numbers=np.array([11, 17, 17]))
        assert only_drop([without_structure(), other], Geometry.ENERGIES_ONLY).reason == pairing.SPECIES_DIFFER

    def test_a_structure_where_there_are_to_be_none_is_refused(self):
        assert only_drop(partners(), Geometry.ENERGIES_ONLY).reason == pairing.WRONG_SHAPE

    @pytest.mark.parametrize("geometry", [SAME, MATERIAL])
    def test_no_structure_where_there_is_to_be_one_is_refused(self, geometry):
        frames = [without_structure(), without_structure(Functional("r2SCAN"))]
        assert only_drop(frames, geometry).reason == pairing.WRONG_SHAPE


class TestAlone:
    def test_frames_without_pair_id_are_passed_over(self):
        pairs, drops = pair([*partners(), frame(Functional("r2SCAN"), pair_id="", frame_id="x")], PAIR, SAME)
        assert [item.pair_id for item in pairs] == ["p"]
        assert drops == []

    def test_a_good_frame_is_fine(self):
        assert judge_alone(frame(Functional("r2SCAN"), pair_id=""), PAIR, set()) is None

    @pytest.mark.parametrize(
        ("changes", "repeated", "reason"),
        [
            ({"energy": None}, set(), pairing.MISSING_ENERGY),
            ({"positions": np.empty((0, 3))}, set(), pairing.WRONG_SHAPE),
            ({}, {"one"}, pairing.DUPLICATE_ID),
            ({"functional": Functional("PBE")}, set(), pairing.WRONG_FUNCTIONAL),
        ],
    )
    def test_a_bad_one_has_its_reason(self, changes, repeated, reason):
        bad = frame(**{"functional": Functional("r2SCAN"), "pair_id": "", "frame_id": "one", **changes})
        verdict = judge_alone(bad, PAIR, repeated)
        assert (verdict.record_id, verdict.reason) == ("one", reason)


def test_the_detail_states_the_difference_and_the_tolerance():
    drop = only_drop(partners(cell=np.diag([4, 4, 4.001])))
    assert drop.detail.startswith(
        "by 0.001 Å, tolerance 1e-06 Å: lattice vectors up to 0.001 Å apart, rounded to 3 decimals"
    )


@pytest.mark.parametrize(("shift", "kept"), [(0.9e-3, True), (1.1e-3, False)])
def test_the_tolerance_is_the_length_of_the_displacement(shift, kept):
    moved = np.array([[0, 0, 0], [2, 2, 2.0]]) + np.array([3, 4, 0]) / 5 * shift
    pairs, _ = pair(partners(positions=moved), PAIR, SAME, tolerance=1e-3)
    assert bool(pairs) is kept


def test_an_atom_written_in_another_image_is_in_the_same_place():
    wrapped = np.array([[4.0, -8.0, 0.0], [2.0, 6.0, -2.0]])
    pairs, _ = pair(partners(positions=wrapped), PAIR, SAME)
    assert len(pairs) == 1


def test_images_do_not_exist_across_a_vacuum():
    frames = [
        frame(pbc=(True, True, False)),
        frame(Functional("r2SCAN"), pbc=(True, True, False), positions=np.array([[0, 0, 4.0], [2, 2, 2]])),
    ]
    assert only_drop(frames).reason == pairing.COORDINATES_DIFFER


def test_a_molecule_without_cell_is_compared_in_place():
    molecule = {"pbc": (False, False, False), "cell": np.zeros((3, 3))}
    pairs, _ = pair([frame(**molecule), frame(Functional("r2SCAN"), **molecule)], PAIR, SAME)
    assert len(pairs) == 1


def test_a_periodic_cell_without_volume_does_not_hide_a_displacement():
    flat = {"cell": np.diag([4.0, 4.0, 0.0])}
    moved = {**flat, "positions": np.array([[0, 0, 1.0], [2, 2, 2]])}
    assert only_drop([frame(**flat), frame(Functional("r2SCAN"), **moved)]).reason == pairing.COORDINATES_DIFFER


@given(st.integers(0, 10**6))
def test_displacements_agree_with_ase_for_atoms_near_an_image(seed):
    rng = np.random.default_rng(seed)
    cell = np.eye(3) * 4 + rng.uniform(-1, 1, (3, 3))
    first = frame(cell=cell, positions=rng.uniform(0, 4, (2, 3)))
    small = rng.normal(0, 0.05, (2, 3))
    second = replace(first, positions=first.positions + small + rng.integers(-2, 3, (2, 3)) @ cell)
    oracle = find_mic(second.positions - first.positions, cell, pbc=True)[1]
    np.testing.assert_allclose(displacements(first, second), oracle, atol=1e-12)


def test_every_reason_is_explained_once():
    constants = {value for name, value in vars(pairing).items() if name.isupper() and isinstance(value, str)}
    assert constants == set(pairing.REASONS)


def test_one_group_is_judged_as_in_the_whole():
    source, target = partners()
    verdict = judge([target, source], PAIR, SAME, frozenset())
    assert (verdict.source, verdict.target, verdict.geometry) == (source, target, SAME)
    assert judge([source], PAIR, SAME, frozenset()) == Drop(
        record_id="p", reason=pairing.NO_PARTNER, detail="only p-PBE"
    )
    assert judge([source, target], PAIR, SAME, {"p-PBE"}).reason == pairing.DUPLICATE_ID


def test_numbers_in_two_dimensions_are_a_wrong_shape():
    assert only_drop(partners(numbers=np.array([[11], [17]]))).reason == pairing.WRONG_SHAPE
