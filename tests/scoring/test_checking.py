"""Every reason why predictions cannot be scored, and what the message says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from xferbench.errors import DataError, PredictionsError, UsageError
from xferbench.records import Frame, Functional, Prediction, Predictions
from xferbench.scoring import checking
from xferbench.scoring.checking import NO_PREDICTION, Expected, check, expected_frames
from xferbench.tasks import PairRule
from xferbench.units import voigt_to_matrix

ELEMENTS = {3: -1.9, 8: -4.9}


def frame(name: str, formula: tuple[int, ...], energy: float | None = None) -> Frame:
    n = len(formula)
    return Frame(
        frame_id=name,
        pair_id=name,
        material_id=name,
        functional=Functional.R2SCAN,
        numbers=np.array(formula),
        positions=np.zeros((n, 3)),
        cell=np.eye(3),
        energy=sum(ELEMENTS[z] for z in formula) if energy is None else energy,
    )


FRAMES = [frame("a", (3,)), frame("b", (3, 8)), frame("c", (8, 8, 3)), frame("d", (3, 3, 3, 8))]
EXPECTED = Expected(test=FRAMES[:2], calibration=FRAMES[2:])
KNOWN = ["a", "b", "c", "d", "other"]
GOOD = [Prediction(frame_id=item.frame_id, energy=item.energy) for item in FRAMES]


def checked(records, *, expected=EXPECTED, settings=None, **options):
    return check(Predictions(records=records, settings=settings or {}), expected, KNOWN, **options)


def with_first(**changes):
    return [replace(GOOD[0], **changes), *GOOD[1:]]


class TestIds:
    def test_complete_predictions_pass(self):
        result = checked(GOOD)
        assert set(result.records) == set("abcd")
        assert result.ignored == 0

    def test_the_order_is_irrelevant(self):
        assert checked(GOOD[::-1]).records.keys() == checked(GOOD).records.keys()

    def test_missing_ids_are_counted_and_named(self):
        with pytest.raises(
            PredictionsError,
            match=r"3 frames \(a, b, c\) of 4 without prediction: the scored split and the calibration",
        ):
            checked(GOOD[3:])

    def test_a_missing_calibration_frame_is_missing_too(self):
        with pytest.raises(PredictionsError, match=r"1 frame \(d\) of 4 without prediction"):
            checked(GOOD[:3])

    def test_predictions_of_other_frames_give_a_hint_when_some_are_missing(self):
        with pytest.raises(
            PredictionsError, match=r"\(1 predictions are of other frames .*another split or functional"
        ):
            checked([*GOOD[1:], Prediction(frame_id="other", energy=1.0)])

    def test_missing_ids_may_count_as_failures(self):
        result = checked(GOOD[1:], allow_missing=True)
        assert result.records["a"].error == NO_PREDICTION
        assert result.records["a"].energy is None

    def test_doubled_ids_are_refused(self):
        with pytest.raises(PredictionsError, match=r"2 frames \(a, b\) more than once: keep one row"):
            checked([*GOOD, *GOOD[:2]])

    def test_unknown_ids_are_refused(self):
        strangers = [Prediction(frame_id=f"x{i}", energy=1.0) for i in range(5)]
        with pytest.raises(PredictionsError, match=r"5 frames \(x0, x1, x2, …\) not in the data set"):
            checked([*GOOD, *strangers])

    def test_other_frames_of_the_data_set_are_ignored_and_counted(self):
        result = checked([*GOOD, Prediction(frame_id="other", energy=float("nan"))])
        assert result.ignored == 1
        assert "other" not in result.records

    def test_the_whole_data_set_is_read_only_for_ids_that_are_not_expected(self):
        def never():
            raise RuntimeError("read")
            yield

        check(Predictions(records=GOOD, settings={}), EXPECTED, never())

    def test_all_problems_are_in_one_message_with_the_place(self):
        records = [*GOOD[:1], *GOOD[:3], Prediction(frame_id="x", energy=1.0)]
        with pytest.raises(
            PredictionsError, match=r"^my\.parquet: .*not in the data set.*more than once.*without prediction"
        ):
            checked(records, where="my.parquet")


class TestContent:
    def test_neither_energy_nor_error_is_refused(self):
        with pytest.raises(PredictionsError, match=r"1 frame \(a\) with neither energy nor error"):
            checked(with_first(energy=None))

    def test_forces_alone_are_no_prediction_of_a_potential(self):
        with pytest.raises(PredictionsError, match="neither energy nor error"):
            checked(with_first(energy=None, forces=np.zeros((1, 3))))

    def test_a_floor_may_predict_forces_alone_but_not_nothing(self):
        floor = {"kind": "floor"}
        records = [Prediction(frame_id=item.frame_id, forces=np.zeros((item.n_atoms, 3))) for item in FRAMES]
        assert len(checked(records, settings=floor).records) == 4
        with pytest.raises(PredictionsError, match="neither energy nor error"):
            checked([*records[1:], Prediction(frame_id="a")], settings=floor)

    def test_numbers_and_an_error_contradict_each_other(self):
        with pytest.raises(PredictionsError, match=r"1 frame \(a\) with both numbers and an error"):
            checked(with_first(error="failed"))

    def test_an_error_stands_for_the_numbers(self):
        assert checked(with_first(energy=None, error="failed")).records["a"].error == "failed"

    def test_an_empty_error_is_none(self):
        assert checked(with_first(error="")).records["a"].error is None


class TestShapes:
    @pytest.mark.parametrize(
        ("name", "value", "message"),
        [
            ("forces", np.zeros((2, 3)), r"forces of the wrong shape, for example \(2, 3\) instead of \(1, 3\)"),
            ("forces", np.zeros(3), r"forces of the wrong shape, for example \(3,\) instead of \(1, 3\)"),
            ("stress", np.zeros(9), r"stress of the wrong shape, for example \(9,\) instead of \(3, 3\) or \(6,\)"),
            ("stress", np.zeros((3, 2)), "stress of the wrong shape"),
            ("magmoms", np.zeros(2), r"magmoms of the wrong shape, for example \(2,\) instead of \(1,\)"),
            ("magmoms", np.zeros((1, 3)), "magmoms of the wrong shape"),
        ],
    )
    def test_a_wrong_shape_is_shown_beside_the_right_one(self, name, value, message):
        with pytest.raises(PredictionsError, match=rf"1 frame \(a\) with {message}"):
            checked(with_first(**{name: value}))

    def test_a_voigt_stress_becomes_a_matrix(self):
        voigt = np.arange(6.0)
        assert checked(with_first(stress=voigt)).records["a"].stress.tolist() == voigt_to_matrix(voigt).tolist()

    def test_a_matrix_stays_as_it_is(self):
        matrix = np.arange(9.0).reshape(3, 3)
        assert checked(with_first(stress=matrix)).records["a"].stress is matrix


class TestFinite:
    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e101])
    @pytest.mark.parametrize("name", ["energy", "forces", "stress", "magmoms"])
    def test_numbers_that_are_none_are_refused(self, name, value):
        arrays = {"energy": value, "forces": [[0, value, 0]], "stress": np.full((3, 3), value), "magmoms": [value]}
        changed = arrays[name] if name == "energy" else np.array(arrays[name], dtype=float)
        with pytest.raises(PredictionsError, match=r"1 frame \(a\) with NaN, infinite or absurdly large numbers"):
            checked(with_first(**{name: changed}))


class TestPerAtom:
    """Thirty frames of one to five atoms of two elements; the label has a part that composition does not tell."""

    @staticmethod
    def frames():
        rng = np.random.default_rng(0)
        out = []
        for i in range(30):
            formula = tuple(rng.choice([3, 8], size=rng.integers(1, 6)).tolist())
            base = sum(ELEMENTS[z] for z in formula)
            out.append(frame(f"f{i:02d}", formula, base + 0.2 * len(formula) * rng.normal()))
        return out

    def judge(self, energy):
        frames = self.frames()
        records = [Prediction(frame_id=item.frame_id, energy=energy(item)) for item in frames]
        expected = Expected(test=frames[:10], calibration=frames[10:])
        return check(Predictions(records=records, settings={}), expected, [])

    def test_energies_per_atom_are_recognised(self):
        with pytest.raises(PredictionsError, match=r"look like eV/atom: .* multiply each by the number of atoms"):
            self.judge(lambda item: item.energy / item.n_atoms)

    def test_they_are_recognised_with_errors_and_another_zero_of_energy(self):
        rng = np.random.default_rng(1)
        with pytest.raises(PredictionsError, match="look like eV/atom"):
            self.judge(
                lambda item: item.energy / item.n_atoms + float(np.mean(3.0 * item.numbers)) + 0.05 * rng.normal()
            )

    @pytest.mark.parametrize("noise", [0.0, 0.01, 0.1, 1.0, 100.0])
    def test_total_energies_pass_however_bad_they_are(self, noise):
        rng = np.random.default_rng(2)
        self.judge(lambda item: item.energy + noise * item.n_atoms * rng.normal())

    @pytest.mark.parametrize("per_atom", [0.0, -7.0])
    def test_energies_that_know_nothing_pass(self, per_atom):
        self.judge(lambda item: per_atom * item.n_atoms)

    def test_cells_of_one_size_cannot_tell(self):
        frames = [frame(f"f{i}", (3, 8), -6.8 - 0.1 * i) for i in range(8)]
        records = [Prediction(frame_id=item.frame_id, energy=item.energy / 2) for item in frames]
        expected = Expected(test=frames[:4], calibration=frames[4:])
        assert len(check(Predictions(records=records, settings={}), expected, []).records) == 8


class TestExpectedFrames:
    def test_they_are_the_frames_of_both_splits_sorted_by_id(self, synthetic_task, synthetic_dataset):
        expected = expected_frames(synthetic_task, synthetic_dataset)
        assert (len(expected.test), len(expected.calibration)) == (15, 27)
        for frames in (expected.test, expected.calibration, expected.frames):
            ids = [item.frame_id for item in frames]
            assert ids == sorted(ids)
        assert {item.functional for item in expected.frames} == {Functional.R2SCAN}
        assert expected.limit is None

    def test_a_gga_task_expects_gga_frames(self, synthetic_task, synthetic_dataset):
        expected = expected_frames(replace(synthetic_task, functional=Functional.PBE), synthetic_dataset)
        assert {item.functional for item in expected.frames} == {Functional.PBE}

    def test_a_limit_cuts_the_test_frames_only(self, synthetic_task, synthetic_dataset):
        whole = expected_frames(synthetic_task, synthetic_dataset)
        cut = expected_frames(synthetic_task, synthetic_dataset, limit=4)
        assert [item.frame_id for item in cut.test] == [item.frame_id for item in whole.test[:4]]
        assert len(cut.calibration) == 27
        assert cut.limit == 4

    def test_a_limit_beyond_the_split_is_no_limit(self, synthetic_task, synthetic_dataset):
        assert expected_frames(synthetic_task, synthetic_dataset, limit=15).limit is None

    @pytest.mark.parametrize("limit", [0, -1])
    def test_a_limit_must_be_positive(self, synthetic_task, synthetic_dataset, limit):
        with pytest.raises(UsageError, match=f"at least 1, not {limit}"):
            expected_frames(synthetic_task, synthetic_dataset, limit=limit)

    def test_an_empty_split_is_named(self, synthetic_task, synthetic_dataset):
        with pytest.raises(DataError, match="split 'val' of data set synthetic has no r2scan frames"):
            expected_frames(replace(synthetic_task, calibration="val"), synthetic_dataset)


class TestExcluded:
    def task(self, task, dataset, *flags, **changes):
        return replace(task, fingerprint=dataset.fingerprint, pairs=PairRule(exclude=flags), **changes)

    def test_pairs_with_an_excluded_flag_are_not_scored(self, synthetic_task, peculiar):
        whole = expected_frames(self.task(synthetic_task, peculiar), peculiar)
        part = expected_frames(self.task(synthetic_task, peculiar, "hubbard_u", "moments_differ"), peculiar)
        gone = sorted({item.pair_id for item in whole.test} - {item.pair_id for item in part.test})
        assert len(whole.test) == 15
        assert whole.excluded == {}
        assert list(part.excluded) == gone
        assert sorted(map(sorted, part.excluded.values())) == [["hubbard_u"], ["hubbard_u", "moments_differ"]]

    def test_a_limit_counts_what_is_left(self, synthetic_task, peculiar):
        part = expected_frames(self.task(synthetic_task, peculiar, "hubbard_u"), peculiar, limit=13)
        assert part.limit is None
        assert len(part.test) == 13

    def test_calibration_keeps_its_frames_but_never_mixes_in_a_hubbard_u(self, synthetic_task, peculiar):
        for flags, functional, count in (
            (("corrected",), Functional.PBE, 27),
            (("hubbard_u",), Functional.PBE, 26),
            (("hubbard_u",), Functional.R2SCAN, 27),
        ):
            task = self.task(synthetic_task, peculiar, *flags, functional=functional)
            assert len(expected_frames(task, peculiar).calibration) == count

    def test_a_task_that_excludes_everything_is_told(self, synthetic_task, synthetic_dataset, monkeypatch):
        flags = {pair.pair_id: frozenset({"corrected"}) for pair in synthetic_dataset.pairs("test")}
        monkeypatch.setattr(checking, "pair_flags", lambda _dataset, _split: flags)
        with pytest.raises(
            DataError, match="task synthetic-static@1 excludes all 15 pairs of 'test'; exclude fewer flags"
        ):
            expected_frames(self.task(synthetic_task, synthetic_dataset, "corrected"), synthetic_dataset)
