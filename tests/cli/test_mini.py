from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["mini", "generate", "r.jsonl", "--part", "2/2"], 2, "--part must be i/n with i < n"),
        (["mini", "atoms", "r.jsonl", "--elements", "Xx"], 2, "unknown element 'Xx'"),
        (["mini", "atoms", "r.jsonl", "--elements", ","], 2, "no element is named"),
        (["mini", "build", "--records", "none.jsonl", "--out", "x.parquet"], 3, "none.jsonl has no records"),
        (["mini", "build", "--records", "nowhere.jsonl", "--out", "x.parquet"], 3, "cannot read nowhere.jsonl"),
    ],
)
def test_bad_input_ends_in_one_clear_line_and_the_right_code(refused, arguments, code, message):
    refused(arguments, code, message)
