"""Rows of the table: numbers as text, and why one is missing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from xferbench.leaderboard.board import read_board
from xferbench.leaderboard.table import ranking_table
from xferbench.results import from_json


@pytest.fixture
def section(lay_out, task_files):
    """``section(*results)`` -> the first section of their board."""
    return lambda *results: read_board(lay_out(list(results)), tasks=task_files).sections[0]


@pytest.fixture
def table(section, html):
    """``table(*results)`` -> controls and table as an element tree."""

    def make(*results):
        found = section(*results)
        return html(ranking_table(found, {row.entry.model_id: f"m-{row.entry.model_id}" for row in found.ranking.rows}))

    return make


def words(node):
    return " ".join("".join(node.itertext()).split())


def body_rows(tree, body=0):
    return list(tree.iter("tbody"))[body].findall("tr")


def column(tree, title):
    """Index of the column whose heading starts with ``title``."""
    return [words(head) for head in tree.find(".//thead/tr")].index(title)


def test_every_number_is_there_as_text(table, make_result):
    (row,) = body_rows(table(make_result("alpha", 0.142, 0.026)))
    assert [words(cell) for cell in row] == [
        "1", "AlphaSet", "r2SCAN", "r2SCAN", "16900 [13800, 20000]", "142 [116, 168]", "185 [159, 211]", "71.0 [64.5, 77.5]",
        "0.858 [0.832, 0.884]", "100 %10 of 10, 5",
    ]  # fmt: skip


def test_the_functional_it_follows_comes_with_the_evidence(table, make_result):
    tree = table(make_result("alpha", identity={"verdict": "GGA", "declared_loses": True}))
    cell = body_rows(tree)[0][column(tree, "Followsfound")]
    assert words(cell) == "GGA ✗ not what it declares"
    assert cell.get("title") == "stress λ = 0.90 [0.70, 1.20]"


def test_without_evidence_it_says_so(table, make_result):
    tree = table(make_result("alpha", identity={"verdict": "undecided", "entries": []}))
    assert body_rows(tree)[0][column(tree, "Followsfound")].get("title") == "no quantity tells"


def test_cells_carry_the_unrounded_value_for_sorting(table, make_result):
    tree = table(make_result("alpha", 0.142))
    (row,) = body_rows(tree)
    assert float(row[column(tree, "Energy MAEaligned, meV/atom ↓")].get("data-sort")) == 0.142


def test_open_ranks_are_shown_under_the_rank(table, make_result):
    rows = body_rows(table(make_result("alpha", 0.1, 0.05), make_result("beta", 0.12, 0.05)))
    assert [words(row[0]) for row in rows] == ["11–2", "21–2"]


def test_another_functional_is_marked_in_words_too(table, make_result):
    (row,) = body_rows(table(make_result(model={"functional": "PBE+U", "declared_match": False})))
    (mark,) = [node for node in row.iter("span") if node.get("class") == "mark"]
    assert mark.text == "≠"
    assert mark.get("aria-label") == "not the functional of the task"


def test_a_missing_value_says_why_and_sorts_last(table, make_result, make_data):
    data = make_data("beta")
    data["metrics"][3] |= {"value": None, "ci_low": None, "ci_high": None, "reason": "no <forces>"}
    tree = table(make_result("alpha"), from_json(data, ""))
    cell = body_rows(tree)[1][column(tree, "Force MAEmeV/Å ↓")]
    assert words(cell) == "—no <forces>"
    assert cell.get("data-sort") == ""


def test_a_missing_interval_says_why(table, make_data):
    data = make_data()
    data["metrics"][3] |= {"ci_low": None, "ci_high": None, "reason": "one material"}
    tree = table(from_json(data, ""))
    assert words(body_rows(tree)[0][column(tree, "Force MAEmeV/Å ↓")]) == "71.0one material"


def test_the_metric_that_ranks_is_a_column_however_few_materials_it_has(table, make_data, main_changed):
    tree = table(from_json(main_changed(make_data(), n_materials=2), ""))
    assert words(body_rows(tree)[0][column(tree, "Energy MAEaligned, meV/atom ↓")]) == "142 [116, 168]only 2 materials"


def test_a_row_that_has_fewer_materials_than_others_says_so(table, make_result, make_data):
    data = make_data("beta", 0.3)
    data["metrics"][3] |= {"n_materials": 1}
    tree = table(make_result("alpha"), from_json(data, ""))
    assert words(body_rows(tree)[1][column(tree, "Force MAEmeV/Å ↓")]) == "150.0 [143.5, 156.5]only 1 material"


def test_suspicions_stand_beside_the_name(table, make_result):
    (row,) = body_rows(table(make_result("alpha", notes=["forces look flipped", "energies look per atom"])))
    assert words(row.find("th")) == "AlphaSet⚠ 2 suspicions"


def test_the_identity_is_a_badge_that_tells_its_kind(table, make_result):
    tree = table(
        make_result("alpha", 0.1),
        make_result("beta", 0.2, identity={"verdict": "GGA", "declared_loses": True}),
        make_result("gamma", 0.3, identity={"verdict": "undecided"}),
    )
    badges = [row[column(tree, "Followsfound")].find("span") for row in body_rows(tree)]
    assert [badge.get("class") for badge in badges] == ["badge found", "badge loses", "badge open"]


def test_an_aggregate_that_lacks_an_error_says_so_and_sorts_last(table, make_data, make_result, make_floor):
    data = make_data("beta", 0.1)
    data["metrics"][3] |= {"value": None, "ci_low": None, "ci_high": None, "reason": "no forces"}
    tree = table(from_json(data, ""), make_floor("floor-ridge", 0.2))
    cell = body_rows(tree)[0][column(tree, "Aggregateenergy, force ↓")]
    assert (words(cell), cell.get("data-sort")) == ("—lacks one of the errors", "")


def test_clean_scores_stand_under_those_of_all_frames(table, audited_result):
    tree = table(audited_result)
    cell = body_rows(tree)[0][column(tree, "Energy MAEaligned, meV/atom ↓")]
    assert words(cell.find("small")) == "clean 200 [150, 250]"
    assert "4 of 10 test pairs seen in training" in words(body_rows(tree)[0].find("th"))


def test_a_model_that_has_seen_nothing_has_no_second_numbers(table, audited_result):
    unseen = replace(audited_result.overlap, n_clean=audited_result.counts.frames)
    tree = table(replace(audited_result, overlap=unseen))
    assert body_rows(tree)[0][column(tree, "Energy MAEaligned, meV/atom ↓")].find("small") is None


def test_every_value_has_a_whisker(table, make_result):
    (row,) = body_rows(table(make_result()))
    assert len(list(row.iter("svg"))) == 5


def test_rows_link_to_the_model_below(table, make_result):
    (row,) = body_rows(table(make_result()))
    assert row.find(".//a").get("href") == "#m-alpha"
