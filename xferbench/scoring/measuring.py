"""Rows -> metric entries with intervals, and the details that tables and plots show beside them."""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits

from xferbench.metrics import METRICS, Sample, together, undefined
from xferbench.results import ElementEntry, MetricEntry
from xferbench.scoring.rows import composition_energies, symbols
from xferbench.statistics import ClusterBootstrap, Interval, clusters, tally
from xferbench.storage import finite

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from xferbench.metrics import Metric, Resampler
    from xferbench.records import Frame
    from xferbench.references import ElementalReferences
    from xferbench.scoring.rows import Rows
    from xferbench.tasks import Task, TaskMetric

    Floats = NDArray[np.float64]
    Keyed = Mapping[tuple[str, str], Rows]
    """(quantity, reference) -> rows."""

WORKERS = min(os.cpu_count() or 1, 8)
PARITY_POINTS = 500
ONE_MATERIAL = "no interval: the frames are of a single material"
NOT_RESAMPLED = "no interval: resampling says nothing about a maximum"


def measure(task: Task, rows: Keyed, frames: Sequence[Frame]) -> tuple[MetricEntry, ...]:
    """All metrics of a task, on one resample plan.

    Args:
        task: Names the metrics and the plan.
        rows: For each quantity and reference that the task needs.
        frames: The test frames that the rows number.
    """
    names, material = clusters([frame.material_id for frame in frames])
    rows_of = [rows[METRICS[wanted.name].quantity, wanted.reference] for wanted in task.metrics]
    plan = task.bootstrap
    bootstrap = ClusterBootstrap(n_clusters=len(names), n_resamples=plan.n, seed=plan.seed, confidence=plan.confidence)
    computed = _compute(task.metrics, rows_of, material, bootstrap)
    return tuple(
        _entry(wanted, item, material, values, partial(bootstrap.interval, values[1:]), main=wanted.key == task.main)
        for wanted, item, values in zip(task.metrics, rows_of, computed, strict=True)
    )


def _compute(
    wanted: Sequence[TaskMetric], rows: Sequence[Rows], material: NDArray[np.int64], bootstrap: ClusterBootstrap
) -> list[Floats]:
    """(1 + n_resamples,) values of each metric: of the sample as it is, then from one pass over the plan.

    NaN for what has no rows or is not resampled. Blocks of the plan are worked on side by side, a thread for each
    processor, while the next are drawn: numpy lets go of the interpreter while it counts.
    """
    n = bootstrap.n_clusters

    def prepared(metric: Metric, item: Rows) -> Resampler:
        return metric.resampler(item.sample, material, n) if item.sample and metric.resampled else undefined(n)

    with threadpool_limits(1, "blas"), ThreadPoolExecutor(WORKERS) as pool:  # threads within threads only wait
        values_of = together(list(pool.map(prepared, [METRICS[item.name] for item in wanted], rows)))
        blocks = bootstrap.draws()
        running = deque([pool.submit(values_of, np.ones((1, n)))])
        parts = []
        while running:
            running.extend(
                pool.submit(lambda draws: values_of(tally(draws, np.float64)), draws)
                for draws in islice(blocks, WORKERS + 1 - len(running))  # no more in memory than are worked on
            )
            parts.append(running.popleft().result())
    return [np.concatenate(part) for part in zip(*parts, strict=True)]


def _entry(
    wanted: TaskMetric,
    rows: Rows,
    material: NDArray[np.int64],
    values: Floats,
    interval_of: Callable[[int], Interval | None],
    *,
    main: bool,
) -> MetricEntry:
    metric, sample = METRICS[wanted.name], rows.sample
    value = metric.value(sample) if sample and not metric.resampled else float(values[0])
    n_materials = 0 if sample is None else int(np.count_nonzero(np.bincount(material[sample.used])))
    interval = interval_of(n_materials) if np.isfinite(value) else None
    return MetricEntry(
        name=wanted.name,
        reference=None if wanted.reference == "none" else wanted.reference,
        key=wanted.key,
        unit=metric.unit,
        better=metric.better,
        value=finite(value),
        ci_low=None if interval is None else interval.low,
        ci_high=None if interval is None else interval.high,
        n_frames=0 if sample is None else sample.n_used,
        n_materials=n_materials,
        n_missing=rows.n_labels - (0 if sample is None else sample.n_used),
        main=main,
        reason=rows.reason or _reason(metric, value, interval),
    )


def _reason(metric: Metric, value: float, interval: Interval | None) -> str | None:
    """Why there is no value, or no interval."""
    if not np.isfinite(value):
        return metric.undefined
    if not metric.resampled:
        return NOT_RESAMPLED
    return ONE_MATERIAL if interval is None else None


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
