"""Arrays in, estimates out: every metric as a function of rows, and how sure its value is.

| module | holds |
|---|---|
| ``sample`` | the rows a metric is computed on, and how a metric of them is resampled |
| ``metrics`` | ``METRICS``: every metric, with unit, direction and formula |
| ``orders`` | quantiles and rank correlations, which no sums determine |
| ``bootstrap`` | ``Estimate``: a number with its interval; the one resample plan over materials |
| ``alignment`` | elemental offsets of calibration frames, refitted in every resample |
| ``estimating`` | many metrics on one plan, with all of that in their intervals |
| ``comparing`` | paired differences, p-values, Holm's correction, tie groups, ranks, detectable differences |
| ``curves`` | power laws of error against data, crossing points, data-equivalence factors, gain, forgetting, aggregates |
| ``extrapolation`` | the error to expect with more labels |

Nothing here knows a functional, a data set or a file.

Metrics
-------

Most metrics are two small functions. ``terms`` maps the rows of a sample to k columns; the columns are summed over the rows
of each frame (``SumMetric.components``), then over any group of frames: all of them for the value, the frames of one
material for a bootstrap. ``combine`` turns such sums, shape (..., k), into values, shape (...). Thus a clustered bootstrap
is one matrix product of resample counts with sums per material. Quantiles and rank correlations have no such sums
(``OrderMetric``): there each row counts as often as its material is drawn. ``Metric.resampler`` serves both, and
``together`` resamples many metrics in one product.

| quantity | rows of a frame | width | unit | convention |
|---|---|---|---|---|
| ``energy`` | 1 | 1 | eV/atom | each frame weighs the same, whatever its size |
| ``differences`` | one per pair of frames of a composition | 1 | eV/atom | each composition weighs the same |
| ``ground`` | one per composition | 1 | eV/atom | label of the frame predicted lowest, against the lowest label |
| ``forces`` | one per atom | 3 | eV/Å | all Cartesian components pooled: each atom weighs the same |
| ``stress`` | 1 | 9 | eV/Å³ | the nine components of the 3×3 matrix, off-diagonal ones therefore twice; tension positive |
| ``magmoms`` | one per atom | 1 | µB | absolute values of both sides |
| ``gap`` | 1 | 1 | eV/atom | (E_target - E_source)/n of the pair, predicted and true |
| ``force_gap`` | one per atom | 3 | eV/Å | F_target - F_source of a pair of one geometry |
| ``stress_gap`` | 1 | 9 | eV/Å³ | σ_target - σ_source of a pair of one geometry |

Energies come with a reference: ``raw`` (prediction as it is), ``referenced`` (elemental references removed from both sides,
the model's declared ones from the prediction, fitted ones from the label), ``aligned`` (elemental offsets fitted on the
calibration split added to the prediction). Energy gaps are always ``aligned``; differences within a composition need no
reference. See ``docs/metrics.md`` for formulas and examples.

Example:
    Two frames of two atoms each; the first is exact, in the second each force component is off by 0.3 eV/Å.

    >>> forces = sample([[0.0, 0, 0], [0, 0, 0], [0.3, 0.3, 0.3], [-0.3, 0.3, 0.3]], np.zeros((4, 3)), frame=[0, 0, 1, 1])
    >>> METRICS["force_mae"].components(forces).round(9)  # per frame: sum of |error|, number of components
    array([[0. , 6. ],
           [1.8, 6. ]])
    >>> round(METRICS["force_mae"].value(forces), 9)
    0.15
"""

from __future__ import annotations

from xferbench.measure.alignment import Design, Offsets, fit, fractions, least_squares, pool
from xferbench.measure.bootstrap import FEWEST, ClusterBootstrap, Estimate, Interval, clusters, tail_probability, tally
from xferbench.measure.comparing import (
    Comparison,
    Difference,
    Standing,
    compare,
    holm,
    p_value,
    resamples_needed,
    tie_groups,
)
from xferbench.measure.curves import (
    Aggregate,
    Curve,
    Gain,
    PowerLaw,
    PowerLawFit,
    Versus,
    aggregate,
    crossing,
    data_equivalence,
    fit_power_law,
    forgetting,
    gain,
    negative_transfer_index,
    resample_curve,
    versus,
)
from xferbench.measure.estimating import Asked, Refits, estimates, resample
from xferbench.measure.extrapolation import FACTORS, FEWEST_SIZES, expected_errors
from xferbench.measure.metrics import (
    ENERGY_REFERENCES,
    METRICS,
    Better,
    Metric,
    OrderMetric,
    Quantity,
    Reference,
    SumMetric,
)
from xferbench.measure.sample import RESOLUTION, Resampler, Sample, sample, sum_by, together, undefined

__all__ = [
    "ENERGY_REFERENCES",
    "FACTORS",
    "FEWEST",
    "FEWEST_SIZES",
    "METRICS",
    "RESOLUTION",
    "Aggregate",
    "Asked",
    "Better",
    "ClusterBootstrap",
    "Comparison",
    "Curve",
    "Design",
    "Difference",
    "Estimate",
    "Gain",
    "Interval",
    "Metric",
    "Offsets",
    "OrderMetric",
    "PowerLaw",
    "PowerLawFit",
    "Quantity",
    "Reference",
    "Refits",
    "Resampler",
    "Sample",
    "Standing",
    "SumMetric",
    "Versus",
    "aggregate",
    "clusters",
    "compare",
    "crossing",
    "data_equivalence",
    "estimates",
    "expected_errors",
    "fit",
    "fit_power_law",
    "forgetting",
    "fractions",
    "gain",
    "holm",
    "least_squares",
    "negative_transfer_index",
    "p_value",
    "pool",
    "resample",
    "resample_curve",
    "resamples_needed",
    "sample",
    "sum_by",
    "tail_probability",
    "tally",
    "tie_groups",
    "together",
    "undefined",
    "versus",
]
