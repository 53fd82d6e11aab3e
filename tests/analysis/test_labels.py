"""Forces, stresses and moments of two functionals: sums per pair, numbers one can check by hand, laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial import distance
from scipy.stats import special_ortho_group

from xferbench.analysis.labels import FORCE_FLOOR, MOMENT_FLOOR, TERMS, ratio
from xferbench.units import RENDERED

VECTORS = arrays(np.float64, (4, 3), elements=st.floats(-10, 10))


def values(quantity, *pairs):
    """Every statistic of some (GGA, r2SCAN) labels."""
    terms = TERMS[quantity]
    total = np.sum([terms(np.array(g, dtype=float), np.array(r, dtype=float)) for g, r in pairs], axis=0)
    return {item.name: float(item.combine(total)) for item in terms.statistics}


def test_forces_by_hand():
    source = [[3.0, 0, 0], [0, 0.01, 0]]
    target = [[0, 4.0, 0], [0, 0.02, 0]]
    got = values("forces", (source, target))
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
    source, target = np.zeros((3, 3)), np.diag([0.3, 0.6, 0.9])
    target[0, 1] = target[1, 0] = 0.09
    got = values("stress", (source, target))
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
    assert got["mean_source"] == pytest.approx(3.05 / 4)
    assert got["mean_target"] == pytest.approx(4.55 / 4)
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
@example(np.full((4, 3), 5e-160), np.ones((4, 3)))
def test_cosines_lie_between_minus_one_and_one_and_numpy_agrees_on_the_errors(source, target):
    got = values("forces", (source, target))
    assert np.isnan(got["cosine"]) or abs(got["cosine"]) <= 1 + 1e-9
    assert got["mae"] == pytest.approx(np.abs(target - source).mean())
    assert got["rmse"] == pytest.approx(np.sqrt(np.square(target - source).mean()))


@given(VECTORS, VECTORS)
def test_the_order_of_atoms_is_irrelevant_and_pairs_add_up(source, target):
    together = TERMS["forces"](source, target)
    apart = sum(TERMS["forces"](source[rows], target[rows]) for rows in ([3, 1], [0, 2]))
    np.testing.assert_allclose(together, apart, atol=1e-9)


def test_a_softer_functional_has_a_slope_below_one():
    source = np.random.default_rng(0).normal(size=(50, 3))
    assert values("forces", (source, 0.8 * source))["slope"] == pytest.approx(0.8)


def test_ratios_of_nothing_are_undefined():
    np.testing.assert_array_equal(ratio(np.array([1.0, 2.0]), np.array([0.0, 4.0])), [np.nan, 0.5])
    np.testing.assert_array_equal(ratio(np.array([12.0, -12.0]), np.array([3e-318, 3e-318])), [np.nan, np.nan])


@given(VECTORS, VECTORS, st.integers(0, 100))
def test_turning_the_crystal_changes_no_angle_and_no_length(source, target, seed):
    turn = special_ortho_group.rvs(3, random_state=seed)
    before, after = values("forces", (source, target)), values("forces", (source @ turn.T, target @ turn.T))
    assert after["rmse"] == pytest.approx(before["rmse"], abs=1e-9)
    if min(np.square(source).sum(), np.square(target).sum()) > 1e-6:
        for name in ("cosine", "norm_ratio", "slope"):
            assert after[name] == pytest.approx(before[name], abs=1e-6), name


def test_turning_the_crystal_keeps_the_hydrostatic_shift():
    stress = np.array([[0.1, 0.02, 0.0], [0.02, -0.3, 0.05], [0.0, 0.05, 0.4]])
    turn = special_ortho_group.rvs(3, random_state=1)
    before, after = values("stress", (stress, 2 * stress)), values("stress", (stress, turn @ (2 * stress) @ turn.T))
    assert after["hydrostatic_shift"] == pytest.approx(before["hydrostatic_shift"]) == pytest.approx(0.2 / 3)


def test_exchanging_the_functionals_inverts_the_norm_ratio_and_keeps_the_angle():
    source, target = np.random.default_rng(0).normal(size=(2, 20, 3))
    there, back = values("forces", (source, target)), values("forces", (target, source))
    assert there["norm_ratio"] * back["norm_ratio"] == pytest.approx(1)
    assert there["slope"] * back["slope"] == pytest.approx(there["cosine"] ** 2)
    assert there["cosine_atoms"] == pytest.approx(back["cosine_atoms"])


def test_the_cosine_is_one_minus_the_distance_of_scipy():
    source, target = np.random.default_rng(1).normal(size=(2, 20, 3))
    got = values("forces", (source, target))
    assert got["cosine"] == pytest.approx(1 - distance.cosine(source.ravel(), target.ravel()))
    each = [1 - distance.cosine(a, b) for a, b in zip(source, target, strict=True)]
    assert got["cosine_atoms"] == pytest.approx(np.mean(each))


def test_a_force_at_the_floor_has_a_direction_and_a_moment_at_its_floor_no_sign():
    at = [[FORCE_FLOOR, 0, 0]]
    assert values("forces", (at, at))["directed_atoms"] == 1
    assert np.isnan(values("magmoms", ([MOMENT_FLOOR], [-MOMENT_FLOOR]))["sign_flips"])


def test_flips_are_counted_against_the_better_sign_of_each_cell_on_its_own():
    up, mixed = [1.0, 1.0, 1.0], [-1.0, -1.0, 1.0]
    assert values("magmoms", (up, mixed))["sign_flips"] == pytest.approx(1 / 3)
    assert values("magmoms", (up, mixed), (up, [-1.0] * 3))["sign_flips"] == pytest.approx(1 / 6)


def test_symmetric_atoms_have_errors_but_neither_angle_nor_ratio():
    got = values("forces", (np.zeros((2, 3)), np.zeros((2, 3))))
    assert (got["mae"], got["rmse"], got["directed_atoms"]) == (0, 0, 0)
    assert np.isnan([got[name] for name in ("cosine", "norm_ratio", "slope", "cosine_atoms")]).all()


@pytest.mark.parametrize("quantity", TERMS)
def test_statistics_of_many_resamples_are_those_of_each_and_nothing_has_none(quantity):
    terms = TERMS[quantity]
    sums = np.random.default_rng(0).uniform(1, 2, (4, 2, terms.width))
    sums[0, 0] = 0
    for item in terms.statistics:
        together = item.combine(sums)
        assert together.shape == (4, 2)
        assert np.isnan(together[0, 0])
        np.testing.assert_allclose(together[3, 1], item.combine(sums[3, 1]))


def test_a_negative_denominator_is_no_denominator():
    assert np.isnan(ratio(np.array([1.0]), np.array([-1e-20]))).all()
