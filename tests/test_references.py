"""Elemental references: what the fit finds, what it cannot know, and that it says so."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression

from xferbench.errors import DataError, FormatError
from xferbench.records import Functional
from xferbench.references import (
    ElementalReferences,
    add,
    composition_matrix,
    estimable,
    fit,
    fit_frames,
    subtract,
)

H, LI, O, NA, CL, FE = 1, 3, 8, 11, 17, 26  # noqa: E741 - oxygen
TRUE = {H: -3.0, LI: -1.9, O: -4.9, NA: -1.3, CL: -1.8}


def compositions(*formulas):
    return [np.array(formula) for formula in formulas]


def exact(numbers):
    """Energies per atom that are exactly linear in composition."""
    return np.array([np.mean([TRUE[z] for z in item]) for item in numbers])


OXIDES = compositions((LI, LI, O), (LI, O), (H, H, O), (H,), (LI, O, H))
SALT = compositions((NA, CL), (NA, NA, CL, CL), (LI,))


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


class TestFit:
    def test_exactly_linear_energies_give_their_coefficients(self):
        references = fit(OXIDES, exact(OXIDES))
        assert references.energies == pytest.approx({"H": -3.0, "Li": -1.9, "O": -4.9})
        assert references.mae == pytest.approx(0, abs=1e-12)
        assert references.rmse == pytest.approx(0, abs=1e-12)

    def test_a_fit_by_hand(self):
        # Li and LiO, LiO with energies -1, -2.9 and -3.1 eV/atom: Li = -1, O = 2·(-3) - (-1) = -5, rests 0, ±0.1
        references = fit(compositions((LI,), (LI, O), (O, LI)), [-1.0, -2.9, -3.1])
        assert references.energies == pytest.approx({"Li": -1.0, "O": -5.0})
        assert references.mae == pytest.approx(0.2 / 3)
        assert references.rmse == pytest.approx(np.sqrt(0.02 / 3))

    def test_every_structure_weighs_the_same_whatever_its_size(self):
        references = fit(compositions((LI,), (LI,) * 50), [-1.0, -2.0])
        assert references.energies == pytest.approx({"Li": -1.5})

    def test_coverage_rank_and_conditioning_are_reported(self):
        references = fit(OXIDES, exact(OXIDES), functional=Functional.R2SCAN)
        matrix = composition_matrix(OXIDES, [H, LI, O])
        assert references.functional is Functional.R2SCAN
        assert references.n_structures == {"H": 3, "Li": 3, "O": 4}
        assert references.n_frames == 5
        assert references.rank == np.linalg.matrix_rank(matrix) == 3
        assert references.condition_number == pytest.approx(np.linalg.cond(matrix))
        assert references.undetermined == references.null_space == references.missing == ()

    def test_elements_are_ordered_by_atomic_number(self):
        assert list(fit(compositions((CL,), (H,), (O,)), [0, 0, 0]).energies) == ["H", "O", "Cl"]

    @given(st.integers(0, 10**6), st.integers(1, 30), st.integers(1, 6))
    def test_it_agrees_with_numpy_and_scikit_learn(self, seed, n, n_elements):
        rng = np.random.default_rng(seed)
        numbers = [rng.integers(1, n_elements + 1, rng.integers(1, 8)) for _ in range(n)]
        energies = rng.normal(-5, 3, n)
        references = fit(numbers, energies)
        present = sorted({int(z) for item in numbers for z in item})
        matrix = composition_matrix(numbers, present)
        solution, _, rank, singular = np.linalg.lstsq(matrix, energies)
        np.testing.assert_allclose(list(references.energies.values()), solution, atol=1e-8)
        assert references.rank == rank
        assert references.condition_number == pytest.approx(singular[0] / singular[rank - 1])
        oracle = LinearRegression(fit_intercept=False).fit(matrix, energies).predict(matrix)
        np.testing.assert_allclose(references.per_atom(numbers), oracle, atol=1e-8)
        assert references.rmse == pytest.approx(np.sqrt(np.mean((energies - oracle) ** 2)), abs=1e-8)

    def test_nearly_equal_compositions_cost_no_more_digits_than_they_must(self):
        # Li999O and Li1000O differ by 1e-6 in composition; the normal equations would miss oxygen by 2e-6 eV/atom.
        numbers = compositions((LI,) * 999 + (O,), (LI,) * 1000 + (O,))
        references = fit(numbers, exact(numbers))
        assert references.condition_number > 1e5
        assert references.energies == pytest.approx({"Li": -1.9, "O": -4.9}, abs=1e-8)

    def test_order_of_structures_and_atoms_does_not_matter(self):
        reordered = fit([item[::-1] for item in OXIDES[::-1]], exact(OXIDES)[::-1])
        assert reordered.energies == pytest.approx(fit(OXIDES, exact(OXIDES)).energies)

    def test_energies_scale_with_their_unit(self):
        assert fit(OXIDES, 1000 * exact(OXIDES)).energies["O"] == pytest.approx(1000 * TRUE[O])


class TestWhatDataCannotTell:
    def test_an_asked_element_without_data_is_an_error(self):
        with pytest.raises(DataError, match="no structure contains Cl, Fe: a reference cannot be fitted"):
            fit(OXIDES, exact(OXIDES), elements=[LI, FE, CL])

    def test_or_an_explicit_flag_and_never_zero(self):
        references = fit(OXIDES, exact(OXIDES), elements=[LI, FE], allow_missing=True)
        assert references.missing == ("Fe",)
        assert "Fe" not in references.energies
        assert "Fe" not in references.n_structures

    def test_the_energy_of_an_element_without_data_is_refused_by_name(self):
        references = fit(OXIDES, exact(OXIDES))
        with pytest.raises(DataError, match="no reference energy for Cl, Fe: no fitted structure contains it"):
            references.energy(np.array([FE, CL, LI]))

    def test_two_elements_that_only_occur_together_are_undetermined(self):
        references = fit(SALT, exact(SALT))
        assert references.undetermined == ("Na", "Cl")
        assert references.rank == 2
        (direction,) = references.null_space
        assert direction["Na"] == pytest.approx(-direction["Cl"])
        assert abs(direction["Na"]) == pytest.approx(2**-0.5)

    def test_their_sum_is_estimable_and_each_alone_is_not(self):
        references = fit(SALT, exact(SALT))
        asked = compositions((NA, CL), (NA, CL, NA, CL, LI), (LI,), (NA,), (NA, CL, CL), (FE,), (LI, FE))
        assert estimable(references, asked).tolist() == [True, True, True, False, False, False, False]

    def test_estimable_energies_are_right_although_single_values_are_open(self):
        references = fit(SALT, exact(SALT))
        asked = compositions((NA, CL), (NA, CL, LI, LI))
        np.testing.assert_allclose(references.per_atom(asked), exact(asked))

    def test_the_energy_of_an_undetermined_composition_is_refused(self):
        references = fit(SALT, exact(SALT))
        with pytest.raises(DataError, match=r"1 of 2 compositions are not determined .* leave Na, Cl open"):
            references.per_atom(compositions((NA, CL), (NA, CL, CL)))

    def test_one_more_composition_determines_them(self):
        numbers = [*SALT, np.array([NA, CL, CL])]
        references = fit(numbers, exact(numbers))
        assert references.undetermined == ()
        assert references.energies == pytest.approx({"Li": -1.9, "Na": -1.3, "Cl": -1.8})

    @given(st.integers(0, 10**6))
    def test_estimable_is_membership_in_the_row_space(self, seed):
        rng = np.random.default_rng(seed)
        numbers = [rng.integers(1, 7, rng.integers(1, 5)) for _ in range(rng.integers(1, 6))]
        asked = [rng.integers(1, 7, rng.integers(1, 5)) for _ in range(8)]
        references = fit(numbers, rng.normal(size=len(numbers)))
        matrix = composition_matrix(numbers, range(1, 7))
        rank = np.linalg.matrix_rank(matrix)
        grown = [np.linalg.matrix_rank(np.vstack([matrix, row])) for row in composition_matrix(asked, range(1, 7))]
        assert estimable(references, asked).tolist() == [new == rank for new in grown]

    def test_every_fitted_composition_is_estimable(self):
        assert estimable(fit(SALT, exact(SALT)), SALT).all()

    def test_nothing_asked_gives_nothing(self):
        references = fit(SALT, exact(SALT))
        assert estimable(references, []).shape == references.per_atom([]).shape == (0,)


class TestUse:
    def test_energy_is_the_total_of_the_cell(self):
        references = fit(OXIDES, exact(OXIDES))
        assert references.energy(np.array([LI, LI, O])) == pytest.approx(2 * -1.9 - 4.9)
        assert references.energy(np.array([LI, LI, O] * 4)) == pytest.approx(4 * (2 * -1.9 - 4.9))

    def test_subtracting_leaves_the_rest_and_adding_gives_it_back(self):
        energies = exact(OXIDES) + np.array([0.1, -0.1, 0.05, 0, 0])
        references = fit(OXIDES, energies)
        rest = subtract(references, OXIDES, energies)
        assert np.abs(rest).mean() == pytest.approx(references.mae)
        np.testing.assert_allclose(add(references, OXIDES, rest), energies)

    def test_the_rest_does_not_depend_on_an_elemental_shift(self):
        energies = exact(OXIDES) + np.array([0.1, -0.1, 0.05, 0, 0])
        shifted = energies + composition_matrix(OXIDES, [H, LI, O]) @ [3.0, -7.0, 40.0]
        rest, same = (subtract(fit(OXIDES, values), OXIDES, values) for values in (energies, shifted))
        np.testing.assert_allclose(rest, same, atol=1e-12)

    @pytest.mark.parametrize("function", [subtract, add])
    def test_as_many_energies_as_structures_are_needed(self, function):
        with pytest.raises(DataError, match=r"5 structures and energies of shape \(4,\)"):
            function(fit(OXIDES, exact(OXIDES)), OXIDES, np.zeros(4))


class TestBadInput:
    def test_no_structures(self):
        with pytest.raises(DataError, match="0 structures"):
            fit([], [])

    @pytest.mark.parametrize("shape", [(4,), (5, 1), ()])
    def test_energies_of_another_shape(self, shape):
        with pytest.raises(DataError, match="need one energy per structure"):
            fit(OXIDES, np.zeros(shape))

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_energies_that_are_no_numbers(self, value):
        with pytest.raises(DataError, match="1 of 5 energies are NaN or infinite, the first is number 2"):
            fit(OXIDES, [0, 0, value, 0, 0])


class TestFitFrames:
    def test_labels_are_taken_per_atom(self, make_pairs):
        frames = [pair.r2scan for pair in make_pairs(copies=1)]
        references = fit_frames(frames)
        assert references.functional is Functional.R2SCAN
        assert references.energies["Mg"] == pytest.approx(
            -3.9 + 1.5 * (0.97**3 - 1) ** 2
        )  # offset and strain of copy 0

    def test_functionals_are_never_mixed(self, make_pairs):
        (pair,) = make_pairs(1, 1)
        with pytest.raises(DataError, match=r"frames of PBE, r2SCAN have different references"):
            fit_frames([pair.gga, pair.r2scan])

    def test_frames_without_energy_are_counted(self, make_pairs):
        frames = [pair.gga for pair in make_pairs(2, 1)]
        with pytest.raises(DataError, match="1 of 2 frames have no energy"):
            fit_frames([frames[0], replace(frames[1], energy=None)])

    def test_elements_that_must_be_covered_are_passed_on(self, make_pairs):
        frames = [pair.gga for pair in make_pairs(copies=1)]
        assert fit_frames(frames, elements=[FE], allow_missing=True).missing == ("Fe",)
        with pytest.raises(DataError, match="no structure contains Fe"):
            fit_frames(frames, elements=[FE])

    def test_no_frames(self):
        with pytest.raises(DataError, match="0 structures"):
            fit_frames([])


class TestJson:
    @pytest.mark.parametrize("functional", [None, Functional.PBE_U])
    def test_a_round_trip_keeps_every_bit(self, functional):
        references = fit(SALT, exact(SALT), functional=functional, elements=[FE], allow_missing=True)
        text = json.dumps(references.to_json(), sort_keys=True)
        again = ElementalReferences.from_json(json.loads(text), "refs.json")
        assert again.to_json() == references.to_json()
        assert again.functional is functional
        assert list(again.energies) == list(references.energies)
        np.testing.assert_array_equal(again.per_atom(SALT), references.per_atom(SALT))
        assert estimable(again, compositions((NA,))).tolist() == [False]

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"energy": 1}, r"refs.json: unknown key energy \(did you mean energies\?\)"),
            ({"energies": {"Xx": 1.0}}, "refs.json: energies.Xx is no chemical symbol"),
            ({"energies": {"Li": "low"}}, "refs.json: energies.Li must be a number"),
            ({"functional": "SCAN"}, "refs.json: functional must be one of PBE, PBE.U, r2SCAN, not 'SCAN'"),
            ({"null_space": 3}, "refs.json: null_space must be"),
        ],
    )
    def test_a_file_that_is_wrong_is_refused_with_the_key(self, change, message):
        value = {**fit(SALT, exact(SALT)).to_json(), **change}
        with pytest.raises(FormatError, match=message):
            ElementalReferences.from_json(json.loads(json.dumps(value)), "refs.json")

    def test_a_file_that_is_something_else_lists_what_is_missing(self):
        with pytest.raises(FormatError, match="missing key energies; missing key n_structures"):
            ElementalReferences.from_json({}, "refs.json")
        with pytest.raises(FormatError, match="must be a table"):
            ElementalReferences.from_json([], "refs.json")
