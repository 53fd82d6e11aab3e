from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk

from xferbench.models.crystals import CRYSTALS, candidates, close_packed, largest_element, one_atom, strained


def formulas(supported):
    return [atoms.get_chemical_formula() for atoms in candidates(supported)]


def test_without_declared_elements_all_are_offered():
    assert len(formulas(None)) == len(CRYSTALS)


def test_only_declared_elements_are_used():
    assert formulas({"Cu", "Al", "Ni"}) == ["Al2Ni2", "Cu4", "Al4"]


@pytest.mark.parametrize(("supported", "formula"), [({"W"}, "W4"), ({"Pd", "H"}, "H2Pd2"), ({"Pd", "H", "W"}, "H2Pd2")])
def test_other_elements_get_close_packed_cells(supported, formula):
    assert formulas(supported)[0] == formula


def test_every_crystal_has_four_atoms_that_do_not_touch():
    for atoms in candidates(None):
        distances = atoms.repeat((2, 2, 2)).get_all_distances(mic=True)
        assert len(atoms) == 4
        assert distances[distances > 0].min() > 1.3


def test_no_symmetry_is_left():
    for atoms in candidates(None):
        shape = atoms.cell.array @ atoms.cell.array.T
        assert len(np.unique(np.round(shape[np.triu_indices(3)], 6))) == 6


def test_crystals_are_the_same_every_time():
    for first, second in zip(candidates(None), candidates(None), strict=True):
        np.testing.assert_array_equal(first.positions, second.positions)


def test_a_strain_scales_cell_and_positions_and_leaves_the_original():
    atoms = bulk("NaCl", "rocksalt", a=5.0)
    cell = atoms.cell.array.copy()
    longer = strained(atoms, np.diag([0.1, 0.0, 0.0]))
    np.testing.assert_allclose(longer.positions[1], [2.75, 0.0, 0.0], atol=1e-12)
    assert longer.get_volume() == pytest.approx(1.1 * atoms.get_volume())
    np.testing.assert_array_equal(atoms.cell.array, cell)


def test_one_atom_has_its_neighbours_at_twice_the_covalent_radius():
    copper = one_atom("Cu")
    assert len(copper) == 1
    assert np.linalg.norm(copper.cell.array[0]) == pytest.approx(2 * 1.32)


def test_two_different_elements_make_two_atoms():
    assert close_packed("Ni", "Al").get_chemical_formula() == "AlNi"
    assert close_packed("Ni", "Ni").get_chemical_formula() == "Ni"


def test_the_largest_element_is_the_metal():
    assert largest_element(bulk("MgO", "rocksalt", a=4.2)) == "Mg"
