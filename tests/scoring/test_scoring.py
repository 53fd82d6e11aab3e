"""Predictions of known error, scored from end to end."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pyarrow.parquet as pq
import pytest

from xferbench import results
from xferbench.errors import CheckFailedError, IntegrityError, PredictionsError
from xferbench.functionals import Functional
from xferbench.measure import METRICS
from xferbench.records import Prediction, Predictions
from xferbench.scoring import expected_frames, read_predictions
from xferbench.tables import predictions_table
from xferbench.units import EV_PER_A3_IN_GPA

FACTS = results.ModelFacts(id="m", name="M", kind="model", functional=Functional("r2SCAN"))
OFFSETS = {"Li": -0.7, "O": 1.1, "Mg": -3.0, "Cl": -0.2}


@pytest.fixture
def test_ids(synthetic_task, synthetic_dataset):
    return {frame.frame_id for frame in expected_frames(synthetic_task, synthetic_dataset).test_frames}


def noisy(answers, size=0.01, seed=0):
    rng = np.random.default_rng(seed)
    return [
        replace(
            record,
            energy=record.energy + size * rng.normal(),
            forces=record.forces + size * rng.normal(size=record.forces.shape),
            stress=record.stress + size * rng.normal(size=(3, 3)),
            magmoms=record.magmoms + size * rng.normal(size=record.magmoms.shape),
        )
        for record in answers
    ]


class TestPerfectModel:
    """The labels with another zero of energy and flipped moments."""

    def test_everything_but_raw_energies_is_exact(self, run, answers):
        result = run(answers, facts=replace(FACTS, references=None))
        for entry in result.metrics:
            if entry.reference == "referenced":
                assert entry.value is None
            elif entry.reference == "raw":
                assert entry.value > 0.5
            elif entry.value is None:
                # synthetic stresses are those of the GGA: there is no stress gap
                assert entry.name in {"stress_gap_cosine", "stress_gap_ratio"}
            else:
                assert entry.value == pytest.approx(0.0 if entry.better == "lower" else 1.0, abs=1e-12), entry.key

    def test_its_zero_of_energy_is_found_element_by_element(self, run, answers):
        result = run(answers)
        assert result.alignment.elements == pytest.approx(OFFSETS, abs=1e-9)
        assert (result.alignment.rank, result.alignment.n_frames) == (4, 27)
        assert result.alignment.condition > 1
        assert result.alignment.not_estimable == ()

    def test_counts_and_coverage_are_full(self, run, answers):
        counts = run(answers).counts
        assert (counts.frames, counts.predicted, counts.failed) == (15, 15, 0)
        assert (counts.materials, counts.calibration_frames, counts.ignored, counts.limit) == (5, 27, 0, None)
        assert counts.errors == {}
        assert run(answers).coverage == 1.0

    def test_the_question_and_the_model_are_recorded(self, run, answers, synthetic_task, synthetic_dataset):
        facts = replace(FACTS, source_sha256="sha256:source")
        result = run(answers, facts=facts)
        assert result.task.key == "synthetic-static@1"
        assert result.dataset.fingerprint == synthetic_dataset.fingerprint
        assert result.task.digest == synthetic_task.digest
        assert result.model.declared_match
        assert result.predictions.digest == Predictions(records=answers, settings={}).digest()
        assert result.predictions.settings == {"model": "m"}
        assert result.main.key == synthetic_task.main

    def test_another_functional_is_a_mismatch_and_still_scored(self, run, answers):
        result = run(answers, facts=replace(FACTS, functional=Functional("PBE")))
        assert not result.model.declared_match
        assert result.main.value is not None


class TestHonesty:
    def test_a_model_that_follows_its_functional_has_no_notes(self, run, answers):
        result = run(answers)
        assert result.notes == ()
        assert not result.identity.declared_loses

    def test_labels_of_the_gga_under_the_name_of_r2scan_are_told(self, run, answers, synthetic_dataset):
        source = [
            replace(
                record,
                energy=record.energy + pair.source.energy - pair.target.energy,
                forces=pair.source.forces,
                stress=pair.source.stress,
            )
            for split in ("train", "test")
            for pair in synthetic_dataset.pairs(split)
            for record in answers
            if record.frame_id == pair.target.frame_id
        ]
        # synthetic forces differ by a factor and synthetic stresses not at all: only energies can tell
        result = run(source)
        assert {entry.quantity: entry.verdict for entry in result.identity.entries}["energy"] == "PBE(+U)"
        assert result.identity.declared_loses
        assert "the model declares r2SCAN, but its predictions follow the PBE(+U) labels" in result.notes[-1]

    def test_a_stress_in_gpa_is_told_and_scored_as_it_is(self, run, answers):
        wrong = [replace(record, stress=record.stress * EV_PER_A3_IN_GPA) for record in answers]
        result = run(wrong)
        assert result.notes == (
            "stress: predictions are 160 times the labels; it looks as if it is in GPa instead of eV/Å³",
        )
        assert result.metric("stress_mae").value > 0.1
        assert result.metric("force_mae").value == run(answers).metric("force_mae").value

    def test_floors_are_not_suspected(self, run, answers):
        flipped = [replace(record, forces=-record.forces) for record in answers]
        assert "gradients" in run(flipped).notes[0]
        assert run(flipped, facts=replace(FACTS, kind="floor")).notes == ()


class TestReferenced:
    def test_fitted_references_with_the_models_own_zero_give_the_aligned_error(self, run, answers):
        aligned = run(noisy(answers))
        label = aligned.references.label
        declared = {symbol: label[symbol] - OFFSETS[symbol] for symbol in label}
        result = run(answers, facts=replace(FACTS, references=declared))
        assert result.metric("energy_mae/referenced").value == pytest.approx(0.0, abs=1e-9)
        assert result.references.model == declared

    def test_whole_numbers_and_other_mappings_may_be_declared(self, run, answers):
        declared = MappingProxyType({"Li": -1, "O": -5, "Mg": -2, "Cl": -2})
        result = run(answers, facts=replace(FACTS, references=declared))
        assert results.from_json(json.loads(result.to_json()), "x").to_json() == result.to_json()


class TestDeterminism:
    def test_the_same_predictions_give_the_same_bytes(self, run, answers):
        assert run(noisy(answers)).to_json() == run(noisy(answers)).to_json()

    def test_the_order_of_predictions_is_irrelevant(self, run, answers):
        records = noisy(answers)
        assert run(records).to_json() == run(records[::-1]).to_json()

    def test_a_file_gives_the_same_bytes_as_the_predictions_it_holds(self, run, answers, tmp_path):
        records = noisy(answers)
        pq.write_table(predictions_table(Predictions(records=records, settings={"model": "m"})), tmp_path / "p.parquet")
        back = read_predictions(tmp_path / "p.parquet")
        assert run(back.records, settings=back.settings).to_json() == run(records).to_json()

    def test_a_result_survives_its_file(self, run, answers, tmp_path):
        result = run(noisy(answers))
        results.write(tmp_path / "r.json", result)
        assert results.read(tmp_path / "r.json") == result
        assert results.read(tmp_path / "r.json").to_json() == result.to_json()

    def test_no_number_of_the_file_is_rounded(self, run, answers):
        result = run(noisy(answers))
        data = json.loads(result.to_json())
        assert data["metrics"][0]["value"] == result.metrics[0].value


class TestFailures:
    def test_they_are_counted_by_message_and_left_out_of_the_values(self, run, answers, test_ids):
        records = noisy(answers)
        failed = sorted(test_ids)[:3]
        broken = [
            Prediction(frame_id=r.frame_id, error="slow" if r.frame_id == failed[0] else "wrong")
            if r.frame_id in failed
            else r
            for r in records
        ]
        result = run(broken)
        assert result.counts.errors == {"slow": 1, "wrong": 2}
        assert (result.counts.predicted, result.counts.failed) == (12, 3)
        assert result.coverage == 12 / 15
        assert (result.main.n_frames, result.main.n_missing) == (12, 3)

    def test_failed_calibration_frames_only_shrink_the_fit(self, run, answers, test_ids):
        victim = next(record.frame_id for record in answers if record.frame_id not in test_ids)
        broken = [
            Prediction(frame_id=record.frame_id, error="slow") if record.frame_id == victim else record
            for record in answers
        ]
        result = run(broken)
        assert result.counts.failed == 0
        assert result.alignment.n_frames == 26
        assert result.counts.calibration_frames == 27

    def test_nothing_predicted_is_a_failed_check_with_the_commonest_message(self, run, answers, test_ids):
        broken = [
            Prediction(frame_id=record.frame_id, error="no CUDA") if record.frame_id in test_ids else record
            for record in answers
        ]
        with pytest.raises(CheckFailedError, match=r"p\.parquet: none of the 15 test frames .*15 times: no CUDA"):
            run(broken, where="p.parquet")

    def test_missing_frames_are_refused_or_counted(self, run, answers, test_ids):
        fewer = [record for record in answers if record.frame_id != min(test_ids)]
        with pytest.raises(PredictionsError, match=r"1 frame .* without prediction"):
            run(fewer)
        assert run(fewer, allow_missing=True).counts.errors == {"no prediction": 1}

    def test_an_undetermined_test_frame_is_listed_and_counted(self, run, answers, test_ids, synthetic_dataset):
        lithium = {f.frame_id for f in synthetic_dataset.frames("target") if 3 in f.numbers.tolist()}
        broken = [
            Prediction(frame_id=record.frame_id, error="no lithium")
            if record.frame_id in lithium - test_ids
            else record
            for record in answers
        ]
        result = run(broken)
        assert set(result.alignment.not_estimable) == lithium & test_ids
        assert result.main.n_missing == len(lithium & test_ids)
        assert result.counts.failed == 0

    def test_the_wrong_data_set_is_refused(self, run, answers, synthetic_task):
        with pytest.raises(IntegrityError, match=r"about data with fingerprint sha256:other.*prepare data set"):
            run(answers, task=replace(synthetic_task, fingerprint="sha256:other"))


class TestSelection:
    def test_predictions_of_other_frames_are_counted_as_ignored(self, run, answers, synthetic_dataset):
        extra = [Prediction(frame_id=frame.frame_id, energy=1.0) for frame in synthetic_dataset.frames("source")]
        assert run([*answers, *extra]).counts.ignored == 42

    def test_a_limited_result_says_so(self, run, answers):
        result = run(noisy(answers), limit=4)
        assert (result.counts.frames, result.counts.limit, result.counts.ignored) == (4, 4, 11)
        assert result.main.n_frames == 4

    def test_a_gga_task_is_scored_on_gga_frames_without_gaps(self, run, synthetic_task, synthetic_dataset):
        task = replace(synthetic_task, side="source")
        records = [
            Prediction(frame_id=f.frame_id, energy=f.energy, forces=f.forces)
            for f in synthetic_dataset.frames("source")
        ]
        result = run(records, task=task)
        assert result.metric("energy_mae/raw").value == 0.0
        assert result.metric("force_mae").value == 0.0
        assert [entry.key for entry in result.metrics if "gap" in entry.key] == []
        assert not result.model.declared_match


def test_a_new_metric_is_a_function_and_a_line_of_the_table(run, answers, monkeypatch):
    """The one of docs/extending.md, with an oracle: a model whose stress is 0.01 eV/Å³ too large in each component."""
    page = (Path(__file__).parents[2] / "docs" / "extending.md").read_text()
    [code] = re.findall(r"```python\n(import numpy.*?SumMetric.*?)```", page, re.DOTALL)
    room = {}
    exec(code, room)  # noqa: S102 - our own page
    before = run(answers)
    monkeypatch.setitem(METRICS, "stress_bias", room["STRESS_BIAS"])
    shifted = [replace(record, stress=record.stress + 0.01) for record in answers]
    after = run(shifted)
    found = after.metric("stress_bias")
    assert found.value == pytest.approx(0.01)
    assert (found.n_frames, found.n_materials, found.version) == (15, 5, 1)
    assert found.ci_low == pytest.approx(found.ci_high)
    assert {entry.key for entry in after.metrics} - {entry.key for entry in before.metrics} == {"stress_bias"}
    assert results.from_json(json.loads(after.to_json()), "again") == after
