"""Every quantity of the metrics has its rows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from xferbench.metrics import METRICS
from xferbench.records import Functional
from xferbench.scoring import expected_frames
from xferbench.scoring import rows as rows_of
from xferbench.scoring.quantities import keyed


@pytest.fixture
def table(synthetic_dataset, synthetic_task, answers):
    def make(task):
        expected = expected_frames(task, synthetic_dataset)
        records = {record.frame_id: record for record in answers}
        records |= {frame.frame_id: replace(answers[0], frame_id=frame.frame_id) for frame in expected.frames[:0]}
        if task.functional.is_gga:
            records = {
                frame.frame_id: replace(answers[0], frame_id=frame.frame_id, forces=None, stress=None, magmoms=None)
                for frame in expected.frames
            }
        test = rows_of.join(expected.test, records)
        return keyed(
            task, synthetic_dataset, test, rows_of.energies(test, rows_of.join(expected.calibration, records), None)
        )

    return make


def test_every_metric_with_every_reference_finds_its_rows(table, synthetic_task):
    rows = table(synthetic_task)
    for metric in METRICS.values():
        for reference in metric.references:
            assert rows[metric.quantity, reference].n_labels > 0, metric.name


def test_gaps_are_for_r2scan_tasks(table, synthetic_task):
    rows = table(replace(synthetic_task, functional=Functional.PBE))
    for key in (("gap", "aligned"), ("force_gap", "none"), ("stress_gap", "none")):
        assert rows[key] == (None, 0, "gaps are scored on r2SCAN tasks")
    assert rows["differences", "none"].sample is not None
