"""``METRICS``: every metric there is, as a line of a table with unit, direction and formula, and the functions behind it.

Most are two small functions. ``terms`` maps the rows of a sample to k columns; ``combine`` turns their sums, shape (..., k),
into values, shape (...), NaN where they define none. Adding a metric is adding a line to ``METRICS``, with functions of its own
if none of those here fits, and a row in ``docs/metrics.md``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from xferbench.measure.orders import error_quantile, spearman_beyond_baseline
from xferbench.measure.sample import RESOLUTION, Resampler, beyond_baseline, sum_by

if TYPE_CHECKING:
    from collections.abc import Callable

    from xferbench.measure.sample import Floats, Integers, Sample

Better = Literal["lower", "higher", "one"]
"""``one``: the best value is 1, and both sides of it are worse."""

Reference = Literal["none", "raw", "referenced", "aligned"]

Quantity = Literal[
    "energy",
    "differences",
    "ground",
    "forces",
    "all_forces",
    "stress",
    "all_stress",
    "magmoms",
    "gap",
    "force_gap",
    "stress_gap",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric(ABC):
    """One line of ``METRICS``.

    Attributes:
        name: ``<quantity>_<statistic>``, the quantity in the singular.
        quantity: Which rows it is computed on, see the table of ``xferbench.measure``.
        unit: As stored; "1" is a pure number. Rendered tables may show another, see ``units.RENDERED``.
        better: Which values are better.
        references: The references it can be computed with; ``none`` for quantities without an energy zero.
        formula: In symbols: p̂ predicted, p true, over the rows and columns of that table.
        undefined: Why there may be rows and no value.
        resampled: Whether a bootstrap says anything about it.
        version: Rises when its values can change.
    """

    name: str
    quantity: Quantity
    unit: str
    better: Better
    references: tuple[Reference, ...] = ("none",)
    formula: str
    undefined: str = "the sample defines no value"
    resampled: bool = True
    version: int = 1

    @property
    def needs(self) -> str:
        """The property of ``records.PROPERTIES`` whose labels it is about."""
        kinds = {
            "forces": "forces",
            "all_forces": "forces",
            "force_gap": "forces",
            "stress": "stress",
            "all_stress": "stress",
            "stress_gap": "stress",
            "magmoms": "magmoms",
        }
        return kinds.get(self.quantity, "energy")

    @property
    def of_gap(self) -> bool:
        """Whether it is about target minus source, and so for tasks with target labels."""
        return self.quantity.endswith("gap")

    @abstractmethod
    def resampler(self, rows: Sample, group: Integers, n_groups: int) -> Resampler:
        """What gives the (m,) values of m resamples, from how often each group is drawn, shape (m, n_groups).

        Args:
            rows: Of the quantity.
            group: (n_frames,) group of each frame, drawn as a whole.
            n_groups: Number of groups, with rows or without.
        """

    def value(self, rows: Sample) -> float:
        """The metric over all frames; NaN if the sample defines none."""
        once = self.resampler(rows, np.zeros(rows.n_frames, dtype=np.int64), 1)
        return float(once(np.ones((1, 1)))[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class SumMetric(Metric):
    """A formula of sums, so that resampling it is one matrix product.

    Attributes:
        terms: Rows -> (n_rows, k), what is summed.
        combine: Sums (..., k) -> values (...); NaN where the sums define none.
    """

    terms: Callable[[Sample], Floats]
    combine: Callable[[Floats], Floats]

    def components(self, rows: Sample) -> Floats:
        """(n_frames, k) weighted sums over the rows of each frame."""
        parts = [(first, self._piece(piece)) for first, piece in rows.pieces()]
        sums = np.zeros((rows.n_frames, parts[0][1].shape[1]))
        for first, part in parts:
            sums[first : first + len(part)] += part
        return sums

    def _piece(self, rows: Sample) -> Floats:
        terms = self.terms(rows)
        weighted = terms if rows.weight is None else terms * rows.weight[:, None]
        return sum_by(weighted, rows.frame, rows.n_frames)

    def resampler(self, rows: Sample, group: Integers, n_groups: int) -> Resampler:
        """See ``Metric.resampler``."""
        sums = sum_by(self.components(rows), group, n_groups)
        return Resampler(sums=sums, finish=lambda _counts, drawn: self.combine(drawn))


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderMetric(Metric):
    """A number that depends on the order of the rows, such as a quantile: each row counts as often as its group is drawn.

    Weights of a sample are for sums, and are not looked at.

    Attributes:
        prepare: Rows, (n_rows,) group of each row and number of groups -> resampler.
    """

    prepare: Callable[[Sample, Integers, int], Resampler]

    def resampler(self, rows: Sample, group: Integers, n_groups: int) -> Resampler:
        """See ``Metric.resampler``."""
        return self.prepare(rows, group[rows.frame], n_groups)


def absolute_terms(rows: Sample) -> Floats:
    """Per row: the sum of absolute errors over its columns, and the number of columns that count.

    >>> absolute_terms(sample([[1.0, 2.0]], [[1.5, 1.0]]))
    array([[1.5, 2. ]])
    """
    errors = np.abs(rows.prediction - rows.label)
    return np.stack([errors.sum(axis=1), rows.widths], axis=-1)


def square_terms(rows: Sample) -> Floats:
    """Per row: the sum of squared errors over its columns, and the number of columns that count.

    >>> square_terms(sample([[1.0, 2.0]], [[1.5, 1.0]]))
    array([[1.25, 2.  ]])
    """
    errors = (rows.prediction - rows.label) ** 2
    return np.stack([errors.sum(axis=1), rows.widths], axis=-1)


def skill_terms(rows: Sample) -> Floats:
    """Per row: squared error of the prediction, squared error of the baseline, number of columns.

    >>> skill_terms(sample([2.0], [2.5], baseline=[1.5]))
    array([[0.25, 1.  , 1.  ]])

    Raises:
        ValueError: The sample has no baseline.
    """
    over = beyond_baseline(rows)
    model = ((over[0] - over[1]) ** 2).sum(axis=1)
    return np.stack([model, (over[1] ** 2).sum(axis=1), rows.widths], axis=-1)


def product_terms(rows: Sample) -> Floats:
    """Per row: prediction times label, label squared, prediction squared, each summed over the columns.

    >>> product_terms(sample([[1.0, 2.0]], [[3.0, 0.0]]))
    array([[3., 9., 5.]])
    """
    return _products(rows.prediction, rows.label)


def product_terms_beyond_baseline(rows: Sample) -> Floats:
    """``product_terms`` of what prediction and label add to the baseline.

    >>> product_terms_beyond_baseline(sample([2.0], [4.0], baseline=[1.0]))
    array([[3., 9., 1.]])

    Raises:
        ValueError: The sample has no baseline.
    """
    return _products(*beyond_baseline(rows))


def concordance_terms(rows: Sample) -> Floats:
    """Per row, which is a difference: +1 if the prediction has the label's sign, -1 if the other, and whether there is one.

    A predicted tie counts 0; a tie of the labels asks no question and counts not at all.

    >>> concordance_terms(sample([0.1, -0.2, 0.0, 0.3], [0.2, 0.1, 0.1, 0.0])).tolist()
    [[1.0, 1.0], [-1.0, 1.0], [0.0, 1.0], [0.0, 0.0]]
    """
    signs = [np.where(np.abs(side) > RESOLUTION, np.sign(side), 0.0) for side in (rows.prediction, rows.label)]
    return np.concatenate([signs[0] * signs[1], np.abs(signs[1])], axis=1)


def hit_terms(rows: Sample) -> Floats:
    """Per row: whether prediction and label are equal but for rounding, and 1.

    >>> hit_terms(sample([0.0, 0.2], [0.0, 0.0])).tolist()
    [[1.0, 1.0], [0.0, 1.0]]
    """
    errors = np.abs(rows.prediction - rows.label).max(axis=1)
    return np.stack([np.where(errors <= RESOLUTION, 1.0, 0.0), np.ones(len(errors))], axis=-1)


def _products(prediction: Floats, label: Floats) -> Floats:
    pairs = ((prediction, label), (label, label), (prediction, prediction))
    return np.stack([np.einsum("ij,ij->i", left, right) for left, right in pairs], axis=-1)


def mean(sums: Floats) -> Floats:
    """Sum over count.

    >>> float(mean(np.array([1.5, 2.0])))
    0.75
    """
    return _ratio(sums[..., 0], sums[..., 1])


def root_mean(sums: Floats) -> Floats:
    """Square root of sum over count.

    >>> float(root_mean(np.array([8.0, 2.0])))
    2.0
    """
    return np.sqrt(mean(sums))


def skill(sums: Floats) -> Floats:
    """1 - (squared error of the prediction) / (squared error of the baseline); R² if the baseline is the mean label.

    >>> float(skill(np.array([0.25, 1.0, 1.0])))
    0.75

    References:
        Murphy, Mon. Weather Rev. 116, 2417 (1988), Eq. 4: the skill score on mean squared errors.
    """
    model, baseline, count = sums[..., 0], sums[..., 1], sums[..., 2]
    defined = baseline > count * RESOLUTION**2
    return 1 - np.divide(model, baseline, out=np.full_like(model, np.nan), where=defined)


def slope(sums: Floats) -> Floats:
    """Σ p̂p / Σ p²: the least-squares line through the origin, predictions against labels.

    >>> float(slope(np.array([3.0, 4.0, 5.0])))
    0.75
    """
    return _ratio(sums[..., 0], sums[..., 1])


def cosine(sums: Floats) -> Floats:
    """Σ p̂p / √(Σ p̂² Σ p²): the cosine between all predictions and all labels, each taken as one long vector.

    >>> float(cosine(np.array([3.0, 4.0, 9.0])))
    0.5
    """
    return _ratio(sums[..., 0], np.sqrt(sums[..., 1] * sums[..., 2]))


def norm_ratio(sums: Floats) -> Floats:
    """√(Σ p̂² / Σ p²): how large the predictions are, measured by the labels.

    >>> float(norm_ratio(np.array([3.0, 4.0, 9.0])))
    1.5
    """
    return np.sqrt(_ratio(sums[..., 2], sums[..., 1]))


def _ratio(above: Floats, below: Floats) -> Floats:
    """The quotient, NaN where the denominator is zero, or the square of what floating-point arithmetic leaves of a zero."""
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below > RESOLUTION**2)


ENERGY_REFERENCES: tuple[Reference, ...] = ("aligned", "referenced", "raw")
"""The ways an energy can be compared, in the order of how much is taken out."""

SLOPE, COSINE, RATIO = "Σ p̂p / Σ p²", "Σ p̂p / √(Σ p̂² Σ p²)", "√(Σ p̂² / Σ p²)"

NO_SHIFT_LEFT = "the elemental shift leaves no gap to explain"
ALL_EQUAL = "all predictions, or all labels, are equal"
ALL_ZERO = "all predictions, or all labels, are zero"


def _version(quantity: Quantity) -> int:
    """2 for what counts the components that symmetry allows, and no others."""
    return 2 if quantity in {"forces", "stress", "force_gap", "stress_gap"} else 1


def _errors(
    name: str, quantity: Quantity, unit: str, symbol: str, references: tuple[Reference, ...] = ("none",)
) -> tuple[Metric, Metric]:
    """Mean absolute and root mean square error of one quantity."""
    return _mae(name, quantity, unit, symbol, references), SumMetric(
        name=f"{name}_rmse",
        quantity=quantity,
        unit=unit,
        better="lower",
        references=references,
        formula=f"√ mean ({symbol})²",
        terms=square_terms,
        combine=root_mean,
        version=_version(quantity),
    )


def _mae(
    name: str, quantity: Quantity, unit: str, symbol: str, references: tuple[Reference, ...] = ("none",)
) -> Metric:
    return SumMetric(
        name=f"{name}_mae",
        quantity=quantity,
        unit=unit,
        better="lower",
        references=references,
        formula=f"mean |{symbol}|",
        terms=absolute_terms,
        combine=mean,
        version=_version(quantity),
    )


def _shape(name: str, quantity: Quantity, *statistics: str) -> tuple[Metric, ...]:
    """How well predictions point the way of the labels, and how long they are: no unit, no energy zero."""
    formulas = {"slope": (SLOPE, slope), "cosine": (COSINE, cosine), "ratio": (RATIO, norm_ratio)}
    return tuple(
        SumMetric(
            name=f"{name}_{statistic}",
            quantity=quantity,
            unit="1",
            better="higher" if statistic == "cosine" else "one",
            formula=formulas[statistic][0],
            undefined=ALL_ZERO,
            terms=product_terms,
            combine=formulas[statistic][1],
            version=_version(quantity),
        )
        for statistic in statistics
    )


def _gaps() -> tuple[Metric, ...]:
    """Energy gaps of pairs, three of them beyond the elemental shift."""
    return (
        _mae("gap", "gap", "eV/atom", "ĝ - g", ("aligned",)),
        SumMetric(
            name="gap_explained",
            quantity="gap",
            unit="1",
            better="higher",
            references=("aligned",),
            formula="1 - Σ (ĝ - g)² / Σ (ḡ - g)²",
            undefined=NO_SHIFT_LEFT,
            terms=skill_terms,
            combine=skill,
        ),
        SumMetric(
            name="gap_slope",
            quantity="gap",
            unit="1",
            better="one",
            references=("aligned",),
            formula="Σ (ĝ - ḡ)(g - ḡ) / Σ (g - ḡ)²",
            undefined=NO_SHIFT_LEFT,
            terms=product_terms_beyond_baseline,
            combine=slope,
        ),
        OrderMetric(
            name="gap_spearman",
            quantity="gap",
            unit="1",
            better="higher",
            references=("aligned",),
            formula="rank correlation of ĝ - ḡ with g - ḡ",
            undefined=ALL_EQUAL,
            prepare=spearman_beyond_baseline,
        ),
    )


def _differences() -> tuple[Metric, ...]:
    """Energies without any zero: differences between frames of one composition."""
    return (
        _mae("energy_difference", "differences", "eV/atom", "(êᵢ - êⱼ) - (eᵢ - eⱼ)"),
        SumMetric(
            name="polymorph_kendall",
            quantity="differences",
            unit="1",
            better="higher",
            formula="mean sgn(êᵢ - êⱼ) sgn(eᵢ - eⱼ)",
            undefined="all labels of a composition are equal",
            terms=concordance_terms,
            combine=mean,
        ),
        SumMetric(
            name="polymorph_top1",
            quantity="ground",
            unit="1",
            better="higher",
            formula="fraction with argmin ê = argmin e",
            terms=hit_terms,
            combine=mean,
        ),
    )


def _force_quantiles() -> tuple[Metric, ...]:
    """Per atom, not per component: how large the typical, the bad and the worst force errors are."""
    return tuple(
        OrderMetric(
            name=f"force_error_{name}",
            quantity="forces",
            unit="eV/Å",
            better="lower",
            formula=f"{words} of ‖f̂ - f‖",
            resampled=name != "max",
            prepare=error_quantile(fraction),
            version=_version("forces"),
        )
        for name, words, fraction in (
            ("median", "median", 0.5),
            ("p95", "95th percentile", 0.95),
            ("max", "maximum", 1.0),
        )
    )


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        *_errors("energy", "energy", "eV/atom", "ê - e", ENERGY_REFERENCES),
        *_differences(),
        *_errors("force", "forces", "eV/Å", "f̂ - f"),
        *_shape("force", "forces", "slope", "cosine"),
        *_force_quantiles(),
        _mae("force_all", "all_forces", "eV/Å", "f̂ - f"),
        *_errors("stress", "stress", "eV/Å³", "σ̂ - σ"),
        *_shape("stress", "stress", "slope"),
        _mae("stress_all", "all_stress", "eV/Å³", "σ̂ - σ"),
        *_errors("magmom", "magmoms", "µB", "|m̂| - |m|"),
        *_gaps(),
        _mae("force_gap", "force_gap", "eV/Å", "Δf̂ - Δf"),
        *_shape("force_gap", "force_gap", "cosine", "ratio"),
        _mae("stress_gap", "stress_gap", "eV/Å³", "Δσ̂ - Δσ"),
        *_shape("stress_gap", "stress_gap", "cosine", "ratio"),
    )
}
"""Every metric a task can ask for, by name."""
