"""Columns: the metrics of a section, their scales and the switches that show them."""

from __future__ import annotations

from xferbench.leaderboard.columns import switchable, table_columns
from xferbench.results import from_json


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


def test_columns_stand_in_the_order_of_the_task(section, make_result):
    keys = [column.metric.key for column in table_columns(section(make_result()))]
    assert keys == ["energy_mae/raw", "energy_mae/aligned", "energy_rmse/aligned", "force_mae", "gap_explained/aligned"]


def test_what_can_be_switched_is_what_there_is_a_choice_of(section, make_result):
    metrics = section(make_result()).columns
    assert switchable(metrics) == (["raw", "aligned"], ["mae", "rmse"])
    assert switchable(metrics[1:2]) == ([], [])
    assert switchable(()) == ([], [])


def test_floors_close_by_are_on_the_scale(section, make_result, make_floor):
    board = section(make_result("alpha", 0.1, 0.01), make_floor("zero", 0.15))
    scale = next(column.scale for column in table_columns(board) if column.metric.main)
    assert scale.covers(0.15)


def test_a_board_of_floors_has_their_scale(section, make_floor):
    scale = next(column.scale for column in table_columns(section(make_floor("zero", 0.3))) if column.metric.main)
    assert scale.covers(0.3)


def test_a_column_without_any_interval_has_a_scale(section, make_data):
    data = make_data()
    data["metrics"][3] |= {"ci_low": None, "ci_high": None, "reason": "one material"}
    scale = next(
        column.scale for column in table_columns(section(from_json(data, ""))) if column.metric.key == "force_mae"
    )
    assert scale.covers(data["metrics"][3]["value"])
