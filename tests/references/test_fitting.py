"""What the fit finds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression

from xferbench.errors import DataError
from xferbench.functionals import Functional
from xferbench.references import composition_matrix, fit, fit_frames
from xferbench.references.fitting import BLOCK, fit_matrix

H, LI, O, NA, CL, FE = 1, 3, 8, 11, 17, 26  # noqa: E741 - oxygen
TRUE = {H: -3.0, LI: -1.9, O: -4.9, NA: -1.3, CL: -1.8}


def compositions(*formulas):
    return [np.array(formula) for formula in formulas]


def exact(numbers):
    """Energies per atom that are exactly linear in composition."""
    return np.array([np.mean([TRUE[z] for z in item]) for item in numbers])


OXIDES = compositions((LI, LI, O), (LI, O), (H, H, O), (H,), (LI, O, H))
SALT = compositions((NA, CL), (NA, NA, CL, CL), (LI,))


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
        references = fit(OXIDES, exact(OXIDES), functional=Functional("r2SCAN"))
        matrix = composition_matrix(OXIDES, [H, LI, O])
        assert references.functional == Functional("r2SCAN")
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

    def test_more_structures_than_a_block_are_one_fit(self):
        rng = np.random.default_rng(0)
        fractions = rng.dirichlet(np.ones(6), 2 * BLOCK + 7)
        energies = rng.normal(-5, 3, len(fractions))
        found = fit_matrix(fractions, energies, range(1, 7), weights=np.ones(len(fractions)))
        np.testing.assert_allclose(list(found.energies.values()), np.linalg.lstsq(fractions, energies)[0], atol=1e-11)

    def test_order_of_structures_and_atoms_does_not_matter(self):
        reordered = fit([item[::-1] for item in OXIDES[::-1]], exact(OXIDES)[::-1])
        assert reordered.energies == pytest.approx(fit(OXIDES, exact(OXIDES)).energies)

    def test_energies_scale_with_their_unit(self):
        assert fit(OXIDES, 1000 * exact(OXIDES)).energies["O"] == pytest.approx(1000 * TRUE[O])


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
        frames = [pair.target for pair in make_pairs(copies=1)]
        references = fit_frames(frames)
        assert references.functional == Functional("r2SCAN")
        assert references.energies["Mg"] == pytest.approx(
            -3.9 + 1.5 * (0.97**3 - 1) ** 2
        )  # offset and strain of copy 0

    def test_functionals_are_never_mixed(self, make_pairs):
        (pair,) = make_pairs(1, 1)
        with pytest.raises(DataError, match=r"frames of PBE, r2SCAN have different references"):
            fit_frames([pair.source, pair.target])

    def test_frames_without_energy_are_counted(self, make_pairs):
        frames = [pair.source for pair in make_pairs(2, 1)]
        with pytest.raises(DataError, match="1 of 2 frames have no energy"):
            fit_frames([frames[0], replace(frames[1], energy=None)])

    def test_elements_that_must_be_covered_are_passed_on(self, make_pairs):
        frames = [pair.source for pair in make_pairs(copies=1)]
        assert fit_frames(frames, elements=[FE], allow_missing=True).missing == ("Fe",)
        with pytest.raises(DataError, match="no structure contains Fe"):
            fit_frames(frames, elements=[FE])

    def test_no_frames(self):
        with pytest.raises(DataError, match="0 structures"):
            fit_frames([])


class TestWeights:
    def test_a_weight_of_two_is_the_structure_twice(self):
        energies = exact(OXIDES) + np.array([0.1, -0.1, 0.05, 0, 0.2])
        twice = fit([*OXIDES, OXIDES[0]], [*energies, energies[0]])
        weighted = fit(OXIDES, energies, weights=[2, 1, 1, 1, 1])
        assert weighted.energies == pytest.approx(twice.energies)
        assert weighted.mae == pytest.approx(twice.mae)
        assert weighted.rmse == pytest.approx(twice.rmse)

    def test_a_weight_of_zero_is_a_structure_that_is_not_there(self):
        energies = exact(OXIDES)
        weighted = fit(OXIDES, [*energies[:-1], 99.0], weights=[1, 1, 1, 1, 0])
        assert weighted.to_json() == fit(OXIDES[:-1], energies[:-1]).to_json()

    def test_an_element_without_weight_has_no_reference(self):
        references = fit(OXIDES, exact(OXIDES), weights=[1, 1, 0, 0, 0])
        assert list(references.energies) == ["Li", "O"]
        assert references.n_frames == 2

    @given(st.integers(0, 10**6))
    def test_it_agrees_with_scikit_learn(self, seed):
        rng = np.random.default_rng(seed)
        numbers = [rng.integers(1, 6, rng.integers(1, 8)) for _ in range(20)]
        energies, weights = rng.normal(-5, 3, 20), rng.integers(1, 9, 20)
        matrix = composition_matrix(numbers, range(1, 6))
        oracle = LinearRegression(fit_intercept=False).fit(matrix, energies, weights).predict(matrix)
        np.testing.assert_allclose(fit(numbers, energies, weights=weights).per_atom(numbers), oracle, atol=1e-8)

    @pytest.mark.parametrize("weights", [[1, 1, 1, 1], [0, 0, 0, 0, 0], [1, 1, 1, 1, -1], [1, 1, 1, 1, np.nan]])
    def test_weights_that_are_none_are_refused(self, weights):
        with pytest.raises(DataError, match="for 5 structures: need one each, not negative, not all zero"):
            fit(OXIDES, exact(OXIDES), weights=weights)

    def test_a_matrix_does_what_its_structures_do(self):
        matrix = composition_matrix(OXIDES, [H, LI, O, CL])
        by_matrix = fit_matrix(matrix, exact(OXIDES), [H, LI, O, CL], weights=np.ones(5))
        assert by_matrix.to_json() == fit(OXIDES, exact(OXIDES)).to_json()


FORMULAS = st.lists(st.lists(st.integers(1, 6), min_size=1, max_size=5).map(np.array), min_size=1, max_size=12)


class TestLaws:
    @given(FORMULAS, st.integers(0, 10**6))
    def test_the_rest_is_orthogonal_to_every_element(self, numbers, seed):
        energies = np.random.default_rng(seed).normal(size=len(numbers))
        references = fit(numbers, energies)
        elements = sorted({int(z) for item in numbers for z in item})
        matrix = composition_matrix(numbers, elements)
        rest = energies - references.per_atom(numbers)
        np.testing.assert_allclose(matrix.T @ rest, 0, atol=1e-9)
        assert references.rank + len(references.null_space) == len(elements)

    @given(FORMULAS, st.integers(0, 10**6))
    def test_references_are_linear_in_the_energies(self, numbers, seed):
        one, other = np.random.default_rng(seed).normal(size=(2, len(numbers)))
        sums = fit(numbers, 2 * one - 3 * other).per_atom(numbers)
        parts = 2 * fit(numbers, one).per_atom(numbers) - 3 * fit(numbers, other).per_atom(numbers)
        np.testing.assert_allclose(sums, parts, atol=1e-9)

    @given(FORMULAS, st.floats(-50, 50))
    def test_one_energy_per_atom_for_all_is_fitted_exactly_whatever_the_rank(self, numbers, energy):
        references = fit(numbers, np.full(len(numbers), energy))
        np.testing.assert_allclose(references.per_atom(numbers), energy, atol=1e-9)
        assert references.rmse == pytest.approx(0, abs=1e-9)

    @given(FORMULAS, st.integers(0, 10**6))
    def test_of_undetermined_solutions_it_is_the_shortest(self, numbers, seed):
        energies = np.random.default_rng(seed).normal(size=len(numbers))
        elements = sorted({int(z) for item in numbers for z in item})
        shortest = np.linalg.pinv(composition_matrix(numbers, elements)) @ energies
        np.testing.assert_allclose(list(fit(numbers, energies).energies.values()), shortest, atol=1e-7)

    def test_only_the_ratio_of_weights_matters(self):
        energies, weights = exact(OXIDES) + np.array([0.1, -0.2, 0, 0.3, 0]), np.array([1.0, 2, 3, 4, 5])
        one, other = (fit(OXIDES, energies, weights=factor * weights) for factor in (1, 1e6))
        assert other.energies == pytest.approx(one.energies)
        assert (other.mae, other.rmse) == pytest.approx((one.mae, one.rmse))
