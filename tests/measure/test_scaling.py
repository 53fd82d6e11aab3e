"""Power laws: exact curves are recovered, intervals are those of a t test, and what cannot be bounded is infinite."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats

from xferbench.measure import (
    METRICS,
    ClusterBootstrap,
    Curve,
    Estimate,
    PowerLaw,
    crossing,
    data_equivalence,
    fit_power_law,
    resample_curve,
    versus,
)

SIZES = np.array([100.0, 300, 1000, 3000, 10_000, 30_000])
ALL = (1.0, np.inf)
PAPER = Path(__file__).parents[3] / "shared" / "data" / "paper-results" / "figure6-validation-mae.csv"
MAE = METRICS["energy_mae"]


def noisy(law: PowerLaw, scatter: float, seed: int = 0) -> np.ndarray:
    return law(SIZES) * np.exp(np.random.default_rng(seed).normal(0, scatter, len(SIZES)))


@pytest.fixture(scope="module")
def paper():
    """Figure 6: column -> fit from 1,000 structures on."""
    if not PAPER.exists():
        pytest.skip(f"needs {PAPER.name}, which is not part of the package")
    with PAPER.open() as stream:
        rows = list(csv.DictReader(stream))
    sizes = [float(row["n_structures"]) for row in rows]
    columns = [name for name in rows[0] if name != "n_structures"]
    return {
        name.rsplit("_meV", 1)[0]: fit_power_law(
            sizes, [float(row[name] or "nan") for row in rows], fit_range=(1000, np.inf), seed=[0, number]
        )
        for number, name in enumerate(columns)
    }


class TestLaw:
    def test_size_is_the_inverse_of_the_error(self):
        law = PowerLaw(prefactor=30.0, exponent=0.4, floor=1.5)
        assert law.size(law(SIZES)) == pytest.approx(SIZES)

    def test_the_floor_is_never_reached(self):
        assert PowerLaw(prefactor=1.0, exponent=1.0, floor=2.0).size([2.0, 1.0]).tolist() == [np.inf, np.inf]

    def test_a_law_that_does_not_fall_reaches_nothing(self):
        assert PowerLaw(prefactor=1.0, exponent=-0.1).size(0.5) == np.inf


class TestFit:
    def test_an_exact_power_law_is_recovered(self):
        fit = fit_power_law(SIZES, 8.0 * SIZES**-0.35, fit_range=ALL, n_resamples=50)
        assert (fit.law.prefactor, fit.law.exponent, fit.law.floor) == pytest.approx((8.0, 0.35, 0.0))
        assert fit.r2 == pytest.approx(1.0)
        assert (fit.exponent.value, fit.exponent.low, fit.exponent.high) == pytest.approx((0.35, 0.35, 0.35))

    def test_an_exact_law_with_a_floor_is_recovered(self):
        law = PowerLaw(prefactor=50.0, exponent=0.6, floor=0.4)
        fit = fit_power_law(SIZES, law(SIZES), fit_range=ALL, floor=True, n_resamples=5)
        assert (fit.law.prefactor, fit.law.exponent, fit.law.floor) == pytest.approx((50.0, 0.6, 0.4), rel=1e-4)

    def test_a_floor_that_is_not_there_is_zero(self):
        fit = fit_power_law(SIZES, 8.0 * SIZES**-0.35, fit_range=ALL, floor=True, n_resamples=5)
        assert fit.law.exponent == pytest.approx(0.35, rel=1e-3)
        assert fit.law.floor == pytest.approx(0.0, abs=1e-4)

    def test_a_floor_never_fits_worse(self):
        for seed in range(5):
            errors = noisy(PowerLaw(prefactor=5, exponent=0.3, floor=0.2), 0.1, seed)
            plain = fit_power_law(SIZES, errors, fit_range=ALL, n_resamples=2)
            floored = fit_power_law(SIZES, errors, fit_range=ALL, n_resamples=2, floor=True)
            assert floored.r2 >= plain.r2 - 1e-9

    def test_scipy_agrees_on_slope_interval_and_r2(self):
        errors = noisy(PowerLaw(prefactor=8, exponent=0.35), 0.15)
        fit = fit_power_law(SIZES, errors, fit_range=ALL, n_resamples=40_000)
        line = stats.linregress(np.log(SIZES), np.log(errors))
        half = stats.t.ppf(0.975, len(SIZES) - 2) * line.stderr
        assert fit.exponent.value == pytest.approx(-line.slope)
        assert fit.r2 == pytest.approx(line.rvalue**2)
        assert fit.exponent.low == pytest.approx(-line.slope - half, abs=0.03 * half)
        assert fit.exponent.high == pytest.approx(-line.slope + half, abs=0.03 * half)

    @pytest.mark.parametrize("seed", range(4))
    def test_scipy_finds_no_better_law_with_a_floor(self, seed):
        errors = noisy(PowerLaw(prefactor=50, exponent=0.6, floor=0.4), 0.1, seed)
        fit = fit_power_law(SIZES, errors, fit_range=ALL, floor=True, n_resamples=2)
        mine = ((np.log(fit.law(SIZES)) - np.log(errors)) ** 2).sum()
        theirs = optimize.least_squares(
            lambda p: np.log(np.exp(p[0] - p[1] * np.log(SIZES)) + p[2]) - np.log(errors),
            [4.0, 0.6, 0.4],
            bounds=([-np.inf, -np.inf, 0], np.inf),
            xtol=1e-12,
        )
        assert mine <= 2 * theirs.cost * (1 + 1e-6)
        assert fit.law.exponent == pytest.approx(theirs.x[1], rel=1e-3)

    def test_the_unit_of_the_error_moves_the_prefactor_only(self):
        errors = noisy(PowerLaw(prefactor=5, exponent=0.3, floor=0.2), 0.05)
        small = fit_power_law(SIZES, errors, fit_range=ALL, floor=True, n_resamples=20)
        large = fit_power_law(SIZES, errors * 1000, fit_range=ALL, floor=True, n_resamples=20)
        assert large.law.exponent == pytest.approx(small.law.exponent, rel=1e-4)
        assert large.law.prefactor == pytest.approx(small.law.prefactor * 1000, rel=1e-3)

    def test_points_outside_the_declared_range_are_counted_and_not_used(self):
        errors = 8.0 * SIZES**-0.35
        errors[0] = 1e6
        fit = fit_power_law(SIZES, errors, fit_range=(300, 10_000), n_resamples=10)
        assert (fit.n_points, fit.n_outside) == (4, 2)
        assert fit.law.exponent == pytest.approx(0.35)

    def test_a_size_without_error_is_no_point(self):
        fit = fit_power_law([0, *SIZES], [np.nan, *(8.0 * SIZES**-0.35)], fit_range=(0, np.inf), n_resamples=10)
        assert (fit.n_points, fit.n_outside) == (6, 0)

    def test_the_same_seed_gives_the_same_interval_and_another_seed_another(self):
        errors = noisy(PowerLaw(prefactor=8, exponent=0.35), 0.15)
        first, second, other = (fit_power_law(SIZES, errors, fit_range=ALL, seed=seed).exponent for seed in (1, 1, 2))
        assert first == second
        assert first != other

    @pytest.mark.parametrize(
        ("sizes", "errors", "message"),
        [
            ([1, 2], [1.0, 0.5], "3 of different size"),
            ([5, 5, 5, 5], [1.0, 0.5, 0.4, 0.3], "different size"),
            ([1, 2, 3], [1.0, 0.0, 0.5], "positive"),
            ([0, 2, 3], [1.0, 0.7, 0.5], "positive"),
            ([1, 2, 3], [1.0, 0.5], "do not match"),
        ],
    )
    def test_what_is_no_curve_is_refused(self, sizes, errors, message):
        with pytest.raises(ValueError, match=message):
            fit_power_law(sizes, errors, fit_range=(0, np.inf))


class TestReplicates:
    """Errors per material with a size of their own, three training seeds that move all of them."""

    LAW = PowerLaw(prefactor=8, exponent=0.35)

    def sums(self, n_seeds: int = 3, spread: float = 0.1, seed: int = 0) -> list[np.ndarray]:
        stream = np.random.default_rng(seed)
        hardness = stream.gamma(4.0, 0.25, 50)
        out = []
        for error in self.LAW(SIZES):
            factor = np.exp(stream.normal(0, spread, (n_seeds, 1)))
            out.append(np.stack([error * factor * hardness, np.ones((n_seeds, 50))], axis=-1))
        return out

    def plan(self, n: int = 800) -> ClusterBootstrap:
        return ClusterBootstrap(n_clusters=50, n_resamples=n, seed=0, confidence=0.95)

    def test_curves_have_a_row_per_resample_and_a_column_per_size(self):
        curves = resample_curve(self.sums(), MAE.combine, self.plan())
        assert curves.shape == (800, 6)

    def test_hard_materials_move_all_sizes_together_and_leave_the_exponent_alone(self):
        curves = resample_curve(self.sums(n_seeds=1, spread=0.0), MAE.combine, self.plan())
        fit = fit_power_law(SIZES, self.LAW(SIZES), fit_range=ALL, curves=curves)
        assert fit.method == "replicates"
        assert (fit.exponent.value, fit.exponent.low, fit.exponent.high) == pytest.approx((0.35, 0.35, 0.35))
        assert fit.prefactor.high > 1.1 * fit.prefactor.low

    def test_the_spread_of_seeds_is_that_of_a_mean(self):
        """Without materials to choose, the variance of a column is that of the mean over the seeds."""
        stream = np.random.default_rng(0)
        runs = np.exp(stream.normal(0, 0.1, 4))
        sums = np.stack([np.repeat(runs[:, None], 50, 1), np.ones((4, 50))], axis=-1)
        curves = resample_curve([sums], MAE.combine, self.plan(20_000))
        assert curves.std() == pytest.approx(stats.sem(runs), rel=0.03)

    def test_the_interval_holds_the_true_exponent_most_of_the_time(self):
        hits = 0
        for seed in range(60):
            sums = self.sums(n_seeds=5, seed=seed)
            errors = [MAE.combine(run.sum(axis=1)).mean() for run in sums]
            curves = resample_curve(sums, MAE.combine, self.plan(200), seed=seed)
            fit = fit_power_law(SIZES, errors, fit_range=ALL, curves=curves)
            hits += fit.exponent.low <= 0.35 <= fit.exponent.high
        assert 48 <= hits <= 60

    def test_curves_of_other_sizes_are_refused(self):
        with pytest.raises(ValueError, match="do not match"):
            fit_power_law(SIZES, self.LAW(SIZES), fit_range=ALL, curves=np.ones((10, 3)))


def fits(first: PowerLaw, second: PowerLaw, *, scatter: float = 0.0, floor: bool = False, n_resamples: int = 400):
    return tuple(
        fit_power_law(SIZES, noisy(law, scatter, seed), fit_range=ALL, floor=floor, seed=seed, n_resamples=n_resamples)
        for seed, law in enumerate((first, second))
    )


class TestCrossing:
    SHALLOW, STEEP = PowerLaw(prefactor=10, exponent=0.2), PowerLaw(prefactor=1000, exponent=0.6)

    def test_two_lines_cross_where_algebra_says(self):
        found = crossing(*fits(self.SHALLOW, self.STEEP))
        assert found.value == pytest.approx(100 ** (1 / 0.4))
        assert self.SHALLOW(found.value) == pytest.approx(self.STEEP(found.value))

    def test_a_curve_that_does_not_fall_faster_never_overtakes(self):
        assert crossing(*fits(self.STEEP, self.SHALLOW)).value == np.inf

    def test_the_interval_is_unbounded_if_the_slopes_may_be_equal(self):
        near = PowerLaw(prefactor=12, exponent=0.22)
        found = crossing(*fits(self.SHALLOW, near, scatter=0.15))
        assert found.high == np.inf
        assert np.isfinite(found.low)

    def test_floors_move_the_crossing(self):
        floored = PowerLaw(prefactor=10, exponent=0.3, floor=1.0)
        steep = PowerLaw(prefactor=1000, exponent=0.6, floor=0.5)
        found = crossing(*fits(floored, steep, floor=True, n_resamples=3)).value
        assert floored(found) == pytest.approx(steep(found), rel=1e-3)

    def test_a_higher_floor_is_never_overtaken_from(self):
        low, high = PowerLaw(prefactor=10, exponent=0.3, floor=0.5), PowerLaw(prefactor=500, exponent=0.6, floor=2.0)
        assert crossing(*fits(low, high, floor=True, n_resamples=3)).value == np.inf

    def test_what_is_ahead_from_the_start_has_crossed_already(self):
        ahead, behind = PowerLaw(prefactor=1, exponent=0.3, floor=0.1), PowerLaw(prefactor=9, exponent=0.3, floor=0.5)
        assert crossing(*fits(behind, ahead, floor=True, n_resamples=3)).value == 1.0

    def test_different_confidences_do_not_combine(self):
        first = fit_power_law(SIZES, self.SHALLOW(SIZES), fit_range=ALL, confidence=0.9)
        second = fit_power_law(SIZES, self.STEEP(SIZES), fit_range=ALL)
        with pytest.raises(ValueError, match="confidence"):
            crossing(first, second)


class TestDataEquivalence:
    def test_it_is_the_ratio_of_sizes_of_equal_error(self):
        first, second = PowerLaw(prefactor=10, exponent=0.5), PowerLaw(prefactor=40, exponent=0.5)
        assert [item.value for item in data_equivalence(*fits(first, second), [100, 1000])] == pytest.approx([16, 16])

    def test_it_is_measured_between_points_as_by_the_laws_and_unknown_beyond_them(self):
        # the error of the first at n is that of the second at 16 n; the largest size of the second is 30,000
        first, second = PowerLaw(prefactor=10, exponent=0.5), PowerLaw(prefactor=40, exponent=0.5)
        sizes = [100, 1000, 3000]
        found = versus(*fits(first, second), sizes, first(sizes), Curve(x=SIZES, errors=second(SIZES)))
        assert found.crossing.value == np.inf
        assert {n: item.value for n, item in found.equivalence.items()} == pytest.approx(dict.fromkeys(sizes, 16))
        assert found.observed == pytest.approx({100: 16, 1000: 16, 3000: np.nan}, nan_ok=True)

    def test_what_has_no_end_is_null_in_a_file(self):
        assert Estimate(2.0, 1.5, np.inf).to_json() == {"value": 2.0, "low": 1.5, "high": None}

    def test_it_is_one_at_the_crossing(self):
        pair = fits(TestCrossing.SHALLOW, TestCrossing.STEEP)
        assert data_equivalence(*pair, [crossing(*pair).value])[0].value == pytest.approx(1.0)

    def test_an_error_below_the_floor_is_worth_any_amount(self):
        pair = fits(
            PowerLaw(prefactor=10, exponent=0.5), PowerLaw(prefactor=90, exponent=0.5, floor=2.0), floor=True,
            n_resamples=3,
        )  # fmt: skip
        small, large = data_equivalence(*pair, [9.0, 10_000.0])
        assert np.isfinite(small.value)
        assert large.value == np.inf

    def test_noise_widens_the_interval(self):
        wide, narrow = (
            data_equivalence(*fits(TestCrossing.SHALLOW, TestCrossing.STEEP, scatter=scatter), [1000])[0]
            for scatter in (0.1, 0.01)
        )
        assert wide.high - wide.low > 3 * (narrow.high - narrow.low)


class TestPaper:
    @pytest.mark.parametrize(
        ("curve", "exponent", "r2"),
        [
            ("scratch_energy", 0.615, 0.994),
            ("transfer_energy", 0.301, 0.964),
            ("scratch_force", 0.394, 0.978),
            ("transfer_force", 0.134, 0.997),
        ],
    )
    def test_the_published_exponents_come_back(self, paper, curve, exponent, r2):
        assert paper[curve].law.exponent == pytest.approx(exponent, abs=5e-4)
        assert paper[curve].r2 == pytest.approx(r2, abs=5e-4)
        assert paper[curve].n_points == 6

    @pytest.mark.parametrize(("quantity", "structures"), [("energy", 719_996), ("force", 317_475)])
    def test_the_published_crossings_come_back_and_are_uncertain(self, paper, quantity, structures):
        found = crossing(paper[f"transfer_{quantity}"], paper[f"scratch_{quantity}"])
        assert found.value == pytest.approx(structures, rel=1e-3)
        assert found.high / found.low > 10


class TestLawsOfFits:
    LAW = PowerLaw(prefactor=20, exponent=0.35)

    @given(st.floats(0.01, 1e4), st.floats(0.01, 2))
    def test_any_exact_law_comes_back(self, prefactor, exponent):
        law = PowerLaw(prefactor=prefactor, exponent=exponent)
        found = fit_power_law(SIZES, law(SIZES), fit_range=ALL, n_resamples=5)
        assert found.law.prefactor == pytest.approx(prefactor, rel=1e-9)
        assert found.law.exponent == pytest.approx(exponent, rel=1e-9)
        assert found.r2 == pytest.approx(1)

    def test_counting_data_in_thousands_moves_the_prefactor_only(self):
        errors = noisy(self.LAW, 0.1)
        one, thousand = (fit_power_law(SIZES / unit, errors, fit_range=(0, np.inf)) for unit in (1, 1000))
        assert [*thousand.exponent] == pytest.approx([*one.exponent])
        assert thousand.law.prefactor == pytest.approx(one.law.prefactor * 1000**-one.law.exponent)
        assert thousand.r2 == pytest.approx(one.r2)

    @pytest.mark.parametrize("floor", [False, True])
    def test_the_order_of_points_is_irrelevant_to_the_law(self, floor):
        errors = noisy(self.LAW, 0.1)
        one, turned = (
            fit_power_law(SIZES[::step], errors[::step], fit_range=ALL, floor=floor, n_resamples=2) for step in (1, -1)
        )
        assert turned.law(SIZES) == pytest.approx(one.law(SIZES), rel=1e-6)

    def test_more_confidence_needs_wider_intervals_of_the_same_value(self):
        errors = noisy(self.LAW, 0.1)
        low, high = (fit_power_law(SIZES, errors, fit_range=ALL, confidence=level).exponent for level in (0.8, 0.99))
        assert low.value == high.value
        assert high.low < low.low < low.value < low.high < high.high

    @pytest.mark.parametrize("level", [5.0, 0.1])
    def test_errors_that_do_not_fall_have_an_exponent_of_zero(self, level):
        found = fit_power_law(SIZES, np.full(len(SIZES), level), fit_range=ALL, n_resamples=50)
        assert [*found.exponent] == pytest.approx([0, 0, 0], abs=1e-12)
        assert np.isnan(found.r2)  # no variance to explain

    def test_as_many_points_as_parameters_leave_no_scatter_to_measure(self):
        with pytest.raises(ValueError, match="2 points in the fit range, 3 of different size are needed"):
            fit_power_law(SIZES[:2], [3.0, 2.0], fit_range=ALL)
        curves = np.array([[3.0, 2.0], [3.1, 2.0]])
        found = fit_power_law([100.0, 400.0], [4.0, 2.0], fit_range=ALL, curves=curves)
        assert found.law.exponent == pytest.approx(0.5)
        assert found.law.prefactor == pytest.approx(40)

    def test_a_law_crosses_itself_nowhere_and_another_one_way_only(self):
        pair = fits(TestCrossing.SHALLOW, TestCrossing.STEEP)
        assert np.isfinite(crossing(*pair).value)
        assert crossing(*pair[::-1]).value == np.inf
        assert crossing(pair[0], pair[0]).value == np.inf

    def test_equivalence_to_itself_is_one_and_there_and_back_again_is_the_way(self):
        first, second = fits(PowerLaw(prefactor=10, exponent=0.5), PowerLaw(prefactor=30, exponent=0.4))
        assert [*data_equivalence(first, first, [500.0])[0]] == pytest.approx([1, 1, 1])
        there = data_equivalence(first, second, [500.0])[0].value
        back = data_equivalence(second, first, [500.0 * there])[0].value
        assert there * back == pytest.approx(1)

    def test_seeds_that_agree_leave_the_spread_of_the_materials(self):
        stream = np.random.default_rng(1)
        run = np.stack([stream.gamma(2.0, 1.0, 30), np.ones(30)], axis=-1)
        boot = ClusterBootstrap(n_clusters=30, n_resamples=50, seed=0, confidence=0.95)
        curves = resample_curve([np.stack([run] * 4), run[None]], MAE.combine, boot, seed=3)
        assert curves == pytest.approx(np.stack([MAE.combine(boot.resample(run))] * 2, axis=1))


class TestNoise:
    """Three points have one degree of freedom, whose noise is drawn with a size that has no mean: any number may come."""

    @staticmethod
    def curves(seed):
        rng = np.random.default_rng(seed)
        sizes = np.unique(np.exp(rng.uniform(0, 14, rng.integers(3, 8))).round())
        exponents, scatter = rng.uniform(-0.5, 1.5, 2), rng.choice([0.1, 1.0, 3.0])
        return sizes, [
            np.exp(-exponent * np.log(sizes) + rng.normal(0, scatter, len(sizes))) * rng.choice([1e-3, 1.0, 1e3])
            for exponent in exponents
        ]

    @pytest.mark.parametrize("floor", [False, True])
    @pytest.mark.parametrize("seed", [0, 1, 4, 14, 21, 23, 46, 51, 56, 84, 120])
    def test_wild_points_have_wide_intervals_and_no_warnings(self, seed, floor):
        sizes, errors = self.curves(seed)
        floor = floor and len(sizes) > 3
        fits = [
            fit_power_law(sizes, column, fit_range=ALL, floor=floor, n_resamples=100, seed=[seed, number])
            for number, column in enumerate(errors)
        ]
        for fit in fits:
            assert fit.exponent.low <= fit.exponent.value <= fit.exponent.high
            assert 0 <= fit.prefactor.low <= fit.prefactor.high
        for estimate in [crossing(*fits), *data_equivalence(*fits, sizes)]:
            assert not np.isnan([*estimate]).any()

    def test_a_prefactor_beyond_all_numbers_is_refused_with_the_reason(self):
        with pytest.raises(ValueError, match="too few or too close"):
            fit_power_law([1e6, 1.001e6, 1.002e6], [1.0, 0.5, 0.1], fit_range=ALL)

    def test_laws_do_not_depend_on_the_unit_of_the_error(self):
        errors = noisy(PowerLaw(prefactor=30.0, exponent=0.5, floor=0.1), 0.1)
        one, other = (
            fit_power_law(SIZES, scale * errors, fit_range=ALL, floor=True, n_resamples=50) for scale in (1.0, 1e-9)
        )
        assert other.law.exponent == pytest.approx(one.law.exponent, rel=1e-6)
        assert other.floor.value == pytest.approx(1e-9 * one.floor.value, rel=1e-6)
