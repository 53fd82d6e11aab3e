"""``xferbench study``: methods compared over seeds, and errors followed over training sets.

```
out/plan.json                             what the study consists of, written first
out/timed/runs/…                          two epochs of each method, where runs are to take equally long
out/runs/<method>/subset-<f>/seed-<k>/    one directory per run, see ``transfer.run``
out/study.json                            every number, full precision
out/runs.csv, summary.csv, <quantity>.csv the same as tables; the last for ``xferbench fit-scaling``
out/README.md, index.html, figures/*.svg  for people
```

| module | holds |
|---|---|
| ``plan`` | the grid of runs |
| ``running``, ``training`` | carrying them out: here, in processes, on a cluster |
| ``measuring``, ``summarising`` | errors on the test split, means over seeds with intervals |
| ``compute``, ``fitting`` | gain at equal compute; power laws, data equivalence, crossings |
| ``variance`` | which choice matters, strategy or references |
| ``content``, ``tables``, ``figures``, ``report`` | what is written |
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from xferbench.errors import CheckFailedError
from xferbench.references import digest, read_atoms
from xferbench.report.curves import STYLE
from xferbench.report.html import page, standalone
from xferbench.report.markdown import markdown
from xferbench.report.terminal import terminal
from xferbench.storage import lock, read_json, to_json, write_json, write_text
from xferbench.studies.content import STUDY, Study, study
from xferbench.studies.figures import figures
from xferbench.studies.measuring import QUANTITIES
from xferbench.studies.plan import PLAN, Plan, read_plan, write_plan
from xferbench.studies.report import study_report
from xferbench.studies.running import FINISHED, Execution, carry_out, works
from xferbench.studies.tables import curve_csv, runs_csv, summary_csv
from xferbench.studies.training import (
    evaluation_of,
    log_of,
    method_name,
    method_options,
    method_settings,
    parted,
    predictions_of,
    seconds_per_epoch,
    settings,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from xferbench.dataset import Dataset

__all__ = [
    "Execution",
    "Grid",
    "Plan",
    "Study",
    "StudyReport",
    "method_options",
    "run_study",
    "settings",
    "write_again",
]


TIMED = "timed"
"""Directory of the runs that are only timed."""

METHODS = (
    "paper-1",
    "zero-shot",
    "paper-2",
    "finetune+source:lr=0.3",
    "paper-3",
    "paper-4",
    "finetune+model-aware",
    "finetune+paired",
    "finetune+atoms",
    "head",
    "last-blocks",
    "lora",
    "delta",
    "multi-fidelity",
    "replay",
)
"""What ``study methods`` compares if it is not told otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """What to study.

    Attributes:
        kind: "methods" or "scaling".
        methods: As typed, ``paper-4`` or ``[MODEL/]STRATEGY[+REFERENCES]``; ``METHODS`` if none is given.
        models: Networks to start from; every method is carried out with each of several. That of ``config`` if none is given.
        subsets: Fractions of the training materials.
        n_seeds: Training seeds, from 0.
        fit_from: Smallest number of training frames that power laws are fitted to.
        config: Settings of training as plain values, those of ``transfer.TrainConfig``.
        options: Method -> settings of its own.
        minutes: That each run is to take here: every method gets the epochs that fit, by the clock, timed once.
    """

    kind: Literal["methods", "scaling"]
    methods: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    subsets: tuple[float, ...] = (1.0,)
    n_seeds: int = 3
    fit_from: int = 1
    config: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    minutes: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyReport:
    """What the finished runs of a study say. ``print`` shows the report.

    Attributes:
        study: Every number.
        written: Files that were written; the last one is the page.
    """

    study: Study
    written: Sequence[Path]

    def to_json(self) -> dict[str, Any]:
        """Plain values, as ``study.json`` has them."""
        return self.study.to_json()

    def __str__(self) -> str:
        return terminal(study_report(self.study))


def run_study(data: Dataset, grid: Grid, out: Path, execution: Execution) -> StudyReport:
    """Carry out what is left of a study, and write what is known.

    Args:
        data: The data set.
        grid: What to study; a study that is in ``out`` already grows.
        out: Directory of the study.
        execution: How runs are carried out.

    Raises:
        UsageError: Unknown names, or another study in ``out``.
        CheckFailedError: No run has finished.
        DataError: The data set is damaged, or the disk refuses.
    """
    models = grid.models if len(grid.models) > 1 else (None,)
    named = [method_name(text, model) for model in models for text in grid.methods or METHODS]
    recipe, runtime = parted({**grid.config, **({"model": grid.models[0]} if len(grid.models) == 1 else {})})
    plan = Plan(
        kind=grid.kind,
        dataset=data.name,
        fingerprint=data.fingerprint,
        methods=tuple(dict.fromkeys(named)),
        subsets=grid.subsets,
        seeds=tuple(range(grid.n_seeds)),
        fit_from=grid.fit_from,
        config=recipe,
        options=grid.options,
        atoms=str(grid.config.get("atoms", "")),
        minutes=grid.minutes,
    )
    with lock(out / PLAN):
        if plan.minutes is not None:
            plan = replace(plan, epochs=_epochs_that_fit(plan, data, out, runtime, execution))
        plan = write_plan(plan, out, partial(_digest_of_atoms, data))
        todo = works(plan, data.directory, out, runtime, method_settings)
        failed = carry_out(todo, execution, out / "jobs")
        found = summarise(
            plan, data, out, {Path(name).relative_to(out).as_posix(): why for name, why in failed.items()}
        )
        return StudyReport(study=found, written=write(found, out))


def _epochs_that_fit(
    plan: Plan, data: Dataset, out: Path, runtime: Mapping[str, Any], execution: Execution
) -> dict[str, int]:
    """Epochs of each method in the minutes of a plan: those that a study in ``out`` has, else by timing.

    The second of two epochs counts, as graphs are built in the first. What trains nothing, or fails, is left out.
    """
    old = read_plan(out)
    known = {} if old is None or old.minutes != plan.minutes else dict(old.epochs)
    new = tuple(method for method in plan.methods if method not in known)
    if not new or plan.minutes is None:
        return known
    execution.say(f"timing two epochs of {len(new)} methods")
    short = replace(
        plan,
        methods=new,
        seeds=plan.seeds[:1],
        options={method: values for method, values in plan.options.items() if method in new},
        config={**plan.config, "epochs": 2},
    )
    todo = works(short, data.directory, out / TIMED, runtime, method_settings)
    carry_out(todo, execution, out / "jobs")
    for work in todo:
        seconds = seconds_per_epoch(Path(work.out))
        if seconds is not None:
            known[work.method] = max(1, int(60 * plan.minutes / seconds))
    return known


def _digest_of_atoms(data: Dataset, atoms: str) -> str:
    """Of the isolated atoms that a run on a data set starts with."""
    return digest(read_atoms(Path(atoms)) if atoms else data.atom_energies)


def summarise(plan: Plan, data: Dataset, out: Path, failed: Mapping[str, str]) -> Study:
    """What the finished runs of a study say.

    Raises:
        CheckFailedError: There is none.
    """
    finished = [cell for cell in plan.cells() if (out / cell.name / FINISHED).exists()]
    if not finished:
        reasons = "; ".join(dict.fromkeys(failed.values())) or "none was started"
        raise CheckFailedError(f"no run of the study in {out} has finished: {reasons}")
    return study(
        plan,
        data,
        finished,
        load=predictions_of(out),
        logs=lambda cell: log_of(out, cell),
        evaluations=lambda cell: evaluation_of(out, cell),
        failed=failed,
    )


def write_again(out: Path) -> StudyReport:
    """Write a study from its numbers in ``study.json``, in the words and the form of today; no run is needed.

    Args:
        out: Directory of the study.

    Raises:
        StorageError: It cannot be read, or the disk refuses.
        FormatError: It is no study.
    """
    with lock(out / PLAN):
        found = Study.from_json(read_json(out / STUDY), out / STUDY)
        write_json(out / PLAN, found.plan.to_json())
        return StudyReport(study=found, written=write(found, out))


def write(found: Study, out: Path) -> list[Path]:
    """Write tables, figures, report and page; the same runs give the same bytes."""
    said = study_report(found)
    texts = {
        STUDY: to_json(found.to_json()),
        "runs.csv": runs_csv(found),
        "summary.csv": summary_csv(found),
        **{f"{quantity}.csv": curve_csv(found, quantity) for quantity in QUANTITIES},
        **{f"figures/{name}.svg": standalone(figure, STYLE) for name, figure in figures(found).items()},
        "README.md": markdown(said),
        "index.html": page(said, style=STYLE),
    }
    for name, text in texts.items():
        write_text(out / name, text)
    return [out / name for name in texts]
