"""What the two kinds of metrics have in common."""

from __future__ import annotations

import numpy as np
import pytest

from xferbench.metrics import METRICS, Metric, OrderMetric, SumMetric, sample


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
