from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["compare", "floor:ridge"], 2, "two models at least"),
        (["compare", "floor:ridge", "floor-ridge"], 2, "floor-ridge is named twice"),
        (["compare", "floor:ridge", "floor:copy-source", "-t", "mini-statc"], 2, "did you mean 'mini-static'"),
        (["compare", "floor:ridge", "nowhere.json"], 3, "cannot read nowhere.json"),
        (["compare", "floor:ridge", "floor:copy-source", "-m", "force_mae"], 3, "the model predicts no forces"),
        (["gap", "nowhere.parquet", "b.parquet"], 3, "cannot read nowhere.parquet"),
        (["gap", "a.parquet", "b.parquet", "-t", "mini-static-pbe"], 2, "name a target task"),
        (["fit-scaling", "nowhere.csv", "--from", "1"], 3, "cannot read nowhere.csv"),
        (["fit-scaling", "one.csv", "--from", "1"], 3, "3 of different size are needed"),
        (["fit-scaling", "one.csv", "--from", "9", "--to", "3"], 2, "the range from 9 to 3 structures is empty"),
        (["fit-scaling", "one.csv", "--from", "1", "--versus", "a:b"], 2, "unknown column 'b'"),
    ],
)
def test_bad_input_ends_in_one_clear_line_and_the_right_code(refused, arguments, code, message):
    refused(arguments, code, message)
