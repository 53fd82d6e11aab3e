"""Which of several models differ: paired differences over one resample plan, corrected for asking many questions.

All models meet the same draws of materials, so what makes a material hard for every model cancels from a difference, and
the interval of the difference is often far narrower than those of the two values. As with any interval from the plan it
covers the choice of test materials and nothing else; another training seed of the same model may move a value by more.

References:
    Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 15.4 (a p-value by inverting an interval).
    Holm, Scand. J. Stat. 6, 65 (1979).
    Piepho, J. Comput. Graph. Stat. 13, 456 (2004) (tie groups by insertion and absorption).
    Mogstad, Romano, Shaikh and Wilhelm, Rev. Econ. Stud. 91, 476 (2024) (rank intervals from pairwise tests).
    Bloom, Eval. Rev. 19, 547 (1995) (minimum detectable effect).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import ceil, sqrt
from typing import TYPE_CHECKING, Literal

import numpy as np

from xferbench.measure.bootstrap import FEWEST, ClusterBootstrap, Interval, tail_probability

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

POWER = 0.8
"""Probability with which a ``detectable`` difference would be found."""

RESOLUTION = 4
"""Resamples expected in the tail that the strictest of many tests looks at."""

MAX_DRAWS = 1_000_000_000
"""Clusters drawn in all when a plan is extended: some 20 s. A plan that asks for more by itself is obeyed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Two models, the better one first.

    Attributes:
        value: Metric of ``first`` minus metric of ``second``, in the unit of the metric; where 1 is best, their
            distances from 1 are subtracted instead.
        interval: Of the value, at the confidence of the plan; not corrected for the number of pairs.
        p_value: For no difference, both sides; below 1 - confidence exactly if the interval excludes zero.
        p_holm: The same after Holm's correction over all pairs of the comparison.
        detectable: Smallest true difference that would be found with probability ``POWER`` at the level that remains
            for the strictest pair after correction.
    """

    first: str
    second: str
    value: float
    interval: Interval
    p_value: float
    p_holm: float
    detectable: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where one model stands among those compared.

    Attributes:
        value: Metric over the frames that all models have.
        interval: Of the value.
        best: The first rank the data allow: one behind the models that are significantly better.
        worst: The last one.
        groups: Numbers of the tie groups it belongs to. No two models of a group differ significantly; a model between
            two others that do may belong to the groups of both.
    """

    name: str
    value: float
    interval: Interval
    best: int
    worst: int
    groups: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Several models on one metric.

    Attributes:
        standings: Best first.
        differences: One for each pair, in the order of the standings.
        n_clusters: Materials that have values.
        n_resamples: Of the differences.
        smallest_p: The smallest ``p_value`` that so many resamples of so many clusters can give.
    """

    standings: tuple[Standing, ...]
    differences: tuple[Difference, ...]
    n_clusters: int
    n_resamples: int
    confidence: float
    smallest_p: float

    @property
    def resolved(self) -> bool:
        """Whether every pair could have come out significant."""
        return self.smallest_p * len(self.differences) <= 1 - self.confidence


def compare(
    names: Sequence[str],
    values: ArrayLike,
    resampled: Floats,
    *,
    better: Literal["lower", "higher", "one"],
    n_clusters: int,
    plan: ClusterBootstrap,
) -> Comparison:
    """Compare models pairwise.

    Args:
        names: (m,) of the models, at least two, all different.
        values: (m,) metric of each.
        resampled: (n_resamples, m) metric of each in each resample; at least as many as the plan has. The interval of
            a value uses those of the plan, to agree with the result file; differences use all.
        better: Which values are better; ``one``: those closer to 1.
        n_clusters: Clusters that have values, at least ``FEWEST``.
        plan: Gives the confidence.

    Raises:
        ValueError: Shapes do not match, or there is nothing to compare.
    """
    point = np.asarray(values, dtype=np.float64)
    m = len(names)
    if m < 2 or len(set(names)) < m or point.shape != (m,) or resampled.shape[1:] != (m,):
        raise ValueError(f"{names} with {point.shape} values and {resampled.shape} resampled ones: nothing to compare")
    if n_clusters < FEWEST:
        raise ValueError(f"{FEWEST} clusters at least are needed to tell how sure a difference is")
    compared, drawn = (np.abs(array - 1) if better == "one" else array for array in (point, resampled))
    order = np.argsort(-compared if better == "higher" else compared, kind="stable")
    ordered = [names[i] for i in order.tolist()]
    differences = _differences(ordered, compared[order], drawn[:, order], n_clusters, plan)
    intervals = [_interval(plan, resampled[: plan.n_resamples, i], n_clusters) for i in order.tolist()]
    return Comparison(
        standings=_standings(ordered, point[order], intervals, differences, 1 - plan.confidence),
        differences=differences,
        n_clusters=n_clusters,
        n_resamples=len(resampled),
        confidence=plan.confidence,
        smallest_p=_two_sided(1 / (len(resampled) + 1), n_clusters),
    )


def _differences(
    names: Sequence[str], values: Floats, resampled: Floats, n_clusters: int, plan: ClusterBootstrap
) -> tuple[Difference, ...]:
    """Of all pairs of models that are given best first."""
    pairs = list(combinations(range(len(names)), 2))
    drawn = [resampled[:, i] - resampled[:, j] for i, j in pairs]
    p_values = [p_value(difference, n_clusters) for difference in drawn]
    return tuple(
        Difference(
            first=names[i],
            second=names[j],
            value=float(values[i] - values[j]),
            interval=_interval(plan, difference, n_clusters),
            p_value=p,
            p_holm=p_holm,
            detectable=_detectable(difference, n_clusters, plan.confidence, len(pairs)),
        )
        for (i, j), difference, p, p_holm in zip(pairs, drawn, p_values, holm(p_values), strict=True)
    )


def _standings(
    names: Sequence[str],
    values: Floats,
    intervals: Sequence[Interval],
    differences: Sequence[Difference],
    level: float,
) -> tuple[Standing, ...]:
    """Ranks and groups of models that are given best first."""
    place = {name: i for i, name in enumerate(names)}
    different = [(place[item.first], place[item.second]) for item in differences if item.p_holm <= level]
    groups = tie_groups(len(names), different)
    return tuple(
        Standing(
            name=name,
            value=float(values[i]),
            interval=intervals[i],
            best=1 + sum(worse == i for _, worse in different),
            worst=len(names) - sum(better == i for better, _ in different),
            groups=tuple(number for number, group in enumerate(groups) if i in group),
        )
        for i, name in enumerate(names)
    )


def p_value(differences: Floats, n_clusters: int) -> float:
    """Two-sided p-value for "no difference": the level at which the expanded percentile interval just touches zero.

    The fraction q of resamples on the other side of zero, (count + 1)/(resamples + 1), is the tail that an interval
    would have to leave out to end at zero; undoing the expansion of ``ClusterBootstrap.interval`` gives the level.
    Hence the p-value and the interval never contradict each other.

    Args:
        differences: (n_resamples,) resampled differences; NaN where one is undefined.
        n_clusters: Clusters that have values, at least ``FEWEST``.
    """
    defined = differences[~np.isnan(differences)]
    below, above = int((defined <= 0).sum()), int((defined >= 0).sum())
    return _two_sided((min(below, above) + 1) / (len(defined) + 1), n_clusters)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values: rejecting those below α errs anywhere with probability at most α, however the tests depend.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    count = len(p_values)
    adjusted = [1.0] * count
    largest = 0.0
    for position, i in enumerate(sorted(range(count), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (count - position) * p_values[i]))
        adjusted[i] = largest
    return adjusted


def tie_groups(n: int, different: Iterable[tuple[int, int]]) -> list[tuple[int, ...]]:
    """All largest sets of items of which no two are different.

    Start with one group of all; each pair that differs splits every group that holds both; what lies inside another
    group is absorbed.

    >>> tie_groups(3, [(0, 2)])
    [(0, 1), (1, 2)]

    Args:
        n: Number of items.
        different: Pairs of items that differ.

    Returns:
        Sorted groups of sorted items; every item is in one at least.
    """
    groups = {frozenset(range(n))}
    for pair in different:
        split = {part for group in groups for part in _split(group, pair)}
        groups = {group for group in split if not any(group < other for other in split)}
    return sorted(tuple(sorted(group)) for group in groups)


def resamples_needed(n_pairs: int, n_clusters: int, plan: ClusterBootstrap) -> int:
    """Resamples that let the strictest of the tests be passed; the plan's own number if that is enough.

    Few clusters and many pairs may need more than can be drawn: then as many as ``MAX_DRAWS`` allows, and
    ``Comparison.resolved`` is false.
    """
    strictest = (1 - plan.confidence) / max(n_pairs, 1)
    tail = max(tail_probability(1 - strictest, n_clusters), 1 / MAX_DRAWS)
    affordable = MAX_DRAWS // plan.n_clusters
    return max(plan.n_resamples, min(ceil(RESOLUTION / tail), affordable))


def _split(group: frozenset[int], pair: tuple[int, int]) -> tuple[frozenset[int], ...]:
    return (group - {pair[0]}, group - {pair[1]}) if group.issuperset(pair) else (group,)


def _two_sided(tail: float, n_clusters: int) -> float:
    """The level whose expanded percentile interval leaves out ``tail`` at one end; inverse of ``tail_probability``."""
    from scipy.special import ndtri, stdtr

    if tail >= 0.5:
        return 1.0
    return float(2 * stdtr(n_clusters - 1, ndtri(tail) / sqrt(n_clusters / (n_clusters - 1))))


def _detectable(differences: Floats, n_clusters: int, confidence: float, n_pairs: int) -> float:
    """(t of the corrected level + t of the power) standard errors."""
    from scipy.special import stdtrit

    error = np.nanstd(differences, ddof=1) * sqrt(n_clusters / (n_clusters - 1))
    level = stdtrit(n_clusters - 1, 1 - (1 - confidence) / (2 * n_pairs))
    return float(error * (level + stdtrit(n_clusters - 1, POWER)))


def _interval(plan: ClusterBootstrap, values: Floats, n_clusters: int) -> Interval:
    interval = plan.interval(values, n_clusters)
    if interval is None:
        raise ValueError("the metric is undefined in every resample")
    return interval
