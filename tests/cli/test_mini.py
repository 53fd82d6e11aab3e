from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["mini", "generate", "r.jsonl", "--part", "2/2"], 2, "--part must be i/n with i < n"),
        (["mini", "build", "--records", "nowhere.jsonl", "--out", "x.parquet"], 3, "cannot read nowhere.jsonl"),
    ],
)
@pytest.mark.usefixtures("bad_files")
def test_bad_input_ends_in_one_clear_line_and_the_right_code(refused, arguments, code, message):
    exit_code, line = refused(*arguments)
    assert message in line
    assert exit_code == code
