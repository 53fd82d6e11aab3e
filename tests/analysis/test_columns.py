"""Pairs become columns: per atom, in order, what is missing counted with its reason."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xferbench.analysis.columns import QUANTITIES, collect, reduced_formula
from xferbench.analysis.labels import TERMS
from xferbench.errors import DataError
from xferbench.functionals import Functional
from xferbench.records import Geometry


def test_energies_are_per_atom_and_the_gap_is_r2scan_minus_gga(make_pair, columns_of):
    columns = columns_of([make_pair("a", [11, 17], -3.0, -4.5), make_pair("b", [11], -1.0, -1.25)])
    np.testing.assert_allclose(columns.source, [-3.0, -1.0])
    np.testing.assert_allclose(columns.target, [-4.5, -1.25])
    np.testing.assert_allclose(columns.gap, [-1.5, -0.25])


def test_names_and_compositions_stand_beside_them(make_pair):
    pairs = [make_pair("a", [17, 11, 11, 17], -3.0, -4.5, material="salt", functional=Functional("PBE+U"))]
    columns = collect(pairs, {"salt": "val"})
    assert (columns.pair_ids, columns.material_ids, columns.splits) == (["a"], ["salt"], ["val"])
    assert (columns.functionals, columns.formulas) == (["PBE+U"], ["Cl1Na1"])
    assert len(columns) == 1


def test_a_missing_energy_is_nan_and_counted_with_its_side(make_pair, columns_of):
    columns = columns_of(
        [make_pair("a", [11], None, -1.0), make_pair("b", [11], -1.0, None), make_pair("c", [11], -1, -2)]
    )
    assert columns.has("energy").tolist() == [False, False, True]
    assert np.isnan(columns.gap).tolist() == [True, True, False]
    assert columns.missing("energy") == {"no label from PBE": 1, "no label from r2SCAN": 1}


def test_a_missing_label_of_one_quantity_does_not_touch_the_others(make_pair, columns_of):
    columns = columns_of([make_pair("a", [11], -1, -2, forces=([[1, 0, 0]], [[1, 0, 0]]), stress=(np.eye(3), None))])
    assert columns.has("forces").all()
    assert columns.missing("stress") == {"no label from r2SCAN": 1}
    assert columns.missing("magmoms") == {"no label from PBE and r2SCAN": 1}
    assert not columns.sums["stress"].any()


def test_other_geometries_have_energies_to_compare_and_nothing_else(make_pair, columns_of):
    pair = make_pair("a", [11], -1, -2, forces=([[1, 0, 0]], [[1, 0, 0]]))
    columns = columns_of([replace(pair, geometry=Geometry.SAME_MATERIAL)])
    assert columns.has("energy").all()
    assert columns.missing("forces") == {"the two geometries differ": 1}


def test_energies_alone_compare_energies_alone(make_pair, columns_of):
    columns = columns_of([replace(make_pair("a", [11], -1.0, -2.0), geometry=Geometry.ENERGIES_ONLY)])
    assert columns.missing("energy") == {}
    assert columns.missing("stress") == {"there are no structures": 1}


def test_corrections_are_noticed_not_applied(make_pair, columns_of):
    pair = make_pair("a", [11], -1.0, -2.0)
    columns = columns_of([pair, replace(pair, source=replace(pair.source, correction=-0.6))])
    assert columns.corrected.tolist() == [False, True]
    np.testing.assert_allclose(columns.source, [-1.0, -1.0])


def test_a_correction_inside_an_energy_is_noticed(make_pair, columns_of):
    pair = make_pair("a", [11], -1.0, -2.0)
    inside = replace(pair, source=replace(pair.source, provenance={"corrected": True}))
    columns = columns_of([pair, inside])
    assert columns.corrected_inside.tolist() == [False, True]
    assert columns.corrected.tolist() == [False, False]
    assert columns.take(np.array([False, True])).corrected_inside.tolist() == [True]


def test_labels_of_different_shapes_are_refused(make_pair, columns_of):
    pair = make_pair("a", [11, 17], -1, -2, forces=([[1, 0, 0]] * 2, [[1, 0, 0]]))
    with pytest.raises(DataError, match=r"forces of pair a have shapes \(2, 3\) and \(1, 3\)"):
        columns_of([pair])


def test_no_pairs_are_an_error():
    with pytest.raises(DataError, match="no pairs"):
        collect([], {})


def test_taking_rows_takes_them_from_every_column(springs):
    rows = np.array(springs.splits) == "test"
    part = springs.take(rows)
    assert len(part) == rows.sum()
    assert set(part.splits) == {"test"}
    np.testing.assert_array_equal(part.gap, springs.gap[rows])
    np.testing.assert_array_equal(part.sums["forces"], springs.sums["forces"][rows])
    assert [len(item) for item in part.numbers] == [len(n) for n, row in zip(springs.numbers, rows, strict=True) if row]
    assert part.missing("magmoms") != springs.missing("magmoms")


@pytest.mark.parametrize(
    ("numbers", "formula"),
    [([3], "Li1"), ([8, 26, 26, 8, 8], "Fe2O3"), ([1, 8, 1, 1, 8, 1], "H2O1"), ([6, 6, 6], "C1")],
)
def test_reduced_formulas(numbers, formula):
    assert reduced_formula(np.array(numbers)) == formula


@given(st.lists(st.integers(1, 94), min_size=1, max_size=6), st.integers(1, 4))
def test_copies_and_order_do_not_change_a_reduced_formula(numbers, copies):
    assert reduced_formula(np.array(sorted(numbers) * copies)) == reduced_formula(np.array(numbers))


def test_every_pair_is_either_compared_or_counted(springs):
    for quantity in QUANTITIES:
        assert springs.has(quantity).sum() + sum(springs.missing(quantity).values()) == len(springs)


def test_taking_nobody_leaves_masks_that_can_still_be_combined(springs):
    nobody = springs.take(np.zeros(len(springs), dtype=bool))
    assert len(nobody) == 0
    assert nobody.has("energy").dtype == bool
    assert nobody.missing("magmoms") == {}
    assert nobody.sums["forces"].shape == (0, TERMS["forces"].width)


def test_two_geometries_are_the_reason_even_where_labels_are_missing_too(make_pair, columns_of):
    columns = columns_of([replace(make_pair("a", [11], None, -1.0), geometry=Geometry.SAME_MATERIAL)])
    assert columns.missing("magmoms") == {"the two geometries differ": 1}
    assert columns.missing("energy") == {"no label from PBE": 1}


def test_reasons_name_the_family_that_lacks_the_label(make_pair, columns_of):
    pairs = [make_pair("a", [11], None, -1.0, functional=Functional("PBE+U")), make_pair("b", [11], None, -1.0)]
    assert list(columns_of(pairs).missing("energy").items()) == [("no label from PBE", 1), ("no label from PBE+U", 1)]


def test_a_correction_of_the_r2scan_side_is_noticed_too(make_pair, columns_of):
    pair = make_pair("a", [11], -1.0, -2.0)
    columns = columns_of([replace(pair, target=replace(pair.target, correction=0.0))])
    assert columns.corrected.tolist() == [True]
    assert columns.gap.tolist() == [-1.0]


def test_pairs_may_come_from_a_generator_and_keep_their_order(make_pair):
    names = ["z", "a", "m"]
    columns = collect((make_pair(name, [11], -1, -2) for name in names), dict.fromkeys(names, "test"))
    assert columns.pair_ids == names


def test_rows_of_sums_are_those_of_each_pair_alone(make_pairs, springs):
    for i, pair in enumerate(make_pairs()):
        np.testing.assert_array_equal(
            springs.sums["forces"][i], TERMS["forces"](pair.source.forces, pair.target.forces)
        )
