from __future__ import annotations

import copy
import json

import pytest

from xferbench.sources.mini.checks import Line, Problem, check


@pytest.fixture
def pair(records):
    """The two records of Si in diamond."""
    found = [json.loads(line) for line in records.read_text().splitlines()]
    return [record for record in found if record["pair_id"] == "Si_diamond-v2"]


@pytest.fixture
def magnetic(records):
    found = [json.loads(line) for line in records.read_text().splitlines()]
    return next(record for record in found if record["spin_polarised"])


def problems(*records):
    return [str(problem) for problem in check([Line(number=n, data=b"", record=r) for n, r in enumerate(records, 1)])]


def failed(record):
    labels = {key for key in record if key.endswith(("_eV", "_A", "_voigt", "_s"))} | {"kpts", "n_kpts_irreducible"}
    rest = {key: value for key, value in record.items() if key not in labels | {"scf_iterations"}}
    return rest | {"status": "failed", "error": "KohnShamConvergenceError"}


def test_sound_records_have_no_problems(pair, magnetic):
    assert problems(*pair) == []
    assert problems(*reversed(pair)) == []
    assert problems(magnetic) == []
    assert problems(failed(pair[0])) == []
    assert problems(pair[0], failed(pair[1])) == []


def test_a_problem_names_its_line():
    assert str(Problem(line=7, text="what")) == "line 7: what"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"functional": "SCAN"}, "unknown functional 'SCAN'; known: PBE, r2SCAN"),
        ({"status": "done"}, "unknown status 'done'; known: ok, failed"),
        ({"pair_id": "other", "id": "other-PBE"}, "pair_id 'other' is not <seed_structure>-<perturbation>"),
        ({"id": "other"}, "id is not <pair_id>-<functional>"),
        ({"seed": "1"}, "seed missing or of the wrong type"),
        ({"spin_polarised": 0, "versions": None}, "spin_polarised, versions missing or of the wrong type"),
        ({"settings": {"xc_libxc": "LDA"}}, "settings say functional 'LDA'"),
        ({"energy_eV": float("inf")}, "energy_eV is not finite"),
        ({"energy_eV": "-1.0"}, "energy_eV is not made of numbers"),
        ({"energy_eV": None}, "energy_eV is not made of numbers"),
        ({"energy_eV": True}, "energy_eV is not made of numbers"),
        ({"energy_eV": [1.0]}, "energy_eV has shape (1,), not ()"),
        ({"forces_eV_per_A": [[0.0, 0.0, 0.0]]}, "forces_eV_per_A has shape (1, 3), not (2, 3)"),
        ({"forces_eV_per_A": [[0.0, 0.0], [0.0]]}, "forces_eV_per_A is not an array of shape (2, 3)"),
        ({"forces_eV_per_A": [[0, 0, 0], [0, 0, float("nan")]]}, "forces_eV_per_A is not finite"),
        ({"stress_eV_per_A3_voigt": [[0.0] * 3] * 3}, "stress_eV_per_A3_voigt has shape (3, 3), not (6,)"),
        ({"magmoms_muB": [0.0, 0.0]}, "unknown magmoms_muB"),
        ({"kpts": {"size": [4, 4], "gamma": True}}, "is not a Γ-centred mesh of three positive numbers"),
        ({"kpts": {"size": [4, 4, 0], "gamma": True}}, "is not a Γ-centred mesh of three positive numbers"),
        ({"kpts": {"size": [4, 4, 4], "gamma": False}}, "is not a Γ-centred mesh of three positive numbers"),
        ({"surprise": 1}, "unknown surprise"),
        ({"error": "none"}, "unknown error"),
    ],
)
def test_each_thing_wrong_with_a_record_is_named(pair, changes, expected):
    (found,) = problems(pair[0] | changes)
    assert found.startswith("line 1: ")
    assert expected in found


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"species": ["Si", "Xx"]}, "structure.species ['Si', 'Xx'] is not a list of elements"),
        ({"species": "SiSi"}, "structure.species 'SiSi' is not a list of elements"),
        ({"species": []}, "structure.species [] is not a list of elements"),
        ({"pbc": [True, True, False]}, "not periodic in three directions"),
        ({"lattice_A": [[1.0, 0.0, 0.0]]}, "structure.lattice_A has shape (1, 3), not (3, 3)"),
        ({"lattice_A": [[1.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, 0.0, 1.0]]}, "structure.lattice_A has no volume"),
        ({"cart_coords_A": [[0.0, 0.0, float("nan")]] * 2}, "structure.cart_coords_A is not finite"),
        ({"extra": 1}, "unknown structure.extra"),
    ],
)
def test_each_thing_wrong_with_a_structure_is_named(pair, changes, expected):
    found = problems(pair[0] | {"structure": pair[0]["structure"] | changes})
    assert any(expected in text for text in found)


@pytest.mark.parametrize("key", ["energy_eV", "forces_eV_per_A", "stress_eV_per_A3_voigt", "kpts", "cpu_s"])
def test_a_missing_label_is_named(pair, key):
    del pair[0][key]
    assert problems(pair[0]) == [f"line 1: Si_diamond-v2-PBE: missing {key}"]


def test_a_spin_polarised_record_needs_its_moments(magnetic):
    del magnetic["magmoms_muB"]
    assert problems(magnetic) == [f"line 1: {magnetic['id']}: missing magmoms_muB"]


def test_a_failed_record_has_a_reason_and_no_labels(pair):
    assert "unknown energy_eV" in problems(failed(pair[0]) | {"energy_eV": 1.0})[0]
    without = {key: value for key, value in failed(pair[0]).items() if key != "error"}
    assert problems(without) == ["line 1: Si_diamond-v2-PBE: missing error"]


def test_a_doubled_id_names_both_lines(pair):
    assert problems(*pair, pair[0]) == ["line 3: Si_diamond-v2-PBE: id already used in line 1"]


@pytest.mark.parametrize("key", ["seed", "metal_kmesh", "structure", "kpts", "settings"])
def test_the_records_of_a_pair_must_agree(pair, key):
    other = copy.deepcopy(pair[1])
    if key == "structure":
        other[key]["cart_coords_A"][1][0] += 1e-9
    elif key == "settings":
        other[key]["ecut_eV"] = 600.0
    else:
        other[key] = {"seed": 1, "metal_kmesh": True, "kpts": {"size": [1, 1, 1], "gamma": True}}[key]
    expected = f"line 2: Si_diamond-v2-r2SCAN: {key} differs from that of its PBE record in line 1"
    assert problems(pair[0], other) == [expected]


def test_all_problems_are_reported_at_once(pair):
    broken = pair[1] | {"energy_eV": None, "cpu_s": None}
    assert len(problems(pair[0] | {"status": "?"}, broken)) == 3
