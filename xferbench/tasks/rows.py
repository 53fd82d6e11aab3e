"""From labels and predictions to the rows that metrics take: energies three ways, differences, gaps, forces, stresses, moments.

Energies are per atom, and ``NaN`` stands for "there is none". Every frame keeps its number, so that a part of the frames is a part
of the rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from xferbench import measure, references
from xferbench.errors import DataError
from xferbench.labels import Ragged
from xferbench.measure import RESOLUTION, Refits, Sample, clusters
from xferbench.measure.estimating import NO_FREEDOM
from xferbench.records import Geometry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    from xferbench.functionals import Side
    from xferbench.labels import Calculations, Labels, Values
    from xferbench.measure import Design, Offsets
    from xferbench.tasks.task import Bootstrap

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]
    Mask = NDArray[np.bool_]

NO_ENERGY = "the model predicts no energy"
NOTHING_CALIBRATED = "no calibration frame has an energy prediction"
NOT_DETERMINED = "no test composition is determined by the calibration frames"
NO_REFERENCES = "the model declares no elemental references"
SOURCE_TASK = "gaps are scored on target tasks"
NO_LABELS = "the test frames have no energy labels"
NO_PAIR = "no two test frames with energy labels have one composition"
NO_PREDICTED_PAIR = "no two test frames of one composition have predictions"
NO_ROWS = "no frame of this part has both a label and a prediction"
OTHER_GEOMETRY = "the frames of a pair differ in geometry"

POOLED = 20_000
"""Test frames whose errors noise is drawn from."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Joined:
    """Labels and the predictions of one side of them, in one order."""

    labels: Labels
    side: Side
    predicted: Values

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.labels)

    @property
    def own(self) -> Calculations:
        """The side that was predicted."""
        return self.labels.of(self.side)

    @property
    def label(self) -> Floats:
        """(n_frames,) energy labels, eV/atom."""
        return self.own.energy_per_atom

    @property
    def prediction(self) -> Floats:
        """(n_frames,) predicted energies, eV/atom."""
        return self.predicted.energy / self.own.n_atoms

    @property
    def gap(self) -> Floats:
        """(n_frames,) energy of the target minus that of the source, eV/atom."""
        return self.labels.target.energy_per_atom - self.labels.source.energy_per_atom

    def take(self, rows: Integers | Mask) -> Joined:
        """Some of the frames."""
        rows = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows.astype(np.int64, copy=False)
        return replace(self, labels=self.labels.take(rows), predicted=self.predicted.take(rows))


class Rows(NamedTuple):
    """What a metric is computed on.

    Attributes:
        sample: None if there is nothing to compute on.
        labelled: (n_frames,) frames that could be scored if every prediction were there.
        reason: Why there is no sample.
        refits: How the rows depend on the calibration frames, if they do.
        no_interval: Why it is not known how sure the rows are, if it is not.
    """

    sample: Sample | None
    labelled: Mask
    reason: str | None = None
    refits: Refits | None = None
    no_interval: str | None = None

    @property
    def n_labels(self) -> int:
        """Frames that could be scored if every prediction were there."""
        return int(self.labelled.sum())

    def part(self, inside: Mask, number: Integers, n_frames: int) -> Rows:
        """The rows of some frames.

        Args:
            inside: (n_frames,) which.
            number: (n_frames,) their new numbers.
            n_frames: Frames inside.
        """
        labelled = self.labelled[inside]
        if self.sample is None:
            return self._replace(labelled=labelled)
        keep = np.flatnonzero(inside[self.sample.frame])
        if not len(keep):
            return Rows(None, labelled, NO_ROWS)
        part = restrict(self.sample, keep)
        return self._replace(
            sample=replace(part, frame=number[part.frame], n_frames=n_frames),
            labelled=labelled,
            refits=None if self.refits is None else self.refits.rows(keep),
        )


def restrict(sample: Sample, keep: Integers) -> Sample:
    """Some of the rows; frames keep their numbers."""
    return replace(
        sample,
        prediction=sample.prediction[keep],
        label=sample.label[keep],
        frame=sample.frame[keep],
        baseline=None if sample.baseline is None else sample.baseline[keep],
        weight=None if sample.weight is None else sample.weight[keep],
        counted=None if sample.counted is None else sample.counted[keep],
    )


class View(NamedTuple):
    """One way to compare energies: (n_frames,) predictions and labels in eV/atom, and why there are none."""

    prediction: Floats
    label: Floats
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Calibrated:
    """Compositions of test and calibration frames, and offsets fitted and refitted on them.

    Attributes:
        elements: Atomic numbers of the columns.
        test: (n_frames, n_elements) composition fractions.
        calibration: The same of the calibration frames.
        material: (n_frames,) of the test frames.
        calibration_material: (n,) of the calibration frames, among all of their materials.
        n_materials: Calibration materials.
        plan: Of the bootstrap.
        designs: Which calibration frames have values -> what is the same for every fit to them, models and floors alike.
    """

    elements: Integers
    test: csr_matrix
    calibration: csr_matrix
    material: Integers
    calibration_material: Integers
    n_materials: int
    plan: Bootstrap
    designs: dict[bytes, Design]

    @classmethod
    @lru_cache(maxsize=1)  # the model and the floors of a command are about the same labels
    def of(cls, test: Labels, calibration: Labels, side: Side, plan: Bootstrap) -> Calibrated:
        """Of frames of one side."""
        numbers = [labels.of(side).numbers for labels in (test, calibration)]
        elements = np.unique(np.concatenate([item.values for item in numbers]))
        matrices = [measure.fractions(item.values, item.offsets, elements) for item in numbers]
        names, material = clusters(calibration.material_id.tolist())
        return cls(
            elements=elements,
            test=matrices[0],
            calibration=matrices[1],
            material=clusters(test.material_id.tolist())[1],
            calibration_material=material,
            n_materials=len(names),
            plan=plan,
            designs={},
        )

    def fit(self, values: Floats) -> Offsets | None:
        """Offsets of (n_calibration, k) values of the calibration frames, fitted to those that have all of them."""
        return measure.fit(self.calibration, values, self.calibration_material, self.n_materials, self.designs)

    def refits(self, offsets: Offsets, values: Floats) -> Floats | None:
        """(n_resamples, n_elements, k) what refitting changes; None if no side has materials to tell how sure offsets are.

        Args:
            offsets: Of k quantities.
            values: (n_frames, k) the same quantities of the test frames.
        """
        some = (
            np.unique(np.linspace(0, len(values) - 1, POOLED).astype(np.int64)) if len(values) > POOLED else slice(None)
        )
        errors = measure.pool(offsets, self.test[some], values[some], self.material[some])
        if errors is None:
            return None
        return offsets.refits(errors, n_resamples=self.plan.n, seed=self.plan.seed)

    def energies(self, offsets: Offsets) -> dict[str, float]:
        """Symbol -> eV/atom of the first quantity, for the elements that the calibration frames in use contain."""
        there: list[bool] = np.max(offsets.design.matrix > 0, axis=0).tolist()
        numbers = offsets.energies[:, 0].tolist()
        names = symbols(self.elements.tolist())
        return {name: energy for name, energy, known in zip(names, numbers, there, strict=True) if known}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Energies:
    """Energies of the test frames, all ways.

    Attributes:
        raw: As they are.
        referenced: Without the elemental references that the model declares, and that are fitted to the calibration labels.
        aligned: With the offsets added to the prediction.
        offsets: Fitted on the calibration frames to label minus prediction; None if no prediction is there.
        label_references: Fitted on the calibration frames to the labels.
        shift_references: Fitted on the calibration pairs to target minus source; None if no pair has both energies.
        composition: (n_frames,) composition energies of the labels, eV/atom.
        shift: (n_frames,) the same of target minus source: what a gap is without knowing anything but the elements.
        estimable: (n_frames,) whether the offsets of a frame's composition are determined.
        calibrated: What was fitted on.
        moves: ``offsets``, ``labels`` or ``shift`` -> (n_resamples, n_elements) what refitting changes; missing if that is not known.
    """

    raw: View
    referenced: View
    aligned: View
    offsets: Offsets | None
    label_references: Offsets
    shift_references: Offsets | None
    composition: Floats
    shift: Floats
    estimable: Mask
    calibrated: Calibrated
    moves: Mapping[str, Floats] = field(default_factory=dict)

    def take(self, rows: Integers) -> Energies:
        """Of some of the test frames."""

        def view(whole: View) -> View:
            return View(whole.prediction[rows], whole.label[rows], whole.reason)

        return replace(
            self,
            raw=view(self.raw),
            referenced=view(self.referenced),
            aligned=view(self.aligned),
            composition=self.composition[rows],
            shift=self.shift[rows],
            estimable=self.estimable[rows],
            calibrated=replace(
                self.calibrated, test=self.calibrated.test[rows], material=self.calibrated.material[rows]
            ),
        )


def energies(test: Joined, calibration: Joined, declared: Mapping[str, float] | None, plan: Bootstrap) -> Energies:
    """Compare energies three ways.

    Args:
        test: Frames that are scored.
        calibration: Frames that offsets and references are fitted on; none of them is in ``test``.
        declared: Elemental references the model declares, symbol -> eV/atom.
        plan: Of the bootstrap.

    Raises:
        DataError: No calibration frame has an energy label.
    """
    calibrated = Calibrated.of(test.labels, calibration.labels, test.side, plan)
    silent = None if np.isfinite(test.prediction).any() else NO_ENERGY
    wanted = {
        "offsets": (calibration.label - calibration.prediction, test.label - test.prediction),
        "labels": (calibration.label, test.label),
        "shift": (calibration.gap, test.gap),
    }
    fitted: dict[str, Offsets | None] = {}
    moves: dict[str, Floats] = {}
    for names in _alike({name: np.isfinite(fitted_on) for name, (fitted_on, _) in wanted.items()}):
        together = calibrated.fit(np.stack([wanted[name][0] for name in names], axis=1))
        changed = None
        if together is not None:
            changed = calibrated.refits(together, np.stack([wanted[name][1] for name in names], axis=1))
        for column, name in enumerate(names):
            fitted[name] = None if together is None else _column(together, column)
            if changed is not None:
                moves[name] = changed[:, :, column]
    labels, offsets = fitted["labels"], fitted["offsets"]
    if labels is None:
        raise DataError(f"none of {len(calibration)} calibration frames has an energy label; choose another split")
    added = _per_atom(offsets, calibrated.test)
    composition = _per_atom(labels, calibrated.test)
    return Energies(
        raw=View(test.prediction, test.label, silent),
        referenced=_referenced(test, calibrated, composition, declared, silent),
        aligned=View(test.prediction + added, test.label, silent or (NOTHING_CALIBRATED if offsets is None else None)),
        offsets=offsets,
        label_references=labels,
        shift_references=fitted["shift"],
        composition=composition,
        shift=_per_atom(fitted["shift"], calibrated.test),
        estimable=np.isfinite(added),
        calibrated=calibrated,
        moves=moves,
    )


def _alike(masks: Mapping[str, Mask]) -> list[list[str]]:
    """Names whose masks are equal together."""
    groups: dict[bytes, list[str]] = {}
    for name, mask in masks.items():
        groups.setdefault(mask.tobytes(), []).append(name)
    return list(groups.values())


def _column(offsets: Offsets, column: int) -> Offsets:
    return replace(offsets, energies=offsets.energies[:, [column]], rest=offsets.rest[:, [column]])


def _per_atom(offsets: Offsets | None, compositions: csr_matrix) -> Floats:
    """(n_frames,) composition energies in eV/atom, NaN where the fit does not determine them."""
    return np.full(compositions.shape[0], np.nan) if offsets is None else offsets.per_atom(compositions)[:, 0]


def _referenced(
    test: Joined,
    calibrated: Calibrated,
    composition: Floats,
    declared: Mapping[str, float] | None,
    silent: str | None,
) -> View:
    nothing = np.full(len(test), np.nan)
    if silent or declared is None:
        return View(nothing, test.label, silent or NO_REFERENCES)
    present = np.unique(test.own.numbers.values)
    names = symbols(present.tolist())
    lacking = [symbol for symbol in names if symbol not in declared]
    if lacking:
        return View(nothing, test.label, f"the model declares no elemental reference for {', '.join(lacking)}")
    wrong = [f"{symbol} {why}" for symbol, why in references.implausible(declared).items() if symbol in names]
    if wrong:
        return View(nothing, test.label, f"elemental references that the model declares cannot be: {'; '.join(wrong)}")
    energies_ = np.zeros(len(calibrated.elements))
    energies_[np.searchsorted(calibrated.elements, present)] = [declared[symbol] for symbol in names]
    known = np.isfinite(
        composition
    )  # where the labels have no reference the frame keeps its label, and counts as missing
    return View(
        np.where(known, test.prediction - calibrated.test @ energies_, np.nan),
        test.label - np.where(known, composition, 0.0),
    )


def symbols(elements: Sequence[int]) -> list[str]:
    """Chemical symbols of atomic numbers."""
    from ase.data import chemical_symbols

    return [chemical_symbols[element] for element in elements]


def energy_rows(view: View, energies: Energies | None = None, **moving: str) -> Rows:
    """One row per frame with a prediction and a label.

    Args:
        view: The energies.
        energies: What they were fitted with, if they depend on a fit.
        moving: ``prediction`` or ``label`` -> key of ``Energies.moves``, with its sign: an offset is added to a prediction, a
            reference is taken from a label.
    """
    return _frame_rows(view.prediction, view.label, view.reason, energies=energies, moving=moving)


def gap_rows(test: Joined, energies: Energies) -> Rows:
    """True gap, gap predicted by one model, and gap of the baseline "source label plus elemental offsets".

    The predicted gap is the aligned prediction of the target energy minus the source label. The baseline treats the source label
    as if a model had predicted it: offsets fitted on the calibration pairs are added to it.
    """
    source, aligned = test.labels.source.energy_per_atom, energies.aligned
    return _frame_rows(
        aligned.prediction - source,
        aligned.label - source,
        aligned.reason,
        baseline=energies.shift,
        energies=energies,
        moving={"prediction": "offsets", "baseline": "shift"},
    )


def _frame_rows(
    prediction: Floats,
    label: Floats,
    reason: str | None,
    *,
    baseline: Floats | None = None,
    energies: Energies | None = None,
    moving: Mapping[str, str],
) -> Rows:
    """Rows of width one for the frames that have everything."""
    labelled = np.isfinite(label)
    used = labelled & np.isfinite(prediction)
    if baseline is not None:
        used &= np.isfinite(baseline)
    if not used.any():
        return Rows(None, labelled, reason or (NOT_DETERMINED if labelled.any() else NO_LABELS))
    kept = np.flatnonzero(used)
    rows = Sample(
        prediction=prediction[kept, None],
        label=label[kept, None],
        frame=kept,
        n_frames=len(label),
        baseline=None if baseline is None else baseline[kept, None],
    )
    if energies is None:
        return Rows(rows, labelled)
    if not set(moving.values()) <= energies.moves.keys():
        return Rows(rows, labelled, no_interval=NO_FREEDOM)
    sides = {name: energies.moves[key] * (-1 if name == "label" else 1) for name, key in moving.items()}
    return Rows(rows, labelled, refits=Refits(fractions=energies.calibrated.test[kept], **sides))


def array_rows(label: Ragged, prediction: Ragged, name: str, free: Ragged | None = None) -> Rows:
    """Rows of the frames that have both a label and a prediction: one per atom, or one for a stress.

    Args:
        label: Of the quantity.
        prediction: Of the same shape where both are present.
        name: Of the quantity, for the reason why there are none.
        free: Which components symmetry leaves free, of every frame. The others are zero in any honest label and count for nothing; an
            atom, or a frame, without a free one has no row.
    """
    labelled = label.present
    if free is not None:
        some = np.zeros(len(label), dtype=bool)
        some[free.owner[free.values.any(axis=1)]] = True
        labelled = labelled & some
    kept = np.flatnonzero(labelled & prediction.present)
    if not len(kept):
        if labelled.any():
            return Rows(None, labelled, f"the model predicts no {name}")
        held = label.present.any()
        return Rows(None, labelled, f"symmetry holds all {name} at zero" if held else f"the test frames have no {name}")
    labels, predictions = label.take(kept), prediction.take(kept)
    shape = (len(labels.values), -1)
    rows = Sample(
        prediction=predictions.values.reshape(shape),
        label=labels.values.reshape(shape),
        frame=kept[labels.owner],
        n_frames=len(label),
    )
    return Rows(rows if free is None else _free(rows, free.take(kept).values), labelled)


def _free(rows: Sample, free: Mask) -> Sample:
    """The rows with some free component; the components that are not free are zero on both sides."""
    part = replace(
        rows,
        prediction=np.where(free, rows.prediction, 0.0),
        label=np.where(free, rows.label, 0.0),
        counted=free.sum(axis=1).astype(np.float64),
    )
    return part if free.any(axis=1).all() else restrict(part, np.flatnonzero(free.any(axis=1)))


def magmom_rows(label: Ragged, prediction: Ragged) -> Rows:
    """One row per atom: absolute values, since the sign of a moment is a choice of the calculation."""
    sizes = [replace(side, values=np.abs(side.values)) for side in (label, prediction)]
    return array_rows(sizes[0], sizes[1], "magmoms")


def difference_to_source(test: Joined, name: str) -> Rows:
    """Predicted and true target forces or stresses, each minus the source label."""
    nobody = np.zeros(len(test), dtype=bool)
    if test.labels.geometry is not Geometry.SAME_GEOMETRY:
        return Rows(None, nobody, OTHER_GEOMETRY)
    source, target, predicted = (
        getattr(side, name) for side in (test.labels.source.values, test.labels.target.values, test.predicted)
    )
    both = source.present & target.present
    free = None if test.own.free is None else getattr(test.own.free, name)
    return array_rows(_minus(target, source, both), _minus(predicted, source, both & predicted.present), name, free)


def _minus(first: Ragged, second: Ragged, present: Mask) -> Ragged:
    """The difference of the frames that have both, and nothing of the others."""
    kept = np.flatnonzero(present)
    values = first.take(kept).values - second.take(kept).values
    lengths = np.where(present, first.lengths, 0)
    return Ragged(values=values, offsets=np.concatenate([[0], np.cumsum(lengths)]), present=present)


def difference_rows(test: Joined) -> Rows:
    """One row per pair of frames of one composition: the difference of their energies per atom.

    The rows of a composition weigh one together and belong to the material of its first frame, so that a composition is
    drawn as a whole even if each polymorph is a material of its own. Their number grows with the square of the frames of
    one composition. Within a composition elemental offsets cancel.
    """
    groups, labelled = _compositions(test)
    if not groups:
        return _nothing(test, labelled)
    label, prediction = test.label, test.prediction
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
        n_frames=len(test),
        weight=np.concatenate(weight),
        members=_members(groups, len(test)),
    )
    return Rows(rows, labelled)


def ground_rows(test: Joined) -> Rows:
    """Per composition the label of the frame predicted lowest, beside the lowest label.

    Frames that are predicted lowest together share the row's weight: a prediction that knows no difference hits as often as
    chance does.
    """
    groups, labelled = _compositions(test)
    if not groups:
        return _nothing(test, labelled)
    label, prediction = test.label, test.prediction
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
        n_frames=len(test),
        weight=np.concatenate(weight),
        members=_members(groups, len(test)),
    )
    return Rows(rows, labelled)


def _compositions(test: Joined) -> tuple[list[Integers], Mask]:
    """Frames of each composition that has two with label and prediction, and the frames that could have entered."""
    keys = composition_keys(test.own.numbers)
    labelled = _shared(keys, np.isfinite(test.label))
    usable = _shared(keys, labelled & np.isfinite(test.prediction))
    rows = np.flatnonzero(usable)
    order = rows[np.argsort(keys[rows], kind="stable")]
    groups = np.split(order, np.flatnonzero(np.diff(keys[order])) + 1) if len(order) else []
    return sorted(groups, key=lambda members: int(members[0])), labelled


def _shared(keys: NDArray[np.uint64], wanted: Mask) -> Mask:
    """Those of the wanted frames that share their composition with another wanted one."""
    out = np.zeros(len(keys), dtype=bool)
    _, inverse, counts = np.unique(keys[wanted], return_inverse=True, return_counts=True)
    out[wanted] = counts[inverse] > 1
    return out


def composition_keys(numbers: Ragged) -> NDArray[np.uint64]:
    """A hash of the reduced formula of each frame: cells of any size of one composition agree."""
    owner = numbers.owner
    pairs, counts = np.unique(owner * 128 + numbers.values, return_counts=True)
    frame = pairs // 128
    starts = np.flatnonzero(np.diff(frame, prepend=-1))
    divisor = np.gcd.reduceat(counts, starts)
    reduced = counts // np.repeat(divisor, np.diff(np.append(starts, len(pairs))))
    return np.add.reduceat(_mixed((pairs % 128).astype(np.uint64) << np.uint64(32) | reduced.astype(np.uint64)), starts)


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64: neighbouring numbers become unrelated ones, of which even sums hardly ever agree."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _members(groups: Sequence[Integers], n_frames: int) -> Mask:
    members = np.zeros(n_frames, dtype=np.bool_)
    members[np.concatenate(groups)] = True
    return members


def _nothing(test: Joined, labelled: Mask) -> Rows:
    if not labelled.any():
        return Rows(None, labelled, NO_PAIR)
    return Rows(None, labelled, NO_PREDICTED_PAIR if np.isfinite(test.prediction).any() else NO_ENERGY)
