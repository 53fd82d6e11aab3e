"""What a study says, as plain values: the one thing that tables, figures, page and report are made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xferbench.statistics import forgetting
from xferbench.workflow.studies import compute, fitting
from xferbench.workflow.studies.measuring import measure, training_size
from xferbench.workflow.studies.summarising import curves, entries, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from xferbench.dataset import Dataset
    from xferbench.workflow.studies.compute import Effort, Logs
    from xferbench.workflow.studies.fitting import Scaling
    from xferbench.workflow.studies.measuring import Load
    from xferbench.workflow.studies.plan import Cell, Plan
    from xferbench.workflow.studies.summarising import Curve, Entry

    Evaluations = Callable[[Cell], Mapping[str, Any]]

SCHEMA = 1
"""Version of ``study.json``."""

FORGOTTEN = {"energy_aligned": "eV/atom", "forces": "eV/Å", "stress": "eV/Å³", "magmoms": "µB"}
"""Errors on the source functional, and their units. Energies after elemental offsets: the zero is not knowledge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """Change of an error on the GGA labels of the test split by training, over seeds.

    Attributes:
        before: Of the network that was started from.
        change: Mean over seeds; positive is forgotten.
        seed_sd: ``None`` with one seed.
    """

    method: str
    subset: float
    quantity: str
    before: float
    change: float
    seed_sd: float | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Study:
    """Everything.

    Attributes:
        synthetic: Whether the labels are a model's.
        n_training: Subset -> training frames.
        n_materials: Of the test frames that count.
        n_frames: Of the test split.
        left_out: Test frames that a run did not predict.
        failed: Run -> why it has no result.
        open_runs: Runs of the plan that are neither finished nor failed.
    """

    plan: Plan
    synthetic: bool
    n_training: Mapping[float, int]
    n_materials: int
    n_frames: int
    left_out: Sequence[str]
    curves: Mapping[tuple[str, str], Curve]
    entries: Sequence[Entry]
    efforts: Sequence[Effort]
    forgotten: Sequence[Forgotten]
    scaling: Scaling | None
    failed: Mapping[str, str]
    open_runs: Sequence[str]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "schema": SCHEMA,
            "plan": self.plan.to_json(),
            "synthetic": self.synthetic,
            "test": {
                "frames": self.n_frames,
                "left_out": list(self.left_out),
                "materials": self.n_materials,
            },
            "errors": [plain(entry) for entry in self.entries],
            "equal_compute": compute.to_json(self.efforts),
            "forgetting": [_forgotten_json(item) for item in self.forgotten],
            "scaling": None if self.scaling is None else fitting.to_json(self.scaling),
            "failed": dict(self.failed),
            "open": list(self.open_runs),
        }


def study(
    plan: Plan,
    dataset: Dataset,
    finished: Sequence[Cell],
    *,
    load: Load,
    logs: Logs,
    evaluations: Evaluations,
    failed: Mapping[str, str],
) -> Study:
    """Measure and summarise the finished runs.

    Args:
        plan: Of the study.
        dataset: That it is on.
        finished: Runs to look at; one at least.
        load: Predictions of a run for the test split, by frame id.
        logs: Rows of its log.
        evaluations: What it wrote about itself.
        failed: Run -> why it has no result.

    Raises:
        PredictionsError: A run was made on other data.
    """
    family = dataset.learned_from(plan.config.get("frames", "all"))
    measured = measure(dataset, finished, load, family)
    n_training = {subset: training_size(dataset, subset, family) for subset in plan.subsets}
    known = curves(plan, measured)
    done = {cell.name for cell in finished}
    return Study(
        plan=plan,
        synthetic=bool(dataset.manifest.get("synthetic", False)),
        n_training=n_training,
        n_materials=len(measured.materials),
        n_frames=measured.n_frames,
        left_out=measured.left_out,
        curves=known,
        entries=entries(known, measured, n_training),
        efforts=compute.efforts(finished, logs),
        forgotten=_forgotten(finished, evaluations),
        scaling=fitting.fit(known, n_training, plan.fit_from) if plan.kind == "scaling" else None,
        failed=failed,
        open_runs=[cell.name for cell in plan.cells() if cell.name not in done and cell.name not in failed],
    )


def _forgotten(finished: Sequence[Cell], evaluations: Evaluations) -> list[Forgotten]:
    changes: dict[tuple[str, float, str], list[tuple[float, float]]] = {}
    for cell in finished:
        found = evaluations(cell)
        before, after = found.get("gga_test_before"), found.get("gga_test")
        if before is None or after is None:
            continue
        known = [name for name in FORGOTTEN if before.get(name) is not None and after.get(name) is not None]
        change = forgetting({name: before[name] for name in known}, {name: after[name] for name in known})
        for name in known:
            changes.setdefault((cell.method, cell.subset, name), []).append((before[name], change[name]))
    return [
        Forgotten(
            method=method,
            subset=subset,
            quantity=name,
            before=float(np.mean([before for before, _ in found])),
            change=float(np.mean([change for _, change in found])),
            seed_sd=float(np.std([change for _, change in found], ddof=1)) if len(found) > 1 else None,
        )
        for (method, subset, name), found in changes.items()
    ]


def _forgotten_json(item: Forgotten) -> dict[str, Any]:
    return {
        "method": item.method,
        "subset": item.subset,
        "quantity": item.quantity,
        "unit": FORGOTTEN[item.quantity],
        "before": item.before,
        "change": item.change,
        "seed_sd": item.seed_sd,
    }
