"""Rank correlations of resampled groups equal those of repeated rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata, spearmanr

from xferbench.measure import sample
from xferbench.measure.orders import spearman_beyond_baseline

N_GROUPS = 20
GROUPED = st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3), st.integers(0, 4)), min_size=1, max_size=25)
DRAWS = st.lists(st.integers(0, 3), min_size=5, max_size=5).map(lambda row: np.array(row, dtype=float))


def drawn(seed: int, n: int = 25) -> np.ndarray:
    return np.random.default_rng(seed).multinomial(N_GROUPS, np.full(N_GROUPS, 1 / N_GROUPS), size=n).astype(float)


def repeated(values, group, counts):
    return np.repeat(values, counts[group].astype(int))


def weighted_ranks(values, weight):
    """Mid-ranks about their mean of values without ties."""
    order = np.argsort(values)
    upto = np.cumsum(weight[order])
    ranks = np.empty_like(weight)
    ranks[order] = upto - weight[order] / 2 - upto[-1] / 2
    return ranks


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

    def test_many_rows_of_a_group_do_not_overflow_the_ranks(self):
        """More drawn rows than half of the largest 32-bit number, if every draw were of the large group."""
        rng = np.random.default_rng(11)
        x, y = rng.normal(size=(2, 30_000))
        group = np.concatenate([np.zeros(29_000, dtype=int), np.arange(1, 1001)])
        counts = np.zeros((1, 40_000))
        counts[0, 0], counts[0, 1:1001] = 39_000, 1.0
        found = spearman_beyond_baseline(sample(x, y, baseline=np.zeros(30_000)), group, 40_000)(counts)
        weight = counts[0, group]
        ranks = [weighted_ranks(side, weight) for side in (x, y)]
        expected = np.sum(weight * ranks[0] * ranks[1]) / np.sqrt(
            np.prod([np.sum(weight * rank * rank) for rank in ranks])
        )
        assert found[0] == pytest.approx(expected, rel=1e-6)

    def test_a_resample_of_one_row_has_none(self):
        rows = sample([1.0, 2.0], [1.0, 3.0], baseline=[0.0, 0.0])
        found = spearman_beyond_baseline(rows, np.array([0, 1]), 2)(np.array([[2.0, 0.0], [1.0, 1.0], [0.0, 0.0]]))
        assert np.isnan(found[[0, 2]]).all()
        assert found[1] == 1.0

    def test_a_sample_without_baseline_is_refused(self):
        with pytest.raises(ValueError, match="needs a sample with one"):
            spearman_beyond_baseline(sample([1.0], [1.0]), np.array([0]), 1)


class TestTies:
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
