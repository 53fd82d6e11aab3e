"""Many metrics, one resample plan: values, and intervals that carry the choice of test materials and of calibration materials."""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
from threadpoolctl import threadpool_limits

from xferbench.measure.bootstrap import FEWEST, ClusterBootstrap, Estimate, tally
from xferbench.measure.metrics import SumMetric
from xferbench.measure.sample import Sample, together, undefined

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    from xferbench.measure.metrics import Metric
    from xferbench.measure.sample import Resampler

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

WORKERS = min(os.cpu_count() or 1, 8)

EXACT, SOME = 20_000, 2_000
"""Rows up to which a metric is computed anew with the drawn materials and the offsets of each resample together. Of more rows,
what the offsets do to it is told by some, and added to what the drawn materials do."""

ROWS = 200_000
"""Rows of refitted samples worked on at a time."""

FEW_MATERIALS = f"no interval: fewer than {FEWEST} materials carry it"
NOT_RESAMPLED = "no interval: resampling says nothing about a maximum"
NO_FREEDOM = "no interval: the calibration and test materials are as few as the offsets fitted to them"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Refits:
    """What refitted offsets add to the single column of a sample, in each resample.

    Attributes:
        fractions: (n_rows, n_elements) composition fractions.
        prediction: (n_resamples, n_elements) eV/atom added to the prediction; None: nothing.
        label: The same for the label.
        baseline: The same for the baseline.
    """

    fractions: csr_matrix
    prediction: Floats | None = None
    label: Floats | None = None
    baseline: Floats | None = None

    @property
    def sides(self) -> dict[str, Floats]:
        """Those that move."""
        named = {"prediction": self.prediction, "label": self.label, "baseline": self.baseline}
        return {name: moves for name, moves in named.items() if moves is not None}

    def rows(self, keep: Integers) -> Refits:
        """Of some of the rows."""
        return replace(self, fractions=self.fractions[keep])


class Asked(NamedTuple):
    """A metric of a sample.

    Attributes:
        metric: Which.
        rows: None if there is nothing to compute it on.
        refits: How the rows depend on calibration; None if they do not, or if it is not known how sure the offsets are.
        reason: Why there can be no interval, if there are rows.
    """

    metric: Metric
    rows: Sample | None
    refits: Refits | None = None
    reason: str | None = None


def resample(
    asked: Sequence[Asked], material: Integers, plan: ClusterBootstrap, *, centred_on: int | None = None
) -> list[Floats]:
    """(1 + n_resamples,) values of each metric: of the sample as it is, then of every resample, from one pass over the plan.

    Values with refitted offsets are brought back by the mean of what refitting does to them: errors of offsets make a mean
    absolute error larger, those of the fit are in the value already, and those of the refits would count twice.

    Blocks of the plan are worked on side by side, a thread for each processor, while the next are drawn: numpy lets go of the
    interpreter while it counts.

    Args:
        asked: What is measured; NaN for what has no rows or is not resampled.
        material: (n_frames,) of the frames that the samples number.
        plan: Over these materials.
        centred_on: How many of the first resamples have the mean that all are brought back to; all of them if not given. A plan
            that goes on for longer than another one agrees with it so.
    """
    n = plan.n_clusters
    moving = [i for i, item in enumerate(asked) if isinstance(item.metric, SumMetric) and item.rows and item.refits]
    exact = [i for i in moving if len(asked[i].rows.frame) <= EXACT]  # type: ignore[union-attr]

    def prepared(item: Asked) -> Resampler:
        return item.metric.resampler(item.rows, material, n) if item.rows and item.metric.resampled else undefined(n)

    with threadpool_limits(1, "blas"), ThreadPoolExecutor(WORKERS) as threads:  # threads within threads only wait
        values_of = together(list(threads.map(prepared, asked)))

        def block(first: int, draws: NDArray[np.uint32]) -> tuple[list[Floats], list[Floats]]:
            counts = tally(draws, np.float64)
            return values_of(counts), [_refitted(asked[i], material, counts, first) for i in exact]

        blocks = _numbered(plan.draws())
        whole = values_of(np.ones((1, n)))
        running = deque(threads.submit(block, *item) for item in islice(blocks, WORKERS + 1))
        done = []
        while running:
            done.append(running.popleft().result())
            running.extend(threads.submit(block, *item) for item in islice(blocks, 1))  # no more in memory than needed
        large = [i for i in moving if i not in exact]
        changes = list(threads.map(_change, [asked[i] for i in large]))
    drawn = [np.concatenate(part) for part in zip(*(fixed for fixed, _ in done), strict=True)]
    for i, refitted in zip(exact, zip(*(some for _, some in done), strict=True), strict=True):
        drawn[i] = _centred(
            np.concatenate(refitted), drawn[i], positive=asked[i].metric.better == "lower", first=centred_on
        )
    for i, change in zip(large, changes, strict=True):
        drawn[i] = _centred(drawn[i] + change, drawn[i], positive=asked[i].metric.better == "lower", first=centred_on)
    return [np.concatenate([value, values]) for value, values in zip(whole, drawn, strict=True)]


def estimates(
    asked: Sequence[Asked], material: Integers, plan: ClusterBootstrap, *, n_materials: int | None = None
) -> list[Estimate]:
    """Metrics with their intervals; see ``resample``.

    Args:
        asked: What is measured.
        material: (n_frames,) of the frames that the samples number.
        plan: Over these materials.
        n_materials: Materials that tell anything, if they are fewer than those that have rows.
    """
    return [
        _estimate(item, values, material, plan, n_materials)
        for item, values in zip(asked, resample(asked, material, plan), strict=True)
    ]


def _estimate(
    asked: Asked, values: Floats, material: Integers, plan: ClusterBootstrap, n_materials: int | None
) -> Estimate:
    metric, rows = asked.metric, asked.rows
    if rows is None:
        return Estimate(np.nan, reason=asked.reason)
    value = float(values[0]) if metric.resampled else metric.value(rows)
    carrying = int(np.count_nonzero(np.bincount(material[rows.used])))
    low = high = np.nan
    reason = asked.reason
    if not np.isfinite(value):
        value, reason = np.nan, metric.undefined
    elif not metric.resampled:
        reason = NOT_RESAMPLED
    elif reason is None:
        interval = plan.interval(values[1:], carrying if n_materials is None else n_materials)
        if interval is None:
            reason = FEW_MATERIALS
        else:
            low, high = interval
    return Estimate(value, low, high, n_frames=rows.n_used, n_materials=carrying, reason=reason)


def _centred(refitted: Floats, fixed: Floats, *, positive: bool, first: int | None) -> Floats:
    """Values with refitted offsets, brought to the mean of those with fixed ones.

    All are moved by the difference of the means. Of an error, those below the mean are scaled instead, so that none is negative.
    """
    both = np.flatnonzero(np.isfinite(refitted[:first]) & np.isfinite(fixed[:first]))
    if not both.size:
        return refitted
    mean, wanted = float(refitted[both].mean()), float(fixed[both].mean())
    if positive and mean > 0:
        return np.where(refitted < mean, refitted * (wanted / mean), refitted - (mean - wanted))
    return refitted - (mean - wanted)


def _numbered(blocks: Iterator[NDArray[np.uint32]]) -> Iterator[tuple[int, NDArray[np.uint32]]]:
    """Blocks of draws with the number of the first draw of each."""
    first = 0
    for draws in blocks:
        yield first, draws
        first += len(draws)


def _refitted(asked: Asked, material: Integers, counts: Floats, first: int) -> Floats:
    """(m,) values of the m resamples of a block, each with its own offsets."""
    metric, rows, refits = cast("SumMetric", asked.metric), cast("Sample", asked.rows), cast("Refits", asked.refits)
    owner, n = material[rows.frame], len(rows.frame)
    compositions = refits.fractions.toarray().T
    step = max(1, ROWS // max(n, 1))
    out = []
    for start in range(0, len(counts), step):
        drawn = counts[start : start + step, owner]
        these = slice(first + start, first + start + len(drawn))
        moved = _moved(rows, {name: moves[these] @ compositions for name, moves in refits.sides.items()}, len(drawn))
        terms = metric.terms(moved).reshape(*drawn.shape, -1)
        weights = drawn if rows.weight is None else drawn * rows.weight
        out.append(metric.combine(np.matmul(weights[:, None], terms)[:, 0]))
    return np.concatenate(out)


def _moved(rows: Sample, moves: Mapping[str, Floats], m: int) -> Sample:
    """The rows m times over, each time with what is added to a side, (m, n_rows); frames and weights are forgotten."""

    def side(name: str, values: Floats | None) -> Floats | None:
        if values is None:
            return None
        return (values[:, 0] + moves.get(name, np.zeros((m, 1)))).reshape(-1, 1)

    return Sample(
        prediction=cast("Floats", side("prediction", rows.prediction)),
        label=cast("Floats", side("label", rows.label)),
        baseline=side("baseline", rows.baseline),
        frame=np.zeros(m * len(rows.frame), dtype=np.int64),
        n_frames=1,
    )


def _change(asked: Asked) -> Floats:
    """(n_resamples,) what refitted offsets add to the value of a metric, told by some of its rows, evenly spread over all."""
    rows, refits = cast("Sample", asked.rows), cast("Refits", asked.refits)
    some = np.linspace(0, len(rows.frame) - 1, SOME).astype(np.int64)
    part = replace(
        rows,
        prediction=rows.prediction[some],
        label=rows.label[some],
        frame=np.zeros(SOME, dtype=np.int64),
        n_frames=1,
        baseline=None if rows.baseline is None else rows.baseline[some],
        weight=None if rows.weight is None else rows.weight[some],
        counted=None if rows.counted is None else rows.counted[some],
        members=None,
    )
    once = np.ones((len(next(iter(refits.sides.values()))), 1))
    moved = _refitted(asked._replace(rows=part, refits=refits.rows(some)), np.zeros(1, dtype=np.int64), once, 0)
    return moved - asked.metric.value(part)
