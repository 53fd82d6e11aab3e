"""What is measured: every metric as sums over the rows of each frame, and one formula that turns sums into a number.

A metric is two small functions. ``terms`` maps the rows of a sample to k columns; the columns are summed over the rows of
each frame (``Metric.components``), then over any group of frames: all of them for the value, the frames of one material
for a bootstrap. ``combine`` turns such sums, shape (..., k), into values, shape (...). Thus a clustered bootstrap of any
metric is one matrix product of resample counts with sums per material, and adding a metric is adding a line to ``METRICS``.

| quantity | rows of a frame | width | unit | convention |
|---|---|---|---|---|
| ``energy`` | 1 | 1 | eV/atom | each frame weighs the same, whatever its size |
| ``forces`` | one per atom | 3 | eV/Å | all Cartesian components pooled: each atom weighs the same |
| ``stress`` | 1 | 9 | eV/Å³ | the nine components of the 3×3 matrix, off-diagonal ones therefore twice; tension positive |
| ``magmoms`` | one per atom | 1 | µB | absolute values of both sides |
| ``gap`` | 1 | 1 | eV/atom | (E_r2SCAN - E_GGA)/n of the pair, predicted and true |

Energies come with a reference: ``raw`` (prediction as it is), ``referenced`` (elemental references removed from both sides,
the model's declared ones from the prediction, fitted ones from the label), ``aligned`` (elemental offsets fitted on the
calibration split added to the prediction). Gaps are always ``aligned``. See ``docs/metrics.md`` for formulas and examples.

Example:
    Two frames of two atoms each; the first is exact, in the second each force component is off by 0.3 eV/Å.

    >>> forces = sample([[0.0, 0, 0], [0, 0, 0], [0.3, 0.3, 0.3], [-0.3, 0.3, 0.3]], np.zeros((4, 3)), frame=[0, 0, 1, 1])
    >>> METRICS["force_mae"].components(forces).round(9)  # per frame: sum of |error|, number of components
    array([[0. , 6. ],
           [1.8, 6. ]])
    >>> round(METRICS["force_mae"].value(forces), 9)
    0.15
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

Better = Literal["lower", "higher"]
Reference = Literal["none", "raw", "referenced", "aligned"]

ENERGY_REFERENCES: tuple[Reference, ...] = ("raw", "referenced", "aligned")
"""The ways an energy can be compared, in the order of how much is taken out."""

RESOLUTION = 1e-9
"""eV/atom. A baseline whose RMSE is below this leaves only rounding of the labels, and no fraction of it can be explained."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """Predicted and true values of one quantity over many frames, one row per atom or per frame.

    Attributes:
        prediction: (n_rows, width), unit of the quantity.
        label: (n_rows, width), same unit.
        frame: (n_rows,) which frame a row belongs to, 0 … n_frames-1; a frame without rows counts for nothing.
        n_frames: Number of frames, with rows or without.
        baseline: (n_rows, width) what a named simple prediction says, for metrics that compare with one.
    """

    prediction: Floats
    label: Floats
    frame: Integers
    n_frames: int
    baseline: Floats | None = None

    def __post_init__(self) -> None:
        shape = self.prediction.shape
        if len(shape) != 2:
            raise ValueError(f"a sample has rows and columns, not shape {shape}")
        for name, array in (("label", self.label), ("baseline", self.baseline)):
            if array is not None and array.shape != shape:
                raise ValueError(f"{name} has shape {array.shape}, the prediction {shape}")
        if self.frame.shape != shape[:1]:
            raise ValueError(f"{len(self.frame)} frame numbers for {shape[0]} rows")
        if self.frame.size and not 0 <= self.frame.min() <= self.frame.max() < self.n_frames:
            raise ValueError(f"frame numbers outside 0 … {self.n_frames - 1}")

    @property
    def used(self) -> NDArray[np.bool_]:
        """(n_frames,) whether a frame has rows."""
        return np.bincount(self.frame, minlength=self.n_frames) > 0


def sample(
    prediction: ArrayLike,
    label: ArrayLike,
    *,
    frame: ArrayLike | None = None,
    n_frames: int | None = None,
    baseline: ArrayLike | None = None,
) -> Sample:
    """Make a ``Sample`` of anything array-like; plain sequences of numbers become one column.

    Args:
        prediction: (n_rows,) or (n_rows, width).
        label: The same shape.
        frame: (n_rows,) frame of each row; without it each row is a frame of its own.
        n_frames: Without it, as many as ``frame`` names.
        baseline: The same shape as ``prediction``.

    Raises:
        ValueError: Shapes do not match.
    """
    rows = _columns(prediction)
    index = np.arange(len(rows)) if frame is None else np.asarray(frame, dtype=np.int64)
    return Sample(
        prediction=rows,
        label=_columns(label),
        frame=index,
        n_frames=int(index.max(initial=-1)) + 1 if n_frames is None else n_frames,
        baseline=None if baseline is None else _columns(baseline),
    )


def _columns(values: ArrayLike) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    return array[:, None] if array.ndim == 1 else array


def sum_by(values: Floats, group: Integers, n_groups: int) -> Floats:
    """Sum the rows of each group.

    Args:
        values: (n_rows, k).
        group: (n_rows,) group of each row, 0 … n_groups-1.
        n_groups: Number of groups, with rows or without.

    Returns:
        (n_groups, k); a group without rows has zeros.
    """
    return np.stack(
        [np.bincount(group, weights=column, minlength=n_groups) for column in values.T], axis=-1, dtype=np.float64
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One line of ``METRICS``.

    Attributes:
        name: ``<quantity>_<statistic>``, the quantity in the singular.
        quantity: Which rows it is computed on, see the module's table.
        unit: As stored; "1" is a pure number. Rendered tables may show another, see ``units.RENDERED``.
        better: Whether lower or higher values are better.
        references: The references it can be computed with; ``none`` for quantities without an energy zero.
        formula: In symbols: p̂ predicted, p true, over the rows and columns of the module's table.
        terms: Rows -> (n_rows, k), what is summed.
        combine: Sums (..., k) -> values (...); NaN where the sums define none.
    """

    name: str
    quantity: Literal["energy", "forces", "stress", "magmoms", "gap"]
    unit: str
    better: Better
    references: tuple[Reference, ...] = ("none",)
    formula: str
    terms: Callable[[Sample], Floats]
    combine: Callable[[Floats], Floats]

    def components(self, rows: Sample) -> Floats:
        """(n_frames, k) sums over the rows of each frame."""
        return sum_by(self.terms(rows), rows.frame, rows.n_frames)

    def value(self, rows: Sample) -> float:
        """The metric over all frames; NaN if the sample defines none."""
        return float(self.combine(self.components(rows).sum(axis=0)))


def absolute_terms(rows: Sample) -> Floats:
    """Per row: the sum of absolute errors over its columns, and the number of columns.

    >>> absolute_terms(sample([[1.0, 2.0]], [[1.5, 1.0]]))
    array([[1.5, 2. ]])
    """
    errors = np.abs(rows.prediction - rows.label)
    return np.stack([errors.sum(axis=1), np.full(len(errors), float(errors.shape[1]))], axis=-1)


def square_terms(rows: Sample) -> Floats:
    """Per row: the sum of squared errors over its columns, and the number of columns.

    >>> square_terms(sample([[1.0, 2.0]], [[1.5, 1.0]]))
    array([[1.25, 2.  ]])
    """
    errors = (rows.prediction - rows.label) ** 2
    return np.stack([errors.sum(axis=1), np.full(len(errors), float(errors.shape[1]))], axis=-1)


def skill_terms(rows: Sample) -> Floats:
    """Per row: squared error of the prediction, squared error of the baseline, number of columns.

    >>> skill_terms(sample([2.0], [2.5], baseline=[1.5]))
    array([[0.25, 1.  , 1.  ]])

    Raises:
        ValueError: The sample has no baseline.
    """
    if rows.baseline is None:
        raise ValueError("a metric that compares with a baseline needs a sample with one")
    model = ((rows.prediction - rows.label) ** 2).sum(axis=1)
    baseline = ((rows.baseline - rows.label) ** 2).sum(axis=1)
    return np.stack([model, baseline, np.full(len(model), float(rows.label.shape[1]))], axis=-1)


def mean(sums: Floats) -> Floats:
    """Sum over count.

    >>> float(mean(np.array([1.5, 2.0])))
    0.75
    """
    total, count = sums[..., 0], sums[..., 1]
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)


def root_mean(sums: Floats) -> Floats:
    """Square root of sum over count.

    >>> float(root_mean(np.array([8.0, 2.0])))
    2.0
    """
    return np.sqrt(mean(sums))


def skill(sums: Floats) -> Floats:
    """1 - (squared error of the prediction) / (squared error of the baseline); R² if the baseline is the mean label.

    >>> float(skill(np.array([0.25, 1.0, 1.0])))
    0.75

    References:
        Murphy, Mon. Weather Rev. 116, 2417 (1988), Eq. 4: the skill score on mean squared errors.
    """
    model, baseline, count = sums[..., 0], sums[..., 1], sums[..., 2]
    defined = baseline > count * RESOLUTION**2
    return 1 - np.divide(model, baseline, out=np.full_like(model, np.nan), where=defined)


def _errors(
    name: str,
    quantity: Literal["energy", "forces", "stress", "magmoms"],
    unit: str,
    symbol: str,
    references: tuple[Reference, ...] = ("none",),
) -> tuple[Metric, Metric]:
    """Mean absolute and root mean square error of one quantity."""
    mae = Metric(
        name=f"{name}_mae",
        quantity=quantity,
        unit=unit,
        better="lower",
        references=references,
        formula=f"mean |{symbol}|",
        terms=absolute_terms,
        combine=mean,
    )
    rmse = Metric(
        name=f"{name}_rmse",
        quantity=quantity,
        unit=unit,
        better="lower",
        references=references,
        formula=f"√ mean ({symbol})²",
        terms=square_terms,
        combine=root_mean,
    )
    return mae, rmse


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        *_errors("energy", "energy", "eV/atom", "ê - e", ENERGY_REFERENCES),
        *_errors("force", "forces", "eV/Å", "f̂ - f"),
        *_errors("stress", "stress", "eV/Å³", "σ̂ - σ"),
        *_errors("magmom", "magmoms", "µB", "|m̂| - |m|"),
        Metric(
            name="gap_mae",
            quantity="gap",
            unit="eV/atom",
            better="lower",
            references=("aligned",),
            formula="mean |ĝ - g|",
            terms=absolute_terms,
            combine=mean,
        ),
        Metric(
            name="gap_explained",
            quantity="gap",
            unit="1",
            better="higher",
            references=("aligned",),
            formula="1 - Σ (ĝ - g)² / Σ (ḡ - g)²",
            terms=skill_terms,
            combine=skill,
        ),
    )
}
"""Every metric a task can ask for, by name."""
