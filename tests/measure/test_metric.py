"""What the two kinds of metrics have in common."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from xferbench.measure import METRICS, Metric, OrderMetric, SumMetric, sample


def test_a_metric_of_no_kind_cannot_be_made():
    with pytest.raises(TypeError, match="abstract"):
        Metric(name="x", quantity="energy", unit="1", better="one", formula="x")


def test_every_metric_is_of_one_kind():
    assert {type(metric) for metric in METRICS.values()} == {SumMetric, OrderMetric}


@pytest.mark.parametrize("name", ["force_mae", "force_error_p95"])
def test_the_value_is_that_of_everything_drawn_once(name):
    metric, rng = METRICS[name], np.random.default_rng(0)
    rows = sample(rng.normal(size=(30, 3)), np.zeros((30, 3)), frame=np.arange(30) // 3)
    groups = np.arange(10) % 4
    assert metric.resampler(rows, groups, 4)(np.ones((1, 4)))[0] == pytest.approx(metric.value(rows), rel=1e-14)


def test_a_group_belongs_to_frames_not_to_rows():
    rows = sample([1.0, 1.0, 5.0], [0.0, 0.0, 0.0], frame=[1, 1, 0])
    counts = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert METRICS["energy_mae"].resampler(rows, np.array([0, 1]), 2)(counts).tolist() == [5.0, 1.0]


def test_sums_are_those_of_weighted_rows():
    rows = sample([1.0, 3.0], [0.0, 0.0], frame=[0, 0], weight=[0.5, 0.25])
    assert METRICS["energy_mae"].components(rows).tolist() == [[1.25, 0.75]]


WIDTHS = {"forces": 3, "stress": 9, "force_gap": 3, "stress_gap": 9}
every_metric = pytest.mark.parametrize("metric", METRICS.values(), ids=list(METRICS))


def rows_of(metric, seed=0, n=24):
    """Two rows in each of n/2 frames."""
    rng = np.random.default_rng(seed)
    label, noise, base = rng.normal(size=(3, n, WIDTHS.get(metric.quantity, 1)))
    return sample(label + 0.3 * noise, label, frame=np.arange(n) // 2, baseline=base)


class TestResampling:
    @every_metric
    def test_only_how_often_relative_to_others_a_group_is_drawn_matters(self, metric):
        rows, group = rows_of(metric), np.arange(12) % 4
        counts = np.array([[1.0, 2, 0, 3], [5, 0, 0, 1]])
        resampled = metric.resampler(rows, group, 4)
        np.testing.assert_allclose(resampled(7 * counts), resampled(counts), rtol=1e-12)

    @every_metric
    def test_numbers_of_groups_are_names(self, metric):
        rows, group = rows_of(metric), np.arange(12) % 4
        renamed, counts = np.array([2, 0, 3, 1]), np.array([[1.0, 2, 0, 3]])
        again = np.zeros_like(counts)
        again[:, renamed] = counts
        found = metric.resampler(rows, renamed[group], 4)(again)
        np.testing.assert_allclose(found, metric.resampler(rows, group, 4)(counts), rtol=1e-12)

    @every_metric
    def test_a_group_without_rows_may_be_drawn_without_effect(self, metric):
        rows, group = rows_of(metric), np.arange(12) % 3
        counts = np.array([[1.0, 2, 1, 0], [1, 2, 1, 9], [0, 0, 0, 4]])
        usual, more, nothing = metric.resampler(rows, group, 4)(counts)
        assert more == pytest.approx(usual, rel=1e-12)
        assert np.isnan(nothing)

    @every_metric
    def test_a_single_group_drawn_alone_has_the_value_of_its_frames(self, metric):
        rows, group = rows_of(metric), np.arange(12) % 2
        kept = group[rows.frame] == 1
        alone = sample(
            rows.prediction[kept], rows.label[kept], frame=rows.frame[kept], n_frames=12, baseline=rows.baseline[kept]
        )
        (found,) = metric.resampler(rows, group, 2)(np.array([[0.0, 3.0]]))
        assert found == pytest.approx(metric.value(alone), rel=1e-12)

    @every_metric
    def test_resamples_are_worked_out_independently_of_each_other(self, metric):
        rows, group = rows_of(metric), np.arange(12) % 4
        counts = np.random.default_rng(1).integers(0, 3, (9, 4)).astype(float) + np.eye(4)[0]
        resampled = metric.resampler(rows, group, 4)
        np.testing.assert_allclose(resampled(counts), [resampled(row[None])[0] for row in counts], rtol=1e-12)

    def test_groups_of_unequal_size_make_a_ratio_not_a_mean_of_means(self):
        # errors 1, 1, 1 in the first material and 5 in the second: 8/4, and drawn (1, 3): (3 + 15)/6
        rows = sample([1.0, 1, 1, 5], np.zeros(4))
        resampled = METRICS["energy_mae"].resampler(rows, np.array([0, 0, 0, 1]), 2)
        assert resampled(np.array([[1.0, 1], [1, 3]])).tolist() == [2.0, 3.0]

    def test_the_root_is_taken_after_drawing(self):
        rows = sample([3.0, 4.0], np.zeros(2))
        resampled = METRICS["energy_rmse"].resampler(rows, np.array([0, 1]), 2)
        assert resampled(np.array([[1.0, 1], [2, 0]])) == pytest.approx([np.sqrt(12.5), 3.0])


def test_a_line_of_the_table_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        METRICS["energy_mae"].unit = "meV/atom"
