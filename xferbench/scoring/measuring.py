"""Rows -> metric entries with intervals, and the details that tables and plots show beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from xferbench.measure import METRICS, Asked, ClusterBootstrap, SumMetric, clusters, estimates, sum_by
from xferbench.results import ElementEntry, MetricEntry, Signal
from xferbench.storage import finite
from xferbench.tasks.rows import symbols

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from xferbench.measure import Estimate, Sample
    from xferbench.tasks import Bootstrap, Task, TaskMetric
    from xferbench.tasks.rows import Joined, Rows

    Floats = NDArray[np.float64]
    Keyed = Mapping[tuple[str, str], Rows]
    """(quantity, reference) -> rows."""

PARITY_POINTS = 500


def plan_of(bootstrap: Bootstrap, n_clusters: int) -> ClusterBootstrap:
    """The resample plan of a task over so many materials."""
    return ClusterBootstrap(
        n_clusters=n_clusters, n_resamples=bootstrap.n, seed=bootstrap.seed, confidence=bootstrap.confidence
    )


def measure(
    task: Task, rows: Keyed, material_id: Sequence[str], keys: Collection[str] | None = None
) -> tuple[MetricEntry, ...]:
    """Metrics of a task, on one resample plan.

    Args:
        task: Names the metrics and the plan.
        rows: For each quantity and reference that the task needs.
        material_id: (n_frames,) of the frames that the rows number.
        keys: Those that are wanted; all by default.
    """
    names, material = clusters(material_id)
    metrics = [wanted for wanted in task.metrics if keys is None or wanted.key in keys]
    rows_of = [rows[METRICS[wanted.name].quantity, wanted.reference] for wanted in metrics]
    asked = [
        Asked(METRICS[wanted.name], item.sample, item.refits, item.no_interval if item.sample else item.reason)
        for wanted, item in zip(metrics, rows_of, strict=True)
    ]
    found = estimates(asked, material, plan_of(task.bootstrap, len(names)))
    return tuple(
        _entry(wanted, item, estimate, main=wanted.key == task.main)
        for wanted, item, estimate in zip(metrics, rows_of, found, strict=True)
    )


def _entry(wanted: TaskMetric, rows: Rows, estimate: Estimate, *, main: bool) -> MetricEntry:
    metric = METRICS[wanted.name]
    return MetricEntry(
        name=wanted.name,
        version=metric.version,
        reference=None if wanted.reference == "none" else wanted.reference,
        key=wanted.key,
        unit=metric.unit,
        better=metric.better,
        value=finite(estimate.value),
        ci_low=finite(estimate.low),
        ci_high=finite(estimate.high),
        n_frames=estimate.n_frames,
        n_materials=estimate.n_materials,
        n_missing=rows.n_labels - estimate.n_frames,
        main=main,
        reason=estimate.reason,
    )


def per_element(rows: Keyed, test: Joined) -> tuple[ElementEntry, ...]:
    """Aligned energy error of the frames that contain an element, and force error of its atoms, by atomic number."""
    entries: list[ElementEntry] = []
    numbers = test.own.numbers
    energy = rows["energy", "aligned"].sample
    if energy is not None:
        pairs = np.unique(numbers.owner * 128 + numbers.values)
        of_frame = np.full(len(test), -1)
        of_frame[energy.frame] = np.arange(len(energy.frame))
        used = of_frame[pairs // 128]
        entries += _by_element("energy_mae/aligned", energy, used[used >= 0], (pairs % 128)[used >= 0])
    forces = rows["forces", "none"].sample
    if forces is not None:
        kept = np.unique(forces.frame)
        element = numbers.take(kept).values
        if test.own.free is not None:
            element = element[test.own.free.forces.take(kept).values.any(axis=1)]
        entries += _by_element("force_mae", forces, np.arange(len(forces.frame)), element)
    return tuple(entries)


def _by_element(key: str, sample: Sample, row: NDArray[np.int64], element: NDArray[np.int64]) -> list[ElementEntry]:
    """Metrics of the rows of each element; a row may belong to several."""
    metric = METRICS[key.partition("/")[0]]
    assert isinstance(metric, SumMetric)  # noqa: S101 - mean absolute errors are
    terms = np.concatenate([metric.terms(piece) for _, piece in sample.pieces()])
    values = metric.combine(sum_by(terms[row], element, 128))
    frames = np.unique(element * sample.n_frames + sample.frame[row]) // sample.n_frames
    present, counts = np.unique(frames, return_counts=True)
    return [
        ElementEntry(element=symbol, metric=key, value=float(values[number]), n_frames=int(count))
        for number, symbol, count in zip(present.tolist(), symbols(present.tolist()), counts.tolist(), strict=True)
    ]


def signals(rows: Keyed, material_id: Sequence[str]) -> tuple[Signal, ...]:
    """What the forces and stresses that count rest on.

    Args:
        rows: Of both quantities, all components and those that symmetry leaves free.
        material_id: (n_frames,) of the frames that the rows number.
    """
    names, material = clusters(material_id)
    found = []
    for quantity in ("forces", "stress"):
        own, every = rows[quantity, "none"].sample, rows[f"all_{quantity}", "none"].sample
        if own is None or every is None:
            continue
        owner = material[own.frame]
        errors = np.bincount(owner, weights=np.abs(own.prediction - own.label).sum(axis=1), minlength=len(names))
        heaviest, total = int(errors.argmax()), float(errors.sum())
        found.append(
            Signal(
                quantity=quantity,
                components=int(own.widths.sum()),
                of=every.label.size,
                rows=len(own.frame),
                frames=own.n_used,
                materials=len(np.unique(owner)),
                heaviest=names[heaviest],
                share=float(errors[heaviest]) / total if total else None,
            )
        )
    return tuple(found)


def parity(rows: Keyed, composition: Floats, seed: int) -> dict[str, tuple[tuple[float, float], ...]]:
    """Points (label, prediction) of aligned energies and of force components.

    Args:
        rows: Of energies and forces.
        composition: (n_frames,) elemental references of the labels, eV/atom. They are removed from both energies: with them, tens of
            eV of composition would hide every error.
        seed: Of the choice of points.
    """
    points = {}
    energy = rows["energy", "aligned"].sample
    if energy is not None:
        removed = composition[energy.frame]
        points["energy"] = _choose(energy.label[:, 0] - removed, energy.prediction[:, 0] - removed, seed)
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
