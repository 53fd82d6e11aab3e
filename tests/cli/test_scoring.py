from __future__ import annotations

import json

import pytest

from xferbench.tasks import load_task

TASK = load_task("mini-static")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def load_model(device:\n", "model.py:1: syntax error"),
        ('raise ValueError("no weights")\n', "no weights"),
        ("import sys\nsys.exit(0)\n", "exit"),
        ("x = 1\n", "FUNCTIONAL"),
        ('FUNCTIONAL = "r2scam"\ncalculator = 1\n', "did you mean 'r2SCAN'"),
        ('FUNCTIONAL = "r2SCAN"\n', "load_model"),
    ],
)
def test_a_model_file_that_cannot_be_loaded_is_wrong_usage(run, line_of, tmp_path, source, message):
    (tmp_path / "model.py").write_text(source)
    result = run("score", "model.py")
    assert result.exit_code == 2
    assert message in line_of(result)
    assert "model.py" in line_of(result)


def test_score_prints_a_table_or_json(run, lennard_jones):
    text = run("score", lennard_jones, "--limit", "3")
    assert text.exit_code == 0
    assert "Copy of the source label" in text.stdout
    (first, *floors) = json.loads(run("score", lennard_jones, "--limit", "3", "--json").stdout)
    assert first["model"]["id"] == "lennard-jones"
    assert {floor["model"]["kind"] for floor in floors} == {"floor"}


def test_check_prints_each_check_and_fails_with_the_cause(run, tmp_path, lennard_jones):
    good = run("check", lennard_jones)
    assert good.exit_code == 0, good.output
    flipped = tmp_path / "flipped.py"
    flipped.write_text(
        lennard_jones.read_text().replace("def load_model(device):\n    return ", "def base():\n    return ")
        + """

def predict(structures):
    out = []
    for atoms in structures:
        atoms.calc = base()
        out.append({"energy": atoms.get_potential_energy(), "forces": -atoms.get_forces()})
    return out
"""
    )
    bad = run("check", flipped)
    assert bad.exit_code == 1
    assert "FAILED" in bad.stdout
    assert "sign" in bad.stdout
    assert "fails" in bad.stderr
    assert any(item["passed"] is False for item in json.loads(run("check", flipped, "--json").stdout))


@pytest.fixture(scope="module")
def good_rows(cache):
    """Predictions as somebody might write them: energies that are almost the labels."""
    from xferbench.dataset import Dataset, locate
    from xferbench.scoring import expected_frames

    frames = expected_frames(TASK, Dataset.open(locate("mini", cache))).frames
    return [{"frame_id": frame.frame_id, "energy": frame.energy + 0.01 * frame.n_atoms} for frame in frames]


def drop_one(rows):
    return rows[1:]


def double_one(rows):
    return [*rows, rows[0]]


def add_unknown(rows):
    return [*rows, {"frame_id": "Xx_nowhere", "energy": 1.0}]


def put_nan(rows):
    return [{**rows[0], "energy": float("nan")}, *rows[1:]]


def put_infinity(rows):
    return [{**rows[0], "energy": float("inf")}, *rows[1:]]


def wrong_shape(rows):
    return [{**row, "forces": [[0.0, 0.0, 0.0]] * 7} for row in rows]


def rename_energy(rows):
    return [{"frame_id": row["frame_id"], "energies": row["energy"]} for row in rows]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop_one, "missing"),
        (double_one, "once"),
        (add_unknown, "Xx_nowhere"),
        (put_nan, "NaN"),
        (put_infinity, "infinite"),
        (wrong_shape, "shape"),
        (rename_energy, "did you mean 'energies'"),
    ],
)
def test_predictions_that_cannot_be_scored_are_a_data_error(refused, tmp_path, good_rows, change, message):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(change(good_rows)), tmp_path / "mine.parquet")
    assert "mine.parquet" in refused(["score", "mine.parquet", "--functional", "r2SCAN"], 3, message)
    assert not (tmp_path / "xferbench-out/results").exists()


def test_energies_per_atom_are_recognised(run, line_of, tmp_path, good_rows, cache):
    import pyarrow as pa
    import pyarrow.parquet as pq

    from xferbench.dataset import Dataset, locate

    atoms = {frame.frame_id: frame.n_atoms for frame in Dataset.open(locate("mini", cache)).frames("target")}
    rows = [{**row, "energy": row["energy"] / atoms[row["frame_id"]]} for row in good_rows]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "mine.parquet")
    result = run("score", "mine.parquet", "--functional", "r2SCAN")
    assert result.exit_code == 3
    assert "eV/atom" in line_of(result)


def test_a_truncated_predictions_file_is_an_integrity_error(run, line_of, tmp_path, good_rows):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(good_rows), tmp_path / "mine.parquet")
    data = (tmp_path / "mine.parquet").read_bytes()
    (tmp_path / "mine.parquet").write_bytes(data[: len(data) // 2])
    result = run("score", "mine.parquet", "--functional", "r2SCAN")
    assert result.exit_code == 3
    assert "truncated or was altered" in line_of(result)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("raise ValueError('no weights')", "ValueError: no weights"),
        ("import time; time.sleep(60)", "timeout after 1 s"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "killed by signal 9"),
    ],
)
def test_a_model_that_never_answers_is_a_failed_check_with_the_reason(run, line_of, tmp_path, body, reason):
    (tmp_path / "model.py").write_text(f"FUNCTIONAL = 'r2SCAN'\n\n\ndef predict(structures):\n    {body}\n")
    result = run("score", "model.py", "--limit", "1", "--batch-atoms", "2000", "--timeout", "1")
    assert result.exit_code in {1, 2}
    assert reason in line_of(result)


def test_a_failed_structure_is_counted_and_the_rest_is_scored(run, tmp_path, cache):
    from xferbench.dataset import Dataset, locate

    splits = Dataset.open(locate("mini", cache)).manifest["splits"]
    unsupported = splits["test"]["elements"][0]
    supported = sorted(set(splits["train"]["elements"]) - {unsupported})
    (tmp_path / "model.py").write_text(
        f"from ase.calculators.lj import LennardJones\n\nFUNCTIONAL = 'r2SCAN'\nSUPPORTED_ELEMENTS = {supported}\n"
        "calculator = LennardJones(sigma=1.8, epsilon=0.2, rc=6.0, smooth=True)\n"
    )
    result = run("score", "model.py", "--json")
    assert result.exit_code == 0, result.output
    counts = json.loads(result.stdout)[0]["counts"]
    assert counts["failed"] == counts["errors"][f"unsupported element: {unsupported}"] > 0
    assert counts["predicted"] + counts["failed"] == counts["frames"]
    assert "%" in run("score", "model.py").stdout


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["score", "chgnet:0.3"], 2, "did you mean 'chgnet:0.3.0'"),
        (["score", "chgnet:r2scan", "-t", "mini-statc"], 2, "did you mean 'mini-static'"),
        (["score", "floor:copy"], 2, "did you mean 'copy-source'"),
        (["score", "nowhere/model.py"], 2, "does not exist"),
        (["score", "nowhere.parquet", "--functional", "PBE"], 3, "cannot read nowhere.parquet"),
        (["check", "chgnet:1"], 2, "known: chgnet:0.2.0"),
    ],
)
def test_bad_input_ends_in_one_clear_line_and_the_right_code(refused, arguments, code, message):
    refused(arguments, code, message)
