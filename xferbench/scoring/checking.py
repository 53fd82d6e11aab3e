"""Do predictions answer the task? Every reason why not, in one message with counts, the first ids and what to do."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from xferbench import measure
from xferbench.dataset import read_labels
from xferbench.errors import DataError, PredictionsError, UsageError
from xferbench.hygiene import HUBBARD_U
from xferbench.labels import PredictionTable, Ragged, Values
from xferbench.records import LARGEST, Digest, Frame, Prediction
from xferbench.results import DatasetEntry
from xferbench.scoring.reading import some
from xferbench.scoring.slicing import with_hubbard
from xferbench.tasks.kind import kind_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from xferbench.dataset import Dataset
    from xferbench.functionals import Side
    from xferbench.labels import Labels
    from xferbench.records import Predictions
    from xferbench.tasks import Task

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]
    Mask = NDArray[np.bool_]
    Objects = NDArray[np.object_]

NO_PREDICTION = "no prediction"
"""The error of a frame that predictions leave out, where that is allowed."""

PER_ATOM_RATIO = 0.5
"""Energies times atoms must fit the labels at least this much better before they are called per-atom energies."""

PER_ATOM_FLOOR = 1e-3
"""eV/atom. Energies that fit the labels better than this are not doubted."""

DOUBTED = 20_000
"""Energies that are looked at to tell eV from eV/atom."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Expected:
    """The pairs whose frames of one side a task wants predictions for, each part sorted by ``frame_id`` of that side.

    Attributes:
        dataset: That they are of.
        side: To be predicted.
        test: Pairs that are scored.
        calibration: Pairs that elemental offsets are fitted on.
        frame_ids: Returns the ids of all frames of the data set. Predictions of those that are not expected are ignored.
        limit: Number of test frames if they are not all of them.
        excluded: Flag that the task excludes, or what its kind does not need -> pairs of the split that have it.
        n_excluded: Pairs left out, with any of them.
    """

    dataset: DatasetEntry
    side: Side
    test: Labels
    calibration: Labels
    frame_ids: Callable[[], frozenset[str]]
    limit: int | None = None
    excluded: Mapping[str, int] = field(default_factory=dict)
    n_excluded: int = 0

    @property
    def frames(self) -> list[Frame]:
        """All frames to predict, sorted by ``frame_id``; if they were read with structures."""
        return sorted((*self.test_frames, *self.calibration_frames), key=lambda frame: frame.frame_id)

    @property
    def test_frames(self) -> list[Frame]:
        """Those that are scored, as ``frames``."""
        return [self.test.structures[i].of(self.side) for i in range(len(self.test))]

    @property
    def calibration_frames(self) -> list[Frame]:
        """Those that offsets are fitted on, as ``frames``."""
        return [self.calibration.structures[i].of(self.side) for i in range(len(self.calibration))]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answer:
    """Predictions of some frames, in their order.

    Attributes:
        values: NaN or nothing where there is no prediction.
        error: (n,) why there is none, else None.
    """

    values: Values
    error: Objects


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Checked:
    """Predictions that fit.

    Attributes:
        test: Of the test frames.
        calibration: Of the calibration frames.
        ignored: Number of predictions of other frames of the data set.
    """

    test: Answer
    calibration: Answer
    ignored: int


def expected_frames(task: Task, dataset: Dataset, *, limit: int | None = None, structures: bool = True) -> Expected:
    """The frames to predict, and everything that is known of their labels: the one time that the data set is read.

    Args:
        task: Names the splits, the side and the number of calibration frames.
        dataset: Holds the pairs.
        limit: Take only the first test frames by ``frame_id``, for a trial; all calibration frames stay.
        structures: Whether frames are wanted, to run a model on, and not only their labels.

    Raises:
        UsageError: The limit is not positive.
        DataError: A split is empty, or the data set has no pairs or no structures.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"the limit must be at least 1, not {limit}; leave it out to score all frames")
    dataset.check_pairs()
    dataset.check_structures()
    without_u = HUBBARD_U in task.pairs.exclude

    def eligible(labels: Labels) -> Mask:
        there = np.isfinite(labels.of(task.side).values.energy)
        return there & ~with_hubbard(labels, task.side) if without_u else there

    read = read_labels(
        dataset,
        task.split,
        task.calibration,
        eligible=eligible,
        at_most=task.calibration_frames,
        structures=structures or kind_of(task).structures,
    )
    if not len(read.test):
        raise DataError(
            f"split {task.split!r} of data set {dataset.name} has no {task.side} frames; choose another split"
        )
    if not len(read.calibration):
        raise DataError(
            f"split {task.calibration!r} of data set {dataset.name} has no {task.side} frames with an energy to calibrate on; "
            "choose another split"
        )
    needed, left_out = _needed(task, read.test)
    test = _by_frame(read.test.take(needed), task.side)
    limited = limit is not None and limit < len(test)
    test = test.take(np.arange(limit or 0)) if limited else test
    calibration = _by_frame(read.calibration, task.side)
    scored = Digest()
    scored.add(test.digest, calibration.digest)
    return Expected(
        dataset=DatasetEntry(
            name=dataset.name, version=dataset.version, fingerprint=dataset.fingerprint, labels=scored.hexdigest()
        ),
        side=task.side,
        test=test,
        calibration=calibration,
        frame_ids=read.frame_ids,
        limit=limit if limited else None,
        excluded=left_out,
        n_excluded=int((~needed).sum()),
    )


def _needed(task: Task, test: Labels) -> tuple[Mask, dict[str, int]]:
    """(n,) pairs of the split that are scored, and how many are not, by flag or by what the kind of task needs."""
    flags = {name: test.flags[name] for name in task.pairs.exclude}
    kept = ~np.logical_or.reduce([np.zeros(len(test), dtype=bool), *flags.values()])
    if not kept.any():
        raise DataError(f"task {task.key} excludes all {len(kept)} pairs of {task.split!r}; exclude fewer flags")
    counts = {name: int(mask.sum()) for name, mask in flags.items()}
    kind, rows = kind_of(task), np.flatnonzero(kept)
    if kind.wanted:
        useless = rows[~kind.needs(test.take(rows), task.side)]
        kept[useless] = False
        counts[kind.wanted] = len(useless)
    if not kept.any():
        raise DataError(
            f"task {task.key} of kind {task.kind!r} can use none of the {len(rows)} pairs of {task.split!r}: all are "
            f"{kind.wanted}; choose another data set or split"
        )
    return kept, counts


def _by_frame(labels: Labels, side: Side) -> Labels:
    return labels.take(np.argsort(labels.of(side).frame_id.astype(str), kind="stable"))


def check(
    predictions: Predictions, expected: Expected, *, allow_missing: bool = False, where: object = "predictions"
) -> Checked:
    """Match predictions with frames.

    Args:
        predictions: As a model or a file gave them.
        expected: Frames that need one.
        allow_missing: Count frames without prediction as failures instead of refusing.
        where: The file, for the message.

    Raises:
        PredictionsError: Ids missing, doubled or unknown; neither numbers nor error, or both; wrong shapes; numbers that
            are not finite; energies that look like eV/atom. All in one message.
    """
    table = PredictionTable.of(predictions.records)
    sides = [part.of(expected.side) for part in (expected.test, expected.calibration)]
    ids = np.concatenate([side.frame_id for side in sides])
    n_atoms = np.concatenate([side.n_atoms for side in sides])
    energies = np.concatenate([side.values.energy for side in sides])
    place = {frame_id: i for i, frame_id in enumerate(ids.tolist())}
    row_of = np.full(len(ids), -1)
    for row, frame_id in enumerate(table.frame_id.tolist()):
        at = place.get(frame_id)
        if at is not None:
            row_of[at] = row
    found = np.flatnonzero(row_of >= 0)
    given = table.take(row_of[found])
    # only floors may predict no energy at all: a potential without energies is a mistake in the file
    problems = _id_problems(table, expected, ids, row_of, allow_missing=allow_missing)
    problems += _content_problems(given, energy_needed=predictions.settings.get("kind") != "floor", odd=table.odd)
    problems += _shape_problems(given, n_atoms[found], table.odd)
    problems += _finite_problems(given)
    if not problems:
        numbers = Ragged.join([side.numbers for side in sides]).take(found)
        problems = _per_atom_problems(given.energy, energies[found], numbers)
    if problems:
        raise PredictionsError(f"{where}: {'; '.join(problems)}")
    answers = _answers(given, found, len(ids))
    n_test = len(expected.test)
    return Checked(
        test=Answer(values=answers.values.take(np.arange(n_test)), error=answers.error[:n_test]),
        calibration=Answer(values=answers.values.take(np.arange(n_test, len(ids))), error=answers.error[n_test:]),
        ignored=len(table) - len(found),
    )


def _answers(given: PredictionTable, found: Integers, n: int) -> Answer:
    """Predictions of all frames, in their order, with an error where there is none.

    Args:
        given: Predictions of some of them.
        found: Which.
        n: Number of frames.
    """
    values = Values(energy=given.energy, forces=given.forces, stress=given.matrices(), magmoms=given.magmoms)
    error = np.array([text or None for text in given.error], dtype=object)
    if len(found) == n:
        return Answer(values=values, error=error)
    absent = Values.of([Prediction(frame_id="")])
    place = np.full(n, len(found))
    place[found] = np.arange(len(found))
    all_errors = np.full(n, NO_PREDICTION, dtype=object)
    all_errors[found] = error
    return Answer(values=Values.join([values, absent]).take(place), error=all_errors)


def _id_problems(
    table: PredictionTable, expected: Expected, ids: Objects, row_of: Integers, *, allow_missing: bool
) -> list[str]:
    counts = Counter(table.frame_id.tolist())
    others = counts.keys() - set(ids.tolist())
    unknown = others - expected.frame_ids() if others else others
    problems = []
    if unknown:
        problems.append(f"{some(sorted(unknown))} not in the data set: check the ids, and the data set's version")
    doubled = [frame_id for frame_id, count in counts.items() if count > 1] if len(counts) < len(table) else []
    if doubled:
        problems.append(f"{some(doubled)} more than once: keep one row for each")
    missing = ids[row_of < 0].tolist()
    if missing and not allow_missing:
        rest = len(others - unknown)
        hint = (
            f" ({rest} predictions are of other frames of the data set: another split or functional?)" if rest else ""
        )
        problems.append(
            f"{some(missing)} of {len(ids)} without prediction{hint}: the scored split and the calibration frames, on "
            "which elemental offsets are fitted, are both needed; predict them, give each an error text, or count them as "
            "failures with --allow-missing"
        )
    return problems


def _content_problems(
    given: PredictionTable, *, energy_needed: bool, odd: Mapping[str, Mapping[str, tuple[int, ...]]]
) -> list[str]:
    has_any = given.has_energy | given.forces.present | given.stress.present | given.magmoms.present
    misshapen = {frame_id for ids in odd.values() for frame_id in ids}
    if misshapen:
        has_any |= np.array([frame_id in misshapen for frame_id in given.frame_id], dtype=bool)
    failed = np.array([bool(text) for text in given.error], dtype=bool)
    empty = given.frame_id[~failed & (~has_any | (energy_needed & ~given.has_energy))].tolist()
    both = given.frame_id[failed & has_any].tolist()
    problems = []
    if empty:
        problems.append(f"{some(empty)} with neither energy nor error: give one of them")
    if both:
        problems.append(f"{some(both)} with both numbers and an error: a failed structure has no numbers")
    return problems


def _shape_problems(
    given: PredictionTable, n_atoms: Integers, odd: Mapping[str, Mapping[str, tuple[int, ...]]]
) -> list[str]:
    problems = []
    atoms = dict(zip(given.frame_id.tolist(), n_atoms.tolist(), strict=True))
    for name, shapes in (("forces", "({n}, 3)"), ("stress", "(3, 3) or (6,)"), ("magmoms", "({n},)")):
        column: Ragged = getattr(given, name)
        lengths = column.lengths
        fits = np.isin(lengths, (6, 9)) if name == "stress" else lengths == n_atoms
        wrong: dict[str, tuple[int, ...]] = {
            frame_id: (length, 3) if name == "forces" else (length,)
            for frame_id, length in zip(
                given.frame_id[column.present & ~fits].tolist(), lengths[column.present & ~fits].tolist(), strict=True
            )
        }
        wrong |= {frame_id: shape for frame_id, shape in odd.get(name, {}).items() if frame_id in atoms}
        if wrong:
            first = min(wrong)
            wanted = shapes.format(n=atoms[first])
            problems.append(
                f"{some(list(wrong))} with {name} of the wrong shape, for example {wrong[first]} instead of {wanted}"
            )
    return problems


def _finite_problems(given: PredictionTable) -> list[str]:
    bad = given.has_energy & ~(np.abs(given.energy) <= LARGEST)  # true for NaN too
    for column in (given.forces, given.stress, given.magmoms):
        rows = ~(np.abs(column.values) <= LARGEST)
        rows = rows if rows.ndim == 1 else rows.any(axis=1)
        bad |= np.bincount(column.owner[rows], minlength=len(given)) > 0
    if not bad.any():
        return []
    return [
        f"{some(given.frame_id[bad].tolist())} with NaN, infinite or absurdly large numbers: give an error text instead of numbers"
    ]


def _per_atom_problems(energy: Floats, label: Floats, numbers: Ragged) -> list[str]:
    """Energies per atom instead of total ones, told by which of the two the labels support.

    Any set of total energies is compared after the best elemental offsets, so neither the energy zero nor the functional
    matters: only whether e or n·e follows the labels over cells of different sizes.
    """
    usable = np.flatnonzero(np.isfinite(energy) & np.isfinite(label))
    usable = usable[:: -(-len(usable) // DOUBTED) or 1]
    part = numbers.take(usable)
    sizes = part.lengths.astype(np.float64)
    if len(np.unique(sizes)) < 2:
        return []
    compositions = measure.fractions(part.values, part.offsets, np.unique(part.values))
    differences = np.stack([(label - energy)[usable] / sizes, label[usable] / sizes - energy[usable]], axis=1)
    every = np.arange(len(usable))
    fitted = measure.fit(compositions, differences, every, len(usable))
    if fitted is None:
        return []
    as_total, as_per_atom = np.sqrt((fitted.rest**2).mean(axis=0)).tolist()
    if as_total < PER_ATOM_FLOOR or as_per_atom > PER_ATOM_RATIO * as_total:
        return []
    message = (
        f"energies look like eV/atom: times the number of atoms they follow the labels to {as_per_atom:.3g} eV/atom "
        f"after alignment, as they are to {as_total:.3g}; multiply each by the number of atoms of its cell"
    )
    return [message]
