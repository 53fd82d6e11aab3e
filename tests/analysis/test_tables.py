"""CSV that reads back as the numbers, and a table for a terminal."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import numpy as np
import pytest

from xferbench.analysis.tables import elements_csv, pairs_csv, statistics_csv, terminal_table, written


def rows(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_statistics_read_back(found):
    got = {(row["table"], row["statistic"]): row for row in rows(statistics_csv(found))}
    assert len(got) == sum(len(table.estimates) for table in found.tables.values())
    item = found.find("energy/in-sample", "mae")
    row = got["energy/in-sample", "mae"]
    assert [float(row[name]) for name in ("value", "ci_low", "ci_high")] == pytest.approx(
        [item.value, item.ci_low, item.ci_high], abs=1e-9
    )
    assert (row["unit"], row["resampled"], row["n_pairs"]) == ("eV/atom", "material", "42")


def test_pairs_read_back(found):
    got = rows(pairs_csv(found))
    assert [row["pair_id"] for row in got] == found.columns.pair_ids
    np.testing.assert_allclose([float(row["gap"]) for row in got], found.columns.gap, atol=1e-9)
    np.testing.assert_array_equal([int(row["n_atoms"]) for row in got], [len(item) for item in found.columns.numbers])
    in_test = [row for row in got if row["gap_out_of_sample"]]
    assert {row["split"] for row in in_test} == {"test"}
    assert any(row["magmom_mae"] == "" for row in got)


def test_force_errors_of_pairs_average_to_that_of_the_table(found):
    got = rows(pairs_csv(found))
    weighted = sum(float(row["force_mae"]) * int(row["n_atoms"]) for row in got) / sum(
        int(row["n_atoms"]) for row in got
    )
    assert weighted == pytest.approx(found.find("forces", "mae").value)


def test_elements_have_references_shift_and_both_importances(found):
    got = rows(elements_csv(found))
    assert [row["element"] for row in got] == ["Li", "O", "Mg", "Cl"]
    for row, item in zip(got, found.elements, strict=True):
        assert float(row["shift"]) == pytest.approx(item.shift.value, abs=1e-9)
        assert float(row["tree"]) == pytest.approx(item.tree.value, abs=1e-9)
        assert float(row["permutation_ci_low"]) == pytest.approx(item.permutation.ci_low, abs=1e-9)


def test_what_is_missing_is_empty(found):
    bare = replace(
        found, elements=tuple(replace(row, source=None, tree=None, permutation=None) for row in found.elements)
    )
    (row, *_) = rows(elements_csv(bare))
    assert row["reference_source"] == row["tree"] == row["permutation_ci_high"] == ""


def test_names_with_commas_quotes_and_line_breaks_stay_one_cell(found):
    name = 'a,"b"\nc'
    columns = replace(found.columns, pair_ids=[name] * len(found.columns))
    assert rows(pairs_csv(replace(found, columns=columns)))[0]["pair_id"] == name


def test_the_terminal_shows_every_statistic_with_its_unit(found):
    text = terminal_table(found)
    for table in found.tables.values():
        assert f"\n{table.title}\n" in text
        for item in table.estimates:
            assert f"  {item.title:36s} {written(item)}\n" in f"{text}\n"
    assert "meV/atom" in text


def test_an_empty_table_says_so(found):
    empty = {"energy/raw": replace(found.tables["energy/raw"], estimates=())}
    assert terminal_table(replace(found, tables=empty)).endswith("Raw\n  nothing to compare")


def test_numbers_are_written_with_unit_interval_or_reason(found):
    item = replace(found.find("energy/raw", "mae"), value=0.0291, ci_low=0.022, ci_high=0.038)
    assert written(item) == "29.1 [22.0, 38.0] meV/atom"
    assert written(replace(item, ci_low=None, ci_high=None)) == "29.1 meV/atom"
    assert written(replace(item, value=None, reason="why")) == "why"
    assert written(replace(item, unit="1", value=0.5, ci_low=0.4, ci_high=0.6)) == "0.50 [0.40, 0.60]"


def test_undefined_statistics_are_empty_cells_with_their_reason(odd):
    got = {(row["table"], row["statistic"]): row for row in rows(statistics_csv(odd["one pair"]))}
    row = got["energy/raw", "pearson"]
    assert (row["value"], row["ci_low"], row["reason"]) == ("", "", "the values do not vary")
    assert got["forces", "mae"]["reason"] == "no pairs to compare"
    assert got["energy/raw", "mae"]["value"] == "1.5"
    assert ("energy/out-of-sample", "mae") not in got


def test_a_pair_without_energy_keeps_its_row_and_its_forces(odd):
    (row,) = rows(pairs_csv(odd["no energies"]))
    assert (row["energy_source"], row["gap"], row["gap_in_sample"], row["stress_mae"]) == ("", "", "", "")
    assert (float(row["energy_target"]), float(row["force_mae"])) == (-2.5, 0.05)
    assert rows(elements_csv(odd["no energies"])) == []


def test_open_elements_have_counts_and_no_references(odd):
    for row in rows(elements_csv(odd["one material"])):
        assert (row["n_pairs"], row["n_materials"]) == ("3", "1")
        assert row["reference_source"] == row["reference_target"] == row["shift"] == ""
        assert float(row["shift_determined_in_resamples"]) == 0


def test_the_terminal_says_why_a_number_is_missing(odd):
    text = terminal_table(odd["one pair"])
    assert f"  {'Pearson':36s} the values do not vary\n" in text
    assert "Referenced, out of sample\n  nothing to compare" in text


def test_a_table_that_nothing_enters_is_one_line(odd):
    text = terminal_table(odd["one pair"])
    assert "Within compositions\n  nothing to compare" in text
    assert "no pairs to compare" not in text
