from __future__ import annotations

import csv
import io

import pytest

from xferbench.workflow.studies.tables import curve_csv, runs_csv, summary_csv


@pytest.fixture
def study(finished):
    return finished("scaling")


def rows(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_every_run_has_its_errors(study):
    found = rows(runs_csv(study))
    assert len(found) == 3 * 4 * 2 * 4
    one = next(row for row in found if row["method"] == "scratch" and row["subset"] == "1.0" and row["seed"] == "1")
    assert float(one["error"]) == pytest.approx(2.0 * study.n_pairs[1.0] ** -0.6)


def test_every_line_of_the_summary_is_there(study):
    found = rows(summary_csv(study))
    assert len(found) == len(study.entries)
    scratch = next(row for row in found if row["method"] == "scratch")
    assert scratch["negative_transfer_index"] == ""


def test_a_curve_has_a_row_per_size_and_seed(study):
    found = rows(curve_csv(study, "forces"))
    assert list(found[0]) == ["n_pairs", "scratch", "finetune-refit-refs", "finetune-frozen-refs"]
    assert [int(row["n_pairs"]) for row in found] == sorted(2 * list(study.n_pairs.values()))
    assert all(cell for row in found for cell in row.values())
