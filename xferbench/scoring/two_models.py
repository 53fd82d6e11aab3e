"""The gap predicted by two models, one per functional, turned into predictions of the target labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from xferbench.errors import PredictionsError
from xferbench.labels import PredictionTable, Ragged
from xferbench.records import Geometry, Predictions
from xferbench.scoring.reading import some

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from xferbench.labels import Labels, Values

    Integers = NDArray[np.int64]

NO_SOURCE_LABEL = "the source label has no energy"


def add_gap(
    target: Predictions, source: Predictions, parts: Sequence[Labels], *, where: object = "the source predictions"
) -> Predictions:
    """Source label + (prediction of the target model - prediction of the source model), for every pair the target model has.

    Scored as predictions of the target labels, the error of these is the error of the predicted gap, and errors that both
    models share have cancelled.

    Args:
        target: Predictions of the target frames. Those of other frames are left out.
        source: Predictions of the same structures by the source model, under the id of either frame of a pair.
        parts: Labels of the pairs.
        where: The file of ``source``, for the message.

    Returns:
        Predictions of the target frames. A frame on which either model failed carries that error.

    Raises:
        PredictionsError: ``source`` lacks structures that ``target`` has, or a pair is not of one geometry.
    """
    elsewhere = [
        name for part in parts if part.geometry is not Geometry.SAME_GEOMETRY for name in part.pair_id.tolist()
    ]
    if elsewhere:
        raise PredictionsError(
            f"{some(elsewhere)} without a common geometry: two models must predict the same structures"
        )
    mine, theirs = PredictionTable.of(target.records), PredictionTable.of(source.records)
    asked, other = ({name: i for i, name in enumerate(table.frame_id.tolist())} for table in (mine, theirs))
    made, lacking = [], []
    for part in parts:
        rows = np.flatnonzero([name in asked for name in part.target.frame_id.tolist()])
        ids = list(zip(part.target.frame_id[rows].tolist(), part.source.frame_id[rows].tolist(), strict=True))
        lacking += [one for one, two in ids if one not in other and two not in other]
        if not lacking:
            first = mine.take(np.array([asked[one] for one, _ in ids], dtype=np.int64))
            second = theirs.take(np.array([other.get(one, other.get(two)) for one, two in ids], dtype=np.int64))
            made.append(_sum(first, second, part.take(rows).source.values))
    if lacking:
        raise PredictionsError(
            f"{where}: {some(lacking)} without prediction; predict the same structures with both models"
        )
    records = [record for table in made for record in table]
    settings: dict[str, Any] = {"target": dict(target.settings), "source": dict(source.settings)}
    return Predictions(records=records, settings=settings)


def _sum(first: PredictionTable, second: PredictionTable, label: Values) -> PredictionTable:
    """Row by row; what either lacks is not there."""
    no_label = [None if known else NO_SOURCE_LABEL for known in np.isfinite(label.energy)]
    error = np.array(
        [one or two or three for one, two, three in zip(first.error, second.error, no_label, strict=True)], dtype=object
    )
    good = np.array([text is None for text in error], dtype=bool)
    energy = np.where(good, label.energy + first.energy - second.energy, np.nan)
    stress = _added(label.stress, first.matrices(), second.matrices(), good)
    return PredictionTable(
        frame_id=first.frame_id,
        energy=energy,
        has_energy=np.isfinite(energy),
        forces=_added(label.forces, first.forces, second.forces, good),
        stress=Ragged(values=stress.values.ravel(), offsets=9 * stress.offsets, present=stress.present),
        magmoms=Ragged.of([None] * len(error), None),
        error=error,
    )


def _added(label: Ragged, plus: Ragged, minus: Ragged, good: NDArray[np.bool_]) -> Ragged:
    present = good & label.present & plus.present & minus.present
    kept = np.flatnonzero(present)
    values = label.take(kept).values + plus.take(kept).values - minus.take(kept).values
    lengths = np.where(present, label.lengths, 0)
    return Ragged(values=values, offsets=np.concatenate([[0], np.cumsum(lengths)]), present=present)
