"""Laws that every line of METRICS obeys, outside oracles, and the guide that describes it."""

from __future__ import annotations

import doctest
import re
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from scipy.stats import linregress, spearmanr
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from xferbench import measure
from xferbench.measure import METRICS, RESOLUTION, Metric, Sample, metrics, sample
from xferbench.units import RENDERED

DOCUMENT = Path(__file__).parents[2] / "docs" / "metrics.md"
WIDTH = {"forces": 3, "stress": 9, "force_gap": 3, "stress_gap": 9}
PERFECT = {"lower": 0.0, "higher": 1.0, "one": 1.0}
ERRORS = [item for item in METRICS.values() if item.better == "lower"]
SUMS = [item for item in METRICS.values() if isinstance(item, measure.SumMetric)]
SHAPES = [item for item in METRICS.values() if item.name.endswith(("_slope", "_cosine", "_ratio"))]


def each(items):
    return pytest.mark.parametrize("metric", items, ids=[item.name for item in items])


every_metric = each(list(METRICS.values()))


def random_sample(metric: Metric, *, seed: int = 0, n_frames: int = 12, error: float = 0.1) -> Sample:
    """Frames of one to five rows with errors of a given size around random labels, and a baseline twice as bad."""
    rng = np.random.default_rng(seed)
    frame = np.repeat(np.arange(n_frames), rng.integers(1, 6, n_frames))
    label = rng.normal(size=(len(frame), WIDTH.get(metric.quantity, 1)))
    noise = rng.normal(size=label.shape)
    return sample(label + error * noise, label, frame=frame, baseline=label + 0.2 * rng.normal(size=label.shape))


def changed(rows: Sample, **values: object) -> Sample:
    return Sample(**({field.name: getattr(rows, field.name) for field in fields(rows)} | values))


class TestLaws:
    @every_metric
    def test_a_perfect_prediction_gets_the_best_value(self, metric):
        assert metric.value(random_sample(metric, error=0.0)) == pytest.approx(PERFECT[metric.better], abs=1e-12)

    @each([item for item in METRICS.values() if item.better != "one" and item.quantity != "ground"])
    def test_a_worse_prediction_gets_a_worse_value(self, metric):
        near, far = (metric.value(random_sample(metric, error=error)) for error in (0.1, 1.0))
        assert near < far if metric.better == "lower" else near > far

    @each([item for item in METRICS.values() if item.better == "one"])
    def test_half_the_labels_are_half_of_what_is_right(self, metric):
        rows = random_sample(metric)
        half = changed(rows, prediction=rows.baseline + (rows.label - rows.baseline) / 2)
        if metric.quantity != "gap":
            half = changed(rows, prediction=rows.label / 2)
        assert metric.value(half) == pytest.approx(0.5, rel=1e-12)

    @every_metric
    def test_the_order_of_rows_is_irrelevant(self, metric):
        rows = random_sample(metric)
        order = np.random.default_rng(1).permutation(len(rows.frame))
        shuffled = changed(
            rows,
            prediction=rows.prediction[order],
            label=rows.label[order],
            frame=rows.frame[order],
            baseline=rows.baseline[order],
        )
        assert metric.value(shuffled) == pytest.approx(metric.value(rows), rel=1e-12)

    @every_metric
    def test_the_order_of_frames_is_irrelevant(self, metric):
        rows = random_sample(metric)
        renumbered = changed(rows, frame=rows.n_frames - 1 - rows.frame)
        assert metric.value(renumbered) == pytest.approx(metric.value(rows), rel=1e-12)

    @every_metric
    def test_another_unit_scales_the_value_like_the_unit(self, metric):
        rows = random_sample(metric)
        scaled = changed(rows, prediction=2 * rows.prediction, label=2 * rows.label, baseline=2 * rows.baseline)
        assert metric.value(scaled) == pytest.approx(metric.value(rows) * (1 if metric.unit == "1" else 2), rel=1e-12)

    @each([*ERRORS, METRICS["gap_explained"]])
    def test_twice_the_error_is_twice_the_value_or_four_times_what_is_not_explained(self, metric):
        once, twice = (metric.value(random_sample(metric, error=error)) for error in (0.1, 0.2))
        if metric.better == "lower":
            assert twice == pytest.approx(2 * once, rel=1e-12)
        else:
            assert 1 - twice == pytest.approx(4 * (1 - once), rel=1e-12)

    @each([*ERRORS, *(item for item in METRICS.values() if item.quantity == "gap")])
    def test_only_errors_count_not_where_the_labels_lie(self, metric):
        rows = random_sample(metric)
        moved = changed(rows, prediction=rows.prediction + 7, label=rows.label + 7, baseline=rows.baseline + 7)
        assert metric.value(moved) == pytest.approx(metric.value(rows), rel=1e-9)

    @every_metric
    def test_a_group_drawn_twice_counts_twice_and_one_not_drawn_not_at_all(self, metric):
        rows = random_sample(metric)
        group = np.arange(rows.n_frames) // 2
        counts = np.array([[2, 1, 0, 1, 1, 1], [1, 1, 1, 1, 1, 1], [0, 0, 3, 0, 1, 0]], dtype=np.float64)
        resampled = metric.resampler(rows, group, 6)(counts)
        for value, drawn in zip(resampled, counts, strict=True):
            times = drawn[group][rows.frame].astype(int)
            repeated = changed(
                rows,
                **{name: np.repeat(getattr(rows, name), times, axis=0) for name in ("prediction", "label", "baseline")},
                frame=np.repeat(rows.frame, times),
            )
            assert value == pytest.approx(metric.value(repeated), rel=1e-12)

    @each(SUMS)
    def test_weights_of_two_count_like_two_rows(self, metric):
        rows = random_sample(metric)
        weight = np.random.default_rng(2).integers(1, 4, len(rows.frame))
        repeated = changed(
            rows,
            **{name: np.repeat(getattr(rows, name), weight, axis=0) for name in ("prediction", "label", "baseline")},
            frame=np.repeat(rows.frame, weight),
        )
        assert metric.value(changed(rows, weight=weight.astype(float))) == pytest.approx(
            metric.value(repeated), rel=1e-12
        )

    @each(SUMS)
    def test_sums_combine_along_leading_axes(self, metric):
        components = metric.components(random_sample(metric))
        stacked = np.stack([components.sum(axis=0), 2 * components.sum(axis=0), components[:6].sum(axis=0)])
        assert metric.combine(stacked).shape == (3,)
        assert metric.combine(stacked)[0] == pytest.approx(metric.combine(stacked)[1])
        assert metric.combine(stacked[None])[0, 2] == metric.combine(components[:6].sum(axis=0))

    @every_metric
    def test_nothing_to_measure_is_not_a_number(self, metric):
        empty = np.zeros((0, WIDTH.get(metric.quantity, 1)))
        assert np.isnan(metric.value(sample(empty, empty, n_frames=3, baseline=empty)))

    @every_metric
    def test_names_units_and_references_are_consistent(self, metric):
        assert METRICS[metric.name] is metric
        assert metric.unit in RENDERED
        assert (metric.unit == "1") == (metric.better != "lower")
        if metric.quantity == "energy":
            assert metric.references == measure.ENERGY_REFERENCES
        else:
            assert metric.references == (("aligned",) if metric.quantity == "gap" else ("none",))


class TestOracles:
    @each([item for item in METRICS.values() if item.name.endswith(("_mae", "_rmse", "_explained"))])
    def test_errors_equal_scikit_learn(self, metric):
        rows = random_sample(metric)
        prediction, label = rows.prediction.ravel(), rows.label.ravel()
        if metric.name.endswith("_mae"):
            expected = mean_absolute_error(label, prediction)
        elif metric.name.endswith("_rmse"):
            expected = root_mean_squared_error(label, prediction)
        else:
            mean = np.full_like(rows.label, label.mean())  # against the mean label, the explained fraction is R²
            rows, expected = changed(rows, baseline=mean), r2_score(label, prediction)
        assert metric.value(rows) == pytest.approx(expected, rel=1e-12)

    @each(SHAPES)
    def test_slopes_cosines_and_ratios_equal_scipy_on_data_without_intercept(self, metric):
        rows = random_sample(metric)
        baseline = rows.baseline if metric.quantity == "gap" else 0
        p, t = ((side - baseline).ravel() for side in (rows.prediction, rows.label))
        mirrored = linregress(np.concatenate([t, -t]), np.concatenate([p, -p]))  # its line goes through the origin
        expected = {"slope": mirrored.slope, "cosine": mirrored.rvalue, "ratio": mirrored.slope / mirrored.rvalue}
        assert metric.value(rows) == pytest.approx(expected[metric.name.rpartition("_")[2]], rel=1e-12)

    def test_the_rank_correlation_equals_scipy(self):
        rows = random_sample(METRICS["gap_spearman"], error=0.5)
        beyond = [(side - rows.baseline)[:, 0] for side in (rows.prediction, rows.label)]
        assert METRICS["gap_spearman"].value(rows) == pytest.approx(spearmanr(*beyond).statistic, rel=1e-12)

    @pytest.mark.parametrize(("name", "fraction"), [("median", 0.5), ("p95", 0.95), ("max", 1.0)])
    def test_quantiles_of_force_errors_equal_numpy(self, name, fraction):
        rows = random_sample(METRICS["force_mae"], n_frames=60)
        norms = np.linalg.norm(rows.prediction - rows.label, axis=1)
        expected = np.quantile(norms, fraction, method="inverted_cdf")
        assert METRICS[f"force_error_{name}"].value(rows) == expected

    def test_force_components_are_pooled_so_each_atom_weighs_the_same(self):
        label = np.zeros((4, 3))
        prediction = np.array([[0.6, 0.6, 0.6], [0, 0, 0], [0, 0, 0], [0, 0, 0]])
        rows = sample(prediction, label, frame=[0, 1, 1, 1])
        assert METRICS["force_mae"].value(rows) == pytest.approx(1.8 / 12)  # the mean over frames would be 0.3
        assert METRICS["force_rmse"].value(rows) == pytest.approx(np.sqrt(3 * 0.36 / 12))

    def test_stress_counts_off_diagonal_components_twice(self):
        error = np.zeros((3, 3))
        error[0, 1] = error[1, 0] = 0.09
        assert METRICS["stress_mae"].value(sample(error.reshape(1, 9), np.zeros((1, 9)))) == pytest.approx(0.02)


class TestUndefined:
    @each([item for item in SHAPES if item.name.endswith(("_slope", "_ratio"))])
    def test_without_labels_there_is_no_slope_and_no_ratio(self, metric):
        rows = random_sample(metric)
        label = rows.baseline if metric.quantity == "gap" else np.zeros_like(rows.label)
        assert np.isnan(metric.value(changed(rows, label=label)))

    @each([item for item in SHAPES if item.name.endswith("_cosine")])
    def test_zero_predictions_point_nowhere(self, metric):
        rows = random_sample(metric)
        assert np.isnan(metric.value(changed(rows, prediction=np.zeros_like(rows.label))))

    def test_equal_predictions_have_no_order(self):
        rows = random_sample(METRICS["gap_spearman"])
        assert np.isnan(METRICS["gap_spearman"].value(changed(rows, prediction=rows.baseline)))

    @every_metric
    def test_each_metric_says_in_words_why_there_may_be_no_value(self, metric):
        assert len(metric.undefined.split()) > 3


class TestExplained:
    def test_zero_means_no_better_than_the_baseline(self):
        rows = sample([1.0, 2.0], [0.0, 0.0], baseline=[2.0, -1.0])
        assert METRICS["gap_explained"].value(rows) == 0.0

    def test_negative_means_worse_than_the_baseline(self):
        assert METRICS["gap_explained"].value(sample([3.0], [0.0], baseline=[1.0])) == -8.0

    def test_a_baseline_without_error_leaves_nothing_to_explain(self):
        rows = sample([0.1, 0.0], [0.0, 0.0], baseline=[RESOLUTION / 2, 0.0])
        assert np.isnan(METRICS["gap_explained"].value(rows))

    def test_a_sample_without_baseline_is_refused(self):
        with pytest.raises(ValueError, match="needs a sample with one"):
            METRICS["gap_explained"].value(sample([1.0], [1.0]))


class TestDocuments:
    @pytest.mark.parametrize("module", [measure, metrics], ids=["measure", "metrics"])
    def test_examples_in_docstrings_are_true(self, module):
        outcome = doctest.testmod(module, extraglobs={"np": np, "sample": sample})
        assert outcome.failed == 0
        assert outcome.attempted >= 3

    def test_examples_in_the_guide_are_true(self):
        outcome = doctest.testfile(str(DOCUMENT), module_relative=False)
        assert outcome.failed == 0
        assert outcome.attempted >= len(METRICS)

    @every_metric
    def test_the_guide_states_unit_direction_and_formula(self, metric):
        row = next(line for line in DOCUMENT.read_text().splitlines() if line.startswith(f"| `{metric.name}`"))
        assert [cell.strip() for cell in row.replace("\\|", "¦").split("|")[1:-1]] == [
            f"`{metric.name}`",
            metric.formula.replace("|", "¦"),
            metric.unit,
            metric.better,
            ", ".join(metric.references),
        ]

    @every_metric
    def test_the_guide_works_an_example(self, metric):
        assert f'METRICS["{metric.name}"].value(' in DOCUMENT.read_text()

    def test_the_guide_lists_no_metric_that_does_not_exist(self):
        listed = set(re.findall(r"^\| `(\w+_\w+)` \| ", DOCUMENT.read_text(), re.MULTILINE))
        assert listed == set(METRICS)


def between_the_best_and_the_worst_part(metric, rows):
    """Values over all frames, and over the even and the odd ones."""
    odd = rows.frame % 2 == 1
    parts = [
        changed(rows, **{n: getattr(rows, n)[kept] for n in ("prediction", "label", "frame", "baseline")})
        for kept in (odd, ~odd)
    ]
    return metric.value(rows), sorted(metric.value(part) for part in parts)


class TestInvariances:
    @each([item for item in METRICS.values() if item.better == "lower" or item.name.endswith(("cosine", "spearman"))])
    def test_prediction_and_label_may_change_places(self, metric):
        rows = random_sample(metric)
        swapped = changed(rows, prediction=rows.label, label=rows.prediction)
        assert metric.value(swapped) == pytest.approx(metric.value(rows), rel=1e-12)

    @each([item for item in METRICS.values() if item.quantity in {"forces", "force_gap"}])
    def test_only_mean_absolute_errors_of_forces_depend_on_the_axes(self, metric):
        rows = random_sample(metric)
        turn = Rotation.from_euler("xyz", [20, 50, 130], degrees=True).as_matrix()
        turned = changed(rows, prediction=rows.prediction @ turn.T, label=rows.label @ turn.T)
        same = metric.value(turned) == pytest.approx(metric.value(rows), rel=1e-10)
        assert same != metric.name.endswith("_mae")

    @each([item for item in METRICS.values() if item.quantity not in {"gap", "ground"}])
    def test_the_mirror_image_of_all_signs_changes_nothing(self, metric):
        rows = random_sample(metric)
        mirrored = changed(rows, prediction=-rows.prediction, label=-rows.label)
        assert metric.value(mirrored) == pytest.approx(metric.value(rows), rel=1e-12)

    @every_metric
    def test_frames_without_rows_change_nothing(self, metric):
        rows = random_sample(metric)
        assert metric.value(changed(rows, n_frames=rows.n_frames + 5)) == pytest.approx(metric.value(rows), rel=1e-12)

    @every_metric
    def test_which_rows_share_a_frame_is_irrelevant_without_a_bootstrap(self, metric):
        rows = random_sample(metric)
        alone = changed(rows, frame=np.zeros_like(rows.frame), n_frames=1)
        assert metric.value(alone) == pytest.approx(metric.value(rows), rel=1e-12)

    @each(
        [item for item in SUMS if item.combine in {metrics.mean, metrics.root_mean, metrics.slope, metrics.norm_ratio}]
    )
    def test_the_whole_lies_between_its_parts(self, metric):
        whole, (low, high) = between_the_best_and_the_worst_part(metric, random_sample(metric, error=0.7))
        assert low <= whole <= high

    @each([item for item in SHAPES if item.quantity != "gap"])
    def test_longer_predictions_have_more_slope_and_ratio_and_the_same_direction(self, metric):
        rows = random_sample(metric)
        factors = {"slope": (3, -2), "ratio": (3, 2), "cosine": (1, -1)}[metric.name.rpartition("_")[2]]
        for times, factor in zip((3, -2), factors, strict=True):
            scaled = changed(rows, prediction=times * rows.prediction)
            assert metric.value(scaled) == pytest.approx(factor * metric.value(rows), rel=1e-12)

    def test_opposite_predictions_are_the_worst_that_order_and_direction_know(self):
        for name in ("force_cosine", "force_gap_cosine", "stress_gap_cosine", "polymorph_kendall"):
            rows = random_sample(METRICS[name])
            assert METRICS[name].value(changed(rows, prediction=-rows.label)) == pytest.approx(-1), name
        rows = random_sample(METRICS["gap_spearman"])
        opposite = changed(rows, prediction=2 * rows.baseline - rows.label)
        assert METRICS["gap_spearman"].value(opposite) == pytest.approx(-1)


class TestInequalities:
    @given(st.integers(0, 10**6), st.floats(0.01, 3))
    def test_error_measures_of_forces_stand_in_their_order(self, seed, error):
        rows = random_sample(METRICS["force_mae"], seed=seed, error=error)
        mae, rmse = (METRICS[f"force_{name}"].value(rows) for name in ("mae", "rmse"))
        median, p95, largest = (METRICS[f"force_error_{name}"].value(rows) for name in ("median", "p95", "max"))
        assert 0 < mae <= rmse <= largest
        assert median <= p95 <= largest
        assert np.sqrt(3) * rmse <= largest * (1 + 1e-12)  # a length has three components

    @given(st.integers(0, 10**6), st.floats(0.01, 3))
    def test_what_is_explained_follows_from_slope_and_length(self, seed, error):
        rows = random_sample(METRICS["gap_slope"], seed=seed, error=error)
        products = metrics.product_terms_beyond_baseline(rows).sum(axis=0)
        slope, length = METRICS["gap_slope"].value(rows), float(metrics.norm_ratio(products))
        assert METRICS["gap_explained"].value(rows) == pytest.approx(2 * slope - length**2, abs=1e-9)

    @given(st.integers(0, 10**6))
    def test_directions_and_ranks_lie_within_one(self, seed):
        for name in ("force_cosine", "stress_gap_cosine", "gap_spearman", "polymorph_kendall"):
            assert -1 - 1e-12 <= METRICS[name].value(random_sample(METRICS[name], seed=seed, error=3)) <= 1 + 1e-12

    def test_ranks_see_no_monotone_change_of_scale(self):
        rows = random_sample(METRICS["gap_spearman"], error=0.5)
        bent = changed(rows, prediction=rows.baseline + np.sinh(3 * (rows.prediction - rows.baseline)))
        assert METRICS["gap_spearman"].value(bent) == pytest.approx(METRICS["gap_spearman"].value(rows), rel=1e-12)
