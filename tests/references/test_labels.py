"""Pairs as arrays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from xferbench.errors import DataError
from xferbench.records import FramePair, Prediction, Predictions
from xferbench.references import pair_labels


def test_energies_are_per_atom_and_the_gap_is_target_minus_source(make_pairs):
    pairs = make_pairs(2, 2)
    labels = pair_labels(pairs)
    assert labels.symbols == ["Li", "O", "Cl"]
    assert labels.materials == tuple(pair.material_id for pair in pairs)
    assert labels.n_atoms.tolist() == [2, 2, 3, 3]
    np.testing.assert_allclose(labels.fractions[2], [2 / 3, 1 / 3, 0])
    assert labels.source[0] == pairs[0].source.energy / 2
    np.testing.assert_array_equal(labels.gap, labels.target - labels.source)
    assert labels.model is None
    assert len(labels) == 4


def test_columns_can_be_asked_for(make_pairs):
    labels = pair_labels(make_pairs(1, 1), elements=[3, 17, 92])
    assert labels.fractions.tolist() == [[0.5, 0.5, 0]]
    with pytest.raises(DataError, match="no column for Cl"):
        pair_labels(make_pairs(1, 1), elements=[3])


def test_a_pair_without_both_energies_is_left_out_and_counted(make_pairs):
    first, second, third = make_pairs(1, 3)
    pairs = [
        FramePair(source=replace(first.source, energy=None), target=first.target, geometry=first.geometry),
        FramePair(source=second.source, target=replace(second.target, energy=None), geometry=second.geometry),
        third,
    ]
    labels = pair_labels(pairs)
    assert (len(labels), labels.n_dropped) == (1, 2)
    assert labels.target[0] == third.target.energy / 2


def test_predictions_are_joined_on_the_id_of_the_r2scan_frame(make_pairs):
    pairs = make_pairs(1, 3)
    records = [
        Prediction(frame_id=pairs[2].target.frame_id, energy=-8.0),
        Prediction(frame_id=pairs[0].target.frame_id, error="no"),
        Prediction(frame_id="another", energy=1.0),
    ]
    labels = pair_labels(pairs, Predictions(records=records, settings={}))
    np.testing.assert_array_equal(labels.model, [np.nan, np.nan, -4.0])


def test_taking_some_keeps_rows_together(make_labels):
    labels = make_labels(10)
    some = labels.take(np.array([7, 2]))
    assert some.materials == (labels.materials[7], labels.materials[2])
    np.testing.assert_array_equal(some.gap, labels.gap[[7, 2]])
    assert len(labels.take(labels.gap < -1e9)) == 0


def test_a_mask_takes_what_its_positions_take_and_taking_twice_is_taking_once(make_labels):
    labels = replace(make_labels(12), model=np.arange(12.0), n_dropped=3)
    mask = labels.fractions[:, 2] > 0
    by_mask, by_place = labels.take(mask), labels.take(np.flatnonzero(mask))
    for name in ("fractions", "n_atoms", "source", "target", "model"):
        np.testing.assert_array_equal(getattr(by_mask, name), getattr(by_place, name))
    assert by_mask.materials == by_place.materials
    twice, once = labels.take(np.array([8, 3, 5])).take(np.array([2, 0])), labels.take(np.array([5, 8]))
    assert twice.model.tolist() == once.model.tolist() == [5, 8]
    assert twice.n_dropped == 3  # what never was a pair does not depend on the choice
