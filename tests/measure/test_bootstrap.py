"""The clustered bootstrap: its plan is frozen, its intervals agree with scipy, and they hold the truth often enough."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from xferbench.measure import METRICS, sample, sum_by
from xferbench.measure import bootstrap as module
from xferbench.measure.bootstrap import ClusterBootstrap, clusters, tail_probability, tally

MAE = METRICS["energy_mae"]
GOLDEN = [[1, 0, 0, 3, 1], [1, 1, 1, 1, 1], [2, 1, 1, 0, 1]]
"""Seed 0, five clusters: a change here moves every published interval."""


def plan(n_clusters: int, *, n_resamples: int = 400, seed: int = 0, confidence: float = 0.95) -> ClusterBootstrap:
    return ClusterBootstrap(n_clusters=n_clusters, n_resamples=n_resamples, seed=seed, confidence=confidence)


def all_counts(bootstrap: ClusterBootstrap) -> np.ndarray:
    return np.concatenate(list(bootstrap.counts()))


class TestPlan:
    def test_each_resample_draws_as_many_clusters_as_there_are(self):
        counts = all_counts(plan(7))
        assert counts.shape == (400, 7)
        assert (counts.sum(axis=1) == 7).all()

    def test_the_stream_is_frozen_for_good(self):
        assert all_counts(plan(5, n_resamples=3)).tolist() == GOLDEN

    def test_the_same_numbers_give_the_same_plan_and_another_seed_another(self):
        assert (all_counts(plan(6)) == all_counts(plan(6))).all()
        assert (all_counts(plan(6)) != all_counts(plan(6, seed=1))).any()

    def test_more_resamples_extend_the_plan_without_changing_it(self):
        assert (all_counts(plan(6, n_resamples=50)) == all_counts(plan(6))[:50]).all()

    def test_the_plan_does_not_depend_on_the_block_size(self, monkeypatch):
        whole = all_counts(plan(6))
        monkeypatch.setattr(module, "BLOCK", 20)
        blocks = list(plan(6).counts())
        assert len(blocks) > 100
        assert (np.concatenate(blocks) == whole).all()

    @pytest.mark.parametrize("n", [1, 2, 3, 8, 9, 64, 65, 1000, 70_000])
    @pytest.mark.parametrize("seed", [0, 20_250_409])
    def test_draws_are_those_of_numpys_frozen_stream(self, n, seed):
        n_resamples = 100 if n < 10_000 else 3
        expected = np.random.RandomState(seed).randint(0, n, size=(n_resamples, n), dtype=np.int64)
        assert (np.concatenate(list(plan(n, n_resamples=n_resamples, seed=seed).draws())) == expected).all()

    def test_draws_do_not_depend_on_how_many_words_are_fetched_at_a_time(self, monkeypatch):
        whole = all_counts(plan(9))
        monkeypatch.setattr(module, "WORDS", 1)
        assert (all_counts(plan(9)) == whole).all()

    @pytest.mark.parametrize("kind", [np.int64, np.float64])
    def test_draws_are_counted_in_the_kind_that_is_asked_for(self, kind):
        counts = tally(np.array([[0, 3, 3, 1], [2, 2, 2, 2]], dtype=np.uint32), kind)
        assert counts.dtype == kind
        assert counts.tolist() == [[1, 1, 0, 2], [0, 0, 4, 0]]

    def test_every_cluster_is_drawn_once_on_average(self):
        assert all_counts(plan(10, n_resamples=4000)).mean(axis=0) == pytest.approx(1.0, abs=0.06)

    @pytest.mark.parametrize("numbers", [{"n_clusters": 0}, {"n_clusters": 3, "n_resamples": 0}])
    def test_nothing_to_draw_is_refused(self, numbers):
        with pytest.raises(ValueError, match="at least 1"):
            plan(**numbers)

    @pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0])
    def test_a_confidence_is_a_fraction(self, confidence):
        with pytest.raises(ValueError, match="between 0 and 1"):
            plan(3, confidence=confidence)


class TestResample:
    def test_sums_equal_a_loop_over_drawn_clusters(self):
        sums = np.random.default_rng(0).normal(size=(9, 3))
        loop = [sum(count * row for count, row in zip(draw, sums, strict=True)) for draw in all_counts(plan(9))]
        assert plan(9).resample(sums) == pytest.approx(np.array(loop), rel=1e-12)

    def test_metrics_side_by_side_share_their_resamples(self):
        sums = np.random.default_rng(1).normal(size=(9, 4))
        together = plan(9).resample(sums)
        assert together[:, 2:] == pytest.approx(plan(9).resample(sums[:, 2:]), rel=1e-12)

    def test_two_models_are_paired(self):
        sums = np.random.default_rng(2).normal(size=(9, 1))
        better = plan(9).resample(sums - 0.5)
        assert plan(9).resample(sums) - better == pytest.approx(0.5 * 9, rel=1e-9)

    def test_sums_of_other_clusters_are_refused(self):
        with pytest.raises(ValueError, match="4 clusters for a plan of 5"):
            plan(5).resample(np.zeros((4, 2)))


class TestInterval:
    def test_many_clusters_give_plain_percentiles(self):
        values = np.arange(101.0)
        assert plan(2, confidence=0.9).interval(values, 10**9) == pytest.approx((5.0, 95.0), abs=1e-4)

    def test_few_clusters_give_wider_intervals(self):
        values = np.arange(1001.0)
        widths = [np.diff(plan(2).interval(values, n)).item() for n in (5, 6, 8, 10, 100)]
        assert widths == sorted(widths, reverse=True)

    @pytest.mark.parametrize("n", [2, 5, 30])
    def test_the_percentiles_are_those_of_the_reference(self, n):
        expected = stats.norm.cdf(-np.sqrt(n / (n - 1)) * stats.t.ppf(0.975, n - 1))
        assert tail_probability(0.95, n) == pytest.approx(expected, rel=1e-9)

    def test_undefined_resamples_are_left_out(self):
        values = np.arange(101.0)
        assert plan(9).interval(np.concatenate([values, np.full(50, np.nan)]), 9) == plan(9).interval(values, 9)

    def test_a_metric_that_is_never_defined_has_no_interval(self):
        assert plan(2).interval(np.full(3, np.nan), 2) is None

    @pytest.mark.parametrize("n_clusters", [0, 1])
    def test_fewer_than_two_clusters_have_no_interval(self, n_clusters):
        assert plan(5).interval(np.arange(100.0), n_clusters) is None

    def test_scipy_agrees_on_data_without_clusters(self):
        errors = np.random.default_rng(5).gamma(2.0, 0.05, size=60)
        sums = MAE.components(sample(errors, np.zeros(60)))
        bootstrap = plan(60, n_resamples=20_000)
        mine = bootstrap.interval(MAE.combine(bootstrap.resample(sums)), 60)
        theirs = stats.bootstrap(
            (errors,),
            np.mean,
            n_resamples=20_000,
            method="percentile",
            confidence_level=1 - 2 * tail_probability(0.95, 60),
            rng=np.random.default_rng(0),
        ).confidence_interval
        width = theirs.high - theirs.low
        assert mine.low == pytest.approx(theirs.low, abs=0.03 * width)
        assert mine.high == pytest.approx(theirs.high, abs=0.03 * width)

    def test_a_t_interval_agrees_on_normal_data(self):
        errors = np.random.default_rng(6).normal(1.0, 0.1, size=8)
        sums = MAE.components(sample(errors, np.zeros(8)))
        bootstrap = plan(8, n_resamples=20_000)
        mine = bootstrap.interval(MAE.combine(bootstrap.resample(sums)), 8)
        low, high = stats.t.interval(0.95, 7, loc=errors.mean(), scale=stats.sem(errors))
        assert mine.high - mine.low == pytest.approx(high - low, rel=0.1)


class TestCoverage:
    """Materials of one to six frames; errors are exponential around a size that each material draws for itself."""

    TRUTH = 0.1

    def hit_rate(self, n_materials: int, *, by_material: bool = True) -> float:
        rng = np.random.default_rng(7)
        hits = 0
        for _ in range(300):
            material = np.repeat(np.arange(n_materials), rng.integers(1, 7, n_materials))
            errors = rng.exponential(rng.gamma(4.0, self.TRUTH / 4.0, n_materials)[material])
            group = material if by_material else np.arange(len(errors))
            sums = sum_by(MAE.components(sample(errors, np.zeros_like(errors))), group, group.max() + 1)
            bootstrap = plan(len(sums))
            interval = bootstrap.interval(MAE.combine(bootstrap.resample(sums)), len(sums))
            hits += interval.low <= self.TRUTH <= interval.high
        return hits / 300

    @pytest.mark.parametrize(("n_materials", "at_least"), [(6, 0.82), (10, 0.85), (30, 0.89)])
    def test_clustered_intervals_hold_the_truth_about_as_often_as_they_say(self, n_materials, at_least):
        assert at_least <= self.hit_rate(n_materials) <= 0.98

    def test_intervals_over_single_frames_claim_too_much(self):
        assert self.hit_rate(30, by_material=False) < self.hit_rate(30) - 0.03


class TestClusters:
    def test_names_are_numbered_in_sorted_order(self):
        names, index = clusters(["b", "a", "c", "a"])
        assert names == ["a", "b", "c"]
        assert index.tolist() == [1, 0, 2, 0]

    def test_the_order_of_frames_does_not_move_an_interval(self):
        rng = np.random.default_rng(8)
        materials = [f"m{i % 6}" for i in range(30)]
        errors = rng.exponential(size=30)
        order = rng.permutation(30)
        values = []
        for chosen in (np.arange(30), order):
            names, index = clusters([materials[i] for i in chosen])
            components = MAE.components(sample(errors[chosen], np.zeros(30)))
            sums = sum_by(components, index, len(names))
            values.append(plan(6).resample(sums))
        assert values[0] == pytest.approx(values[1], rel=1e-12)

    @given(st.lists(st.text(max_size=3), max_size=12))
    def test_positions_are_those_of_numpys_unique(self, names):
        distinct, position = clusters(names)
        assert [distinct[i] for i in position] == names
        if names:
            assert position.tolist() == np.unique(np.array(names, dtype=object), return_inverse=True)[1].tolist()

    def test_names_that_sort_alike_give_the_same_numbers(self):
        assert clusters(["b", "a", "b"])[1].tolist() == clusters(["beta", "alpha", "beta"])[1].tolist()


class TestLawsOfResampling:
    def test_counts_are_multinomial(self):
        """Every outcome of three draws from three clusters appears as often as the multinomial law says."""
        counts = all_counts(plan(3, n_resamples=20_000))
        outcomes, found = np.unique(counts, axis=0, return_counts=True)
        assert len(outcomes) == 10
        expected = 20_000 * stats.multinomial(3, np.full(3, 1 / 3)).pmf(outcomes)
        assert stats.chisquare(found, expected).pvalue > 1e-4

    def test_the_variance_of_a_mean_is_that_of_the_clusters_over_their_number(self):
        values = np.array([1.0, 2.0, 4.0, 9.0, -5.0])
        means = plan(5, n_resamples=40_000).resample(values[:, None])[:, 0] / 5
        assert means.var() == pytest.approx(values.var() / 5, rel=0.03)

    @given(st.integers(0, 10**6), st.floats(0.01, 100), st.floats(-10, 10))
    def test_an_interval_moves_and_scales_with_its_values(self, seed, factor, shift):
        values = np.random.default_rng(seed).normal(size=200)
        low, high = plan(20).interval(values, 20)
        assert plan(20).interval(factor * values + shift, 20) == pytest.approx(
            (factor * low + shift, factor * high + shift), rel=1e-9, abs=1e-9
        )
        assert plan(20).interval(-values, 20) == pytest.approx((-high, -low), rel=1e-9)

    def test_more_confidence_needs_a_wider_interval(self):
        values = np.random.default_rng(0).normal(size=4000)
        narrow, wide = (plan(20, confidence=level).interval(values, 20) for level in (0.8, 0.99))
        assert wide.low < narrow.low < narrow.high < wide.high

    def test_values_without_variance_have_an_interval_without_width(self):
        assert plan(5).interval(np.full(400, 0.25), 5) == (0.25, 0.25)

    def test_fewer_than_five_clusters_give_no_interval(self):
        values = np.random.default_rng(1).normal(size=1000)
        assert [plan(9).interval(values, n) is None for n in (1, 2, 4, 5)] == [True, True, True, False]

    def test_fewer_clusters_leave_less_out(self):
        tails = [tail_probability(0.9, n) for n in (2, 3, 5, 10, 100, 10_000)]
        assert tails == sorted(tails)
        assert tails[-1] == pytest.approx(0.05, rel=1e-3)
