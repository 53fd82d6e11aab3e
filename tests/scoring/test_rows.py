"""Frames and predictions become rows: energies three ways and gaps, worked by hand on tiny structures."""

from __future__ import annotations

import numpy as np
import pytest

from xferbench.errors import DataError
from xferbench.metrics import METRICS
from xferbench.records import Frame, Functional, Geometry, Pair, Prediction
from xferbench.scoring import rows as rows_of
from xferbench.scoring.rows import Joined, composition_energies, energies, energy_rows, gap_rows

LI, OX, MG = 3, 8, 12


def frame(name: str, formula: tuple[int, ...], energy: float | None, functional=Functional.R2SCAN, **labels) -> Frame:
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
    return Joined(
        frames=[item for item, _ in items],
        predictions=[Prediction(frame_id=item.frame_id, energy=energy) for item, energy in items],
    )


CALIBRATION = joined(
    (frame("Li", (LI,), -2.0), -1.0),  # off by -1 eV/atom
    (frame("O2", (OX, OX), -10.0), -8.0),  # off by -1 eV/atom
)
TEST = joined(
    (frame("LiO", (LI, OX), -9.0), -6.4),  # -4.5 and -3.2 eV/atom; references say -3.5
    (frame("Li2O", (LI, LI, OX), -12.0), -9.3),  # -4.0 and -3.1 eV/atom; references say -3.0
)


def value(view, name="energy_mae"):
    return METRICS[name].value(energy_rows(view).sample)


class TestEnergies:
    def test_raw_is_prediction_minus_label_per_atom(self):
        assert value(energies(TEST, CALIBRATION, None).raw) == pytest.approx((1.3 + 0.9) / 2)

    def test_aligned_adds_the_offsets_of_the_calibration_frames(self):
        result = energies(TEST, CALIBRATION, None)
        assert result.offsets.energies == pytest.approx({"Li": -1.0, "O": -1.0})
        assert result.aligned.prediction == pytest.approx([-4.2, -4.1])
        assert value(result.aligned) == pytest.approx((0.3 + 0.1) / 2)

    def test_test_labels_do_not_enter_the_offsets(self):
        moved = joined(*((frame("LiO", (LI, OX), -99.0), -6.4), (TEST.frames[1], -9.3)))
        assert energies(moved, CALIBRATION, None).offsets.energies == energies(TEST, CALIBRATION, None).offsets.energies

    def test_referenced_removes_declared_references_from_one_side_and_fitted_ones_from_the_other(self):
        declared = {"Li": -0.5, "O": -3.5, "He": 7.0}
        result = energies(TEST, CALIBRATION, declared)
        assert result.label_references.energies == pytest.approx({"Li": -2.0, "O": -5.0})
        assert result.referenced.prediction == pytest.approx([-3.2 + 2.0, -3.1 + 1.5])
        assert result.referenced.label == pytest.approx([-4.5 + 3.5, -4.0 + 3.0])
        assert value(result.referenced) == pytest.approx((0.2 + 0.6) / 2)

    def test_a_model_without_references_has_no_referenced_energy(self):
        rows = energy_rows(energies(TEST, CALIBRATION, None).referenced)
        assert rows == (None, 2, "the model declares no elemental references")

    def test_a_lacking_reference_is_named(self):
        rows = energy_rows(energies(TEST, CALIBRATION, {"Li": 1.0}).referenced)
        assert rows == (None, 2, "the model declares no elemental reference for O")

    def test_a_zero_among_declared_references_of_electronvolts_is_named(self):
        rows = energy_rows(energies(TEST, CALIBRATION, {"Li": -3.3, "O": 5.6e-14, "Th": -70.0}).referenced)
        assert rows.sample is None
        assert rows.reason.startswith("elemental references that the model declares cannot be: O is 5.6e-14 eV/atom")

    def test_one_of_an_element_that_no_test_frame_has_does_no_harm(self):
        declared = {"Li": -3.3, "O": -7.2, "Th": -70.0}
        with_zero = energies(TEST, CALIBRATION, {**declared, "Yb": 0.0}).referenced
        assert value(with_zero) == value(energies(TEST, CALIBRATION, declared).referenced)

    def test_an_element_the_calibration_lacks_is_left_out_and_counted(self):
        test = joined(*zip(TEST.frames, (-6.4, -9.3), strict=True), (frame("MgO", (MG, OX), -8.0), -8.0))
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
        calibration = joined(*zip(CALIBRATION.frames, (-1.0, -8.0), strict=True), (frame("Li3", (LI,), -2.0), None))
        result = energies(TEST, calibration, None)
        assert result.offsets.n_frames == 2
        assert result.label_references.n_frames == 3

    def test_no_calibration_prediction_leaves_no_aligned_energy(self):
        calibration = joined(*((item, None) for item in CALIBRATION.frames))
        result = energies(TEST, calibration, None)
        assert result.offsets is None
        assert energy_rows(result.aligned) == (None, 2, "no calibration frame has an energy prediction")

    def test_no_determined_composition_is_a_reason(self):
        test = joined((frame("Mg", (MG,), -1.0), -1.0))
        rows = energy_rows(energies(test, CALIBRATION, None).aligned)
        assert rows == (None, 1, "no test composition is determined by the calibration frames")

    def test_a_model_without_energies_says_so_every_way(self):
        test = joined(*((item, None) for item in TEST.frames))
        result = energies(test, CALIBRATION, {"Li": 0.0, "O": 0.0})
        for view in (result.raw, result.referenced, result.aligned):
            assert energy_rows(view) == (None, 2, "the model predicts no energy")

    def test_frames_without_label_count_nowhere(self):
        test = joined(*zip(TEST.frames, (-6.4, -9.3), strict=True), (frame("x", (LI,), None), -1.0))
        rows = energy_rows(energies(test, CALIBRATION, None).raw)
        assert rows.n_labels == 2
        assert rows.sample.used.tolist() == [True, True, False]

    def test_no_labels_at_all_are_a_reason(self):
        rows = energy_rows(energies(joined((frame("x", (LI,), None), -1.0)), CALIBRATION, None).raw)
        assert rows == (None, 0, "the test frames have no energy labels")

    def test_calibration_frames_without_energies_are_an_error(self):
        with pytest.raises(DataError, match="0 structures"):
            energies(TEST, joined((frame("x", (LI,), None), 1.0)), None)

    def test_composition_energies_are_those_of_the_fit_where_it_determines_them(self):
        fitted = energies(TEST, CALIBRATION, None).label_references
        found = composition_energies(fitted, [np.array([LI]), np.array([MG]), np.array([LI, OX, OX, OX])])
        assert found == pytest.approx([-2.0, np.nan, -4.25], nan_ok=True)


def pair(name: str, formula: tuple[int, ...], gga: float, r2scan: float) -> Pair:
    return Pair(
        gga=frame(name, formula, gga, Functional.PBE),
        r2scan=frame(name, formula, r2scan),
        geometry=Geometry.SAME_GEOMETRY,
    )


class TestGap:
    CALIBRATION = (pair("Li", (LI,), -1.9, -2.4), pair("O", (OX, OX), -9.8, -11.4))  # shifts -0.5 and -0.8 eV/atom
    PAIRS = (pair("LiO", (LI, OX), -8.0, -9.4), pair("Li2O", (LI, LI, OX), -12.0, -13.5))  # gaps -0.7, -0.5 eV/atom

    def rows(self, predictions, calibration_predictions):
        test = joined(*((item.r2scan, value) for item, value in zip(self.PAIRS, predictions, strict=True)))
        calibration = joined(
            *((item.r2scan, value) for item, value in zip(self.CALIBRATION, calibration_predictions, strict=True))
        )
        aligned = energies(test, calibration, None).aligned
        return gap_rows(aligned, test, self.PAIRS, self.CALIBRATION), aligned

    def test_gaps_and_the_elemental_shift_are_those_worked_by_hand(self):
        rows, _ = self.rows([-9.4, -13.5], [-2.4, -11.4])
        assert rows.sample.label[:, 0] == pytest.approx([-0.7, -0.5])
        assert rows.sample.prediction[:, 0] == pytest.approx([-0.7, -0.5])
        assert rows.sample.baseline[:, 0] == pytest.approx([-0.65, -0.6])
        assert METRICS["gap_explained"].value(rows.sample) == 1.0

    def test_copying_the_gga_label_explains_exactly_nothing(self):
        rows, _ = self.rows([-8.0, -12.0], [-1.9, -9.8])
        assert METRICS["gap_explained"].value(rows.sample) == 0.0
        assert METRICS["gap_mae"].value(rows.sample) == pytest.approx((0.05 + 0.1) / 2)

    def test_half_the_residual_explains_three_quarters_of_its_square(self):
        rows, _ = self.rows([-9.4 + 0.05, -13.5 - 0.15], [-2.4, -11.4])
        assert METRICS["gap_explained"].value(rows.sample) == pytest.approx(0.75)

    def test_with_one_model_the_gap_error_is_the_aligned_energy_error(self):
        rows, aligned = self.rows([-9.1, -13.9], [-2.3, -11.9])
        assert METRICS["gap_mae"].value(rows.sample) == pytest.approx(value(aligned), rel=1e-12)

    def test_order_of_pairs_is_irrelevant(self):
        test = joined(*((item.r2scan, item.r2scan.energy) for item in self.PAIRS))
        calibration = joined(*((item.r2scan, item.r2scan.energy) for item in self.CALIBRATION))
        aligned = energies(test, calibration, None).aligned
        rows = gap_rows(aligned, test, self.PAIRS[::-1], self.CALIBRATION[::-1])
        assert rows.sample.label[:, 0] == pytest.approx([-0.7, -0.5])
        assert rows.sample.baseline[:, 0] == pytest.approx([-0.65, -0.6])

    def test_the_cells_of_a_pair_may_differ_in_size(self):
        supercell = Pair(
            gga=frame("LiO", (LI, OX) * 2, -16.0, Functional.PBE),
            r2scan=self.PAIRS[0].r2scan,
            geometry=Geometry.SAME_MATERIAL,
        )
        test = joined((supercell.r2scan, -9.4))
        calibration = joined(*((item.r2scan, item.r2scan.energy) for item in self.CALIBRATION))
        rows = gap_rows(energies(test, calibration, None).aligned, test, [supercell], self.CALIBRATION)
        assert rows.sample.label[:, 0] == pytest.approx([-0.7])


class TestArrays:
    def both(self, formula, label, prediction, name):
        item = frame("x", formula, -1.0, **{name: label})
        return Joined(frames=[item], predictions=[Prediction(frame_id=item.frame_id, **{name: prediction})])

    def test_forces_have_a_row_per_atom(self):
        sample = rows_of.force_rows(self.both((LI, OX), np.zeros((2, 3)), np.ones((2, 3)), "forces")).sample
        assert sample.prediction.shape == (2, 3)
        assert sample.frame.tolist() == [0, 0]

    def test_stress_has_a_row_of_nine_per_frame(self):
        sample = rows_of.stress_rows(self.both((LI, OX), np.eye(3), np.arange(9.0).reshape(3, 3), "stress")).sample
        assert sample.prediction.tolist() == [list(range(9))]
        assert sample.label.tolist() == [[1, 0, 0, 0, 1, 0, 0, 0, 1]]

    def test_moments_are_compared_without_their_sign(self):
        sample = rows_of.magmom_rows(
            self.both((LI, OX), np.array([-2.0, 1.0]), np.array([2.0, -1.5]), "magmoms")
        ).sample
        assert sample.label.tolist() == [[2], [1]]
        assert sample.prediction.tolist() == [[2], [1.5]]

    def test_a_quantity_without_labels_is_a_reason(self):
        rows = rows_of.stress_rows(self.both((LI,), None, np.eye(3), "stress"))
        assert rows == (None, 0, "the test frames have no stress")

    def test_a_quantity_without_predictions_is_a_reason_and_counts_as_missing(self):
        rows = rows_of.magmom_rows(self.both((LI,), np.ones(1), None, "magmoms"))
        assert rows == (None, 1, "the model predicts no magmoms")

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
        rows = rows_of.force_rows(Joined(frames=frames, predictions=predictions))
        assert rows.n_labels == 2
        assert rows.sample.frame.tolist() == [2, 2]
        assert rows.sample.n_frames == 3


def test_symbols_follow_the_periodic_table():
    assert rows_of.symbols([1, 26, 118]) == ["H", "Fe", "Og"]
