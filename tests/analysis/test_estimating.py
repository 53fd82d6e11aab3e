"""Correlations against scipy, ranks against scipy, intervals against their definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from xferbench.analysis.estimating import (
    AGREEMENT,
    LEVELS,
    NOTHING,
    PEARSON,
    UNDEFINED,
    agreement_sums,
    midranks,
    resampling,
    spearman,
)
from xferbench.measure import Interval
from xferbench.units import RENDERED

SETTINGS = {"n_resamples": 200, "seed": 1, "confidence": 0.9}
PAIRS = st.lists(
    st.tuples(st.integers(-20, 20), st.integers(-20, 20)).map(lambda pair: (pair[0] / 4, pair[1] / 4)),
    min_size=3,
    max_size=30,
)


def cloud(n=40, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(-60, 20, n)
    return x, 0.7 * x + rng.normal(0, 5, n) - 3


def measured(x, y, names=None):
    """Every statistic, by name."""
    plan = resampling(names or [str(i) for i in range(len(x))], **SETTINGS)
    everyone = np.ones(len(x), dtype=bool)
    found = [*plan.estimates(agreement_sums(x, y), everyone, AGREEMENT), plan.spearman(x, y, everyone)]
    return {item.name: item for item in found}


def test_scipy_and_sklearn_agree_on_every_statistic():
    from sklearn.metrics import mean_absolute_error, r2_score

    x, y = cloud()
    got = {name: item.value for name, item in measured(x, y).items()}
    line = stats.linregress(x, y)
    assert got["pearson"] == pytest.approx(stats.pearsonr(x, y).statistic)
    assert got["spearman"] == pytest.approx(stats.spearmanr(x, y).statistic)
    assert got["slope"] == pytest.approx(line.slope)
    assert got["r_squared"] == pytest.approx(line.rvalue**2)
    assert got["r_squared_identity"] == pytest.approx(r2_score(y, x))
    assert got["mae"] == pytest.approx(mean_absolute_error(y, x))
    assert got["rmse"] == pytest.approx(np.sqrt(np.square(y - x).mean()))
    assert got["bias"] == pytest.approx((y - x).mean())


def test_a_small_difference_survives_a_large_offset():
    x = np.array([0.0, 0.001, 0.003, 0.002]) - 5000
    got = measured(x, 2 * (x + 5000) - 9000)
    assert got["pearson"].value == pytest.approx(1, abs=1e-9)
    assert got["slope"].value == pytest.approx(2, abs=1e-6)


@given(PAIRS)
def test_ranks_of_one_copy_are_those_of_scipy(pairs):
    x = np.array(pairs)[:, 0]
    np.testing.assert_allclose(midranks(x, np.ones((1, len(x))))[0], stats.rankdata(x))


@given(PAIRS, st.integers(0, 1000))
def test_weights_are_copies(pairs, seed):
    x, y = np.array(pairs).T
    weights = np.random.default_rng(seed).integers(0, 4, len(x))
    copies = np.repeat(np.arange(len(x)), weights)
    got = spearman(x, y, weights[None].astype(float))[0]
    if len(copies) < 2 or np.ptp(x[copies]) == 0 or np.ptp(y[copies]) == 0:
        assert np.isnan(got)
    else:
        assert got == pytest.approx(stats.spearmanr(x[copies], y[copies]).statistic, abs=1e-9)


def test_rank_correlation_sees_order_and_nothing_else():
    x = np.linspace(-2, 3, 20)
    weights = np.ones((1, 20))
    assert spearman(x, np.exp(x), weights)[0] == pytest.approx(1)
    assert spearman(x, -(x**3), weights)[0] == pytest.approx(-1)


@given(PAIRS)
def test_order_of_pairs_is_irrelevant_to_values(pairs):
    x, y = np.array(pairs).T
    everyone = np.ones(len(x), dtype=bool)
    plan = resampling(["a"] * len(x), n_resamples=1, seed=0, confidence=0.9)
    forwards = plan.estimates(agreement_sums(x, y), everyone, AGREEMENT)
    backwards = plan.estimates(agreement_sums(x[::-1], y[::-1]), everyone, AGREEMENT)
    for one, other in zip(forwards, backwards, strict=True):
        assert (one.value is None) == (other.value is None)
        assert one.value is None or one.value == pytest.approx(other.value, abs=1e-9)


def test_resamples_are_whole_clusters():
    x, y = cloud(15)
    names = [str(i // 3) for i in range(15)]
    plan = resampling(names, **SETTINGS)
    everyone = np.ones(15, dtype=bool)
    got = plan.estimates(agreement_sums(x, y), everyone, [PEARSON])[0]
    by_hand = []
    for counts in np.concatenate(list(plan.plan.counts())):
        rows = np.repeat(np.arange(15), counts[plan.cluster])
        by_hand.append(stats.pearsonr(x[rows], y[rows]).statistic if len(set(rows.tolist())) > 2 else np.nan)
    assert Interval(got.ci_low, got.ci_high) == pytest.approx(plan.plan.interval(np.array(by_hand), 5), abs=1e-9)
    assert (got.n_pairs, got.n_clusters) == (15, 5)


def test_the_interval_of_spearman_is_that_of_ranking_each_resample_anew():
    x, y = cloud(9)
    plan = resampling([str(i) for i in range(9)], **SETTINGS)
    got = plan.spearman(x, y, np.ones(9, dtype=bool))
    drawn = []
    for counts in np.concatenate(list(plan.plan.counts())):
        rows = np.repeat(np.arange(9), counts)
        drawn.append(stats.spearmanr(x[rows], y[rows]).statistic if len(set(rows.tolist())) > 1 else np.nan)
    assert (got.ci_low, got.ci_high) == pytest.approx(plan.plan.interval(np.array(drawn), 9), abs=1e-9)


def test_rows_out_of_use_count_for_nothing():
    x, y = cloud(20)
    used = np.arange(20) < 12
    broken = np.where(used, x, np.nan)
    plan = resampling([str(i) for i in range(20)], **SETTINGS)
    got = plan.estimates(agreement_sums(broken, y), used, AGREEMENT)[0]
    assert got.value == pytest.approx(stats.pearsonr(x[used], y[used]).statistic)
    assert (got.n_pairs, got.n_clusters) == (12, 12)
    assert plan.spearman(broken, y, used).value == pytest.approx(stats.spearmanr(x[used], y[used]).statistic)


def test_a_constant_side_has_no_correlation_and_says_so():
    got = measured(np.array([-1.1, -1.1, -1.1]), np.array([-2.0, -1.0, -3.0]))
    assert got["pearson"].value is None
    assert got["spearman"].value is None
    assert got["pearson"].reason == UNDEFINED
    assert got["mae"].value == pytest.approx((0.9 + 0.1 + 1.9) / 3)


def test_nothing_to_compare_is_said():
    plan = resampling(["a", "b"], **SETTINGS)
    nobody = np.zeros(2, dtype=bool)
    (got,) = plan.estimates(agreement_sums(np.ones(2), np.ones(2)), nobody, [PEARSON])
    assert (got.value, got.n_pairs, got.n_clusters, got.reason) == (None, 0, 0, NOTHING)
    assert plan.spearman(np.ones(2), np.ones(2), nobody).reason == NOTHING


def test_one_cluster_has_a_value_and_no_interval():
    x, y = cloud(5)
    got = measured(x, y, ["a"] * 5)["pearson"]
    assert got.value is not None
    assert got.ci_low is got.ci_high is None


def test_the_same_seed_gives_the_same_interval_and_another_one_another():
    x, y = cloud(15)
    names = [str(i) for i in range(15)]
    everyone = np.ones(15, dtype=bool)
    ends = [
        resampling(names, n_resamples=200, seed=seed, confidence=0.9).spearman(x, y, everyone).ci_low
        for seed in (3, 3, 4)
    ]
    assert ends[0] == ends[1] != ends[2]


def test_every_statistic_has_a_unit_that_can_be_shown():
    assert {item.unit for item in AGREEMENT} <= set(RENDERED)


@given(PAIRS, st.floats(0.1, 10), st.floats(-50, 50))
def test_an_affine_change_of_one_side_moves_the_slope_and_no_correlation(pairs, factor, offset):
    x, y = np.array(pairs).T
    plan = resampling(["a"] * len(x), n_resamples=1, seed=0, confidence=0.9)
    everyone = np.ones(len(x), dtype=bool)
    before, after = (
        {item.name: item.value for item in plan.estimates(agreement_sums(x, side), everyone, AGREEMENT)}
        for side in (y, factor * y + offset)
    )
    if before["pearson"] is not None and np.ptp(y) > 0:
        assert after["pearson"] == pytest.approx(before["pearson"], abs=1e-9)
        assert after["slope"] == pytest.approx(factor * before["slope"], abs=1e-9)


def test_exchanging_the_functionals_turns_the_bias_and_keeps_the_correlations():
    x, y = cloud()
    there, back = measured(x, y), measured(y, x)
    for name in ("pearson", "spearman", "r_squared", "mae", "rmse"):
        assert back[name].value == pytest.approx(there[name].value), name
        assert (back[name].ci_low, back[name].ci_high) == pytest.approx((there[name].ci_low, there[name].ci_high))
    assert back["bias"].value == pytest.approx(-there["bias"].value)
    assert back["bias"].ci_low == pytest.approx(-there["bias"].ci_high)
    assert there["slope"].value * back["slope"].value == pytest.approx(there["r_squared"].value)


def test_identity_by_hand_and_negative_where_the_mean_is_the_better_guess():
    got = measured(np.array([0.0, 2.0]), np.array([1.0, 2.0]))
    assert got["r_squared_identity"].value == pytest.approx(1 - 1 / 0.5)
    assert got["r_squared"].value == pytest.approx(1)
    assert (got["mae"].value, got["rmse"].value, got["bias"].value) == pytest.approx((0.5, 0.5**0.5, 0.5))


def test_energies_that_differ_in_rounding_only_are_ties():
    x = np.array([1.0, 1.0 + 1e-13, 2.0, 3.0])
    y = np.array([5.0, 1.0, 6.0, 7.0])
    assert measured(x, y)["spearman"].value == pytest.approx(stats.spearmanr([1, 1, 2, 3], y).statistic)


def test_small_blocks_of_ranks_give_the_interval_of_large_ones(monkeypatch):
    x, y = cloud(10)
    before = measured(x, y)["spearman"]
    monkeypatch.setattr("xferbench.analysis.estimating.BLOCK", 30)
    assert measured(x, y)["spearman"] == before


def test_quantiles_by_hand_and_by_numpy():
    values = np.array([3.0, 1.0, 2.0, 5.0, 4.0])
    plan = resampling(list("abcde"), n_resamples=50, seed=0, confidence=0.9)
    got = plan.quantiles(values, np.ones(5, dtype=bool), LEVELS)
    assert [item.name for item in got] == ["q05", "q25", "q50", "q75", "q95"]
    assert [item.value for item in got] == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert [item.value for item in got] == np.quantile(values, list(LEVELS), method="inverted_cdf").tolist()


def test_the_interval_of_a_quantile_is_that_of_taking_it_anew_in_each_resample():
    values, names = np.random.default_rng(3).normal(size=12), [f"m{k // 2}" for k in range(12)]
    plan = resampling(names, n_resamples=300, seed=5, confidence=0.9)
    (median,) = plan.quantiles(values, np.ones(12, dtype=bool), {0.5: LEVELS[0.5]})
    drawn = [
        np.quantile(np.repeat(values, counts[plan.cluster]), 0.5, method="inverted_cdf")
        for block in plan.plan.counts()
        for counts in block
    ]
    expected = plan.plan.interval(np.array(drawn), 6)
    assert (median.ci_low, median.ci_high) == (expected.low, expected.high)


def test_rows_out_of_use_move_no_quantile(monkeypatch):
    monkeypatch.setattr("xferbench.analysis.estimating.BLOCK", 7)
    values = np.array([1.0, np.nan, 2.0, 3.0])
    plan = resampling(list("abcd"), n_resamples=20, seed=0, confidence=0.9)
    (median,) = plan.quantiles(values, np.isfinite(values), {0.5: LEVELS[0.5]})
    assert (median.value, median.n_pairs, median.n_clusters) == (2.0, 3, 3)


def test_ranks_by_hand():
    weights = np.array([[1.0, 1, 1, 1], [2, 0, 1, 1]])
    np.testing.assert_allclose(midranks(np.array([7.0, 5, 7, 9]), weights), [[2.5, 1, 2.5, 4], [2, 0.5, 2, 4]])
    assert midranks(np.zeros(0), np.zeros((3, 0))).shape == (3, 0)


def test_multiplying_all_weights_changes_no_rank_correlation():
    x, y = cloud(12)
    weights = np.random.default_rng(0).integers(1, 4, (5, 12)).astype(float)
    np.testing.assert_allclose(spearman(x, y, weights), spearman(x, y, 3 * weights), atol=1e-12)


def test_more_confidence_is_a_wider_interval():
    x, y = cloud(20)
    ends = []
    for confidence in (0.5, 0.99):
        plan = resampling([str(i) for i in range(20)], n_resamples=300, seed=0, confidence=confidence)
        (item,) = plan.estimates(agreement_sums(x, y), np.ones(20, dtype=bool), [PEARSON])
        ends.append((item.ci_low, item.ci_high))
    assert ends[1][0] < ends[0][0] < ends[0][1] < ends[1][1]


def test_names_of_clusters_do_not_matter_only_who_shares_one():
    x, y = cloud(12)
    one = measured(x, y, [f"a{i // 3}" for i in range(12)])
    other = measured(x, y, [f"z{i // 3}" for i in range(12)])
    assert one == other
