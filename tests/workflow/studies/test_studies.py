from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest

from xferbench import dataset
from xferbench.errors import CheckFailedError, StorageError, UnknownNameError, UsageError
from xferbench.records import Functional
from xferbench.workflow import studies


def files(out):
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def test_a_study_of_methods_from_plan_to_page(conduct, calls, tmp_path):
    report = conduct()
    out = tmp_path / "study"
    assert json.loads((out / "plan.json").read_text())["methods"] == [
        "scratch",
        "finetune-refit-refs",
        "finetune-frozen-refs",
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
    assert energies["scratch"].mean.value == pytest.approx(0.95 * 2.0 * n**-0.6)
    assert energies["finetune-frozen-refs"].ratio.value == pytest.approx(2.0)  # negative transfer
    assert report.text == (out / "README.md").read_text()


def test_the_plan_is_there_before_the_first_run(conduct, means, tmp_path):
    with pytest.raises(AttributeError):
        conduct(how=means("no_such_function"))
    assert (tmp_path / "study" / "plan.json").exists()


def test_the_same_command_repeats_nothing_and_writes_the_same(conduct, calls, tmp_path):
    conduct()
    before = files(tmp_path / "study")
    conduct()
    assert len(calls()) == 6
    assert files(tmp_path / "study") == before


def test_more_seeds_add_to_a_study(conduct, calls):
    conduct()
    report = conduct(n_seeds=3)
    assert len(calls()) == 9
    assert {len(entry.values) for entry in report.study.entries} == {3}


def test_other_settings_are_another_study(conduct):
    conduct()
    with pytest.raises(UsageError, match="epochs 4, not 5; choose another directory"):
        conduct(config=studies.settings("paper", epochs=5))


def test_how_runs_are_carried_out_may_change(conduct, calls):
    conduct(config=studies.settings("paper", epochs=4, settings=("threads=1",)))
    conduct(n_seeds=3, config=studies.settings("paper", epochs=4, settings=("threads=2",)))
    assert len(calls()) == 9


def test_a_method_that_fails_is_told_and_tried_again(conduct, calls):
    methods = ("scratch", "finetune-isolated-atoms")
    report = conduct(methods=methods, n_seeds=1)
    assert list(report.study.failed) == ["runs/finetune-isolated-atoms/subset-1/seed-0"]
    assert "Failed: `runs/finetune-isolated-atoms/subset-1/seed-0` (DataError: finetune-isolated-atoms" in report.text
    conduct(methods=methods, n_seeds=1)
    assert [call[0] for call in calls()] == ["scratch", "finetune-isolated-atoms", "finetune-isolated-atoms"]


def test_a_method_that_never_started_may_be_given_its_options(conduct, tmp_path):
    methods, atoms = ("scratch", "finetune-isolated-atoms"), tmp_path / "a.csv"
    conduct(methods=methods, n_seeds=1)
    options = {methods[1]: {"atoms": str(atoms)}}
    with pytest.raises(StorageError, match=r"cannot read .*a\.csv"):
        conduct(methods=methods, n_seeds=1, options=options)
    atoms.write_text("element,PBE,r2SCAN\nLi,-0.1,-0.3\n")
    assert conduct(methods=methods, n_seeds=1, options=options).study.plan.options == options
    with pytest.raises(UsageError, match="options of scratch None, not"):
        conduct(methods=methods, n_seeds=1, options={methods[0]: {"rank": 4}})


def test_isolated_atoms_take_part_once_their_energies_are_given(cache, tmp_path):
    pytest.importorskip("chgnet")
    atoms, own = tmp_path / "atoms.json", dataset.prepare("mini", cache_dir=cache).atom_energies
    atoms.write_text(json.dumps(own))
    grid = studies.Grid(
        kind="methods",
        methods=("finetune-isolated-atoms",),
        n_seeds=1,
        config=studies.settings("paper", epochs=0),
        options=studies.method_options([f"finetune-isolated-atoms:atoms={atoms}"]),
    )
    report = studies.conduct("mini", grid, tmp_path / "study", studies.Means(), cache_dir=cache)
    assert not report.study.failed
    digest = report.study.plan.atom_energies
    assert "| finetune-isolated-atoms | 1 | " in report.text
    own[Functional.PBE]["Li"] += 0.01
    atoms.write_text(json.dumps(own))
    with pytest.raises(
        UsageError, match=rf"holds another study: isolated atoms {digest}, not sha256:\w+; choose another"
    ):
        studies.conduct("mini", replace(grid, n_seeds=2), tmp_path / "study", studies.Means(), cache_dir=cache)


def test_a_study_without_any_result_says_why(conduct):
    with pytest.raises(CheckFailedError, match="has finished: DataError: lora needs the energies of atoms"):
        conduct(methods=("lora",))


def test_unknown_methods_are_refused_before_anything_is_written(conduct, tmp_path):
    with pytest.raises(UnknownNameError, match="did you mean 'scratch'"):
        conduct(methods=("scrach",))
    assert not (tmp_path / "study").exists()


def test_scaling_finds_the_laws_that_were_put_in(conduct):
    report = conduct(kind="scaling", methods=("scratch", "finetune-refit-refs"), subsets=(0.2, 0.4, 0.7, 1.0))
    fits = report.study.scaling.fits
    assert fits["scratch", "energy"].exponent.value == pytest.approx(0.6, abs=1e-6)
    assert fits["finetune-refit-refs", "forces"].exponent.value == pytest.approx(0.3, abs=1e-6)
    energy = report.study.scaling.comparisons["finetune-refit-refs", "energy"]
    assert energy.crossing.value == pytest.approx(5 ** (1 / 0.3), rel=1e-6)  # 2 n^-0.6 = 0.4 n^-0.3
    assert "## Power laws" in report.text
    assert "## Against scratch" in report.text


def test_curves_can_be_fitted_by_the_command_for_tables(conduct, tmp_path):
    from xferbench.workflow import fit_scaling

    conduct(kind="scaling", methods=("scratch", "finetune-refit-refs"), subsets=(0.2, 0.4, 0.7, 1.0))
    found = fit_scaling(tmp_path / "study" / "energy.csv", first=1, versus=["finetune-refit-refs:scratch"])
    assert found.fits["scratch"].exponent.value == pytest.approx(0.6, abs=1e-6)


def test_forgetting_is_the_change_on_the_source(conduct):
    report = conduct()
    found = {item.quantity: item for item in report.study.forgotten if item.method == "finetune-refit-refs"}
    assert found["forces"].change == pytest.approx(0.015)  # 0.01 and 0.02
    assert found["forces"].seed_sd == pytest.approx(0.00707, abs=1e-5)
    assert "scratch" not in {item.method for item in report.study.forgotten}


def test_synthetic_labels_are_marked_wherever_numbers_are(synthetic_source, tmp_path, conduct, means):
    from dataclasses import replace

    source = replace(synthetic_source, synthetic=True)
    made = dataset.build(source, tmp_path / "other" / "data")
    grid = studies.Grid(kind="methods", methods=("scratch",), n_seeds=1, config=studies.settings("paper"))
    report = studies.conduct(str(made.directory), grid, tmp_path / "out", means())
    assert "not of DFT" in report.text
    assert "not of DFT" in (tmp_path / "out" / "index.html").read_text()
    assert report.study.to_json()["synthetic"] is True
    assert "not of DFT" not in conduct().text


def test_runs_of_all_seeds_are_in_the_table(conduct, tmp_path):
    conduct()
    rows = list(csv.DictReader(io.StringIO((tmp_path / "study" / "runs.csv").read_text())))
    assert len(rows) == 3 * 2 * 4
    assert {row["quantity"] for row in rows} == {"energy", "forces", "stress", "magmoms"}
