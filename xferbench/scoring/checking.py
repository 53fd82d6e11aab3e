"""Do predictions answer the task? Every reason why not, in one message with counts, the first ids and what to do."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from xferbench import references
from xferbench.dataset import pair_flags
from xferbench.errors import DataError, PredictionsError, UsageError
from xferbench.hygiene import HUBBARD_U
from xferbench.records import Functional, Prediction
from xferbench.scoring.reading import normal, some

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from xferbench.dataset import Dataset
    from xferbench.records import Frame, Predictions
    from xferbench.tasks import Task

    Floats = NDArray[np.float64]

NO_PREDICTION = "no prediction"
"""The error of a frame that predictions leave out, where that is allowed."""

LARGEST = 1e100
"""Numbers beyond this are as useless as infinity, and their squares soon are infinite."""

PER_ATOM_RATIO = 0.5
"""Energies times atoms must fit the labels at least this much better before they are called per-atom energies."""

PER_ATOM_FLOOR = 1e-3
"""eV/atom. Energies that fit the labels better than this are not doubted."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Expected:
    """The frames a task wants predictions for, each list sorted by ``frame_id``.

    Attributes:
        test: Frames that are scored.
        calibration: Frames that elemental offsets are fitted on.
        limit: Number of test frames if they are not all of them.
        excluded: Pair id -> those of its flags that the task excludes, of the pairs left out.
    """

    test: Sequence[Frame]
    calibration: Sequence[Frame]
    limit: int | None = None
    excluded: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @property
    def frames(self) -> list[Frame]:
        """All of them, sorted by ``frame_id``."""
        return sorted((*self.test, *self.calibration), key=lambda frame: frame.frame_id)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Checked:
    """Predictions that fit.

    Attributes:
        records: ``frame_id`` -> prediction, one for each expected frame.
        ignored: Number of predictions of other frames of the data set.
    """

    records: Mapping[str, Prediction]
    ignored: int


def expected_frames(task: Task, dataset: Dataset, *, limit: int | None = None) -> Expected:
    """The frames to predict.

    Args:
        task: Names the splits and the functional.
        dataset: Holds the frames.
        limit: Take only the first test frames by ``frame_id``, for a trial; all calibration frames stay.

    Raises:
        UsageError: The limit is not positive.
        DataError: A split is empty, or the data set has no pairs or no structures.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"the limit must be at least 1, not {limit}; leave it out to score all frames")
    dataset.check_pairs()
    dataset.check_structures()
    lists = {}
    for split in (task.split, task.calibration):
        lists[split] = sorted(dataset.frames(task.family, split), key=lambda frame: frame.frame_id)
        if not lists[split]:
            raise DataError(
                f"split {split!r} of data set {dataset.name} has no {task.family} frames; choose another split"
            )
    excluded = excluded_pairs(task, dataset)
    test = [frame for frame in lists[task.split] if frame.pair_id not in excluded]
    if not test:
        raise DataError(f"task {task.key} excludes all {len(excluded)} pairs of {task.split!r}; exclude fewer flags")
    limited = limit is not None and limit < len(test)
    with_u = Functional.PBE_U if HUBBARD_U in task.pairs.exclude else None
    return Expected(
        test=test[:limit],
        calibration=[frame for frame in lists[task.calibration] if frame.functional is not with_u],
        limit=limit if limited else None,
        excluded=excluded,
    )


def excluded_pairs(task: Task, dataset: Dataset) -> dict[str, frozenset[str]]:
    """Pair id -> those of its flags that the task excludes, of the pairs of the scored split that have any."""
    unwanted = frozenset(task.pairs.exclude)
    if not unwanted:
        return {}
    flags = pair_flags(dataset, task.split)
    return {pair_id: found & unwanted for pair_id, found in flags.items() if found & unwanted}


def check(
    predictions: Predictions,
    expected: Expected,
    known: Iterable[str],
    *,
    allow_missing: bool = False,
    where: object = "predictions",
) -> Checked:
    """Match predictions with frames.

    Args:
        predictions: As a model or a file gave them.
        expected: Frames that need one.
        known: Ids of all frames of the data set. Predictions of those that are not expected are ignored and counted.
        allow_missing: Count frames without prediction as failures instead of refusing.
        where: The file, for the message.

    Raises:
        PredictionsError: Ids missing, doubled or unknown; neither numbers nor error, or both; wrong shapes; numbers that
            are not finite; energies that look like eV/atom. All in one message.
    """
    frames = {frame.frame_id: frame for frame in expected.frames}
    records = {record.frame_id: record for record in predictions.records if record.frame_id in frames}
    # only floors may predict no energy at all: a potential without energies is a mistake in the file
    energy_needed = predictions.settings.get("kind") != "floor"
    problems = _id_problems(predictions, frames, known, allow_missing=allow_missing)
    problems += _content_problems(records.values(), energy_needed=energy_needed)
    problems += _shape_problems(records.values(), frames)
    problems += _finite_problems(records.values())
    problems = problems or _per_atom_problems(records, frames)
    if problems:
        raise PredictionsError(f"{where}: {'; '.join(problems)}")
    absent = {frame_id: Prediction(frame_id=frame_id, error=NO_PREDICTION) for frame_id in frames.keys() - records}
    return Checked(
        records={**{frame_id: normal(record) for frame_id, record in records.items()}, **absent},
        ignored=sum(record.frame_id not in frames for record in predictions.records),
    )


def _id_problems(
    predictions: Predictions, frames: Mapping[str, Frame], known: Iterable[str], *, allow_missing: bool
) -> list[str]:
    counts = Counter(record.frame_id for record in predictions.records)
    others = counts.keys() - frames.keys()
    unknown = others.difference(known) if others else others  # the whole data set is read only if it has to be
    problems = []
    if unknown:
        problems.append(f"{some(sorted(unknown))} not in the data set: check the ids, and the data set's version")
    doubled = [frame_id for frame_id, count in counts.items() if count > 1]
    if doubled:
        problems.append(f"{some(doubled)} more than once: keep one row for each")
    missing = frames.keys() - counts.keys()
    if missing and not allow_missing:
        rest = len(others - unknown)
        hint = (
            f" ({rest} predictions are of other frames of the data set: another split or functional?)" if rest else ""
        )
        problems.append(
            f"{some(list(missing))} of {len(frames)} without prediction{hint}: the scored split and the calibration split, on "
            "which elemental offsets are fitted, are both needed; predict them, give each an error text, or count them as "
            "failures with --allow-missing"
        )
    return problems


def _content_problems(records: Iterable[Prediction], *, energy_needed: bool) -> list[str]:
    empty, both = [], []
    for record in records:
        values = [record.energy, record.forces, record.stress, record.magmoms]
        has_any = any(value is not None for value in values)
        if record.error:
            if has_any:
                both.append(record.frame_id)
        elif not has_any or (energy_needed and record.energy is None):
            empty.append(record.frame_id)
    problems = []
    if empty:
        problems.append(f"{some(empty)} with neither energy nor error: give one of them")
    if both:
        problems.append(f"{some(both)} with both numbers and an error: a failed structure has no numbers")
    return problems


def _shape_problems(records: Iterable[Prediction], frames: Mapping[str, Frame]) -> list[str]:
    wrong: dict[str, list[str]] = {}
    examples: dict[str, str] = {}
    for record in records:
        for name, allowed in _shapes(frames[record.frame_id]).items():
            value = getattr(record, name)
            if value is not None and np.shape(value) not in allowed:
                wrong.setdefault(name, []).append(record.frame_id)
                examples.setdefault(name, f"{np.shape(value)} instead of {' or '.join(map(str, allowed))}")
    return [f"{some(ids)} with {name} of the wrong shape, for example {examples[name]}" for name, ids in wrong.items()]


def _shapes(frame: Frame) -> dict[str, list[tuple[int, ...]]]:
    """Shapes each array may have."""
    return {"forces": [(frame.n_atoms, 3)], "stress": [(3, 3), (6,)], "magmoms": [(frame.n_atoms,)]}


def _finite_problems(records: Iterable[Prediction]) -> list[str]:
    bad = [
        record.frame_id
        for record in records
        if any(
            value is not None and not bool(np.all(np.abs(value) < LARGEST))  # false for NaN too
            for value in (record.energy, record.forces, record.stress, record.magmoms)
        )
    ]
    if not bad:
        return []
    return [f"{some(bad)} with NaN, infinite or absurdly large numbers: give an error text instead of numbers"]


def _per_atom_problems(records: Mapping[str, Prediction], frames: Mapping[str, Frame]) -> list[str]:
    """Energies per atom instead of total ones, told by which of the two the labels support.

    Any set of total energies is compared after the best elemental offsets, so neither the energy zero nor the functional
    matters: only whether e or n·e follows the labels over cells of different sizes.
    """
    usable = [(frame, records[key].energy) for key, frame in sorted(frames.items()) if key in records]
    usable = [(frame, energy) for frame, energy in usable if energy is not None and frame.energy is not None]
    sizes = np.array([frame.n_atoms for frame, _ in usable], dtype=np.float64)
    if len(set(sizes.tolist())) < 2:
        return []
    label = np.array([frame.energy for frame, _ in usable]) / sizes
    energy = np.array([energy for _, energy in usable])
    numbers = [frame.numbers for frame, _ in usable]
    as_total = references.fit(numbers, label - energy / sizes).rmse
    as_per_atom = references.fit(numbers, label - energy).rmse
    if as_total < PER_ATOM_FLOOR or as_per_atom > PER_ATOM_RATIO * as_total:
        return []
    message = (
        f"energies look like eV/atom: times the number of atoms they follow the labels to {as_per_atom:.3g} eV/atom "
        f"after alignment, as they are to {as_total:.3g}; multiply each by the number of atoms of its cell"
    )
    return [message]
