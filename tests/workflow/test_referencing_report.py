"""The words and tables around the numbers of ``refs compare``."""

from __future__ import annotations

from dataclasses import replace

import pytest

from xferbench.errors import UsageError
from xferbench.references.comparing import Estimate, Shift
from xferbench.workflow import compare_references
from xferbench.workflow.referencing_report import (
    Table,
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


@pytest.fixture(scope="module")
def report(cache):
    return compare_references("mini", curve=True, n_resamples=20, cache_dir=cache)


class TestTable:
    TABLE = Table(title="T", head=("a", "long"), rows=[["1", "2"], ["333", "4"]], note="N.")

    def test_text_has_columns_of_one_width(self):
        assert self.TABLE.text() == "T\n  a    long\n  1    2\n  333  4"

    def test_markdown_is_a_section(self):
        assert self.TABLE.markdown() == "## T\n\nN.\n\n| a | long |\n| --- | --- |\n| 1 | 2 |\n| 333 | 4 |\n"


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
            assert all(len(row) == len(table.head) for row in table.rows), table.title

    def test_terminal_and_page_show_the_same_tables(self, report):
        for table in tables(report):
            assert table.text() in text(report)
            assert table.markdown().rstrip() in page(report)

    def test_the_page_says_how_to_make_it_again(self, report):
        assert "`xferbench refs compare mini --curve --resamples 20`" in page(report)

    def test_sentences_carry_the_numbers_of_the_report(self, report):
        said = " ".join(findings(report))
        by_name = {item.scheme: item for item in report.comparison.outcomes}
        assert f"The gap is {by_name['none'].test.mae.value:.3f} eV/atom" in said
        assert f"{report.comparison.correlation_referenced:.4f} after" in said
        assert "`model` is not applicable" in said
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
