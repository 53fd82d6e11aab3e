"""Scores with and without the structures that the training set has seen, told by an audit of it.

The audit compares a training set, which nobody has to show, with the test pairs; ``xferbench audit`` writes it. The scores of
all frames stay what ranks: an overlap is shown beside them, and hides nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from xferbench.errors import UsageError
from xferbench.results import Overlap
from xferbench.scoring.measuring import measure
from xferbench.scoring.quantities import keyed
from xferbench.scoring.rows import Joined, energies
from xferbench.scoring.slicing import Aligning, regime_slices

if TYPE_CHECKING:
    from collections.abc import Mapping

    from xferbench.audit import Audit
    from xferbench.dataset import Dataset
    from xferbench.results import MetricEntry, SliceEntry
    from xferbench.tasks import Task

COUNTS_ONLY = "the audit holds counts only; without the pairs behind them no frame can be left out"
ALL_SEEN = "the training set has seen every test structure"


class Audited(NamedTuple):
    """An audit and the file it came from."""

    audit: Audit
    sha256: str
    where: object


def check_audit(task: Task, dataset: Dataset, audited: Audited) -> None:
    """Whether an audit is about the test pairs of a task.

    Raises:
        IntegrityError: It is about another data set.
        UsageError: It is about another split.
    """
    audited.audit.check_fits(dataset, audited.where)
    if audited.audit.split != task.split:
        raise UsageError(
            f"{audited.where} is an audit of split {audited.audit.split!r}, but {task.key} scores {task.split!r}; "
            "audit that split"
        )


def overlap(
    task: Task,
    dataset: Dataset,
    test: Joined,
    calibration: Joined,
    *,
    declared: Mapping[str, float] | None,
    audited: Audited,
) -> Overlap:
    """What the training set knows of the test pairs, and every metric over the frames that it has not seen.

    Args:
        task: Gives the metrics and the resample plan.
        dataset: Holds the pairs.
        test: All test frames.
        calibration: Frames that offsets are fitted on, the same for the clean frames.
        declared: Elemental references the model declares.
        audited: Of the training set.

    Raises:
        IntegrityError: The audit is about another data set.
        UsageError: It is about another split.
    """
    check_audit(task, dataset, audited)
    audit = audited.audit
    n_clean: int | None = None
    clean: tuple[MetricEntry, ...] = ()
    slices: tuple[SliceEntry, ...] = ()
    reason: str | None = COUNTS_ONLY
    if audit.overlapping is not None:
        regimes = {name: found.value for name, found in audit.regimes_of(f.pair_id for f in test.frames).items()}
        slices = regime_slices(task, dataset, test, regimes, Aligning(calibration=calibration, declared=declared))
        part = _without(test, audit.seen())
        n_clean = len(part.frames)
        reason = None if n_clean else ALL_SEEN
        if n_clean:
            clean = measure(task, keyed(task, dataset, part, energies(part, calibration, declared)), part.frames)
    return Overlap(
        audit_sha256=audited.sha256,
        train_records=audit.train_records,
        compared=dict(audit.compared),
        counts=dict(audit.counts),
        regimes={str(name): count for name, count in audit.regimes.items()},
        n_clean=n_clean,
        clean=clean,
        slices=slices,
        reason=reason,
    )


def _without(test: Joined, pair_ids: frozenset[str]) -> Joined:
    kept = [i for i, frame in enumerate(test.frames) if frame.pair_id not in pair_ids]
    return Joined(frames=[test.frames[i] for i in kept], predictions=[test.predictions[i] for i in kept])
