"""``xferbench compare`` on the embedded data: every way to name a model, the table, the JSON, and what is refused."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from click.testing import CliRunner

from xferbench import compare, score
from xferbench.api import comparing
from xferbench.cli import main
from xferbench.dataset import Dataset, locate
from xferbench.errors import DataError, FormatError, UnknownNameError, UsageError
from xferbench.records import Prediction, Predictions
from xferbench.scoring import expected_frames
from xferbench.tables import predictions_table, write_table
from xferbench.tasks import load_task

TASK = load_task("mini-static")


def predictions(cache, scale, seed):
    """Labels with errors of that scale."""
    stream = np.random.default_rng(seed)
    return Predictions(
        records=[
            Prediction(
                frame_id=frame.frame_id,
                energy=frame.energy + frame.n_atoms * scale * stream.normal(),
                forces=frame.forces + scale * stream.normal(size=frame.forces.shape),
            )
            for frame in expected_frames(TASK, Dataset.open(locate("mini", cache))).frames
        ],
        settings={},
    )


@pytest.fixture(scope="module")
def board(cache, tmp_path_factory):
    """A directory with results of two models of known quality, and of the floors."""
    out = tmp_path_factory.mktemp("board")
    for number, (name, scale) in enumerate([("fine", 0.001), ("coarse", 0.05)]):
        path = out / f"{name}.parquet"
        write_table(path, predictions_table(predictions(cache, scale, number)))
        score(str(path), functional="r2SCAN", out=out, cache_dir=cache)
    return out


@pytest.fixture
def run(board, cache):
    def inner(*models, **options):
        return compare(models, out=board, cache_dir=cache, **options)

    return inner


def test_ids_files_and_floors_name_the_same_models(run, board):
    results = board / "results" / TASK.key
    by_id = run("fine", "coarse", "floor-ridge")
    for models in (
        ("fine", "coarse", "floor:ridge"),
        (str(board / "fine.parquet"), str(results / "coarse.json"), str(results / "floor-ridge.json")),
    ):
        assert run(*models).to_json() == by_id.to_json()


def test_a_built_in_model_may_be_named_with_a_colon(board, cache):
    with pytest.raises(UnknownNameError, match="'chgnet-r2scan'; known: "):
        compare(["fine", "chgnet:r2scan"], out=board, cache_dir=cache)


def test_models_of_very_different_quality_do_not_tie(run):
    first, second, _ = run("coarse", "fine", "floor:ridge").compared.comparison.standings
    assert (first.name, first.best, first.worst) == ("fine", 1, 1)
    assert (second.name, second.best, second.worst) == ("coarse", 2, 2)


def test_a_model_ties_with_itself_under_another_name(run, board, tmp_path):
    twin = tmp_path / "twin.parquet"
    twin.write_bytes((board / "fine.parquet").read_bytes())
    (difference,) = run("fine", str(twin)).compared.comparison.differences
    assert (difference.value, difference.p_value) == (0.0, 1.0)


def test_any_metric_of_the_task_can_be_asked_for(run):
    assert run("fine", "coarse", metric="force_rmse").to_json()["metric"] == "force_rmse"
    assert run("fine", "coarse").to_json()["metric"] == TASK.main


def test_the_table_says_what_it_rests_on_and_what_it_leaves_out(run):
    text = str(run("fine", "coarse", "floor:ridge"))
    assert "energy_mae/aligned in meV/atom on mini-static@" in text
    assert "fine − coarse" in text
    assert "training seeds" in text
    assert "materials on which every model has a value" in text
    assert all(len(line) <= 110 for line in text.splitlines())


def test_few_materials_and_many_pairs_are_owned_up_to(run):
    report = run("fine", "coarse")
    assert "Compare fewer models" not in str(report)
    comparison = dataclasses.replace(report.compared.comparison, smallest_p=0.2)
    report = dataclasses.replace(report, compared=dataclasses.replace(report.compared, comparison=comparison))
    assert "no p-value can fall below 0.2" in " ".join(str(report).split())
    assert report.to_json()["resolved"] is False


def test_many_groups_have_names():
    assert [comparing._letter(i) for i in (0, 25, 26)] == ["a", "z", "(27)"]


def test_the_command_prints_the_table_or_json(board, cache):
    arguments = ["compare", "fine", "coarse", "--out", str(board), "--cache-dir", str(cache)]
    text = CliRunner().invoke(main, arguments)
    assert text.exit_code == 0, text.output
    assert "fine − coarse" in text.stdout
    plain = json.loads(CliRunner().invoke(main, [*arguments, "--json", "-m", "force_mae"]).stdout)
    assert plain["unit"] == "eV/Å"
    assert plain["differences"][0]["first"] == "fine"
    assert plain["scope"]


@pytest.mark.parametrize(
    ("models", "error", "message"),
    [
        (["fine"], UsageError, "two models at least"),
        (["fine", "fine"], UsageError, "fine is named twice"),
        (["fine", "corse"], UnknownNameError, "did you mean 'coarse'"),
        (["fine", "floor:rigde"], UnknownNameError, "did you mean 'ridge'"),
    ],
)
def test_what_cannot_be_compared_is_said(run, models, error, message):
    with pytest.raises(error, match=message):
        run(*models)


def test_results_of_another_task_are_refused(run, board, cache):
    score("floor:ridge", task="mini-static-pbe", out=board, cache_dir=cache)
    other = load_task("mini-static-pbe").key
    with pytest.raises(UsageError, match=f"is of {other}, not {TASK.key}"):
        run("fine", str(board / "results" / other / "floor-ridge.json"))


def test_predictions_that_no_longer_belong_to_their_result_are_refused(board, cache, tmp_path):
    import shutil

    copy = tmp_path / "board"
    shutil.copytree(board, copy)
    write_table(copy / "predictions" / TASK.key / "fine.parquet", predictions_table(predictions(cache, 0.001, 9)))
    with pytest.raises(FormatError, match=r"is not what .* was made from"):
        compare(["fine", "coarse"], out=copy, cache_dir=cache)


@pytest.mark.parametrize(
    ("models", "metric", "message"),
    [
        (("fine", "floor:zero"), None, "floor:zero has no energy_mae/aligned: the model predicts no energy"),
        (("fine", "floor:ridge"), "force_mae", "floor:ridge has no force_mae: the model predicts no forces"),
        (("fine", "coarse"), "force_error_max", "resampling materials says nothing about it"),
    ],
)
def test_a_metric_that_gives_no_comparison_is_said_with_the_reason(run, models, metric, message):
    with pytest.raises(DataError, match=message):
        run(*models, metric=metric)


def test_a_metric_that_the_task_lacks_suggests_the_near_one(run):
    with pytest.raises(UnknownNameError, match="did you mean 'force_mae'"):
        run("fine", "coarse", metric="force_mea")


def test_the_order_of_names_turns_nothing_but_the_sign(run):
    (there,) = run("fine", "coarse").compared.comparison.differences
    (back,) = run("coarse", "fine").compared.comparison.differences
    assert abs(there.value) == pytest.approx(abs(back.value))
    assert there.p_value == pytest.approx(back.p_value)


def test_frames_on_which_one_model_failed_are_left_out_for_all_and_counted(run, cache, tmp_path):
    whole = predictions(cache, 0.001, 3)
    test = [frame.frame_id for frame in expected_frames(TASK, Dataset.open(locate("mini", cache))).test_frames][:3]
    records = [
        Prediction(frame_id=record.frame_id, error="gave up") if record.frame_id in test else record
        for record in whole.records
    ]
    write_table(tmp_path / "shy.parquet", predictions_table(Predictions(records=records, settings={})))
    report = run("fine", "coarse", str(tmp_path / "shy.parquet"))
    assert report.compared.n_left_out == {"fine": 3, "coarse": 3, "shy": 0}
    assert report.compared.n_frames == run("fine", "coarse").compared.n_frames - 3
    text = str(report)
    assert "left out: 3 frames of fine" in text
    assert "frames of shy" not in text


def test_another_data_set_than_the_task_pins_is_refused(board, synthetic_dataset):
    with pytest.raises(DataError):
        compare(["fine", "coarse"], out=board, dataset=str(synthetic_dataset.directory))
