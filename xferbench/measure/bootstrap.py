"""How sure a number is: a bootstrap that resamples whole materials, the same materials for every model.

Frames of one material (copies, volumes, polymorphs of one composition) resemble each other, so resampling frames would
claim more independent evidence than there is. Here materials are drawn with replacement, each with all its frames, and
the metric is computed anew from the drawn sums. The intervals cover the choice of test materials and, where energies are aligned,
of calibration materials (``alignment``); not the training seed of the model, and not the error of the labels.

References:
    Davison and Hinkley, Bootstrap Methods and their Application (1997), section 3.8 (resampling clusters as wholes).
    Hesterberg, The American Statistician 69, 371 (2015), and arXiv:1411.5279 (expanded percentile intervals).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from xferbench.storage import finite

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

Number = TypeVar("Number", np.int64, np.float64)

BLOCK = 2_000_000
"""Resample counts held in memory at a time; the stream of draws does not depend on it."""

WORDS = 65_536
"""Random words drawn at a time, at least."""


FEWEST = 5
"""Clusters below which there is no interval: of fewer, no resampling shows how much they differ."""


class Interval(NamedTuple):
    """Lower and upper end, in the unit of the metric."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number, how sure it is, and what it rests on.

    Attributes:
        value: In the unit of what was measured; NaN if there is none, and then ``reason`` says why. May be infinite.
        low: Lower end of the interval; NaN if there is none.
        high: Upper end.
        n_frames: Frames that entered.
        n_materials: Materials they belong to: what the interval rests on.
        reason: Why there is no value, or no interval.
    """

    value: float
    low: float = nan
    high: float = nan
    n_frames: int = 0
    n_materials: int = 0
    reason: str | None = None

    def __iter__(self) -> Iterator[float]:
        """Unpack as value, low, high."""
        return iter((self.value, self.low, self.high))

    @property
    def interval(self) -> Interval:
        """Both ends."""
        return Interval(self.low, self.high)

    def to_json(self) -> dict[str, float | None]:
        """Value and interval as plain values; NaN and infinity are null."""
        return {"value": finite(self.value), "low": finite(self.low), "high": finite(self.high)}

    @classmethod
    def from_json(cls, values: Mapping[str, float | None], null: float = nan) -> Estimate:
        """What ``to_json`` made plain.

        Args:
            values: Value and interval; further keys are passed over.
            null: What null means there: NaN, or infinity where that can happen.
        """
        value, low, high = (null if (found := values[key]) is None else found for key in ("value", "low", "high"))
        return cls(value, low, high)


def clusters(names: Sequence[str]) -> tuple[list[str], Integers]:
    """Number the clusters in the sorted order of their names, so that the order of frames is irrelevant.

    Args:
        names: (n_frames,) cluster of each frame.

    Returns:
        The distinct names, sorted, and the (n_frames,) position of each frame's name among them.
    """
    distinct = sorted(set(names))
    position = {name: i for i, name in enumerate(distinct)}
    return distinct, np.array([position[name] for name in names], dtype=np.int64)


def tally(draws: NDArray[np.uint32], kind: type[Number]) -> NDArray[Number]:
    """How often each cluster is drawn, shape (m, n_clusters), of m rows of n_clusters draws.

    >>> tally(np.array([[0, 2, 2]], dtype=np.uint32), np.int64)
    array([[1, 0, 2]])
    """
    n = draws.shape[1]
    counts = np.empty(draws.shape, dtype=kind)
    numbers = np.empty(n, dtype=np.int64)
    for row, drawn in zip(counts, draws, strict=True):
        numbers[:] = drawn
        row[:] = np.bincount(numbers, minlength=n)
    return counts


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterBootstrap:
    """A resample plan: how often each cluster is drawn in each resample. It depends on nothing but its four numbers.

    The draws come from ``numpy.random.RandomState``, whose streams numpy has frozen for good (NEP 19); those of
    ``default_rng`` may change between numpy versions and would move every published interval. With the clusters in
    sorted order (``clusters``) all models of one task version therefore meet the same resamples, and their differences
    can be resampled in pairs.

    Attributes:
        n_clusters: Number of clusters to draw from; as many are drawn, with replacement.
        n_resamples: Number of resamples.
        seed: Of the stream.
        confidence: Nominal coverage of ``interval``, between 0 and 1.
    """

    n_clusters: int
    n_resamples: int
    seed: int
    confidence: float

    def __post_init__(self) -> None:
        if self.n_clusters < 1 or self.n_resamples < 1:
            raise ValueError(f"{self.n_clusters} clusters and {self.n_resamples} resamples: each must be at least 1")
        if not 0 < self.confidence < 1:
            raise ValueError(f"confidence must lie between 0 and 1, not {self.confidence}")

    def counts(self) -> Iterator[Integers]:
        """The plan in blocks of shape (some resamples, n_clusters): how often each cluster is drawn."""
        for draws in self.draws():
            yield tally(draws, np.int64)

    def draws(self) -> Iterator[NDArray[np.uint32]]:
        """The same plan, not counted yet: blocks of (some resamples, n_clusters) numbers of drawn clusters.

        The numbers are those of ``RandomState.randint(0, n_clusters)``, which takes 32-bit words, keeps as many of their
        low bits as ``n_clusters - 1`` has, and leaves out what is too large; here for a block at a time.
        """
        stream = np.random.RandomState(self.seed)
        n = self.n_clusters
        bits = np.uint32(2 ** (n - 1).bit_length() - 1)
        step = max(1, BLOCK // n)
        rest = np.zeros(0, dtype=np.uint32)
        for start in range(0, self.n_resamples, step):
            block = np.empty((min(step, self.n_resamples - start), n), dtype=np.uint32)
            for row in block:  # row by row: what is drawn stays in the processor's cache
                while (lacking := n - len(rest)) > 0:
                    words = stream.randint(0, 2**32, size=max(lacking + lacking // 3, WORDS), dtype=np.uint32) & bits
                    rest = np.concatenate([rest, words[words < n]])
                row[:], rest = rest[:n], rest[n:]
            yield block

    def resample(self, sums: Floats) -> Floats:
        """Resampled sums, shape (n_resamples, k), of sums per cluster, shape (n_clusters, k).

        Columns of several metrics may stand side by side: they then share the resamples.

        Raises:
            ValueError: The sums are of another number of clusters.
        """
        if sums.shape[:1] != (self.n_clusters,):
            raise ValueError(f"sums of {len(sums)} clusters for a plan of {self.n_clusters}")
        return np.concatenate([tally(draws, np.float64) @ sums for draws in self.draws()])

    def interval(self, values: Floats, n_clusters: int) -> Interval | None:
        """Expanded percentile interval of the (n_resamples,) values of a metric.

        Plain percentiles are those of a normal law with the variance of n clusters divided by n: for few clusters they
        are too narrow, like a t interval made with the normal quantile and without Bessel's correction. Moving the
        percentiles outwards, to Φ(±t √(n/(n-1))) with the t quantile of n-1 degrees of freedom, mends both.

        Resamples in which the metric is not defined (NaN), because none of the drawn clusters has any value, are left
        out: the interval is conditional on having something to measure.

        Args:
            values: The metric in each resample.
            n_clusters: n, the clusters in which the metric has values; at most those of the plan.

        Returns:
            The interval, or None if fewer than ``FEWEST`` clusters have values.
        """
        defined = values[~np.isnan(values)]
        if n_clusters < FEWEST or not defined.size:
            return None
        tail = tail_probability(self.confidence, n_clusters)
        low, high = np.quantile(defined, [tail, 1 - tail])
        return Interval(float(low), float(high))


def tail_probability(confidence: float, n_clusters: int) -> float:
    """Probability left out at each end of an expanded percentile interval; (1 - confidence)/2 for very many clusters."""
    from scipy.special import ndtr, stdtrit

    quantile = stdtrit(n_clusters - 1, (1 - confidence) / 2)
    return float(ndtr(quantile * np.sqrt(n_clusters / (n_clusters - 1))))
