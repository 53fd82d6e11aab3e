"""``METRICS``: every metric a task can ask for. Adding one is adding a line here and a row in ``docs/metrics.md``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xferbench.metrics.metric import Metric, OrderMetric, SumMetric
from xferbench.metrics.orders import error_quantile
from xferbench.metrics.ranks import spearman_beyond_baseline
from xferbench.metrics.sums import (
    absolute_terms,
    concordance_terms,
    cosine,
    hit_terms,
    mean,
    norm_ratio,
    product_terms,
    product_terms_beyond_baseline,
    root_mean,
    skill,
    skill_terms,
    slope,
    square_terms,
)

if TYPE_CHECKING:
    from xferbench.metrics.metric import Quantity, Reference

ENERGY_REFERENCES: tuple[Reference, ...] = ("raw", "referenced", "aligned")
"""The ways an energy can be compared, in the order of how much is taken out."""

SLOPE, COSINE, RATIO = "Σ p̂p / Σ p²", "Σ p̂p / √(Σ p̂² Σ p²)", "√(Σ p̂² / Σ p²)"

NO_SHIFT_LEFT = "the elemental shift leaves no gap to explain"
ALL_EQUAL = "all predictions, or all labels, are equal"
ALL_ZERO = "all predictions, or all labels, are zero"


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
        *_errors("stress", "stress", "eV/Å³", "σ̂ - σ"),
        *_shape("stress", "stress", "slope"),
        *_errors("magmom", "magmoms", "µB", "|m̂| - |m|"),
        *_gaps(),
        _mae("force_gap", "force_gap", "eV/Å", "Δf̂ - Δf"),
        *_shape("force_gap", "force_gap", "cosine", "ratio"),
        _mae("stress_gap", "stress_gap", "eV/Å³", "Δσ̂ - Δσ"),
        *_shape("stress_gap", "stress_gap", "cosine", "ratio"),
    )
}
"""Every metric a task can ask for, by name."""
