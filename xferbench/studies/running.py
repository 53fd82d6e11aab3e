"""Runs of a study: one after the other, side by side in processes, or as jobs of a cluster.

Whatever way they are carried out, a run is ``transfer.train`` in a directory of its own with ``resume``: one that is finished
is not repeated, one that was killed goes on.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xferbench.errors import CheckFailedError, MissingExtraError, UsageError, XferbenchError
from xferbench.progress import silent
from xferbench.studies.plan import needs_atoms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from xferbench.studies.plan import Plan

    Say = Callable[[str], None]

TRAINER = "xferbench.studies.training:train_cell"
"""``module:function`` that carries out a ``Work``; a name, so that other processes and machines can import it."""

FINISHED = "evaluation.json"
"""The last file that a run writes."""

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One run, as another process needs it.

    Attributes:
        method: ``[MODEL/]STRATEGY+REFERENCES``.
        dataset: Directory of the data set.
        out: Directory of the run.
        config: ``TrainConfig`` as plain values, those of the method included.
    """

    method: str
    dataset: str
    out: str
    config: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """How runs are carried out; no result depends on it, last digits apart if the number of threads changes.

    Attributes:
        jobs: Processes at a time on this machine.
        cluster: Engine of ``submitit``: "slurm", or "local" for trying; this machine without one.
        cluster_options: Parameters of the engine, such as ``timeout_min=600`` or ``slurm_partition=gpu``.
        trainer: What carries out a run.
        say: Where notes go.
    """

    jobs: int = 1
    cluster: str | None = None
    cluster_options: tuple[str, ...] = ()
    trainer: str = TRAINER
    say: Say = silent


def works(
    plan: Plan, dataset: Path, out: Path, runtime: Mapping[str, Any], settings: Callable[[str], Mapping[str, Any]]
) -> list[Work]:
    """What has to be done for each run of a plan.

    Args:
        plan: Of the study.
        dataset: Directory of the data set.
        out: Of the study.
        runtime: Settings of training that say how runs are carried out.
        settings: Method -> the settings of training that it stands for.
    """
    shared = {**plan.config, **runtime}
    return [
        Work(
            method=cell.method,
            dataset=str(dataset),
            out=str(out / cell.name),
            config={
                **shared,
                **settings(cell.method),
                "atoms": plan.atoms if needs_atoms(cell.method) else "",
                "subset": cell.subset,
                "seed": cell.seed,
                **({"epochs": plan.epochs[cell.method]} if cell.method in plan.epochs else {}),
                "options": {**shared.get("options", {}), **plan.options.get(cell.method, {})},
            },
        )
        for cell in plan.cells()
    ]


def carry_out(todo: Sequence[Work], execution: Execution, scratch: Path) -> dict[str, str]:
    """Carry out all runs; one that fails for a reason that its user can mend does not stop the others.

    Args:
        todo: The runs; finished ones are passed over.
        execution: How.
        scratch: Directory for the logs of a cluster.

    Returns:
        Directory of a failed run -> why.

    Raises:
        CheckFailedError: A process was killed from outside.
        MissingExtraError: A cluster was asked for, and ``submitit`` is not installed.
    """
    left = [work for work in todo if not (Path(work.out) / FINISHED).exists()]
    if len(left) < len(todo):
        execution.say(f"{len(todo) - len(left)} of {len(todo)} runs are finished")
    failed = {}
    for number, (work, problem) in enumerate(_outcomes(left, execution, scratch), start=1):
        if problem is not None:
            failed[work.out] = problem
        execution.say(f"[{number}/{len(left)}] {work.out}: {problem or 'finished'}")
    return failed


def attempt(trainer: str, work: Work) -> str | None:
    """Carry out one run here; the error message if it has one that a user can mend."""
    module, _, name = trainer.partition(":")
    try:
        getattr(import_module(module), name)(work)
    except XferbenchError as error:
        return f"{type(error).__name__}: {error}"
    return None


def _outcomes(left: Sequence[Work], execution: Execution, scratch: Path) -> Iterator[tuple[Work, str | None]]:
    """Runs with their problems as they come to an end."""
    if execution.cluster is not None:
        return _on_cluster(left, execution, scratch)
    if execution.jobs > 1:
        return _in_processes(left, execution)
    return ((work, attempt(execution.trainer, work)) for work in left)


def _in_processes(left: Sequence[Work], execution: Execution) -> Iterator[tuple[Work, str | None]]:
    """Side by side in fresh processes, each with its part of the cores."""
    threads = max(1, _cores() // execution.jobs)
    pool = ProcessPoolExecutor(
        execution.jobs, mp_context=multiprocessing.get_context("spawn"), initializer=_begin, initargs=(threads,)
    )
    with pool:
        futures = {pool.submit(attempt, execution.trainer, work): work for work in left}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BrokenProcessPool as error:
            raise CheckFailedError(
                f"a training process was killed, by lack of memory perhaps; run the same command again with fewer "
                f"--jobs than {execution.jobs}: finished runs are kept"
            ) from error
        except KeyboardInterrupt:
            execution.say("stopping as soon as the runs under way have saved their state")
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _begin(threads: int) -> None:
    """What a new process does first: limit its threads, before anything reads these, and see to it that it ends with the study."""
    os.environ.update(dict.fromkeys(THREADS, str(threads)))
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A process whose study was killed would hold its run against the same command given again. Any moment will do: see ``resume``."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _on_cluster(left: Sequence[Work], execution: Execution, scratch: Path) -> Iterator[tuple[Work, str | None]]:
    """One job per run through ``submitit``, which knows how to ask a queue; waits for all of them."""
    try:
        import submitit
    except ImportError as error:
        raise MissingExtraError('a cluster is reached through submitit; pip install ".[cluster]"') from error
    executor = submitit.AutoExecutor(folder=str(scratch / "%j"), cluster=execution.cluster)
    executor.update_parameters(**_options(execution.cluster_options))
    with executor.batch():
        jobs = [executor.submit(attempt, execution.trainer, work) for work in left]
    execution.say(f"{len(jobs)} jobs submitted to {execution.cluster}; their logs are in {scratch}")
    for work, job in zip(left, jobs, strict=True):
        try:
            yield work, job.result()
        except (submitit.core.utils.UncompletedJobError, submitit.core.utils.FailedJobError) as error:
            yield work, f"job {job.job_id}: {' '.join(str(error).split())[:300]}"


def _options(texts: Sequence[str]) -> dict[str, object]:
    """``key=value`` texts; whole numbers become numbers."""
    options: dict[str, object] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"--cluster-option {text!r}: write key=value, such as timeout_min=600")
        options[key.strip()] = int(value) if value.strip().isdigit() else value.strip()
    return options
