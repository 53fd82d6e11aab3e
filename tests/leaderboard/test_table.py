"""The HTML table: complete as text, sortable by data, switchable by style alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from xferbench.leaderboard.board import read_board
from xferbench.leaderboard.table import ranking_table, table_columns
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


def test_headings_name_metric_reference_unit_and_direction(table, make_result):
    heads = [words(head) for head in table(make_result()).find(".//thead/tr")]
    assert heads[3:] == [
        "Followsfound", "Energy MAEraw, meV/atom ↓", "Energy MAEaligned, meV/atom ↓", "Energy RMSEaligned, meV/atom ↓", "Force MAEmeV/Å ↓",
        "Gap explainedaligned, ↑", "Coverageframes, materials",
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


def test_the_rank_column_sorts_back_into_the_original_order(table, make_result, make_floor):
    rows = body_rows(table(make_result("beta", 0.2), make_result("alpha", 0.1), make_floor("zero", 0.15)))
    assert [(row[0].get("data-sort"), words(row[1].find("a"))) for row in rows] == [
        ("0", "Alpha"),
        ("1", "Zero"),
        ("2", "Beta"),
    ]


def test_the_main_column_is_announced_as_sorted(table, make_result):
    sorted_heads = [head for head in table(make_result()).find(".//thead/tr") if head.get("aria-sort")]
    assert [(words(head)[:10], head.get("aria-sort")) for head in sorted_heads] == [("Energy MAE", "ascending")]


def test_the_first_click_sorts_the_better_way(table, make_result):
    tree = table(make_result())
    heads = {words(head): head.get("data-first") for head in tree.find(".//thead/tr")}
    assert heads["Force MAEmeV/Å ↓"] == "ascending"
    assert heads["Gap explainedaligned, ↑"] == "descending"


def test_headings_and_names_are_header_cells(table, make_result):
    tree = table(make_result())
    assert {head.get("scope") for head in tree.find(".//thead/tr")} == {"col"}
    assert body_rows(tree)[0].find("th").get("scope") == "row"


def test_a_table_that_scrolls_can_be_reached_by_keyboard_and_has_a_name(table, make_result):
    (scroller,) = [node for node in table(make_result()).iter("div") if node.get("class") == "scroll"]
    assert scroller.get("tabindex") == "0"
    assert scroller.get("aria-label") == "Ranking of springs@2 by Energy MAE"


def test_floors_are_marked_and_carry_no_rank(table, make_result, make_floor):
    floor, model = body_rows(table(make_result("alpha", 0.2), make_floor("zero", 0.1)))
    assert (floor.get("class"), words(floor[0]), words(floor[1])) == ("floor", "", "Zerofloor")
    assert (model.get("class"), words(model[0])) == (None, "1")


def test_open_ranks_are_shown_under_the_rank(table, make_result):
    rows = body_rows(table(make_result("alpha", 0.1, 0.05), make_result("beta", 0.12, 0.05)))
    assert [words(row[0]) for row in rows] == ["11–2", "21–2"]


def test_another_functional_is_marked_in_words_too(table, make_result):
    (row,) = body_rows(table(make_result(model={"functional": "PBE+U", "declared_match": False})))
    (mark,) = [node for node in row.iter("span") if node.get("class") == "mark"]
    assert mark.text == "≠"
    assert mark.get("aria-label") == "not the functional of the task"


def test_incomplete_results_have_a_body_of_their_own(table, make_result):
    counts = {"predicted": 9, "failed": 1, "errors": {"boom": 1}}
    tree = table(make_result("alpha"), make_result("beta", 0.01, 0.001, coverage=0.9, counts=counts))
    title, row = body_rows(tree, 1)
    assert words(title) == "Not ranked"
    assert words(row[1]) == "Betacovers 90.0 % of the frames"
    assert words(row[-1]) == "90.0 %9 of 10, 5"


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


def test_switches_are_plain_form_controls(table, make_result, make_floor):
    tree = table(make_result(), make_floor())
    inputs = [(node.get("type"), node.get("value"), node.get("checked")) for node in tree.iter("input")]
    assert inputs == [
        ("radio", "raw", None), ("radio", "aligned", ""), ("radio", "mae", ""), ("radio", "rmse", None),
        ("checkbox", "floors", ""),
    ]  # fmt: skip


def test_further_metrics_are_there_but_not_at_first_sight(section, table, make_data):
    data = make_data()
    data["metrics"].append(
        data["metrics"][3] | {"name": "force_slope", "key": "force_slope", "better": "one", "unit": "1"}
    )
    result = from_json(data, "")
    classes = {column.metric.key: column.classes for column in table_columns(section(result))}
    assert classes["force_slope"] == "metric minor"
    (box,) = [node for node in table(result).iter("input") if node.get("value") == "every"]
    assert box.get("checked") is None


def test_metrics_of_few_materials_are_no_columns(table, make_data):
    data = make_data()
    data["metrics"][3] |= {"n_materials": 4}
    heads = [words(head) for head in table(from_json(data, "")).find(".//thead/tr")]
    assert not [head for head in heads if head.startswith("Force")]


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


def test_the_aggregate_is_a_column_that_is_off_and_shows_what_it_caps(table, make_result, make_floor):
    tree = table(make_result("alpha", 0.4, 0.01), make_floor("floor-ridge", 0.2))
    (box,) = [node for node in tree.iter("input") if node.get("value") == "aggregate"]
    assert box.get("checked") is None
    at = column(tree, "Aggregateenergy, force ↓")
    cells = [row[at] for row in body_rows(tree)]
    assert {cell.get("class") for cell in cells} == {"aggregate"}
    assert [words(cell) for cell in cells] == ["1.00", "1.00at the floor: energy, force"]


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


def test_rank_and_model_stay_in_sight_when_the_table_scrolls(table, make_result):
    tree = table(make_result())
    for row in (tree.find(".//thead/tr"), body_rows(tree)[0]):
        assert [cell.get("class") for cell in row][:2] == ["rank", "model"]


def test_floors_far_off_do_not_crowd_the_scale_of_the_models(section, make_data, make_floor):
    def with_gap(name, value, **changes):
        data = make_data(name, 0.1, **changes)
        data["metrics"][4] |= {"value": value, "ci_low": value - 0.1, "ci_high": value + 0.1}
        return from_json(data, "")

    board = section(with_gap("alpha", 0.5), with_gap("beta", -0.5), with_gap("zero", -80.0, model={"kind": "floor"}))
    scale = next(column.scale for column in table_columns(board) if column.metric.name == "gap_explained")
    assert scale.covers(-0.6)
    assert scale.covers(0.6)
    assert not scale.covers(-80.0)


def test_switches_that_would_switch_nothing_are_absent(table, make_data):
    data = make_data()
    data["metrics"] = [metric for metric in data["metrics"] if metric["key"] in {"energy_mae/aligned", "force_mae"}]
    assert not list(table(from_json(data, "")).iter("input"))


def test_switches_touch_only_metrics_that_have_a_choice(section, make_result):
    classes = {column.metric.key: column.classes for column in table_columns(section(make_result()))}
    assert classes == {
        "energy_mae/raw": "metric r r-raw s s-mae",
        "energy_mae/aligned": "metric main r r-aligned s s-mae",
        "energy_rmse/aligned": "metric s s-rmse",
        "force_mae": "metric s s-mae",
        "gap_explained/aligned": "metric",
    }


def test_whiskers_of_a_column_share_a_scale(section, make_result):
    columns = table_columns(section(make_result("alpha", 0.1), make_result("beta", 5.0, 0.1)))
    scale = next(column.scale for column in columns if column.metric.main)
    assert scale.log
    assert scale.covers(0.1)
    assert scale.covers(5.1)


def test_every_value_has_a_whisker(table, make_result):
    (row,) = body_rows(table(make_result()))
    assert len(list(row.iter("svg"))) == 5


def test_rows_link_to_the_model_below(table, make_result):
    (row,) = body_rows(table(make_result()))
    assert row.find(".//a").get("href") == "#m-alpha"
