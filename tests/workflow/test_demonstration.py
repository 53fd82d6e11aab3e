from __future__ import annotations

import pytest

from xferbench import workflow
from xferbench.workflow import demonstration as module
from xferbench.workflow.demonstration import quickstart

pytest.importorskip("chgnet", reason="quickstart scores CHGNet, an extra")


@pytest.fixture
def out(tmp_path, cache, monkeypatch):
    """Quickstart with one model instead of three; the whole one is a command, and the README shows its table."""
    monkeypatch.setenv("XFERBENCH_CACHE", str(cache))
    monkeypatch.setattr(module, "MODEL_VARIANTS", {"chgnet": ("r2scan",)})
    return tmp_path / "out"


def test_the_main_job_ends_with_a_ranked_table_and_a_page_that_opens_from_disk(out):
    said = []
    made = quickstart(out, say=said.append)
    assert "CHGNet r2SCAN" in made.table
    assert "Copy of the GGA label" in made.table
    assert "95 % interval" in made.table
    assert said[0] == "[1/1] chgnet:r2scan"
    page = made.page.read_text()
    assert page.startswith("<!doctype html>")
    assert "CHGNet r2SCAN" in page
    assert (out / "models/chgnet-r2scan.toml").exists()


def test_a_second_run_continues_from_the_files_of_the_first(out, monkeypatch):
    first = quickstart(out)
    stamps = {path: path.stat().st_mtime_ns for path in (out / "predictions").rglob("*.parquet")}
    second = quickstart(out)
    assert second.table == first.table
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps


def test_the_job_can_be_imported():
    assert workflow.quickstart is quickstart
