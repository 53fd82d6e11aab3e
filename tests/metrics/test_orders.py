"""Quantiles and rank correlations of resampled groups equal those of repeated rows."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from xferbench.metrics import orders, sample
from xferbench.metrics.orders import error_quantile, quantile, spearman_beyond_baseline

N_GROUPS = 20


def drawn(seed: int, n: int = 25) -> np.ndarray:
    return np.random.default_rng(seed).multinomial(N_GROUPS, np.full(N_GROUPS, 1 / N_GROUPS), size=n).astype(float)


def repeated(values, group, counts):
    return np.repeat(values, counts[group].astype(int))


class TestQuantile:
    @pytest.mark.parametrize("fraction", [0.01, 0.5, 0.9, 0.95, 1.0])
    @pytest.mark.parametrize("window", [1, 7, orders.WINDOW])
    def test_resampled_quantiles_equal_numpy_whatever_the_window(self, fraction, window, monkeypatch):
        monkeypatch.setattr(orders, "WINDOW", window)
        rng = np.random.default_rng(3)
        group = rng.integers(0, N_GROUPS, 700)
        values = rng.gamma(2.0, 1.0, 700) * rng.gamma(1.0, 1.0, N_GROUPS)[group]
        counts = drawn(4)
        expected = [np.quantile(repeated(values, group, c), fraction, method="inverted_cdf") for c in counts]
        assert quantile(values, group, N_GROUPS, fraction)(counts).tolist() == expected

    def test_blocks_of_resamples_do_not_change_values(self, monkeypatch):
        rng = np.random.default_rng(5)
        group, values, counts = rng.integers(0, N_GROUPS, 300), rng.normal(size=300), drawn(6)
        whole = quantile(values, group, N_GROUPS, 0.5)(counts)
        monkeypatch.setattr(orders, "BLOCK", 700)
        assert quantile(values, group, N_GROUPS, 0.5)(counts).tolist() == whole.tolist()

    def test_ties_are_no_trouble(self):
        values, group = np.array([1.0, 1.0, 1.0, 2.0]), np.array([0, 1, 2, 3])
        assert quantile(values, group, 4, 0.75)(np.ones((1, 4))).tolist() == [1.0]
        assert quantile(values, group, 4, 0.76)(np.ones((1, 4))).tolist() == [2.0]

    def test_a_resample_without_rows_has_none(self):
        found = quantile(np.array([1.0, 2.0]), np.array([0, 0]), 2, 0.5)(np.array([[0.0, 2.0], [1.0, 1.0]]))
        assert np.isnan(found[0])
        assert found[1] == 1.0

    def test_errors_are_lengths_of_vectors(self):
        rows = sample([[3.0, 4.0, 0.0], [0.0, 0.0, 1.0]], np.zeros((2, 3)))
        assert error_quantile(1.0)(rows, np.array([0, 1]), 2)(np.array([[1.0, 1.0], [0.0, 1.0]])).tolist() == [5.0, 1.0]


class TestSpearman:
    def test_resampled_correlations_equal_scipy_with_ties(self):
        rng = np.random.default_rng(7)
        x = np.round(rng.normal(size=200), 1)
        y = np.round(x + rng.normal(size=200), 1)
        base = rng.normal(size=200)
        group, counts = rng.integers(0, N_GROUPS, 200), drawn(8)
        found = spearman_beyond_baseline(sample(x + base, y + base, baseline=base), group, N_GROUPS)(counts)
        expected = [spearmanr(repeated(x, group, c), repeated(y, group, c)).statistic for c in counts]
        assert found == pytest.approx(np.array(expected), abs=1e-12)

    def test_a_resample_of_one_row_has_none(self):
        rows = sample([1.0, 2.0], [1.0, 3.0], baseline=[0.0, 0.0])
        found = spearman_beyond_baseline(rows, np.array([0, 1]), 2)(np.array([[2.0, 0.0], [1.0, 1.0], [0.0, 0.0]]))
        assert np.isnan(found[[0, 2]]).all()
        assert found[1] == 1.0

    def test_a_sample_without_baseline_is_refused(self):
        with pytest.raises(ValueError, match="needs a sample with one"):
            spearman_beyond_baseline(sample([1.0], [1.0]), np.array([0]), 1)
