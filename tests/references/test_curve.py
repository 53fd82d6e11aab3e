"""Error against the number of labelled structures, and the choice of structures."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xferbench.errors import DataError
from xferbench.references import learning_curve
from xferbench.references.curve import PRIOR, covering_order, sizes_up_to


def test_sizes_double_from_ten_to_all():
    assert sizes_up_to(75) == [10, 20, 40, 75]
    assert sizes_up_to(80) == [10, 20, 40, 80]
    assert sizes_up_to(10) == [10]
    assert sizes_up_to(7) == [7]


class TestCoveringOrder:
    def test_pure_structures_come_before_mixtures_and_new_elements_before_known_ones(self):
        fractions = np.array([[0.5, 0.5, 0], [1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0.5, 0.5], [0, 0, 1]])
        assert covering_order(fractions, 3).tolist() == [1, 3, 5]

    def test_fewer_are_the_beginning_of_more(self):
        fractions = np.random.default_rng(0).dirichlet(np.ones(6), 40)
        assert covering_order(fractions, 40)[:13].tolist() == covering_order(fractions, 13).tolist()

    def test_all_is_a_permutation(self):
        fractions = np.random.default_rng(1).dirichlet(np.ones(4), 25)
        assert sorted(covering_order(fractions, 25).tolist()) == list(range(25))

    @given(st.integers(0, 10**6))
    def test_each_step_is_the_one_that_raises_the_determinant_most(self, seed):
        rng = np.random.default_rng(seed)
        fractions = rng.dirichlet(np.ones(3), 8)
        matrix = PRIOR * np.eye(3)
        free = set(range(8))
        for chosen in covering_order(fractions, 4).tolist():
            gains = {i: np.linalg.slogdet(matrix + np.outer(fractions[i], fractions[i]))[1] for i in free}
            assert gains[chosen] >= max(gains.values()) - 1e-6
            free.remove(chosen)
            matrix += np.outer(fractions[chosen], fractions[chosen])


class TestCurve:
    def test_all_pairs_are_the_whole_fit_whatever_the_choice(self, make_labels):
        train, test = make_labels(50, noise=0.1), make_labels(30, noise=0.1, seed=1)
        *_, by_chance, covering = learning_curve(train, test, n_repeats=3)
        oracle = np.abs(test.gap - test.fractions @ np.linalg.lstsq(train.fractions, train.gap)[0]).mean()
        assert (by_chance.n, covering.n) == (50, 50)
        for value in (by_chance.mae.value, by_chance.mae.low, by_chance.mae.high, covering.mae.value):
            assert value == pytest.approx(oracle)

    def test_it_is_deterministic_and_the_seed_matters(self, make_labels):
        train, test = make_labels(50, noise=0.1), make_labels(30, noise=0.1, seed=1)
        assert learning_curve(train, test, n_repeats=4) == learning_curve(train, test, n_repeats=4)
        assert learning_curve(train, test, n_repeats=4) != learning_curve(train, test, n_repeats=4, seed=9)

    def test_error_falls_with_data_and_exact_data_need_no_more_than_cover(self, make_labels):
        noisy = [
            p.mae.value
            for p in learning_curve(make_labels(320, noise=0.2), make_labels(200, seed=1))
            if p.choice == "random"
        ]
        assert noisy == sorted(noisy, reverse=True)
        exact = learning_curve(make_labels(80), make_labels(30, seed=1), n_repeats=2)
        assert exact[1].choice == "covering"
        assert exact[1].determined == 1
        assert exact[1].mae.value == pytest.approx(0, abs=1e-10)

    def test_covering_determines_at_least_as_much_as_chance(self, make_labels):
        train = make_labels(200)
        rare = train.take(np.arange(200) >= 5)  # no elemental phases
        chance, covering = learning_curve(rare, train, n_repeats=30)[:2]
        assert covering.n_elements >= chance.n_elements
        assert covering.determined >= chance.determined

    def test_what_is_not_determined_is_no_error(self, make_labels):
        train = make_labels(30)
        without = train.take(train.fractions[:, 4] == 0)
        only = train.take(train.fractions[:, 4] > 0)
        for point in learning_curve(without, only, n_repeats=2):
            assert point.determined == 0
            assert point.mae.value is None

    def test_no_pairs_are_refused(self, make_labels):
        labels = make_labels(20)
        with pytest.raises(DataError, match="20 calibration and 0 test pairs"):
            learning_curve(labels, labels.take(np.array([], dtype=int)))


class TestLaws:
    @given(st.integers(1, 5000))
    def test_sizes_rise_to_all_and_at_most_double(self, n):
        sizes = sizes_up_to(n)
        assert sizes[-1] == n
        assert all(a < b <= 2 * a for a, b in pairwise(sizes))

    @given(st.integers(0, 10**6))
    def test_without_ties_the_order_of_structures_is_irrelevant_to_the_choice(self, seed):
        rng = np.random.default_rng(seed)
        fractions, shuffled = rng.dirichlet(np.ones(4), 12), rng.permutation(12)
        chosen, again = covering_order(fractions, 4), covering_order(fractions[shuffled], 4)
        assert shuffled[again].tolist() == chosen.tolist()

    def test_choosing_nothing_chooses_nothing(self):
        assert covering_order(np.eye(3), 0).tolist() == []

    def test_another_unit_scales_the_errors_and_nothing_else(self, make_labels):
        train, test = make_labels(40, noise=0.1), make_labels(30, noise=0.1, seed=1)
        milli = [replace(item, source=1000 * item.source, target=1000 * item.target) for item in (train, test)]
        for one, other in zip(
            learning_curve(train, test, n_repeats=2), learning_curve(*milli, n_repeats=2), strict=True
        ):
            assert other.mae.value == pytest.approx(1000 * one.mae.value)
            assert (other.n, other.choice, other.determined, other.n_elements) == (
                one.n,
                one.choice,
                one.determined,
                one.n_elements,
            )

    def test_the_mean_over_repeats_lies_between_its_extremes(self, make_labels):
        for point in learning_curve(make_labels(40, noise=0.1), make_labels(30, noise=0.1, seed=1), n_repeats=5):
            assert point.mae.low - 1e-12 <= point.mae.value <= point.mae.high + 1e-12
            assert point.n_repeats == (5 if point.choice == "random" else 1)
