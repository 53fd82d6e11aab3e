"""Finished runs -> errors on the test split, summed by material so that materials and seeds can be resampled.

The test split is never what picks a checkpoint; that is the validation split.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from xferbench.errors import PredictionsError
from xferbench.labels import Calculations, Values
from xferbench.measure import METRICS, SumMetric, clusters, sum_by
from xferbench.tasks.rows import View, array_rows, energy_rows, magmom_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from xferbench.dataset import Dataset
    from xferbench.records import Floats, Frame, Prediction
    from xferbench.studies.plan import Cell
    from xferbench.tasks.rows import Rows

    Load = Callable[[Cell], Mapping[str, Prediction]]

QUANTITIES = {"energy": "energy_mae", "forces": "force_mae", "stress": "stress_mae", "magmoms": "magmom_mae"}
"""Quantity -> metric. Energies are compared as they are predicted, references included, which is what was trained."""


def metric(quantity: str) -> SumMetric:
    """The metric of a quantity."""
    found = METRICS[QUANTITIES[quantity]]
    if not isinstance(found, SumMetric):
        raise TypeError(f"{found.name} is not a formula of sums")
    return found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measured:
    """Errors of runs on the test split, over the frames that every run predicts.

    Attributes:
        materials: Names, sorted.
        sums: Quantity -> run -> (n_materials, k) sums of the quantity's metric.
        n_frames: Frames of the split.
        left_out: Ids of frames that a run at least did not predict.
    """

    materials: Sequence[str]
    sums: Mapping[str, Mapping[Cell, Floats]]
    n_frames: int
    left_out: Sequence[str]

    def value(self, quantity: str, cell: Cell) -> float:
        """The error of one run over all materials."""
        return float(metric(quantity).combine(self.sums[quantity][cell].sum(axis=0)))

    def n_labelled(self, quantity: str) -> int:
        """Materials that have the quantity: those that a resample can tell apart."""
        return max((int(sums.any(axis=1).sum()) for sums in self.sums[quantity].values()), default=0)


def measure(dataset: Dataset, cells: Sequence[Cell], load: Load, family: str = "target") -> Measured:
    """Compare predictions of every run with the target labels of the test split.

    Args:
        dataset: That the runs were trained on.
        cells: The runs.
        load: Predictions of a run by frame id; asked twice for each, so that no more than one is in memory.
        family: The configuration of the data set that they were trained on.

    Raises:
        PredictionsError: A run lacks a frame, or the runs have no frame in common.
    """
    frames = dataset.frames(family, "test")
    left_out = sorted({frame_id for cell in cells for frame_id in _failed(cell, frames, load(cell))})
    common = [frame for frame in frames if frame.frame_id not in set(left_out)]
    if not common:
        raise PredictionsError(
            f"no test frame was predicted by all of {len(cells)} runs; look at {cells[0].name} first"
        )
    names, material = clusters([frame.material_id for frame in common])
    labels = Calculations.of(common)
    sums: dict[str, dict[Cell, Floats]] = {quantity: {} for quantity in QUANTITIES}
    for cell in cells:
        for quantity, rows in _rows(labels, load(cell)).items():
            if rows.sample is not None:
                components = metric(quantity).components(rows.sample)
                sums[quantity][cell] = sum_by(components, material, len(names))
    return Measured(materials=names, sums=sums, n_frames=len(frames), left_out=left_out)


def training_size(dataset: Dataset, subset: float, family: str = "target") -> int:
    """How many target training frames the nested subset of a fraction of the materials has."""
    tables = dataset.tables(family, "train", ["subset_key"])
    return sum(int((table["subset_key"].to_numpy() < subset).sum()) for table in tables)


def _failed(cell: Cell, frames: Sequence[Frame], records: Mapping[str, Prediction]) -> list[str]:
    """Ids of the frames that a run could not predict."""
    lacking = [frame.frame_id for frame in frames if frame.frame_id not in records]
    if lacking:
        raise PredictionsError(
            f"{cell.name} has no prediction of {len(lacking)} of {len(frames)} test frames ({lacking[0]}); "
            "it was trained on other data: remove its directory and run the study again"
        )
    return [frame.frame_id for frame in frames if records[frame.frame_id].error is not None]


def _rows(labels: Calculations, records: Mapping[str, Prediction]) -> dict[str, Rows]:
    own, predicted = labels.values, Values.of([records[frame_id] for frame_id in labels.frame_id.tolist()])
    return {
        "energy": energy_rows(View(predicted.energy / labels.n_atoms, labels.energy_per_atom)),
        "forces": array_rows(own.forces, predicted.forces, "forces"),
        "stress": array_rows(own.stress, predicted.stress, "stress"),
        "magmoms": magmom_rows(own.magmoms, predicted.magmoms),
    }
