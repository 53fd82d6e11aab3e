"""``xferbench study``: methods compared over seeds, and errors followed over training sets.

```
out/plan.json                             what the study consists of, written first
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
| ``content``, ``tables``, ``figures``, ``report``, ``page`` | what is written |
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from xferbench.drawing.curves import STYLE
from xferbench.drawing.document import standalone
from xferbench.errors import CheckFailedError
from xferbench.references import digest, read_atoms
from xferbench.registry import METHODS, check_name
from xferbench.storage import lock, to_json, write_text
from xferbench.workflow.paired import open_paired
from xferbench.workflow.studies.content import Study, study
from xferbench.workflow.studies.figures import figures
from xferbench.workflow.studies.measuring import QUANTITIES
from xferbench.workflow.studies.page import render_page
from xferbench.workflow.studies.plan import PLAN, Plan, settle
from xferbench.workflow.studies.report import render_report
from xferbench.workflow.studies.running import FINISHED, Means, carry_out, works
from xferbench.workflow.studies.tables import curve_csv, runs_csv, summary_csv
from xferbench.workflow.studies.training import (
    evaluation_of,
    log_of,
    method_options,
    parted,
    predictions_of,
    settings,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from xferbench.dataset import Dataset

__all__ = ["Grid", "Means", "Plan", "Study", "StudyReport", "conduct", "method_options", "settings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """What to study.

    Attributes:
        kind: "methods" or "scaling".
        methods: Transfer methods; all of them if none is given.
        subsets: Fractions of the training materials.
        n_seeds: Training seeds, from 0.
        fit_from: Smallest number of training frames that power laws are fitted to.
        config: Settings of training as plain values, those of ``transfer.TrainConfig``.
        options: Method -> settings of its own.
    """

    kind: Literal["methods", "scaling"]
    methods: tuple[str, ...] = ()
    subsets: tuple[float, ...] = (1.0,)
    n_seeds: int = 3
    fit_from: int = 1
    config: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyReport:
    """What came out, and the files that were written."""

    study: Study
    text: str
    written: Sequence[Path]


def conduct(
    dataset: str,
    grid: Grid,
    out: Path,
    means: Means,
    *,
    cache_dir: Path | None = None,
    offline: bool = False,
) -> StudyReport:
    """Carry out what is left of a study, and write what is known.

    Args:
        dataset: A name, prepared in the cache if need be, or a directory that ``xferbench prepare`` made.
        grid: What to study; a study that is in ``out`` already grows.
        out: Directory of the study.
        means: How runs are carried out.
        cache_dir: Where data sets live.
        offline: Never use the network.

    Raises:
        UsageError: Unknown names, or another study in ``out``.
        CheckFailedError: No run has finished.
        DataError: The data set is damaged, or the disk refuses.
    """
    methods = tuple(check_name("method", name, METHODS) for name in grid.methods or METHODS)
    recipe, runtime = parted(grid.config)
    data = open_paired(dataset, cache_dir=cache_dir, offline=offline)
    plan = Plan(
        kind=grid.kind,
        dataset=data.name,
        fingerprint=data.fingerprint,
        methods=methods,
        subsets=grid.subsets,
        seeds=tuple(range(grid.n_seeds)),
        fit_from=grid.fit_from,
        config=recipe,
        options=grid.options,
    )
    with lock(out / PLAN):
        plan = settle(plan, out, partial(_digest_of_atoms, data))
        todo = works(plan, data.directory, out, runtime)
        failed = carry_out(todo, means, out / "jobs")
        found = look(plan, data, out, {Path(name).relative_to(out).as_posix(): why for name, why in failed.items()})
        return StudyReport(study=found, text=render_report(found), written=write(found, out))


def _digest_of_atoms(data: Dataset, options: Mapping[str, Any]) -> str:
    """Of the isolated atoms that a run on a data set starts with."""
    given = options.get("atoms")
    return digest(read_atoms(Path(given)) if given else data.atom_energies)


def look(plan: Plan, data: Dataset, out: Path, failed: Mapping[str, str]) -> Study:
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


def write(found: Study, out: Path) -> list[Path]:
    """Write tables, figures, report and page; the same runs give the same bytes."""
    texts = {
        "study.json": to_json(found.to_json()),
        "runs.csv": runs_csv(found),
        "summary.csv": summary_csv(found),
        **{f"{quantity}.csv": curve_csv(found, quantity) for quantity in QUANTITIES},
        **{f"figures/{name}.svg": standalone(figure, STYLE) for name, figure in figures(found).items()},
        "README.md": render_report(found),
        "index.html": render_page(found),
    }
    for name, text in texts.items():
        write_text(out / name, text)
    return [out / name for name in texts]
