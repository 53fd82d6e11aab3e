"""Differences within a composition, ground states and array gaps, by hand on tiny structures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.distance import pdist
from scipy.stats import kendalltau
from sklearn.metrics import accuracy_score

from xferbench.functionals import Functional
from xferbench.labels import Labels, Values
from xferbench.measure import METRICS
from xferbench.records import Frame, FramePair, Geometry, Prediction
from xferbench.tasks.rows import Joined, difference_rows, difference_to_source, ground_rows

LI, OX = 3, 8


def joined_of(frames, predictions, pairs=None, side="target") -> Joined:
    """Frames, their predictions, and pairs they belong to: with themselves, if not given."""
    pairs = pairs or [FramePair(source=item, target=item, geometry=Geometry.SAME_GEOMETRY) for item in frames]
    return Joined(labels=Labels.of_pairs(pairs), side=side, predicted=Values.of(predictions))


def told(rows):
    return rows.sample, rows.n_labels, rows.reason


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
        [
            Prediction(frame_id=item.frame_id, energy=energy, error=None if energy is not None else "failed")
            for item, energy in items
        ],
    )


THREE = (
    (frame("a", (LI, OX), -6.0), -6.2),  # -3.0 and -3.1 eV/atom
    (frame("b", (LI, LI, OX, OX), -11.6), -12.8),  # -2.9 and -3.2: a doubled cell is the same composition
    (frame("c", (OX, LI), -5.4), -5.6),  # -2.7 and -2.8
)
TWO = (
    (frame("d", (LI, LI, OX), -9.0), -9.0),
    (frame("e", (LI, OX, LI), -9.6), -9.3),
)  # differences 0.2 and 0.1 eV/atom
SINGLE = (frame("f", (LI,), -2.0), -2.0)
TEST = joined(*THREE, *TWO, SINGLE)


def value(name, rows):
    return METRICS[name].value(rows.sample)


class TestDifferences:
    def test_values_are_those_worked_by_hand_and_each_composition_weighs_the_same(self):
        rows = difference_rows(TEST)
        assert value("energy_difference_mae", rows) == pytest.approx(((0.2 + 0.0 + 0.2) / 3 + 0.1) / 2)
        assert value("polymorph_kendall", rows) == pytest.approx(((-1 + 1 + 1) / 3 + 1) / 2)

    def test_elemental_offsets_change_nothing(self):
        moved = [(item, e + 5.0 * (item.numbers == LI).sum() - 7.0 * (item.numbers == OX).sum()) for item, e in THREE]
        expected = value("energy_difference_mae", difference_rows(joined(*THREE)))
        assert value("energy_difference_mae", difference_rows(joined(*moved))) == pytest.approx(expected)

    def test_frames_are_counted_though_rows_are_pairs(self):
        rows = difference_rows(TEST)
        assert len(rows.sample.frame) == 4
        assert (rows.sample.n_used, rows.n_labels) == (5, 5)

    def test_a_composition_belongs_to_the_material_of_its_first_frame(self):
        assert difference_rows(TEST).sample.frame.tolist() == [0, 0, 0, 3]

    def test_failed_frames_are_missing_and_a_composition_of_one_remaining_frame_is_left_out(self):
        rows = difference_rows(joined(*THREE[:2], (THREE[2][0], None), TWO[0], (TWO[1][0], None)))
        assert (rows.sample.n_used, rows.n_labels) == (2, 5)
        assert value("energy_difference_mae", rows) == pytest.approx(0.2)

    @pytest.mark.parametrize(
        ("test", "n_labels", "reason"),
        [
            (joined(SINGLE, THREE[0]), 0, "no two test frames with energy labels have one composition"),
            (
                joined((frame("a", (LI,), None), -1.0), (frame("b", (LI,), -1.0), -1.0)),
                0,
                "no two test frames with en.*",
            ),
            (joined(THREE[0], (THREE[1][0], None)), 2, "no two test frames of one composition have predictions"),
            (joined((THREE[0][0], None), (THREE[1][0], None)), 2, "the model predicts no energy"),
        ],
    )
    @pytest.mark.parametrize("rows_of", [difference_rows, ground_rows])
    def test_nothing_to_compare_has_a_reason(self, test, n_labels, reason, rows_of):
        rows = rows_of(test)
        assert rows.sample is None
        assert rows.n_labels == n_labels
        assert rows.reason.startswith(reason.rstrip(".*"))


class TestGround:
    def test_the_lowest_of_each_composition_is_found_or_not(self):
        rows = ground_rows(TEST)
        assert rows.sample.prediction[:, 0] == pytest.approx([-2.9, -3.2])
        assert rows.sample.label[:, 0] == pytest.approx([-3.0, -3.2])
        assert value("polymorph_top1", rows) == 0.5

    def test_frames_predicted_lowest_together_share_the_hit(self):
        flat = joined(*((item, -3.0 * len(item.numbers)) for item, _ in (*THREE, *TWO)))
        assert value("polymorph_top1", ground_rows(flat)) == pytest.approx((1 / 3 + 1 / 2) / 2)

    def test_lowest_labels_that_are_equal_are_all_right(self):
        twins = joined((THREE[0][0], -6.0), (replace(THREE[0][0], frame_id="twin"), -6.5))
        assert value("polymorph_top1", ground_rows(twins)) == 1.0


class TestOracles:
    """Ten compositions of two to six frames with random energies."""

    @pytest.fixture
    def many(self):
        rng = np.random.default_rng(0)
        return {
            n: [(frame(f"{n}-{i}", (LI,) * n + (OX,), *e), p) for i, (e, p) in enumerate(self._energies(rng, n))]
            for n in range(1, 11)
        }

    @staticmethod
    def _energies(rng, n):
        return [((float(label),), float(label + error)) for label, error in rng.normal(size=(2 + n % 5, 2))]

    def test_the_fraction_of_ground_states_is_scikit_learns_accuracy(self, many):
        labels = [np.argmin([item.energy for item, _ in group]) for group in many.values()]
        found = [np.argmin([energy for _, energy in group]) for group in many.values()]
        rows = ground_rows(joined(*(item for group in many.values() for item in group)))
        assert 0 < accuracy_score(labels, found) < 1
        assert value("polymorph_top1", rows) == pytest.approx(accuracy_score(labels, found))

    def test_ranking_is_the_mean_of_scipys_kendall_over_compositions(self, many):
        taus = [kendalltau([i.energy for i, _ in group], [e for _, e in group]).statistic for group in many.values()]
        rows = difference_rows(joined(*(item for group in many.values() for item in group)))
        assert value("polymorph_kendall", rows) == pytest.approx(np.mean(taus))

    def test_differences_are_those_of_scipys_distances(self, many):
        errors = [
            pdist(np.array([[(e - i.energy) / i.n_atoms] for i, e in group]), "cityblock").mean()
            for group in many.values()
        ]
        rows = difference_rows(joined(*(item for group in many.values() for item in group)))
        assert value("energy_difference_mae", rows) == pytest.approx(np.mean(errors))


def pair(source: np.ndarray, target: np.ndarray, geometry=Geometry.SAME_GEOMETRY) -> FramePair:
    labels = [{"forces": label, "stress": np.eye(3) * label[0, 2]} for label in (source, target)]
    return FramePair(
        source=frame("p", (LI,), -1.0, Functional("PBE"), **labels[0]),
        target=frame("p", (LI,), -1.0, **labels[1]),
        geometry=geometry,
    )


class TestArrayGaps:
    PAIR = pair(np.array([[0, 0, 1.0]]), np.array([[0, 0, 1.2]]))

    def test_both_sides_are_taken_from_the_gga_label(self):
        record = Prediction(frame_id="p-r2SCAN", energy=-1.0, forces=np.array([[0.15, 0, 1.2]]), stress=np.eye(3) * 1.1)
        test = joined_of([self.PAIR.target], [record], [self.PAIR])
        forces, stress = difference_to_source(test, "forces"), difference_to_source(test, "stress")
        assert forces.sample.prediction == pytest.approx(np.array([[0.15, 0, 0.2]]))
        assert forces.sample.label == pytest.approx(np.array([[0, 0, 0.2]]))
        assert value("force_gap_cosine", forces) == pytest.approx(0.8)
        assert value("stress_gap_ratio", stress) == pytest.approx(0.5)

    def test_copying_the_gga_label_goes_nowhere(self):
        record = Prediction(frame_id="p-r2SCAN", energy=-1.0, forces=self.PAIR.source.forces)
        rows = difference_to_source(joined_of([self.PAIR.target], [record], [self.PAIR]), "forces")
        assert value("force_gap_ratio", rows) == 0.0
        assert np.isnan(value("force_gap_cosine", rows))

    def test_pairs_of_two_geometries_have_no_force_gap(self):
        other = pair(np.zeros((1, 3)), np.ones((1, 3)), Geometry.SAME_MATERIAL)
        test = joined_of([other.target], [Prediction(frame_id="p-r2SCAN", forces=np.ones((1, 3)))], [other])
        assert told(difference_to_source(test, "forces")) == (None, 0, "the frames of a pair differ in geometry")

    def test_a_model_without_stress_is_missing(self):
        test = joined_of([self.PAIR.target], [Prediction(frame_id="p-r2SCAN", energy=-1.0)], [self.PAIR])
        assert told(difference_to_source(test, "stress")) == (None, 1, "the model predicts no stress")
