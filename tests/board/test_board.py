"""Building a leaderboard directory from end to end."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from xferbench import board
from xferbench.board import build
from xferbench.errors import FormatError, StorageError


def test_build_writes_readme_and_site_and_reports_them(lay_out, make_result, make_floor, task_files):
    directory = lay_out([make_result("alpha"), make_result("beta"), make_floor("zero")])
    report = build(directory, tasks=task_files)
    assert report.readme.read_text(encoding="utf-8").startswith("# Leaderboard\n")
    assert report.page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert report.results == {"springs@2": 3}
    assert report.models == ("alpha", "beta")


def test_building_twice_gives_the_same_bytes(lay_out, make_result, task_files):
    directory = lay_out([make_result("alpha"), make_result("beta", 0.3)])
    first = build(directory, tasks=task_files)
    before = first.readme.read_bytes(), first.page.read_bytes()
    build(directory, tasks=task_files)
    assert (first.readme.read_bytes(), first.page.read_bytes()) == before


def test_bytes_do_not_depend_on_hash_seeds(lay_out, make_result, make_floor, task_files):
    directory = lay_out([make_result("alpha"), make_result("beta"), make_floor("zero")])
    code = (
        "import hashlib, sys; from pathlib import Path; from xferbench import board as b;"
        "board = b.read_board(Path(sys.argv[1]), tasks=Path(sys.argv[2]));"
        "print(hashlib.sha256(b''.join(b.site(board).values())).hexdigest())"
    )
    command = [sys.executable, "-c", code, str(directory), str(task_files)]
    runs = [
        subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, "PYTHONHASHSEED": seed})
        for seed in ("1", "2")
    ]
    assert runs[0].stdout == runs[1].stdout != ""


def test_a_refused_board_leaves_the_old_files_alone(lay_out, make_result, task_files):
    directory = lay_out([make_result("alpha")])
    report = build(directory, tasks=task_files)
    before = report.page.read_bytes()
    lay_out([make_result("beta", counts={"limit": 3})])
    with pytest.raises(FormatError, match="is a trial on 3 frames"):
        build(directory, tasks=task_files)
    assert report.page.read_bytes() == before


def test_an_empty_leaderboard_can_be_built(lay_out, task_files):
    report = build(lay_out([]), tasks=task_files)
    assert report.results == {}
    assert report.models == ()


def test_a_folder_that_is_no_leaderboard_keeps_its_own_readme(tmp_path, task_files):
    (tmp_path / "README.md").write_text("# My project\n")
    with pytest.raises(StorageError, match=r"has neither models/ nor results/, so it is no leaderboard"):
        build(tmp_path, tasks=task_files)
    assert [path.read_text() for path in tmp_path.glob("*.*")] == ["# My project\n"]


def test_pages_of_models_that_left_are_removed_and_nothing_else(lay_out, make_result, task_files):
    directory = lay_out([make_result("alpha"), make_result("beta")])
    build(directory, tasks=task_files)
    (directory / "models" / "mine.html").write_text("mine")
    (directory / "results" / "springs@2" / "beta.json").unlink()
    build(directory, tasks=task_files)
    assert not (directory / "models" / "beta.html").exists()
    assert not (directory / "data" / "model-beta.js").exists()
    assert (directory / "models" / "beta.toml").exists()
    assert (directory / "models" / "mine.html").read_text() == "mine"


@pytest.mark.parametrize(
    "path", ["models/alpha.toml", "../secret.html", "results/springs@2/alpha.json", "/etc/passwd", "x/y.html"]
)
def test_a_forged_manifest_removes_nothing_of_people(lay_out, make_result, task_files, path):
    directory = lay_out([make_result("alpha")])
    (directory.parent / "secret.html").write_text("kept")
    build(directory, tasks=task_files)
    (directory / "site.json").write_text(f'{{"{path}": "sha256:0"}}')
    build(directory, tasks=task_files)
    assert (directory.parent / "secret.html").exists()
    assert (directory / "models" / "alpha.toml").exists()
    assert (directory / "results" / "springs@2" / "alpha.json").exists()


def test_an_untested_order_is_reported_with_its_reason(lay_out, make_result, task_files):
    report = build(lay_out([make_result("alpha"), make_result("beta", 0.3)]), tasks=task_files)
    assert report.untested == {"springs@2": "the predictions of alpha are not on the board"}


def test_a_place_that_cannot_be_written_is_a_storage_error(lay_out, task_files):
    directory = lay_out([])
    (directory / "README.md").mkdir()
    with pytest.raises(StorageError, match=r"cannot write .*README\.md"):
        build(directory, tasks=task_files)


def test_generated_files_are_not_read_back(lay_out, make_result, task_files):
    directory = lay_out([make_result("alpha")])
    build(directory, tasks=task_files)
    assert build(directory, tasks=task_files).results == {"springs@2": 1}


def test_the_public_names_are_exactly_these():
    assert board.__all__ == sorted(board.__all__)
    assert all(hasattr(board, name) for name in board.__all__)
    assert {"build", "terminal_table", "load_cards", "read_card", "read_board"} <= set(board.__all__)
