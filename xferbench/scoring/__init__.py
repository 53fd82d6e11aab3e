"""Predictions + task -> result. Needs numpy and the data set; no potential has to be installed.

``read_predictions`` reads anybody's file, ``expected_frames`` says which frames a task wants, ``score`` checks, aligns,
measures and puts everything into one ``Result``; ``compare`` tells whether models
differ.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from xferbench.errors import CheckFailedError, IntegrityError
from xferbench.results import (
    Alignment,
    Corrections,
    Counts,
    DatasetEntry,
    Excluded,
    ModelEntry,
    PredictionsEntry,
    References,
    Result,
    TaskEntry,
)
from xferbench.scoring import rows as rows_of
from xferbench.scoring.checking import Checked, Expected, check, expected_frames
from xferbench.scoring.comparing import Compared, Entrant, compare, metric_of
from xferbench.scoring.corrections import detect
from xferbench.scoring.identity import identify
from xferbench.scoring.measuring import measure, parity, per_element
from xferbench.scoring.overlap import Audited, check_audit, overlap
from xferbench.scoring.quantities import keyed
from xferbench.scoring.reading import read_predictions
from xferbench.scoring.slicing import slices
from xferbench.scoring.suspicions import suspect
from xferbench.scoring.two_models import add_gap

if TYPE_CHECKING:
    from xferbench.dataset import Dataset
    from xferbench.records import Predictions
    from xferbench.results import Environment, ModelFacts
    from xferbench.scoring.rows import Energies, Joined
    from xferbench.tasks import Task

__all__ = [
    "Audited",
    "Checked",
    "Compared",
    "Entrant",
    "Expected",
    "add_gap",
    "check",
    "check_audit",
    "check_dataset",
    "compare",
    "expected_frames",
    "metric_of",
    "read_predictions",
    "score",
]


def check_dataset(task: Task, dataset: Dataset) -> None:
    """Whether a data set is the one that a task pins.

    Raises:
        IntegrityError: It is not.
    """
    if dataset.fingerprint != task.fingerprint:
        raise IntegrityError(
            f"task {task.key} is about data with fingerprint {task.fingerprint}, but {dataset.directory} has "
            f"{dataset.fingerprint}; prepare data set {task.dataset!r} again with this version"
        )


def score(
    task: Task,
    dataset: Dataset,
    predictions: Predictions,
    *,
    facts: ModelFacts,
    environment: Environment,
    task_sha256: str,
    limit: int | None = None,
    allow_missing: bool = False,
    audited: Audited | None = None,
    where: object = "predictions",
) -> Result:
    """Score predictions on a task.

    Args:
        task: What is asked.
        dataset: The data set the task pins.
        predictions: Of the test and calibration frames; those of other frames are ignored and counted.
        facts: About the model.
        environment: Recorded as it is.
        task_sha256: Of the task file.
        limit: Score only the first test frames; the result says so.
        allow_missing: Count frames without prediction as failures instead of refusing.
        audited: Of the training set; with it, frames it has not seen are scored by themselves as well.
        where: The predictions' file, for messages.

    Raises:
        IntegrityError: The data set is not the one the task pins, or the audit is about another one.
        PredictionsError: The predictions cannot be scored as they are.
        CheckFailedError: Not one test frame has a prediction.
        UsageError: The limit is not positive.
        DataError: A split is empty, or the calibration frames have no energies.
    """
    check_dataset(task, dataset)
    expected = expected_frames(task, dataset, limit=limit)
    known = (frame.frame_id for family in ("gga", "r2scan") for frame in dataset.frames(family))
    checked = check(predictions, expected, known, allow_missing=allow_missing, where=where)
    counts = _counts(expected, checked, where)
    test, calibration = (rows_of.join(frames, checked.records) for frames in (expected.test, expected.calibration))
    energies = rows_of.energies(test, calibration, facts.references)
    rows = keyed(task, dataset, test, energies)
    followed = identify(
        test,
        calibration,
        pairs=dataset.pairs(task.split),
        calibration_pairs=dataset.pairs(task.calibration),
        declared=facts.functional,
        plan=task.bootstrap,
    )
    corrections = _corrections(task, dataset, (test, calibration), facts)
    declared = None if facts.references is None else {symbol: float(e) for symbol, e in facts.references.items()}
    return Result(
        task=TaskEntry(id=task.id, version=task.version, key=task.key, sha256=task_sha256),
        dataset=DatasetEntry(name=dataset.name, version=dataset.version, fingerprint=dataset.fingerprint),
        model=_model(task, facts),
        predictions=PredictionsEntry(digest=predictions.digest(), settings=dict(predictions.settings)),
        counts=counts,
        coverage=counts.predicted / counts.frames,
        alignment=_alignment(test, energies),
        references=References(label=energies.label_references.energies, model=declared),
        metrics=measure(task, rows, test.frames),
        per_element=per_element(rows, test.frames),
        slices=slices(task, dataset, test, calibration, facts.references),
        identity=followed,
        notes=suspect(rows, followed, corrections, facts.functional) if facts.kind == "model" else (),
        parity=parity(rows, test.frames, energies.label_references, task.bootstrap.seed),
        environment=environment,
        overlap=None
        if audited is None
        else overlap(task, dataset, test, calibration, declared=facts.references, audited=audited),
        excluded=_excluded(task, expected),
        corrections=corrections,
    )


def _corrections(task: Task, dataset: Dataset, sides: tuple[Joined, ...], facts: ModelFacts) -> Corrections | None:
    """A floor is no model, and what it copies is known."""
    if facts.kind == "floor":
        return None
    pairs = [pair for split in (task.split, task.calibration) for pair in dataset.pairs(split)]
    return detect(sides, pairs, functional=facts.functional, declared=facts.energy_corrections, plan=task.bootstrap)


def _excluded(task: Task, expected: Expected) -> Excluded | None:
    if not task.pairs.exclude:
        return None
    counts = Counter(flag for flags in expected.excluded.values() for flag in flags)
    return Excluded(flags={flag: counts[flag] for flag in task.pairs.exclude}, pairs=len(expected.excluded))


def _counts(expected: Expected, checked: Checked, where: object) -> Counts:
    outcomes = [checked.records[frame.frame_id].error for frame in expected.test]
    errors = Counter(error for error in outcomes if error is not None)
    failed = errors.total()
    if failed == len(expected.test):
        message, number = errors.most_common(1)[0]
        raise CheckFailedError(
            f"{where}: none of the {failed} test frames has a prediction ({number} times: {message}); "
            "make the model run on one structure first"
        )
    return Counts(
        frames=len(expected.test),
        predicted=len(expected.test) - failed,
        failed=failed,
        errors=dict(sorted(errors.items())),
        materials=len({frame.material_id for frame in expected.test}),
        calibration_frames=len(expected.calibration),
        ignored=checked.ignored,
        limit=expected.limit,
    )


def _model(task: Task, facts: ModelFacts) -> ModelEntry:
    return ModelEntry(
        id=facts.id,
        name=facts.name,
        kind=facts.kind,
        functional=facts.functional,
        declared_match=facts.functional == task.functional,
        card_sha256=facts.card_sha256,
        source_sha256=facts.source_sha256,
    )


def _alignment(test: Joined, energies: Energies) -> Alignment | None:
    offsets = energies.offsets
    if offsets is None:
        return None
    return Alignment(
        elements=offsets.energies,
        rank=offsets.rank,
        condition=offsets.condition_number,
        n_frames=offsets.n_frames,
        not_estimable=tuple(
            frame.frame_id for frame, good in zip(test.frames, energies.estimable, strict=True) if not good
        ),
    )
