from __future__ import annotations

import json

import pytest


def test_references_are_fitted_per_functional(run, tmp_path):
    result = run("refs", "fit", "mini", "--out", "refs.json")
    assert result.exit_code == 0
    assert "PBE references" in result.stdout
    assert "r2SCAN references" in result.stdout
    assert "condition number" in result.stdout
    pbe, r2scan = json.loads((tmp_path / "refs.json").read_text())
    assert pbe["functional"] == "PBE"
    assert r2scan["energies"]["Na"] < pbe["energies"]["Na"]
    allowed = run("refs", "fit", "mini", "--elements", "Li,Pu", "--allow-missing", "--json")
    assert json.loads(allowed.stdout)[0]["missing"] == ["Pu"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["refs", "fit", "mini", "--functional", "pbe"], 2, "did you mean 'PBE'"),
        (["refs", "fit", "mini", "--split", "training"], 2, "known: test, train, val"),
        (["refs", "fit", "mini", "--elements", "Li,Xx"], 2, "Xx is no chemical symbol"),
        (["refs", "fit", "mini", "--elements", "Li,Pu"], 3, "no structure contains Pu"),
        (["refs", "fit", "mini", "--functional", "PBE+U"], 3, "has no frames of PBE+U"),
        (["refs", "compare", "mini", "--atoms", "list.json"], 3, "list.json has no table of PBE"),
        (["refs", "compare", "mini", "--atoms", "words.json"], 3, "PBE Li is 'x', not a number; r2SCAN must map"),
        (["refs", "compare", "mini", "--predictions", "list.json"], 3, "list.json is not a readable Parquet file"),
        (["analyze", "mini", "--functional", "pbe"], 2, "did you mean 'PBE'"),
        (["analyze", "mini", "--functional", "PBE+U"], 3, "no pair has a PBE+U frame; found PBE"),
        (["analyze", "mini", "--seed", "-1"], 2, "-1 is not in the range x>=0"),
        (["analyze", "empty"], 3, "no data set in empty: manifest.json is missing"),
    ],
)
def test_bad_input_ends_in_one_clear_line_and_the_right_code(refused, arguments, code, message):
    refused(arguments, code, message)
