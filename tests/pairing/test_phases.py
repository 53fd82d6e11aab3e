"""The same phase is what pymatgen's matcher says it is, and the short way never says otherwise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk, make_supercell
from hypothesis import example, given, settings
from hypothesis import strategies as st

from xferbench.functionals import Functional
from xferbench.pairing import phases
from xferbench.pairing.phases import Match, compare, recorded
from xferbench.records import Frame


def frame(atoms, functional=Functional("PBE")):
    return Frame(
        frame_id=f"x-{functional}",
        pair_id="x",
        material_id="x",
        functional=functional,
        numbers=atoms.numbers.astype(np.int64),
        positions=atoms.positions.copy(),
        cell=atoms.cell.array.copy(),
        energy=-1.0,
    )


def salt(length=5.6):
    return bulk("NaCl", "rocksalt", a=length, cubic=True)


def rattled(atoms, size, seed):
    """Strained and with atoms displaced, whatever that does to the phase."""
    random = np.random.default_rng(seed)
    strain = np.eye(3) + random.normal(0, size / 5, (3, 3))
    moved = atoms.copy()
    moved.set_cell(atoms.cell.array @ (strain + strain.T) / 2, scale_atoms=True)
    moved.positions += random.normal(0, size, moved.positions.shape)
    return moved


def test_a_uniform_expansion_is_a_volume_change_and_no_distance():
    match = compare(frame(salt(5.6)), frame(salt(5.544)))
    assert match.volume_change == pytest.approx(0.99**3 - 1)
    assert match.rms == pytest.approx(0, abs=1e-9)


def test_the_volume_is_per_atom():
    match = compare(frame(salt()), frame(bulk("NaCl", "rocksalt", a=5.6)))
    assert match.volume_change == pytest.approx(0, abs=1e-12)


def test_the_distance_of_one_moved_atom_by_hand():
    """One of eight atoms goes 0.2 Å: relative to the mean, (0.175² + 7 · 0.025²) / 8 Å²; 5.6 / 2 Å are the unit of length."""
    moved = salt()
    moved.positions[3, 0] += 0.2
    match = compare(frame(salt()), frame(moved))
    assert match.rms == pytest.approx(np.sqrt((0.175**2 + 7 * 0.025**2) / 8) / 2.8)


def test_rotation_images_and_the_origin_are_no_difference():
    other = salt()
    other.positions += [1.3, 0.2, -0.7]
    other.positions[2] += other.cell[0] * 3
    other.rotate(33, "x", rotate_cell=True)
    assert compare(frame(salt()), frame(other)).rms == pytest.approx(0, abs=1e-9)


def test_another_order_or_another_cell_is_left_to_the_matcher(monkeypatch):
    asked = []
    monkeypatch.setattr(phases, "_by_matcher", lambda _, second: asked.append(second.n_atoms) or 0.0)
    compare(frame(salt()), frame(salt()[::-1]))
    compare(frame(salt()), frame(make_supercell(salt(), np.diag([2, 1, 1]))))
    compare(frame(salt()), frame(salt()))
    assert asked == [8, 16]


def test_another_polymorph_is_another_phase():
    zincblende = bulk("NaCl", "zincblende", a=6.3, cubic=True)
    assert (
        compare(frame(salt()), frame(zincblende)) == "no mapping of lattice and atoms within the matcher's tolerances"
    )


def test_another_composition_is_named():
    assert compare(frame(salt()), frame(bulk("KCl", "rocksalt", a=6.3))) == "NaCl and KCl"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"pbc": (True, True, False)}, "not periodic in three directions, so there is no phase to compare"),
        ({"cell": np.diag([5.6, 5.6, 0.0])}, "a cell without volume"),
    ],
)
def test_what_is_no_crystal_cannot_be_compared(changes, why):
    assert compare(frame(salt()), replace(frame(salt()), **changes)) == why
    assert compare(replace(frame(salt()), **changes), frame(salt())) == why


@settings(max_examples=25)
@given(st.sampled_from(["rocksalt", "cesiumchloride", "wurtzite"]), st.floats(0, 0.25), st.integers(0, 99))
@example("rocksalt", 0.25, 53)  # angles that the axes given keep, and those of the matcher do not
def test_the_short_way_agrees_with_the_matcher_on_primitive_cells(kind, size, seed):
    atoms = bulk("NaCl", kind, a=4.0)
    first, second = frame(atoms), frame(rattled(atoms, size, seed))
    short, long = phases._in_order(first, second), phases._by_matcher(first, second)
    if short is not None:
        assert isinstance(long, float)
        assert (
            long <= 1.01 * short + 1e-4
        )  # the matcher may find a better order; its mean lattice is that of other axes


@pytest.mark.parametrize("kind", ["rocksalt", "cesiumchloride", "wurtzite"])
def test_the_short_way_measures_what_the_matcher_measures(kind):
    atoms = bulk("NaCl", kind, a=4.0)
    for seed in range(5):
        first, second = frame(atoms), frame(rattled(atoms, 0.03, seed))
        assert phases._in_order(first, second) == pytest.approx(phases._by_matcher(first, second), rel=0.01, abs=1e-5)


def test_it_is_symmetric_but_for_the_volume():
    first, second = frame(salt()), frame(rattled(salt(), 0.05, 1))
    there, back = compare(first, second), compare(second, first)
    assert there.rms == pytest.approx(back.rms)
    assert (1 + there.volume_change) * (1 + back.volume_change) == pytest.approx(1)


def test_the_match_is_recorded_beside_what_is_known():
    made = recorded(replace(frame(salt()), provenance={"task": 1}), Match(volume_change=-0.02, rms=0.01))
    assert made.provenance == {"task": 1, "same_material": {"volume_change": -0.02, "rms": 0.01}}
