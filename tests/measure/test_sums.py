"""Terms and formulas by hand; the laws and oracles are in test_metrics."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kendalltau, somersd

from xferbench.measure import RESOLUTION, metrics, sample


def all_pairs(values):
    i, j = np.triu_indices(len(values), k=1)
    return np.asarray(values, dtype=float)[i] - np.asarray(values, dtype=float)[j]


def concordance(predictions, labels):
    return float(metrics.mean(metrics.concordance_terms(sample(all_pairs(predictions), all_pairs(labels))).sum(axis=0)))


class TestConcordance:
    def test_without_ties_it_is_kendalls_tau(self):
        rng = np.random.default_rng(0)
        for _ in range(5):
            x, y = rng.normal(size=(2, 9))
            assert concordance(x, y) == pytest.approx(kendalltau(x, y).statistic)

    def test_with_ties_it_is_somers_d_of_the_predictions_given_the_labels(self):
        rng = np.random.default_rng(1)
        for _ in range(5):
            x, y = rng.integers(0, 4, size=(2, 12))
            assert concordance(x, y) == pytest.approx(somersd(y, x).statistic)

    def test_predictions_that_are_all_equal_are_worth_nothing(self):
        assert concordance([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]) == 0

    def test_differences_by_rounding_are_ties(self):
        assert concordance([1.0, 1.0 + RESOLUTION / 2], [1.0, 2.0]) == 0
        assert np.isnan(concordance([1.0, 2.0], [1.0, 1.0 + RESOLUTION / 2]))


class TestProducts:
    def test_columns_are_added_within_a_row(self):
        terms = metrics.product_terms(sample([[1.0, 2.0], [0.0, 1.0]], [[3.0, 1.0], [1.0, 1.0]]))
        assert terms.tolist() == [[5, 10, 5], [1, 2, 1]]

    def test_the_baseline_is_taken_from_both_sides(self):
        rows = sample([3.0], [5.0], baseline=[1.0])
        assert metrics.product_terms_beyond_baseline(rows).tolist() == [[8, 16, 4]]
        with pytest.raises(ValueError, match="needs a sample with one"):
            metrics.product_terms_beyond_baseline(sample([3.0], [5.0]))

    def test_slope_cosine_and_ratio_belong_together(self):
        total = np.array([3.0, 4.0, 9.0])
        assert metrics.slope(total) == pytest.approx(metrics.cosine(total) * metrics.norm_ratio(total))


def test_a_hit_tolerates_rounding_in_every_column():
    rows = sample([[0.0, RESOLUTION / 2], [0.0, 1e-3]], [[0.0, 0.0], [0.0, 0.0]])
    assert metrics.hit_terms(rows)[:, 0].tolist() == [1, 0]


class TestFormulasOfSums:
    @pytest.mark.parametrize("formula", [metrics.slope, metrics.norm_ratio, metrics.cosine])
    def test_labels_that_are_rounding_errors_of_zero_have_no_direction_and_no_length(self, formula):
        forces = np.array([[1e-17, -2e-17, 0.0]])
        assert np.isnan(formula(metrics.product_terms(sample(forces, forces * 1e-3)).sum(axis=0)))

    @pytest.mark.parametrize(
        "formula", [metrics.mean, metrics.root_mean, metrics.slope, metrics.cosine, metrics.norm_ratio]
    )
    def test_no_rows_have_no_value_and_do_not_spoil_their_neighbours(self, formula):
        found = formula(np.array([[0.0, 0.0, 0.0], [4.0, 4.0, 4.0]]))
        assert np.isnan(found[0])
        assert found[1] == 1

    def test_skill_needs_a_baseline_with_an_error_beyond_rounding_on_average(self):
        edge = RESOLUTION**2
        found = metrics.skill(np.array([[0.0, 10 * edge, 10.0], [0.0, 11 * edge, 10.0], [0.0, 0.0, 0.0]]))
        assert np.isnan(found).tolist() == [True, False, True]
        assert found[1] == 1

    def test_the_cosine_of_a_multiple_is_its_sign(self):
        labels = np.array([[1.0, -2.0, 2.0], [0.0, 4.0, 3.0]])
        for factor in (0.01, 1.0, -5.0):
            total = metrics.product_terms(sample(factor * labels, labels)).sum(axis=0)
            assert metrics.cosine(total) == pytest.approx(np.sign(factor))
            assert metrics.norm_ratio(total) == pytest.approx(abs(factor))
            assert metrics.slope(total) == pytest.approx(factor)

    def test_a_baseline_that_is_wrong_by_as_much_has_no_skill_to_beat(self):
        rows = sample([1.0, -1.0], [0.0, 0.0], baseline=[-1.0, 1.0])
        assert metrics.skill(metrics.skill_terms(rows).sum(axis=0)) == 0


class TestHits:
    def test_each_composition_counts_once_and_misses_count_nothing(self):
        # the lowest label of three compositions, and the labels of the frames predicted lowest
        rows = sample([-1.0, -2.0, -3.0], [-1.0, -2.2, -3.0])
        assert metrics.mean(metrics.hit_terms(rows).sum(axis=0)) == pytest.approx(2 / 3)

    def test_the_edge_of_rounding_belongs_to_the_hits(self):
        rows = sample([RESOLUTION, 1.01 * RESOLUTION, -RESOLUTION], [0.0, 0.0, 0.0])
        assert metrics.hit_terms(rows)[:, 0].tolist() == [1, 0, 1]

    def test_a_difference_of_signs_knows_no_size(self):
        small, large = (metrics.concordance_terms(sample([size, -size], [3.0, 4.0])) for size in (1e-6, 1e6))
        assert small.tolist() == large.tolist() == [[1, 1], [-1, 1]]
