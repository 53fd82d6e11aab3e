"""Each flag on a pair made for it, on one that just misses it, and on real pairs."""

from __future__ import annotations

import dataclasses

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xferbench import hygiene
from xferbench.functionals import Functional
from xferbench.hygiene import (
    FLAGS,
    UNCLEAN,
    Thresholds,
    duplicates,
    flag_masks,
    flags,
    geometry_keys,
    has_isolated_atom,
    volume_ratios,
)
from xferbench.records import Frame, FramePair, Geometry
from xferbench.sources import mini
from xferbench.tables import frames_table


@pytest.fixture
def pair(make_pairs):
    """A clean pair of two atoms with all labels."""
    (made,) = [item for item in make_pairs() if item.pair_id == "3-17-1"]
    return change(made, magmoms=np.array([1.0, -1.0]), forces=np.full((2, 3), 0.001))


def change(pair, source=None, target=None, **both):
    return FramePair(
        source=dataclasses.replace(pair.source, **both, **(source or {})),
        target=dataclasses.replace(pair.target, **both, **(target or {})),
        geometry=Geometry.SAME_GEOMETRY,
    )


def test_a_clean_pair_has_no_flag(pair):
    assert flags(pair) == frozenset()


@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize(
    ("fields", "flag"),
    [
        ({"functional": Functional("PBE+U")}, hygiene.HUBBARD_U),
        ({"correction": -0.7}, hygiene.CORRECTED),
        ({"provenance": {"column": "e", "corrected": True}}, hygiene.CORRECTED),
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
        {"provenance": {"corrected": False}},
        {"forces": np.array([[6.0, 7.9, 0.0], [0.0, 0.0, 0.0]])},
        {"magmoms": np.array([1.4, -1.0])},
        {"magmoms": np.array([-1.0, 1.0])},
        {"cell": np.eye(3) * 20.0, "positions": np.array([[0.0, 0, 0], [0, 0, 5.9]])},
    ],
)
def test_what_just_misses_a_threshold_has_no_flag(pair, fields):
    assert flags(change(pair, target=fields)) == frozenset()


def test_the_sign_of_a_tiny_moment_means_nothing(pair):
    made = change(pair, source={"magmoms": np.array([2.0, 0.1])}, target={"magmoms": np.array([2.0, -0.1])})
    assert flags(made) == frozenset()


def test_thresholds_are_settings(pair):
    made = change(pair, target={"magmoms": np.array([1.4, -1.0])})
    assert flags(made, Thresholds(moment=0.3)) == {hygiene.MOMENTS_DIFFER}


class TestIsolation:
    def test_images_are_neighbours(self, pair):
        lone = dataclasses.replace(pair.source, numbers=np.array([3]), positions=np.zeros((1, 3)), cell=np.eye(3) * 5.0)
        assert not has_isolated_atom(lone, 6.0)
        assert has_isolated_atom(lone, 4.9)
        assert has_isolated_atom(dataclasses.replace(lone, pbc=(False, False, False)), 6.0)

    def test_a_far_atom_is_near_an_image(self, pair):
        ends = dataclasses.replace(pair.source, positions=np.array([[0.0, 0, 0], [0, 0, 19.0]]), cell=np.eye(3) * 20.0)
        assert not has_isolated_atom(ends, 6.0)


class TestDuplicates:
    def test_equal_structures_are_named_all(self, pair, make_pairs):
        again = change(pair, pair_id="again", energy=1.0)
        assert duplicates([pair, *make_pairs(2, 3), again]) >= {pair.pair_id, "again"}
        assert duplicates(make_pairs()) == frozenset()

    def test_images_shifts_of_all_and_tiny_steps_make_no_other_structure(self, pair):
        frame = pair.target
        moved = frame.positions + np.array([0.3, 0.2, 0.1])
        moved[1] -= frame.cell[0] + frame.cell[2]
        tiny = frame.positions + 1e-6
        copies = [dataclasses.replace(frame, positions=place) for place in (frame.positions, moved, tiny)]
        assert len({bytes(key) for key in geometry_keys(frames_table(copies))}) == 1

    def test_other_places_species_or_cells_do(self, pair):
        frame = pair.target
        others = [
            frame,
            dataclasses.replace(frame, positions=frame.positions * [[1], [1.01]]),
            dataclasses.replace(frame, numbers=frame.numbers[::-1]),
            dataclasses.replace(frame, cell=frame.cell * 1.01),
        ]
        assert len({bytes(key) for key in geometry_keys(frames_table(others))}) == 4


def test_every_flag_has_a_meaning_and_the_unclean_ones_are_flags(pair):
    assert set(FLAGS) >= UNCLEAN
    worst = change(pair, functional=Functional("PBE+U"), correction=1.0, forces=None, stress=None, magmoms=None)
    assert flags(worst) <= set(FLAGS)


def test_the_embedded_pairs_are_clean_but_for_the_moments_of_magnetic_ones():
    from xferbench.pairing import pair as join

    pairs, _ = join(mini.load().frames, mini.PAIR, Geometry.SAME_GEOMETRY)
    unclean = {item.pair_id: set(flags(item)) & UNCLEAN for item in pairs}
    assert set().union(*unclean.values()) <= {"moments_differ"}
    magnetic = {item.pair_id for item in pairs if {26, 28} & set(item.source.numbers.tolist())}
    assert {name for name, found in unclean.items() if found} <= magnetic
    assert duplicates(pairs) == frozenset()


class TestVolumes:
    def test_a_pair_of_one_material_may_differ_in_volume_and_one_of_one_geometry_cannot(self, pair):
        larger = {"cell": pair.target.cell * 1.05}
        made = dataclasses.replace(change(pair, target=larger), geometry=Geometry.SAME_MATERIAL)
        assert flags(made) == {hygiene.VOLUME_DIFFERS}
        assert flags(made, Thresholds(volume=0.16)) == frozenset()
        assert flags(change(pair, target=larger)) == frozenset()

    def test_volumes_are_those_per_atom_whichever_side_is_larger(self, pair):
        double = {
            "cell": pair.source.cell * [[1], [1], [2]],
            "numbers": np.tile(pair.source.numbers, 2),
            "positions": np.vstack([pair.source.positions, pair.source.positions + pair.source.cell[2]]),
            "magmoms": None,
            "forces": None,
        }
        source, target = (frames_table([side]) for side in (change(pair, source=double).source, pair.target))
        assert volume_ratios(source, target) == pytest.approx([1.0])
        smaller = frames_table([change(pair, source={"cell": pair.source.cell * 0.9}).source])
        assert volume_ratios(smaller, target) == pytest.approx([1 / 0.9**3])
        assert volume_ratios(target, smaller) == pytest.approx([1 / 0.9**3])

    def test_without_a_volume_there_is_nothing_to_compare(self, pair):
        made = change(pair, source={"pbc": (True, True, False)}, target={"cell": np.zeros((3, 3))})
        assert volume_ratios(frames_table([made.source]), frames_table([made.target])) == pytest.approx([1.0])


def naive(pair, limits=hygiene.THRESHOLDS):
    """The flags of a pair, told atom by atom."""
    sides = (pair.source, pair.target)
    found = set()
    if any(side.functional == Functional("PBE+U") for side in sides):
        found.add(hygiene.HUBBARD_U)
    if any(side.correction for side in sides):
        found.add(hygiene.CORRECTED)
    for side in sides:
        found |= {f"missing_{name}" for name in ("forces", "stress", "magmoms") if getattr(side, name) is None}
        if side.forces is not None and max(float(np.sqrt((force**2).sum())) for force in side.forces) > limits.force:
            found.add(hygiene.FAR_FROM_EQUILIBRIUM)
        atoms = side.atoms() * (3, 3, 3)
        centre = len(side.numbers) * 13
        apart = atoms.get_all_distances()[centre : centre + len(side.numbers)]
        if any(np.sort(row)[1] > limits.isolation for row in apart):
            found.add(hygiene.ISOLATED_ATOM)
    if all(side.magmoms is not None for side in sides):
        moments = list(zip(*(side.magmoms.tolist() for side in sides), strict=True))
        if any(abs(abs(a) - abs(b)) > limits.moment for a, b in moments):
            found.add(hygiene.MOMENTS_DIFFER)
        signs = {a * b > 0 for a, b in moments if min(abs(a), abs(b)) > limits.moment}
        if len(signs) == 2:
            found.add(hygiene.SPIN_FLIP)
    return found


@given(st.integers(0, 10**6))
@hypothesis.settings(max_examples=20)
def test_whole_tables_have_the_flags_of_each_pair_told_atom_by_atom(seed):
    rng = np.random.default_rng(seed)

    def side(i, functional):
        n = sizes[i]
        return Frame(
            frame_id=f"{i}-{functional}",
            pair_id=str(i),
            material_id="m",
            functional=Functional("PBE+U") if functional == Functional("PBE") and rng.random() < 0.2 else functional,
            numbers=np.full(n, 3),
            positions=places[i],
            cell=cells[i],
            energy=rng.random(),
            forces=None if rng.random() < 0.2 else rng.normal(0, 6, (n, 3)),
            stress=None if rng.random() < 0.2 else np.eye(3),
            magmoms=None if rng.random() < 0.2 else rng.choice([0.0, -2.1, -1.3, 0.2, 1.0, 1.8], n),
            correction=rng.choice([None, 0.0, -1.0]),
        )

    sizes = rng.integers(1, 7, 12)
    cells = [np.diag(rng.uniform(4, 14, 3)) for _ in sizes]
    places = [rng.random((n, 3)) @ cell for n, cell in zip(sizes, cells, strict=True)]
    pairs = [
        FramePair(
            source=side(i, Functional("PBE")), target=side(i, Functional("r2SCAN")), geometry=Geometry.SAME_GEOMETRY
        )
        for i in range(len(sizes))
    ]
    masks = flag_masks(frames_table(p.source for p in pairs), frames_table(p.target for p in pairs))
    found = [{flag for flag, mask in masks.items() if mask[i]} for i in range(len(pairs))]
    assert found == [naive(item) for item in pairs]
    assert [set(flags(item)) for item in pairs] == found


class TestGeometryKeys:
    def test_a_frame_without_structure_equals_none_but_itself(self, pair):
        nothing = {
            "positions": np.zeros((0, 3)),
            "cell": np.zeros((3, 3)),
            "forces": None,
            "stress": None,
            "magmoms": None,
        }
        bare = [change(pair, pair_id=name, target={**nothing, "frame_id": name}) for name in "abc"]
        assert duplicates([*bare, pair]) == frozenset()

    def test_molecules_without_a_cell_are_compared_as_they_are(self, pair):
        molecule = {"cell": np.zeros((3, 3)), "pbc": (False, False, False)}
        same = [change(pair, pair_id=name, target=molecule) for name in "ab"]
        other = change(pair, pair_id="c", target={**molecule, "positions": pair.target.positions * 1.1})
        assert duplicates([*same, other]) == {"a", "b"}

    def test_rounding_edges_of_one_grid_are_inside_a_bin_of_the_other(self, pair):
        edge = {"cell": np.eye(3) * 4.001, "positions": np.array([[0.0, 0, 0], [2.0005, 2.0005, 2.0005]])}
        noise = {**edge, "positions": edge["positions"] * (1 - 1e-9)}
        made = [change(pair, pair_id=name, target=side) for name, side in (("a", edge), ("b", noise))]
        keys = np.vstack([hygiene.geometry_keys(frames_table([item.target])) for item in made])
        assert keys[0, 0] != keys[1, 0]
        assert duplicates(made) == {"a", "b"}

    def test_no_pairs_have_no_duplicates(self):
        assert duplicates([]) == frozenset()
