from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from xferbench import __name__ as package
from xferbench.cli import command_paths, main
from xferbench.tasks import load_task

TASK = load_task("mini-static")


@pytest.fixture
def run(cache, tmp_path, monkeypatch):
    """Run a command in an empty folder with the shared cache."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XFERBENCH_CACHE", str(cache))

    def run(*arguments):
        return CliRunner().invoke(main, [str(item) for item in arguments])

    return run


def line_of(result):
    """The one error line."""
    lines = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1, result.stderr
    assert result.stdout == ""
    return lines[0]


def test_every_command_and_option_has_help():
    for name, command in command_paths():
        assert command.help, name
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, f"{name} {parameter.name}"


def test_the_version_is_that_of_the_package(run):
    from importlib.metadata import version

    assert run("--version").stdout.strip().endswith(version(package))


def test_prepare_writes_a_data_set_and_says_where(run, tmp_path):
    result = run("prepare", "--out", "here")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == "here"
    assert "pairs of" in result.stdout
    assert (tmp_path / "here/manifest.json").exists()
    checked = run("prepare", "--out", "here", "--check", "--json")
    assert json.loads(checked.stdout)["fingerprint"] == TASK.fingerprint


@pytest.mark.parametrize("victim", ["data/r2scan/test-00000-of-00001.parquet", "manifest.json", "README.md"])
@pytest.mark.parametrize("damage", ["truncated", "altered", "removed"])
def test_a_damaged_data_set_is_an_integrity_error(run, tmp_path, victim, damage):
    run("prepare", "--out", "here")
    path = tmp_path / "here" / victim
    data = path.read_bytes()
    if damage == "removed":
        path.unlink()
    else:
        path.write_bytes(data[: len(data) // 2] if damage == "truncated" else data.replace(b"i", b"j", 1))
    result = run("prepare", "--out", "here", "--check")
    assert result.exit_code == 3
    assert "here" in line_of(result)


def test_check_of_nothing_says_what_to_do(run):
    result = run("prepare", "--out", "nowhere", "--check")
    assert result.exit_code == 3
    assert "prepare" in line_of(result)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["prepare", "mnii"], 2, "did you mean 'mini'"),
        (["info", "mini-statc"], 2, "did you mean 'mini-static'"),
        (["score", "chgnet:0.3"], 2, "did you mean 'chgnet:0.3.0'"),
        (["score", "chgnet:r2scan", "-t", "mini-statc"], 2, "did you mean 'mini-static'"),
        (["score", "floor:copy"], 2, "did you mean 'copy-gga'"),
        (["score", "nowhere/model.py"], 2, "does not exist"),
        (["score", "nowhere.parquet", "--functional", "PBE"], 3, "cannot read nowhere.parquet"),
        (["check", "chgnet:1"], 2, "known: chgnet:0.2.0"),
        (["refs", "fit", "mini", "--functional", "pbe"], 2, "did you mean 'PBE'"),
        (["refs", "fit", "mini", "--split", "training"], 2, "known: test, train, val"),
        (["refs", "fit", "mini", "--elements", "Li,Xx"], 2, "Xx is no chemical symbol"),
        (["refs", "fit", "mini", "--elements", "Li,Pu"], 3, "no structure contains Pu"),
        (["refs", "fit", "mini", "--functional", "PBE+U"], 3, "has no frames of PBE+U"),
        (["validate", "."], 3, "has no tasks/, models/ or results/ to check"),
        (["leaderboard", "build", "nowhere"], 3, "there is no leaderboard directory at nowhere"),
        (["mini", "generate", "r.jsonl", "--part", "2/2"], 2, "--part must be i/n with i < n"),
        (["mini", "build", "--records", "nowhere.jsonl", "--out", "x.parquet"], 3, "cannot read nowhere.jsonl"),
    ],
)
def test_bad_input_ends_in_one_clear_line_and_the_right_code(run, arguments, code, message):
    result = run(*arguments)
    assert message in line_of(result)
    assert result.exit_code == code


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def load_model(device:\n", "model.py:1: syntax error"),
        ('raise ValueError("no weights")\n', "no weights"),
        ("import sys\nsys.exit(0)\n", "exit"),
        ("x = 1\n", "FUNCTIONAL"),
        ('FUNCTIONAL = "r2scan"\ncalculator = 1\n', "did you mean 'r2SCAN'"),
        ('FUNCTIONAL = "r2SCAN"\n', "load_model"),
    ],
)
def test_a_model_file_that_cannot_be_loaded_is_wrong_usage(run, tmp_path, source, message):
    (tmp_path / "model.py").write_text(source)
    result = run("score", "model.py")
    assert result.exit_code == 2
    assert message in line_of(result)
    assert "model.py" in line_of(result)


def test_a_bug_keeps_its_traceback(run, monkeypatch):
    from xferbench import workflow

    monkeypatch.setattr(workflow, "listing", lambda _what: 1 / 0)
    result = run("list", "tasks")
    assert isinstance(result.exception, ZeroDivisionError)


@pytest.mark.parametrize("what", ["datasets", "tasks", "models", "methods"])
def test_lists_come_as_text_and_as_json(run, what):
    names = [row["name"] for row in json.loads(run("list", what, "--json").stdout)]
    text = run("list", what).stdout
    assert all(name in text for name in names)
    assert names or text.strip() == "no methods yet"


def test_info_tells_what_every_listed_name_is(run):
    for what in ["datasets", "tasks", "models"]:
        for row in json.loads(run("list", what, "--json").stdout):
            facts = json.loads(run("info", row["name"], "--json").stdout)
            assert facts["kind"] in {"dataset", "task", "model", "floor"}
            assert run("info", row["name"]).exit_code == 0


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


def test_score_prints_a_table_or_json(run, lennard_jones):
    text = run("score", lennard_jones, "--limit", "3")
    assert text.exit_code == 0
    assert "Copy of the GGA label" in text.stdout
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


def test_leaderboard_build_says_what_it_wrote(run, tmp_path):
    run("score", "floor:copy-gga", "--out", "board")
    result = run("leaderboard", "build", "board")
    assert result.exit_code == 0, result.output
    assert [Path(line).name for line in result.stdout.split()] == ["README.md", "index.html"]


def test_an_interrupted_pipe_is_quiet(cache):
    command = [sys.executable, "-c", "from xferbench.cli import run; run()", "info", "mini-static"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"XFERBENCH_CACHE": str(cache)},
    ) as process:
        process.stdout.close()
        assert b"Traceback" not in process.stderr.read()


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
def test_predictions_that_cannot_be_scored_are_a_data_error(run, tmp_path, good_rows, change, message):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(change(good_rows)), tmp_path / "mine.parquet")
    result = run("score", "mine.parquet", "--functional", "r2SCAN")
    assert result.exit_code == 3
    assert message in line_of(result)
    assert "mine.parquet" in line_of(result)
    assert not (tmp_path / "xferbench-out/results").exists()


def test_energies_per_atom_are_recognised(run, tmp_path, good_rows, cache):
    import pyarrow as pa
    import pyarrow.parquet as pq

    from xferbench.dataset import Dataset, locate

    atoms = {frame.frame_id: frame.n_atoms for frame in Dataset.open(locate("mini", cache)).frames("r2scan")}
    rows = [{**row, "energy": row["energy"] / atoms[row["frame_id"]]} for row in good_rows]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "mine.parquet")
    result = run("score", "mine.parquet", "--functional", "r2SCAN")
    assert result.exit_code == 3
    assert "eV/atom" in line_of(result)


def test_a_truncated_predictions_file_is_an_integrity_error(run, tmp_path, good_rows):
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
def test_a_model_that_never_answers_is_a_failed_check_with_the_reason(run, tmp_path, body, reason):
    (tmp_path / "model.py").write_text(f"FUNCTIONAL = 'r2SCAN'\n\n\ndef predict(structures):\n    {body}\n")
    result = run("score", "model.py", "--limit", "1", "--batch-size", "200", "--timeout", "1")
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


def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(cache, tmp_path):
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000)); from xferbench.cli import run; run()"
    )
    process = subprocess.run(
        [sys.executable, "-c", code, "prepare", "mini", "--out", "here"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"XFERBENCH_CACHE": str(cache)},
    )
    assert process.returncode == 3, process.stderr
    assert len(process.stderr.strip().splitlines()) == 1
    assert process.stderr.startswith("Error: cannot write")
    assert not (tmp_path / "here").exists()


def test_a_path_below_a_file_is_one_line(run, tmp_path):
    (tmp_path / "file").write_text("")
    result = run("prepare", "mini", "--out", "file/here")
    assert result.exit_code == 3
    assert "cannot" in line_of(result)


@pytest.fixture
def salts(tmp_path):
    """An extended XYZ file of a user: alkali halides in both functionals, energies only."""
    from ase import Atoms
    from ase.io import write

    frames = []
    for metal in ("Li", "Na", "K", "Rb"):
        for halogen in ("F", "Cl", "Br", "I"):
            for functional, energy in (("PBE", -5.0), ("r2SCAN", -8.0)):
                made = Atoms(metal + halogen, positions=[[0, 0, 0], [2, 2, 2]], cell=[4, 4, 4], pbc=True)
                made.info.update(REF_energy=energy, functional=functional)
                frames.append(made)
    write(tmp_path / "salts.extxyz", frames, format="extxyz")
    return tmp_path / "salts.extxyz"


def test_the_files_of_a_user_become_a_data_set_that_every_command_opens(run, salts):
    made = run("prepare", "extxyz", "--from", salts, "--out", "mine", "--json")
    assert made.exit_code == 0, made.output
    assert json.loads(made.stdout)["fingerprint"].startswith("sha256:")
    exported = run("export", "mine", "-f", "mace", "-o", "mace", "--json")
    rows = json.loads(exported.stdout)
    assert sum(row["frames"] for row in rows) == 32
    assert all(row["missing"]["forces"] == row["frames"] for row in rows)
    trained = run("export", "mine", "-f", "chgnet", "-o", "chgnet")
    assert trained.exit_code == 0
    assert "left out: no forces and no stress" in trained.stdout
    assert run("publish", "dataset", "mine", "--repo-id", "me/salts", "--dry-run").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["prepare", "extxyz"], 2, "give them with --from PATH"),
        (["prepare", "extxyz", "--from", "nowhere.xyz"], 3, "cannot read nowhere.xyz"),
        (["prepare", "extxyz", "--from", "LDA=a.xyz"], 2, "'LDA' is no functional; known: PBE, PBE+U, r2SCAN"),
        (["prepare", "extxyz", "--from", "bad.xyz", "--out", "x"], 3, "bad.xyz: ASE cannot read it"),
        (["prepare", "extxyz", "--from", "empty", "--out", "x"], 3, "no files ending in .xyz, .extxyz in empty"),
        (["prepare", "mini", "--from", "empty"], 2, "is not made from files; leave --from out"),
        (["prepare", "mini", "--release", "1"], 2, "has no releases; leave --release out"),
        (["compare", "floor:ridge"], 2, "two models at least"),
        (["compare", "floor:ridge", "floor-ridge"], 2, "floor-ridge is named twice"),
        (["compare", "floor:ridge", "floor:copy-gga", "-t", "mini-statc"], 2, "did you mean 'mini-static'"),
        (["compare", "floor:ridge", "nowhere.json"], 3, "cannot read nowhere.json"),
        (["compare", "floor:ridge", "floor:copy-gga", "-m", "force_mae"], 3, "the model predicts no forces"),
        (["gap", "nowhere.parquet", "b.parquet"], 3, "cannot read nowhere.parquet"),
        (["gap", "a.parquet", "b.parquet", "-t", "mini-static-pbe"], 2, "name an r2SCAN task"),
        (["fit-scaling", "nowhere.csv", "--from", "1"], 3, "cannot read nowhere.csv"),
        (["fit-scaling", "one.csv", "--from", "1"], 3, "3 of different size are needed"),
        (["fit-scaling", "one.csv", "--from", "9", "--to", "3"], 2, "the range from 9 to 3 structures is empty"),
        (["fit-scaling", "one.csv", "--from", "1", "--versus", "a:b"], 2, "unknown column 'b'"),
        (["refs", "compare", "mini", "--atoms", "list.json"], 3, "list.json has no table of PBE"),
        (["refs", "compare", "mini", "--atoms", "words.json"], 3, "PBE Li is 'x', not a number; r2SCAN must map"),
        (["refs", "compare", "mini", "--predictions", "list.json"], 3, "list.json is not a readable Parquet file"),
        (["analyze", "mini", "--functional", "pbe"], 2, "did you mean 'PBE'"),
        (["analyze", "mini", "--functional", "PBE+U"], 3, "no pair has a PBE+U frame; found PBE"),
        (["analyze", "empty"], 3, "no data set in empty: manifest.json is missing"),
        (["export", "empty", "-f", "mace", "-o", "out"], 3, "no data set in empty"),
        (["publish", "dataset", "empty", "--repo-id", "me/x", "--dry-run"], 3, "no data set in empty"),
        (["publish", "dataset", "empty", "--repo-id", "x", "--dry-run"], 2, "does not say whose repository it is"),
    ],
)
def test_commands_on_files_end_in_one_clear_line_too(run, tmp_path, arguments, code, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.xyz").write_text("not a structure\n")
    (tmp_path / "one.csv").write_text("n,a\n5,3\n5,2\n5,1\n")
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "words.json").write_text('{"PBE": {"Li": "x"}, "r2SCAN": 3}')
    result = run(*arguments)
    assert message in line_of(result)
    assert result.exit_code == code
    assert not (tmp_path / "out").exists()


def test_a_data_set_does_not_replace_another(run, tmp_path, salts):
    run("prepare", "extxyz", "--from", salts, "--out", "mine")
    before = (tmp_path / "mine/manifest.json").read_bytes()
    for more in ([], ["--check"]):
        result = run("prepare", "mini", "--out", "mine", *more)
        assert result.exit_code == 3
        assert "mine holds the data set 'extxyz', not 'mini'" in line_of(result)
    assert (tmp_path / "mine/manifest.json").read_bytes() == before


@pytest.mark.parametrize(
    ("body", "code", "text"),
    [
        ("print('done')", 0, "done"),
        ("raise SystemExit(3)", 3, ""),
        ("raise SystemExit", 0, ""),
        ("1 / 0", 1, "ZeroDivisionError"),
        ("import atexit; atexit.register(lambda: os.abort()); raise SystemExit(2)", 2, ""),
    ],
)
def test_the_exit_code_is_the_commands_whatever_happens_while_the_interpreter_ends(body, code, text):
    source = f"import os\nfrom xferbench import cli\ndef main():\n    {body}\ncli.main = main\ncli.run()"
    process = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=False)
    assert process.returncode == code
    assert text in process.stdout + process.stderr
