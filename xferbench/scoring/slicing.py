"""The same metrics on parts of the test frames: at rest or distorted, magnetic, with +U, with moments that disagree.

Besides, every flag of ``hygiene`` that some scored pair has is a slice, ``flag:<name>``; and an audit of the training set
slices by what it knows of the pairs: ``seen-structure``, ``new-material``, ``new-chemsys``.

Slices overlap and are chosen by labels alone, so every model has the same. A slice is measured like the whole: same offsets,
its own materials in the bootstrap.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from xferbench.dataset import pair_flags
from xferbench.hygiene import MISSING
from xferbench.records import Functional
from xferbench.results import SliceEntry
from xferbench.scoring.measuring import measure
from xferbench.scoring.quantities import keyed
from xferbench.scoring.rows import Joined, energies

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from xferbench.dataset import Dataset
    from xferbench.records import Frame, Pair
    from xferbench.results import MetricEntry
    from xferbench.tasks import Task

AT_REST = 0.1
"""eV/Å. Forces below this on every atom are those of a structure at, or by symmetry held at, a stationary point."""

MAGNETIC = 0.1
"""µB. Smaller moments are numerical."""

MISMATCH = 0.1
"""µB/atom. Total moments that differ by more are two magnetic states, and their gap is not one of functionals alone."""

SLICED = ("energy_mae/aligned", "force_mae", "force_slope", "stress_mae", "magmom_mae")
"""Metrics of a slice, as far as the task has them."""


def at_rest(pair: Pair, frame: Frame) -> bool:  # noqa: ARG001 - all slices take the pair and the frame
    """Every force of the label is small."""
    return frame.forces is not None and bool(np.linalg.norm(frame.forces, axis=1).max() < AT_REST)


def distorted(pair: Pair, frame: Frame) -> bool:
    """Some force of the label is not small."""
    return frame.forces is not None and not at_rest(pair, frame)


def magnetic(pair: Pair, frame: Frame) -> bool:  # noqa: ARG001 - as above
    """The label has moments, and some are not zero."""
    return frame.magmoms is not None and bool(np.abs(frame.magmoms).max() >= MAGNETIC)


def moments_differ(pair: Pair, frame: Frame) -> bool:  # noqa: ARG001 - as above
    """The two calculations of the pair have different absolute total moments."""
    first, second = (side.magmoms for side in (pair.gga, pair.r2scan))
    if first is None or second is None:
        return False
    return bool(abs(abs(first.mean()) - abs(second.mean())) > MISMATCH)


def hubbard(pair: Pair, frame: Frame) -> bool:  # noqa: ARG001 - as above
    """The GGA calculation of the pair has a +U."""
    return pair.gga.functional is Functional.PBE_U


SLICES: dict[str, Callable[[Pair, Frame], bool]] = {
    "at-rest": at_rest,
    "distorted": distorted,
    "magnetic": magnetic,
    "moments-differ": moments_differ,
    "hubbard-u": hubbard,
}
"""Name -> whether a frame belongs to it."""


class Aligning(NamedTuple):
    """What energies are aligned with: the calibration frames, and the elemental references the model declares."""

    calibration: Joined
    declared: Mapping[str, float] | None


def slices(
    task: Task, dataset: Dataset, test: Joined, calibration: Joined, declared: Mapping[str, float] | None
) -> tuple[SliceEntry, ...]:
    """Measure each slice; one without frames has no metrics. Slices of flags are there only with frames.

    Args:
        task: Gives the metrics and the resample plan.
        dataset: Holds the pairs.
        test: All test frames.
        calibration: Frames that offsets are fitted on, the same for every slice.
        declared: Elemental references the model declares.
    """
    pairs = {pair.pair_id: pair for pair in dataset.pairs(task.split)}
    members = {
        name: [i for i, frame in enumerate(test.frames) if belongs(pairs[frame.pair_id], frame)]
        for name, belongs in SLICES.items()
    }
    members |= _flagged(task, dataset, test)
    return _measured(task, dataset, test, members, Aligning(calibration=calibration, declared=declared))


def regime_slices(
    task: Task, dataset: Dataset, test: Joined, regimes: Mapping[str, str], aligning: Aligning
) -> tuple[SliceEntry, ...]:
    """``slices`` by what a training set knows of the pairs.

    Args:
        task: Gives the metrics and the resample plan.
        dataset: Holds the pairs.
        test: All test frames.
        regimes: Pair id of each -> regime.
        aligning: The same for every slice.
    """
    members: dict[str, list[int]] = {}
    for i, frame in enumerate(test.frames):
        members.setdefault(regimes[frame.pair_id], []).append(i)
    return _measured(task, dataset, test, dict(sorted(members.items())), aligning)


def _measured(
    task: Task, dataset: Dataset, test: Joined, members: Mapping[str, Sequence[int]], aligning: Aligning
) -> tuple[SliceEntry, ...]:
    asked = replace(task, metrics=tuple(metric for metric in task.metrics if metric.key in SLICED))
    entries = []
    for name, inside in members.items():
        part = Joined(frames=[test.frames[i] for i in inside], predictions=[test.predictions[i] for i in inside])
        metrics: tuple[MetricEntry, ...] = ()
        if inside and asked.metrics:
            rows = keyed(task, dataset, part, energies(part, aligning.calibration, aligning.declared))
            metrics = measure(asked, rows, part.frames)
        entries.append(SliceEntry(name=name, n_frames=len(inside), metrics=metrics))
    return tuple(entries)


def _flagged(task: Task, dataset: Dataset, test: Joined) -> dict[str, list[int]]:
    """``flag:<name>`` -> frames whose pair has the flag. Missing labels are counted by each metric itself."""
    found: dict[str, list[int]] = {}
    flags = pair_flags(dataset, task.split)
    for i, frame in enumerate(test.frames):
        for flag in sorted(flags[frame.pair_id] - set(MISSING.values())):
            found.setdefault(f"flag:{flag}", []).append(i)
    return dict(sorted(found.items()))
