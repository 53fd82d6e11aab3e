"""A gap that one element makes is found by both measures; noise is not, and the skill says so."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from xferbench.analysis.importance import (
    FOLDS,
    Materials,
    by_material,
    importance,
    permutation_rows,
    tree_importance,
)

SETTINGS = {"n_resamples": 100, "seed": 0, "confidence": 0.9}
ELEMENTS = [3, 8, 11, 17]


@pytest.fixture
def alloys(make_pair, columns_of):
    """``alloys(n)`` -> columns of n materials of random composition."""

    def make(n=40):
        rng = np.random.default_rng(1)
        cells = [rng.choice(ELEMENTS, size=rng.integers(2, 9)).tolist() for _ in range(n)]
        return columns_of([make_pair(str(i), cell, -1.0, -2.0) for i, cell in enumerate(cells)])

    return make


def fraction(columns, element):
    return np.array([np.mean(numbers == element) for numbers in columns.numbers])


def test_the_element_that_makes_the_gap_is_found_by_both(alloys):
    columns = alloys()
    got = importance(columns, 0.1 * fraction(columns, 17), **SETTINGS)
    for measure in (got.tree, got.permutation):
        assert max(measure, key=lambda symbol: measure[symbol].value) == "Cl"
    assert got.tree["Cl"].value == 1
    assert got.permutation["Cl"].ci_low > 0
    assert got.skill.value > 0.8


def test_noise_has_no_skill_and_no_importance_in_the_control(alloys):
    columns = alloys()
    got = importance(columns, np.random.default_rng(2).normal(0, 0.1, len(columns)), **SETTINGS)
    assert got.skill.value < 0.2
    assert got.tree["Cl"].value > 0  # the paper's measure cannot tell
    assert max(item.ci_low for item in got.permutation.values()) < 0.02


def test_the_tree_is_sklearns_divided_by_the_atoms_and_scaled(alloys):
    from sklearn.tree import DecisionTreeRegressor

    columns = alloys()
    gaps = 0.1 * fraction(columns, 17) + 0.02 * fraction(columns, 8)
    table = by_material(columns, gaps)
    oracle = DecisionTreeRegressor(random_state=0).fit(table.fractions, table.target).feature_importances_ / table.atoms
    got = importance(columns, gaps, **SETTINGS)
    assert [item.value for item in got.tree.values()] == pytest.approx((oracle / oracle.max()).tolist())


def test_impurity_decrease_by_hand():
    # Splitting on the first element alone separates 0 from 1: it takes all of the variance.
    fractions = np.array([[0.0, 0.5], [0.0, 0.5], [1.0, 0.5], [1.0, 0.5]])
    np.testing.assert_allclose(tree_importance(fractions, np.array([0.0, 0, 1, 1]), 0), [1, 0])
    np.testing.assert_allclose(tree_importance(fractions, np.zeros(4), 0), [0, 0])


def test_weights_of_the_tree_are_copies():
    rng = np.random.default_rng(0)
    fractions, target = rng.random((12, 1)), rng.random(12)
    weights = rng.integers(0, 3, 12)
    copies = np.repeat(np.arange(12), weights)
    np.testing.assert_allclose(
        tree_importance(fractions, target, 0, weights.astype(float)),
        tree_importance(fractions[copies], target[copies], 0),
    )


def test_materials_are_means_of_their_pairs(make_pair, columns_of):
    columns = columns_of(
        [
            make_pair("a", [11, 17], -1, -2, material="m"),
            make_pair("b", [11, 11, 17, 17], -1, -2, material="m"),
            make_pair("c", [11], -1, -2, material="n"),
            make_pair("d", [3], -1, -2, material="o"),
        ]
    )
    table = by_material(columns, np.array([1.0, 3.0, 5.0, np.nan]))
    assert table.names == ["m", "n"]
    assert table.elements == [11, 17]
    np.testing.assert_allclose(table.target, [2.0, 5.0])
    np.testing.assert_allclose(table.fractions, [[0.5, 0.5], [1, 0]])
    np.testing.assert_allclose(table.atoms, [4, 3])


def test_every_error_is_of_a_tree_that_has_not_seen_the_material():
    n = 50
    rng = np.random.default_rng(0)
    table = Materials(
        names=[str(i) for i in range(n)],
        fractions=rng.random((n, 2)),
        target=np.arange(n, dtype=float),  # all different: a tree that had seen a material would make no error
        elements=[3, 8],
        atoms=np.ones(2),
    )
    errors, increases = permutation_rows(table, 0)
    assert (errors != 0).all()
    assert increases.shape == (n, 2)


def test_permuting_a_constant_column_changes_nothing():
    rng = np.random.default_rng(0)
    fractions = np.column_stack([rng.random(30), np.full(30, 0.5)])
    table = Materials(
        names=[str(i) for i in range(30)],
        fractions=fractions,
        target=fractions[:, 0],
        elements=[3, 8],
        atoms=np.ones(2),
    )
    _, increases = permutation_rows(table, 0)
    assert not increases[:, 1].any()
    assert increases[:, 0].mean() > 0.1


def test_too_few_materials_give_nothing(alloys):
    columns = alloys(2 * FOLDS - 1)
    got = importance(columns, np.zeros(len(columns)), **SETTINGS)
    assert (got.tree, got.permutation, got.skill) == ({}, {}, None)


def test_no_gaps_give_nothing(alloys):
    columns = alloys(12)
    assert importance(columns, np.full(12, np.nan), **SETTINGS).skill is None


def test_the_same_seed_gives_the_same_numbers(alloys):
    columns = alloys(15)
    gaps = fraction(columns, 8)
    one, other = (importance(columns, gaps, **SETTINGS) for _ in range(2))
    assert (one.tree, one.permutation, one.skill) == (other.tree, other.permutation, other.skill)


def test_a_constant_in_all_gaps_changes_nothing(alloys):
    columns = alloys(15)
    gaps = np.round(64 * fraction(columns, 17)) / 64  # exact in binary: rounding would choose among equal splits
    one, other = importance(columns, gaps, **SETTINGS), importance(columns, gaps + 8.0, **SETTINGS)
    assert other.skill.value == pytest.approx(one.skill.value)
    for symbol in one.tree:
        assert other.tree[symbol].value == pytest.approx(one.tree[symbol].value, abs=1e-9)
        assert other.permutation[symbol].value == pytest.approx(one.permutation[symbol].value, abs=1e-9)


def test_larger_gaps_scale_the_control_and_leave_tree_and_skill(alloys):
    columns = alloys(15)
    gaps = np.round(64 * fraction(columns, 17)) / 64  # exact in binary: rounding would choose among equal splits
    one, other = importance(columns, gaps, **SETTINGS), importance(columns, 4 * gaps, **SETTINGS)
    assert other.skill.value == pytest.approx(one.skill.value)
    for symbol in one.tree:
        assert other.tree[symbol].value == pytest.approx(one.tree[symbol].value)
        assert other.permutation[symbol].value == pytest.approx(4 * one.permutation[symbol].value, abs=1e-8)


def test_the_order_of_pairs_does_not_reach_the_tree(alloys):
    columns = alloys(15)
    order = np.arange(15)[::-1]
    pick = lambda values: [values[i] for i in order]  # noqa: E731 - used twice, here only
    mixed = replace(columns, material_ids=pick(columns.material_ids), numbers=pick(columns.numbers))
    gaps = fraction(columns, 8)
    one, other = importance(columns, gaps, **SETTINGS), importance(mixed, gaps[order], **SETTINGS)
    assert (one.tree, one.permutation, one.skill) == (other.tree, other.permutation, other.skill)


@pytest.mark.parametrize("gap", [0.0, 0.1, -0.7, 12.3])
def test_equal_gaps_leave_nothing_to_know(alloys, gap):
    columns = alloys(13)
    got = importance(columns, np.full(13, gap), **SETTINGS)
    assert got.skill.value is None
    assert {item.value for item in got.tree.values()} == {0.0}
    assert [item.value for item in got.permutation.values()] == pytest.approx([0.0] * 4, abs=1e-12)


def test_one_element_alone_explains_nothing(make_pair, columns_of):
    columns = columns_of([make_pair(str(i), [11], -1, -2) for i in range(12)])
    got = importance(columns, np.linspace(0, 1, 12), **SETTINGS)
    assert list(got.tree) == list(got.permutation) == ["Na"]
    assert got.tree["Na"].value == got.permutation["Na"].value == 0
    assert got.skill.value < 0


def test_the_skill_is_that_of_sklearn_on_unseen_materials(alloys):
    from sklearn.metrics import r2_score

    columns = alloys(20)
    gaps = fraction(columns, 17) + np.random.default_rng(0).normal(0, 0.1, 20)
    table = by_material(columns, gaps)
    errors, _ = permutation_rows(table, 0)
    got = importance(columns, gaps, **SETTINGS)
    assert got.skill.value == pytest.approx(r2_score(table.target, table.target + errors))
    assert got.skill.n_clusters == 20


def test_the_tree_grows_for_no_more_resamples_than_it_says(alloys, monkeypatch):
    columns = alloys(12)
    monkeypatch.setattr("xferbench.analysis.importance.TREES", 5)
    few, many = (importance(columns, fraction(columns, 8), **{**SETTINGS, "n_resamples": n}) for n in (5, 60))
    assert few.tree == many.tree
    assert few.permutation != many.permutation
