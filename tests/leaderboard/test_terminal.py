"""The table for a terminal."""

from __future__ import annotations

from dataclasses import replace

import pytest

from xferbench.leaderboard.terminal import WIDTH, terminal_table
from xferbench.results import from_json


@pytest.fixture
def table(springs):
    """``table(*results)`` -> lines."""
    return lambda *results: terminal_table(results, springs).splitlines()


def test_the_whole_table_of_a_small_task(table, make_result, make_floor):
    mismatched = make_result("beta", 0.2, 0.02, model={"functional": "PBE+U", "declared_match": False})
    assert table(mismatched, make_result("alpha", 0.1, 0.01), make_floor("zero", 0.15)) == [
        "Springs (springs@2): r2SCAN labels, test split",
        "",
        "#  model  made for  Energy MAE      Force MAE            Gap explained",
        "                    meV/atom ↓      meV/Å ↓              ↑",
        "1  Alpha  r2SCAN    100 [90, 110]    50.0 [47.5, 52.5]   0.900 [0.890, 0.910]",
        "·  Zero   r2SCAN    150 [124, 176]   75.0 [68.5, 81.5]   0.850 [0.824, 0.876]",
        "2  Beta   PBE+U ≠   200 [180, 220]  100.0 [95.0, 105.0]  0.800 [0.780, 0.820]",
        "",
        "ranked by Energy MAE (aligned, meV/atom ↓)",
        "10 frames of 5 materials; [ ] holds the 95 % interval",
        "· floor: a baseline without a potential, not ranked",
        "≠ made for another functional than the labels",
        "No two models have overlapping intervals on the main metric.",
        "2 more metrics are in the result file",
    ]


def test_a_model_that_follows_the_other_functional_is_marked_and_explained(table, make_result):
    lines = table(make_result("alpha", identity={"verdict": "GGA", "declared_loses": True}), make_result("beta"))
    assert sum("r2SCAN ✗" in line for line in lines) == 1
    assert "✗ its predictions follow the other functional than it declares" in lines


def test_lines_fit_a_terminal_whatever_the_names_and_numbers(table, make_result, make_floor):
    long = {"name": "An extraordinarily long name of a model that nobody can remember"}
    results = [make_result(f"m{k}", 0.1234 + 7 * k, 0.00123, model=long) for k in range(6)]
    lines = table(*results, make_floor("zero", model={"kind": "floor", **long}))
    assert max(map(len, lines)) <= WIDTH
    assert any("…" in line for line in lines)


def test_no_line_ends_in_blanks(table, make_result):
    assert all(line == line.rstrip() for line in table(make_result()))


def test_the_main_metric_is_always_shown_and_the_rest_is_counted(table, make_result, make_data):
    data = make_data()
    for k in range(12):
        data["metrics"].append({**data["metrics"][3], "name": f"force{k}_mae", "key": f"force{k}_mae"})
    lines = table(from_json(data, ""))
    assert "Energy MAE" in lines[2]
    left = int(next(line for line in lines if "more metrics" in line).split()[0])
    assert lines[2].count("MAE") + lines[2].count("explained") == 17 - left


def test_columns_are_aligned(table, make_result):
    lines = table(make_result("alpha", 0.1, 0.01), make_result("beta", 1.2, 0.1))
    assert len({line.index("[") for line in lines[4:6]}) == 1


def test_incomplete_results_stand_below_without_a_rank(table, make_result):
    counts = {"predicted": 9, "failed": 1, "errors": {"boom": 1}}
    lines = table(make_result("alpha", 0.2), make_result("beta", 0.1, 0.01, coverage=0.9, counts=counts))
    assert lines[4].startswith("1  Alpha")
    assert lines[5].startswith("—  Beta")
    assert "— Beta: not ranked, covers 90.0 % of the frames" in lines


def test_trials_are_shown_and_called_trials(table, make_result):
    lines = table(make_result("alpha", counts={"limit": 10}))
    assert "a trial on some of the frames (--limit): compares with no other result" in lines


def test_a_column_without_values_is_left_out(table, make_data):
    data = make_data()
    data["metrics"][3] |= {"value": None, "ci_low": None, "ci_high": None, "reason": "no forces"}
    lines = table(from_json(data, ""))
    assert "Force MAE" not in lines[2]
    assert "3 more metrics are in the result file" in lines


def test_metrics_of_few_materials_are_no_columns(table, make_data):
    data = make_data()
    data["metrics"][3] |= {"n_materials": 4}
    assert "Force MAE" not in table(from_json(data, ""))[2]
    data["metrics"][3] |= {"n_materials": 5}
    assert "Force MAE" in table(from_json(data, ""))[2]


def test_a_main_metric_without_a_value_is_a_dash_and_explained(table, make_data, main_changed, make_result):
    data = main_changed(make_data("zero"), value=None, ci_low=None, ci_high=None, reason="no energy")
    lines = table(make_result("alpha"), from_json(data, ""))
    assert "— Zero: not ranked, no value of the main metric: no energy" in lines


def test_control_characters_in_names_do_not_reach_the_terminal(table, make_result):
    text = "\n".join(table(make_result("alpha", model={"name": "a\x1b[31mb\nc"})))
    assert "\x1b" not in text
    assert "a?[31mb?c" in text


def test_overlap_is_said(table, make_result):
    lines = table(make_result("alpha", 0.1, 0.05), make_result("beta", 0.12, 0.05))
    assert "The intervals of these models overlap, so their order is not established: Alpha and Beta." in lines


def test_an_audited_model_has_its_clean_score_below_the_table(table, audited_result):
    lines = " ".join(table(audited_result))
    assert "Alpha: 4 of 10 test pairs seen in training; over the 6 clean frames Energy MAE (aligned" in lines
    assert "200 [150, 250] meV/atom" in lines


def test_an_audit_of_counts_says_why_there_is_no_clean_score(table, audited_result):
    none = replace(audited_result.overlap, clean=(), n_clean=None, reason="counts only")
    lines = " ".join(table(replace(audited_result, overlap=none)))
    assert "4 of 10 test pairs seen in training; no clean scores: counts only" in lines


def test_no_results_give_a_line_not_an_error(table):
    assert table() == ["Springs (springs@2): r2SCAN labels, test split", "", "no results yet"]


def test_results_of_another_task_version_are_a_mistake_of_the_caller(table, make_result):
    with pytest.raises(ValueError, match=r"not of springs@2: alpha \(springs@1\)"):
        table(make_result("alpha", task={"version": 1, "key": "springs@1"}))


def test_the_order_of_results_is_irrelevant(table, make_result):
    results = [make_result("alpha", 0.2), make_result("beta", 0.1)]
    assert table(*results) == table(*reversed(results))
