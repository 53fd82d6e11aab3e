"""Rows of the table: numbers as text, and why one is missing."""

from __future__ import annotations

from dataclasses import replace

from xferbench.results import from_json


def test_every_number_is_there_as_text(table, make_result):
    (row,) = table(make_result("alpha", 0.142, 0.026)).rows()
    assert [cell.words for cell in row] == [
        "1", "AlphaSet", "r2SCAN", "r2SCAN", "16900 [13800, 20000]", "142 [116, 168]", "185 [159, 211]", "71.0 [64.5, 77.5]",
        "0.858 [0.832, 0.884]", "100 %10 of 10, 5",
    ]  # fmt: skip


def test_the_functional_it_follows_comes_with_the_evidence(table, make_result):
    tree = table(make_result("alpha", identity={"verdict": "GGA", "declared_loses": True}))
    cell = tree.rows()[0][tree.column("Followsfound")]
    assert cell.words == "GGA ✗ not what it declares"
    assert cell.get("title") == "stress λ = 0.90 [0.70, 1.20]"


def test_without_evidence_it_says_so(table, make_result):
    tree = table(make_result("alpha", identity={"verdict": "undecided", "entries": []}))
    assert tree.rows()[0][tree.column("Followsfound")].get("title") == "no quantity tells"


def test_cells_carry_the_unrounded_value_for_sorting(table, make_result):
    tree = table(make_result("alpha", 0.142))
    (row,) = tree.rows()
    assert float(row[tree.column("Energy MAEaligned, meV/atom ↓")].get("data-sort")) == 0.142


def test_open_ranks_are_shown_under_the_rank(table, make_result):
    rows = table(make_result("alpha", 0.1, 0.05), make_result("beta", 0.12, 0.05)).rows()
    assert [row[0].words for row in rows] == ["11–2", "21–2"]


def test_another_functional_is_marked_in_words_too(table, make_result):
    (row,) = table(make_result(model={"functional": "PBE+U", "declared_match": False})).rows()
    (mark,) = [node for node in row.iter("span") if node.get("class") == "mark"]
    assert mark.text == "≠"
    assert mark.get("aria-label") == "not the functional of the task"


def test_a_missing_value_says_why_and_sorts_last(table, make_result, make_data):
    data = make_data("beta")
    data["metrics"][3] |= {"value": None, "ci_low": None, "ci_high": None, "reason": "no <forces>"}
    tree = table(make_result("alpha"), from_json(data, ""))
    cell = tree.rows()[1][tree.column("Force MAEmeV/Å ↓")]
    assert cell.words == "—no <forces>"
    assert cell.get("data-sort") == ""


def test_a_missing_interval_says_why(table, make_data):
    data = make_data()
    data["metrics"][3] |= {"ci_low": None, "ci_high": None, "reason": "one material"}
    tree = table(from_json(data, ""))
    assert tree.rows()[0][tree.column("Force MAEmeV/Å ↓")].words == "71.0one material"


def test_the_metric_that_ranks_is_a_column_however_few_materials_it_has(table, make_data, main_changed):
    tree = table(from_json(main_changed(make_data(), n_materials=2), ""))
    assert tree.rows()[0][tree.column("Energy MAEaligned, meV/atom ↓")].words == "142 [116, 168]only 2 materials"


def test_a_row_that_has_fewer_materials_than_others_says_so(table, make_result, make_data):
    data = make_data("beta", 0.3)
    data["metrics"][3] |= {"n_materials": 1}
    tree = table(make_result("alpha"), from_json(data, ""))
    assert tree.rows()[1][tree.column("Force MAEmeV/Å ↓")].words == "150.0 [143.5, 156.5]only 1 material"


def test_suspicions_stand_beside_the_name(table, make_result):
    (row,) = table(make_result("alpha", notes=["forces look flipped", "energies look per atom"])).rows()
    assert row.find("th").words == "AlphaSet⚠ 2 suspicions"


def test_the_identity_is_a_badge_that_tells_its_kind(table, make_result):
    tree = table(
        make_result("alpha", 0.1),
        make_result("beta", 0.2, identity={"verdict": "GGA", "declared_loses": True}),
        make_result("gamma", 0.3, identity={"verdict": "undecided"}),
    )
    badges = [row[tree.column("Followsfound")].find("span") for row in tree.rows()]
    assert [badge.get("class") for badge in badges] == ["badge found", "badge loses", "badge open"]


def test_an_aggregate_that_lacks_an_error_says_so_and_sorts_last(table, make_data, make_result, make_floor):
    data = make_data("beta", 0.1)
    data["metrics"][3] |= {"value": None, "ci_low": None, "ci_high": None, "reason": "no forces"}
    tree = table(from_json(data, ""), make_floor("floor-ridge", 0.2))
    cell = tree.rows()[0][tree.column("Aggregateenergy, force ↓")]
    assert (cell.words, cell.get("data-sort")) == ("—lacks one of the errors", "")


def test_clean_scores_stand_under_those_of_all_frames(table, audited_result):
    tree = table(audited_result)
    cell = tree.rows()[0][tree.column("Energy MAEaligned, meV/atom ↓")]
    assert cell.find("small").words == "clean 200 [150, 250]"
    assert "4 of 10 test pairs seen in training" in tree.rows()[0].find("th").words


def test_a_model_that_has_seen_nothing_has_no_second_numbers(table, audited_result):
    unseen = replace(audited_result.overlap, n_clean=audited_result.counts.frames)
    tree = table(replace(audited_result, overlap=unseen))
    assert tree.rows()[0][tree.column("Energy MAEaligned, meV/atom ↓")].find("small") is None


def test_every_value_has_a_whisker(table, make_result):
    (row,) = table(make_result()).rows()
    assert len(list(row.iter("svg"))) == 5


def test_rows_link_to_the_model_below(table, make_result):
    (row,) = table(make_result()).rows()
    assert row.find(".//a").get("href") == "#m-alpha"
