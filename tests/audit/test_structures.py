"""What counts as the same structure: laws, textbook structures that must be told apart, and pymatgen's matcher as a judge."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from hypothesis import given, settings
from hypothesis import strategies as st

from xferbench.audit import structures
from xferbench.audit.structures import NEIGHBOURS, REACH, TOLERANCE, fingerprint, same


def described(atoms):
    return fingerprint(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)


def is_same(first, second, tolerance=TOLERANCE):
    return bool(same(described(first), described(second)[None], tolerance)[0])


def crystal(seed):
    """A random crystal of two elements whose atoms are not too near."""
    rng = np.random.default_rng(seed)
    atoms = bulk("NaCl", "rocksalt", 5.6, cubic=True)
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.1 * rng.normal(size=(3, 3))), scale_atoms=True)
    atoms.positions += rng.normal(0, 0.2, (8, 3))
    return atoms


def test_the_simple_cubic_crystal_has_the_distances_that_one_counts_by_hand():
    found = described(bulk("Po", "sc", 3.0))
    assert found.shape == (NEIGHBOURS,)
    expected = [1.0] * 6 + [2**0.5] * 12 + [3**0.5] * 6
    assert found == pytest.approx(expected)


def test_each_ordered_pair_of_elements_has_its_own_distances():
    found = described(bulk("CsCl", "cesiumchloride", 1.0)).reshape(2, 2, NEIGHBOURS) * 0.5 ** (1 / 3)
    chlorine, caesium = 0, 1
    assert found[chlorine, caesium, :8] == pytest.approx(3**0.5 / 2)
    assert found[caesium, chlorine, :8] == pytest.approx(3**0.5 / 2)
    assert found[chlorine, chlorine, :6] == pytest.approx(1.0)
    assert found.max() <= REACH * 0.5 ** (1 / 3) + 1e-12


class TestInvariance:
    @given(st.integers(0, 10_000))
    @settings(max_examples=25)
    def test_shifts_rotations_orders_images_volumes_and_supercells_change_nothing(self, seed):
        rng = np.random.default_rng(seed)
        atoms, reference = crystal(seed), described(crystal(seed))
        turned = atoms.copy()
        turned.rotate(rng.uniform(0, 360), rng.normal(size=3), rotate_cell=True)
        turned.positions += rng.normal(size=3)
        assert described(turned) == pytest.approx(reference, abs=1e-9)
        other = atoms[rng.permutation(8)]
        other.positions += rng.integers(-2, 3, (8, 3)) @ atoms.cell.array
        assert described(other) == pytest.approx(reference, abs=1e-9)
        scaled = atoms * (1, 2, 1)
        scaled.set_cell(scaled.cell.array * 0.97, scale_atoms=True)
        assert described(scaled) == pytest.approx(reference, abs=1e-9)

    @given(st.integers(0, 10_000), st.floats(0.001, 0.3))
    @settings(max_examples=25)
    def test_no_entry_moves_by_more_than_twice_the_largest_displacement(self, seed, size):
        atoms = crystal(seed)
        moved = atoms.copy()
        step = np.random.default_rng(seed + 1).normal(size=(8, 3))
        step *= size / np.linalg.norm(step, axis=1).max()
        moved.positions += step
        s = (atoms.get_volume() / 8) ** (1 / 3)
        assert np.abs(described(moved) - described(atoms)).max() <= 2 * size / s + 1e-12

    def test_skewed_cells_of_one_lattice_are_the_same(self):
        atoms = crystal(3)
        skewed = atoms.copy()
        skewed.cell = np.array([[1, 0, 0], [3, 1, 0], [-2, 4, 1]]) @ atoms.cell.array
        assert described(skewed) == pytest.approx(described(atoms), abs=1e-9)

    def test_large_cells_are_described_in_blocks(self, monkeypatch):
        atoms = crystal(5)
        whole = described(atoms)
        monkeypatch.setattr(structures, "BLOCK", 500)
        assert described(atoms) == pytest.approx(whole, abs=1e-12)


class TestTellingApart:
    @pytest.mark.parametrize(
        ("first", "second"),
        [
            (bulk("Al", "fcc", 4.05), bulk("Al", "hcp", 2.86, 4.67)),
            (bulk("Al", "fcc", 4.05), bulk("Al", "bcc", 3.2)),
            (bulk("ZnS", "zincblende", 5.41), bulk("ZnS", "wurtzite", 3.82, 6.26)),
            (bulk("ZnS", "zincblende", 5.41), bulk("ZnS", "rocksalt", 5.0)),
            (bulk("NaCl", "rocksalt", 5.6), bulk("NaCl", "cesiumchloride", 3.5)),
        ],
    )
    def test_polymorphs_are_others_as_pymatgen_says(self, first, second):
        from pymatgen.analysis.structure_matcher import StructureMatcher
        from pymatgen.io.ase import AseAtomsAdaptor

        assert not is_same(first, second)
        convert = AseAtomsAdaptor.get_structure
        assert not StructureMatcher(ltol=0.1, stol=0.1).fit(convert(first), convert(second))

    def test_two_orderings_on_one_lattice_are_others(self):
        layered = bulk("Cu", "bcc", 3.0, cubic=True) * (2, 2, 2)
        mixed = layered.copy()
        layered.numbers[layered.positions[:, 2] > 2.9] = 30
        mixed.numbers[np.isclose(mixed.positions % 3.0, 0).all(axis=1)] = 30
        assert (layered.numbers == 30).sum() == (mixed.numbers == 30).sum() == 8
        assert not is_same(layered, mixed)

    def test_a_relaxation_is_the_same_and_a_hot_snapshot_another(self):
        atoms = crystal(1)
        for size, expected in ((0.02, True), (0.4, False)):
            moved = atoms.copy()
            moved.rattle(size, seed=2)
            assert is_same(atoms, moved) is expected

    def test_the_tolerance_decides(self):
        atoms, moved = crystal(1), crystal(1)
        moved.rattle(0.1, seed=2)
        assert not is_same(atoms, moved, 0.01)
        assert is_same(atoms, moved, 0.5)


class TestOddCases:
    def test_what_no_data_set_has_is_not_described(self):
        atoms = bulk("Po", "sc", 3.0)
        atoms.cell[0] *= 1e-12
        assert described(atoms) is None
        assert described(bulk("Po", "sc", 3.0) * (13, 13, 13)) is None

    def test_atoms_in_a_vacuum_are_compared_by_length(self):
        near, far = (bulk("Po", "sc", 30.0) * (1, 1, 2) for _ in range(2))
        for atoms, distance in ((near, 2.0), (far, 3.0)):
            atoms.positions[1] = [0, 0, distance]
        assert described(near)[0] == pytest.approx(2.0 / 4.0)
        assert not is_same(near, far)

    def test_without_periodic_directions_there_are_no_images(self):
        atoms = bulk("Po", "sc", 3.0) * (2, 1, 1)
        atoms.pbc = False
        assert described(atoms) == pytest.approx([3.0 / 4.0] + [REACH] * (NEIGHBOURS - 1))
        atoms.cell = np.zeros((3, 3))
        assert described(atoms)[0] == pytest.approx(3.0 / 4.0)

    def test_a_slab_has_images_within_its_plane_only(self):
        atoms = bulk("Po", "sc", 3.0)
        atoms.pbc = (True, True, False)
        assert described(atoms)[:9] == pytest.approx([3 / 4] * 4 + [3 * 2**0.5 / 4] * 4 + [6 / 4])
