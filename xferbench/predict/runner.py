"""``run``: a model over frames, in fixed batches, to a file; ``check``: the model contract, in the same isolation."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from xferbench.errors import DataError, ModelError, UsageError
from xferbench.models import CheckResult
from xferbench.predict.facts import ModelFacts, facts_of, run_settings, with_facts
from xferbench.predict.log import Log
from xferbench.predict.session import Limits, Session
from xferbench.predict.store import Journal, discard, finish, finished, journal_path, log_path, tidy
from xferbench.progress import bar
from xferbench.records import Predictions
from xferbench.storage import lock

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from xferbench.models import ModelSpec
    from xferbench.records import Frame, Prediction

LOAD_TIMEOUT = 600.0
"""Seconds that importing and loading a model may take."""


def run(
    spec: ModelSpec,
    frames: Sequence[Frame],
    out: Path,
    *,
    settings: Mapping[str, Any],
    device: str = "cpu",
    batch_size: int = 16,
    timeout: float = 600.0,
    load_timeout: float = LOAD_TIMEOUT,
    resume: bool = True,
    progress: bool = False,
) -> tuple[Predictions, ModelFacts]:
    """Predict every frame and write ``out``. Killed at any moment, a rerun goes on and ends with the same bytes.

    The frames are sorted by id and cut into batches once and for all, so that every run makes the same calls. A frame
    whose prediction fails is recorded with its error, also if that is all of them: what to make of it is the caller's
    decision. What the model printed is kept in ``<out>.log``.

    Args:
        spec: The model; see ``models.parse_spec``.
        frames: In any order. Their labels and ids stay in this process.
        out: Parquet file of ``tables.PREDICTION_SCHEMA``.
        settings: What else must agree before two runs are joined: task, fingerprint of the data set, limit. JSON-able.
        device: As the framework names it.
        batch_size: Structures per call of the model.
        timeout: Seconds that one call may take, be it for a batch or for a single structure.
        load_timeout: Seconds until the model must be loaded.
        resume: Continue an unfinished run and keep a finished one; if false, both are discarded once the model is loaded.
        progress: Whether to draw a progress bar on stderr.

    Returns:
        The predictions, sorted by id, and what the model declared.

    Raises:
        UsageError: Impossible options, or ``out`` was made with other settings.
        ModelError: The model cannot be loaded, or broke down; what was done is kept.
        DataError: No frames, or two of one id.
        IntegrityError: The finished file is damaged.
        StorageError: The disk refuses, or another run is writing ``out``.
    """
    batches = _plan(frames, batch_size=batch_size, timeout=min(timeout, load_timeout))
    ordered = [frame for batch in batches for frame in batch]
    wanted = run_settings(spec, ordered, settings, device=device, batch_size=batch_size, timeout=timeout)
    with lock(out):
        tidy(out)
        if resume and out.exists():
            predictions = finished(out, wanted, [frame.frame_id for frame in ordered])
            return predictions, facts_of(predictions.settings, out)
        log = Log()
        try:
            with Session(spec, device, Limits(load=load_timeout, call=timeout), log) as session:
                if not resume:
                    discard(out)
                predictions = _predict(session, batches, out, wanted, show=progress)
        finally:
            log.save(log_path(out))
        finish(out, predictions)
        return predictions, session.facts


def check(spec: ModelSpec, *, device: str = "cpu", timeout: float = 600.0) -> list[CheckResult]:
    """Run ``models.check_model`` in a process of its own.

    Args:
        spec: The model.
        device: As the framework names it.
        timeout: Seconds for loading, and again for all checks together.

    Raises:
        UsageError: An impossible time limit.
        ModelError: The model cannot be loaded, or broke down.
    """
    _positive(timeout)
    with Session(spec, device, Limits(load=timeout, call=timeout), Log()) as session:
        return [CheckResult(**result) for result in session.check()]


def _plan(frames: Sequence[Frame], *, batch_size: int, timeout: float) -> list[list[Frame]]:
    """The batches, the same whatever the order of the frames."""
    if batch_size < 1:
        raise UsageError(f"batch size {batch_size} is impossible; give 1 or more")
    _positive(timeout)
    if not frames:
        raise DataError("there are no structures to predict; choose a split or limit that has some")
    ordered = sorted(frames, key=lambda frame: frame.frame_id)
    twice = sorted({a.frame_id for a, b in pairwise(ordered) if a.frame_id == b.frame_id})
    if twice:
        raise DataError(f"{len(twice)} frame ids occur more than once, {twice[0]!r} for one; make the data set again")
    return [ordered[start : start + batch_size] for start in range(0, len(ordered), batch_size)]


def _positive(timeout: float) -> None:
    if not timeout > 0:
        raise UsageError(f"a time limit of {timeout:g} s is impossible; give more than 0")


def _predict(
    session: Session, batches: Sequence[Sequence[Frame]], out: Path, wanted: Mapping[str, Any], *, show: bool
) -> Predictions:
    """Predict the batches that an earlier run has not finished, one by one into the journal."""
    if session.facts.source_sha256 != wanted["source_sha256"]:
        raise ModelError(f"the file of {wanted['model']} changed while it was loaded; run again")
    settings = with_facts(wanted, session.facts)
    journal = Journal(journal_path(out), settings, [[frame.frame_id for frame in batch] for batch in batches])
    sizes = [len(batch) for batch in batches]
    failed = sum(map(_failures, journal.done.values()))
    done = sum(sizes[number] for number in journal.done)
    with bar(wanted["model"], sum(sizes), done, unit="structures", show=show) as meter:
        for number, batch in enumerate(batches):
            if number in journal.done:
                continue
            journal.add(number, session.predict(batch))
            failed += _failures(journal.done[number])
            if failed:
                meter.set_postfix_str(f"{failed} failed", refresh=False)
            meter.update(len(batch))
    return Predictions(
        records=[record for number in sorted(journal.done) for record in journal.done[number]], settings=settings
    )


def _failures(predictions: Sequence[Prediction]) -> int:
    return sum(prediction.error is not None for prediction in predictions)
