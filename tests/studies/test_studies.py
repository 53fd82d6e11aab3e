from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest

from xferbench import dataset, studies
from xferbench.errors import CheckFailedError, StorageError, UnknownNameError, UsageError
from xferbench.functionals import Functional
from xferbench.report.markdown import markdown
from xferbench.report.terminal import terminal
from xferbench.studies.report import study_report


def files(out):
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def test_a_study_of_methods_from_plan_to_page(run_study, calls, tmp_path):
    report = run_study()
    out = tmp_path / "study"
    assert json.loads((out / "plan.json").read_text())["methods"] == [
        "scratch+fit",
        "finetune+fit",
        "finetune+source",
    ]
    assert len(calls()) == 6
    assert {path.name for path in report.written} >= {
        "study.json",
        "runs.csv",
        "summary.csv",
        "README.md",
        "index.html",
    }
    energies = {entry.method: entry for entry in report.study.entries if entry.quantity == "energy"}
    n = report.study.n_training[1.0]
    assert energies["scratch+fit"].mean.value == pytest.approx(0.95 * 2.0 * n**-0.6)
    assert energies["finetune+source"].ratio.value == pytest.approx(2.0)  # negative transfer
    assert str(report) == terminal(study_report(report.study))
    assert markdown(study_report(report.study)) == (out / "README.md").read_text()


def test_the_plan_is_there_before_the_first_run(run_study, execution, tmp_path):
    with pytest.raises(AttributeError):
        run_study(how=execution("no_such_function"))
    assert (tmp_path / "study" / "plan.json").exists()


def test_the_same_command_repeats_nothing_and_writes_the_same(run_study, calls, tmp_path):
    run_study()
    before = files(tmp_path / "study")
    run_study()
    assert len(calls()) == 6
    assert files(tmp_path / "study") == before


def test_more_seeds_add_to_a_study(run_study, calls):
    run_study()
    report = run_study(n_seeds=3)
    assert len(calls()) == 9
    assert {len(entry.values) for entry in report.study.entries} == {3}


def test_in_equal_time_every_method_gets_the_epochs_that_fit(run_study, calls, tmp_path):
    report = run_study(minutes=1.0)
    assert report.study.plan.epochs == {"scratch+fit": 20, "finetune+fit": 15}  # of 3 s and 4 s
    runs = (tmp_path / "study/runs").glob("*/subset-1/seed-*/run.json")
    assert {run["method"]: run["config"]["epochs"] for run in map(json.loads, (path.read_text() for path in runs))} == {
        "scratch+fit": 20,
        "finetune+fit": 15,
        "finetune+source": 4,  # nothing to time: what all share
    }
    steps = 20 * -(-report.study.n_training[1.0] // 64)
    assert f"1 minutes where it was planned: scratch+fit 20 ({steps} steps), finetune+fit 15" in " ".join(
        str(report).split()
    )
    timed = len(calls())
    assert timed == 3 + 6
    assert run_study(minutes=1.0, n_seeds=3).study.plan.epochs == report.study.plan.epochs
    assert len(calls()) == timed + 3
    with pytest.raises(UsageError, match=r"minutes 1\.0, not 2\.0"):
        run_study(minutes=2.0)
    with pytest.raises(UsageError, match=r"minutes 1\.0, not None"):
        run_study()


def test_other_settings_are_another_study(run_study):
    run_study()
    with pytest.raises(UsageError, match="epochs 4, not 5; choose another directory"):
        run_study(config=studies.settings(epochs=5))


def test_how_runs_are_carried_out_may_change(run_study, calls):
    run_study(config=studies.settings(epochs=4, settings=("threads=1",)))
    run_study(n_seeds=3, config=studies.settings(epochs=4, settings=("threads=2",)))
    assert len(calls()) == 9


def test_a_method_that_fails_is_told_and_tried_again(run_study, calls):
    methods = ("scratch+fit", "finetune+atoms")
    report = run_study(methods=methods, n_seeds=1)
    assert list(report.study.failed) == ["runs/finetune+atoms/subset-1/seed-0"]
    said = " ".join(str(report).split())
    assert "Failed: runs/finetune+atoms/subset-1/seed-0 (DataError: finetune+atoms" in said
    run_study(methods=methods, n_seeds=1)
    assert [call[0] for call in calls()] == ["scratch+fit", "finetune+atoms", "finetune+atoms"]


def test_a_method_that_never_started_may_be_given_its_options(run_study, tmp_path):
    methods, atoms = ("scratch+fit", "finetune+atoms"), tmp_path / "a.csv"
    run_study(methods=methods, n_seeds=1)
    config = studies.settings(epochs=4, settings=(f"atoms={atoms}",))
    with pytest.raises(StorageError, match=r"cannot read .*a\.csv"):
        run_study(methods=methods, n_seeds=1, config=config)
    atoms.write_text("element,PBE,r2SCAN\nLi,-0.1,-0.3\n")
    assert run_study(methods=methods, n_seeds=1, config=config).study.plan.atoms == str(atoms)
    with pytest.raises(UsageError, match=r"options of scratch\+fit None, not"):
        run_study(methods=methods, n_seeds=1, options={methods[0]: {"rank": 4}})


def test_isolated_atoms_take_part_once_their_energies_are_given(cache, tmp_path):
    pytest.importorskip("chgnet")
    atoms, mini = tmp_path / "atoms.json", dataset.prepare("mini", cache_dir=cache)
    own = mini.atom_energies
    atoms.write_text(json.dumps(own))
    grid = studies.Grid(
        kind="methods",
        methods=("finetune+atoms",),
        n_seeds=1,
        config=studies.settings(epochs=0, settings=(f"atoms={atoms}",)),
    )
    report = studies.run_study(mini, grid, tmp_path / "study", studies.Execution())
    assert not report.study.failed
    digest = report.study.plan.atom_energies
    assert "| finetune+atoms | 1 | " in markdown(study_report(report.study))
    own[Functional("PBE")]["Li"] += 0.01
    atoms.write_text(json.dumps(own))
    with pytest.raises(
        UsageError, match=rf"holds another study: isolated atoms {digest}, not sha256:\w+; choose another"
    ):
        studies.run_study(mini, replace(grid, n_seeds=2), tmp_path / "study", studies.Execution())


def test_a_study_without_any_result_says_why(run_study):
    with pytest.raises(CheckFailedError, match=r"has finished: DataError: lora\+fit needs the energies of atoms"):
        run_study(methods=("lora+fit",))


def test_unknown_methods_are_refused_before_anything_is_written(run_study, tmp_path):
    with pytest.raises(UnknownNameError, match="did you mean 'scratch'"):
        run_study(methods=("scrach",))
    assert not (tmp_path / "study").exists()


def test_scaling_finds_the_laws_that_were_put_in(run_study):
    report = run_study(kind="scaling", methods=("scratch+fit", "finetune+fit"), subsets=(0.2, 0.4, 0.7, 1.0))
    fits = report.study.scaling.fits
    assert fits["scratch+fit", "energy"].exponent.value == pytest.approx(0.6, abs=1e-6)
    assert fits["finetune+fit", "forces"].exponent.value == pytest.approx(0.3, abs=1e-6)
    energy = report.study.scaling.comparisons["finetune+fit", "energy"]
    assert energy.crossing.value == pytest.approx(5 ** (1 / 0.3), rel=1e-6)  # 2 n^-0.6 = 0.4 n^-0.3
    assert "\nPower laws\n" in str(report)
    assert "\nAgainst scratch\n" in str(report)


def test_curves_can_be_fitted_by_the_command_for_tables(run_study, tmp_path):
    from xferbench import fit_scaling

    run_study(kind="scaling", methods=("scratch+fit", "finetune+fit"), subsets=(0.2, 0.4, 0.7, 1.0))
    found = fit_scaling(tmp_path / "study" / "energy.csv", first=1, versus=["finetune+fit:scratch+fit"])
    assert found.fits["scratch+fit"].exponent.value == pytest.approx(0.6, abs=1e-6)


def test_forgetting_is_the_change_on_the_source(run_study):
    report = run_study()
    found = {item.quantity: item for item in report.study.forgotten if item.method == "finetune+fit"}
    assert found["forces"].change == pytest.approx(0.015)  # 0.01 and 0.02
    assert found["forces"].seed_sd == pytest.approx(0.00707, abs=1e-5)
    assert "scratch+fit" not in {item.method for item in report.study.forgotten}


def test_synthetic_labels_are_marked_wherever_numbers_are(synthetic_source, tmp_path, run_study, execution):
    from dataclasses import replace

    source = replace(synthetic_source, synthetic=True)
    made = dataset.build(source, tmp_path / "other" / "data")
    grid = studies.Grid(kind="methods", methods=("scratch+fit",), n_seeds=1, config=studies.settings())
    report = studies.run_study(made, grid, tmp_path / "out", execution())
    assert "not of DFT" in " ".join(str(report).split())
    assert "not of DFT" in (tmp_path / "out" / "index.html").read_text()
    assert report.study.to_json()["synthetic"] is True
    assert "not of DFT" not in str(run_study())


def test_runs_of_all_seeds_are_in_the_table(run_study, tmp_path):
    run_study()
    rows = list(csv.DictReader(io.StringIO((tmp_path / "study" / "runs.csv").read_text())))
    assert len(rows) == 3 * 2 * 4
    assert {row["quantity"] for row in rows} == {"energy", "forces", "stress", "magmoms"}
