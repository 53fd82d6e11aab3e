"""Ranking laws: the order of files is irrelevant, floors take no rank, what is incomplete is not ranked."""

from __future__ import annotations

from itertools import permutations

import pytest

from xferbench.board.ranking import Entry, rank, with_tests
from xferbench.results import from_json


@pytest.fixture
def shape(make_data, main_changed):
    """``shape("a", 0.1, n_missing=3)`` -> an entry, its main metric changed."""

    def make(model, error=0.1, data=None, **changes):
        parsed = main_changed(make_data(model, error, **(data or {})), **changes)
        return Entry(result=from_json(parsed, model))

    return make


def places(ranking):
    return [(row.entry.model_id, row.place) for row in ranking.rows]


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


def test_without_tests_a_place_is_all_there_is(make_entry):
    ranking = rank([make_entry("a", 0.10, 0.03), make_entry("b", 0.11, 0.03)])
    assert [(row.rank, row.ties, row.leads) for row in ranking.rows] == [("1", "", False), ("2", "", False)]


def test_tests_give_rank_intervals_and_letters_to_the_models_they_cover(make_entry, make_floor, make_tests):
    ranking = rank(
        [make_entry("a", 0.1), make_entry("b", 0.2), make_entry("c", 0.9), Entry(result=make_floor("zero", 0.15))]
    )
    known = with_tests(ranking, make_tests([("a", 1, 2, "a"), ("b", 1, 2, "a"), ("c", 3, 3, "b")]))
    assert [(row.entry.model_id, row.rank, row.ties) for row in known.rows] == [
        ("a", "1–2", "a"), ("zero", "", ""), ("b", "1–2", "a"), ("c", "3", "b"),
    ]  # fmt: skip
    assert not any(row.leads for row in known.rows)


def test_a_model_leads_only_where_it_is_better_than_every_other_for_sure(make_entry, make_tests):
    ranking = rank([make_entry("a", 0.1), make_entry("b", 0.2)])
    known = with_tests(ranking, make_tests([("a", 1, 1, "a"), ("b", 2, 2, "b")]))
    assert [row.leads for row in known.rows] == [True, False]


def test_a_metric_whose_best_is_one_ranks_by_the_distance_from_it(shape):
    ranking = rank([shape("a", 1.3, better="one"), shape("b", 0.8, better="one"), shape("c", 0.99, better="one")])
    assert places(ranking) == [("c", 1), ("b", 2), ("a", 3)]


def test_nothing_ranks_to_nothing():
    assert rank([]).rows == ()


def test_an_entry_is_called_what_its_card_says(make_result, make_card, tmp_path):
    from xferbench.board.cards import read_card
    from xferbench.storage import write_text

    write_text(tmp_path / "alpha.toml", make_card(name="The Alpha"))
    result = make_result("alpha")
    assert Entry(result=result).name == "Alpha"
    assert Entry(result=result, card=read_card(tmp_path / "alpha.toml")).name == "The Alpha"
