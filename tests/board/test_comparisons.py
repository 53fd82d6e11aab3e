"""The order of a board comes from paired tests of stored predictions, and only of those."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from xferbench.board import build, read_board
from xferbench.board.comparisons import fits, path_of, read_tests, write_tests
from xferbench.errors import FormatError
from xferbench.report.rounding import show

BOARD = Path(__file__).parents[2] / "leaderboard"


@pytest.fixture
def board(tmp_path):
    """A copy of the committed cards, results and predictions of one task, without anything generated."""
    for name in ("models", "results/mini-static@1", "predictions/mini-static@1"):
        shutil.copytree(BOARD / name, tmp_path / "board" / name, ignore=shutil.ignore_patterns("*.html"))
    return tmp_path / "board"


def test_the_tests_are_those_of_compare(board, cache):
    from xferbench import dataset, scoring
    from xferbench.scoring import Entrant
    from xferbench.tasks import load_task

    build(board, cache_dir=cache)
    tests = read_tests(path_of(board, "mini-static@1"))
    section = read_board(board).sections[0]
    names = [row.entry.model_id for row in section.ranking.models]
    entrants = [
        Entrant(name=name, predictions=scoring.read_predictions(board / f"predictions/mini-static@1/{name}.parquet"))
        for name in names
    ]
    task = load_task("mini-static")
    expected = scoring.expected_frames(task, dataset.prepare("mini", cache_dir=cache))
    found = scoring.compare(task, expected, entrants, task.main).comparison
    assert [(pair.first, pair.second, pair.value) for pair in tests.pairs] == [
        (item.first, item.second, item.value) for item in found.differences
    ]
    assert [(item.model, item.best, item.worst) for item in tests.standings] == [
        (item.name, item.best, item.worst) for item in found.standings
    ]
    assert all(item.rescored for item in tests.standings)
    assert [row.ties != "" for row in section.ranking.models] == [True] * len(names)


def test_a_second_build_needs_neither_predictions_nor_data_and_gives_the_same_bytes(board, cache, tmp_path):
    build(board, cache_dir=cache)
    before = {path: path.read_bytes() for path in board.rglob("*") if path.is_file() and path.suffix != ".parquet"}
    shutil.rmtree(board / "predictions")
    report = build(board, cache_dir=tmp_path / "empty")
    assert report.untested == {}
    assert not (tmp_path / "empty").exists()
    assert {path: path.read_bytes() for path in before} == before


def test_predictions_of_another_run_are_not_tested(board, cache):
    predictions = board / "predictions" / "mini-static@1"
    shutil.copy(predictions / "chgnet-0.2.0.parquet", predictions / "chgnet-0.3.0.parquet")
    report = build(board, cache_dir=cache)
    assert report.untested == {"mini-static@1": "the stored predictions of chgnet-0.3.0 are not those of its result"}
    assert "not tested: the stored predictions" in (board / "tasks" / "mini-static.html").read_text()


def test_tests_of_other_results_are_not_used(lay_out, make_result, make_tests, task_files):
    directory = lay_out([make_result("alpha"), make_result("beta", 0.3)])
    standings = [("alpha", 1, 1, "a"), ("beta", 2, 2, "b")]
    ranking = read_board(directory, tasks=task_files).sections[0].ranking
    assert fits(make_tests(standings), ranking)
    assert not fits(make_tests(standings, digest="sha256:" + "0" * 64), ranking)
    assert not fits(make_tests(standings[:1]), ranking)
    assert not fits(make_tests(standings, metric="force_mae"), ranking)
    assert not fits(make_tests(standings, task_digest="sha256:" + "0" * 64), ranking)
    assert not fits(None, ranking)


def test_what_is_written_is_read(make_tests, tmp_path):
    tests = make_tests([("alpha", 1, 1, "a"), ("beta", 2, 2, "b")], significant={("alpha", "beta")})
    write_tests(tmp_path / "x.json", tests)
    assert read_tests(tmp_path / "x.json") == tests
    assert tests.significant(tests.between("beta", "alpha"))
    assert tests.between("alpha", "gamma") is None


def test_a_file_of_another_schema_is_made_again_and_a_broken_one_refused(make_tests, tmp_path):
    write_tests(tmp_path / "x.json", make_tests([("alpha", 1, 1, "a")]))
    data = json.loads((tmp_path / "x.json").read_text())
    (tmp_path / "old.json").write_text(json.dumps(data | {"schema": 0}))
    assert read_tests(tmp_path / "old.json") is None
    (tmp_path / "broken.json").write_text(json.dumps(data | {"pairs": 3}))
    with pytest.raises(FormatError, match="pairs must be"):
        read_tests(tmp_path / "broken.json")
    assert read_tests(tmp_path / "none.json") is None


def test_the_page_of_a_model_says_what_it_gained_and_forgot(board, cache, html):
    build(board, cache_dir=cache)
    tree = html((board / "models" / "chgnet-r2scan.html").read_text())
    (table,) = [table for table in tree.iter("table") if "against CHGNet 0.3.0" in table.find("caption").words]
    pair = read_tests(path_of(board, "mini-static@1")).between("chgnet-r2scan", "chgnet-0.3.0")
    assert pair.first == "chgnet-r2scan"
    cells = [cell.words for cell in table.rows()[0]]
    assert cells[3] == str(show(pair.value, pair.low, pair.high, "eV/atom")).replace(" [", "[")
    assert cells[4] == "not told apart"
