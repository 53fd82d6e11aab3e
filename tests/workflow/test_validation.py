from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from xferbench import leaderboard
from xferbench.errors import StorageError
from xferbench.tasks import load_task, tasks_directory
from xferbench.workflow import Request, score, validate

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
    score(Request(model=str(model), out=root / "leaderboard", cache_dir=cache))
    leaderboard.build(root / "leaderboard")
    return root


@pytest.fixture
def tree(made, tmp_path, cache, monkeypatch):
    monkeypatch.setenv("XFERBENCH_CACHE", str(cache))
    return Path(shutil.copytree(made, tmp_path / "tree"))


def only_problem(tree):
    _, problems = validate(tree)
    assert len(problems) == 1, problems
    return problems[0]


def test_a_sound_tree_has_no_problems_and_its_results_are_repeated(tree):
    lines, problems = validate(tree)
    assert problems == []
    text = "\n".join(lines)
    assert "mini-static@1" in text
    assert text.count("scored again with the same numbers") == 5
    assert "README.md and index.html are what the results give" in text


def test_a_board_alone_can_be_checked(tree):
    assert validate(tree / "leaderboard")[1] == []


def test_a_changed_number_is_found(tree):
    path = tree / "leaderboard/results" / TASK.key / "lennard-jones.json"
    result = json.loads(path.read_text())
    next(entry for entry in result["metrics"] if entry["key"] == "force_mae")["value"] *= 1.001
    path.write_text(json.dumps(result))
    leaderboard.build(tree / "leaderboard")
    assert "scoring its predictions again gives other values of metrics[" in only_problem(tree)


def test_a_changed_floor_is_found(tree):
    path = tree / "leaderboard/results" / TASK.key / "floor-ridge.json"
    path.write_text(path.read_text().replace('"n_frames": 3', '"n_frames": 4', 1))
    leaderboard.build(tree / "leaderboard")
    assert "floor-ridge.json" in only_problem(tree)


def test_a_damaged_result_is_found(tree):
    path = tree / "leaderboard/results" / TASK.key / "lennard-jones.json"
    path.write_text(path.read_text()[:-100])
    _, problems = validate(tree)
    assert any("not valid JSON" in problem for problem in problems)


def test_predictions_that_are_not_stored_are_said(tree):
    shutil.rmtree(tree / "leaderboard/predictions")
    lines, problems = validate(tree)
    assert problems == []
    assert any("its predictions are not stored, so it was not scored again" in line for line in lines)


def test_a_card_edited_after_scoring_is_found(tree):
    card = tree / "leaderboard/models/lennard-jones.toml"
    card.write_text(card.read_text() + "\n")
    assert "model.card_sha256" in only_problem(tree)


def test_a_model_without_a_card_is_found(tree):
    (tree / "leaderboard/models/lennard-jones.toml").unlink()
    _, problems = validate(tree)
    assert any("no card for lennard-jones; write models/<model-id>.toml" in problem for problem in problems)


def test_a_stale_page_is_found(tree):
    page = tree / "leaderboard/index.html"
    page.write_text(page.read_text() + " ")
    assert "index.html are not what the results give; run `xferbench leaderboard build" in only_problem(tree)


def test_a_task_with_another_fingerprint_is_found(tree):
    path = tree / "tasks/mini-static.toml"
    path.write_text(path.read_text().replace(TASK.fingerprint, "sha256:" + "0" * 64))
    _, problems = validate(tree)
    assert any("but data set mini has" in problem for problem in problems)


def test_a_broken_task_is_found(tree):
    path = tree / "tasks/mini-static-pbe.toml"
    path.write_text(path.read_text().replace("version", "vershun", 1))
    _, problems = validate(tree)
    assert any("unknown key vershun (did you mean version?)" in problem for problem in problems)


def test_a_folder_with_nothing_to_check_is_an_error(tmp_path):
    with pytest.raises(StorageError, match="has no tasks/, models/ or results/ to check"):
        validate(tmp_path)


def test_the_tree_of_this_repository_is_sound(cache, monkeypatch):
    monkeypatch.setenv("XFERBENCH_CACHE", str(cache))
    lines, problems = validate(Path(__file__).parents[2])
    assert problems == []
    assert sum("scored again with the same numbers" in line for line in lines) >= 13
