from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from xferbench.tasks import load_task

TASK = load_task("mini-static")


def test_prepare_writes_a_data_set_and_says_where(run, tmp_path):
    result = run("prepare", "--out", "here")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == "here"
    assert "pairs of" in result.stdout
    assert (tmp_path / "here/manifest.json").exists()
    checked = run("prepare", "--out", "here", "--check", "--json")
    assert json.loads(checked.stdout)["fingerprint"] == TASK.fingerprint


@pytest.mark.parametrize("victim", ["data/target/test-00000-of-00001.parquet", "manifest.json", "README.md"])
@pytest.mark.parametrize("damage", ["truncated", "altered", "removed"])
def test_a_damaged_data_set_is_an_integrity_error(run, line_of, tmp_path, victim, damage):
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


def test_check_of_nothing_says_what_to_do(run, line_of):
    result = run("prepare", "--out", "nowhere", "--check")
    assert result.exit_code == 3
    assert "prepare" in line_of(result)


@pytest.mark.parametrize("what", ["datasets", "tasks", "models", "strategies"])
def test_lists_come_as_text_and_as_json(run, what):
    names = [row["name"] for row in json.loads(run("list", what, "--json").stdout)]
    text = run("list", what).stdout
    assert all(name in text for name in names)
    assert names
    lines = [line for line in text.splitlines() if not line.startswith(" ")]
    starts = {
        line.index(row["about"])
        for line, row in zip(lines, json.loads(run("list", what, "--json").stdout), strict=True)
    }
    assert len(starts) == 1


def test_info_tells_what_every_listed_name_is(run):
    for what in ["datasets", "tasks", "models"]:
        for row in json.loads(run("list", what, "--json").stdout):
            facts = json.loads(run("info", row["name"], "--json").stdout)
            assert facts["kind"] in {"dataset", "task", "model", "floor"}
            assert run("info", row["name"]).exit_code == 0


def test_info_shows_tables_as_words(run):
    text = run("info", "chgnet-0.3.0").stdout
    assert "code BSD-3-Clause-LBNL, checkpoint BSD-3-Clause-LBNL" in text
    assert "{" not in text.partition("citation")[0]


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


def test_a_path_below_a_file_is_one_line(run, line_of, tmp_path):
    (tmp_path / "file").write_text("")
    result = run("prepare", "mini", "--out", "file/here")
    assert result.exit_code == 3
    assert "cannot" in line_of(result)


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


def test_a_data_set_does_not_replace_another(run, line_of, tmp_path, salts):
    run("prepare", "extxyz", "--from", salts, "--out", "mine")
    before = (tmp_path / "mine/manifest.json").read_bytes()
    for more in ([], ["--check"]):
        result = run("prepare", "mini", "--out", "mine", *more)
        assert result.exit_code == 3
        assert "mine holds the data set 'extxyz', not 'mini'" in line_of(result)
    assert (tmp_path / "mine/manifest.json").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["prepare", "mnii"], 2, "did you mean 'mini'"),
        (["info", "mini-statc"], 2, "did you mean 'mini-static'"),
        (["prepare", "extxyz"], 2, "give them with --from PATH"),
        (["prepare", "extxyz", "--from", "nowhere.xyz"], 3, "cannot read nowhere.xyz"),
        (["prepare", "extxyz", "--from", "r2scam=a.xyz"], 2, "unknown functional 'r2scam'; did you mean 'r2SCAN'"),
        (
            ["prepare", "extxyz", "--from", "bad.xyz", "--out", "x"],
            3,
            "bad.xyz line 1 is 'not a structure' where a frame begins",
        ),
        (["prepare", "extxyz", "--from", "empty", "--out", "x"], 3, "no files named like .xyz or .extxyz in empty"),
        (["prepare", "mini", "--from", "empty"], 2, "is not made from files; leave --from out"),
        (["prepare", "mini", "--release", "1"], 2, "has no releases; leave --release out"),
        (["export", "empty", "-f", "mace", "-o", "out"], 3, "no data set in empty"),
        (["publish", "dataset", "empty", "--repo-id", "me/x", "--dry-run"], 3, "no data set in empty"),
        (["publish", "dataset", "empty", "--repo-id", "x", "--dry-run"], 2, "does not say whose repository it is"),
    ],
)
def test_bad_input_ends_in_one_clear_line_and_the_right_code(refused, arguments, code, message):
    refused(arguments, code, message)


def test_another_split_is_another_version(run):
    result = run("prepare", "--split-by", "chemsys", "--hold-out-elements", "Fe, Ni", "--out", "here", "--json")
    manifest = json.loads(result.stdout)
    assert manifest["version"] == "1+by-chemsys+without-Fe-Ni"
    assert manifest["split_rule"]["held_out"] == ["Fe", "Ni"]
    assert manifest["fingerprint"] != TASK.fingerprint
    scored = run("score", "floor:copy-source", "--task", "mini-static", "--dataset", "here")
    assert scored.exit_code == 3
    assert "is about data with fingerprint" in scored.stderr
    own = run("score", "floor:copy-source", "--dataset", "here")
    assert own.exit_code == 0
    assert "task here-static: the r²SCAN labels of the test pairs of here" in own.stderr


def test_what_is_no_element_is_told(run, line_of):
    result = run("prepare", "--hold-out-elements", "Fe,Xx", "--out", "here")
    assert result.exit_code == 2
    assert "'Xx' is no element" in line_of(result)


def test_an_audit_prints_counts_and_writes_the_pairs(run, tmp_path):
    (tmp_path / "train.txt").write_text("AlAs\nmp-1\n")
    result = run("audit", "mini", "--train", "train.txt", "-o", "a.json")
    assert result.exit_code == 0
    assert "2 training records against 59 test pairs of mini 1" in result.stdout
    stored = json.loads((tmp_path / "a.json").read_text())
    printed = json.loads(run("audit", "mini", "--train", "train.txt", "--json").stdout)
    assert printed["overlapping"] is None
    assert printed["counts"] == stored["counts"]
    assert len(stored["overlapping"]["id"]) == stored["counts"]["id"]


def test_an_audit_of_nothing_is_a_data_error(run, line_of, tmp_path):
    (tmp_path / "train.txt").write_text("")
    result = run("audit", "mini", "--train", "train.txt")
    assert result.exit_code == 3
    assert "train.txt has no records" in line_of(result)


def test_the_test_materials_are_taken_out_of_a_source_training_set(run, tmp_path):
    (tmp_path / "train.txt").write_text("mp-1\nU3O8\n")
    result = run("prepare", "--out", "here", "--exclude-test-from-source", "train.txt")
    assert result.exit_code == 0
    assert "source training set: 2 of 2 records are left (0 by id, 0 by structure)" in result.stderr
    assert (tmp_path / "here.source-train.txt").read_text() == "mp-1\nU3O8\n"


def test_what_was_prepared_from_files_is_known_by_its_name_to_every_command(run, salts):
    made = run("prepare", "extxyz", "--from", salts, "--name", "my-salts", "--json", "--offline")
    assert made.exit_code == 0, made.output
    manifest = json.loads(made.stdout)
    for name in ("my-salts", manifest["dataset"]):
        assert run("refs", "fit", name, "--offline", "--allow-missing").exit_code == 0
        assert run("export", name, "-f", "extxyz", "-o", "files", "--offline").exit_code == 0
        assert run("prepare", name, "--check").exit_code == 0
        analysed = run("analyze", name, "--offline", "--resamples", "5", "--json")
        assert json.loads(analysed.stdout)["dataset"]["fingerprint"] == manifest["fingerprint"]
    listed = {row["name"]: row["prepared"] for row in json.loads(run("list", "datasets", "--json").stdout)}
    (entry,) = listed["my-salts"]
    assert entry["fingerprint"] == manifest["fingerprint"]
    assert entry["recipe"] == f"xferbench prepare extxyz --from {salts} --name my-salts"
    assert run(*entry["recipe"].split()[1:]).exit_code == 0


def test_the_schema_of_a_file_is_printed_as_json(run):
    schema = json.loads(run("schema", "task").stdout)
    assert schema["$ref"] == "#/$defs/Task"


def test_matpes_prepared_from_files_is_there_for_the_commands_that_follow(run, script, tmp_path):
    script("matpes_like").write(tmp_path / "files", 300)
    made = run("prepare", "matpes", "--from", "files", "--offline")
    assert made.exit_code == 0, made.output
    for command in (
        ["refs", "fit", "matpes", "--allow-missing"],
        ["analyze", "matpes", "--resamples", "5"],
        ["audit", "matpes", "--train", "files"],
    ):
        result = run(*command, "--offline")
        assert result.exit_code == 0, result.output
