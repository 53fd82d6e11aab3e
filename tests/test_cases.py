"""Small inputs that went wrong in other people's hands, through the public command. The inputs lie beside the checkout, or nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from xferbench.cli import main
from xferbench.dataset import Dataset

CASES = Path(__file__).parents[2] / "shared" / "cases"
TWO = ["--from", "PBE=pbe.extxyz", "--from", "r2SCAN=r2scan.extxyz"]
READ = {
    "07-virial": ["extxyz", *TWO],
    "09-energy-and-ref-energy": ["extxyz", *TWO],
    "11-blank-line": ["extxyz", *TWO],
    "12-same-file-name": ["extxyz", "--from", "PBE=pbe/train.extxyz", "--from", "r2SCAN=r2scan/train.extxyz"],
    "14-ase-db-key-value-pairs": ["ase", "--from", "pairs.db"],
    "17-other-order-of-atoms": ["extxyz", *TWO],
    "22-monty-arrays": ["matpes", "--from", "MatPES-PBE-2025.1.json", "--from", "MatPES-R2SCAN-2025.1.json"],
    "23-ids-from-zero": ["extxyz", *TWO],
    "24-zip": ["extxyz", "--from", "PBE=pbe.extxyz.zip", "--from", "r2SCAN=r2scan.extxyz.zip"],
    "25-exact-duplicates": ["extxyz", *TWO],
}
"""Case -> arguments of ``prepare``, where 48 pairs are to come out."""

REFUSED = {
    "05-identical-labels": (
        ["extxyz", *TWO],
        "PBE and r2SCAN state identical energies in 48 of 48 pairs: one file is a copy",
    ),
    "15-energy-per-atom": (["extxyz", *TWO], "energies look like eV/atom in cells of 2 to 8 atoms"),
    "19-functional-name": (
        ["extxyz", "--from", "PBE=pbe.extxyz", "--from", "x_other.extxyz"],
        "'x_other.extxyz#0': unknown_functional, functional 'PBE_54' is unknown; known: ",
    ),
    "26-stress-kbar-in-extxyz": (["extxyz", *TWO], "it is in kBar with VASP's sign"),
}

pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason=f"the cases are not at {CASES}")


@pytest.fixture
def run(cache, tmp_path, monkeypatch):
    """``run(case, *arguments)``: a command in the folder of a case; output goes to ``tmp_path / "out"``."""
    monkeypatch.setenv("XFERBENCH_CACHE", str(cache))

    def run(case, *arguments):
        monkeypatch.chdir(CASES / case)
        return CliRunner().invoke(main, [str(item) for item in arguments])

    return run


@pytest.fixture
def prepared(run, tmp_path):
    def prepared(case):
        result = run(case, "prepare", *READ[case], "-o", tmp_path / "out")
        assert result.exit_code == 0, result.output
        return Dataset.open(tmp_path / "out")

    return prepared


def test_every_case_is_looked_at():
    audited = {"01-audit-csv-gz", "02-audit-tsv"}
    scored = {"20-predictions-csv", "28-pandas-index"}
    assert {path.name for path in CASES.iterdir() if path.is_dir()} == {*READ, *REFUSED, *audited, *scored}


@pytest.mark.parametrize("case", READ)
def test_what_can_be_read_is(prepared, case):
    data = prepared(case)
    assert len(data.pairs()) == 48
    assert data.manifest["drops"] == ({"repeated_record": 12} if case.startswith("25") else {})


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_right_is_refused_by_name(run, tmp_path, case):
    arguments, message = REFUSED[case]
    result = run(case, "prepare", *arguments, "-o", tmp_path / "out")
    assert result.exit_code == 3
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert message in line
    assert not (tmp_path / "out").exists()


def test_a_virial_is_minus_the_volume_times_the_stress(prepared):
    data = prepared("07-virial")
    assert data.manifest["labels"]["PBE"]["stress"] == data.manifest["labels"]["r2SCAN"]["stress"] == 48
    first = next(pair.source for pair in data.pairs() if pair.pair_id == "m0-c")
    assert first.stress[0, 0] == pytest.approx(0.0075375625, rel=1e-6)


def test_the_reference_wins_over_the_calculator(prepared):
    first = next(pair.source for pair in prepared("09-energy-and-ref-energy").pairs() if pair.pair_id == "m0-c")
    assert first.energy == pytest.approx(-4.328946747179579, rel=1e-12)


def test_ids_in_a_database_are_read(prepared):
    assert {pair.material_id for pair in prepared("14-ase-db-key-value-pairs").pairs()} == {
        f"mat_m{i}" for i in range(24)
    }


def test_zero_is_an_id(prepared):
    pairs = prepared("23-ids-from-zero").pairs()
    assert "0" in {pair.material_id for pair in pairs}
    assert "0" in {pair.pair_id for pair in pairs}


@pytest.mark.parametrize(("case", "name"), [("01-audit-csv-gz", "train.csv.gz"), ("01-audit-csv-gz", "train.csv"), ("02-audit-tsv", "train.tsv")])  # fmt: skip
def test_an_audit_sees_the_same_in_every_packing_and_with_every_separator(run, case, name):
    result = run(case, "audit", "mini-static", "--train", name)
    assert result.exit_code == 0, result.output
    assert "12 training records" in result.stdout
    counts = {line.split()[0]: int(line.split()[1]) for line in result.stdout.splitlines() if line.startswith("  ")}
    assert (counts["seen-structure"], counts["new-material"], counts["new-chemsys"]) == (16, 0, 43)


def test_predictions_in_csv_are_read(run, tmp_path):
    result = run(
        "20-predictions-csv",
        "score",
        "predictions.csv",
        "--model-id",
        "m",
        "--functional",
        "r2SCAN",
        "-o",
        tmp_path / "out",
    )
    assert result.exit_code == 3
    assert "158 frames (AlAs_rocksalt-v2-r2SCAN" in result.stderr
    assert "of 159 without prediction" in result.stderr


def test_an_index_of_pandas_is_no_column(run, tmp_path):
    result = run(
        "28-pandas-index",
        "score",
        "predictions.parquet",
        "--model-id",
        "m",
        "--functional",
        "r2SCAN",
        "-o",
        tmp_path / "out",
    )
    assert "__index_level_0__" not in result.output
    assert (result.exit_code, "1 frame (x) not in the data set" in result.stderr) == (3, True)
