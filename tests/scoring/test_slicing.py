"""Which frames belong to a slice, and that a slice is measured like the whole."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from xferbench.audit import audit
from xferbench.functionals import Functional
from xferbench.labels import Labels
from xferbench.results import from_json
from xferbench.scoring import Audited, expected_frames, slicing
from xferbench.scoring.slicing import SLICES
from xferbench.tasks import PairRule


@pytest.fixture
def pair(make_pairs):
    return make_pairs(n_materials=1)[1]


def members(pair, **labels):
    """Names of the slices of the target frame, its labels changed."""
    changed = replace(pair, target=replace(pair.target, **labels))
    return {name for name, belongs in SLICES.items() if belongs(Labels.of_pairs([changed]), "target")[0]}


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
        spins = replace(pair, source=replace(pair.source, magmoms=np.array([1.0, 1.0])))
        assert "moments-differ" not in members(spins, magmoms=np.array([-1.0, -1.0]))
        assert "moments-differ" in members(spins, magmoms=np.array([-1.0, 1.0]))
        assert "moments-differ" not in members(spins, magmoms=None)

    def test_plus_u_is_that_of_the_gga_side(self, pair):
        assert "hubbard-u" not in members(pair)
        assert "hubbard-u" in members(replace(pair, source=replace(pair.source, functional=Functional("PBE+U"))))


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
        labels = Labels.of_pairs(synthetic_dataset.pairs())
        off = dict(zip(labels.target.frame_id, slicing.distorted(labels, "target"), strict=True))
        worse = [replace(record, stress=record.stress + off[record.frame_id]) for record in answers]
        values = {
            part.name: entry.value for part in run(worse).slices for entry in part.metrics if entry.key == "stress_mae"
        }
        assert values["at-rest"] == 0.0
        assert values["distorted"] == pytest.approx(1.0)

    def test_a_slice_of_all_frames_has_the_values_of_the_whole(self, run, answers, monkeypatch):
        monkeypatch.setattr(slicing, "SLICES", {"all": lambda labels, _side: np.ones(len(labels), dtype=bool)})
        rng = np.random.default_rng(0)
        result = run([replace(record, energy=record.energy + rng.normal()) for record in answers])
        for entry in result.slices[0].metrics:
            assert entry == result.metric(entry.key)

    def test_a_task_without_these_metrics_has_slices_without_metrics(self, run, answers, synthetic_task):
        result = run(answers, task=replace(synthetic_task, exclude=slicing.SLICED, main="energy_mae/raw"))
        assert all(part.metrics == () for part in result.slices)


class TestFlags:
    @pytest.fixture
    def result(self, synthetic_task, peculiar, run, answer_to):
        """``result(*excluded flags)`` of a model that says what the labels say."""

        def make(*flags):
            task = replace(synthetic_task, fingerprint=peculiar.fingerprint, pairs=PairRule(exclude=flags))
            records = [answer_to(frame) for frame in expected_frames(task, peculiar).frames]
            return run(records, task=task, dataset=peculiar)

        return make

    def test_slices_of_flags_have_as_many_frames_as_the_manifest_has_pairs(self, result, peculiar):
        found = {part.name: part.n_frames for part in result().slices if part.name.startswith("flag:")}
        stated = peculiar.manifest["hygiene"]["test"]["flags"]
        assert found == {
            f"flag:{flag}": n for flag, n in sorted(stated.items()) if n and not flag.startswith("missing_")
        }
        assert found == {"flag:corrected": 1, "flag:hubbard_u": 2, "flag:moments_differ": 1}
        assert result().excluded is None

    def test_what_is_excluded_is_counted_and_in_no_slice(self, result):
        made = result("hubbard_u", "moments_differ", "isolated_atom")
        assert made.excluded.pairs == 2
        assert made.excluded.flags == {"hubbard_u": 2, "moments_differ": 1, "isolated_atom": 0}
        assert made.counts.frames == 13
        assert [part.name for part in made.slices if part.name.startswith("flag:")] == ["flag:corrected"]
        assert {part.name: part.n_frames for part in made.slices}["hubbard-u"] == 0
        assert from_json(json.loads(made.to_json()), "r.json") == made
        assert "excluded" not in json.loads(result().to_json())

    def test_predictions_of_excluded_frames_are_ignored_and_counted(self, synthetic_task, peculiar, run, answer_to):
        task = replace(synthetic_task, fingerprint=peculiar.fingerprint, pairs=PairRule(exclude=("hubbard_u",)))
        everything = [answer_to(frame) for frame in peculiar.frames("target")]
        made = run(everything, task=task, dataset=peculiar)
        assert made.counts.ignored == len(everything) - 13 - 27


def test_regimes_are_slices_of_an_audited_result(run, answers, synthetic_dataset, tmp_path):
    (tmp_path / "train.txt").write_text("3-17\nLi\nMgO\n")
    made = audit(synthetic_dataset, tmp_path / "train.txt")
    result = run(answers, audited=Audited(audit=made, sha256="sha256:" + "1" * 64, where="a.json"))
    found = {part.name: part.n_frames for part in result.overlap.slices}
    assert found == {name: n for name, n in made.regimes.items() if n}
    assert len(found) > 1
    assert all(entry.n_frames <= part.n_frames for part in result.overlap.slices for entry in part.metrics)
    assert run(answers).overlap is None
