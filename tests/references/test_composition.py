"""Fractions of the elements."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xferbench.errors import DataError
from xferbench.references import composition_matrix
from xferbench.references.composition import atomic_number, checked_energies, present_elements, symbols

H, LI, O, NA, CL, FE = 1, 3, 8, 11, 17, 26  # noqa: E741 - oxygen


def compositions(*formulas):
    return [np.array(formula) for formula in formulas]


class TestCompositionMatrix:
    def test_rows_are_fractions(self):
        matrix = composition_matrix(compositions((LI, CL), (LI, LI, O), (O,)), [LI, O, CL])
        np.testing.assert_array_equal(matrix, [[0.5, 0, 0.5], [2 / 3, 1 / 3, 0], [0, 1, 0]])

    def test_columns_follow_the_given_order(self):
        assert composition_matrix(compositions((LI, LI, O, O, O)), [O, FE, LI]).tolist() == [[0.6, 0, 0.4]]

    def test_a_multiple_of_a_cell_has_the_same_row_to_the_last_bit(self):
        small, large = composition_matrix(compositions((LI, LI, O), (O, LI, LI) * 7), [LI, O])
        assert small.tolist() == large.tolist()

    def test_no_structures_give_no_rows(self):
        assert composition_matrix([], [LI, O]).shape == (0, 2)

    def test_an_element_without_column_is_named(self):
        with pytest.raises(DataError, match="no column for O, Cl: name every element"):
            composition_matrix(compositions((LI, O), (CL,)), [LI])

    def test_a_structure_without_atoms_is_named(self):
        with pytest.raises(DataError, match="structure 1 has no atoms"):
            composition_matrix([np.array([LI]), np.array([], dtype=int)], [LI])

    @pytest.mark.parametrize("number", [0, -1, 119])
    def test_a_number_that_is_no_element_is_refused(self, number):
        with pytest.raises(DataError, match="not within 1 to 118"):
            composition_matrix(compositions((number, LI)), [LI])

    @given(st.lists(st.lists(st.sampled_from([1, 3, 8, 118]), min_size=1, max_size=9), min_size=1, max_size=9))
    def test_it_agrees_with_counting(self, formulas):
        elements = [1, 3, 8, 118]
        expected = [[formula.count(element) / len(formula) for element in elements] for formula in formulas]
        np.testing.assert_array_equal(composition_matrix(compositions(*formulas), elements), expected)


class TestEnergies:
    def test_they_are_passed_on_as_numbers(self):
        assert checked_energies(compositions((LI,), (O,)), [1, -2]).dtype == float

    def test_one_that_is_not_finite_is_counted(self):
        with pytest.raises(DataError, match="2 of 3 energies are NaN or infinite, the first is number 1"):
            checked_energies(compositions((LI,), (O,), (O,)), [0, np.inf, np.nan])


class TestNames:
    def test_elements_that_occur_are_sorted(self):
        assert present_elements(compositions((O, LI, O), (CL,))) == [LI, O, CL]
        assert present_elements([]) == []

    def test_symbols_and_numbers_are_inverse(self):
        assert symbols(range(1, 119))[117] == "Og"
        assert [atomic_number(symbol) for symbol in symbols(range(1, 119))] == list(range(1, 119))

    def test_what_is_no_symbol_is_refused(self):
        with pytest.raises(KeyError):
            atomic_number("Xx")


@given(st.lists(st.sampled_from([H, LI, O]), min_size=1), st.lists(st.sampled_from([H, LI, O]), min_size=1))
def test_a_joined_cell_has_the_fractions_of_its_parts_weighted_by_their_atoms(first, second):
    a, b, both = composition_matrix(compositions(first, second, first + second), [H, LI, O])
    np.testing.assert_allclose(both, (len(first) * a + len(second) * b) / (len(first) + len(second)), rtol=1e-12)
    assert both.sum() == pytest.approx(1, rel=1e-12)
