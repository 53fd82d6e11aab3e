from __future__ import annotations

import pytest

import xferbench as xb
from xferbench.api import models as module
from xferbench.api.models import CheckReport
from xferbench.errors import UnknownNameError
from xferbench.models import CheckResult


def test_a_good_model_passes_every_check_in_its_own_process(lennard_jones):
    report = xb.check(str(lennard_jones), timeout=300)
    assert report.failed == []
    assert len(report.results) >= 10


def test_an_unknown_model_is_said_before_any_process_starts():
    with pytest.raises(UnknownNameError, match="did you mean 'chgnet:r2scan'"):
        xb.check("chgnet:r2sca")


def test_the_table_has_a_line_for_each_check_and_the_cause_below_a_failure():
    report = CheckReport(
        model="model.py",
        results=(
            CheckResult(name="energy", passed=True, detail="fine"),
            CheckResult(name="stress units", passed=False, detail="off by 1602", cause="looks like kBar"),
            CheckResult(name="forces", passed=None, detail="the model has none"),
        ),
    )
    text = str(report)
    assert report.failed == ["stress units"]
    first, second, cause, third = text.splitlines()
    assert first.split() == ["ok", "energy", "fine"]
    assert second.startswith("FAILED  stress units  off by 1602")
    assert cause.strip() == "suspected cause: looks like kBar"
    assert third.startswith("n/a")


def test_a_model_file_is_loaded_and_predicts(lennard_jones):
    from ase.build import bulk

    (predicted,) = xb.load_model(str(lennard_jones)).predict([bulk("NaCl", "rocksalt", a=5.6)])
    assert predicted["forces"].shape == (2, 3)
    with pytest.raises(UnknownNameError, match="did you mean 'chgnet:r2scan'"):
        xb.load_model("chgnet:r2sca")


@pytest.fixture
def out(tmp_path, cache, monkeypatch):
    """Quickstart with one model instead of three; the whole one is a command, and the README shows its table."""
    pytest.importorskip("chgnet", reason="quickstart scores CHGNet, an extra")
    monkeypatch.setenv("XFERBENCH_CACHE", str(cache))
    monkeypatch.setattr(module, "MODEL_VARIANTS", {"chgnet": ("r2scan",)})
    return tmp_path / "out"


def test_the_main_job_ends_with_a_ranked_table_and_a_page_that_opens_from_disk(out):
    said = []
    made = xb.quickstart(out, say=said.append)
    assert "CHGNet r²SCAN" in str(made)
    assert "Copy of the source label" in str(made)
    assert "95 % interval" in str(made)
    assert said[0] == "[1/1] chgnet:r2scan"
    page = made.page.read_text()
    assert page.startswith("<!doctype html>")
    assert "CHGNet r²SCAN" in page
    assert (out / "models/chgnet-r2scan.toml").exists()


def test_a_second_run_continues_from_the_files_of_the_first(out, monkeypatch):
    first = xb.quickstart(out)
    stamps = {path: path.stat().st_mtime_ns for path in (out / "predictions").rglob("*.parquet")}
    second = xb.quickstart(out)
    assert str(second) == str(first)
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps


HEADS = """
from ase.calculators.lj import LennardJones

FUNCTIONALS = ["PBE", "r2SCAN"]


def load_model(device, functional):
    return LennardJones(sigma=1.8, epsilon=EPSILON, rc=6.0, smooth=True)
"""


def verdict(tmp_path, epsilon, functional=None):
    (tmp_path / "heads.py").write_text(HEADS.replace("EPSILON", epsilon))
    return {result.name: result for result in xb.check(str(tmp_path / "heads.py"), functional=functional).results}


def test_heads_that_answer_alike_are_named(tmp_path):
    results = verdict(tmp_path, "0.2")
    assert results["heads differ"].passed is False
    assert results["heads differ"].detail == "PBE and r2SCAN give the same energies"
    assert results["PBE: determinism"].passed is results["r2SCAN: determinism"].passed is True


def test_heads_that_differ_pass_and_one_alone_can_be_checked(tmp_path):
    assert verdict(tmp_path, "0.2 if functional == 'PBE' else 0.3")["heads differ"].passed is True
    assert "heads differ" not in verdict(tmp_path, "0.2", "r2SCAN")
