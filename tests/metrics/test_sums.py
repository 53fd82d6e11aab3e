"""Terms and formulas by hand; the laws and oracles are in test_metrics."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kendalltau, somersd

from xferbench.metrics import RESOLUTION, sample, sums


def all_pairs(values):
    i, j = np.triu_indices(len(values), k=1)
    return np.asarray(values, dtype=float)[i] - np.asarray(values, dtype=float)[j]


def concordance(predictions, labels):
    return float(sums.mean(sums.concordance_terms(sample(all_pairs(predictions), all_pairs(labels))).sum(axis=0)))


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
        terms = sums.product_terms(sample([[1.0, 2.0], [0.0, 1.0]], [[3.0, 1.0], [1.0, 1.0]]))
        assert terms.tolist() == [[5, 10, 5], [1, 2, 1]]

    def test_the_baseline_is_taken_from_both_sides(self):
        rows = sample([3.0], [5.0], baseline=[1.0])
        assert sums.product_terms_beyond_baseline(rows).tolist() == [[8, 16, 4]]
        with pytest.raises(ValueError, match="needs a sample with one"):
            sums.product_terms_beyond_baseline(sample([3.0], [5.0]))

    def test_slope_cosine_and_ratio_belong_together(self):
        total = np.array([3.0, 4.0, 9.0])
        assert sums.slope(total) == pytest.approx(sums.cosine(total) * sums.norm_ratio(total))


def test_a_hit_tolerates_rounding_in_every_column():
    rows = sample([[0.0, RESOLUTION / 2], [0.0, 1e-3]], [[0.0, 0.0], [0.0, 0.0]])
    assert sums.hit_terms(rows)[:, 0].tolist() == [1, 0]
