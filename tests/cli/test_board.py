from __future__ import annotations

from pathlib import Path

import pytest


def test_leaderboard_build_says_what_it_wrote(run, tmp_path):
    run("score", "floor:copy-gga", "--out", "board")
    result = run("leaderboard", "build", "board")
    assert result.exit_code == 0, result.output
    assert [Path(line).name for line in result.stdout.split()] == ["README.md", "index.html"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["validate", "."], 3, "has no tasks/, models/ or results/ to check"),
        (["leaderboard", "build", "nowhere"], 3, "there is no leaderboard directory at nowhere"),
    ],
)
@pytest.mark.usefixtures("bad_files")
def test_bad_input_ends_in_one_clear_line_and_the_right_code(refused, arguments, code, message):
    exit_code, line = refused(*arguments)
    assert message in line
    assert exit_code == code
