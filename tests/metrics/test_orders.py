"""Quantiles and rank correlations of resampled groups equal those of repeated rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata, spearmanr

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


GROUPED = st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3), st.integers(0, 4)), min_size=1, max_size=25)
DRAWS = st.lists(st.integers(0, 3), min_size=5, max_size=5).map(lambda row: np.array(row, dtype=float))


class TestAnyTies:
    @given(GROUPED, DRAWS, st.sampled_from([0.001, 0.25, 0.5, 0.75, 0.95, 1.0]))
    def test_a_quantile_is_that_of_the_repeated_rows(self, rows, counts, fraction):
        values, _, group = (np.array(column) for column in zip(*rows, strict=True))
        (found,) = quantile(values.astype(float), group, 5, fraction)(counts[None])
        again = repeated(values, group, counts)
        assert np.isnan(found) if not len(again) else found == np.quantile(again, fraction, method="inverted_cdf")

    @given(GROUPED, DRAWS)
    def test_a_rank_correlation_is_pearsons_of_the_mid_ranks(self, rows, counts):
        x, y, group = (np.array(column) for column in zip(*rows, strict=True))
        (found,) = spearman_beyond_baseline(sample(x, y, baseline=np.zeros(len(x))), group, 5)(counts[None])
        ranks = [rankdata(repeated(side, group, counts)) for side in (x, y)]
        if any(np.ptp(side) == 0 if len(side) else True for side in ranks):
            assert np.isnan(found)
        else:
            assert found == pytest.approx(np.corrcoef(*ranks)[0, 1], abs=1e-12)

    def test_a_tie_by_hand(self):
        # ranks 1, 2.5, 2.5, 4 and 1, 2, 3, 4: products about the means 2.25 + 0 + 0 + 2.25, squares 4.5 and 5
        rows = sample([0.0, 1.0, 1.0, 2.0], [0.0, 1.0, 2.0, 3.0], baseline=np.zeros(4))
        (found,) = spearman_beyond_baseline(rows, np.zeros(4, dtype=int), 1)(np.ones((1, 1)))
        assert found == pytest.approx(4.5 / np.sqrt(4.5 * 5))

    def test_differences_by_rounding_are_ties_of_ranks_too(self):
        rows = sample([1.0, 1.0 + 1e-12, 2.0], [1.0, 2.0, 3.0], baseline=np.zeros(3))
        tied = sample([1.0, 1.0, 2.0], [1.0, 2.0, 3.0], baseline=np.zeros(3))
        group, once = np.zeros(3, dtype=int), np.ones((1, 1))
        assert spearman_beyond_baseline(rows, group, 1)(once) == spearman_beyond_baseline(tied, group, 1)(once)

    def test_no_resamples_give_no_values(self):
        assert quantile(np.array([1.0]), np.array([0]), 1, 0.5)(np.zeros((0, 1))).shape == (0,)
