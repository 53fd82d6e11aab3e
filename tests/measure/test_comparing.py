"""Paired differences: p-values agree with their intervals and with a t test, Holm with its paper, ties with hand-drawn groups."""

from __future__ import annotations

from itertools import combinations
from typing import ClassVar

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from xferbench.measure import (
    ClusterBootstrap,
    compare,
    comparing,
    holm,
    p_value,
    resamples_needed,
    tail_probability,
    tie_groups,
)


def plan(n_clusters: int, n_resamples: int = 2000, seed: int = 0) -> ClusterBootstrap:
    return ClusterBootstrap(n_clusters=n_clusters, n_resamples=n_resamples, seed=seed, confidence=0.95)


def compared(errors: dict[str, np.ndarray], *, better: str = "lower", n_resamples: int = 2000):
    """Compare means of one number per cluster."""
    table = np.stack(list(errors.values()), axis=1)
    boot = plan(len(table), n_resamples)
    return compare(
        list(errors),
        table.mean(axis=0),
        boot.resample(table) / len(table),
        better=better,
        n_clusters=len(table),
        plan=boot,
    )


def noisy(mean: float, n: int, seed: int, spread: float = 0.02) -> np.ndarray:
    return mean + np.random.default_rng(seed).normal(0, spread, n)


class TestPValue:
    @pytest.mark.parametrize("seed", range(8))
    def test_it_is_below_five_per_cent_exactly_if_the_interval_excludes_zero(self, seed):
        boot = plan(12)
        sums = np.random.default_rng(seed).normal(0.5, 1.0, (12, 1))
        drawn = boot.resample(sums)[:, 0] / 12
        low, high = boot.interval(drawn, 12)
        assert (p_value(drawn, 12) < 0.05) == (not low <= 0 <= high)

    @pytest.mark.parametrize("seed", [1, 2, 3])
    def test_a_paired_t_test_agrees_on_normal_data(self, seed):
        differences = np.random.default_rng(seed).normal(0.3, 1.0, 40)
        boot = plan(40, 20_000)
        mine = p_value(boot.resample(differences[:, None])[:, 0] / 40, 40)
        assert mine == pytest.approx(stats.ttest_1samp(differences, 0).pvalue, rel=0.25, abs=0.005)

    def test_the_sign_of_a_difference_is_irrelevant(self):
        drawn = np.random.default_rng(0).normal(1, 1, 999)
        assert p_value(drawn, 10) == p_value(-drawn, 10)

    def test_equal_models_have_a_p_value_of_one(self):
        assert p_value(np.zeros(100), 10) == 1.0

    def test_undefined_resamples_are_left_out(self):
        drawn = np.random.default_rng(0).normal(1, 1, 999)
        assert p_value(np.concatenate([drawn, [np.nan] * 50]), 10) == p_value(drawn, 10)

    def test_it_is_never_zero(self):
        assert 0 < p_value(np.ones(2000), 10**6) == pytest.approx(2 / 2001, rel=1e-3)

    @pytest.mark.parametrize("n", [3, 10, 500])
    def test_the_level_is_the_inverse_of_the_tail(self, n):
        assert comparing._two_sided(tail_probability(0.9, n), n) == pytest.approx(0.1, rel=1e-9)

    def test_between_equal_models_five_per_cent_are_significant(self):
        """Two models with independent, skewed errors around the same size of each material; 30 materials."""
        stream = np.random.default_rng(3)
        counts = np.concatenate(list(plan(30, 500).counts())).astype(float)
        size = stream.gamma(4.0, 0.25, (600, 30))
        difference = stream.exponential(size) - stream.exponential(size)
        rate = np.mean([p_value(counts @ row, 30) < 0.05 for row in difference])
        assert 0.02 < rate < 0.085


class TestHolm:
    def test_the_smallest_is_multiplied_by_the_number_of_tests(self):
        assert holm([0.01, 0.02, 0.03]) == pytest.approx([0.03, 0.04, 0.04])

    def test_order_is_kept(self):
        assert holm([0.04, 0.01]) == pytest.approx([0.04, 0.02])

    def test_nothing_exceeds_one(self):
        assert holm([0.6, 0.9]) == [1.0, 1.0]

    def test_no_tests_give_nothing(self):
        assert holm([]) == []

    @given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
    def test_rejections_are_those_of_the_stepwise_procedure(self, p_values):
        """Holm 1979: walk up the sorted p-values and stop at the first that exceeds α/(m - position)."""
        rejected = set()
        for position, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
            if p_values[i] * (len(p_values) - position) > 0.05:
                break
            rejected.add(i)
        assert {i for i, p in enumerate(holm(p_values)) if p <= 0.05} == rejected


class TestTieGroups:
    @pytest.mark.parametrize(
        ("n", "different", "groups"),
        [
            (3, [], [(0, 1, 2)]),
            (3, [(0, 1), (0, 2), (1, 2)], [(0,), (1,), (2,)]),
            (3, [(0, 2)], [(0, 1), (1, 2)]),
            (4, [(0, 2), (0, 3), (1, 3)], [(0, 1), (1, 2), (2, 3)]),
            (3, [(0, 1)], [(0, 2), (1, 2)]),
            (1, [], [(0,)]),
        ],
    )
    def test_groups_are_those_drawn_by_hand(self, n, different, groups):
        assert tie_groups(n, different) == groups

    @given(st.integers(1, 7), st.data())
    def test_two_items_share_a_group_exactly_if_they_do_not_differ(self, n, data):
        pairs = list(combinations(range(n), 2))
        different = data.draw(st.sets(st.sampled_from(pairs))) if pairs else set()
        groups = tie_groups(n, different)
        for i, j in pairs:
            assert any(i in group and j in group for group in groups) == ((i, j) not in different)
        assert {item for group in groups for item in group} == set(range(n))
        assert not any(set(a) < set(b) for a in groups for b in groups)


class TestCompare:
    ERRORS: ClassVar = {"good": noisy(0.10, 30, 1), "bad": noisy(0.30, 30, 2), "fair": noisy(0.101, 30, 3)}

    def test_models_stand_best_first(self):
        assert [item.name for item in compared(self.ERRORS).standings] == ["good", "fair", "bad"]
        assert [item.name for item in compared(self.ERRORS, better="higher").standings] == ["bad", "fair", "good"]

    def test_near_equals_tie_and_the_far_one_is_apart(self):
        good, fair, bad = compared(self.ERRORS).standings
        assert (good.best, good.worst, fair.best, fair.worst, bad.best, bad.worst) == (1, 2, 1, 2, 3, 3)
        assert good.groups == fair.groups == (0,)
        assert bad.groups == (1,)

    def test_where_one_is_best_both_sides_of_it_count(self):
        slopes = {"soft": noisy(0.8, 30, 1), "hard": noisy(1.1, 30, 2), "far": noisy(1.5, 30, 3)}
        result = compared(slopes, better="one")
        assert [item.name for item in result.standings] == ["hard", "soft", "far"]
        assert result.standings[0].value == pytest.approx(1.1, abs=0.02)
        assert result.differences[0].value == pytest.approx(-0.1, abs=0.02)

    def test_each_pair_appears_once_the_better_model_first(self):
        pairs = [(item.first, item.second) for item in compared(self.ERRORS).differences]
        assert pairs == [("good", "fair"), ("good", "bad"), ("fair", "bad")]
        assert all(item.value <= 0 for item in compared(self.ERRORS).differences)
        assert all(item.value >= 0 for item in compared(self.ERRORS, better="higher").differences)

    def test_the_order_of_the_models_is_irrelevant(self):
        assert compared(dict(reversed(self.ERRORS.items()))) == compared(self.ERRORS)

    def test_what_all_models_find_hard_cancels(self):
        hard = np.random.default_rng(5).gamma(1.0, 1.0, 30)
        result = compared({"a": hard + 0.001, "b": hard})
        (difference,) = result.differences
        assert difference.interval == pytest.approx((-0.001, -0.001), abs=1e-9)
        assert np.diff(result.standings[0].interval).item() > 0.3
        assert [item.best for item in result.standings] == [1, 2]

    def test_p_values_are_corrected_over_all_pairs(self):
        result = compared(self.ERRORS)
        raw = [item.p_value for item in result.differences]
        assert [item.p_holm for item in result.differences] == holm(raw)

    def test_the_detectable_difference_is_found_four_times_in_five(self):
        """A t test has the same power: 16 normal differences, true difference as large as the detectable one."""
        sigma, n = 1.0, 16
        stream = np.random.default_rng(0)
        sample = stream.normal(0, sigma, n)
        sample *= sigma / sample.std()
        mdd = compared({"a": sample + 1, "b": np.zeros(n)}, n_resamples=20_000).differences[0].detectable
        shifted = stream.normal(mdd, sigma * np.sqrt(n / (n - 1)), (4000, n))
        assert np.mean(stats.ttest_1samp(shifted, 0, axis=1).pvalue < 0.05) == pytest.approx(0.8, abs=0.05)

    def test_more_models_make_detection_harder(self):
        two = compared({name: self.ERRORS[name] for name in ("good", "bad")}).differences[0]
        three = compared(self.ERRORS).differences[1]
        assert (two.first, two.second) == (three.first, three.second) == ("good", "bad")
        assert two.detectable < three.detectable

    @pytest.mark.parametrize("names", [["a"], ["a", "a"], ["a", "b", "c"]])
    def test_what_cannot_be_compared_is_refused(self, names):
        with pytest.raises(ValueError, match="nothing to compare"):
            compare(names, [1.0, 2.0], np.ones((10, 2)), better="lower", n_clusters=5, plan=plan(5))

    def test_a_single_cluster_is_refused(self):
        with pytest.raises(ValueError, match="5 clusters"):
            compare(["a", "b"], [1.0, 2.0], np.ones((10, 2)), better="lower", n_clusters=1, plan=plan(5))

    def test_a_metric_without_any_value_is_refused(self):
        with pytest.raises(ValueError, match="undefined"):
            compare(["a", "b"], [1.0, 2.0], np.full((10, 2), np.nan), better="lower", n_clusters=5, plan=plan(5))


class TestResamplesNeeded:
    def test_the_plan_is_enough_for_one_pair_of_many_materials(self):
        assert resamples_needed(1, 1000, plan(1000)) == 2000

    def test_many_pairs_need_more(self):
        needed = resamples_needed(45, 1000, plan(1000))
        assert needed > 2000
        assert comparing._two_sided(1 / needed, 1000) * 45 < 0.05

    def test_few_materials_may_never_resolve_many_pairs(self):
        errors = {f"m{i}": noisy(0.1 * i, 5, i, 0.001) for i in range(1, 40)}
        result = compared(errors)
        assert not result.resolved
        assert result.smallest_p * len(result.differences) > 0.05
        assert all(item.p_holm > 0.05 for item in result.differences)

    def test_the_effort_is_bounded(self, monkeypatch):
        monkeypatch.setattr(comparing, "MAX_DRAWS", 50_000)
        assert resamples_needed(45, 10, plan(10)) == 5000
        assert resamples_needed(45, 1000, plan(1000)) == 2000


P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=9)


class TestLawsOfCorrection:
    @given(P_VALUES, st.randoms(use_true_random=False))
    def test_the_order_of_tests_is_irrelevant(self, p_values, random):
        order = list(range(len(p_values)))
        random.shuffle(order)
        shuffled = holm([p_values[i] for i in order])
        assert shuffled == [holm(p_values)[i] for i in order]

    @given(P_VALUES)
    def test_corrected_values_lie_between_no_correction_and_bonferronis(self, p_values):
        for raw, adjusted in zip(p_values, holm(p_values), strict=True):
            assert raw <= adjusted <= min(1.0, len(p_values) * raw)

    @given(P_VALUES, st.floats(0, 1))
    def test_one_more_test_never_makes_another_more_significant(self, p_values, extra):
        more = holm([*p_values, extra])[:-1]
        assert all(new >= old for new, old in zip(more, holm(p_values), strict=True))

    @given(st.integers(1, 7), st.data())
    def test_groups_are_the_maximal_cliques_of_the_ties(self, n, data):
        pairs = list(combinations(range(n), 2))
        different = data.draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
        ties = nx.Graph()
        ties.add_nodes_from(range(n))
        ties.add_edges_from(set(pairs) - set(different))
        expected = sorted(tuple(sorted(clique)) for clique in nx.find_cliques(ties))
        assert tie_groups(n, different) == expected


class TestPValueByHand:
    def test_one_sided_resamples_of_very_many_clusters(self):
        # (0 + 1)/(99 + 1) in the tail, twice; nothing is expanded for so many clusters
        assert p_value(np.full(99, 0.5), 10**9) == pytest.approx(0.02, rel=1e-6)

    def test_a_quarter_below_zero(self):
        assert p_value(np.repeat([-1.0, 1.0], [24, 75]), 10**9) == pytest.approx(0.5, rel=1e-6)

    def test_half_on_each_side_is_no_difference(self):
        assert p_value(np.repeat([-1.0, 1.0], 50), 20) == 1.0

    @given(st.integers(0, 10**6), st.floats(0, 2))
    def test_moving_a_difference_away_from_zero_never_weakens_it(self, seed, shift):
        drawn = np.abs(np.random.default_rng(seed).normal(0.5, 0.1)) + np.random.default_rng(seed).normal(0, 1, 300)
        drawn += max(0.0, -float(np.median(drawn)))
        assert p_value(drawn + shift, 30) <= p_value(drawn, 30)

    @pytest.mark.parametrize("factor", [1e-6, 1e6])
    def test_the_unit_is_irrelevant(self, factor):
        drawn = np.random.default_rng(2).normal(1, 1, 500)
        assert p_value(factor * drawn, 12) == p_value(drawn, 12)

    def test_fewer_clusters_are_less_evidence(self):
        drawn = np.random.default_rng(3).normal(2, 1, 2000)
        p_values = [p_value(drawn, n) for n in (2, 3, 10, 1000)]
        assert p_values == sorted(p_values, reverse=True)


class TestLawsOfComparing:
    ERRORS = TestCompare.ERRORS

    def test_another_unit_scales_values_and_leaves_ranks_and_p_values(self):
        small, large = compared(self.ERRORS), compared({name: 1024 * e for name, e in self.ERRORS.items()})
        for before, after in zip(small.differences, large.differences, strict=True):
            assert (after.p_value, after.p_holm) == (before.p_value, before.p_holm)
            assert after.value == pytest.approx(1024 * before.value)
            assert after.interval == pytest.approx([1024 * end for end in before.interval])
            assert after.detectable == pytest.approx(1024 * before.detectable)
        ranks = [[(s.name, s.best, s.worst, s.groups) for s in item.standings] for item in (small, large)]
        assert ranks[0] == ranks[1]

    def test_higher_is_better_is_the_mirror_image_of_lower(self):
        lower, higher = compared(self.ERRORS), compared({n: -e for n, e in self.ERRORS.items()}, better="higher")
        for one, other in zip(lower.standings, higher.standings, strict=True):
            assert (one.name, one.best, one.worst, one.groups) == (other.name, other.best, other.worst, other.groups)
            assert one.interval == pytest.approx((-other.interval.high, -other.interval.low))

    def test_equal_models_share_every_rank_and_stand_as_given(self):
        errors = noisy(0.2, 12, 4)
        result = compared({"b": errors, "a": errors, "c": errors})
        assert [(item.name, item.best, item.worst, item.groups) for item in result.standings] == [
            ("b", 1, 3, (0,)),
            ("a", 1, 3, (0,)),
            ("c", 1, 3, (0,)),
        ]
        for item in result.differences:
            assert (item.value, item.p_value, item.p_holm, item.detectable) == (0, 1, 1, 0)
            assert item.interval == (0, 0)

    def test_distances_from_one_on_either_side_are_equal(self):
        result = compared({"below": 1 - noisy(0.25, 10, 0), "above": 1 + noisy(0.25, 10, 0)}, better="one")
        (difference,) = result.differences
        assert difference.value == pytest.approx(0, abs=1e-12)
        assert {item.best for item in result.standings} == {1}

    def test_resamples_beyond_the_plan_sharpen_differences_only(self):
        boot, table = plan(20, 100), np.random.default_rng(0).normal(size=(20, 2))
        drawn = plan(20, 1000).resample(table) / 20
        short, long = (
            compare(["a", "b"], table.mean(axis=0), part, better="lower", n_clusters=20, plan=boot)
            for part in (drawn[:100], drawn)
        )
        assert [item.interval for item in short.standings] == [item.interval for item in long.standings]
        assert short.differences[0].interval != long.differences[0].interval
        assert (short.n_resamples, long.n_resamples) == (100, 1000)
        assert long.smallest_p < short.smallest_p

    @given(st.integers(0, 10**6))
    def test_ranks_and_groups_never_contradict_each_other(self, seed):
        rng = np.random.default_rng(seed)
        result = compared({f"m{i}": rng.normal(0.3 * i, 1, 25) for i in range(5)}, n_resamples=200)
        places = {item.name: item for item in result.standings}
        for number, item in enumerate(result.standings, start=1):
            assert item.best <= number <= item.worst
        for item in result.differences:
            tied = set(places[item.first].groups) & set(places[item.second].groups)
            assert bool(tied) == (item.p_holm > 0.05)
