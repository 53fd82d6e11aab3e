"""Errors of runs -> one line per method, training set and quantity, with intervals.

Two things make a number uncertain, and they are kept apart. *Materials*: another test set would give another error; its
interval comes from drawing whole materials. *Seeds*: another training run would too; its spread is the standard deviation
over seeds. The interval of a mean over seeds covers both (``statistics.resample_curve``).
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xferbench.measure import ClusterBootstrap, Estimate, resample_curve
from xferbench.storage import finite
from xferbench.studies.measuring import QUANTITIES, metric
from xferbench.studies.plan import Cell, scratch_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from xferbench.records import Floats
    from xferbench.studies.measuring import Measured
    from xferbench.studies.plan import Plan

RESAMPLES = 2000
SEED = 0
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """The error of a method after training on a subset, over all its finished seeds.

    Attributes:
        n_training: Training frames of the subset.
        unit: As stored.
        mean: Over seeds; its interval covers test materials and seeds.
        materials: Interval of the mean for these very runs: test materials alone; ``None`` with a single material.
        seed_sd: Standard deviation over seeds; ``None`` with a single seed.
        values: Seed -> error.
        ratio: Mean over that of training from scratch on the same data, interval paired in the materials; above 1
            transfer did harm. ``None`` for scratch itself, or if it was not run.
    """

    method: str
    subset: float
    n_training: int
    quantity: str
    unit: str
    mean: Estimate
    materials: tuple[float, float] | None
    seed_sd: float | None
    values: Mapping[int, float]
    ratio: Estimate | None

    @property
    def gain(self) -> Estimate | None:
        """Part of the error of scratch that transfer removes at equal data."""
        return None if self.ratio is None else Estimate(1 - self.ratio.value, 1 - self.ratio.high, 1 - self.ratio.low)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Curve:
    """Errors of a method against training data.

    Attributes:
        subsets: With at least one finished run, increasing.
        errors: (n_subsets,) means over seeds.
        draws: (n_resamples, n_subsets) the same, materials and seeds drawn anew.
        runs: Subset -> finished cells.
    """

    method: str
    quantity: str
    subsets: tuple[float, ...]
    errors: Floats
    draws: Floats
    runs: Mapping[float, tuple[Cell, ...]]


def bootstrap(measured: Measured) -> ClusterBootstrap:
    """The plan that all methods of a study share, so that their ratios are paired."""
    return ClusterBootstrap(n_clusters=len(measured.materials), n_resamples=RESAMPLES, seed=SEED, confidence=CONFIDENCE)


def curves(plan: Plan, measured: Measured) -> dict[tuple[str, str], Curve]:
    """(method, quantity) -> its curve, for those with a finished run."""
    found = {(name, quantity): _curve(name, quantity, measured) for name in plan.methods for quantity in QUANTITIES}
    return {key: curve for key, curve in found.items() if curve is not None}


def entries(known: Mapping[tuple[str, str], Curve], measured: Measured, n_training: Mapping[float, int]) -> list[Entry]:
    """Every line of the table, by quantity, subset and mean error.

    Args:
        known: The curves.
        measured: What they were made of.
        n_training: Subset -> training frames.
    """
    lines = [
        _entry(curve, position, known.get((scratch_of(curve.method), curve.quantity)), measured, n_training)
        for curve in known.values()
        for position in range(len(curve.subsets))
    ]
    order = list(QUANTITIES)
    return sorted(lines, key=lambda line: (order.index(line.quantity), line.subset, line.mean.value, line.method))


def interval(quantity: str, value: float, draws: Floats, measured: Measured) -> Estimate:
    """Value with the expanded percentile interval of its draws; NaN where there is none."""
    ends = bootstrap(measured).interval(draws, measured.n_labelled(quantity))
    return Estimate(value, np.nan, np.nan) if ends is None else Estimate(value, *ends)


def _curve(method: str, quantity: str, measured: Measured) -> Curve | None:
    runs: dict[float, tuple[Cell, ...]] = {}
    for cell in sorted(measured.sums[quantity], key=lambda cell: (cell.subset, cell.seed)):
        if cell.method == method:
            runs[cell.subset] = (*runs.get(cell.subset, ()), cell)
    if not runs:
        return None
    sums = [np.stack([measured.sums[quantity][cell] for cell in cells]) for cells in runs.values()]
    seed = zlib.crc32(f"{method} {quantity}".encode())  # independent draws of training seeds for every curve
    return Curve(
        method=method,
        quantity=quantity,
        subsets=tuple(runs),
        errors=np.array([np.mean([measured.value(quantity, cell) for cell in cells]) for cells in runs.values()]),
        draws=resample_curve(sums, metric(quantity).combine, bootstrap(measured), seed=seed),
        runs=runs,
    )


def _entry(
    curve: Curve, position: int, scratch: Curve | None, measured: Measured, n_training: Mapping[float, int]
) -> Entry:
    subset = curve.subsets[position]
    cells = curve.runs[subset]
    values = {cell.seed: measured.value(curve.quantity, cell) for cell in cells}
    mean = float(curve.errors[position])
    return Entry(
        method=curve.method,
        subset=subset,
        n_training=n_training[subset],
        quantity=curve.quantity,
        unit=metric(curve.quantity).unit,
        mean=interval(curve.quantity, mean, curve.draws[:, position], measured),
        materials=_materials(curve.quantity, cells, measured),
        seed_sd=float(np.std(list(values.values()), ddof=1)) if len(values) > 1 else None,
        values=values,
        ratio=_ratio(curve, position, scratch, measured),
    )


def _materials(quantity: str, cells: Sequence[Cell], measured: Measured) -> tuple[float, float] | None:
    """Interval of the mean over the very runs there are."""
    plan, combine = bootstrap(measured), metric(quantity).combine
    draws = np.mean([combine(plan.resample(measured.sums[quantity][cell])) for cell in cells], axis=0)
    return plan.interval(draws, measured.n_labelled(quantity))


def _ratio(curve: Curve, position: int, scratch: Curve | None, measured: Measured) -> Estimate | None:
    subset = curve.subsets[position]
    if scratch is None or curve.method == scratch.method or subset not in scratch.subsets:
        return None
    other = scratch.subsets.index(subset)
    if scratch.errors[other] <= 0 or (scratch.draws[:, other] <= 0).any():
        return None
    value = float(curve.errors[position] / scratch.errors[other])
    return interval(curve.quantity, value, curve.draws[:, position] / scratch.draws[:, other], measured)


def plain(entry: Entry) -> dict[str, Any]:
    """An entry as JSON values."""
    return {
        "method": entry.method,
        "subset": entry.subset,
        "n_training": entry.n_training,
        "quantity": entry.quantity,
        "metric": QUANTITIES[entry.quantity],
        "unit": entry.unit,
        "n_seeds": len(entry.values),
        "mean": finite(entry.mean.value),
        "ci_low": finite(entry.mean.low),
        "ci_high": finite(entry.mean.high),
        "materials_low": None if entry.materials is None else finite(entry.materials[0]),
        "materials_high": None if entry.materials is None else finite(entry.materials[1]),
        "seed_sd": entry.seed_sd,
        "negative_transfer_index": None if entry.ratio is None else entry.ratio.value,
        "nti_low": None if entry.ratio is None else finite(entry.ratio.low),
        "nti_high": None if entry.ratio is None else finite(entry.ratio.high),
        "values": {str(seed): value for seed, value in entry.values.items()},
    }


def from_plain(values: Mapping[str, Any]) -> Entry:
    """What ``plain`` made plain."""

    def estimate(value: str, low: str, high: str) -> Estimate:
        return Estimate.from_json({"value": values[value], "low": values[low], "high": values[high]})

    materials = (values["materials_low"], values["materials_high"])
    return Entry(
        method=values["method"],
        subset=values["subset"],
        n_training=values["n_training"],
        quantity=values["quantity"],
        unit=values["unit"],
        mean=estimate("mean", "ci_low", "ci_high"),
        materials=None if None in materials else materials,
        seed_sd=values["seed_sd"],
        values={int(seed): error for seed, error in values["values"].items()},
        ratio=None
        if values["negative_transfer_index"] is None
        else estimate("negative_transfer_index", "nti_low", "nti_high"),
    )
