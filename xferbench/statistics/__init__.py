"""How sure numbers are, whether two of them differ, and how errors fall with data.

| module | holds |
|---|---|
| ``bootstrap`` | the resample plan over materials, and its intervals |
| ``comparing`` | paired differences, p-values, Holm's correction, tie groups, ranks, detectable differences |
| ``scaling`` | power laws of error against data, crossing points, data-equivalence factors, all with intervals |
| ``measures`` | gain, negative transfer, forgetting, and an aggregate over many errors |
"""

from __future__ import annotations

from xferbench.statistics.bootstrap import ClusterBootstrap, Interval, clusters, tail_probability, tally
from xferbench.statistics.comparing import (
    Comparison,
    Difference,
    Standing,
    compare,
    holm,
    p_value,
    resamples_needed,
    tie_groups,
)
from xferbench.statistics.measures import (
    Aggregate,
    Curve,
    Gain,
    aggregate,
    forgetting,
    gain,
    negative_transfer_index,
)
from xferbench.statistics.scaling import (
    Estimate,
    PowerLaw,
    PowerLawFit,
    Versus,
    crossing,
    data_equivalence,
    fit_power_law,
    resample_curve,
    versus,
)

__all__ = [
    "Aggregate",
    "ClusterBootstrap",
    "Comparison",
    "Curve",
    "Difference",
    "Estimate",
    "Gain",
    "Interval",
    "PowerLaw",
    "PowerLawFit",
    "Standing",
    "Versus",
    "aggregate",
    "clusters",
    "compare",
    "crossing",
    "data_equivalence",
    "fit_power_law",
    "forgetting",
    "gain",
    "holm",
    "negative_transfer_index",
    "p_value",
    "resample_curve",
    "resamples_needed",
    "tail_probability",
    "tally",
    "tie_groups",
    "versus",
]
