"""Scores with and without the structures that the training set has seen, told by an audit of it.

The audit compares a training set, which nobody has to show, with the test pairs; ``xferbench audit`` writes it. The scores of
all frames stay what ranks: an overlap is shown beside them, and hides nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from xferbench.errors import UsageError
from xferbench.results import Overlap
from xferbench.scoring.measuring import measure
from xferbench.scoring.slicing import regime_slices
from xferbench.tasks.kind import task_rows

if TYPE_CHECKING:
    from xferbench.audit import Audit
    from xferbench.dataset import Dataset
    from xferbench.results import DatasetEntry, MetricEntry, SliceEntry
    from xferbench.scoring.measuring import Keyed
    from xferbench.tasks import Task
    from xferbench.tasks.rows import Energies, Joined

COUNTS_ONLY = "the audit holds counts only; without the pairs behind them no frame can be left out"
ALL_SEEN = "the training set has seen every test structure"


class Audited(NamedTuple):
    """An audit and the file it came from."""

    audit: Audit
    sha256: str
    where: object


def check_audit(task: Task, dataset: Dataset | DatasetEntry, audited: Audited) -> None:
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


def overlap(task: Task, test: Joined, energies: Energies, rows: Keyed, audited: Audited) -> Overlap:
    """What the training set knows of the test pairs, and every metric over the frames that it has not seen.

    Args:
        task: Gives the metrics and the resample plan.
        test: All test frames.
        energies: Of these; the clean frames keep their offsets.
        rows: Of these.
        audited: Of the training set; ``check_audit`` has seen that it is about the task.
    """
    audit = audited.audit
    n_clean: int | None = None
    clean: tuple[MetricEntry, ...] = ()
    slices: tuple[SliceEntry, ...] = ()
    reason: str | None = COUNTS_ONLY
    if audit.overlapping is not None:
        pair_ids = test.labels.pair_id.tolist()
        regimes = audit.regimes_of(pair_ids)
        slices = regime_slices(task, test, rows, [regimes[pair_id].value for pair_id in pair_ids])
        seen = audit.seen()
        kept = np.array([i for i, pair_id in enumerate(pair_ids) if pair_id not in seen], dtype=np.int64)
        n_clean = len(kept)
        reason = None if n_clean else ALL_SEEN
        if n_clean:
            part = test.take(kept)
            clean = measure(task, task_rows(task, part, energies.take(kept)), part.labels.material_id.tolist())
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
