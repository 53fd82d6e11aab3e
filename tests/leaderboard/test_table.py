"""The HTML table: complete as text, sortable by data, switchable by style alone."""

from __future__ import annotations

from xferbench.leaderboard.columns import table_columns
from xferbench.results import from_json


def test_headings_name_metric_reference_unit_and_direction(table, make_result):
    heads = [head.words for head in table(make_result()).find(".//thead/tr")]
    assert heads[3:] == [
        "Followsfound", "Energy MAEraw, meV/atom ↓", "Energy MAEaligned, meV/atom ↓", "Energy RMSEaligned, meV/atom ↓", "Force MAEmeV/Å ↓",
        "Gap explainedaligned, ↑", "Coverageframes, materials",
    ]  # fmt: skip


def test_the_rank_column_sorts_back_into_the_original_order(table, make_result, make_floor):
    rows = table(make_result("beta", 0.2), make_result("alpha", 0.1), make_floor("zero", 0.15)).rows()
    assert [(row[0].get("data-sort"), row[1].find("a").words) for row in rows] == [
        ("0", "Alpha"),
        ("1", "Zero"),
        ("2", "Beta"),
    ]


def test_the_main_column_is_announced_as_sorted(table, make_result):
    sorted_heads = [head for head in table(make_result()).find(".//thead/tr") if head.get("aria-sort")]
    assert [(head.words[:10], head.get("aria-sort")) for head in sorted_heads] == [("Energy MAE", "ascending")]


def test_the_first_click_sorts_the_better_way(table, make_result):
    tree = table(make_result())
    heads = {head.words: head.get("data-first") for head in tree.find(".//thead/tr")}
    assert heads["Force MAEmeV/Å ↓"] == "ascending"
    assert heads["Gap explainedaligned, ↑"] == "descending"


def test_headings_and_names_are_header_cells(table, make_result):
    tree = table(make_result())
    assert {head.get("scope") for head in tree.find(".//thead/tr")} == {"col"}
    assert tree.rows()[0].find("th").get("scope") == "row"


def test_a_table_that_scrolls_can_be_reached_by_keyboard_and_has_a_name(table, make_result):
    (scroller,) = [node for node in table(make_result()).iter("div") if node.get("class") == "scroll"]
    assert scroller.get("tabindex") == "0"
    assert scroller.get("aria-label") == "Ranking of springs@2 by Energy MAE"


def test_floors_are_marked_and_carry_no_rank(table, make_result, make_floor):
    floor, model = table(make_result("alpha", 0.2), make_floor("zero", 0.1)).rows()
    assert (floor.get("class"), floor[0].words, floor[1].words) == ("floor", "", "Zerofloor")
    assert (model.get("class"), model[0].words) == (None, "1")


def test_incomplete_results_have_a_body_of_their_own(table, make_result):
    counts = {"predicted": 9, "failed": 1, "errors": {"boom": 1}}
    tree = table(make_result("alpha"), make_result("beta", 0.01, 0.001, coverage=0.9, counts=counts))
    title, row = tree.rows(1)
    assert title.words == "Not ranked"
    assert row[1].words == "Betacovers 90.0 % of the frames"
    assert row[-1].words == "90.0 %9 of 10, 5"


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
    heads = [head.words for head in table(from_json(data, "")).find(".//thead/tr")]
    assert not [head for head in heads if head.startswith("Force")]


def test_the_aggregate_is_a_column_that_is_off_and_shows_what_it_caps(table, make_result, make_floor):
    tree = table(make_result("alpha", 0.4, 0.01), make_floor("floor-ridge", 0.2))
    (box,) = [node for node in tree.iter("input") if node.get("value") == "aggregate"]
    assert box.get("checked") is None
    at = tree.column("Aggregateenergy, force ↓")
    cells = [row[at] for row in tree.rows()]
    assert {cell.get("class") for cell in cells} == {"aggregate"}
    assert [cell.words for cell in cells] == ["1.00", "1.00at the floor: energy, force"]


def test_rank_and_model_stay_in_sight_when_the_table_scrolls(table, make_result):
    tree = table(make_result())
    for row in (tree.find(".//thead/tr"), tree.rows()[0]):
        assert [cell.get("class") for cell in row][:2] == ["rank", "model"]


def test_switches_that_would_switch_nothing_are_absent(table, make_data):
    data = make_data()
    data["metrics"] = [metric for metric in data["metrics"] if metric["key"] in {"energy_mae/aligned", "force_mae"}]
    assert not list(table(from_json(data, "")).iter("input"))
