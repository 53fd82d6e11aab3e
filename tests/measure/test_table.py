"""The lines of METRICS that are made by rule: names, formulas, which of them are resampled."""

from __future__ import annotations

from xferbench.measure import METRICS


def test_only_a_maximum_is_not_resampled():
    assert [name for name, metric in METRICS.items() if not metric.resampled] == ["force_error_max"]


def test_metrics_of_one_formula_share_it():
    assert METRICS["force_cosine"].formula == METRICS["force_gap_cosine"].formula
    assert METRICS["force_slope"].combine is METRICS["stress_slope"].combine


def test_names_start_with_what_they_measure():
    starts = {
        "energy": "energy",
        "differences": ("energy_difference", "polymorph"),
        "ground": "polymorph",
        "forces": "force",
        "all_forces": "force_all",
        "stress": "stress",
        "all_stress": "stress_all",
        "magmoms": "magmom",
        "gap": "gap",
        "force_gap": "force_gap",
        "stress_gap": "stress_gap",
    }
    assert all(name.startswith(starts[metric.quantity]) for name, metric in METRICS.items())
    assert {metric.quantity for metric in METRICS.values()} == set(starts)
