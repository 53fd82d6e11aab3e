"""Rows that compare: frames of one composition with each other, and the two functionals of a pair.

Neither needs an energy zero: within a composition elemental offsets cancel, and forces and stresses have none.
"""

from __future__ import annotations

from math import gcd
from typing import TYPE_CHECKING

import numpy as np

from xferbench.metrics import RESOLUTION, Sample
from xferbench.records import Geometry
from xferbench.scoring.rows import NO_ENERGY, Rows, array_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from xferbench.records import Frame, Pair
    from xferbench.scoring.rows import Joined

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

NO_PAIR = "no two test frames with energy labels have one composition"
NO_PREDICTED_PAIR = "no two test frames of one composition have predictions"
OTHER_GEOMETRY = "the frames of a pair differ in geometry"


def difference_rows(test: Joined) -> Rows:
    """One row per pair of frames of one composition: the difference of their energies per atom.

    The rows of a composition weigh one together and belong to the material of its first frame, so that a composition is
    drawn as a whole even if each polymorph is a material of its own. Their number grows with the square of the frames of
    one composition.
    """
    groups, n_labels = _compositions(test)
    if not groups:
        return _nothing(test, n_labels)
    label, prediction = test.label(), test.prediction()
    first, second, frame, weight = [], [], [], []
    for members in groups:
        i, j = np.triu_indices(len(members), k=1)
        first.append(members[i])
        second.append(members[j])
        frame.append(np.full(len(i), members[0]))
        weight.append(np.full(len(i), 1 / len(i)))
    one, other = np.concatenate(first), np.concatenate(second)
    rows = Sample(
        prediction=(prediction[one] - prediction[other])[:, None],
        label=(label[one] - label[other])[:, None],
        frame=np.concatenate(frame),
        n_frames=len(test.frames),
        weight=np.concatenate(weight),
        members=_members(groups, len(test.frames)),
    )
    return Rows(rows, n_labels, None)


def ground_rows(test: Joined) -> Rows:
    """Per composition the label of the frame predicted lowest, beside the lowest label.

    Frames that are predicted lowest together share the row's weight: a prediction that knows no difference hits as often as
    chance does.
    """
    groups, n_labels = _compositions(test)
    if not groups:
        return _nothing(test, n_labels)
    label, prediction = test.label(), test.prediction()
    found, lowest, frame, weight = [], [], [], []
    for members in groups:
        chosen = members[prediction[members] <= prediction[members].min() + RESOLUTION]
        found.append(label[chosen])
        lowest.append(np.full(len(chosen), label[members].min()))
        frame.append(np.full(len(chosen), members[0]))
        weight.append(np.full(len(chosen), 1 / len(chosen)))
    rows = Sample(
        prediction=np.concatenate(found)[:, None],
        label=np.concatenate(lowest)[:, None],
        frame=np.concatenate(frame),
        n_frames=len(test.frames),
        weight=np.concatenate(weight),
        members=_members(groups, len(test.frames)),
    )
    return Rows(rows, n_labels, None)


def force_gap_rows(test: Joined, pairs: Sequence[Pair]) -> Rows:
    """One row of three components per atom: predicted and true r2SCAN forces, each minus the GGA label."""
    return _gap_rows(test, pairs, "forces", 3)


def stress_gap_rows(test: Joined, pairs: Sequence[Pair]) -> Rows:
    """One row of nine components per frame, like ``force_gap_rows``."""
    return _gap_rows(test, pairs, "stress", 9)


def _gap_rows(test: Joined, pairs: Sequence[Pair], name: str, width: int) -> Rows:
    partners = {pair.pair_id: pair.gga for pair in pairs if pair.geometry is Geometry.SAME_GEOMETRY}
    if not partners:
        return Rows(None, 0, OTHER_GEOMETRY)
    items = []
    for frame, record in zip(test.frames, test.predictions, strict=True):
        gga, label, prediction = (getattr(side, name, None) for side in (partners.get(frame.pair_id), frame, record))
        items.append((_minus(label, gga), _minus(prediction, gga)))
    return array_rows(items, name, width)


def _minus(value: Floats | None, gga: Floats | None) -> Floats | None:
    return None if value is None or gga is None else value - gga


def _compositions(test: Joined) -> tuple[list[Integers], int]:
    """Positions of the frames of each composition that has two with label and prediction; frames that could have entered."""
    label, prediction = test.label(), test.prediction()
    positions: dict[tuple[tuple[int, int], ...], list[int]] = {}
    for i, frame in enumerate(test.frames):
        if np.isfinite(label[i]):
            positions.setdefault(_composition(frame), []).append(i)
    labelled = [np.array(members) for members in positions.values() if len(members) > 1]
    usable = [members[np.isfinite(prediction[members])] for members in labelled]
    return [members for members in usable if len(members) > 1], sum(map(len, labelled))


def _composition(frame: Frame) -> tuple[tuple[int, int], ...]:
    """Atomic numbers with their counts in the reduced formula: cells of any size of one composition agree."""
    elements, counts = np.unique(frame.numbers, return_counts=True)
    divisor = gcd(*counts.tolist())
    return tuple(zip(elements.tolist(), (counts // divisor).tolist(), strict=True))


def _members(groups: Sequence[Integers], n_frames: int) -> NDArray[np.bool_]:
    members = np.zeros(n_frames, dtype=np.bool_)
    members[np.concatenate(groups)] = True
    return members


def _nothing(test: Joined, n_labels: int) -> Rows:
    if n_labels == 0:
        return Rows(None, 0, NO_PAIR)
    return Rows(None, n_labels, NO_PREDICTED_PAIR if np.isfinite(test.prediction()).any() else NO_ENERGY)
