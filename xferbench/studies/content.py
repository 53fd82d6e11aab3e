"""What a study says, as plain values: the one thing that tables, figures, page and report are made from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from xferbench.errors import FormatError
from xferbench.measure import forgetting
from xferbench.schema import parse
from xferbench.studies import compute, fitting, variance
from xferbench.studies.first_edition import in_present_words
from xferbench.studies.measuring import measure, training_size
from xferbench.studies.plan import Plan
from xferbench.studies.summarising import curves, entries, from_plain, interval, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from xferbench.dataset import Dataset
    from xferbench.measure import Estimate
    from xferbench.studies.compute import ComputeGain, Logs
    from xferbench.studies.fitting import Scaling
    from xferbench.studies.measuring import Load
    from xferbench.studies.plan import Cell
    from xferbench.studies.summarising import Entry
    from xferbench.studies.variance import Part

    Evaluations = Callable[[Cell], Mapping[str, Any]]

STUDY = "study.json"
"""File of a study with every number."""

DIGITS = 12
"""Significant digits of what is computed from a study's numbers when its file is written: the same on any processor."""

SCHEMA = 2
"""Version of ``study.json``; that of 1 has the methods and settings of the first edition."""

FORGOTTEN = {"energy_aligned": "eV/atom", "forces": "eV/Å", "stress": "eV/Å³", "magmoms": "µB"}
"""Errors on the source functional, and their units. Energies after elemental offsets: the zero is not knowledge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """Change of an error on the source labels of the test split by training, over seeds.

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
        variance: Of a study of methods, which choice their errors differ by.
        failed: Run -> why it has no result.
        open_runs: Runs of the plan that are neither finished nor failed.
    """

    plan: Plan
    synthetic: bool
    n_training: Mapping[float, int]
    n_materials: int
    n_frames: int
    left_out: Sequence[str]
    entries: Sequence[Entry]
    compute_gains: Sequence[ComputeGain]
    forgotten: Sequence[Forgotten]
    scaling: Scaling | None
    variance: Sequence[Part]
    failed: Mapping[str, str]
    open_runs: Sequence[str]

    @property
    def expected(self) -> Mapping[fitting.Key, Mapping[int, Estimate]]:
        """Of a study of scaling, the errors to expect with more labels, see ``fitting.expected``."""
        return {} if self.scaling is None else fitting.expected(self.entries, self.plan.fit_from)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "schema": SCHEMA,
            "plan": self.plan.to_json(),
            "synthetic": self.synthetic,
            "training": [{"subset": subset, "n_training": n} for subset, n in self.n_training.items()],
            "test": {
                "frames": self.n_frames,
                "left_out": list(self.left_out),
                "materials": self.n_materials,
            },
            "errors": [plain(entry) for entry in self.entries],
            "equal_compute": compute.to_json(self.compute_gains),
            "forgetting": [_forgotten_json(item) for item in self.forgotten],
            "scaling": None if self.scaling is None else fitting.to_json(self.scaling),
            "variance": variance.to_json(self.variance),
            "expected": [
                {"method": method, "quantity": quantity, "n_training": n, **_rounded(error)}
                for (method, quantity), sizes in self.expected.items()
                for n, error in sizes.items()
            ],
            "failed": dict(self.failed),
            "open": list(self.open_runs),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any], where: object) -> Study:
        """What ``to_json`` made plain; a study of the first edition gets the present names of its methods.

        Args:
            values: Of ``study.json``.
            where: The file, for messages.

        Raises:
            FormatError: They are not of a study, or of one that a later version wrote.
        """
        schema = values.get("schema") if isinstance(values, dict) else None
        if schema not in {1, SCHEMA}:
            raise FormatError(
                f"{where} is no study of schema {SCHEMA} or 1, but {schema!r}; run the study again, or update xferbench"
            )
        if schema == 1:
            values = in_present_words(values)
        try:
            return cls(
                plan=parse(Plan, values["plan"], where),
                synthetic=values["synthetic"],
                n_training={item["subset"]: item["n_training"] for item in values["training"]},
                n_materials=values["test"]["materials"],
                n_frames=values["test"]["frames"],
                left_out=values["test"]["left_out"],
                entries=[from_plain(item) for item in values["errors"]],
                compute_gains=compute.from_json(values["equal_compute"]),
                forgotten=[_forgotten_of(item) for item in values["forgetting"]],
                scaling=None if values["scaling"] is None else fitting.from_json(values["scaling"]),
                variance=variance.from_json(values.get("variance", ())),
                failed=values["failed"],
                open_runs=values["open"],
            )
        except (KeyError, TypeError) as error:
            raise FormatError(f"{where} is no study: {error!r}; run the study again") from error


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
        entries=entries(known, measured, n_training),
        compute_gains=compute.compute_gains(finished, logs),
        forgotten=_forgotten(finished, evaluations),
        scaling=fitting.fit(known, n_training, plan.fit_from) if plan.kind == "scaling" else None,
        variance=variance.parts(known, plan.subsets, partial(interval, measured=measured))
        if plan.kind == "methods"
        else (),
        failed=failed,
        open_runs=[cell.name for cell in plan.cells() if cell.name not in done and cell.name not in failed],
    )


def _forgotten(finished: Sequence[Cell], evaluations: Evaluations) -> list[Forgotten]:
    changes: dict[tuple[str, float, str], list[tuple[float, float]]] = {}
    for cell in finished:
        found = evaluations(cell)
        before, after = found.get("source_test_before"), found.get("source_test")
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


def _rounded(error: Estimate) -> dict[str, float | None]:
    return {
        name: number if number is None else float(f"{number:.{DIGITS}g}") for name, number in error.to_json().items()
    }


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


def _forgotten_of(values: Mapping[str, Any]) -> Forgotten:
    return Forgotten(**{name: values[name] for name in ("method", "subset", "quantity", "before", "change", "seed_sd")})
