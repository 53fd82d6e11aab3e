"""``xferbench audit`` and ``prepare --exclude-test-from-source``: does a training set know the test pairs?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xferbench import audit as audits
from xferbench import dataset as datasets
from xferbench.audit.excluding import Exclusion, exclude_test
from xferbench.audit.structures import TOLERANCE
from xferbench.scoring import check_dataset
from xferbench.tasks import list_tasks, load_task
from xferbench.workflow.paired import open_paired

if TYPE_CHECKING:
    from pathlib import Path

    from xferbench.audit import Audit
    from xferbench.dataset import Dataset


def audit(
    target: str,
    train: Path,
    *,
    tolerance: float = TOLERANCE,
    counts_only: bool = False,
    with_hash: bool = False,
    out: Path | None = None,
    cache_dir: Path | None = None,
    offline: bool = False,
) -> Audit:
    """Compare a training set with the test pairs of a task or data set. Nothing leaves this machine.

    Args:
        target: A task, the name of a data set, or a prepared directory.
        train: The training set, see ``audit.reading``.
        tolerance: Up to which structures are the same, see ``audit.structures``.
        counts_only: Leave out which pairs overlap.
        with_hash: State the SHA-256 of the training file.
        out: Where to write the audit as JSON; nothing is written if not given.
        cache_dir: Where data sets live.
        offline: Never use the network.

    Raises:
        UsageError: Unknown names, or a tolerance that is none.
        DataError: The training set cannot be read, or the data set is damaged or another one than the task's.
    """
    dataset, split = _target(target, cache_dir, offline=offline)
    made = audits.audit(dataset, train, split=split, tolerance=tolerance, counts_only=counts_only, with_hash=with_hash)
    if out is not None:
        audits.write_audit(out, made)
    return made


def audit_table(made: Audit) -> str:
    """An audit in a few lines of text: counts only."""
    lines = [
        f"{made.train_records} training records against {made.test_pairs} {made.split} pairs of {made.dataset} {made.version}"
    ]
    for kind, meaning in audits.KINDS.items():
        told = (
            f"{made.compared[kind]} records have one" if made.compared[kind] else "no record has one: nothing is proved"
        )
        lines.append(f"  {kind:12s} {made.counts[kind]:7d} pairs overlap ({meaning}; {told})")
    if made.unread:
        lines.append(f"  {made.unread} records with nothing to compare")
    if made.uncompared:
        lines.append(f"  {made.uncompared} structures of a test composition that could not be compared")
    lines += [f"  {name:15s} {count:7d} pairs" for name, count in made.regimes.items()]
    return "\n".join(lines)


def exclude_from_source(dataset: Dataset, train: Path) -> Exclusion:
    """Write, beside a prepared data set, which records of a source training set share nothing with its test pairs.

    Raises:
        DataError: The training set cannot be read, or nothing is left of it.
    """
    directory = dataset.directory
    return exclude_test(dataset, train, directory.with_name(f"{directory.name}.source-train.txt"))


def exclusion_line(made: Exclusion) -> str:
    """What was left out, in one line of text."""
    dropped = ", ".join(f"{count} by {kind}" for kind, count in made.dropped.items())
    return f"source training set: {made.kept} of {made.records} records are left ({dropped}), listed in {made.path}"


def _target(target: str, cache_dir: Path | None, *, offline: bool) -> tuple[Dataset, str]:
    """The data set and the split to compare with."""
    if not (target.endswith(".toml") or target.partition("@")[0] in list_tasks()):
        return open_paired(target, cache_dir=cache_dir, offline=offline), "test"
    task = load_task(target)
    dataset = datasets.prepare(task.dataset, cache_dir=cache_dir, offline=offline)
    check_dataset(task, dataset)
    return dataset, task.split
