"""Huber and ridge regression against outside oracles and their laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import least_squares
from sklearn.linear_model import HuberRegressor, Ridge

from xferbench.references.fitting import fit_matrix
from xferbench.references.robust import ALPHAS, HUBER, MAD_TO_SIGMA, huber, ridge

ELEMENTS = (1, 3, 8, 11)


def problem(seed, n=60, outliers=6):
    rng = np.random.default_rng(seed)
    fractions = rng.dirichlet(np.ones(4), n)
    energies = fractions @ [-3.0, -1.0, -5.0, 2.0] + rng.normal(0, 0.05, n)
    energies[:outliers] += rng.normal(2, 1, outliers)
    return fractions, energies


def values(references):
    return np.array(list(references.energies.values()))


class TestHuber:
    @given(st.integers(0, 10**6))
    def test_it_minimises_hubers_loss_as_scipy_finds_it(self, seed):
        fractions, energies = problem(seed)
        found, threshold = huber(fractions, energies, ELEMENTS, weights=np.ones(60), threshold=0.1)
        oracle = least_squares(
            lambda x: energies - fractions @ x,
            np.zeros(4),
            loss="huber",
            f_scale=0.1,
            xtol=1e-14,
            ftol=1e-14,
            gtol=1e-14,
        )
        assert threshold == 0.1
        np.testing.assert_allclose(values(found), oracle.x, atol=1e-5)

    def test_it_agrees_with_scikit_learn_at_the_same_threshold(self):
        fractions, energies = problem(3)
        oracle = HuberRegressor(epsilon=HUBER, alpha=0, fit_intercept=False, tol=1e-10, max_iter=10_000)
        oracle.fit(fractions, energies)
        found, _ = huber(fractions, energies, ELEMENTS, weights=np.ones(60), threshold=HUBER * oracle.scale_)
        np.testing.assert_allclose(values(found), oracle.coef_, atol=1e-5)

    def test_outliers_pull_less_than_in_least_squares(self):
        fractions, energies = problem(0)
        truth = np.array([-3.0, -1.0, -5.0, 2.0])
        plain = fit_matrix(fractions, energies, ELEMENTS, weights=np.ones(60))
        found, _ = huber(fractions, energies, ELEMENTS, weights=np.ones(60))
        assert np.abs(values(found) - truth).max() < 0.3 * np.abs(values(plain) - truth).max()

    def test_a_threshold_that_nothing_reaches_is_least_squares(self):
        fractions, energies = problem(1)
        plain = fit_matrix(fractions, energies, ELEMENTS, weights=np.ones(60))
        found, _ = huber(fractions, energies, ELEMENTS, weights=np.ones(60), threshold=1e6)
        np.testing.assert_allclose(values(found), values(plain), atol=1e-12)

    def test_exact_energies_are_found_exactly(self):
        fractions, _ = problem(2)
        found, threshold = huber(fractions, fractions @ [1.0, 2, 3, 4], ELEMENTS, weights=np.ones(60))
        np.testing.assert_allclose(values(found), [1, 2, 3, 4], atol=1e-10)
        assert threshold == 0

    def test_the_threshold_comes_from_the_median_of_the_rests(self):
        fractions = np.ones((5, 1))
        energies = np.array([0.0, 1, 2, 3, 9])  # mean 3: rests 3 2 1 0 6, median 2
        _, threshold = huber(fractions, energies, (1,), weights=np.ones(5))
        assert threshold == pytest.approx(HUBER * MAD_TO_SIGMA * 2)

    def test_a_weight_of_two_is_the_structure_twice_and_of_zero_none(self):
        fractions, energies = problem(4)
        rows = np.concatenate([np.arange(30), np.arange(10)])
        weights = np.bincount(rows, minlength=60).astype(float)
        drawn, a = huber(fractions[rows], energies[rows], ELEMENTS, weights=np.ones(40))
        weighted, b = huber(fractions, energies, ELEMENTS, weights=weights)
        assert a == pytest.approx(b)
        np.testing.assert_allclose(values(drawn), values(weighted), atol=1e-9)


class TestRidge:
    def test_at_the_chosen_strength_it_is_scikit_learn_on_centred_energies(self):
        fractions, energies = problem(5)
        found, alpha = ridge(fractions, energies, weights=np.ones(60), groups=[str(i % 12) for i in range(60)])
        oracle = Ridge(alpha=alpha, fit_intercept=False, solver="cholesky").fit(fractions, energies - energies.mean())
        assert alpha in ALPHAS
        np.testing.assert_allclose(found, energies.mean() + oracle.coef_, atol=1e-8)

    def test_it_is_the_closed_form(self):
        fractions, energies = problem(6)
        found, alpha = ridge(fractions, energies, weights=np.ones(60), groups=[str(i % 12) for i in range(60)])
        normal = fractions.T @ fractions + alpha * np.eye(4)
        closed = energies.mean() + np.linalg.solve(normal, fractions.T @ (energies - energies.mean()))
        np.testing.assert_allclose(found, closed, atol=1e-8)

    def test_noise_without_signal_is_shrunk_hard_and_a_clear_signal_is_not(self):
        rng = np.random.default_rng(0)
        fractions = rng.dirichlet(np.ones(4), 40)
        groups = [str(i) for i in range(40)]
        _, of_noise = ridge(fractions, rng.normal(0, 1, 40), weights=np.ones(40), groups=groups)
        _, of_signal = ridge(fractions, fractions @ [1.0, -5, 3, 9], weights=np.ones(40), groups=groups)
        assert of_signal == ALPHAS[0]
        assert of_noise > 100 * of_signal

    def test_a_single_group_gives_the_weakest_penalty(self):
        fractions, energies = problem(7)
        assert ridge(fractions, energies, weights=np.ones(60), groups=["one"] * 60)[1] == ALPHAS[0]

    def test_structures_of_weight_zero_are_not_there(self):
        fractions, energies = problem(8)
        groups = [str(i % 10) for i in range(60)]
        weights = np.repeat([1.0, 0.0], 30)
        part = ridge(fractions[:30], energies[:30], weights=np.ones(30), groups=groups[:30])
        whole = ridge(fractions, energies, weights=weights, groups=groups)
        np.testing.assert_allclose(whole[0], part[0])
        assert whole[1] == part[1]


class TestInfluence:
    def test_how_far_an_outlier_lies_does_not_matter_to_huber(self):
        fractions, energies = np.ones((9, 1)), np.array([1.0, 1.1, 0.9, 1.2, 0.8, 1.05, 0.95, 1.0, 9.0])
        weights = np.ones(9)
        near = values(huber(fractions, energies, [8], weights=weights, threshold=0.1)[0])
        energies[-1] = 9e6
        far = values(huber(fractions, energies, [8], weights=weights, threshold=0.1)[0])
        np.testing.assert_allclose(far, near, atol=1e-6)
        # where the loss is least, the rests, clipped at the threshold, add up to zero
        clipped = np.clip(energies - far, -0.1, 0.1)
        assert clipped.sum() == pytest.approx(0, abs=1e-6)

    def test_a_vanishing_threshold_is_the_median(self):
        energies = np.array([0.0, 1.0, 2.0, 50.0, 7.0])
        found = values(huber(np.ones((5, 1)), energies, [8], weights=np.ones(5), threshold=1e-3)[0])
        assert found == pytest.approx([np.median(energies)], abs=2e-3)

    def test_a_constant_is_added_to_every_reference_of_either_regression(self):
        rng = np.random.default_rng(0)
        fractions, weights = rng.dirichlet(np.ones(3), 40), np.ones(40)
        energies = fractions @ [1.0, -2.0, 3.0] + rng.normal(0, 0.3, 40)
        groups = [f"g{i % 8}" for i in range(40)]
        one, moved = (huber(fractions, energies + c, [1, 3, 8], weights=weights)[0] for c in (0, 10))
        np.testing.assert_allclose(values(moved), values(one) + 10, atol=1e-6)
        one, moved = (ridge(fractions, energies + c, weights=weights, groups=groups) for c in (0, 10))
        np.testing.assert_allclose(moved[0], one[0] + 10, atol=1e-9)
        assert moved[1] == one[1]

    def test_ridge_references_lie_closer_to_the_mean_than_those_of_least_squares(self):
        rng = np.random.default_rng(1)
        fractions, weights = rng.dirichlet(np.ones(4), 30), np.ones(30)
        energies = fractions @ [0.1, -0.2, 0.3, 0.0] + rng.normal(0, 0.5, 30)
        shrunk, _ = ridge(fractions, energies, weights=weights, groups=[str(i) for i in range(30)])
        plain = np.linalg.lstsq(fractions, energies)[0]
        assert np.linalg.norm(shrunk - energies.mean()) < np.linalg.norm(plain - energies.mean())
