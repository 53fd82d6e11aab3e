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
    command = [sys.executable, "-c", "from xferbench.cli import main; main()", "info", "mini-static"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"XFERBENCH_CACHE": str(cache)},
    ) as process:
        process.stdout.close()
        assert b"Traceback" not in process.stderr.read()
