"""Which frames belong to a slice, and that a slice is measured like the whole."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from xferbench.records import Functional
from xferbench.scoring import slicing
from xferbench.scoring.slicing import SLICES


@pytest.fixture
def pair(make_pairs):
    return make_pairs(n_materials=1)[1]


def members(pair, **labels):
    """Names of the slices of the r2SCAN frame, its labels changed."""
    changed = replace(pair, r2scan=replace(pair.r2scan, **labels))
    return {name for name, belongs in SLICES.items() if belongs(changed, changed.r2scan)}


class TestMembers:
    def test_small_forces_are_at_rest_and_one_large_force_is_not(self, pair):
        assert "at-rest" in members(pair, forces=np.full((2, 3), 0.05))
        assert "distorted" in members(pair, forces=np.array([[0, 0, 0], [0, 0.06, 0.09]]))

    def test_a_frame_without_forces_is_neither(self, pair):
        assert not members(pair, forces=None) & {"at-rest", "distorted"}

    def test_moments_that_are_not_zero_are_magnetic(self, pair):
        assert "magnetic" in members(pair, magmoms=np.array([-2.0, 2.0]))
        assert "magnetic" not in members(pair, magmoms=np.array([0.01, -0.02]))
        assert "magnetic" not in members(pair, magmoms=None)

    def test_total_moments_are_compared_without_their_sign(self, pair):
        spins = replace(pair, gga=replace(pair.gga, magmoms=np.array([1.0, 1.0])))
        assert "moments-differ" not in members(spins, magmoms=np.array([-1.0, -1.0]))
        assert "moments-differ" in members(spins, magmoms=np.array([-1.0, 1.0]))
        assert "moments-differ" not in members(spins, magmoms=None)

    def test_plus_u_is_that_of_the_gga_side(self, pair):
        assert "hubbard-u" not in members(pair)
        assert "hubbard-u" in members(replace(pair, gga=replace(pair.gga, functional=Functional.PBE_U)))


class TestMeasured:
    def test_rest_and_distortion_share_the_frames_between_them(self, run, answers):
        found = {part.name: part for part in run(answers).slices}
        assert list(found) == list(SLICES)
        assert found["at-rest"].n_frames + found["distorted"].n_frames == 15
        assert found["hubbard-u"].n_frames == 0
        assert found["hubbard-u"].metrics == ()

    def test_each_metric_counts_the_frames_of_the_slice(self, run, answers):
        (part,) = [part for part in run(answers).slices if part.name == "distorted"]
        assert {entry.key for entry in part.metrics} == set(slicing.SLICED)
        assert part.metrics[0].n_frames == part.n_frames

    def test_errors_of_distorted_frames_stay_out_of_those_at_rest(self, run, answers, synthetic_dataset):
        labels = {frame.frame_id: frame for frame in synthetic_dataset.frames("r2scan")}
        worse = [
            replace(record, stress=record.stress + slicing.distorted(None, labels[record.frame_id]))
            for record in answers
        ]
        values = {
            part.name: entry.value for part in run(worse).slices for entry in part.metrics if entry.key == "stress_mae"
        }
        assert values["at-rest"] == 0.0
        assert values["distorted"] == pytest.approx(1.0)

    def test_a_slice_of_all_frames_has_the_values_of_the_whole(self, run, answers, monkeypatch):
        monkeypatch.setattr(slicing, "SLICES", {"all": lambda _pair, _frame: True})
        rng = np.random.default_rng(0)
        result = run([replace(record, energy=record.energy + rng.normal()) for record in answers])
        for entry in result.slices[0].metrics:
            assert entry == result.metric(entry.key)

    def test_a_task_without_these_metrics_has_slices_without_metrics(self, run, answers, synthetic_task):
        raw = next(metric for metric in synthetic_task.metrics if metric.key == "energy_mae/raw")
        result = run(answers, task=replace(synthetic_task, metrics=(raw,), main=raw.key))
        assert all(part.metrics == () for part in result.slices)
