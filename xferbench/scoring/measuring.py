"""Rows -> metric entries with intervals, and the details that tables and plots show beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xferbench.metrics import METRICS, Sample, sum_by
from xferbench.results import ElementEntry, MetricEntry
from xferbench.scoring.rows import composition_energies, symbols
from xferbench.statistics import ClusterBootstrap, Interval, clusters

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from xferbench.records import Frame
    from xferbench.references import ElementalReferences
    from xferbench.scoring.rows import Rows
    from xferbench.tasks import Bootstrap, Task, TaskMetric

    Floats = NDArray[np.float64]
    Keyed = Mapping[tuple[str, str], Rows]
    """(quantity, reference) -> rows."""

PARITY_POINTS = 500
ONE_MATERIAL = "no interval: the frames are of a single material"
UNDEFINED = "the baseline leaves nothing to explain"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measured:
    """A metric on its rows: the value, and the sums per material that the bootstrap resamples."""

    wanted: TaskMetric
    rows: Rows
    value: float | None
    n_materials: int
    sums: Floats


def measure(task: Task, rows: Keyed, frames: Sequence[Frame]) -> tuple[MetricEntry, ...]:
    """All metrics of a task, on one resample plan.

    Args:
        task: Names the metrics and the plan.
        rows: For each quantity and reference that the task needs.
        frames: The test frames that the rows number.
    """
    names, material = clusters([frame.material_id for frame in frames])
    measured = [
        _measure(wanted, rows[METRICS[wanted.name].quantity, wanted.reference], material, len(names))
        for wanted in task.metrics
    ]
    intervals = _intervals(measured, task.bootstrap, len(names))
    return tuple(
        _entry(item, interval, main=item.wanted.key == task.main)
        for item, interval in zip(measured, intervals, strict=True)
    )


def _measure(wanted: TaskMetric, rows: Rows, material: NDArray[np.int64], n_materials: int) -> Measured:
    metric = METRICS[wanted.name]
    if rows.sample is None:
        return Measured(wanted=wanted, rows=rows, value=None, n_materials=0, sums=np.zeros((n_materials, 0)))
    components = metric.components(rows.sample)
    value = float(metric.combine(components.sum(axis=0)))
    return Measured(
        wanted=wanted,
        rows=rows,
        value=value if np.isfinite(value) else None,
        n_materials=len(set(material[rows.sample.used].tolist())),
        sums=sum_by(components, material, n_materials),
    )


def _intervals(measured: Sequence[Measured], plan: Bootstrap, n_materials: int) -> list[Interval | None]:
    """Intervals of all metrics from one pass over the plan: their sums stand side by side in one matrix."""
    bootstrap = ClusterBootstrap(n_clusters=n_materials, n_resamples=plan.n, seed=plan.seed, confidence=plan.confidence)
    resampled = bootstrap.resample(np.concatenate([item.sums for item in measured], axis=1))
    ends = np.cumsum([item.sums.shape[1] for item in measured])
    parts = np.split(resampled, ends[:-1], axis=1)
    return [
        None if item.value is None else bootstrap.interval(METRICS[item.wanted.name].combine(part), item.n_materials)
        for item, part in zip(measured, parts, strict=True)
    ]


def _entry(item: Measured, interval: Interval | None, *, main: bool) -> MetricEntry:
    metric, wanted, sample = METRICS[item.wanted.name], item.wanted, item.rows.sample
    n_frames = 0 if sample is None else int(sample.used.sum())
    reason = item.rows.reason
    if sample is not None and item.value is None:
        reason = UNDEFINED
    elif sample is not None and interval is None:
        reason = ONE_MATERIAL
    return MetricEntry(
        name=wanted.name,
        reference=None if wanted.reference == "none" else wanted.reference,
        key=wanted.key,
        unit=metric.unit,
        better=metric.better,
        value=item.value,
        ci_low=None if interval is None else interval.low,
        ci_high=None if interval is None else interval.high,
        n_frames=n_frames,
        n_materials=item.n_materials,
        n_missing=item.rows.n_labels - n_frames,
        main=main,
        reason=reason,
    )


def per_element(rows: Keyed, frames: Sequence[Frame]) -> tuple[ElementEntry, ...]:
    """Aligned energy error of the frames that contain an element, and force error of its atoms, by atomic number."""
    entries = []
    for key, quantity, reference in (
        ("energy_mae/aligned", "energy", "aligned"),
        ("force_mae", "forces", "none"),
    ):
        sample = rows[quantity, reference].sample
        if sample is not None:
            entries += _by_element(key, sample, frames, per_atom=quantity == "forces")
    return tuple(entries)


def _by_element(key: str, sample: Sample, frames: Sequence[Frame], *, per_atom: bool) -> list[ElementEntry]:
    used = [frames[i].numbers for i in np.flatnonzero(sample.used).tolist()]
    elements = sorted(set(np.concatenate(used).tolist()))
    entries = []
    for element, symbol in zip(elements, symbols(elements), strict=True):
        keep = np.concatenate([numbers == element if per_atom else [element in numbers] for numbers in used])
        part = Sample(
            prediction=sample.prediction[keep],
            label=sample.label[keep],
            frame=sample.frame[keep],
            n_frames=sample.n_frames,
        )
        value = METRICS[key.partition("/")[0]].value(part)
        entries.append(ElementEntry(element=symbol, metric=key, value=value, n_frames=int(part.used.sum())))
    return entries


def parity(
    rows: Keyed, frames: Sequence[Frame], label_references: ElementalReferences, seed: int
) -> dict[str, tuple[tuple[float, float], ...]]:
    """Points (label, prediction) of aligned energies and of force components.

    The elemental references of the labels are removed from both energies: with them, tens of eV of composition would hide
    every error.
    """
    points = {}
    energy = rows["energy", "aligned"].sample
    if energy is not None:
        composition = composition_energies(label_references, [frames[i].numbers for i in energy.frame.tolist()])
        points["energy"] = _choose(energy.label[:, 0] - composition, energy.prediction[:, 0] - composition, seed)
    forces = rows["forces", "none"].sample
    if forces is not None:
        points["forces"] = _choose(forces.label.ravel(), forces.prediction.ravel(), seed)
    return points


def _choose(label: Floats, prediction: Floats, seed: int) -> tuple[tuple[float, float], ...]:
    """All points, or a random choice that is the same for every model that predicts all frames."""
    index = np.arange(len(label))
    if len(label) > PARITY_POINTS:
        index = np.sort(np.random.RandomState(seed).choice(len(label), PARITY_POINTS, replace=False))
    return tuple(zip(label[index].tolist(), prediction[index].tolist(), strict=True))
