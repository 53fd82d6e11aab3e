"""References come off what they were fitted to, and off nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from xferbench import references
from xferbench.analysis.estimating import resampling
from xferbench.analysis.referencing import drawn_shifts, referenced

EVERYONE = np.ones(4, dtype=bool)


@pytest.fixture
def elemental(make_pair, columns_of):
    """Energies that are nothing but elements: Na -1, Cl -2 in GGA; Na -3, Cl -7 in r2SCAN."""
    cells = {"a": [11], "b": [17], "c": [11, 17], "d": [11, 17, 17]}
    energies = {11: (-1.0, -3.0), 17: (-2.0, -7.0)}
    pairs = [
        make_pair(name, numbers, *[float(np.mean([energies[z][side] for z in numbers])) for side in (0, 1)])
        for name, numbers in cells.items()
    ]
    return columns_of(pairs)


def test_elemental_energies_leave_nothing(elemental):
    got = referenced(elemental, EVERYONE, EVERYONE)
    np.testing.assert_allclose(got.source, 0, atol=1e-12)
    np.testing.assert_allclose(got.target, 0, atol=1e-12)
    assert got.fits[0].energies == pytest.approx({"Na": -1.0, "Cl": -2.0})
    assert got.fits[1].energies == pytest.approx({"Na": -3.0, "Cl": -7.0})
    assert (got.n_fitted, got.n_open) == (4, 0)


def test_each_functional_has_its_own_references(springs):
    everyone = np.ones(len(springs), dtype=bool)
    got = referenced(springs, everyone, everyone)
    for fit, energies, rest in zip(got.fits, (springs.source, springs.target), (got.source, got.target), strict=True):
        alone = references.fit(springs.numbers, energies)
        np.testing.assert_allclose(rest, references.subtract(alone, springs.numbers, energies))
        assert fit.energies == pytest.approx(alone.energies)


def test_the_gap_of_referenced_energies_is_the_rest_of_a_fit_to_the_gap(springs):
    everyone = np.ones(len(springs), dtype=bool)
    got = referenced(springs, everyone, everyone)
    shift = references.fit(springs.numbers, springs.gap)
    np.testing.assert_allclose(
        got.target - got.source, references.subtract(shift, springs.numbers, springs.gap), atol=1e-9
    )


def test_out_of_sample_uses_train_energies_only(springs):
    split = np.array(springs.splits)
    before = referenced(springs, split == "train", split == "test")
    changed = springs.take(np.ones(len(split), dtype=bool))
    changed.target[split == "test"] += 5.0
    after = referenced(changed, split == "train", split == "test")
    np.testing.assert_allclose(after.target[before.used] - before.target[before.used], 5.0)
    assert not before.used[split == "train"].any()


def test_compositions_that_train_leaves_open_are_left_out_and_counted(elemental):
    got = referenced(elemental, np.array([False, False, True, False]), EVERYONE)
    assert got.used.tolist() == [False, False, True, False]
    assert (got.n_fitted, got.n_open) == (1, 3)


def test_pairs_without_both_energies_are_neither_fitted_nor_compared(make_pair, columns_of):
    columns = columns_of(
        [make_pair("a", [11], -1, -2), make_pair("b", [11], None, -9), make_pair("c", [11], -1.2, -2.4)]
    )
    got = referenced(columns, EVERYONE[:3], EVERYONE[:3])
    assert got.n_fitted == 2
    assert got.used.tolist() == [True, False, True]
    assert got.fits[1].energies["Na"] == pytest.approx(-2.2)


def test_nothing_to_fit_leaves_everything_open(elemental):
    got = referenced(elemental, ~EVERYONE, EVERYONE)
    assert got.fits is None
    assert not got.used.any()
    assert got.n_open == 4


def test_rows_can_be_taken(elemental):
    got = referenced(elemental, EVERYONE, EVERYONE).take(np.array([True, False, False, True]))
    assert got.source.shape == got.target.shape == (2,)
    assert got.n_fitted == 4


def test_shifts_of_a_resample_are_a_fit_to_its_copies(springs):
    plan = resampling(springs.material_ids, n_resamples=20, seed=0, confidence=0.9)
    elements = [3, 8, 12, 17]
    drawn = drawn_shifts(springs, elements, plan)
    counts = np.concatenate(list(plan.plan.counts()))
    assert drawn.shape == (20, 4)
    for row, count in zip(drawn, counts, strict=True):
        rows = np.repeat(np.arange(len(springs)), count[plan.cluster])
        fit = references.fit([springs.numbers[i] for i in rows], springs.gap[rows])
        if not fit.undetermined and len(fit.energies) == 4:
            np.testing.assert_allclose(row, list(fit.energies.values()), atol=1e-9)


def test_an_element_that_a_resample_lacks_has_no_shift_in_it(elemental):
    plan = resampling(elemental.material_ids, n_resamples=300, seed=0, confidence=0.9)
    drawn = drawn_shifts(elemental, [11, 17], plan)
    counts = np.concatenate(list(plan.plan.counts()))
    only_sodium = (counts[:, 1:] == 0).all(axis=1)
    assert only_sodium.any()
    np.testing.assert_allclose(drawn[only_sodium][:, 0], -2.0)
    assert np.isnan(drawn[only_sodium][:, 1]).all()
    one_ratio = (np.delete(counts, 2, axis=1) == 0).all(axis=1)
    assert one_ratio.any()
    assert np.isnan(drawn[one_ratio]).all()
    full = np.isfinite(drawn).all(axis=1)
    np.testing.assert_allclose(drawn[full], np.tile([-2.0, -5.0], (full.sum(), 1)), atol=1e-9)


def test_comparing_nobody_is_not_an_error(elemental):
    got = referenced(elemental, EVERYONE, ~EVERYONE)
    assert got.n_fitted == 4
    assert got.n_open == 0
    assert not got.used.any()


def test_only_compositions_outside_the_fit_are_left_out_and_counted(elemental):
    got = referenced(elemental, np.array([True, False, False, False]), np.array([False, True, True, True]))
    assert got.fits[0].energies == pytest.approx({"Na": -1.0})
    assert (got.used.any(), got.n_open) == (False, 3)


def test_elemental_constants_move_the_references_and_leave_the_rest(springs):
    shift = {3: -5.0, 8: 2.0, 12: 11.0, 17: -40.0}
    constant = np.array([np.mean([shift[z] for z in item.tolist()]) for item in springs.numbers])
    train = np.array(springs.splits) == "train"
    before = referenced(springs, train, ~train)
    after = referenced(replace(springs, target=springs.target + constant), train, ~train)
    np.testing.assert_allclose(after.target, before.target, atol=1e-9)
    moved = [after.fits[1].energies[symbol] - value for symbol, value in before.fits[1].energies.items()]
    assert moved == pytest.approx(list(shift.values()))


def test_the_rest_is_that_of_sklearn(springs):
    from sklearn.linear_model import LinearRegression

    everyone = np.ones(len(springs), dtype=bool)
    got = referenced(springs, everyone, everyone)
    fractions = references.composition_matrix(springs.numbers, [3, 8, 12, 17])
    fit = LinearRegression(fit_intercept=False).fit(fractions, springs.source)
    np.testing.assert_allclose(got.source, springs.source - fit.predict(fractions), atol=1e-9)
    np.testing.assert_allclose(fractions.T @ got.target, 0, atol=1e-9)  # nothing linear in composition is left
