"""The same metrics on parts of the test frames: at rest or distorted, magnetic, with +U, with moments that disagree.

Besides, every flag of ``hygiene`` that some scored pair has is a slice, ``flag:<name>``; and an audit of the training set
slices by what it knows of the pairs: ``seen-structure``, ``new-material``, ``new-chemsys``.

Slices overlap and are chosen by labels alone, so every model has the same. A slice is measured like the whole: same offsets,
its own materials in the bootstrap.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from xferbench.functionals import Functional
from xferbench.hygiene import MISSING
from xferbench.measure import METRICS
from xferbench.results import SliceEntry
from xferbench.scoring.measuring import measure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from xferbench.functionals import Side
    from xferbench.labels import Labels, Ragged
    from xferbench.results import MetricEntry
    from xferbench.scoring.measuring import Keyed
    from xferbench.tasks import Task
    from xferbench.tasks.rows import Joined

    Floats = NDArray[np.float64]
    Mask = NDArray[np.bool_]

AT_REST = 0.1
"""eV/Å. Forces below this on every atom are those of a structure at, or by symmetry held at, a stationary point."""

MAGNETIC = 0.1
"""µB. Smaller moments are numerical."""

MISMATCH = 0.1
"""µB/atom. Total moments that differ by more are two magnetic states, and their gap is not one of functionals alone."""

SLICED = ("energy_mae/aligned", "force_mae", "force_slope", "stress_mae", "magmom_mae")
"""Metrics of a slice, as far as the task has them."""


def at_rest(labels: Labels, side: Side) -> Mask:
    """(n,) whether every force of the label is small."""
    forces = labels.of(side).values.forces
    return forces.present & (_largest(forces) < AT_REST)


def distorted(labels: Labels, side: Side) -> Mask:
    """(n,) whether some force of the label is not small."""
    return labels.of(side).values.forces.present & ~at_rest(labels, side)


def magnetic(labels: Labels, side: Side) -> Mask:
    """(n,) whether the label has moments, and some are not zero."""
    magmoms = labels.of(side).values.magmoms
    return magmoms.present & (replace(magmoms, values=np.abs(magmoms.values)).reduce(np.maximum, 0.0) >= MAGNETIC)


def moments_differ(labels: Labels, _side: Side) -> Mask:
    """(n,) whether the two calculations of the pair have different absolute total moments."""
    sides = [labels.source.values.magmoms, labels.target.values.magmoms]
    means = [np.abs(item.reduce(np.add, np.nan)) / np.maximum(item.lengths, 1) for item in sides]
    return np.abs(means[0] - means[1]) > MISMATCH  # false for NaN: one has none


def hubbard(labels: Labels, _side: Side) -> Mask:
    """(n,) whether the source calculation of the pair has a +U."""
    return with_hubbard(labels, "source")


def with_hubbard(labels: Labels, side: Side) -> Mask:
    """(n,) whether the calculation of one side has a +U."""
    functional = labels.of(side).functional
    names, inverse = np.unique(functional.astype(str), return_inverse=True)
    return np.array([Functional(name).hubbard_u for name in names.tolist()], dtype=bool)[inverse]


SLICES: dict[str, Callable[[Labels, Side], Mask]] = {
    "at-rest": at_rest,
    "distorted": distorted,
    "magnetic": magnetic,
    "moments-differ": moments_differ,
    "hubbard-u": hubbard,
}
"""Name -> which pairs belong to it."""


def slices(task: Task, test: Joined, rows: Keyed) -> tuple[SliceEntry, ...]:
    """Measure each slice; one without frames has no metrics. Slices of flags are there only with frames.

    Missing labels are no slice: each metric counts them itself.

    Args:
        task: Gives the metrics and the resample plan.
        test: All test frames.
        rows: Of these.
    """
    members = {name: belongs(test.labels, test.side) for name, belongs in SLICES.items()}
    flags = {f"flag:{name}": mask for name, mask in test.labels.flags.items() if name not in set(MISSING.values())}
    members |= {name: mask for name, mask in sorted(flags.items()) if mask.any()}
    return _measured(task, test, rows, members)


def regime_slices(task: Task, test: Joined, rows: Keyed, regimes: Sequence[str]) -> tuple[SliceEntry, ...]:
    """``slices`` by what a training set knows of the pairs.

    Args:
        task: Gives the metrics and the resample plan.
        test: All test frames.
        rows: Of these.
        regimes: Of each frame.
    """
    found = np.array(regimes, dtype=object)
    return _measured(task, test, rows, {name: found == name for name in sorted(set(regimes))})


def _measured(task: Task, test: Joined, rows: Keyed, members: Mapping[str, Mask]) -> tuple[SliceEntry, ...]:
    asked = [metric for metric in task.metrics if metric.key in SLICED]
    wanted = {(METRICS[metric.name].quantity, metric.reference) for metric in asked}
    entries = []
    for name, inside in members.items():
        n_frames = int(inside.sum())
        metrics: tuple[MetricEntry, ...] = ()
        if n_frames and asked:
            number = np.cumsum(inside) - 1
            parts: Keyed = {key: rows[key].part(inside, number, n_frames) for key in wanted}
            metrics = measure(task, parts, test.labels.material_id[inside].tolist(), SLICED)
        entries.append(SliceEntry(name=name, n_frames=n_frames, metrics=metrics))
    return tuple(entries)


def _largest(vectors: Ragged) -> Floats:
    """(n,) length of the longest vector of each frame, 0 where there is none."""
    return replace(vectors, values=np.linalg.norm(vectors.values, axis=1)).reduce(np.maximum, 0.0)
