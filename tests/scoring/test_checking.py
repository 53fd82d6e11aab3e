"""Every reason why predictions cannot be scored, and what the message says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from xferbench.errors import DataError, PredictionsError, UsageError
from xferbench.functionals import Functional
from xferbench.labels import Labels
from xferbench.records import Frame, FramePair, Geometry, Prediction, Predictions
from xferbench.results import DatasetEntry
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
        functional=Functional("r2SCAN"),
        numbers=np.array(formula),
        positions=np.zeros((n, 3)),
        cell=np.eye(3),
        energy=sum(ELEMENTS[z] for z in formula) if energy is None else energy,
    )


FRAMES = [frame("a", (3,)), frame("b", (3, 8)), frame("c", (8, 8, 3)), frame("d", (3, 3, 3, 8))]
KNOWN = frozenset({"a", "b", "c", "d", "other"})


def labels(frames):
    return Labels.of_pairs([FramePair(source=f, target=f, geometry=Geometry.SAME_GEOMETRY) for f in frames])


def expecting(test, calibration, known=lambda: KNOWN):
    return Expected(
        dataset=DatasetEntry(name="d", version="1", fingerprint="x", labels="x"),
        side="target",
        test=labels(test),
        calibration=labels(calibration),
        frame_ids=known,
    )


EXPECTED = expecting(FRAMES[:2], FRAMES[2:])
GOOD = [Prediction(frame_id=item.frame_id, energy=item.energy) for item in FRAMES]


def checked(records, *, expected=EXPECTED, settings=None, **options):
    return check(Predictions(records=records, settings=settings or {}), expected, **options)


def with_first(**changes):
    return [replace(GOOD[0], **changes), *GOOD[1:]]


class TestIds:
    def test_complete_predictions_pass(self):
        result = checked(GOOD)
        assert result.test.values.energy.tolist() == [item.energy for item in FRAMES[:2]]
        assert result.calibration.values.energy.tolist() == [item.energy for item in FRAMES[2:]]
        assert result.ignored == 0

    def test_the_order_is_irrelevant(self):
        found = [checked(records).calibration.values.energy.tolist() for records in (GOOD, GOOD[::-1])]
        assert found[0] == found[1]

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
        assert result.test.error.tolist() == [NO_PREDICTION, None]
        assert np.isnan(result.test.values.energy).tolist() == [True, False]

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
        assert len(result.test.error) == 2

    def test_the_whole_data_set_is_read_only_for_ids_that_are_not_expected(self):
        def never():
            raise RuntimeError("read")

        check(Predictions(records=GOOD, settings={}), expecting(FRAMES[:2], FRAMES[2:], never))

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
        assert checked(records, settings=floor).test.values.forces.present.all()
        with pytest.raises(PredictionsError, match="neither energy nor error"):
            checked([*records[1:], Prediction(frame_id="a")], settings=floor)

    def test_numbers_and_an_error_contradict_each_other(self):
        with pytest.raises(PredictionsError, match=r"1 frame \(a\) with both numbers and an error"):
            checked(with_first(error="failed"))

    def test_an_error_stands_for_the_numbers(self):
        assert checked(with_first(energy=None, error="failed")).test.error[0] == "failed"

    def test_an_empty_error_is_none(self):
        assert checked(with_first(error="")).test.error[0] is None


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
        assert checked(with_first(stress=voigt)).test.values.stress.row(0).tolist() == [
            voigt_to_matrix(voigt).ravel().tolist()
        ]

    def test_a_matrix_stays_as_it_is(self):
        matrix = np.arange(9.0).reshape(3, 3)
        assert checked(with_first(stress=matrix)).test.values.stress.row(0).tolist() == [list(range(9))]


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
        return check(Predictions(records=records, settings={}), expecting(frames[:10], frames[10:]))

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
        assert not check(Predictions(records=records, settings={}), expecting(frames[:4], frames[4:])).ignored


class TestExpectedFrames:
    def test_they_are_the_frames_of_both_splits_sorted_by_id(self, synthetic_task, synthetic_dataset):
        expected = expected_frames(synthetic_task, synthetic_dataset)
        assert (len(expected.test), len(expected.calibration)) == (15, 27)
        for frames in (expected.test_frames, expected.calibration_frames, expected.frames):
            ids = [item.frame_id for item in frames]
            assert ids == sorted(ids)
        assert {item.functional for item in expected.frames} == {Functional("r2SCAN")}
        assert expected.limit is None

    def test_a_gga_task_expects_gga_frames(self, synthetic_task, synthetic_dataset):
        expected = expected_frames(replace(synthetic_task, side="source"), synthetic_dataset)
        assert {item.functional for item in expected.frames} == {Functional("PBE")}

    def test_a_limit_cuts_the_test_frames_only(self, synthetic_task, synthetic_dataset):
        whole = expected_frames(synthetic_task, synthetic_dataset)
        cut = expected_frames(synthetic_task, synthetic_dataset, limit=4)
        assert cut.test.target.frame_id.tolist() == whole.test.target.frame_id[:4].tolist()
        assert len(cut.calibration) == 27
        assert cut.limit == 4

    def test_a_limit_beyond_the_split_is_no_limit(self, synthetic_task, synthetic_dataset):
        assert expected_frames(synthetic_task, synthetic_dataset, limit=15).limit is None

    @pytest.mark.parametrize("limit", [0, -1])
    def test_a_limit_must_be_positive(self, synthetic_task, synthetic_dataset, limit):
        with pytest.raises(UsageError, match=f"at least 1, not {limit}"):
            expected_frames(synthetic_task, synthetic_dataset, limit=limit)

    def test_an_empty_split_is_named(self, synthetic_task, synthetic_dataset):
        with pytest.raises(
            DataError, match="split 'val' of data set synthetic has no target frames with an energy to calibrate on"
        ):
            expected_frames(replace(synthetic_task, calibration="val"), synthetic_dataset)


class TestExcluded:
    def task(self, task, dataset, *flags, **changes):
        return replace(task, fingerprint=dataset.fingerprint, pairs=PairRule(exclude=flags), **changes)

    def test_pairs_with_an_excluded_flag_are_not_scored(self, synthetic_task, peculiar):
        whole = expected_frames(self.task(synthetic_task, peculiar), peculiar)
        part = expected_frames(self.task(synthetic_task, peculiar, "hubbard_u", "moments_differ"), peculiar)
        gone = set(whole.test.pair_id) - set(part.test.pair_id)
        assert len(whole.test) == 15
        assert whole.excluded == {}
        assert len(gone) == part.n_excluded == 2
        assert part.excluded == {"hubbard_u": 2, "moments_differ": 1}

    def test_a_limit_counts_what_is_left(self, synthetic_task, peculiar):
        part = expected_frames(self.task(synthetic_task, peculiar, "hubbard_u"), peculiar, limit=13)
        assert part.limit is None
        assert len(part.test) == 13

    def test_calibration_keeps_its_frames_but_never_mixes_in_a_hubbard_u(self, synthetic_task, peculiar):
        for flags, side, count in (
            (("corrected",), "source", 27),
            (("hubbard_u",), "source", 26),
            (("hubbard_u",), "target", 27),
        ):
            task = self.task(synthetic_task, peculiar, *flags, side=side)
            assert len(expected_frames(task, peculiar).calibration) == count

    def test_a_task_that_excludes_everything_is_told(self, synthetic_task, synthetic_dataset, monkeypatch):
        real = checking.read_labels

        def corrected(*args, **options):
            found = real(*args, **options)
            flags = {**found.test.flags, "corrected": np.ones(len(found.test), dtype=bool)}
            return replace(found, test=replace(found.test, flags=flags))

        monkeypatch.setattr(checking, "read_labels", corrected)
        with pytest.raises(
            DataError, match="task synthetic-static@1 excludes all 15 pairs of 'test'; exclude fewer flags"
        ):
            expected_frames(self.task(synthetic_task, synthetic_dataset, "corrected"), synthetic_dataset)


class TestCalibration:
    def test_it_is_a_choice_that_leaves_no_element_short(self, synthetic_task, synthetic_dataset):
        task = replace(synthetic_task, calibration_frames=20)
        whole, part = (expected_frames(item, synthetic_dataset).calibration for item in (synthetic_task, task))
        assert (len(whole), len(part)) == (27, 20)
        assert set(part.pair_id) < set(whole.pair_id)
        elements = [set(item.target.numbers.values.tolist()) for item in (whole, part)]
        assert elements[0] == elements[1]

    def test_it_does_not_depend_on_the_scored_frames(self, synthetic_task, synthetic_dataset):
        task = replace(synthetic_task, calibration_frames=20)
        whole, cut = (expected_frames(task, synthetic_dataset, limit=limit).calibration for limit in (None, 3))
        assert whole.pair_id.tolist() == cut.pair_id.tolist()


def test_each_shard_is_read_once(synthetic_task, synthetic_dataset, monkeypatch):
    from xferbench.dataset import opened

    seen = []
    real = opened.read_shard

    def counted(directory, path, columns=None):
        seen.append(path)
        return real(directory, path, columns)

    monkeypatch.setattr(opened, "read_shard", counted)
    expected_frames(synthetic_task, synthetic_dataset, structures=False)
    assert sorted(seen) == sorted({*seen})
    assert len(seen) == len([path for path in synthetic_dataset.manifest["files"] if path.startswith("data/")])
