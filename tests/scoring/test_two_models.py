"""Two models predict the gap: the sum with the source label, what it cancels, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from xferbench.errors import PredictionsError
from xferbench.labels import Labels
from xferbench.records import Geometry, Prediction, Predictions
from xferbench.scoring import add_gap as sum_of
from xferbench.units import matrix_to_voigt


def exact(frame, *, frame_id=None, error=0.0):
    return Prediction(
        frame_id=frame_id or frame.frame_id,
        energy=frame.energy + error,
        forces=frame.forces + error,
        stress=frame.stress + error,
    )


def add_gap(target, source, pairs, **options):
    return sum_of(target, source, [Labels.of_pairs(pairs)], **options)


def predictions(records):
    return Predictions(records=records, settings={"model": "m"})


@pytest.fixture
def pairs(make_pairs):
    return make_pairs(n_materials=2)


class TestSum:
    def test_two_exact_models_give_the_r2scan_labels(self, pairs):
        summed = add_gap(
            predictions([exact(pair.target) for pair in pairs]),
            predictions([exact(pair.source) for pair in pairs]),
            pairs,
        )
        for record, pair in zip(summed.records, pairs, strict=True):
            assert record.frame_id == pair.target.frame_id
            assert record.energy == pytest.approx(pair.target.energy)
            assert record.forces == pytest.approx(pair.target.forces)
            assert record.stress == pytest.approx(pair.target.stress)

    def test_errors_that_both_models_share_cancel(self, pairs):
        summed = add_gap(
            predictions([exact(pair.target, error=0.3) for pair in pairs]),
            predictions([exact(pair.source, error=0.3) for pair in pairs]),
            pairs,
        )
        assert summed.records[0].energy == pytest.approx(pairs[0].target.energy)

    def test_one_model_for_both_predicts_no_gap_and_gives_the_gga_labels(self, pairs):
        same = predictions([exact(pair.target, error=0.7) for pair in pairs])
        summed = add_gap(same, same, pairs)
        assert summed.records[1].forces == pytest.approx(pairs[1].source.forces)

    def test_a_voigt_stress_is_understood(self, pairs):
        voigt = [replace(exact(pair.target), stress=matrix_to_voigt(pair.target.stress)) for pair in pairs]
        summed = add_gap(predictions(voigt), predictions([exact(pair.source) for pair in pairs]), pairs)
        assert summed.records[0].stress == pytest.approx(pairs[0].target.stress)

    def test_what_either_model_lacks_is_lacking(self, pairs):
        bare = predictions([replace(exact(pair.source), stress=None) for pair in pairs])
        summed = add_gap(predictions([exact(pair.target) for pair in pairs]), bare, pairs)
        assert summed.records[0].stress is None
        assert summed.records[0].forces is not None

    def test_a_failure_of_either_model_is_one_of_the_gap(self, pairs):
        failed = Prediction(frame_id=pairs[0].source.frame_id, error="no neighbours")
        good = [exact(pair.target) for pair in pairs]
        summed = add_gap(predictions(good), predictions([failed, *(exact(pair.source) for pair in pairs[1:])]), pairs)
        assert (summed.records[0].error, summed.records[0].energy) == ("no neighbours", None)
        assert summed.records[1].error is None

    def test_a_pair_without_gga_energy_has_no_gap(self, pairs):
        first = replace(pairs[0], source=replace(pairs[0].source, energy=None))
        same = predictions([exact(pairs[0].target)])
        assert add_gap(same, same, [first]).records[0].error == "the source label has no energy"

    def test_both_settings_are_kept(self, pairs):
        same = predictions([exact(pair.target) for pair in pairs])
        assert add_gap(same, same, pairs).settings == {"target": {"model": "m"}, "source": {"model": "m"}}


class TestRefusals:
    def test_structures_the_gga_model_lacks_are_named(self, pairs):
        with pytest.raises(PredictionsError, match=r"gga\.parquet: 5 frames .* without prediction; predict the same"):
            add_gap(
                predictions([exact(pair.target) for pair in pairs]),
                predictions([exact(pairs[0].source)]),
                pairs,
                where="gga.parquet",
            )

    def test_pairs_of_two_geometries_are_refused(self, pairs):
        other = replace(pairs[0], geometry=Geometry.SAME_MATERIAL)
        with pytest.raises(PredictionsError, match="without a common geometry"):
            add_gap(predictions([]), predictions([]), [other])

    def test_predictions_of_other_frames_are_left_out(self, pairs):
        foreign = Prediction(frame_id="elsewhere", energy=np.float64(1.0))
        assert add_gap(predictions([foreign]), predictions([]), pairs).records == []
