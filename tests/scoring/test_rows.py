"""Frames and predictions become rows: energies three ways and gaps, worked by hand on tiny structures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from xferbench.errors import DataError
from xferbench.functionals import Functional
from xferbench.labels import Labels, Ragged, Values
from xferbench.measure import METRICS
from xferbench.records import Frame, FramePair, Geometry, Prediction, Predictions
from xferbench.tasks import Bootstrap
from xferbench.tasks import rows as rows_of
from xferbench.tasks.rows import Joined, array_rows, energy_rows, gap_rows, magmom_rows
from xferbench.tasks.rows import energies as energies_of
from xferbench.tasks.static import STATIC

LI, OX, MG = 3, 8, 12
PLAN = Bootstrap(n=100, seed=0, confidence=0.95)


def joined_of(frames, predictions, pairs=None, side="target") -> Joined:
    """Frames, their predictions, and pairs they belong to: with themselves, if not given."""
    pairs = pairs or [FramePair(source=item, target=item, geometry=Geometry.SAME_GEOMETRY) for item in frames]
    return Joined(labels=Labels.of_pairs(pairs), side=side, predicted=Values.of(predictions))


def told(rows):
    return rows.sample, rows.n_labels, rows.reason


def energies(test, calibration, declared):
    return energies_of(test, calibration, declared, PLAN)


def symbols_of(result, offsets):
    return result.calibrated.energies(offsets)


def frame(
    name: str, formula: tuple[int, ...], energy: float | None, functional=Functional("r2SCAN"), **labels
) -> Frame:
    return Frame(
        frame_id=f"{name}-{functional}",
        pair_id=name,
        material_id=name,
        functional=functional,
        numbers=np.array(formula),
        positions=np.zeros((len(formula), 3)),
        cell=np.eye(3),
        energy=energy,
        **labels,
    )


def joined(*items: tuple[Frame, float | None]) -> Joined:
    return joined_of(
        [item for item, _ in items],
        [Prediction(frame_id=item.frame_id, energy=energy) for item, energy in items],
    )


CALIBRATION = joined(
    (frame("Li", (LI,), -2.0), -1.0),  # off by -1 eV/atom
    (frame("O2", (OX, OX), -10.0), -8.0),  # off by -1 eV/atom
)
TEST = joined(
    (frame("LiO", (LI, OX), -9.0), -6.4),  # -4.5 and -3.2 eV/atom; references say -3.5
    (frame("Li2O", (LI, LI, OX), -12.0), -9.3),  # -4.0 and -3.1 eV/atom; references say -3.0
)

FRAMES = [pair.target for _, pair in sorted(TEST.labels.structures.items())]
CALIBRATION_FRAMES = [pair.target for _, pair in sorted(CALIBRATION.labels.structures.items())]


def value(view, name="energy_mae"):
    return METRICS[name].value(energy_rows(view).sample)


class TestEnergies:
    def test_raw_is_prediction_minus_label_per_atom(self):
        assert value(energies(TEST, CALIBRATION, None).raw) == pytest.approx((1.3 + 0.9) / 2)

    def test_aligned_adds_the_offsets_of_the_calibration_frames(self):
        result = energies(TEST, CALIBRATION, None)
        assert symbols_of(result, result.offsets) == pytest.approx({"Li": -1.0, "O": -1.0})
        assert result.aligned.prediction == pytest.approx([-4.2, -4.1])
        assert value(result.aligned) == pytest.approx((0.3 + 0.1) / 2)

    def test_test_labels_do_not_enter_the_offsets(self):
        moved = joined(*((frame("LiO", (LI, OX), -99.0), -6.4), (FRAMES[1], -9.3)))
        found = [energies(test, CALIBRATION, None).offsets.energies for test in (moved, TEST)]
        assert (found[0] == found[1]).all()

    def test_referenced_removes_declared_references_from_one_side_and_fitted_ones_from_the_other(self):
        declared = {"Li": -0.5, "O": -3.5, "He": 7.0}
        result = energies(TEST, CALIBRATION, declared)
        assert symbols_of(result, result.label_references) == pytest.approx({"Li": -2.0, "O": -5.0})
        assert result.referenced.prediction == pytest.approx([-3.2 + 2.0, -3.1 + 1.5])
        assert result.referenced.label == pytest.approx([-4.5 + 3.5, -4.0 + 3.0])
        assert value(result.referenced) == pytest.approx((0.2 + 0.6) / 2)

    def test_a_model_without_references_has_no_referenced_energy(self):
        rows = energy_rows(energies(TEST, CALIBRATION, None).referenced)
        assert told(rows) == (None, 2, "the model declares no elemental references")

    def test_a_lacking_reference_is_named(self):
        rows = energy_rows(energies(TEST, CALIBRATION, {"Li": 1.0}).referenced)
        assert told(rows) == (None, 2, "the model declares no elemental reference for O")

    def test_a_zero_among_declared_references_of_electronvolts_is_named(self):
        rows = energy_rows(energies(TEST, CALIBRATION, {"Li": -3.3, "O": 5.6e-14, "Th": -70.0}).referenced)
        assert rows.sample is None
        assert rows.reason.startswith("elemental references that the model declares cannot be: O is 5.6e-14 eV/atom")

    def test_one_of_an_element_that_no_test_frame_has_does_no_harm(self):
        declared = {"Li": -3.3, "O": -7.2, "Th": -70.0}
        with_zero = energies(TEST, CALIBRATION, {**declared, "Yb": 0.0}).referenced
        assert value(with_zero) == value(energies(TEST, CALIBRATION, declared).referenced)

    def test_an_element_the_calibration_lacks_is_left_out_and_counted(self):
        test = joined(*zip(FRAMES, (-6.4, -9.3), strict=True), (frame("MgO", (MG, OX), -8.0), -8.0))
        result = energies(test, CALIBRATION, {"Li": 0.0, "O": 0.0, "Mg": 0.0})
        assert result.estimable.tolist() == [True, True, False]
        for view in (result.aligned, result.referenced):
            rows = energy_rows(view)
            assert rows.sample.used.tolist() == [True, True, False]
            assert rows.n_labels == 3
        assert energy_rows(result.raw).sample.used.all()

    def test_elements_that_only_occur_in_one_ratio_determine_that_ratio_only(self):
        calibration = joined((frame("c1", (LI, OX), -9.0), -8.0), (frame("c2", (OX, LI), -9.0), -8.4))
        result = energies(TEST, calibration, None)
        assert result.estimable.tolist() == [True, False]
        assert result.offsets.rank == 1
        assert result.aligned.prediction[0] == pytest.approx(-3.2 - 0.4)

    def test_failed_calibration_frames_are_left_out_of_the_fit(self):
        calibration = joined(*zip(CALIBRATION_FRAMES, (-1.0, -8.0), strict=True), (frame("Li3", (LI,), -2.0), None))
        result = energies(TEST, calibration, None)
        assert result.offsets.n_frames == 2
        assert result.label_references.n_frames == 3

    def test_no_calibration_prediction_leaves_no_aligned_energy(self):
        calibration = joined(*((item, None) for item in CALIBRATION_FRAMES))
        result = energies(TEST, calibration, None)
        assert result.offsets is None
        assert told(energy_rows(result.aligned)) == (None, 2, "no calibration frame has an energy prediction")

    def test_no_determined_composition_is_a_reason(self):
        test = joined((frame("Mg", (MG,), -1.0), -1.0))
        rows = energy_rows(energies(test, CALIBRATION, None).aligned)
        assert told(rows) == (None, 1, "no test composition is determined by the calibration frames")

    def test_a_model_without_energies_says_so_every_way(self):
        test = joined(*((item, None) for item in FRAMES))
        result = energies(test, CALIBRATION, {"Li": 0.0, "O": 0.0})
        for view in (result.raw, result.referenced, result.aligned):
            assert told(energy_rows(view)) == (None, 2, "the model predicts no energy")

    def test_frames_without_label_count_nowhere(self):
        test = joined(*zip(FRAMES, (-6.4, -9.3), strict=True), (frame("x", (LI,), None), -1.0))
        rows = energy_rows(energies(test, CALIBRATION, None).raw)
        assert rows.n_labels == 2
        assert rows.sample.used.tolist() == [True, True, False]

    def test_no_labels_at_all_are_a_reason(self):
        rows = energy_rows(energies(joined((frame("x", (LI,), None), -1.0)), CALIBRATION, None).raw)
        assert told(rows) == (None, 0, "the test frames have no energy labels")

    def test_calibration_frames_without_energies_are_an_error(self):
        with pytest.raises(DataError, match="none of 1 calibration frames has an energy label"):
            energies(TEST, joined((frame("x", (LI,), None), 1.0)), None)


def pair(name: str, formula: tuple[int, ...], source: float, target: float) -> FramePair:
    return FramePair(
        source=frame(name, formula, source, Functional("PBE")),
        target=frame(name, formula, target),
        geometry=Geometry.SAME_GEOMETRY,
    )


class TestGap:
    CALIBRATION = (pair("Li", (LI,), -1.9, -2.4), pair("O", (OX, OX), -9.8, -11.4))  # shifts -0.5 and -0.8 eV/atom
    PAIRS = (pair("LiO", (LI, OX), -8.0, -9.4), pair("Li2O", (LI, LI, OX), -12.0, -13.5))  # gaps -0.7, -0.5 eV/atom

    def rows(self, predictions, calibration_predictions):
        test, calibration = (
            joined_of(
                [item.target for item in pairs],
                [Prediction(frame_id=item.pair_id, energy=value) for item, value in zip(pairs, values, strict=True)],
                pairs,
            )
            for pairs, values in ((self.PAIRS, predictions), (self.CALIBRATION, calibration_predictions))
        )
        found = energies(test, calibration, None)
        return gap_rows(test, found), found.aligned

    def test_gaps_and_the_elemental_shift_are_those_worked_by_hand(self):
        rows, _ = self.rows([-9.4, -13.5], [-2.4, -11.4])
        assert rows.sample.label[:, 0] == pytest.approx([-0.7, -0.5])
        assert rows.sample.prediction[:, 0] == pytest.approx([-0.7, -0.5])
        assert rows.sample.baseline[:, 0] == pytest.approx([-0.65, -0.6])
        assert METRICS["gap_explained"].value(rows.sample) == 1.0

    def test_copying_the_gga_label_explains_exactly_nothing(self):
        rows, _ = self.rows([-8.0, -12.0], [-1.9, -9.8])
        assert METRICS["gap_explained"].value(rows.sample) == pytest.approx(0, abs=1e-12)
        assert METRICS["gap_mae"].value(rows.sample) == pytest.approx((0.05 + 0.1) / 2)

    def test_half_the_residual_explains_three_quarters_of_its_square(self):
        rows, _ = self.rows([-9.4 + 0.05, -13.5 - 0.15], [-2.4, -11.4])
        assert METRICS["gap_explained"].value(rows.sample) == pytest.approx(0.75)

    def test_with_one_model_the_gap_error_is_the_aligned_energy_error(self):
        rows, aligned = self.rows([-9.1, -13.9], [-2.3, -11.9])
        assert METRICS["gap_mae"].value(rows.sample) == pytest.approx(value(aligned), rel=1e-12)

    def test_the_cells_of_a_pair_may_differ_in_size(self):
        supercell = FramePair(
            source=frame("LiO", (LI, OX) * 2, -16.0, Functional("PBE")),
            target=self.PAIRS[0].target,
            geometry=Geometry.SAME_MATERIAL,
        )
        test = joined_of([supercell.target], [Prediction(frame_id="x", energy=-9.4)], [supercell])
        frames = [item.target for item in self.CALIBRATION]
        calibration = joined_of(
            frames, [Prediction(frame_id="x", energy=item.energy) for item in frames], list(self.CALIBRATION)
        )
        rows = gap_rows(test, energies(test, calibration, None))
        assert rows.sample.label[:, 0] == pytest.approx([-0.7])


class TestArrays:
    def both(self, formula, label, prediction, name):
        item = frame("x", formula, -1.0, **{name: label})
        test = joined_of([item], [Prediction(frame_id=item.frame_id, **{name: prediction})])
        return getattr(test.own.values, name), getattr(test.predicted, name)

    def test_forces_have_a_row_per_atom(self):
        sample = array_rows(*self.both((LI, OX), np.zeros((2, 3)), np.ones((2, 3)), "forces"), "forces").sample
        assert sample.prediction.shape == (2, 3)
        assert sample.frame.tolist() == [0, 0]

    def test_stress_has_a_row_of_nine_per_frame(self):
        sample = array_rows(*self.both((LI, OX), np.eye(3), np.arange(9.0).reshape(3, 3), "stress"), "stress").sample
        assert sample.prediction.tolist() == [list(range(9))]
        assert sample.label.tolist() == [[1, 0, 0, 0, 1, 0, 0, 0, 1]]

    def test_moments_are_compared_without_their_sign(self):
        sample = magmom_rows(*self.both((LI, OX), np.array([-2.0, 1.0]), np.array([2.0, -1.5]), "magmoms")).sample
        assert sample.label.tolist() == [[2], [1]]
        assert sample.prediction.tolist() == [[2], [1.5]]

    def test_a_quantity_without_labels_is_a_reason(self):
        rows = array_rows(*self.both((LI,), None, np.eye(3), "stress"), "stress")
        assert told(rows) == (None, 0, "the test frames have no stress")

    def test_a_quantity_without_predictions_is_a_reason_and_counts_as_missing(self):
        rows = magmom_rows(*self.both((LI,), np.ones(1), None, "magmoms"))
        assert told(rows) == (None, 1, "the model predicts no magmoms")

    def test_frames_lacking_either_side_have_no_rows(self):
        frames = [
            frame("a", (LI,), -1.0, forces=np.zeros((1, 3))),
            frame("b", (LI, OX), -1.0),
            frame("c", (LI, OX), -1.0, forces=np.zeros((2, 3))),
        ]
        predictions = [
            Prediction(frame_id="a", error="failed"),
            Prediction(frame_id="b", forces=np.zeros((2, 3))),
            Prediction(frame_id="c", forces=np.ones((2, 3))),
        ]
        test = joined_of(frames, predictions)
        rows = array_rows(test.own.values.forces, test.predicted.forces, "forces")
        assert rows.n_labels == 2
        assert rows.sample.frame.tolist() == [2, 2]
        assert rows.sample.n_frames == 3


def test_symbols_follow_the_periodic_table():
    assert rows_of.symbols([1, 26, 118]) == ["H", "Fe", "Og"]


@pytest.mark.parametrize("n", [1, 3])
def test_compositions_have_keys_that_do_not_know_the_size_of_the_cell(n):
    numbers = Ragged.of(
        [np.array(f * n) for f in ((LI, OX), (OX, LI, LI, OX), (LI, LI, OX), (LI,), (OX,))], None, np.int64
    )
    keys = rows_of.composition_keys(numbers)
    assert keys[0] == keys[1]
    assert len(set(keys.tolist())) == 4
    alone = rows_of.composition_keys(Ragged.of([np.array([OX, LI])], None, np.int64))
    assert alone[0] == keys[0]


def test_every_metric_with_every_reference_finds_its_rows(synthetic_dataset, synthetic_task, answers):
    from xferbench.scoring import check, expected_frames

    for side in ("target", "source"):
        task = replace(synthetic_task, side=side)
        expected = expected_frames(task, synthetic_dataset)
        records = (
            answers if side == "target" else [Prediction(frame_id=f.frame_id, energy=f.energy) for f in expected.frames]
        )
        checked = check(Predictions(records=records, settings={}), expected)
        test, calibration = (
            Joined(labels=labels, side=side, predicted=answer.values)
            for labels, answer in ((expected.test, checked.test), (expected.calibration, checked.calibration))
        )
        rows = STATIC.rows(test, energies(test, calibration, None))
        for metric in METRICS.values():
            for reference in metric.references:
                found = rows[metric.quantity, reference]
                if side == "target" or "gap" not in metric.quantity:
                    assert found.n_labels > 0, metric.name
                else:
                    assert told(found) == (None, 0, "gaps are scored on target tasks")


class TestFree:
    """Components that symmetry holds at zero count for nothing, in errors, norms and products alike."""

    def of(self, free):
        label = Ragged.of([np.array([[0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]), np.zeros((1, 3))], 3)
        predicted = Ragged.of([np.array([[0.3, 0.0, 1.5], [0.2, 0.0, 0.0]]), np.full((1, 3), 9.0)], 3)
        return array_rows(
            label, predicted, "forces", free and Ragged.of([np.array(item) for item in free], 3, np.bool_)
        )

    def test_by_hand(self):
        """One free component of nine, wrong by 0.5; plain, the errors are 0.3, 0.5, 0.2 and three nines."""
        rows = self.of([[[False, False, True], [False] * 3], [[False] * 3]])
        value = {
            name: METRICS[name].value(rows.sample)
            for name in ("force_mae", "force_rmse", "force_slope", "force_error_max")
        }
        assert value == pytest.approx({"force_mae": 0.5, "force_rmse": 0.5, "force_slope": 1.5, "force_error_max": 0.5})
        assert METRICS["force_mae"].value(self.of(None).sample) == pytest.approx(28 / 9)
        assert rows.sample.n_used == 1
        assert rows.n_labels == 1, "the second frame has nothing to miss"

    def test_nothing_free_is_a_reason(self):
        rows = self.of([[[False] * 3] * 2, [[False] * 3]])
        assert told(rows) == (None, 0, "symmetry holds all forces at zero")
