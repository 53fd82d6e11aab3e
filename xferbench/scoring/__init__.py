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
    Counts,
    DatasetEntry,
    Excluded,
    ModelEntry,
    PredictionsEntry,
    References,
    Result,
    TaskEntry,
)
from xferbench.scoring.checking import Checked, Expected, check, expected_frames
from xferbench.scoring.comparing import Compared, Entrant, Worst, compare, metric_of, worst
from xferbench.scoring.corrections import detect
from xferbench.scoring.identity import identify
from xferbench.scoring.measuring import measure, parity, per_element, signals
from xferbench.scoring.overlap import Audited, check_audit, overlap
from xferbench.scoring.reading import read_predictions
from xferbench.scoring.slicing import slices
from xferbench.scoring.suspicions import offset_suspicion, suspect
from xferbench.scoring.two_models import add_gap
from xferbench.tasks.kind import task_rows
from xferbench.tasks.rows import Joined, energies

if TYPE_CHECKING:
    from xferbench.dataset import Dataset
    from xferbench.records import Predictions
    from xferbench.results import Environment, ModelFacts
    from xferbench.tasks import Task
    from xferbench.tasks.rows import Energies

__all__ = [
    "Audited",
    "Checked",
    "Compared",
    "Entrant",
    "Expected",
    "Worst",
    "add_gap",
    "check",
    "check_audit",
    "check_dataset",
    "compare",
    "expected_frames",
    "metric_of",
    "read_predictions",
    "score",
    "worst",
]


def check_dataset(task: Task, dataset: Dataset | DatasetEntry) -> None:
    """Whether a data set is the one that a task pins.

    Raises:
        IntegrityError: It is not.
    """
    if dataset.fingerprint != task.fingerprint:
        raise IntegrityError(
            f"task {task.key} is about data with fingerprint {task.fingerprint}, but {dataset.name} {dataset.version} here has "
            f"{dataset.fingerprint}; prepare data set {task.dataset!r} again with this version"
        )


def score(
    task: Task,
    expected: Expected,
    predictions: Predictions,
    *,
    facts: ModelFacts,
    environment: Environment,
    allow_missing: bool = False,
    audited: Audited | None = None,
    where: object = "predictions",
) -> Result:
    """Score predictions on a task.

    Args:
        task: What is asked.
        expected: The frames it asks about, with all labels; see ``expected_frames``.
        predictions: Of the test and calibration frames; those of other frames are ignored and counted.
        facts: About the model.
        environment: Recorded as it is.
        allow_missing: Count frames without prediction as failures instead of refusing.
        audited: Of the training set; with it, frames it has not seen are scored by themselves as well.
        where: The predictions' file, for messages.

    Raises:
        IntegrityError: The data set is not the one the task pins, or the audit is about another one.
        PredictionsError: The predictions cannot be scored as they are.
        CheckFailedError: Not one test frame has a prediction.
        DataError: The calibration frames have no energies.
    """
    check_dataset(task, expected.dataset)
    if audited is not None:
        check_audit(task, expected.dataset, audited)
    checked = check(predictions, expected, allow_missing=allow_missing, where=where)
    counts = _counts(expected, checked, where)
    test = Joined(labels=expected.test, side=expected.side, predicted=checked.test.values)
    calibration = Joined(labels=expected.calibration, side=expected.side, predicted=checked.calibration.values)
    found = energies(test, calibration, facts.references, task.bootstrap)
    rows = task_rows(task, test, found)
    followed = identify(
        test,
        calibration,
        found,
        functionals=task.functionals,
        declared=facts.functional,
        plan=task.bootstrap,
    )
    corrections = None
    if facts.kind == "model":  # a floor is no model, and what it copies is known
        corrections = detect(
            (test, calibration),
            functionals=task.functionals,
            functional=facts.functional,
            declared=facts.energy_corrections,
            plan=task.bootstrap,
        )
    declared = None if facts.references is None else {symbol: float(e) for symbol, e in facts.references.items()}
    return Result(
        task=TaskEntry(id=task.id, version=task.version, key=task.key, digest=task.digest),
        dataset=expected.dataset,
        model=_model(task, facts),
        predictions=PredictionsEntry(digest=predictions.digest(), settings=dict(predictions.settings)),
        counts=counts,
        coverage=counts.predicted / counts.frames,
        alignment=_alignment(test, found),
        references=References(label=found.calibrated.energies(found.label_references), model=declared),
        metrics=measure(task, rows, test.labels.material_id.tolist()),
        per_element=per_element(rows, test),
        slices=slices(task, test, rows),
        identity=followed,
        notes=()
        if facts.kind != "model"
        else (*suspect(rows, followed, corrections, facts.functional), *_strange_offsets(task, test, found, facts)),
        parity=parity(rows, found.composition, task.bootstrap.seed),
        environment=environment,
        overlap=None if audited is None else overlap(task, test, found, rows, audited),
        excluded=Excluded(flags=dict(expected.excluded), pairs=expected.n_excluded) if expected.excluded else None,
        corrections=corrections,
        signal=signals(rows, test.labels.material_id.tolist()),
    )


def _strange_offsets(task: Task, test: Joined, found: Energies, facts: ModelFacts) -> tuple[str, ...]:
    """Whether the offsets of a model look like something else than another zero of energy, in a sentence if they do."""
    own = found.calibrated.energies(found.label_references)
    comparable = test.side == "target" and task.functionals.side_meant(facts.functional) == "target"
    shift = {} if found.shift_references is None else found.calibrated.energies(found.shift_references)
    source = {symbol: energy - shift[symbol] for symbol, energy in own.items() if symbol in shift} if comparable else {}
    offsets = None if found.offsets is None else found.calibrated.energies(found.offsets)
    text = offset_suspicion(offsets, own, facts.references, source)
    return () if text is None else (text,)


def _counts(expected: Expected, checked: Checked, where: object) -> Counts:
    errors = Counter(error for error in checked.test.error.tolist() if error is not None)
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
        materials=len(set(expected.test.material_id.tolist())),
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
        declared_match=facts.functional in task.functionals.of(task.side),
        source_sha256=facts.source_sha256,
    )


def _alignment(test: Joined, found: Energies) -> Alignment | None:
    offsets = found.offsets
    if offsets is None:
        return None
    return Alignment(
        elements=found.calibrated.energies(offsets),
        rank=offsets.rank,
        condition=offsets.design.condition,
        n_frames=offsets.n_frames,
        not_estimable=tuple(test.own.frame_id[~found.estimable].tolist()),
    )
