"""What each element contributes, and how sure that is."""

from __future__ import annotations

import numpy as np
import pytest

from xferbench.analysis.elements import ENOUGH, element_rows
from xferbench.analysis.estimating import resampling
from xferbench.analysis.importance import Importance
from xferbench.analysis.referencing import referenced

NOTHING = Importance(tree={}, permutation={}, skill=None)


def rows_of(columns, n_resamples=200):
    everyone = np.ones(len(columns), dtype=bool)
    plan = resampling(columns.material_ids, n_resamples=n_resamples, seed=0, confidence=0.9)
    return {row.symbol: row for row in element_rows(columns, referenced(columns, everyone, everyone), NOTHING, plan)}


def test_shifts_are_differences_of_references_with_counts(springs):
    got = rows_of(springs)
    assert list(got) == ["Li", "O", "Mg", "Cl"]
    for symbol, element in (("Li", 3), ("O", 8)):
        row = got[symbol]
        holds = [element in numbers for numbers in springs.numbers]
        assert row.n_pairs == sum(holds)
        assert row.n_materials == len({name for name, has in zip(springs.material_ids, holds, strict=True) if has})
        assert row.shift.value == pytest.approx(row.target - row.source)
        assert row.shift.ci_low < row.shift.value < row.shift.ci_high
        assert row.tree is row.permutation is None
    # the synthetic offsets, but for what the springs add
    assert got["Cl"].shift.value == pytest.approx(-4.0, abs=0.05)
    assert got["Mg"].shift.value == pytest.approx(-2.4, abs=0.05)


def test_elements_of_one_ratio_are_open_and_say_so(make_pair, columns_of):
    columns = columns_of(
        [make_pair("a", [11, 17], -1, -2), make_pair("b", [17, 11, 11, 17], -1, -3), make_pair("c", [3], -1, -2)]
    )
    got = rows_of(columns)
    for symbol in ("Na", "Cl"):
        assert got[symbol].source is got[symbol].target is got[symbol].shift.value is None
        assert "combinations" in got[symbol].shift.reason
    assert got["Li"].shift.value == pytest.approx(-1)


def test_an_element_of_one_material_has_no_interval(make_pair, columns_of):
    columns = columns_of([make_pair(str(i), [11], -1, -2) for i in range(5)] + [make_pair("x", [3], -1, -4)])
    got = rows_of(columns)
    assert got["Li"].shift.value == pytest.approx(-3)
    assert got["Li"].shift.ci_low is None
    assert got["Na"].shift.ci_low == pytest.approx(-1)


def test_an_interval_needs_most_resamples_to_determine_the_element(make_pair, columns_of):
    cells = {"a": [11], "b": [3, 11], "c": [3, 17], "d": [17, 17, 3, 8], "e": [17, 8]}
    columns = columns_of([make_pair(name, cell, -1, -2 - i / 9) for i, (name, cell) in enumerate(cells.items())])
    got = rows_of(columns)
    rare = [row for row in got.values() if row.determined < ENOUGH]
    assert rare
    assert all(row.shift.ci_low is None for row in rare)
    assert all(0 <= row.determined <= 1 for row in got.values())


def test_without_energies_there_are_no_elements(make_pair, columns_of):
    columns = columns_of([make_pair("a", [11], None, -2)])
    assert rows_of(columns) == {}


def test_the_shift_of_a_single_element_is_the_mean_gap(make_pair, columns_of):
    gaps = [-1.0, -1.5, -4.0, -2.0, -2.5]
    columns = columns_of([make_pair(str(i), [11] * (i + 1), -2.0, -2.0 + gap) for i, gap in enumerate(gaps)])
    row = rows_of(columns)["Na"]
    assert row.shift.value == pytest.approx(np.mean(gaps))
    assert (row.source, row.target) == pytest.approx((-2.0, -2.0 + np.mean(gaps)))
    assert (row.determined, row.n_pairs, row.n_materials) == (1.0, 5, 5)
    assert min(gaps) <= row.shift.ci_low < row.shift.ci_high <= max(gaps)


def test_shifts_of_two_elements_by_hand(make_pair, columns_of):
    columns = columns_of([make_pair("a", [17], -1, -4), make_pair("b", [11], -1, -2), make_pair("c", [11, 17], 0, -2)])
    got = rows_of(columns)
    assert list(got) == ["Na", "Cl"]  # by atomic number, whatever comes first
    assert got["Na"].shift.value == pytest.approx(-1.0)
    assert got["Cl"].shift.value == pytest.approx(-3.0)
    assert [got[symbol].n_pairs for symbol in got] == [2, 2]


def test_pairs_without_both_energies_count_for_no_element(make_pair, columns_of):
    columns = columns_of([make_pair("a", [11], -1, -2), make_pair("b", [11, 3], None, -2)])
    got = rows_of(columns)
    assert list(got) == ["Na"]
    assert (got["Na"].n_pairs, got["Na"].n_materials) == (1, 1)


def test_elements_of_one_ratio_are_determined_in_no_resample(make_pair, columns_of):
    got = rows_of(columns_of([make_pair(str(i), [11, 17], -1, -2 - i) for i in range(4)]))
    assert [row.determined for row in got.values()] == [0.0, 0.0]


def test_importances_stand_beside_the_element_they_belong_to(springs):
    everyone = np.ones(len(springs), dtype=bool)
    plan = resampling(springs.material_ids, n_resamples=5, seed=0, confidence=0.9)
    item = rows_of(springs, 5)["O"].shift
    share = Importance(tree={"O": item}, permutation={"Cl": item}, skill=None)
    got = {row.symbol: row for row in element_rows(springs, referenced(springs, everyone, everyone), share, plan)}
    assert [symbol for symbol, row in got.items() if row.tree is item] == ["O"]
    assert [symbol for symbol, row in got.items() if row.permutation is item] == ["Cl"]
