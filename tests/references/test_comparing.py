"""Schemes side by side: errors, intervals, uncertainties of shifts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from xferbench.errors import DataError
from xferbench.measure import ClusterBootstrap
from xferbench.references import SCHEMES, compare
from xferbench.references.comparing import errors
from xferbench.references.elemental import Offsets
from xferbench.references.labels import Labels
from xferbench.references.schemes import Calibration, Fitted


@pytest.fixture
def split(make_labels):
    """Calibration and test pairs of other materials, with a noisy gap."""
    labels = make_labels(120, noise=0.05)
    test = np.array([int(name[-2:]) % 4 == 3 for name in labels.materials])
    return labels.take(~test), labels.take(test)


def outcome(comparison, name):
    return next(item for item in comparison.outcomes if item.scheme == name)


def fitted_shift(labels, value=0.0):
    return Fitted(shift=Offsets(energies=dict.fromkeys(labels.symbols, value)))


def plan(n, seed=0):
    return ClusterBootstrap(n_clusters=n, n_resamples=50, seed=seed, confidence=0.95)


class TestErrors:
    def test_by_hand(self, make_labels):
        labels = make_labels(5)
        labels = replace(labels, source=np.zeros(5), target=np.array([1.0, -2, 0, 0, 0]))
        found = errors(fitted_shift(labels), labels, 0.0, plan(5))
        assert found.n_pairs == 5
        assert found.mae.value == pytest.approx(0.6)
        assert found.rmse.value == pytest.approx(1.0)
        assert found.explained.value == pytest.approx(0.0)  # a mean gap of zero is the shift of zero

    def test_they_agree_with_scikit_learn(self, split):
        calibration, test = split
        found = outcome(compare(calibration, test, schemes=["paired"], n_resamples=10), "paired").test
        oracle = np.linalg.lstsq(calibration.fractions, calibration.gap)[0]
        predicted = test.fractions @ oracle
        assert found.mae.value == pytest.approx(mean_absolute_error(test.gap, predicted))
        assert found.rmse.value == pytest.approx(root_mean_squared_error(test.gap, predicted))
        centre = test.gap.mean()  # scikit-learn measures from the mean of the very pairs
        at_their_mean = errors(
            SCHEMES["paired"].fit(Calibration(labels=calibration, weights=np.ones(len(calibration)))),
            test,
            centre,
            plan(5),
        )
        assert at_their_mean.explained.value == pytest.approx(r2_score(test.gap, predicted))

    def test_a_perfect_scheme_explains_everything_and_the_mean_nothing(self, make_labels):
        labels = make_labels(60)
        comparison = compare(labels, labels, schemes=["mean", "paired"], n_resamples=20)
        assert outcome(comparison, "paired").test.explained.value == pytest.approx(1)
        assert outcome(comparison, "mean").test.explained.value == pytest.approx(0)

    def test_what_is_not_determined_is_counted_and_not_judged(self, split):
        calibration, test = split
        without = calibration.take(calibration.fractions[:, 4] == 0)
        found = outcome(compare(without, test, schemes=["paired"], n_resamples=10), "paired").test
        n = int((test.fractions[:, 4] > 0).sum())
        assert (found.n_left_out, found.n_pairs) == (n, len(test) - n)
        assert n > 0

    def test_if_nothing_is_determined_there_is_no_value(self, make_labels):
        labels = make_labels(10)
        found = errors(Fitted(shift=Offsets(energies={})), labels, 0.0, plan(10))
        assert (found.n_pairs, found.mae.value, found.rmse.low, found.explained.high) == (0, None, None, None)

    def test_intervals_hold_their_values_and_one_material_has_none(self, split):
        calibration, test = split
        for item in compare(calibration, test, schemes=["source", "mean", "paired"], n_resamples=100).outcomes:
            assert item.test.mae.low < item.test.mae.value < item.test.mae.high
        alone = test.take(np.array([name == test.materials[0] for name in test.materials]))
        single = outcome(compare(calibration, alone, schemes=["paired"], n_resamples=10), "paired").test
        assert single.mae.value is not None
        assert single.mae.low is single.mae.high is None


class TestVersusPaired:
    def test_it_is_the_difference_of_the_errors(self, split):
        comparison = compare(*split, schemes=["source", "mean", "paired"], n_resamples=50)
        paired = outcome(comparison, "paired")
        for item in comparison.outcomes:
            assert item.versus_paired.value == pytest.approx(item.test.mae.value - paired.test.mae.value)
        assert (paired.versus_paired.low, paired.versus_paired.high) == pytest.approx((0, 0), abs=1e-12)

    def test_a_clearly_worse_scheme_is_told_apart(self, split):
        assert outcome(compare(*split, schemes=["mean"], n_resamples=50), "mean").versus_paired.low > 0

    def test_without_a_common_pair_there_is_none(self, split):
        calibration, test = split
        pure = calibration.take(np.arange(len(calibration)) == 0)
        compounds = test.take(test.fractions.max(axis=1) < 1)
        assert (
            outcome(compare(pure, compounds, schemes=["phases"], n_resamples=5), "phases").versus_paired.value is None
        )


class TestShifts:
    def test_values_are_those_of_the_fit_on_all_pairs(self, split):
        shifts = outcome(compare(*split, schemes=["paired"], n_resamples=20), "paired").shifts
        oracle = np.linalg.lstsq(split[0].fractions, split[0].gap)[0]
        np.testing.assert_allclose([item.value for item in shifts.values()], oracle)
        assert list(shifts) == ["H", "Li", "O", "Na", "Cl"]

    def test_the_error_is_that_of_cluster_robust_theory(self, make_labels):
        # oracle: the sandwich estimator of linear models with clusters (Liang and Zeger 1986), CR0
        labels = make_labels(600, noise=0.1, n_materials=200)
        shifts = outcome(compare(labels, labels, schemes=["paired"], n_resamples=400), "paired").shifts
        x = labels.fractions
        bread = np.linalg.inv(x.T @ x)
        rest = labels.gap - x @ np.linalg.lstsq(x, labels.gap)[0]
        scores = np.zeros((200, 5))
        np.add.at(scores, [int(name[9:]) for name in labels.materials], x * rest[:, None])
        theory = np.sqrt(np.diag(bread @ scores.T @ scores @ bread))
        np.testing.assert_allclose([item.error for item in shifts.values()], theory, rtol=0.15)

    def test_more_noise_means_more_uncertainty(self, make_labels):
        quiet, loud = (
            outcome(compare(labels, labels, schemes=["paired"], n_resamples=50), "paired").shifts["O"].error
            for labels in (make_labels(noise=0.01), make_labels(noise=0.1))
        )
        assert 0 < 5 * quiet < loud

    def test_a_shift_that_nobody_fits_has_no_error(self, split):
        shifts = outcome(compare(*split, schemes=["source"], n_resamples=20), "source").shifts
        assert all(item.value == 0 and item.error is None for item in shifts.values())

    def test_an_element_of_one_material_has_none_either(self, make_labels):
        labels = make_labels(80)
        last = labels.fractions[:, 4] > 0
        names = tuple("one" if kept else name for name, kept in zip(labels.materials, last, strict=True))
        labels = replace(labels, materials=names)
        shift = outcome(compare(labels, labels, schemes=["paired"], n_resamples=30), "paired").shifts["Cl"]
        assert shift.value is not None
        assert shift.error is shift.low is shift.high is None
        assert 0 < shift.n_resamples < 30  # in the others the one material was not drawn

    def test_where_one_material_alone_tells_the_shift_rounding_is_no_error(self):
        # H is pure in one material, and mixed only with Cl, which occurs nowhere else: H follows from the first alone
        fractions = np.array([[1, 0, 0, 0, 0]] * 2 + [[0.5, 0, 0, 0, 0.5]] * 4 + [[0, 1, 0, 0, 0]] * 5, dtype=float)
        gap = np.array([-0.7562653735817637] * 2 + [-4.3, -4.4, -4.2, -4.5] + [-0.5, -0.6, -0.5, -0.6, -0.7])
        labels = Labels(
            elements=(1, 3, 8, 11, 17),
            fractions=fractions,
            n_atoms=np.full(11, 2),
            materials=tuple("aabcdefghij"),
            source=np.zeros(11),
            target=gap,
        )
        shifts = outcome(compare(labels, labels, schemes=["paired"], n_resamples=100), "paired").shifts
        assert shifts["H"].value == pytest.approx(-0.7562653735817637)
        assert shifts["H"].error is None
        assert shifts["Li"].error > 0.01

    def test_an_element_without_data_has_no_value(self, split):
        calibration, test = split
        without = calibration.take(calibration.fractions[:, 4] == 0)
        comparison = compare(without, test, schemes=["paired"], n_resamples=5)
        assert outcome(comparison, "paired").shifts["Cl"].value is None
        assert comparison.unseen == ("Cl",)
        assert comparison.n_structures["Cl"] == 0


class TestCompare:
    def test_the_same_call_gives_the_same_numbers(self, split):
        assert compare(*split, n_resamples=20) == compare(*split, n_resamples=20)
        assert compare(*split, schemes=["paired"], seed=1) != compare(*split, schemes=["paired"], seed=2)

    def test_the_order_of_pairs_is_irrelevant(self, split):
        calibration, test = split
        turned = compare(calibration.take(np.arange(len(calibration))[::-1]), test, schemes=["paired"], n_resamples=20)
        straight = compare(calibration, test, schemes=["paired"], n_resamples=20)
        a, b = (outcome(item, "paired") for item in (turned, straight))
        assert a.test.mae.low == pytest.approx(b.test.mae.low)
        assert a.shifts["O"].error == pytest.approx(b.shifts["O"].error)

    def test_schemes_that_lack_something_say_so_and_have_no_numbers(self, split):
        comparison = compare(*split, n_resamples=5)
        assert [item.scheme for item in comparison.outcomes] == list(SCHEMES)
        lacking = {item.scheme for item in comparison.outcomes if item.reason}
        assert lacking == {"model-aware", "atoms"}
        assert all(item.test is None and item.shifts is None for item in comparison.outcomes if item.reason)

    def test_correlation_rises_with_referencing(self, split):
        calibration, test = split
        comparison = compare(calibration, test, schemes=["source"], n_resamples=5)
        raw = np.corrcoef(test.source, test.target)[0, 1]
        assert comparison.correlation_raw == pytest.approx(raw)
        assert raw < 0.9 < comparison.correlation_referenced

    def test_one_test_pair_has_no_correlation(self, split):
        comparison = compare(split[0], split[1].take(np.array([0])), schemes=["source"], n_resamples=5)
        assert comparison.correlation_raw is comparison.correlation_referenced is None

    def test_counts_are_told(self, split):
        calibration, test = split
        comparison = compare(replace(calibration, n_dropped=2), replace(test, n_dropped=1), schemes=[], n_resamples=5)
        assert (comparison.n_calibration, comparison.n_test, comparison.n_dropped) == (len(calibration), len(test), 3)

    def test_no_pairs_and_other_columns_are_refused(self, split):
        calibration, test = split
        with pytest.raises(DataError, match="90 calibration and 0 test pairs with both energies"):
            compare(calibration, test.take(np.array([], dtype=int)))
        with pytest.raises(DataError, match="different columns of elements"):
            compare(calibration, replace(test, elements=(1, 3, 8, 11, 35)))


class TestEdges:
    def test_equal_gaps_leave_nothing_to_explain(self, make_labels):
        labels = make_labels()
        labels = replace(labels, target=labels.source + 0.3)  # gaps differ by rounding
        for item in compare(labels, labels, schemes=["source", "mean", "paired"], n_resamples=10).outcomes:
            assert (item.test.explained.value, item.test.explained.low) == (None, None)
            assert item.test.mae.value == pytest.approx(0.3 if item.scheme == "source" else 0, abs=1e-9)

    def test_rests_of_rounding_do_not_correlate(self, make_labels):
        labels = make_labels(source_noise=0)
        comparison = compare(labels, labels, schemes=[], n_resamples=5)
        assert comparison.correlation_raw is not None
        assert comparison.correlation_referenced is None

    def test_another_unit_scales_errors_and_no_fraction(self, split):
        milli = [replace(item, source=1024 * item.source, target=1024 * item.target) for item in split]
        one, other = (outcome(compare(*item, schemes=["paired"], n_resamples=20), "paired") for item in (split, milli))
        for name, factor in (("mae", 1024), ("rmse", 1024), ("explained", 1)):
            before, after = getattr(one.test, name), getattr(other.test, name)
            assert (after.value, after.low, after.high) == pytest.approx(
                (factor * before.value, factor * before.low, factor * before.high), rel=1e-9
            )
        assert other.shifts["Na"].error == pytest.approx(1024 * one.shifts["Na"].error, rel=1e-6)

    def test_what_materials_are_called_is_irrelevant_while_their_order_stays(self, split):
        renamed = [replace(item, materials=tuple(f"x-{name}" for name in item.materials)) for item in split]
        assert compare(*renamed, schemes=["paired"], n_resamples=20) == compare(
            *split, schemes=["paired"], n_resamples=20
        )

    def test_a_constant_offset_of_the_target_is_an_error_of_none_alone(self, split):
        calibration, test = (replace(item, target=item.target + 5) for item in split)
        before, after = (
            compare(*item, schemes=["source", "mean", "paired"], n_resamples=10)
            for item in (split, (calibration, test))
        )
        for name in ("mean", "paired"):
            assert outcome(after, name).test.mae.value == pytest.approx(outcome(before, name).test.mae.value)
        assert outcome(after, "source").test.mae.value == pytest.approx(np.abs(split[1].gap + 5).mean())
