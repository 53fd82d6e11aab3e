"""Samples: shapes, rows without frames, sums by group."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xferbench.measure import METRICS, Sample, sample, sum_by


class TestSample:
    def test_plain_numbers_become_one_column_with_a_frame_each(self):
        rows = sample([1, 2], [3, 4])
        assert rows.prediction.shape == (2, 1)
        assert rows.frame.tolist() == [0, 1]
        assert rows.n_frames == 2

    def test_frames_without_rows_are_known_and_unused(self):
        rows = sample([1.0, 2.0], [1.0, 2.0], frame=[2, 2], n_frames=4)
        assert rows.used.tolist() == [False, False, True, False]
        assert METRICS["energy_mae"].components(rows).tolist() == [[0, 0], [0, 0], [0, 2], [0, 0]]

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"prediction": [1.0], "label": [1.0, 2.0]}, "label has shape"),
            ({"prediction": [[1.0, 2.0]], "label": [1.0]}, "label has shape"),
            ({"prediction": [1.0], "label": [1.0], "baseline": [1.0, 2.0]}, "baseline has shape"),
            ({"prediction": [1.0, 2.0], "label": [1.0, 2.0], "frame": [0]}, "1 frame numbers for 2 rows"),
            ({"prediction": [1.0], "label": [1.0], "frame": [3], "n_frames": 2}, "outside 0 … 1"),
            ({"prediction": [1.0], "label": [1.0], "frame": [-1]}, "frame numbers outside"),
            ({"prediction": np.zeros((1, 3, 3)), "label": np.zeros((1, 3, 3))}, "rows and columns"),
        ],
    )
    def test_shapes_must_match(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            sample(**arguments)

    def test_sums_by_group_equal_a_loop(self):
        rng = np.random.default_rng(3)
        values, group = rng.normal(size=(50, 4)), rng.integers(0, 7, 50)
        loop = [values[group == g].sum(axis=0) for g in range(8)]
        assert sum_by(values, group, 8) == pytest.approx(np.array(loop), abs=1e-14)

    def test_members_replace_the_frames_that_have_rows_in_the_count(self):
        arrays = {"prediction": np.zeros((1, 1)), "label": np.zeros((1, 1)), "frame": np.array([0]), "n_frames": 3}
        assert Sample(**arrays).n_used == 1
        assert Sample(**arrays, members=np.array([True, False, True])).n_used == 2
        with pytest.raises(ValueError, match="members has shape"):
            Sample(**arrays, members=np.array([True]))

    def test_weights_are_one_per_row(self):
        assert sample([1.0, 2.0], [1.0, 2.0], weight=[1, 2]).weight.tolist() == [1.0, 2.0]
        with pytest.raises(ValueError, match="1 weights for 2 rows"):
            sample([1.0, 2.0], [1.0, 2.0], weight=[1])

    @given(st.lists(st.integers(0, 5), max_size=30), st.lists(st.integers(0, 2), min_size=6, max_size=6))
    def test_sums_of_sums_are_those_of_the_coarser_groups(self, fine, coarse):
        group, above = np.array(fine, dtype=np.int64), np.array(coarse)
        values = np.arange(2.0 * len(fine)).reshape(-1, 2)
        twice = sum_by(sum_by(values, group, 6), above, 3)
        assert twice.tolist() == sum_by(values, above[group], 3).tolist()
        expected = np.zeros((3, 2))
        np.add.at(expected, above[group], values)
        assert twice.tolist() == expected.tolist()


class TestPieces:
    def rows(self, n=10):
        label, noise, base = np.random.default_rng(0).normal(size=(3, n, 2))
        return Sample(
            prediction=label + noise,
            label=label,
            frame=np.random.default_rng(1).integers(0, 6, n),
            n_frames=9,
            baseline=base,
            weight=np.arange(float(n)),
        )

    def test_pieces_hold_all_rows_in_their_order(self, monkeypatch):
        monkeypatch.setattr(sys.modules[Sample.__module__], "PIECE", 4)
        rows = self.rows()
        pieces = list(rows.pieces())
        assert [len(piece.frame) for _, piece in pieces] == [4, 4, 2]
        for name in ("prediction", "label", "baseline", "weight"):
            again = np.concatenate([getattr(piece, name) for _, piece in pieces])
            assert (again == getattr(rows, name)).all()
        assert np.concatenate([first + piece.frame for first, piece in pieces]).tolist() == rows.frame.tolist()

    def test_sums_over_pieces_are_sums_over_all(self, monkeypatch):
        rows, metric = self.rows(200), METRICS["force_rmse"]
        whole = metric.components(rows)
        monkeypatch.setattr(sys.modules[Sample.__module__], "PIECE", 7)
        np.testing.assert_allclose(metric.components(rows), whole, rtol=1e-13)
        assert (whole[6:] == 0).all()

    def test_no_rows_are_one_empty_piece(self):
        ((first, piece),) = sample(np.zeros((0, 3)), np.zeros((0, 3)), n_frames=2).pieces()
        assert (first, piece.n_frames, piece.prediction.shape) == (0, 0, (0, 3))
        assert METRICS["force_mae"].components(sample(np.zeros((0, 3)), np.zeros((0, 3)), n_frames=2)).tolist() == [
            [0.0, 0.0],
            [0.0, 0.0],
        ]
