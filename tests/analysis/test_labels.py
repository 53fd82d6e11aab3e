"""Forces, stresses and moments of two functionals: sums per pair, numbers one can check by hand, laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from xferbench.analysis.labels import FORCE_FLOOR, TERMS, ratio
from xferbench.units import RENDERED

VECTORS = arrays(np.float64, (4, 3), elements=st.floats(-10, 10))


def values(quantity, *pairs):
    """Every statistic of some (GGA, r2SCAN) labels."""
    terms = TERMS[quantity]
    total = np.sum([terms(np.array(g, dtype=float), np.array(r, dtype=float)) for g, r in pairs], axis=0)
    return {item.name: float(item.combine(total)) for item in terms.statistics}


def test_forces_by_hand():
    gga = [[3.0, 0, 0], [0, 0.01, 0]]
    r2scan = [[0, 4.0, 0], [0, 0.02, 0]]
    got = values("forces", (gga, r2scan))
    assert got["mae"] == pytest.approx((3 + 4 + 0.01) / 6)
    assert got["rmse"] == pytest.approx(np.sqrt((9 + 16 + 0.0001) / 6))
    assert got["cosine"] == pytest.approx(0.0002 / np.sqrt(9.0001 * 16.0004))
    assert got["norm_ratio"] == pytest.approx(np.sqrt(16.0004 / 9.0001))
    assert got["slope"] == pytest.approx(0.0002 / 9.0001)
    assert got["cosine_atoms"] == pytest.approx(0.0)  # the second atom's forces are too small to have a direction
    assert got["directed_atoms"] == pytest.approx(0.5)


def test_an_atom_needs_both_forces_to_have_a_direction():
    large, small = [1.0, 0, 0], [FORCE_FLOOR / 2, 0, 0]
    assert values("forces", ([large], [small]))["directed_atoms"] == 0
    assert np.isnan(values("forces", ([large], [small]))["cosine_atoms"])
    assert values("forces", ([large], [large]))["cosine_atoms"] == pytest.approx(1)


def test_stress_by_hand():
    gga, r2scan = np.zeros((3, 3)), np.diag([0.3, 0.6, 0.9])
    r2scan[0, 1] = r2scan[1, 0] = 0.09
    got = values("stress", (gga, r2scan))
    assert got["mae"] == pytest.approx(1.98 / 9)
    assert got["hydrostatic_shift"] == pytest.approx(0.6)
    assert np.isnan(got["cosine"])


def test_cells_weigh_the_same_in_the_hydrostatic_shift():
    one, two = np.eye(3) * 0.1, np.eye(3) * 0.4
    assert values("stress", (one, two), (two, one))["hydrostatic_shift"] == pytest.approx(0, abs=1e-12)
    assert values("stress", (one, two), (one, one))["hydrostatic_shift"] == pytest.approx(0.15)


def test_moments_by_hand():
    got = values("magmoms", ([2.0, -1.0, 0.0, 0.05], [-3.0, -1.0, 0.5, -0.05]))
    assert got["mae"] == pytest.approx((1 + 0 + 0.5 + 0) / 4)
    assert got["mean_gga"] == pytest.approx(3.05 / 4)
    assert got["mean_r2scan"] == pytest.approx(4.55 / 4)
    assert got["sign_flips"] == pytest.approx(0.5)  # of two atoms that are magnetic in both, one


def test_reversing_all_moments_flips_none():
    moments = np.array([2.0, -1.0, 3.0])
    assert values("magmoms", (moments, -moments))["sign_flips"] == 0
    assert values("magmoms", (moments, [2.0, -1.0, -3.0]))["sign_flips"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("quantity", TERMS)
def test_sums_have_the_declared_width_and_known_units(quantity):
    labels = {"forces": np.ones((2, 3)), "stress": np.eye(3), "magmoms": np.ones(2)}[quantity]
    assert TERMS[quantity](labels, labels).shape == (TERMS[quantity].width,)
    assert {item.unit for item in TERMS[quantity].statistics} <= set(RENDERED)
    assert len({item.name for item in TERMS[quantity].statistics}) == len(TERMS[quantity].statistics)


@given(VECTORS)
def test_equal_labels_have_no_gap(vectors):
    got = values("forces", (vectors, vectors))
    assert got["mae"] == got["rmse"] == 0
    if np.square(vectors).sum() > 1e-200:
        assert got["cosine"] == pytest.approx(1)
        assert got["norm_ratio"] == pytest.approx(1)


@given(VECTORS, VECTORS)
def test_cosines_lie_between_minus_one_and_one_and_numpy_agrees_on_the_errors(gga, r2scan):
    got = values("forces", (gga, r2scan))
    assert np.isnan(got["cosine"]) or abs(got["cosine"]) <= 1 + 1e-9
    assert got["mae"] == pytest.approx(np.abs(r2scan - gga).mean())
    assert got["rmse"] == pytest.approx(np.sqrt(np.square(r2scan - gga).mean()))


@given(VECTORS, VECTORS)
def test_the_order_of_atoms_is_irrelevant_and_pairs_add_up(gga, r2scan):
    together = TERMS["forces"](gga, r2scan)
    apart = sum(TERMS["forces"](gga[rows], r2scan[rows]) for rows in ([3, 1], [0, 2]))
    np.testing.assert_allclose(together, apart, atol=1e-9)


def test_a_softer_functional_has_a_slope_below_one():
    gga = np.random.default_rng(0).normal(size=(50, 3))
    assert values("forces", (gga, 0.8 * gga))["slope"] == pytest.approx(0.8)


def test_ratios_of_nothing_are_undefined():
    np.testing.assert_array_equal(ratio(np.array([1.0, 2.0]), np.array([0.0, 4.0])), [np.nan, 0.5])
