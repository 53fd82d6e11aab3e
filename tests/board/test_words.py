"""Words that the renderers share."""

from __future__ import annotations

import typing
from dataclasses import replace

import pytest

from xferbench.board.cards import Transfer, read_card
from xferbench.board.reading import Board, read_board
from xferbench.board.words import (
    STRATEGIES,
    audit_sentence,
    empty_sentence,
    facts,
    full_label,
    is_minor,
    label,
    not_audited,
    order_sentence,
    plural,
    prose,
    seen,
    state,
    statistic,
    subject,
    suspicions,
    thin_sentence,
    unit_arrow,
)
from xferbench.measure import METRICS
from xferbench.results import from_json
from xferbench.storage import write_text
from xferbench.tasks import load_task


@pytest.fixture
def section(lay_out, make_result, task_files):
    """The one section of a board with one result."""
    return read_board(lay_out([make_result()]), tasks=task_files).sections[0]


@pytest.mark.parametrize(
    ("key", "short", "full"),
    [
        ("energy_mae/aligned", "Energy MAE", "Energy MAE (aligned, meV/atom ↓)"),
        ("energy_rmse/aligned", "Energy RMSE", "Energy RMSE (aligned, meV/atom ↓)"),
        ("force_mae", "Force MAE", "Force MAE (meV/Å ↓)"),
        ("gap_explained/aligned", "Gap explained", "Gap explained (aligned, ↑)"),
    ],
)
def test_metrics_are_named_in_words(make_result, key, short, full):
    metric = make_result().metric(key)
    assert label(metric) == short
    assert full_label(metric) == full


@pytest.mark.parametrize(
    ("key", "name"), [("energy_mae/aligned", "mae"), ("energy_rmse/aligned", "rmse"), ("gap_explained/aligned", "")]
)
def test_the_statistic_of_a_metric(make_result, key, name):
    assert statistic(make_result().metric(key)) == name


def test_every_metric_of_the_suite_has_a_readable_name(make_data):
    data = make_data()
    for name in METRICS:
        data["metrics"][3] |= {"name": name, "key": name}
        text = label(from_json(data, "").metrics[3])
        assert "_" not in text
        assert text[0].isupper()


def test_every_transfer_method_of_a_card_has_words():
    assert set(STRATEGIES) == set(typing.get_args(typing.get_type_hints(Transfer)["strategy"]))


def test_an_untested_order_is_called_untested(lay_out, make_result, task_files):
    (section,) = read_board(lay_out([make_result("a"), make_result("b", 0.3)]), tasks=task_files).sections
    assert order_sentence(section).startswith("The order is by value alone and not tested: ")
    assert order_sentence(section.tested(None, "no data")).endswith("not tested: no data.")


def test_tests_are_counted_with_their_family(lay_out, make_result, make_tests, task_files):
    (section,) = read_board(lay_out([make_result("a"), make_result("b", 0.3)]), tasks=task_files).sections
    standings = [("a", 1, 1, "a"), ("b", 2, 2, "b")]
    sure = section.tested(make_tests(standings, significant={("a", "b")}))
    assert "tell 1 of 1 tested pair of models apart (95 %, 3 pairs, Holm)" in order_sentence(sure)
    assert "tell no two models apart" in order_sentence(section.tested(make_tests(standings)))


def test_one_model_needs_no_order(section):
    assert order_sentence(section) == ""


def test_a_row_is_re_scored_only_where_its_predictions_gave_its_value_again(
    lay_out, make_result, make_floor, make_tests, task_files
):
    results = [make_result("a"), make_result("b", 0.2), make_floor("zero")]
    (section,) = read_board(lay_out(results), tasks=task_files).sections
    states = lambda section: [state(section, row.entry) for row in section.ranking.rows]  # noqa: E731
    assert states(section) == ["self-reported", "self-reported", "computed"]
    assert states(section.tested(make_tests([("a", 1, 2, "a"), ("b", 1, 2, "a")]))) == [
        "re-scored",
        "re-scored",
        "computed",
    ]


def test_prose_writes_the_functional_one_way_in_one_line():
    assert prose("r2SCAN and\n r²SCAN ") == "r²SCAN and r²SCAN"


def test_metrics_without_values_are_named_with_the_reason(lay_out, make_data, task_files):
    data = make_data()
    for k in (2, 3):
        data["metrics"][k] |= {"value": None, "ci_low": None, "ci_high": None, "reason": "no labels"}
    (section,) = read_board(lay_out([from_json(data, "")]), tasks=task_files).sections
    expected = "No result has a value of Energy RMSE (aligned, meV/atom ↓), Force MAE (meV/Å ↓): no labels."
    assert empty_sentence(section) == expected


def test_nothing_is_said_when_all_metrics_have_values(section):
    assert empty_sentence(section) == ""


def test_metrics_of_few_materials_are_named_with_their_count(lay_out, make_data, task_files):
    data = make_data()
    data["metrics"][2] |= {"n_materials": 4}
    data["metrics"][3] |= {"n_materials": 1}
    (section,) = read_board(lay_out([from_json(data, "")]), tasks=task_files).sections
    assert thin_sentence(section) == (
        "Too few materials to compare models by, listed with each model instead: "
        "Energy RMSE (aligned, meV/atom ↓) from 4 materials, Force MAE (meV/Å ↓) from 1 material."
    )
    assert empty_sentence(section) == ""


def test_nothing_is_said_when_no_metric_has_few_materials(section):
    assert thin_sentence(section) == ""


def test_what_training_has_seen_is_counted_where_it_was_audited(audited_result, make_result):
    assert seen(audited_result) == "4 of 10 test pairs seen in training"
    assert seen(make_result()) == ""


def test_a_model_without_audit_is_not_called_clean(make_result, make_card, tmp_path):
    write_text(tmp_path / "alpha.toml", make_card("alpha"))
    card = read_card(tmp_path / "alpha.toml")
    on_mptrj, elsewhere = (replace(card, training_sets=sets) for sets in (("MPtrj",), ("mine",)))
    assert not_audited(make_result(), on_mptrj) == "not audited; structures of the same compositions are in MPtrj"
    assert not_audited(make_result(), elsewhere) == not_audited(make_result(), None) == "not audited"


def test_models_without_audit_are_named(lay_out, make_result, make_floor, audited_result, task_files):
    results = [make_result("beta"), make_result("gamma"), make_floor("zero", 0.3), audited_result]
    (section,) = read_board(lay_out(results), tasks=task_files).sections
    assert audit_sentence(section) == "Training sets of Beta, Gamma: not audited."


def test_suspicions_are_counted(make_result):
    assert suspicions(make_result()) == ""
    assert suspicions(make_result(notes=["a"])) == "⚠ 1 suspicion"
    assert suspicions(make_result(notes=["a", "b"])) == "⚠ 2 suspicions"


@pytest.mark.parametrize(("count", "text"), [(0, "0 frames"), (1, "1 frame"), (2, "2 frames")])
def test_nouns_follow_their_count(count, text):
    assert plural(count, "frame") == text


def test_a_first_look_needs_errors_and_the_metric_that_ranks(make_result):
    result = make_result()
    slope = replace(result.metrics[3], name="force_slope", key="force_slope")
    assert not any(map(is_minor, result.metrics))
    assert is_minor(slope)
    assert not is_minor(replace(slope, main=True))
    assert is_minor(replace(result.metrics[3], name="gap_mae", key="gap_mae"))


def test_facts_tell_what_is_measured_on_what(section):
    assert dict(facts(section)) == {
        "Task": "springs@2",
        "Labels": "r²SCAN",
        "Data": "mini 1, test split",
        "Scored on": "10 frames of 5 materials",
        "Ranked by": "Energy MAE (aligned, meV/atom ↓)",
        "Intervals": "95 %, 1000 bootstrap draws of whole materials",
        "Offsets fitted on": "train split, 30 frames",
    }
    assert subject(section) == "Springs"


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        ({"hubbard_u": 3, "spin_flip": 1, "isolated_atom": 0}, "3 pairs: hubbard u (3), spin flip (1)"),
        ({"hubbard_u": 0, "spin_flip": 0}, "no pair is flagged: hubbard u, spin flip"),
    ],
)
def test_pairs_that_the_task_excludes_are_counted_by_flag(lay_out, make_result, task_files, flags, text):
    result = make_result(excluded={"flags": flags, "pairs": max(flags.values())})
    (section,) = read_board(lay_out([result]), tasks=task_files).sections
    assert dict(facts(section))["Left out by the task"] == text


def test_without_the_task_file_only_the_results_are_quoted(lay_out, make_result, tmp_path):
    (tmp_path / "none").mkdir()
    (section,) = read_board(lay_out([make_result()]), tasks=tmp_path / "none").sections
    assert list(dict(facts(section))) == ["Task", "Data", "Scored on", "Ranked by"]
    assert subject(section) == "springs@2"


def test_the_tasks_of_the_suite_have_facts_too():
    assert load_task("mini-static").bootstrap.confidence == pytest.approx(0.95)
    assert Board(sections=()).current == ()


def test_an_arrow_points_to_what_is_better(make_result):
    metric = make_result().metrics[-1]
    shown = [unit_arrow(replace(metric, better=better)) for better in ("lower", "higher", "one")]
    assert shown == ["↓", "↑", "→ 1"]
