"""The gap predicted by two models, one per functional, turned into predictions of the r2SCAN labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from xferbench.errors import PredictionsError
from xferbench.records import Geometry, Prediction, Predictions
from xferbench.scoring.reading import normal, some

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from xferbench.records import Frame, Pair

Value = TypeVar("Value", float, NDArray[np.float64])

NO_GGA_LABEL = "the GGA label has no energy"


def add_gap(
    r2scan: Predictions, gga: Predictions, pairs: Sequence[Pair], *, where: object = "the GGA predictions"
) -> Predictions:
    """GGA label + (prediction of the r2SCAN model - prediction of the GGA model), for every pair the r2SCAN model has.

    Scored as predictions of the r2SCAN labels, the error of these is the error of the predicted gap, and errors that both
    models share have cancelled.

    Args:
        r2scan: Predictions of the r2SCAN frames. Those of other frames are left out.
        gga: Predictions of the same structures by the GGA model, under the id of either frame of a pair.
        pairs: Of the data set.
        where: The file of ``gga``, for the message.

    Returns:
        Predictions of the r2SCAN frames. A frame on which either model failed carries that error.

    Raises:
        PredictionsError: ``gga`` lacks structures that ``r2scan`` has, or a pair is not of one geometry.
    """
    by_frame = {pair.r2scan.frame_id: pair for pair in pairs}
    elsewhere = [pair.pair_id for pair in pairs if pair.geometry is not Geometry.SAME_GEOMETRY]
    if elsewhere:
        raise PredictionsError(
            f"{some(elsewhere)} without a common geometry: two models must predict the same structures"
        )
    other = {record.frame_id: record for record in gga.records}
    asked = [record for record in r2scan.records if record.frame_id in by_frame]
    partners = {record.frame_id: _partner(other, by_frame[record.frame_id]) for record in asked}
    lacking = [frame_id for frame_id, partner in partners.items() if partner is None]
    if lacking:
        raise PredictionsError(
            f"{where}: {some(lacking)} without prediction; predict the same structures with both models"
        )
    records = [
        _sum(record, partner, by_frame[record.frame_id].gga)
        for record in asked
        if (partner := partners[record.frame_id]) is not None
    ]
    return Predictions(records=records, settings={"r2SCAN": dict(r2scan.settings), "GGA": dict(gga.settings)})


def _partner(records: Mapping[str, Prediction], pair: Pair) -> Prediction | None:
    return records.get(pair.r2scan.frame_id) or records.get(pair.gga.frame_id)


def _sum(r2scan: Prediction, gga: Prediction, label: Frame) -> Prediction:
    error = r2scan.error or gga.error or (NO_GGA_LABEL if label.energy is None else None)
    if error:
        return Prediction(frame_id=r2scan.frame_id, error=error)
    first, second = normal(r2scan), normal(gga)
    return Prediction(
        frame_id=r2scan.frame_id,
        energy=_add(label.energy, first.energy, second.energy),
        forces=_add(label.forces, first.forces, second.forces),
        stress=_add(label.stress, first.stress, second.stress),
    )


def _add(label: Value | None, plus: Value | None, minus: Value | None) -> Value | None:
    return None if label is None or plus is None or minus is None else label + plus - minus
