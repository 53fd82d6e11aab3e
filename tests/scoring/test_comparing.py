"""Comparisons on a task: the frames all models have, the plan of the results, and names for what cannot be compared."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from xferbench.errors import DataError, PredictionsError, UnknownNameError
from xferbench.measure import METRICS
from xferbench.records import Prediction, Predictions
from xferbench.scoring import Entrant, compare, expected_frames, metric_of, worst
from xferbench.tasks import TaskMetric

KEY = "energy_mae/aligned"


@pytest.fixture
def entrant(synthetic_dataset, synthetic_task):
    """``entrant(name, scale)``: labels with errors of that scale in energies and forces."""

    def make(name, scale, *, seed=0, failed=(), energy_only=False):
        stream = np.random.default_rng(seed)
        records = []
        for frame in expected_frames(synthetic_task, synthetic_dataset).frames:
            error = scale * stream.normal()
            record = Prediction(
                frame_id=frame.frame_id,
                energy=frame.energy + frame.n_atoms * error,
                forces=None if energy_only else frame.forces + scale * stream.normal(size=frame.forces.shape),
            )
            if frame.frame_id in failed:
                record = Prediction(frame_id=frame.frame_id, error="no")
            records.append(record)
        return Entrant(name=name, predictions=Predictions(records=records, settings={}), where=f"{name}.parquet")

    return make


def test_a_comparison_has_the_values_and_intervals_of_the_results(entrant, run, synthetic_dataset, synthetic_task):
    entrants = [entrant("a", 0.01), entrant("b", 0.2, seed=1)]
    standings = compare(
        synthetic_task, expected_frames(synthetic_task, synthetic_dataset), entrants, KEY
    ).comparison.standings
    for item, standing in zip(entrants, standings, strict=True):
        entry = run(item.predictions.records).metric(KEY)
        assert standing.value == pytest.approx(entry.value, rel=1e-12)
        assert standing.interval == pytest.approx((entry.ci_low, entry.ci_high), rel=1e-9)


def test_every_metric_of_the_task_that_is_resampled_can_be_compared(entrant, synthetic_dataset, synthetic_task):
    entrants = [entrant("a", 0.01), entrant("b", 0.02, seed=1)]
    keys = [item.key for item in synthetic_task.metrics if METRICS[item.name].quantity in {"energy", "forces", "gap"}]
    keys = [key for key in keys if METRICS[key.partition("/")[0]].resampled and not key.endswith("/referenced")]
    assert len(keys) > 5
    for key in keys:
        compared = compare(synthetic_task, expected_frames(synthetic_task, synthetic_dataset), entrants, key)
        assert len(compared.comparison.differences) == 1, key
        assert compared.n_frames > 0


def test_frames_that_one_model_lacks_count_for_none(entrant, synthetic_dataset, synthetic_task):
    test = expected_frames(synthetic_task, synthetic_dataset).test_frames
    lost = [frame.frame_id for frame in test if frame.frame_id.endswith("-1-r2SCAN")][:4]
    entrants = [entrant("a", 0.01), entrant("b", 0.02, seed=1, failed=lost)]
    compared = compare(synthetic_task, expected_frames(synthetic_task, synthetic_dataset), entrants, KEY)
    assert compared.n_frames == len(test) - 4
    assert compared.n_left_out == {"a": 4, "b": 0}
    alone = compare(
        synthetic_task,
        expected_frames(synthetic_task, synthetic_dataset),
        [entrant("a", 0.01, failed=lost), entrant("b", 0.02, seed=1)],
        KEY,
    )
    assert compared.comparison.standings[0].value == pytest.approx(alone.comparison.standings[0].value)


def test_a_missing_prediction_is_a_frame_without_value(entrant, synthetic_dataset, synthetic_task):
    whole = entrant("b", 0.02, seed=1)
    test = expected_frames(synthetic_task, synthetic_dataset).test_frames
    records = [record for record in whole.predictions.records if record.frame_id != test[0].frame_id]
    part = replace(whole, predictions=Predictions(records=records, settings={}))
    assert (
        compare(
            synthetic_task, expected_frames(synthetic_task, synthetic_dataset), [entrant("a", 0.01), part], KEY
        ).n_frames
        == len(test) - 1
    )


def test_the_order_of_models_is_irrelevant(entrant, synthetic_dataset, synthetic_task):
    entrants = [entrant(name, scale, seed=i) for i, (name, scale) in enumerate([("a", 0.1), ("b", 0.01), ("c", 0.2)])]
    forwards, backwards = (
        compare(synthetic_task, expected_frames(synthetic_task, synthetic_dataset), order, "force_mae").comparison
        for order in (entrants, entrants[::-1])
    )
    assert forwards == backwards
    assert [item.name for item in forwards.standings] == ["b", "a", "c"]


def test_a_metric_the_task_lacks_is_named_with_the_near_one(synthetic_task):
    with pytest.raises(UnknownNameError, match="did you mean 'force_mae'"):
        metric_of(synthetic_task, "forces_mae")


def test_a_model_without_the_quantity_is_named(entrant, synthetic_dataset, synthetic_task):
    with pytest.raises(DataError, match=r"b\.parquet has no force_mae: the model predicts no forces"):
        compare(
            synthetic_task,
            expected_frames(synthetic_task, synthetic_dataset),
            [entrant("a", 0.1), entrant("b", 0.1, energy_only=True)],
            "force_mae",
        )


def test_a_metric_that_no_bootstrap_can_judge_is_refused(entrant, synthetic_dataset, synthetic_task):
    name = next(name for name, metric in METRICS.items() if not metric.resampled)
    metric = METRICS[name]
    extra = TaskMetric(name=name, reference=metric.references[0])
    with pytest.raises(DataError, match="resampling materials says nothing"):
        compare(
            synthetic_task,
            expected_frames(synthetic_task, synthetic_dataset),
            [entrant("a", 0.1), entrant("b", 0.1)],
            extra.key,
        )


def test_a_single_common_material_is_not_enough(entrant, synthetic_dataset, synthetic_task):
    test = expected_frames(synthetic_task, synthetic_dataset).test_frames
    lost = [frame.frame_id for frame in test if frame.material_id != test[0].material_id]
    with pytest.raises(DataError, match=r"1 material\(s\)"):
        compare(
            synthetic_task,
            expected_frames(synthetic_task, synthetic_dataset),
            [entrant("a", 0.1), entrant("b", 0.1, failed=lost)],
            KEY,
        )


def test_wrong_predictions_are_refused_with_their_file(entrant, synthetic_dataset, synthetic_task):
    bad = entrant("b", 0.1)
    records = [replace(bad.predictions.records[0], energy=np.nan), *bad.predictions.records[1:]]
    bad = replace(bad, predictions=Predictions(records=records, settings={}))
    with pytest.raises(PredictionsError, match=r"b\.parquet"):
        compare(synthetic_task, expected_frames(synthetic_task, synthetic_dataset), [entrant("a", 0.1), bad], KEY)


def test_the_worst_frames_are_those_with_the_largest_errors(entrant, synthetic_dataset, synthetic_task):
    expected = expected_frames(synthetic_task, synthetic_dataset)
    made = entrant("a", 0.1)
    found = worst(synthetic_task, expected, made, "energy_mae/raw", 3)
    labels = {frame.frame_id: frame.energy / frame.n_atoms for frame in expected.frames}
    told = {item.frame_id: item.energy for item in made.predictions.records}
    n_atoms = {frame.frame_id: frame.n_atoms for frame in expected.frames}
    test = [str(name) for name in expected.test.of(expected.side).frame_id]
    by_hand = sorted(test, key=lambda name: -abs(told[name] / n_atoms[name] - labels[name]))[:3]
    assert [item.frame_id for item in found] == by_hand
    for item in found:
        assert item.label == pytest.approx(labels[item.frame_id])
        assert item.prediction == pytest.approx(told[item.frame_id] / n_atoms[item.frame_id])


def test_rows_of_atoms_name_no_frames(entrant, synthetic_dataset, synthetic_task):
    expected = expected_frames(synthetic_task, synthetic_dataset)
    assert worst(synthetic_task, expected, entrant("a", 0.1), "force_mae", 3) == ()
