from __future__ import annotations

import json

import pytest

from xferbench import studies


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["study", "methods", "mini", "--methods", "scrach", "-o", "out"], 2, "did you mean 'scratch'"),
        (["study", "methods", "mini", "--set", "lr=-1", "-o", "out"], 2, "lr = -1.0 must be positive"),
        (["study", "methods", "minni", "-o", "out"], 2, "did you mean 'mini'"),
        (["study", "methods", "mini", "--preset", "big", "-o", "out"], 2, "unknown preset 'big'"),
        (["study", "scaling", "mini", "--sizes", "0.1,2", "-o", "out"], 2, "subset 2: a fraction"),
    ],
)
def test_bad_input_ends_in_one_clear_line_and_the_right_code(refused, arguments, code, message):
    refused(arguments, code, message)


def test_sizes_are_numbers(run):
    result = run("study", "scaling", "mini", "--sizes", "0.1,all", "-o", "out")
    assert result.exit_code == 2
    assert "write numbers joined by commas, such as 0.01,0.1,1" in result.stderr


@pytest.fixture
def asked(monkeypatch):
    """What the command asks for, without doing it."""
    calls = []

    def run_study(data, grid, out, execution):
        calls.append((data.name, grid, out, execution))
        raise studies.CheckFailedError("nothing was done")

    monkeypatch.setattr(studies, "run_study", run_study)
    return calls


def test_a_study_of_methods_is_asked_for_as_typed(run, asked):
    result = run(
        "study", "methods", "mini", "--methods", "paper-1, lora", "--seeds", "2", "--epochs", "5", "--subset", "0.5",
        "--option", "lora:rank=4", "--model", "sevennet:7net-0", "--jobs", "2", "--cluster", "slurm", "--cluster-option", "timeout_min=60", "-o", "out",
    )  # fmt: skip
    assert result.exit_code == 1
    [(dataset, grid, out, execution)] = asked
    assert (dataset, str(out)) == ("mini", "out")
    assert (grid.kind, grid.methods, grid.subsets, grid.n_seeds) == ("methods", ("paper-1", "lora"), (0.5,), 2)
    assert grid.config["epochs"] == 5
    assert grid.options == {"lora+model-aware": {"rank": 4}}
    assert grid.models == ("sevennet:7net-0",)
    assert (execution.jobs, execution.cluster, execution.cluster_options) == (2, "slurm", ("timeout_min=60",))


def test_the_usual_methods_are_compared_unless_some_are_named(run, asked):
    run("study", "methods", "-o", "out")
    assert asked[0][1].methods == ()


def test_scaling_fits_references_to_all_energies_unless_told_otherwise(run, asked):
    run("study", "scaling", "mini", "--fit-from", "10", "-o", "out")
    run("study", "scaling", "mini", "--set", "reference_data=subset", "-o", "out")
    first, second = (grid for _, grid, *_ in asked)
    assert first.config["reference_data"] == "train"
    assert second.config["reference_data"] == "subset"
    assert (first.methods, first.fit_from) == (("paper-1", "paper-4"), 10)
    assert first.subsets == (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


def test_a_real_study_from_the_command_line(run, tmp_path):
    arguments = ["study", "methods", "mini", "--methods", "scratch,zero-shot", "--seeds", "1", "--epochs", "1"]
    arguments += ["--subset", "0.1", "--set", "threads=1", "--set", "reference_data=train", "-o", "out", "--json"]
    result = run(*arguments)
    assert result.exit_code == 0, result.stderr
    values = json.loads(result.stdout)
    errors = {(item["method"], item["quantity"]): item["mean"] for item in values["errors"]}
    assert errors["zero-shot+model-aware", "forces"] < errors["scratch+fit", "forces"]
    assert values["plan"]["seeds"] == [0]
    assert (tmp_path / "out" / "index.html").exists()
    before = (tmp_path / "out" / "study.json").read_bytes()
    again = run(*arguments)
    assert "2 of 2 runs are finished" in again.stderr
    assert (tmp_path / "out" / "study.json").read_bytes() == before


def test_a_study_with_a_failed_run_shows_what_there_is_and_ends_with_1(run, tmp_path):
    atoms = tmp_path / "atoms.csv"
    atoms.write_text("element,PBE,r2SCAN\nLi,-0.2,-0.3\n")
    arguments = ["study", "methods", "mini", "--methods", "zero-shot,finetune+atoms", "--seeds", "1"]
    arguments += ["--set", "threads=1", "--set", f"atoms={atoms}", "-o", "out"]
    result = run(*arguments)
    assert result.exit_code == 1
    assert "\nzero-shot+model-aware  " in result.stdout
    assert result.stderr.splitlines()[-1] == (
        "Error: 1 of 2 runs failed; the report says why, the same command tries them again"
    )
    assert (tmp_path / "out" / "index.html").exists()
