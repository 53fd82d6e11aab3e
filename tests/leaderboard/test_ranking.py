"""Ranking laws: the order of files is irrelevant, floors take no rank, what is incomplete is not ranked."""

from __future__ import annotations

from itertools import permutations

import pytest

from xferbench.leaderboard.ranking import Entry, rank
from xferbench.results import from_json


@pytest.fixture
def shape(make_data, main_changed):
    """``shape("a", 0.1, n_missing=3)`` -> an entry, its main metric changed."""

    def make(model, error=0.1, data=None, **changes):
        parsed = main_changed(make_data(model, error, **(data or {})), **changes)
        return Entry(result=from_json(parsed, model))

    return make


def places(ranking):
    return [(row.entry.model_id, row.rank) for row in ranking.rows]


def test_the_smallest_error_is_first(make_entry):
    ranking = rank([make_entry("a", 0.3), make_entry("b", 0.1), make_entry("c", 0.2)])
    assert places(ranking) == [("b", 1), ("c", 2), ("a", 3)]


def test_a_metric_that_is_better_when_higher_ranks_downwards(shape):
    ranking = rank([shape("a", 0.3, better="higher"), shape("b", 0.1, better="higher")])
    assert places(ranking) == [("a", 1), ("b", 2)]


def test_the_order_of_files_is_irrelevant(make_entry, make_floor):
    entries = [make_entry("a", 0.3), make_entry("b", 0.1), make_entry("c", 0.1), Entry(result=make_floor("zero", 0.2))]
    assert len({tuple(places(rank(order))) for order in permutations(entries)}) == 1


def test_equal_values_share_a_rank_and_the_next_one_is_skipped(make_entry):
    ranking = rank([make_entry("c", 0.2), make_entry("b", 0.1), make_entry("a", 0.1)])
    assert places(ranking) == [("a", 1), ("b", 1), ("c", 3)]


def test_floors_stand_in_their_place_without_a_rank(make_entry, make_floor):
    ranking = rank([make_entry("a", 0.1), make_entry("b", 0.3), Entry(result=make_floor("zero", 0.2))])
    assert places(ranking) == [("a", 1), ("zero", None), ("b", 2)]


def test_a_floor_as_good_as_a_model_stands_below_it(make_entry, make_floor):
    ranking = rank([make_entry("b", 0.1), Entry(result=make_floor("a", 0.1))])
    assert places(ranking) == [("b", 1), ("a", None)]


def test_incomplete_results_are_listed_below_with_the_reason(make_entry):
    counts = {"predicted": 9, "failed": 1, "errors": {"boom": 1}}
    best = make_entry("a", 0.01, coverage=0.9, counts=counts)
    ranking = rank([best, make_entry("b", 0.3)])
    assert places(ranking) == [("b", 1), ("a", None)]
    assert [row.shortfall for row in ranking.rows] == ["", "covers 90.0 % of the frames"]


def test_of_incomplete_results_the_more_complete_comes_first(make_entry):
    entries = [
        make_entry(name, 0.1, coverage=n / 10, counts={"predicted": n, "failed": 10 - n, "errors": {"boom": 10 - n}})
        for name, n in (("a", 5), ("b", 9), ("c", 7))
    ]
    assert [row.entry.model_id for row in rank(entries).unranked] == ["b", "c", "a"]


def test_a_result_without_the_main_value_is_not_ranked(shape, make_entry):
    empty = shape("a", value=None, ci_low=None, ci_high=None, reason="no prediction has an energy")
    ranking = rank([empty, make_entry("b", 0.3)])
    assert ranking.unranked[0].shortfall == "no value of the main metric: no prediction has an energy"


def test_values_that_all_results_miss_keep_nobody_from_a_rank(shape):
    ranking = rank([shape("a", 0.1, n_missing=2), shape("b", 0.2, n_missing=2), shape("c", 0.05, n_missing=5)])
    assert places(ranking) == [("a", 1), ("b", 2), ("c", None)]
    assert ranking.unranked[0].shortfall == "lacks 3 values that others have"


def test_separate_intervals_establish_the_ranks(make_entry):
    ranking = rank([make_entry("a", 0.1, 0.01), make_entry("b", 0.2, 0.01)])
    assert [(row.best, row.worst) for row in ranking.rows] == [(1, 1), (2, 2)]
    assert ranking.overlaps == ()


def test_overlapping_intervals_leave_the_ranks_open(make_entry):
    ranking = rank([make_entry("a", 0.10, 0.03), make_entry("b", 0.14, 0.03), make_entry("c", 0.30, 0.03)])
    assert [(row.best, row.worst) for row in ranking.rows] == [(1, 2), (1, 2), (3, 3)]
    assert [(x.model_id, y.model_id) for x, y in ranking.overlaps] == [("a", "b")]


def test_touching_intervals_overlap(make_entry):
    ranking = rank([make_entry("a", 0.25, 0.125), make_entry("b", 0.5, 0.125)])
    assert len(ranking.overlaps) == 1


def test_the_interval_always_holds_the_rank(make_entry):
    errors = [0.1, 0.11, 0.13, 0.2, 0.21, 0.5]
    ranking = rank([make_entry(f"m{k}", error, 0.02 + 0.01 * k) for k, error in enumerate(errors)])
    assert all(row.best <= row.rank <= row.worst for row in ranking.rows)


def test_overlaps_of_a_higher_is_better_metric_are_found_too(shape):
    pair = [
        shape(name, value, better="higher", ci_low=value - 0.1, ci_high=value + 0.1)
        for name, value in (("a", 0.9), ("b", 0.4))
    ]
    assert rank(pair).overlaps == ()
    assert [(row.best, row.worst) for row in rank(pair).rows] == [(1, 1), (2, 2)]


def test_a_value_without_interval_is_a_point(shape):
    bare = {"ci_low": None, "ci_high": None, "reason": "one material"}
    ranking = rank([shape("a", 0.1, **bare), shape("b", 0.2, **bare)])
    assert ranking.overlaps == ()
    assert [(row.best, row.worst) for row in ranking.rows] == [(1, 1), (2, 2)]


def test_floors_do_not_enter_overlaps_or_rank_intervals(make_entry, make_floor):
    ranking = rank([make_entry("a", 0.1), Entry(result=make_floor("zero", 0.1))])
    assert ranking.overlaps == ()
    assert (ranking.rows[0].best, ranking.rows[0].worst) == (1, 1)


def test_nothing_ranks_to_nothing():
    assert rank([]).rows == ()


def test_an_entry_is_called_what_its_card_says(make_result, make_card, tmp_path):
    from xferbench.leaderboard.cards import read_card
    from xferbench.storage import write_text

    write_text(tmp_path / "alpha.toml", make_card(name="The Alpha"))
    result = make_result("alpha")
    assert Entry(result=result).name == "Alpha"
    assert Entry(result=result, card=read_card(tmp_path / "alpha.toml")).name == "The Alpha"
