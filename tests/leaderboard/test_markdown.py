"""The README of a leaderboard."""

from __future__ import annotations

import re

import pytest

from xferbench.leaderboard.board import Board, read_board
from xferbench.leaderboard.markdown import render_markdown
from xferbench.leaderboard.wording import HOW_TO_READ
from xferbench.results import from_json


@pytest.fixture
def render(lay_out, task_files):
    """``render(results, cards)`` -> the Markdown of a board."""
    return lambda *arguments: render_markdown(read_board(lay_out(*arguments), tasks=task_files))


def cells(text):
    """The first table, as rows of cells; the rule under the head left out."""
    table = [line for line in text.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table]
    return [rows[0], *rows[2:]]


def test_the_table_holds_rank_value_interval_and_counts(render, make_result):
    head, first, second = cells(render([make_result("beta", 0.2, 0.02), make_result("alpha", 0.1, 0.01)]))
    assert head == [
        "Rank", "Model", "Functional", "Follows", "Energy MAE (aligned, meV/atom ↓)", "Energy MAE (raw, meV/atom ↓)",
        "Force MAE (meV/Å ↓)", "Gap explained (aligned, ↑)", "Coverage", "Frames", "Materials",
    ]  # fmt: skip
    assert first == [
        "1", "Alpha", "r2SCAN", "r2SCAN", "100 [90, 110]", "16900 [13800, 20000]", "50.0 [47.5, 52.5]", "0.900 [0.890, 0.910]",
        "100 %", "10", "5",
    ]  # fmt: skip
    assert second[:5] == ["2", "Beta", "r2SCAN", "r2SCAN", "200 [180, 220]"]


def test_every_row_has_as_many_cells_as_the_head(render, make_result, make_floor):
    rows = cells(render([make_result("a"), make_floor("zero")]))
    assert len({len(row) for row in rows}) == 1


def test_floors_are_marked_and_have_no_rank(render, make_result, make_floor):
    rows = cells(render([make_result("alpha", 0.2), make_floor("zero", 0.1)]))
    assert [row[:2] for row in rows[1:]] == [["", "*Zero* (floor)"], ["1", "Alpha"]]


def test_another_functional_is_marked_and_explained(render, make_result):
    text = render([make_result("alpha", model={"functional": "PBE", "declared_match": False})])
    assert cells(text)[1][2] == "PBE ≠"
    assert "≠: declared for another functional than the labels." in text


def test_a_model_that_follows_the_other_functional_is_marked_and_explained(render, make_result):
    text = render([make_result("alpha", identity={"verdict": "GGA", "declared_loses": True})])
    assert cells(text)[1][3] == "GGA ✗"
    assert "✗: its predictions follow the other functional than it declares." in text


def test_the_mark_is_not_explained_where_it_does_not_occur(render, make_result):
    section = render([make_result("alpha")]).partition("## How to read")[0]
    assert "≠" not in section
    assert "✗" not in section


def test_incomplete_results_say_why_they_have_no_rank(render, make_result):
    counts = {"predicted": 9, "failed": 1, "errors": {"boom": 1}}
    rows = cells(render([make_result("alpha"), make_result("beta", 0.01, 0.001, coverage=0.9, counts=counts)]))
    assert rows[2][:2] == ["", "Beta, not ranked: covers 90.0 % of the frames"]
    assert rows[2][-3:] == ["90.0 %", "9", "5"]


def test_a_missing_value_is_a_dash(render, make_result, make_data):
    data = make_data("beta")
    data["metrics"][3] |= {"value": None, "ci_low": None, "ci_high": None, "reason": "no forces"}
    assert cells(render([make_result("alpha"), from_json(data, "")]))[2][6] == "—"


def test_further_metrics_are_counted_not_shown(render, make_data):
    data = make_data()
    data["metrics"].append(
        data["metrics"][3] | {"name": "force_slope", "key": "force_slope", "better": "one", "unit": "1"}
    )
    text = render([from_json(data, "")])
    assert not [head for head in cells(text)[0] if "slope" in head or "RMSE" in head]
    assert "On the page: 2 more metrics." in text


def test_metrics_of_few_materials_are_named_under_the_table(render, make_data):
    data = make_data()
    data["metrics"][3] |= {"n_materials": 2}
    text = render([from_json(data, "")])
    assert not [head for head in cells(text)[0] if head.startswith("Force")]
    assert "listed with each model instead: Force MAE (meV/Å ↓) from 2 materials." in text


def test_suspicions_are_counted_beside_the_name(render, make_result, make_floor):
    rows = cells(render([make_result("alpha", 0.1, notes=["odd"]), make_floor("zero", 0.3, notes=["odd", "odder"])]))
    assert [row[1] for row in rows[1:]] == ["Alpha ⚠ 1 suspicion", "*Zero* (floor) ⚠ 2 suspicions"]


def test_open_ranks_and_overlaps_are_said(render, make_result):
    text = render([make_result("alpha", 0.1, 0.05), make_result("beta", 0.12, 0.05)])
    assert cells(text)[1][0] == "1 (1 to 2)"
    assert "so their order is not established: Alpha and Beta." in text


def test_older_versions_come_under_a_heading_of_their_own(render, make_result):
    old = make_result("alpha", task={"version": 1, "key": "springs@1"})
    text = render([make_result("alpha"), old])
    assert text.index("## Springs (`springs@2`)") < text.index("# Earlier task versions") < text.index("## springs@1")


def test_an_empty_board_says_so():
    text = render_markdown(Board(sections=()))
    assert "No results yet." in text
    assert text.endswith("\n")
    assert not text.endswith("\n\n")


def test_the_reader_is_told_how_to_read(render, make_result):
    text = render([make_result()])
    assert all(f"- **{term}.** {words}" in text for term, words in HOW_TO_READ.items())
    assert "rank differences are not established" in text


def test_hostile_names_stay_in_their_cell(render, make_result, make_card):
    card = make_card("alpha", name="a|b <script>alert(1)</script> [x](http://e.org)")
    text = render([make_result("alpha")], {"alpha": card})
    assert "<script>" not in text
    rows = cells(text)
    assert len(rows[1]) == len(rows[0])
    assert rows[1][1] == "a\\|b &lt;script&gt;alert(1)&lt;/script&gt; \\[x\\](http://e.org)"
