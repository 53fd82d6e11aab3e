from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import spglib
from ase.data import atomic_numbers, covalent_radii
from ase.neighborlist import neighbor_list

from xferbench.factory.synthetic.structures import (
    ANIONS,
    COPIES,
    DENSE,
    ELEMENTS,
    FEW,
    KINDS,
    METALS,
    OTHERS,
    PROTOTYPES,
    RATTLE,
    SMALLEST_RADIUS,
    Filling,
    copies,
    crystal,
    fillings,
)

SALT = Filling(name="NaCl_rocksalt", material_id="NaCl", prototype="rocksalt", elements=("Na", "Cl"))
N_ATOMS = {
    "fcc": 1, "bcc": 1, "hcp": 2, "diamond": 2, "rocksalt": 2, "zincblende": 2, "cesiumchloride": 2, "nickelarsenide": 4,
    "tungstencarbide": 2, "fluorite": 3, "rutile": 6, "cadmiumiodide": 3, "auricupride": 4, "bismuthfluoride": 4,
    "perovskite": 5, "delafossite": 4, "halfheusler": 3, "heusler": 4,
}  # fmt: skip
SPACEGROUPS = {name: kind.spacegroup for name, kind in PROTOTYPES.items()}


def example(prototype):
    return next(filling for filling in fillings() if filling.prototype == prototype)


def test_there_are_thousands_of_structures_of_many_elements_and_systems():
    every = fillings()
    assert len(every) * COPIES >= 5000
    assert len({element for filling in every for element in filling.elements}) >= 60
    assert len({tuple(sorted(filling.elements)) for filling in every}) >= 500


def test_the_dense_set_has_as_many_of_few_elements():
    every = fillings(DENSE)
    elements = {element for filling in every for element in filling.elements}
    assert len(every) * COPIES >= 5000
    assert elements == set(FEW) < set(ELEMENTS)
    assert len({filling.material_id for filling in every}) / len(elements) > 5 * len(
        {filling.material_id for filling in fillings()}
    ) / len(ELEMENTS)


def test_names_are_unique_and_the_order_has_no_chemistry():
    names = [filling.name for filling in fillings()]
    assert len(set(names)) == len(names)
    assert names != sorted(names)
    assert len({filling.prototype for filling in fillings()[:100]}) > 10


def test_no_element_is_of_two_kinds():
    assert not [set(a) & set(b) for a, b in itertools.combinations((ANIONS, METALS, OTHERS), 2) if set(a) & set(b)]


@pytest.mark.filterwarnings("ignore:Set OLD_ERROR_HANDLING:DeprecationWarning")
@pytest.mark.parametrize("prototype", sorted(PROTOTYPES))
def test_a_prototype_is_what_its_name_says(prototype):
    atoms = crystal(example(prototype))
    assert len(atoms) == N_ATOMS[prototype]
    found = spglib.get_symmetry_dataset((atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers), symprec=1e-3)
    assert found.number == SPACEGROUPS[prototype]


@pytest.mark.parametrize("prototype", sorted(PROTOTYPES))
def test_at_scale_one_the_closest_atoms_touch(prototype):
    filling = example(prototype)
    atoms = crystal(filling)
    radii = np.maximum(covalent_radii[atoms.numbers], SMALLEST_RADIUS)
    i, j, d = neighbor_list("ijd", atoms, 2.2 * radii.max())
    assert (d / (radii[i] + radii[j])).min() == pytest.approx(1.0)


def test_a_scale_is_one_of_lengths():
    assert crystal(SALT, 1.1).cell.array == pytest.approx(1.1 * crystal(SALT).cell.array)
    a = covalent_radii[atomic_numbers["Na"]] + covalent_radii[atomic_numbers["Cl"]]
    assert crystal(SALT).get_volume() == pytest.approx(2 * a**3)


def test_materials_are_reduced_formulas():
    by_name = {filling.prototype: filling for filling in fillings()}
    for prototype, count in (("fluorite", 3), ("perovskite", 5), ("heusler", 4)):
        symbols = crystal(by_name[prototype]).get_chemical_symbols()
        assert len(symbols) == count
        assert set(symbols) == set(by_name[prototype].elements)
        assert all(symbol in by_name[prototype].material_id for symbol in symbols)


def test_most_compositions_have_polymorphs():
    counts = {}
    for filling in fillings():
        counts[filling.material_id] = counts.get(filling.material_id, 0) + 1
    assert sum(n > 1 for n in counts.values()) > len(counts) / 2


def test_a_composition_comes_in_every_prototype_of_its_kind():
    kind = KINDS[1]
    salts = {filling.prototype for filling in fillings() if filling.material_id == _some_salt()}
    assert salts >= set(kind.prototypes)


def _some_salt():
    return next(filling.material_id for filling in fillings() if filling.prototype == "zincblende")


def test_copies_are_the_same_every_time():
    first, second = (list(copies(SALT, 1.05)) for _ in range(2))
    assert [name for name, _ in first] == [f"NaCl_rocksalt_{k}" for k in range(COPIES)]
    for (_, a), (_, b) in zip(first, second, strict=True):
        assert np.array_equal(a.positions, b.positions)
        assert np.array_equal(a.cell.array, b.cell.array)


def test_the_first_copy_is_the_crystal_itself():
    assert np.array_equal(next(copies(SALT, 1.05))[1].positions, crystal(SALT, 1.05).positions)


def test_other_copies_are_strained_and_displaced_within_bounds():
    perfect = crystal(SALT, 1.05)
    for number, (_, atoms) in enumerate(copies(SALT, 1.05)):
        ratio = atoms.get_volume() / perfect.get_volume()
        assert 0.75 < ratio < 1.3
        path = atoms.get_scaled_positions(wrap=False) - perfect.get_scaled_positions(wrap=False)
        moved = np.linalg.norm(path @ atoms.cell.array, axis=1)
        assert (moved > 0).all() == (number > 0)
        assert moved.max(initial=0) < 5 * RATTLE[number] + 1e-9


def test_choosing_a_crystal_changes_no_other():
    before = crystal(SALT).positions.copy()
    crystal(SALT).positions += 1.0
    assert np.array_equal(crystal(SALT).positions, before)


@pytest.mark.parametrize("prototype", sorted(PROTOTYPES))
def test_cells_are_small_and_hold_every_element(prototype):
    filling = example(prototype)
    atoms = crystal(filling)
    assert 1 <= len(atoms) <= 8
    assert set(atoms.get_chemical_symbols()) == set(filling.elements)
    assert atoms.pbc.all()
    assert atoms.get_volume() > 0


def test_every_role_is_filled_from_its_list():
    for kind in KINDS:
        allowed = [set(role) for role in kind.roles]
        for filling in fillings():
            if filling.prototype == "perovskite" and kind.prototypes == ("perovskite",):
                assert all(element in role for element, role in zip(filling.elements, allowed, strict=True))


def test_no_filling_repeats_an_element():
    assert all(len(set(filling.elements)) == len(filling.elements) for filling in fillings())


def test_two_orders_of_a_ternary_are_two_fillings_of_one_material():
    names = {
        (filling.material_id, filling.prototype): filling.name for filling in fillings() if len(filling.elements) == 3
    }
    assert all("".join(filling.elements) in filling.name for filling in fillings() if len(filling.elements) == 3)
    assert names


def test_an_unknown_prototype_is_a_bug():
    with pytest.raises(KeyError, match="quasicrystal"):
        crystal(Filling(name="x", material_id="x", prototype="quasicrystal", elements=("Al",)))


def test_more_compositions_than_there_are_is_an_error():
    with pytest.raises(ValueError, match=r"7 compositions .* asked for, 6 are possible"):
        fillings((replace(KINDS[0], roles=(("Li", "Na", "K"), ("Na", "K", "Li")), number=7),))
