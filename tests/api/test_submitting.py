"""From a score to a board: what a stranger does, and what is turned away."""

from __future__ import annotations

import json
import shutil

import pytest

import xferbench as xb
from xferbench.api import submitting
from xferbench.errors import CheckFailedError, FormatError, StorageError, UsageError

MODEL = """
from ase.calculators.lj import LennardJones

FUNCTIONAL = "r2SCAN"
calculator = LennardJones(sigma=1.8, epsilon=0.2, rc=6.0, smooth=True)
"""
FILLED = {
    'model_version = ""': 'model_version = "1"',
    "authors = []": 'authors = ["A. Author"]',
    "training_sets = []": 'training_sets = ["none"]',
    "# conservative = true": "conservative = true",
    'citation = ""': 'citation = "@article{key}"',
    'code = ""': 'code = "MIT"',
    'checkpoint = ""': 'checkpoint = "MIT"',
}


@pytest.fixture(scope="module")
def scored(cache, tmp_path_factory):
    """A model that was scored, with a card that was begun and filled in."""
    root = tmp_path_factory.mktemp("scored")
    (root / "springs.py").write_text(MODEL)
    xb.score(str(root / "springs.py"), out=root / "out", cache_dir=cache)
    begun = xb.new_card(str(root / "springs.py"), out=root / "out")
    text = begun.path.read_text()
    with pytest.raises(FormatError, match="conservative"):
        submitting.read_card(begun.path)
    for empty, full in FILLED.items():
        assert text.count(empty) == 1, empty
        text = text.replace(empty, full)
    begun.path.write_text(text)
    return root / "out"


@pytest.fixture
def out(scored, tmp_path, cache, monkeypatch):
    monkeypatch.setenv("XFERBENCH_CACHE", str(cache))
    return shutil.copytree(scored, tmp_path / "out")


@pytest.fixture
def board(tmp_path):
    (tmp_path / "board" / "models").mkdir(parents=True)
    return tmp_path / "board"


def files(directory):
    return sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file())


def result_of(out):
    return next(out.glob("results/*/springs.json"))


def refusal(out, board, **options):
    before = files(board)
    with pytest.raises(CheckFailedError) as caught:
        xb.submit("springs", out=out, board=board, **options)
    assert files(board) == before
    return str(caught.value)


def test_a_good_submission_becomes_a_row_of_the_board(out, board):
    found = xb.submit("springs", out=out, board=board)
    assert files(board) == sorted(found.files)
    assert {name.split("/")[0] for name in found.files} == {"models", "results", "predictions"}
    assert f"git -C {board} push -u origin add-springs" in str(found)
    assert "Checked by `xferbench submit`" in found.text
    assert found.text == found.text_path.read_text()
    assert "not audited" in found.text
    assert xb.build_leaderboard(board).models == ("springs",)
    assert xb.submit("springs", out=out, board=board).files == found.files


def test_a_trial_run_copies_nothing(out, board):
    found = xb.submit("springs", out=out, board=board, dry_run=True)
    assert files(board) == []
    assert "would copy models/springs.toml" in str(found)


def test_a_forged_number_is_found(out, board):
    path = result_of(out)
    data = json.loads(path.read_text())
    entry = next(item for item in data["metrics"] if item["main"])
    entry["value"], entry["ci_low"], entry["ci_high"] = 1e-3, 5e-4, 2e-3
    path.write_text(json.dumps(data))
    assert "scoring its predictions again gives other values" in refusal(out, board)


def test_predictions_that_are_gone_or_damaged_are_found(out, board):
    path = next(out.glob("predictions/*/springs.parquet"))
    path.write_bytes(path.read_bytes()[:-100])
    assert "springs.parquet" in refusal(out, board)
    path.unlink()
    assert "not scored again" in refusal(out, board)


def test_a_file_that_is_too_large_is_refused(out, board, monkeypatch):
    monkeypatch.setattr(submitting, "LARGEST", 100)
    assert "a board takes 100" in refusal(out, board)


def test_another_version_of_the_task_is_refused(out, board):
    folder = result_of(out).parent
    data = json.loads((folder / "springs.json").read_text())
    data["task"] |= {"version": 2, "key": "mini-static@2"}
    (folder / "springs.json").write_text(json.dumps(data))
    folder.rename(folder.with_name("mini-static@2"))
    assert "of mini-static@2, a version that is not here: read, not scored again" in refusal(out, board)
    (out / "results" / "mini-static@2").rename(folder)
    assert "holds a result of springs on mini-static@2" in refusal(out, board)


def test_the_name_of_another_model_is_refused_unless_it_is_ones_own(out, board):
    xb.submit("springs", out=out, board=board)
    path = next(board.glob("results/*/springs.json"))
    data = json.loads(path.read_text())
    data["predictions"]["digest"] = "sha256:" + "0" * 64
    path.write_text(json.dumps(data))
    assert "add --replace if it is yours" in refusal(out, board)
    assert xb.submit("springs", out=out, board=board, replace=True).files


def test_predictions_of_another_model_are_refused(out, board):
    xb.submit("springs", out=out, board=board)
    path = next(board.glob("results/*/springs.json"))
    data = json.loads(path.read_text())
    data["model"]["id"] = "other"
    path.with_name("other.json").write_text(json.dumps(data))
    path.unlink()
    assert "these are the predictions of other" in refusal(out, board)


def test_a_card_that_contradicts_the_result_or_is_missing_is_refused(out, board):
    card = out / "models" / "springs.toml"
    card.write_text(card.read_text().replace('functional = "r2SCAN"', 'functional = "PBE"'))
    assert "the model declared r2SCAN, its card says PBE" in refusal(out, board)
    card.unlink()
    assert "`xferbench card new springs` begins it" in refusal(out, board)


def test_hostile_names_stay_text(out, board):
    card = out / "models" / "springs.toml"
    card.write_text(card.read_text().replace('model_name = "springs"', "model_name = '<script>alert(1)</script>'"))
    xb.submit("springs", out=out, board=board)
    xb.build_leaderboard(board)
    assert "<script>alert" not in (board / "models" / "springs.html").read_text()
    for name in ("../springs", "/etc/passwd", "a/b", "*"):
        with pytest.raises(UsageError, match="is no model id"):
            xb.submit(name, out=out, board=board)


def test_an_error_that_is_too_good_is_told(out, board, monkeypatch):
    xb.submit("springs", out=out, board=board)
    path = next(board.glob("results/*/springs.json"))
    data = json.loads(path.read_text())
    data["model"]["id"] = "other"
    data["predictions"]["digest"] = "sha256:" + "1" * 64
    path.with_name("other.json").write_text(json.dumps(data))
    assert not any("too good" in text for text in xb.submit("springs", out=out, board=board).remarks)
    monkeypatch.setattr(submitting, "TOO_GOOD", 2.0)
    assert any("too good" in text for text in xb.submit("springs", out=out, board=board).remarks)


def test_what_is_not_there_is_said(out, board, tmp_path):
    with pytest.raises(StorageError, match="has no result of nobody"):
        xb.new_card("nobody", out=out)
    with pytest.raises(UsageError, match="exists; edit it"):
        xb.new_card("springs", out=out)
    with pytest.raises(StorageError, match="has no models/"):
        xb.submit("springs", out=out, board=tmp_path / "nowhere")
