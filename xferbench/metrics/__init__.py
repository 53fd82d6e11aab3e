"""What is measured: every metric as a function of rows, and how it behaves when whole materials are drawn again.

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
| ``gap`` | 1 | 1 | eV/atom | (E_r2SCAN - E_GGA)/n of the pair, predicted and true |
| ``force_gap`` | one per atom | 3 | eV/Å | F_r2SCAN - F_GGA of a pair of one geometry |
| ``stress_gap`` | 1 | 9 | eV/Å³ | σ_r2SCAN - σ_GGA of a pair of one geometry |

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

from xferbench.metrics.metric import Better, Metric, OrderMetric, Quantity, Reference, SumMetric
from xferbench.metrics.resampling import Resampler, together, undefined
from xferbench.metrics.sample import Sample, sample, sum_by
from xferbench.metrics.sums import RESOLUTION
from xferbench.metrics.table import ENERGY_REFERENCES, METRICS

__all__ = [
    "ENERGY_REFERENCES",
    "METRICS",
    "RESOLUTION",
    "Better",
    "Metric",
    "OrderMetric",
    "Quantity",
    "Reference",
    "Resampler",
    "Sample",
    "SumMetric",
    "sample",
    "sum_by",
    "together",
    "undefined",
]
