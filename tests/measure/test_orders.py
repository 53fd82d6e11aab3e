"""Quantiles of resampled groups equal those of repeated rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xferbench.measure import orders, sample
from xferbench.measure.orders import error_quantile, quantile

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

    def test_a_window_that_misses_the_quantile_is_widened(self, monkeypatch):
        """One large group moves the quantile far beyond what groups of the usual size suggest."""
        monkeypatch.setattr(orders, "WINDOW", 1)
        monkeypatch.setattr(orders, "DEVIATIONS", 0.01)
        rng = np.random.default_rng(9)
        group = np.minimum(rng.integers(0, 2 * N_GROUPS, 900), N_GROUPS - 1)
        values = rng.normal(size=900) + 2.0 * (group == N_GROUPS - 1)
        counts = drawn(10, 60)
        expected = [np.quantile(repeated(values, group, c), 0.5, method="inverted_cdf") for c in counts]
        assert quantile(values, group, N_GROUPS, 0.5)(counts).tolist() == expected

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


GROUPED = st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3), st.integers(0, 4)), min_size=1, max_size=25)
DRAWS = st.lists(st.integers(0, 3), min_size=5, max_size=5).map(lambda row: np.array(row, dtype=float))


class TestAnyTies:
    @given(GROUPED, DRAWS, st.sampled_from([0.001, 0.25, 0.5, 0.75, 0.95, 1.0]))
    def test_a_quantile_is_that_of_the_repeated_rows(self, rows, counts, fraction):
        values, _, group = (np.array(column) for column in zip(*rows, strict=True))
        (found,) = quantile(values.astype(float), group, 5, fraction)(counts[None])
        again = repeated(values, group, counts)
        assert np.isnan(found) if not len(again) else found == np.quantile(again, fraction, method="inverted_cdf")

    def test_no_resamples_give_no_values(self):
        assert quantile(np.array([1.0]), np.array([0]), 1, 0.5)(np.zeros((0, 1))).shape == (0,)
