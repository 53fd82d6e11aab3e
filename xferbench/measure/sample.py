"""Rows that metrics are computed on, and how a metric of them is resampled.

A ``Sample`` holds predicted and true values of one quantity over many frames. A ``Resampler`` is a metric of a sample, ready
for a bootstrap: sums per material, and what becomes of the sums of the drawn materials. Nearly all the work of a clustered
bootstrap is the product of resample counts, (m, n_groups), with sums per group, (n_groups, k); ``together`` puts the columns
of many metrics side by side, each distinct one once, so that the counts are read once for all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

RESOLUTION = 1e-9
"""eV/atom. Energies that differ by less differ by rounding: they are ties, and nothing of such a difference is explained."""

PIECE = 65_536
"""Rows worked on at a time: what is computed from them stays in the processor's cache."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """Predicted and true values of one quantity over many frames, one row per atom, frame, or pair of frames.

    Attributes:
        prediction: (n_rows, width), unit of the quantity.
        label: (n_rows, width), same unit.
        frame: (n_rows,) which frame a row belongs to, 0 … n_frames-1; a frame without rows counts for nothing. A row that
            compares several frames belongs to one of them, and with it to that frame's material.
        n_frames: Number of frames, with rows or without.
        baseline: (n_rows, width) what a named simple prediction says, for metrics that compare with one.
        weight: (n_rows,) how much each row counts; without it, once.
        counted: (n_rows,) how many of the columns count, where symmetry holds the others at zero; both sides are zero in these. Without
            it, all of them.
        members: (n_frames,) frames that entered, where rows compare frames; without it, the frames that have rows.
    """

    prediction: Floats
    label: Floats
    frame: Integers
    n_frames: int
    baseline: Floats | None = None
    weight: Floats | None = None
    counted: Floats | None = None
    members: NDArray[np.bool_] | None = None

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
        if self.weight is not None and self.weight.shape != shape[:1]:
            raise ValueError(f"{len(self.weight)} weights for {shape[0]} rows")
        if self.counted is not None and self.counted.shape != shape[:1]:
            raise ValueError(f"{len(self.counted)} counts of columns for {shape[0]} rows")
        if self.members is not None and self.members.shape != (self.n_frames,):
            raise ValueError(
                f"members has shape {self.members.shape}, not one entry for each of {self.n_frames} frames"
            )

    @property
    def widths(self) -> Floats:
        """(n_rows,) columns of each row that count."""
        rows, width = self.label.shape
        return np.full(rows, float(width)) if self.counted is None else self.counted

    @property
    def used(self) -> NDArray[np.bool_]:
        """(n_frames,) whether a frame has rows."""
        return np.bincount(self.frame, minlength=self.n_frames) > 0

    @property
    def n_used(self) -> int:
        """Number of frames that entered."""
        return int((self.used if self.members is None else self.members).sum())

    def pieces(self) -> Iterator[tuple[int, Sample]]:
        """All rows in their order, ``PIECE`` at a time, the first piece even if it is empty.

        Yields:
            The smallest frame of a piece, and its rows with frames numbered from there.
        """
        for start in range(0, max(len(self.frame), 1), PIECE):
            some = slice(start, start + PIECE)
            last = int(self.frame[some].max(initial=-1))
            first = int(self.frame[some].min(initial=last + 1))
            yield (
                first,
                Sample(
                    prediction=self.prediction[some],
                    label=self.label[some],
                    frame=self.frame[some] - first,
                    n_frames=last - first + 1,
                    baseline=None if self.baseline is None else self.baseline[some],
                    weight=None if self.weight is None else self.weight[some],
                    counted=None if self.counted is None else self.counted[some],
                ),
            )


def sample(
    prediction: ArrayLike,
    label: ArrayLike,
    *,
    frame: ArrayLike | None = None,
    n_frames: int | None = None,
    baseline: ArrayLike | None = None,
    weight: ArrayLike | None = None,
    counted: ArrayLike | None = None,
) -> Sample:
    """Make a ``Sample`` of anything array-like; plain sequences of numbers become one column.

    Args:
        prediction: (n_rows,) or (n_rows, width).
        label: The same shape.
        frame: (n_rows,) frame of each row; without it each row is a frame of its own.
        n_frames: Without it, as many as ``frame`` names.
        baseline: The same shape as ``prediction``.
        weight: (n_rows,) how much each row counts.
        counted: (n_rows,) how many columns count.

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
        weight=None if weight is None else np.asarray(weight, dtype=np.float64),
        counted=None if counted is None else np.asarray(counted, dtype=np.float64),
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


def beyond_baseline(rows: Sample) -> tuple[Floats, Floats]:
    """Prediction and label, each minus the baseline.

    Raises:
        ValueError: The sample has no baseline.
    """
    if rows.baseline is None:
        raise ValueError("a metric that compares with a baseline needs a sample with one")
    return rows.prediction - rows.baseline, rows.label - rows.baseline


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Resampler:
    """A metric of a sample, ready to be resampled.

    Attributes:
        sums: (n_groups, k) what is summed over the drawn groups.
        finish: Counts (m, n_groups), how often each group is drawn, and drawn sums (m, k) -> (m,) values, NaN where there
            is none.
    """

    sums: Floats
    finish: Callable[[Floats, Floats], Floats]

    def __call__(self, counts: Floats) -> Floats:
        """(m,) values of m resamples."""
        return self.finish(counts, counts @ self.sums)


def undefined(n_groups: int) -> Resampler:
    """The resampler of nothing: its values are NaN."""
    return Resampler(sums=np.zeros((n_groups, 0)), finish=lambda counts, _drawn: np.full(len(counts), np.nan))


def together(resamplers: Sequence[Resampler]) -> Callable[[Floats], list[Floats]]:
    """Many metrics of one set of groups as one function: counts (m, n_groups) -> the (m,) values of each.

    >>> double = Resampler(sums=np.array([[1.0], [2.0]]), finish=lambda _counts, drawn: 2 * drawn[:, 0])
    >>> together([double, double])(np.array([[1.0, 1.0], [2.0, 0.0]]))
    [array([6., 4.]), array([6., 4.])]
    """
    position: dict[bytes, int] = {}
    distinct: list[Floats] = []
    places = []
    for resampler in resamplers:
        own = []
        for column in resampler.sums.T:
            own.append(position.setdefault(column.tobytes(), len(distinct)))
            if own[-1] == len(distinct):
                distinct.append(column)
        places.append(own)
    stacked = np.stack(distinct, axis=1) if distinct else None

    def values(counts: Floats) -> list[Floats]:
        drawn = np.zeros((len(counts), 0)) if stacked is None else counts @ stacked
        return [item.finish(counts, drawn[:, own]) for item, own in zip(resamplers, places, strict=True)]

    return values
