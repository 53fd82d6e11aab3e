from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest

from xferbench.studies.tables import curve_csv, runs_csv, summary_csv


@pytest.fixture
def study(finished):
    return finished("scaling")


def rows(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_every_run_has_its_errors(study):
    found = rows(runs_csv(study))
    assert len(found) == 3 * 4 * 2 * 4
    one = next(row for row in found if row["method"] == "scratch+fit" and row["subset"] == "1.0" and row["seed"] == "1")
    assert float(one["error"]) == pytest.approx(2.0 * study.n_training[1.0] ** -0.6)


def test_every_line_of_the_summary_is_there(study):
    found = rows(summary_csv(study))
    assert len(found) == len(study.entries)
    scratch = next(row for row in found if row["method"] == "scratch+fit")
    assert scratch["negative_transfer_index"] == ""


def test_a_curve_has_a_row_per_size_and_seed(study):
    found = rows(curve_csv(study, "forces"))
    assert list(found[0]) == ["n_training", "scratch+fit", "finetune+fit", "finetune+source"]
    assert [int(row["n_training"]) for row in found] == sorted(2 * list(study.n_training.values()))
    assert all(cell for row in found for cell in row.values())


def test_a_run_that_is_missing_leaves_a_hole(study):
    kept = [
        replace(entry, values={0: entry.values[0]}) if entry.method == "scratch+fit" else entry
        for entry in study.entries
    ]
    found = rows(curve_csv(replace(study, entries=kept), "energy"))
    holes = [row for row in found if row["scratch+fit"] == ""]
    assert len(holes) == len(study.n_training)
    assert all(row["finetune+fit"] for row in holes)


def test_numbers_are_written_in_full(study):
    entry = study.entries[0]
    line = rows(summary_csv(study))[0]
    assert float(line["mean"]) == entry.mean.value
    assert float(line["ci_low"]) == entry.mean.low
    assert float(line["seed_sd"]) == entry.seed_sd


def test_a_study_without_lines_has_a_header_at_most(study):
    empty = replace(study, entries=[])
    assert rows(runs_csv(empty)) == []
    assert rows(summary_csv(empty)) == []


def test_the_mean_of_the_runs_is_the_mean_of_the_summary(study):
    runs = rows(runs_csv(study))
    for line in rows(summary_csv(study)):
        key = ("method", "subset", "quantity")
        values = [float(run["error"]) for run in runs if all(run[name] == line[name] for name in key)]
        assert sum(values) / len(values) == pytest.approx(float(line["mean"]))
