from __future__ import annotations

import json

import pytest


def test_references_are_fitted_per_functional(run, tmp_path):
    result = run("refs", "fit", "mini", "--out", "refs.json")
    assert result.exit_code == 0
    assert "PBE references" in result.stdout
    assert "r2SCAN references" in result.stdout
    assert "condition number" in result.stdout
    pbe, target = json.loads((tmp_path / "refs.json").read_text())
    assert pbe["functional"] == "PBE"
    assert target["energies"]["Na"] < pbe["energies"]["Na"]
    allowed = run("refs", "fit", "mini", "--elements", "Li,Pu", "--allow-missing", "--json")
    assert json.loads(allowed.stdout)[0]["missing"] == ["Pu"]


def test_references_are_exported_for_a_package(run, tmp_path):
    result = run("refs", "export", "mini", "--for", "mace", "--minus", "PBE", "--out", "e0.json", "--json")
    assert result.exit_code == 0
    told = json.loads(result.stdout)
    assert {11: told["energies"]["Na"]}.items() <= {
        int(key): value for key, value in json.loads((tmp_path / "e0.json").read_text()).items()
    }.items()
    assert (tmp_path / "e0.json.txt").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["refs", "fit", "mini", "--functional", "pbx"], 2, "did you mean 'PBE'"),
        (["refs", "fit", "mini", "--split", "training"], 2, "known: test, train, val"),
        (["refs", "fit", "mini", "--elements", "Li,Xx"], 2, "'Xx' is no element"),
        (["refs", "fit", "mini", "--elements", "Li,Pu"], 3, "no structure contains Pu"),
        (["refs", "fit", "mini", "--functional", "PBE+U"], 3, "has no frames of PBE+U"),
        (["refs", "compare", "mini", "--atoms", "list.json"], 3, "list.json has no table of a functional"),
        (["refs", "compare", "mini", "--atoms", "words.json"], 3, "PBE Li is 'x', not a number; r2SCAN must map"),
        (["refs", "compare", "mini", "--predictions", "list.json"], 3, "list.json is JSON of no known layout"),
        (["refs", "export", "mini", "--for", "mcae"], 2, "did you mean 'mace'"),
        (["refs", "export", "mini", "--for", "mace", "--minus", "r2scan"], 2, "r2SCAN minus r2SCAN is nothing"),
        (
            ["refs", "export", "mini", "--for", "mace", "--functional", "PBEsol"],
            3,
            "has no frames of PBEsol; it has PBE/r2SCAN",
        ),
        (["refs", "export", "mini", "--for", "mace", "--minus", "PBE+U"], 3, "has no pairs of PBE+U and r2SCAN"),
        (
            ["refs", "export", "mini", "--for", "mace", "--functional", "SCAN", "--atoms"],
            3,
            "no isolated atoms of SCAN",
        ),
        (["analyze", "mini", "--functional", "pbx"], 2, "did you mean 'PBE'"),
        (["analyze", "mini", "--functional", "PBE+U"], 2, "unknown source functional 'PBE+U'; did you mean 'PBE'"),
        (["analyze", "mini", "--seed", "-1"], 2, "-1 is not in the range x>=0"),
        (["analyze", "empty"], 3, "no data set in empty: manifest.json is missing"),
    ],
)
def test_bad_input_ends_in_one_clear_line_and_the_right_code(refused, arguments, code, message):
    refused(arguments, code, message)
