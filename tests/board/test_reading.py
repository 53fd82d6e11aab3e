"""Reading a leaderboard directory, and the line each contradiction gets."""

from __future__ import annotations

import re

import pytest

from xferbench.board.reading import read_board
from xferbench.errors import FormatError, StorageError
from xferbench.results import from_json, write
from xferbench.storage import write_text

OTHER = "sha256:" + "f" * 64


@pytest.fixture
def refused(task_files):
    """``refused(directory, part, …)`` checks that the board is refused with a message that holds every part."""

    def check(directory, *parts):
        with pytest.raises(FormatError) as error:
            read_board(directory, tasks=task_files)
        for part in parts:
            assert part in str(error.value)
        return str(error.value)

    return check


def older(make_result, model, error=0.1):
    """A result of version 1 of the task."""
    return make_result(
        model, error, task={"version": 1, "key": "springs@1", "digest": OTHER}, dataset={"fingerprint": OTHER}
    )


def test_results_are_grouped_by_task_version_and_ranked(lay_out, make_result, task_files):
    board = read_board(lay_out([make_result("beta", 0.2), make_result("alpha", 0.1)]), tasks=task_files)
    (section,) = board.sections
    assert section.key == "springs@2"
    assert section.task.title == "Springs"
    assert section.slug == "springs"
    assert [row.entry.model_id for row in section.ranking.rows] == ["alpha", "beta"]
    assert section.main.key == "energy_mae/aligned"
    assert section.result.dataset.name == "mini"


def test_floors_need_no_card(lay_out, make_floor, task_files):
    assert len(read_board(lay_out([make_floor()]), tasks=task_files).sections) == 1


def test_an_empty_directory_is_an_empty_board(lay_out, task_files):
    board = read_board(lay_out([]), tasks=task_files)
    assert board.sections == board.current == board.earlier == ()


def test_a_card_without_results_is_fine(lay_out, make_card, task_files):
    assert read_board(lay_out([], cards={"alpha": make_card()}), tasks=task_files).sections == ()


def test_older_versions_have_sections_of_their_own(lay_out, make_result, task_files):
    directory = lay_out([make_result("alpha"), older(make_result, "alpha")])
    board = read_board(directory, tasks=task_files)
    assert [section.key for section in board.sections] == ["springs@2", "springs@1"]
    assert [section.key for section in board.current] == ["springs@2"]
    assert [section.key for section in board.earlier] == ["springs@1"]
    assert board.earlier[0].task is None


def test_a_version_below_that_of_the_task_file_is_old_even_without_newer_results(lay_out, make_result, task_files):
    board = read_board(lay_out([older(make_result, "alpha")]), tasks=task_files)
    assert [section.key for section in board.earlier] == ["springs@1"]


def test_a_task_without_a_file_is_shown_by_its_key(lay_out, make_result, tmp_path):
    (tmp_path / "none").mkdir()
    (section,) = read_board(lay_out([make_result()]), tasks=tmp_path / "none").sections
    assert section.task is None
    assert section.current


def test_versions_are_numbers_not_text(lay_out, make_result, tmp_path):
    results = [make_result("alpha", task={"version": n, "key": f"springs@{n}"}) for n in (9, 10)]
    (tmp_path / "none").mkdir()
    board = read_board(lay_out(results), tasks=tmp_path / "none")
    assert [section.version for section in board.sections] == [10, 9]


def test_columns_without_any_value_are_left_out(lay_out, make_data, task_files):
    data = make_data()
    data["metrics"][3] |= {"value": None, "ci_low": None, "ci_high": None, "reason": "no forces"}
    (section,) = read_board(lay_out([from_json(data, "")]), tasks=task_files).sections
    assert "force_mae" in [metric.key for metric in section.metrics]
    assert "force_mae" not in [metric.key for metric in section.columns]


def test_cards_may_lie_elsewhere(lay_out, make_result, make_card, tmp_path, task_files):
    write_text(tmp_path / "cards" / "alpha.toml", make_card(name="Elsewhere"))
    board = read_board(lay_out([make_result()], cards={}), cards=tmp_path / "cards", tasks=task_files)
    assert board.sections[0].ranking.rows[0].entry.name == "Elsewhere"


def test_a_missing_directory_is_named(tmp_path):
    with pytest.raises(StorageError, match=re.escape(f"there is no leaderboard directory at {tmp_path / 'board'}")):
        read_board(tmp_path / "board")


def test_a_result_without_a_card_is_shown_and_named(lay_out, make_result, task_files):
    directory = lay_out([make_result("alpha"), make_result("floor-zero", model={"kind": "floor"})], cards={})
    assert read_board(directory, tasks=task_files).without_card == ("alpha",)


def test_a_broken_card_does_not_look_like_a_missing_one(lay_out, make_result, refused):
    message = refused(lay_out([make_result("alpha")], cards={"alpha": "x = 1"}), "unknown key x")
    assert "has no card" not in message


def test_a_card_must_agree_with_what_the_model_declared(lay_out, make_result, make_card, refused):
    directory = lay_out([make_result("alpha")], cards={"alpha": make_card(functional="PBE")})
    refused(directory, "alpha.json: the model declared r2SCAN, its card says PBE; correct one of them")


def test_trials_are_refused(lay_out, make_result, refused):
    directory = lay_out([make_result("alpha", counts={"limit": 10})])
    refused(directory, "is a trial on 10 frames; score again without --limit")


def test_a_result_in_the_wrong_task_directory_is_refused(lay_out, make_result, refused):
    directory = lay_out([make_result("alpha")])
    (directory / "results" / "springs@2").rename(directory / "results" / "springs@3")
    refused(directory, "holds a result of task 'springs@2'; move it to results/<task-id>@<version>/")


def test_a_result_under_another_models_name_is_refused(lay_out, make_result, refused):
    directory = lay_out([make_result("alpha")])
    place = directory / "results" / "springs@2"
    (place / "alpha.json").rename(place / "beta.json")
    refused(directory, "beta.json: holds a result of model 'alpha'; name it <model-id>.json")


@pytest.mark.parametrize("model", ["Alpha", "a b", '"><script>', "a_b"])
def test_model_ids_that_are_not_names_are_refused(lay_out, make_floor, refused, model):
    refused(lay_out([make_floor(model)]), f"holds a result of model {model!r}")


def test_task_ids_that_are_not_names_are_refused(lay_out, make_floor, refused):
    result = make_floor("zero", task={"id": '"><b>', "key": '"><b>@2'})
    refused(lay_out([result]), "holds a result of task")


def test_results_on_different_data_are_refused_and_told_apart(lay_out, make_result, refused):
    directory = lay_out([make_result("alpha"), make_result("beta", dataset={"fingerprint": OTHER})])
    refused(
        directory, "results/springs@2: results differ in data of fingerprint: sha256:a", "(alpha)", f"{OTHER} (beta)"
    )


def test_results_of_different_tasks_are_refused(lay_out, make_result, refused):
    directory = lay_out([make_result("alpha"), make_result("beta", task={"digest": OTHER})])
    refused(directory, "results differ in the task")


def test_results_with_different_numbers_of_frames_are_refused(lay_out, make_result, refused):
    directory = lay_out([make_result("alpha"), make_result("beta", counts={"frames": 9, "predicted": 9})])
    refused(directory, "results differ in the number of frames: 10 (alpha), 9 (beta)")


def test_results_ranked_by_different_metrics_are_refused(lay_out, make_result, make_data, refused):
    data = make_data("beta")
    for metric in data["metrics"]:
        metric["main"] = metric["name"] == "force_mae"
    refused(lay_out([make_result("alpha"), from_json(data, "")]), "results differ in the main metric")


def test_results_on_other_data_than_the_task_defines_are_refused(lay_out, make_result, refused):
    directory = lay_out([make_result("alpha", dataset={"fingerprint": OTHER})])
    refused(directory, f"scored on data {OTHER}, the task is defined on sha256:aaa")


def test_units_that_no_table_knows_are_refused(lay_out, make_data, refused):
    data = make_data()
    data["metrics"][3]["unit"] = "kcal/mol"
    refused(lay_out([from_json(data, "")]), "unknown units kcal/mol; known: eV/atom")


def test_elements_that_do_not_exist_are_refused(lay_out, make_data, refused):
    data = make_data()
    data["per_element"][0]["element"] = "Xx"
    refused(lay_out([from_json(data, "")]), "per_element names unknown elements: Xx")


def test_truncated_and_foreign_files_are_named(lay_out, make_result, refused):
    directory = lay_out([make_result("alpha")])
    write_text(directory / "results" / "springs@2" / "beta.json", '{"schema": 1, ')
    write_text(directory / "results" / "springs@2" / "gamma.json", '{"schema": 9}')
    refused(directory, "beta.json is not valid JSON", "gamma.json: a result of schema 2 is wanted, not 9")


def test_every_problem_is_told_at_once(lay_out, make_result, make_card, refused):
    results = [make_result("alpha", counts={"limit": 10}), make_result("beta"), make_result("gamma")]
    directory = lay_out(results, cards={"alpha": make_card("alpha"), "gamma": make_card("gamma", functional="PBE")})
    message = refused(directory, "is a trial", "its card says PBE")
    assert len(message.splitlines()) == 2


def test_files_that_are_not_results_are_left_alone(lay_out, make_result, task_files):
    directory = lay_out([make_result("alpha")])
    write_text(directory / "results" / "springs@2" / "notes.txt", "hello")
    write_text(directory / "results" / "README.md", "hello")
    assert len(read_board(directory, tasks=task_files).sections[0].ranking.rows) == 1


def test_a_broken_task_file_stops_the_build(lay_out, make_result, task_files):
    write_text(task_files / "springs.toml", "id = 1")
    with pytest.raises(FormatError, match="id must be text"):
        read_board(lay_out([make_result()]), tasks=task_files)


def test_an_unreadable_result_is_a_storage_error(lay_out, make_result, task_files):
    directory = lay_out([make_result()])
    (directory / "results" / "springs@2" / "beta.json").mkdir()
    with pytest.raises(StorageError, match=r"cannot read .*beta\.json"):
        read_board(directory, tasks=task_files)


def test_writing_a_result_and_reading_the_board_gives_it_back(lay_out, make_result, task_files):
    result = make_result("alpha")
    directory = lay_out([result])
    write(directory / "results" / "springs@2" / "alpha.json", result)
    assert read_board(directory, tasks=task_files).sections[0].result == result
