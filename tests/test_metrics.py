"""Metrics: worked numbers, laws that every line of METRICS obeys, and outside oracles."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from xferbench import metrics
from xferbench.metrics import METRICS, RESOLUTION, Metric, Sample, sample, sum_by
from xferbench.units import RENDERED

DOCUMENT = Path(__file__).parent.parent / "docs" / "metrics.md"
WIDTH = {"energy": 1, "forces": 3, "stress": 9, "magmoms": 1, "gap": 1}
PERFECT = {"lower": 0.0, "higher": 1.0}
every_metric = pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS.keys())


def random_sample(metric: Metric, *, seed: int = 0, n_frames: int = 12, error: float = 0.1) -> Sample:
    """Frames of one to five rows with errors of a given size around random labels, and a baseline twice as bad."""
    rng = np.random.default_rng(seed)
    frame = np.repeat(np.arange(n_frames), rng.integers(1, 6, n_frames))
    label = rng.normal(size=(len(frame), WIDTH[metric.quantity]))
    noise = rng.normal(size=label.shape)
    return sample(label + error * noise, label, frame=frame, baseline=label + 0.2 * rng.normal(size=label.shape))


def changed(rows: Sample, **values: object) -> Sample:
    fields = {name: getattr(rows, name) for name in ("prediction", "label", "frame", "n_frames", "baseline")}
    return Sample(**{**fields, **values})


class TestLaws:
    @every_metric
    def test_a_perfect_prediction_gets_the_best_value(self, metric):
        assert metric.value(random_sample(metric, error=0.0)) == PERFECT[metric.better]

    @every_metric
    def test_a_worse_prediction_gets_a_worse_value(self, metric):
        near, far = (metric.value(random_sample(metric, error=error)) for error in (0.1, 0.3))
        assert near < far if metric.better == "lower" else near > far

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
        assert metric.components(shuffled) == pytest.approx(metric.components(rows), rel=1e-12)

    @every_metric
    def test_the_order_of_frames_is_irrelevant(self, metric):
        rows = random_sample(metric)
        renumbered = changed(rows, frame=rows.n_frames - 1 - rows.frame)
        assert metric.components(renumbered) == pytest.approx(metric.components(rows)[::-1], rel=1e-12)
        assert metric.value(renumbered) == pytest.approx(metric.value(rows), rel=1e-12)

    @every_metric
    def test_another_unit_scales_the_value_like_the_unit(self, metric):
        rows = random_sample(metric)
        scaled = changed(rows, prediction=2 * rows.prediction, label=2 * rows.label, baseline=2 * rows.baseline)
        assert metric.value(scaled) == pytest.approx(metric.value(rows) * (1 if metric.unit == "1" else 2), rel=1e-12)

    @every_metric
    def test_twice_the_error_is_twice_the_value_or_four_times_what_is_not_explained(self, metric):
        once, twice = (metric.value(random_sample(metric, error=error)) for error in (0.1, 0.2))
        if metric.better == "lower":
            assert twice == pytest.approx(2 * once, rel=1e-12)
        else:
            assert 1 - twice == pytest.approx(4 * (1 - once), rel=1e-12)

    @every_metric
    def test_only_errors_count_not_where_the_labels_lie(self, metric):
        rows = random_sample(metric)
        moved = changed(rows, prediction=rows.prediction + 7, label=rows.label + 7, baseline=rows.baseline + 7)
        assert metric.value(moved) == pytest.approx(metric.value(rows), rel=1e-9)

    @every_metric
    def test_a_frame_counted_twice_weighs_twice(self, metric):
        rows = random_sample(metric)
        first = rows.frame == 0
        doubled = sample(
            np.concatenate([rows.prediction, rows.prediction[first]]),
            np.concatenate([rows.label, rows.label[first]]),
            frame=np.concatenate([rows.frame, np.full(first.sum(), rows.n_frames)]),
            baseline=np.concatenate([rows.baseline, rows.baseline[first]]),
        )
        weights = np.ones(rows.n_frames)
        weights[0] = 2
        weighted = metric.combine(weights @ metric.components(rows))
        assert metric.value(doubled) == pytest.approx(float(weighted), rel=1e-12)

    @every_metric
    def test_sums_combine_along_leading_axes(self, metric):
        components = metric.components(random_sample(metric))
        stacked = np.stack([components.sum(axis=0), 2 * components.sum(axis=0), components[:6].sum(axis=0)])
        assert metric.combine(stacked).shape == (3,)
        assert metric.combine(stacked)[0] == pytest.approx(metric.combine(stacked)[1])
        assert metric.combine(stacked[None])[0, 2] == metric.combine(components[:6].sum(axis=0))

    @every_metric
    def test_nothing_to_measure_is_not_a_number(self, metric):
        empty = np.zeros((0, WIDTH[metric.quantity]))
        assert np.isnan(metric.value(sample(empty, empty, n_frames=3, baseline=empty)))

    @every_metric
    def test_names_units_and_references_are_consistent(self, metric):
        assert METRICS[metric.name] is metric
        assert metric.unit in RENDERED
        assert metric.better == ("higher" if metric.name.endswith("_explained") else "lower")
        if metric.quantity == "energy":
            assert metric.references == metrics.ENERGY_REFERENCES
        else:
            assert metric.references == (("aligned",) if metric.quantity == "gap" else ("none",))


class TestOracles:
    @every_metric
    def test_values_equal_scikit_learn(self, metric):
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


class TestSample:
    def test_plain_numbers_become_one_column_with_a_frame_each(self):
        rows = sample([1, 2], [3, 4])
        assert rows.prediction.shape == (2, 1)
        assert rows.frame.tolist() == [0, 1]
        assert rows.n_frames == 2

    def test_frames_without_rows_are_known_and_unused(self):
        rows = sample([1.0, 2.0], [1.0, 2.0], frame=[2, 2], n_frames=4)
        assert rows.used.tolist() == [False, False, True, False]
        assert METRICS["energy_mae"].components(rows).tolist() == [[0, 0], [0, 0], [0, 2], [0, 0]]

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"prediction": [1.0], "label": [1.0, 2.0]}, "label has shape"),
            ({"prediction": [[1.0, 2.0]], "label": [1.0]}, "label has shape"),
            ({"prediction": [1.0], "label": [1.0], "baseline": [1.0, 2.0]}, "baseline has shape"),
            ({"prediction": [1.0, 2.0], "label": [1.0, 2.0], "frame": [0]}, "1 frame numbers for 2 rows"),
            ({"prediction": [1.0], "label": [1.0], "frame": [3], "n_frames": 2}, "outside 0 … 1"),
            ({"prediction": [1.0], "label": [1.0], "frame": [-1]}, "frame numbers outside"),
            ({"prediction": np.zeros((1, 3, 3)), "label": np.zeros((1, 3, 3))}, "rows and columns"),
        ],
    )
    def test_shapes_must_match(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            sample(**arguments)

    def test_sums_by_group_equal_a_loop(self):
        rng = np.random.default_rng(3)
        values, group = rng.normal(size=(50, 4)), rng.integers(0, 7, 50)
        loop = [values[group == g].sum(axis=0) for g in range(8)]
        assert sum_by(values, group, 8) == pytest.approx(np.array(loop), abs=1e-14)


class TestDocuments:
    def test_examples_in_docstrings_are_true(self):
        outcome = doctest.testmod(metrics, extraglobs={"np": np})
        assert outcome.failed == 0
        assert outcome.attempted >= 8

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
