"""Which materials go together: labels by hand and by pymatgen, and groups that nothing leaks between."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk
from hypothesis import given
from hypothesis import strategies as st

from xferbench.errors import DataError, UsageError
from xferbench.grouping import (
    Grouper,
    anonymous_formula,
    atomic_numbers,
    chemical_system,
    components,
    reduced_composition,
    space_group,
)
from xferbench.records import SplitRule
from xferbench.tables import frames_table

RULE = SplitRule(salt="s", fractions=(0.6, 0.1, 0.3), group="formula")


def ids(*numbers):
    return np.array(numbers)


@pytest.fixture
def make_frame(make_pairs):
    """``make_frame(atoms, material)`` -> a frame of that structure."""
    frame = make_pairs(1, 1)[0].target

    def make(atoms, material="m", name="f"):
        return replace(
            frame,
            frame_id=name,
            pair_id=name,
            material_id=material,
            numbers=atoms.numbers.astype(np.int64),
            positions=atoms.positions,
            cell=atoms.cell.array,
            pbc=tuple(bool(item) for item in atoms.pbc),
            forces=None,
            magmoms=None,
        )

    return make


def groups(frames, known=None, **rule):
    grouper = Grouper(replace(RULE, **rule))
    grouper.add(frames_table(frames))
    return grouper.groups(known)


class TestLabels:
    def test_a_chemical_system_is_alphabetical(self):
        assert chemical_system(ids(11, 17, 17, 8)) == "Cl-Na-O"

    def test_a_reduced_composition_has_its_smallest_numbers(self):
        assert reduced_composition(ids(26, 26, 26, 26, 8, 8, 8, 8, 8, 8)) == "Fe2O3"
        assert reduced_composition(ids(17, 11)) == "Cl1Na1"

    @pytest.mark.parametrize("formula", ["NaCl", "Fe4O6", "CaTiO3", "Cu8", "LiFePO4", "Na2H4C6"])
    def test_an_anonymous_formula_is_that_of_pymatgen(self, formula):
        from pymatgen.core import Composition

        composition = Composition(formula)
        numbers = [element.Z for element, amount in composition.items() for _ in range(int(amount))]
        assert anonymous_formula(np.array(numbers)) == composition.anonymized_formula

    @pytest.mark.parametrize(
        ("atoms", "number"),
        [
            (bulk("NaCl", "rocksalt", 5.6), 225),
            (bulk("ZnS", "zincblende", 5.4), 216),
            (bulk("CsCl", "cesiumchloride", 4.1), 221),
            (bulk("Fe", "bcc", 2.9), 229),
            (bulk("Mg", "hcp", 3.2, 5.2), 194),
        ],
    )
    def test_space_groups_are_those_of_the_textbook_in_any_cell(self, make_frame, atoms, number):
        assert space_group(make_frame(atoms)) == number
        assert space_group(make_frame(atoms * (2, 1, 1))) == number

    def test_a_small_distortion_stays_within_the_tolerance_and_a_large_one_does_not(self, make_frame):
        atoms = bulk("NaCl", "rocksalt", 5.6, cubic=True)
        for size, same in ((0.005, True), (0.3, False)):
            moved = atoms.copy()
            moved.rattle(size, seed=1)
            assert (space_group(make_frame(moved)) == 225) is same

    def test_no_lattice_or_a_flat_one_has_no_space_group(self, make_frame):
        atoms = bulk("Fe", "bcc", 2.9)
        atoms.pbc = (True, True, False)
        assert space_group(make_frame(atoms)) == 0
        flat = make_frame(bulk("Fe", "bcc", 2.9))
        assert space_group(replace(flat, cell=np.zeros((3, 3)))) == 0


class TestComponents:
    def test_a_shared_label_joins_materials_along_a_chain(self):
        labels = {"m1": {"a"}, "m2": {"a", "b"}, "m3": {"c", "b"}, "m4": {"d"}}
        assert components(labels) == {"m1": "a", "m2": "a", "m3": "a", "m4": "d"}

    @given(st.dictionaries(st.text("mnop", min_size=1), st.sets(st.sampled_from("abcdefgh"), min_size=1)))
    def test_no_label_is_in_two_groups_and_names_are_first_labels(self, labels):
        found = components(labels)
        owners = {}
        for material, own in labels.items():
            for label in own:
                assert owners.setdefault(label, found[material]) == found[material]
        for name in set(found.values()):
            members = set().union(*(labels[material] for material, group in found.items() if group == name))
            assert name == min(members)


class TestGrouper:
    def test_a_chemical_system_is_one_group_whatever_its_stoichiometry(self, make_frame):
        frames = [
            make_frame(bulk("NaCl", "rocksalt", 5.6), "mp-1", "f1"),
            make_frame(bulk("NaCl", "cesiumchloride", 4.1) * (2, 1, 1), "mp-2", "f2"),
            make_frame(bulk("Na", "bcc", 4.2), "mp-3", "f3"),
        ]
        found = groups(frames, by="chemsys")
        assert found.names == {"mp-1": "Cl-Na", "mp-2": "Cl-Na", "mp-3": "Na"}
        assert found.unknown == 0

    def test_a_prototype_is_one_group_whatever_its_elements(self, make_frame):
        frames = [
            make_frame(bulk("NaCl", "rocksalt", 5.6), "mp-1", "f1"),
            make_frame(bulk("MgO", "rocksalt", 4.2), "mp-2", "f2"),
            make_frame(bulk("ZnS", "zincblende", 5.4), "mp-3", "f3"),
        ]
        assert groups(frames, by="prototype").names == {"mp-1": "AB_225", "mp-2": "AB_225", "mp-3": "AB_216"}

    def test_distorted_copies_of_a_material_do_not_pull_it_into_the_group_of_all_that_is_distorted(self, make_frame):
        frames = []
        for number, atoms in enumerate(
            (bulk("NaCl", "rocksalt", 5.6, cubic=True), bulk("ZnS", "zincblende", 5.4, cubic=True))
        ):
            moved = atoms.copy()
            moved.rattle(0.3, seed=number)
            frames += [make_frame(atoms, f"mp-{number}", f"a{number}"), make_frame(moved, f"mp-{number}", f"b{number}")]
        assert groups(frames, by="prototype").names == {"mp-0": "AB_225", "mp-1": "AB_216"}

    def test_what_has_no_space_group_is_one_group_and_counted(self, make_frame):
        lone = [bulk("Fe", "bcc", 2.9), bulk("NaCl", "rocksalt", 5.6)]
        for atoms in lone:
            atoms.pbc = False
        frames = [make_frame(atoms, f"m{number}", f"f{number}") for number, atoms in enumerate(lone)]
        found = groups([*frames, make_frame(bulk("Al", "fcc", 4.0), "m9", "f9")], by="prototype")
        assert found.names == {"m0": "unknown", "m1": "unknown", "m9": "A_225"}
        assert found.unknown == 2

    def test_a_group_with_a_held_out_element_is_held_out_whole(self, make_frame):
        frames = [
            make_frame(bulk("NaCl", "rocksalt", 5.6), "mp-1", "f1"),
            make_frame(bulk("MgO", "rocksalt", 4.2), "mp-2", "f2"),
        ]
        assert groups(frames, held_out=("Mg",)).held_out == {"mp-2"}
        assert groups(frames, held_out=("Mg",), by="prototype").held_out == {"AB_225"}

    def test_an_element_that_nothing_contains_is_an_error(self, make_frame):
        with pytest.raises(DataError, match="no material contains Yb or Lu, so there is nothing to hold out"):
            groups([make_frame(bulk("Fe", "bcc", 2.9))], held_out=("Yb", "Lu"))

    def test_known_groups_keep_their_names_and_take_in_what_belongs_to_them(self, make_frame):
        rocksalt = groups([make_frame(bulk("NaCl", "rocksalt", 5.6), "mp-1")], by="chemsys", held_out=("Na",))
        more = [
            make_frame(bulk("NaCl", "cesiumchloride", 4.1), "new", "f1"),
            make_frame(bulk("Fe", "bcc", 2.9), "iron", "f2"),
        ]
        found = groups(more, known=rocksalt, by="chemsys", held_out=("Na",))
        assert found.names == {"mp-1": "Cl-Na", "new": "Cl-Na", "iron": "Fe"}
        assert found.held_out == {"Cl-Na"}


def test_symbols_must_be_elements():
    assert atomic_numbers(["Yb", "No"]) == [70, 102]
    with pytest.raises(UsageError, match="'Xx', 'X' is no element; give symbols such as Yb,Lu"):
        atomic_numbers(["Xx", "Fe", "X"])
