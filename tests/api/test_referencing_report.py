"""The words and tables around the numbers of ``refs compare``."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from xferbench import compare_references
from xferbench.api.referencing_report import (
    _interval,
    _number,
    _share,
    _shift,
    findings,
    page,
    tables,
    text,
    write,
)
from xferbench.errors import UsageError
from xferbench.references.comparing import Estimate, Shift
from xferbench.report.blocks import words

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def report(cache):
    return compare_references("mini", curve=True, n_resamples=20, cache_dir=cache)


class TestCells:
    def test_numbers_have_four_digits_and_no_minus_before_zero(self):
        assert _number(0.12345678) == "0.1235"
        assert _number(-1e-9) == "0.0000"
        assert _number(None) == "-"

    def test_intervals_stand_in_brackets_if_there_are_any(self):
        assert _interval(Estimate(value=1.0, low=0.5, high=2.0)) == "1.0000 [0.5000, 2.0000]"
        assert _interval(Estimate(value=1.0, low=None, high=None)) == "1.0000"
        assert _interval(Estimate(value=None, low=None, high=None)) == "-"

    def test_shares_are_percent(self):
        assert _share(Estimate(value=0.123, low=0.1, high=0.5)) == "12.3 % [10, 50]"
        assert _share(Estimate(value=0.5, low=None, high=None)) == "50.0 %"
        assert _share(Estimate(value=None, low=None, high=None)) == "-"

    def test_shifts_have_their_deviation(self):
        assert _shift(Shift(value=-1.5, error=0.02, low=-1.6, high=-1.4, n_resamples=9)) == "-1.500 ± 0.020"
        assert _shift(Shift(value=-1.5)) == "-1.500"
        assert _shift(Shift(value=None)) == "-"


class TestPage:
    def test_every_table_has_rows_as_wide_as_its_head(self, report):
        assert len(tables(report)) == 5
        for table in tables(report):
            assert table.rows
            assert all(len(row.cells) == len(table.columns) for row in table.rows), table.title

    def test_terminal_and_page_show_the_same_tables(self, report):
        for table in tables(report):
            assert table.title in text(report)
            assert f"## {table.title}\n" in page(report)
            for row in table.rows:
                for cell in row.cells:
                    assert words(cell.text) in text(report)

    def test_the_page_says_how_to_make_it_again(self, report):
        assert "`xferbench refs compare mini --curve --resamples 20`" in page(report)

    def test_sentences_carry_the_numbers_of_the_report(self, report):
        said = " ".join(findings(report))
        by_name = {item.scheme: item for item in report.comparison.outcomes}
        assert f"The gap is {by_name['source'].test.mae.value:.3f} eV/atom" in said
        assert f"{report.comparison.correlation_referenced:.4f} after" in said
        assert "`model-aware` is not applicable" in said
        assert "reaches" in said

    def test_a_difference_is_called_one_only_if_its_interval_excludes_zero(self, report):
        verdicts = []
        for high in (-0.1, 0.1):
            outcomes = [
                replace(
                    item,
                    versus_paired=Estimate(value=-0.5, low=-1.0, high=high),
                    test=replace(item.test, mae=Estimate(value=0.0, low=0.0, high=0.0)),
                )
                if item.scheme == "huber"
                else item
                for item in report.comparison.outcomes
            ]
            changed = replace(report, comparison=replace(report.comparison, outcomes=tuple(outcomes)))
            verdicts.append(next(line for line in findings(changed) if "leaves least" in line))
        assert "`huber`" in verdicts[0]
        assert "it can be told from `paired`" in verdicts[0]
        assert "it cannot be told from `paired`" in verdicts[1]

    def test_elements_that_no_pair_teaches_are_named(self, report):
        changed = replace(report, comparison=replace(report.comparison, unseen=("Yb", "Ra")))
        assert "No training pair contains Yb, Ra: no fit knows their shift." in findings(changed)

    def test_without_a_curve_there_is_no_table_of_it(self, report):
        assert len(tables(replace(report, curve=()))) == 4


def test_a_file_is_what_its_name_says(report, tmp_path):
    write(report, tmp_path / "a.md")
    write(report, tmp_path / "a.json")
    assert (tmp_path / "a.md").read_text() == page(report)
    assert (tmp_path / "a.json").read_text().startswith("{")
    with pytest.raises(UsageError, match=r"a.txt ends in neither .md"):
        write(report, tmp_path / "a.txt")


def column(table, name):
    """First cell of each row -> the cell of that column."""
    place = [column.title for column in table.columns].index(name)
    return {words(row.cells[0].text): words(row.cells[place].text) for row in table.rows}


class TestTablesSayWhatTheNumbersSay:
    def test_errors_of_every_scheme(self, report):
        shown = column(tables(report)[0], "test MAE")
        for item in report.comparison.outcomes:
            expected = "n/a" if item.test is None else f"{item.test.mae.value:.4f} ["
            assert shown[item.scheme].startswith(expected), item.scheme

    def test_pairs_that_a_scheme_does_not_reach_are_counted(self, report):
        shown = column(tables(report)[0], "test pairs")
        left_out = {item.scheme: item.test.n_left_out for item in report.comparison.outcomes if item.test is not None}
        assert left_out["phases"] > 0 == left_out["paired"]
        assert shown["phases"].endswith(f"(not determined: {left_out['phases']})")
        assert shown["paired"] == str(report.comparison.n_test)

    def test_a_scheme_is_not_compared_with_itself(self, report):
        shown = column(tables(report)[0], "minus paired")
        assert shown["paired"] == "-"
        assert shown["independent"].startswith("0.0000")

    def test_shifts_and_structures_of_every_element(self, report):
        table = tables(report)[1]
        paired = next(item for item in report.comparison.outcomes if item.scheme == "paired")
        assert {symbol: int(count) for symbol, count in column(table, "train pairs").items()} == dict(
            report.comparison.n_structures
        )
        for symbol, cell in column(table, "paired").items():
            assert cell == _shift(paired.shifts[symbol])

    def test_the_last_point_of_the_curve_is_the_whole_train_split(self, report):
        last = [words(cell.text) for cell in tables(report)[2].rows[-1].cells]
        assert last[0] == str(report.comparison.n_calibration)
        assert last[-1] == "-"  # there is one way to take all of them

    def test_shares_of_atoms_are_whole(self, report):
        cells = column(tables(report)[3], "atoms").values()
        assert sum(float(cell.split()[0]) for cell in cells) == pytest.approx(100, abs=0.05 * len(cells))


def test_elements_without_shift_have_a_dash_in_every_scheme_that_fits(report):
    outcomes = tuple(
        item
        if item.shifts is None
        else replace(item, shifts={**item.shifts, "Li": Shift(value=None, error=None, n_resamples=0)})
        for item in report.comparison.outcomes
    )
    changed = replace(report, comparison=replace(report.comparison, outcomes=outcomes))
    table = tables(changed)[1]
    row = next(cells for row in table.rows if (cells := [words(cell.text) for cell in row.cells])[0] == "Li")
    assert row[2] == "0 %"
    assert set(row[3:]) == {"-"}


def test_without_any_scheme_there_is_nothing_to_find_but_the_page_stands(report):
    bare = replace(report.comparison, outcomes=(), correlation_raw=None, correlation_referenced=None, unseen=())
    changed = replace(report, comparison=bare)
    assert findings(changed) == []
    assert "## What each scheme leaves over" in page(changed)


def test_a_page_made_again_is_the_same_page(report, cache):
    again = compare_references("mini", curve=True, n_resamples=20, cache_dir=cache)
    assert page(again) == page(report)


def test_the_committed_page_is_that_of_the_embedded_data(cache):
    predictions = ROOT / "leaderboard/predictions/mini-static@1/chgnet-0.3.0.parquet"
    made = compare_references("mini", predictions=predictions, curve=True, n_resamples=200, cache_dir=cache)
    assert page(made) == (ROOT / "docs/reports/references-mini.md").read_text(), (
        "run the command of docs/referencing.md"
    )


def test_every_table_of_the_page_has_bars_that_line_up(report):
    for block in page(report).split("\n\n"):
        lines = block.strip().splitlines()
        if lines[0].startswith("|"):
            assert len({line.count("|") for line in lines}) == 1, lines[0]


def test_json_comes_back_with_every_digit(report, tmp_path):
    write(report, tmp_path / "a.json")
    plain = json.loads((tmp_path / "a.json").read_text())
    assert plain["command"] == report.command
    for kept, item in zip(plain["comparison"]["outcomes"], report.comparison.outcomes, strict=True):
        assert kept["scheme"] == item.scheme
        assert (kept["test"] or {}).get("mae") == (None if item.test is None else asdict(item.test.mae))
