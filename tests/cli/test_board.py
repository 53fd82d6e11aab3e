from __future__ import annotations

from pathlib import Path

import pytest


def test_leaderboard_build_says_what_it_wrote(run, tmp_path):
    run("score", "floor:copy-source", "--out", "board")
    result = run("leaderboard", "build", "board")
    assert result.exit_code == 0, result.output
    assert [Path(line).name for line in result.stdout.split()] == ["README.md", "index.html"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["verify", "."], 3, "has no tasks/, models/ or results/ to check"),
        (["leaderboard", "build", "."], 3, ". has neither models/ nor results/, so it is no leaderboard"),
        (["leaderboard", "build", "nowhere"], 3, "there is no leaderboard directory at nowhere"),
    ],
)
def test_bad_input_ends_in_one_clear_line_and_the_right_code(refused, arguments, code, message):
    refused(arguments, code, message)
