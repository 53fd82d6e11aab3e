"""Within a composition no reference matters: shifts cancel, order and differences stay."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from xferbench.analysis.composition import RESOLUTION, deviations, order_sums, within_composition

SETTINGS = {"n_resamples": 50, "seed": 0, "confidence": 0.9}


@pytest.fixture
def columns(make_pair, columns_of):
    """Three forms of NaCl, two of Na2Cl, one of Na."""
    rows = [
        ("a", [11, 17], -3.0, -7.0), ("b", [11, 17], -2.9, -6.8), ("c", [17, 11, 11, 17], -2.5, -6.5),
        ("d", [11, 11, 17], -2.0, -5.0), ("e", [11, 17, 11], -2.2, -4.9), ("f", [11], -1.0, -2.0),
    ]  # fmt: skip
    return columns_of([make_pair(*row, material=row[0]) for row in rows])


def by_name(columns):
    return {item.name: item for item in within_composition(columns, **SETTINGS)}


def test_deviations_are_from_the_mean_of_the_composition(columns):
    source, target, used = deviations(columns)
    assert used.tolist() == [True] * 5 + [False]
    np.testing.assert_allclose(source[:5], [-0.2, -0.1, 0.3, 0.1, -0.1])
    np.testing.assert_allclose(
        target[:5], np.array([-7.0, -6.8, -6.5, -5.0, -4.9]) - np.repeat([-6.7666666667, -4.95], [3, 2])
    )


def test_statistics_are_those_of_the_deviations(columns):
    source, target, used = deviations(columns)
    got = by_name(columns)
    assert got["pearson"].value == pytest.approx(stats.pearsonr(source[used], target[used]).statistic)
    ranked = [np.round(side[used], 9) for side in (source, target)]  # two deviations of -0.1 tie but for rounding
    assert got["spearman"].value == pytest.approx(stats.spearmanr(*ranked).statistic)
    assert got["slope"].value == pytest.approx(stats.linregress(source[used], target[used]).slope)
    assert got["mae"].value == pytest.approx(np.abs(target - source)[used].mean())
    assert (got["pearson"].n_pairs, got["pearson"].n_clusters) == (5, 2)


def test_order_by_hand(columns):
    assert by_name(columns)["same_order"].value == pytest.approx(3 / 4)  # NaCl: all three; Na2Cl: reversed


def test_any_elemental_reference_cancels(make_pair, columns_of, columns):
    shift = {11: -4.0, 17: 9.0}
    moved = columns_of(
        [
            make_pair(name, numbers.tolist(), source, target + np.mean([shift[z] for z in numbers.tolist()]))
            for name, numbers, source, target in zip(
                columns.pair_ids, columns.numbers, columns.source, columns.target, strict=True
            )
        ]
    )
    before, after = by_name(columns), by_name(moved)
    for name, item in before.items():
        assert after[name].value == pytest.approx(item.value), name
        assert after[name].ci_low == pytest.approx(item.ci_low), name


def test_structures_too_close_to_tell_apart_are_not_ordered():
    near = np.array([0.0, RESOLUTION / 2, 1.0])
    sums = order_sums(near, np.array([0.0, -1.0, 2.0]), ["x"] * 3)
    np.testing.assert_array_equal(sums, [[1, 1], [1, 1], [2, 2]])


@given(st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=2, max_size=12))
def test_order_agreement_counts_what_kendall_counts(pairs):
    x, y = np.array(pairs, dtype=float).T
    sums = order_sums(x, y, ["x"] * len(x))
    concordant = sum((a - c) * (b - d) > 0 for a, b in pairs for c, d in pairs)
    comparable = sum(a != c and b != d for a, b in pairs for c, d in pairs)
    np.testing.assert_array_equal(sums.sum(axis=0), [concordant, comparable])


def test_compositions_do_not_mix():
    sums = order_sums(np.array([0.0, 5.0, 1.0, 6.0]), np.array([0.0, 5.0, 1.0, 6.0]), ["x", "y", "x", "y"])
    np.testing.assert_array_equal(sums, [[1, 1]] * 4)


def test_a_structure_alone_in_its_composition_says_nothing(make_pair, columns_of):
    columns = columns_of([make_pair("a", [11], -1, -2), make_pair("b", [17], -1, -2)])
    got = by_name(columns)
    assert got["pearson"].value is None
    assert got["same_order"].value is None
    assert got["pearson"].n_pairs == 0


def test_a_missing_energy_leaves_its_companions_alone(make_pair, columns_of):
    columns = columns_of([make_pair("a", [11], -1, -2), make_pair("b", [11], None, -2)])
    assert not deviations(columns)[2].any()


def test_deviations_of_a_composition_add_up_to_nothing_and_others_are_nan(columns):
    source, target, used = deviations(columns)
    for formula in ("Cl1Na1", "Cl1Na2"):
        rows = np.array(columns.formulas) == formula
        assert source[rows].sum() == pytest.approx(0, abs=1e-12)
        assert target[rows].sum() == pytest.approx(0, abs=1e-12)
    assert np.isnan(source[~used]).all()
    assert np.isnan(target[~used]).all()


def test_the_slope_is_that_of_a_regression_with_one_constant_per_composition(columns):
    from sklearn.linear_model import LinearRegression

    rows = slice(0, 5)
    constants = np.array([[name == "Cl1Na1", name == "Cl1Na2"] for name in columns.formulas[rows]], dtype=float)
    features = np.column_stack([columns.source[rows], constants])
    oracle = LinearRegression(fit_intercept=False).fit(features, columns.target[rows]).coef_[0]
    assert by_name(columns)["slope"].value == pytest.approx(oracle)


def test_a_mirrored_functional_reverses_every_order_and_every_correlation(make_pair, columns_of, columns):
    rows = zip(columns.pair_ids, columns.numbers, columns.source, columns.target, strict=True)
    mirrored = columns_of([make_pair(name, z.tolist(), source, -target) for name, z, source, target in rows])
    before, after = by_name(columns), by_name(mirrored)
    for name in ("pearson", "spearman", "slope"):
        assert after[name].value == pytest.approx(-before[name].value), name
    assert after["same_order"].value == pytest.approx(1 - before["same_order"].value)


def test_structures_exactly_at_the_resolution_are_ordered_and_ties_are_not():
    energies = np.array([0.0, RESOLUTION])
    np.testing.assert_array_equal(order_sums(energies, energies, ["x"] * 2), [[1, 1]] * 2)
    np.testing.assert_array_equal(order_sums(energies, np.zeros(2), ["x"] * 2), [[0, 0]] * 2)


def test_one_composition_has_values_and_no_intervals(make_pair, columns_of):
    rows = [("a", -3.0, -7.0), ("b", -2.0, -6.5), ("c", -2.5, -6.9)]
    for item in by_name(columns_of([make_pair(name, [11], source, target) for name, source, target in rows])).values():
        assert item.value is not None
        assert item.n_clusters == 1
        assert item.ci_low is item.ci_high is None
