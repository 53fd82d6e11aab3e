from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from xferbench import board, rescore, score, verify
from xferbench.errors import DataError, FormatError, StorageError
from xferbench.tasks import load_task, tasks_directory

TASK = load_task("mini-static")
CARD = """
model_id = "lennard-jones"
model_name = "Lennard-Jones"
model_version = "1"
functional = "r2SCAN"
authors = ["J. Lennard-Jones"]
training_sets = ["none"]
outputs = ["energy", "forces", "stress"]
conservative = true
citation = "@article{lj, year = 1924}"
[license]
code = "MIT"
checkpoint = "none"
"""


@pytest.fixture(scope="module")
def made(cache, tmp_path_factory):
    """A tree as in a checkout: tasks, and a board with a card, results and what is generated from them."""
    root = tmp_path_factory.mktemp("tree")
    shutil.copytree(tasks_directory(), root / "tasks")
    model = root / "lennard_jones.py"
    model.write_text(
        "from ase.calculators.lj import LennardJones\n\nFUNCTIONAL = 'r2SCAN'\n"
        "calculator = LennardJones(sigma=1.8, epsilon=0.2, rc=6.0, smooth=True)\n"
    )
    card = root / "leaderboard/models/lennard-jones.toml"
    card.parent.mkdir(parents=True)
    card.write_text(CARD)
    score(str(model), out=root / "leaderboard", cache_dir=cache)
    board.build(root / "leaderboard")
    return root


@pytest.fixture
def tree(made, tmp_path, cache, monkeypatch):
    monkeypatch.setenv("XFERBENCH_CACHE", str(cache))
    return Path(shutil.copytree(made, tmp_path / "tree"))


def only_problem(tree):
    problems = verify(tree).problems
    assert len(problems) == 1, problems
    return problems[0]


def test_a_sound_tree_has_no_problems_and_its_results_are_repeated(tree):
    report = verify(tree)
    lines, problems = report.lines, report.problems
    assert problems == []
    text = "\n".join(lines)
    assert "mini-static@1" in text
    assert text.count("scored again with the same numbers") == 5
    assert "README.md and the pages are what the results give" in text


def test_a_board_alone_can_be_checked(tree):
    assert verify(tree / "leaderboard").problems == []


def test_one_model_can_be_checked_alone(tree):
    lines = verify(tree, model="lennard-jones").lines
    assert len(lines) == 2
    assert all("lennard-jones" in line for line in lines)
    with pytest.raises(StorageError, match="neither a card nor a result of nobody"):
        verify(tree, model="nobody")
    path = tree / "leaderboard/results" / TASK.key / "lennard-jones.json"
    path.write_text(path.read_text().replace('"n_frames": 3', '"n_frames": 4', 1))
    assert len(verify(tree, model="lennard-jones").problems) == 1


def test_a_changed_number_is_found(tree):
    path = tree / "leaderboard/results" / TASK.key / "lennard-jones.json"
    result = json.loads(path.read_text())
    next(entry for entry in result["metrics"] if entry["key"] == "force_mae")["value"] *= 1.001
    path.write_text(json.dumps(result))
    board.build(tree / "leaderboard")
    assert "scoring its predictions again gives other values of metrics[" in only_problem(tree)


def test_a_changed_floor_is_found(tree):
    path = tree / "leaderboard/results" / TASK.key / "floor-ridge.json"
    path.write_text(path.read_text().replace('"n_frames": 3', '"n_frames": 4', 1))
    board.build(tree / "leaderboard")
    assert "floor-ridge.json" in only_problem(tree)


def test_a_damaged_result_is_found(tree):
    path = tree / "leaderboard/results" / TASK.key / "lennard-jones.json"
    path.write_text(path.read_text()[:-100])
    problems = verify(tree).problems
    assert any("not valid JSON" in problem for problem in problems)


def test_predictions_that_are_not_stored_are_said(tree):
    (tree / "leaderboard/predictions" / TASK.key / "lennard-jones.parquet").unlink()
    board.build(tree / "leaderboard")
    assert (
        f"self-reported: its predictions are not stored, so nobody can score them again; add predictions/{TASK.key}/"
        "lennard-jones.parquet, or allow such rows with --allow-self-reported"
    ) in only_problem(tree)
    report = verify(tree, allow_self_reported=True)
    assert report.problems == []
    (line,) = (line for line in report.lines if "self-reported" in line)
    assert line.startswith("read ")


def test_words_of_a_card_and_a_task_break_nothing(tree):
    """A DOI in a card, another display name, a comma in a description."""
    card, task = tree / "leaderboard/models/lennard-jones.toml", tree / "tasks/mini-static.toml"
    card.write_text(re.sub('model_name = "[^"]*"', 'model_name = "LJ, 10.1000/1"', card.read_text()))
    task.write_text(task.read_text().replace('description = """\n', 'description = """\nWell, '))
    board.build(tree / "leaderboard")
    assert "LJ, 10.1000/1" in (tree / "leaderboard/index.html").read_text()
    assert verify(tree).problems == []


def test_a_board_of_other_metrics_is_brought_up_to_date_and_a_sound_one_left_alone(tree):
    results = tree / "leaderboard/results" / TASK.key
    path, before = results / "lennard-jones.json", {item: item.read_bytes() for item in results.iterdir()}
    same = rescore(tree / "leaderboard")
    assert (len(same.same), dict(same.moved), dict(same.left)) == (5, {}, {})
    old = json.loads(path.read_text())
    old["schema"], old["metrics"] = 1, [item for item in old["metrics"] if item["key"] != "force_mae"]
    next(item for item in old["metrics"] if item["key"] == "stress_mae")["value"] *= 2
    path.write_text(json.dumps(old))
    assert "bring the board up to date with `xferbench rescore`" in verify(tree).problems[0]
    tried = rescore(tree / "leaderboard", dry_run=True)
    assert json.loads(path.read_text()) == old
    done = rescore(tree / "leaderboard")
    assert done == tried
    [texts] = done.moved.values()
    assert [text.partition(":")[0] for text in texts] == ["force_mae", "stress_mae", "also schema"]
    assert {item: item.read_bytes() for item in results.iterdir()} == before


def test_what_moves_beside_the_metrics_is_said(tree):
    path = tree / "leaderboard/results" / TASK.key / "lennard-jones.json"
    old = json.loads(path.read_text())
    old["alignment"]["condition"] *= 2
    path.write_text(json.dumps(old))
    report = rescore(tree / "leaderboard")
    assert report.moved == {str(path): ("also alignment",)}
    assert f"moved  {path}: also alignment" in str(report)


def test_a_file_that_is_no_result_is_named(tree):
    path = tree / "leaderboard/results" / TASK.key / "lennard-jones.json"
    path.write_text('{"schema": 1}')
    with pytest.raises(
        FormatError, match=r"lennard-jones.json is no result: KeyError\('model'\); score the model again"
    ):
        rescore(tree / "leaderboard")


def test_nothing_is_rescored_before_everything_can_be(tree):
    results, predictions = (tree / "leaderboard" / part / TASK.key for part in ("results", "predictions"))
    for path in results.iterdir():
        path.write_text(path.read_text().replace('"schema": 2', '"schema": 1'))
    before = {item: item.read_bytes() for item in results.iterdir()}
    (predictions / "lennard-jones.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError):
        rescore(tree / "leaderboard")
    assert {item: item.read_bytes() for item in results.iterdir()} == before
    (predictions / "lennard-jones.parquet").unlink()
    assert list(rescore(tree / "leaderboard").left.values()) == ["its predictions are not stored"]


def test_a_model_without_a_card_is_found(tree):
    (tree / "leaderboard/models/lennard-jones.toml").unlink()
    problems = verify(tree).problems
    assert any("no card for lennard-jones; write models/<model-id>.toml" in problem for problem in problems)


def test_a_stale_page_is_found(tree):
    page = tree / "leaderboard/index.html"
    page.write_text(page.read_text() + " ")
    assert "index.html are not what the results give; run `xferbench leaderboard build" in only_problem(tree)


def test_a_task_with_another_fingerprint_is_found(tree):
    path = tree / "tasks/mini-static.toml"
    path.write_text(path.read_text().replace(TASK.fingerprint, "sha256:" + "0" * 64))
    problems = verify(tree).problems
    assert any("but data set mini has" in problem for problem in problems)


def test_a_broken_task_is_found(tree):
    path = tree / "tasks/mini-static-pbe.toml"
    path.write_text(path.read_text().replace("version", "vershun", 1))
    problems = verify(tree).problems
    assert any("unknown key vershun (did you mean version?)" in problem for problem in problems)


def test_a_folder_with_nothing_to_check_is_an_error(tmp_path):
    with pytest.raises(StorageError, match="has no tasks/, models/ or results/ to check"):
        verify(tmp_path)


def test_the_tree_of_this_repository_is_sound(cache, monkeypatch):
    monkeypatch.setenv("XFERBENCH_CACHE", str(cache))
    report = verify(Path(__file__).parents[2])
    assert report.problems == []
    assert sum("scored again with the same numbers" in line for line in report.lines) >= 13
