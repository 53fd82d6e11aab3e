"""From frames and predictions to the rows that metrics take: energies three ways, gaps, forces, stresses, moments.

Energies are per atom. ``NaN`` stands for "there is none" between functions here and never leaves this file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from xferbench import references
from xferbench.metrics import Sample

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from xferbench.records import Frame, Pair, Prediction
    from xferbench.references import ElementalReferences

    Floats = NDArray[np.float64]

NO_ENERGY = "the model predicts no energy"
NOTHING_CALIBRATED = "no calibration frame has an energy prediction"
NOT_DETERMINED = "no test composition is determined by the calibration frames"
NO_REFERENCES = "the model declares no elemental references"
GGA_TASK = "gaps are scored on r2SCAN tasks"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Joined:
    """Frames and their predictions, in one order."""

    frames: Sequence[Frame]
    predictions: Sequence[Prediction]

    @property
    def numbers(self) -> list[NDArray[np.int64]]:
        """Atomic numbers of each frame."""
        return [frame.numbers for frame in self.frames]

    def label(self) -> Floats:
        """(n_frames,) energy labels, eV/atom."""
        return _per_atom(self.frames, [frame.energy for frame in self.frames])

    def prediction(self) -> Floats:
        """(n_frames,) predicted energies, eV/atom."""
        return _per_atom(self.frames, [record.energy for record in self.predictions])


class Rows(NamedTuple):
    """What a metric is computed on.

    Attributes:
        sample: None if there is nothing to compute on.
        n_labels: Frames that could be scored if every prediction were there.
        reason: Why there is no sample.
    """

    sample: Sample | None
    n_labels: int
    reason: str | None


class View(NamedTuple):
    """One way to compare energies: (n_frames,) predictions and labels in eV/atom, and why there are none."""

    prediction: Floats
    label: Floats
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Energies:
    """Energies of the test frames, all ways.

    Attributes:
        raw: As they are.
        referenced: Without the elemental references that the model declares, and that are fitted to the calibration labels.
        aligned: With the offsets added to the prediction.
        offsets: Fitted on the calibration frames to label minus prediction; None if no prediction is there.
        label_references: Fitted on the calibration frames to the labels.
        estimable: (n_frames,) whether the offsets of a frame's composition are determined.
    """

    raw: View
    referenced: View
    aligned: View
    offsets: ElementalReferences | None
    label_references: ElementalReferences
    estimable: NDArray[np.bool_]


def join(frames: Sequence[Frame], records: Mapping[str, Prediction]) -> Joined:
    """Frames with the predictions of their ids."""
    return Joined(frames=frames, predictions=[records[frame.frame_id] for frame in frames])


def energies(test: Joined, calibration: Joined, declared: Mapping[str, float] | None) -> Energies:
    """Compare energies three ways.

    Args:
        test: Frames that are scored.
        calibration: Frames that offsets and references are fitted on; none of them is in ``test``.
        declared: Elemental references the model declares, symbol -> eV/atom.

    Raises:
        DataError: No calibration frame has an energy label.
    """
    numbers, label, prediction = test.numbers, test.label(), test.prediction()
    silent = None if np.isfinite(prediction).any() else NO_ENERGY
    offsets = _fit(calibration.numbers, calibration.label() - calibration.prediction())
    labelled = np.isfinite(calibration.label())
    label_references = references.fit(_take(calibration.numbers, labelled), calibration.label()[labelled])
    shift = np.full(len(numbers), np.nan) if offsets is None else composition_energies(offsets, numbers)
    return Energies(
        raw=View(prediction, label, silent),
        referenced=_referenced(test, label_references, declared, silent),
        aligned=View(prediction + shift, label, silent or (NOTHING_CALIBRATED if offsets is None else None)),
        offsets=offsets,
        label_references=label_references,
        estimable=np.isfinite(shift),
    )


def composition_energies(fitted: ElementalReferences, numbers: Sequence[NDArray[np.int64]]) -> Floats:
    """(n_frames,) composition energies in eV/atom, NaN where the fit does not determine them."""
    out = np.full(len(numbers), np.nan)
    good = references.estimable(fitted, numbers)
    out[good] = fitted.per_atom(_take(numbers, good))
    return out


def energy_rows(view: View) -> Rows:
    """One row per frame with a prediction and a label."""
    return _frame_rows(view.prediction, view.label, view.reason)


def gap_rows(aligned: View, test: Joined, pairs: Sequence[Pair], calibration_pairs: Sequence[Pair]) -> Rows:
    """True gap, gap predicted by one model, and gap of the baseline "GGA label plus elemental offsets".

    The predicted gap is the aligned prediction of the r2SCAN energy minus the GGA label. The baseline treats the GGA label
    as if a model had predicted it: offsets fitted on the calibration pairs are added to it.
    """
    by_id = {pair.pair_id: pair.gga for pair in pairs}
    partners = [by_id[frame.pair_id] for frame in test.frames]
    gga = _per_atom(partners, [frame.energy for frame in partners])
    true_gap = [_energy_per_atom(pair.r2scan) - _energy_per_atom(pair.gga) for pair in calibration_pairs]
    shift = _fit([pair.r2scan.numbers for pair in calibration_pairs], np.array(true_gap, dtype=np.float64))
    copied = gga + (np.nan if shift is None else composition_energies(shift, test.numbers))
    return _frame_rows(aligned.prediction - gga, aligned.label - gga, aligned.reason, baseline=copied - gga)


def force_rows(test: Joined) -> Rows:
    """One row of three components per atom."""
    return array_rows(_both(test, "forces"), "forces", 3)


def stress_rows(test: Joined) -> Rows:
    """One row of nine components per frame."""
    return array_rows(_both(test, "stress"), "stress", 9)


def magmom_rows(test: Joined) -> Rows:
    """One row per atom: absolute values, since the sign of a moment is a choice of the calculation."""
    items = ((_absolute(label), _absolute(prediction)) for label, prediction in _both(test, "magmoms"))
    return array_rows(items, "magmoms", 1)


def _referenced(
    test: Joined, label_references: ElementalReferences, declared: Mapping[str, float] | None, silent: str | None
) -> View:
    nothing = np.full(len(test.frames), np.nan)
    if silent or declared is None:
        return View(nothing, test.label(), silent or NO_REFERENCES)
    elements = sorted(set(np.concatenate(test.numbers).tolist()))
    lacking = [symbol for symbol in symbols(elements) if symbol not in declared]
    if lacking:
        return View(nothing, test.label(), f"the model declares no elemental reference for {', '.join(lacking)}")
    wrong = [
        f"{symbol} {why}" for symbol, why in references.implausible(declared).items() if symbol in symbols(elements)
    ]
    if wrong:
        return View(
            nothing, test.label(), f"elemental references that the model declares cannot be: {'; '.join(wrong)}"
        )
    own = references.composition_matrix(test.numbers, elements) @ np.array(
        [declared[item] for item in symbols(elements)]
    )
    fitted = composition_energies(label_references, test.numbers)
    known = np.isfinite(fitted)  # where the labels have no reference the frame keeps its label, and counts as missing
    return View(np.where(known, test.prediction() - own, np.nan), test.label() - np.where(known, fitted, 0.0))


def symbols(elements: Sequence[int]) -> list[str]:
    """Chemical symbols of atomic numbers."""
    from ase.data import chemical_symbols

    return [chemical_symbols[element] for element in elements]


def _frame_rows(prediction: Floats, label: Floats, reason: str | None, baseline: Floats | None = None) -> Rows:
    """Rows of width one for the frames that have everything."""
    labelled = np.isfinite(label)
    used = labelled & np.isfinite(prediction)
    n_labels = int(labelled.sum())
    if baseline is not None:
        used &= np.isfinite(baseline)
    if not used.any():
        return Rows(None, n_labels, reason or (NOT_DETERMINED if n_labels else "the test frames have no energy labels"))
    rows = Sample(
        prediction=prediction[used, None],
        label=label[used, None],
        frame=np.flatnonzero(used),
        n_frames=len(label),
        baseline=None if baseline is None else baseline[used, None],
    )
    return Rows(rows, n_labels, None)


def array_rows(items: Iterable[tuple[Floats | None, Floats | None]], name: str, width: int) -> Rows:
    """Rows of the frames that have both a label and a prediction.

    Args:
        items: Label and prediction of each frame, of any shape whose size ``width`` divides.
        name: Of the quantity, for the reason why there are none.
        width: Columns of a row.
    """
    predictions, labels, index, n_labels, n_frames = [], [], [], 0, 0
    for i, (label, prediction) in enumerate(items):
        n_frames = i + 1
        n_labels += label is not None
        if label is not None and prediction is not None:
            labels.append(label.reshape(-1, width))
            predictions.append(prediction.reshape(-1, width))
            index.append(np.full(len(labels[-1]), i))
    if not labels:
        return Rows(None, n_labels, f"the model predicts no {name}" if n_labels else f"the test frames have no {name}")
    rows = Sample(
        prediction=np.concatenate(predictions),
        label=np.concatenate(labels),
        frame=np.concatenate(index),
        n_frames=n_frames,
    )
    return Rows(rows, n_labels, None)


def _both(test: Joined, name: str) -> list[tuple[Floats | None, Floats | None]]:
    return [
        (getattr(frame, name), getattr(record, name))
        for frame, record in zip(test.frames, test.predictions, strict=True)
    ]


def _absolute(moments: Floats | None) -> Floats | None:
    return None if moments is None else np.abs(moments)


def _fit(numbers: Sequence[NDArray[np.int64]], values: Floats) -> ElementalReferences | None:
    """Offsets of the frames that have a value, if there are any."""
    there = np.isfinite(values)
    return references.fit(_take(numbers, there), values[there]) if there.any() else None


def _take(numbers: Sequence[NDArray[np.int64]], keep: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    return [item for item, kept in zip(numbers, keep, strict=True) if kept]


def _energy_per_atom(frame: Frame) -> float:
    return np.nan if frame.energy is None else frame.energy / frame.n_atoms


def _per_atom(frames: Sequence[Frame], values: Sequence[float | None]) -> Floats:
    return np.array(
        [np.nan if value is None else value / frame.n_atoms for frame, value in zip(frames, values, strict=True)],
        dtype=np.float64,
    )
