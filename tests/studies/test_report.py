from __future__ import annotations

import math

import pytest

from xferbench.measure import Estimate
from xferbench.report.blocks import words
from xferbench.report.markdown import line as markdown_line
from xferbench.report.markdown import markdown
from xferbench.studies import report


@pytest.fixture
def study(finished):
    return finished("methods")


def cells(table):
    """Headings, a rule, and the rows of a table as text."""
    rows = [[f"{words(cell.text)} {words(cell.note)}".strip() for cell in row.cells] for row in table.rows]
    return [[column.title for column in table.columns], ["---"] * len(table.columns), *rows]


def test_the_best_method_comes_first(study):
    rows = cells(report.errors_table(study, study.entries))
    assert [row[0] for row in rows[2:]] == ["finetune+fit", "scratch+fit", "finetune+source"]
    assert rows[0] == ["method", "seeds", "Energy, meV/atom", "Forces, meV/Å", "Stress, GPa", "Magnetic moments, µB"]
    assert {row[1] for row in rows[2:]} == {"2"}


def test_an_error_has_interval_and_spread(study):
    entry = next(entry for entry in study.entries if entry.method == "scratch+fit" and entry.quantity == "energy")
    text = report.error_text(entry)
    assert text.startswith(f"{1000 * entry.mean.value:.0f} [")
    assert text.endswith(f"± {1000 * entry.seed_sd:.0f}")


def test_scratch_is_not_compared_with_itself(study):
    rows = cells(report.ratio_table(study, study.entries))
    assert "scratch+fit" not in [row[0] for row in rows]
    assert rows[3][1].startswith("2.0")  # finetune+source has twice the error


def test_without_scratch_there_is_nothing_to_compare_with(run_study):
    study = run_study(methods=("finetune+fit",)).study
    assert report.ratio_table(study, study.entries).note == "No run from scratch to compare with."


def test_equal_compute_tells_gain_and_goal(study):
    rows = cells(report.compute_table(study))
    assert rows[2][0] == "finetune+fit"
    assert rows[2][3] == "75.0 %"  # in the third of four epochs it is as good as scratch ever is
    assert rows[3][3] == "never"


def test_forgetting_has_a_dash_where_nothing_is_known(study):
    rows = cells(report.forgetting_table(study))
    assert rows[2][2:] == ["15.0 ± 7.1", "15.0 ± 7.1", "2.4 ± 1.1", report.MISSING]


def test_what_is_missing_is_told(study):
    from dataclasses import replace

    broken = replace(study, left_out=["a"], open_runs=["runs/x"], failed={"runs/y": "no *memory*"})
    text = "\n".join(map(markdown_line, report.facts(broken)))
    assert "14 frames" in text
    assert "1 more, which a run at least could not predict, count nowhere" in text
    assert "1 runs are not finished" in text
    assert r"`runs/y` (no \*memory\*)" in text


def test_a_method_without_any_result_has_a_row_with_its_reason(run_study):
    study = run_study(methods=("finetune+atoms", "scratch+fit")).study
    rows = cells(report.errors_table(study, study.entries))
    assert [row[0] for row in rows[2:]] == ["scratch+fit", "finetune+atoms"]
    assert rows[3][1:] == ["0", "DataError: finetune+atoms needs the energies of atoms", *["–"] * 3]
    failed = next(line for line in map(markdown_line, report.facts(study)) if line.startswith("Failed"))
    run = "`runs/finetune+atoms/subset-1/seed-{}`"
    assert failed.startswith(f"Failed: {run.format(0)}, {run.format(1)} (DataError")
    assert failed.count("needs the energies") == 1


def test_a_method_that_failed_with_one_seed_has_its_row_and_its_note(study):
    from dataclasses import replace

    broken = replace(study, failed={"runs/scratch+fit/subset-1/seed-0": "no memory"})
    assert report.without_result(broken, 1.0) == {}
    assert report.errors_table(broken, broken.entries) == report.errors_table(study, study.entries)


def test_a_crossing_may_never_come():
    assert report._size_text(Estimate(5000.0, 900.0, math.inf), 100) == "5,000 [900, never]"
    assert report._size_text(Estimate(5000.0, 3.0, 1e14), 1000) == "5,000 [<1,000, never]"


def test_data_equivalence_is_told_as_measured_and_by_the_laws():
    assert report._equivalence(6.42, Estimate(6.0, 4.0, math.inf)) == "6.4 (6.0 [4.0, ∞])"
    assert report._equivalence(math.nan, Estimate(6.0, 4.0, 8.0)) == "– (6.0 [4.0, 8.0])"
    assert report._equivalence(math.nan, Estimate(5e6, 1234.5, math.inf)) == "– (>10⁶ [1,234.5, ∞])"
    assert report._equivalence(None, None) == report.MISSING


@pytest.mark.parametrize(
    ("value", "spread", "shown"),
    [(0.0123, 0.00045, "12.30 ± 0.45"), (0.5, None, "500"), (-0.0123, 0.002, "−12.3 ± 2.0")],
)
def test_a_value_has_the_digits_that_its_spread_deserves(value, spread, shown):
    assert report.with_spread(value, spread, "eV/atom") == shown


def test_a_number_without_interval_is_alone():
    assert report.estimate_text(Estimate(0.5, math.nan, math.nan)) == "0.500"
    assert report.estimate_text(None) == report.MISSING


class TestScaling:
    @pytest.fixture
    def study(self, finished):
        return finished("scaling")

    def test_every_size_has_its_table(self, study):
        titles = [table.title for table in report.tables(study)]
        for n in study.n_training.values():
            assert f"Test errors, {n:,} training frames" in titles
            assert f"Negative transfer, {n:,} training frames" in titles

    def test_every_law_has_an_exponent_with_its_interval(self, study):
        rows = cells(report.law_table(study))[2:]
        assert len(rows) == len(study.scaling.fits)
        energy = next(row for row in rows if row[:2] == ["scratch+fit", "Energy"])
        assert energy[2].startswith("0.6")
        assert "[" in energy[2]
        assert energy[3:] == ["1.000", "4"]

    def test_every_size_has_its_data_equivalence(self, study):
        rows = cells(report.versus_table(study))
        assert rows[0][2:] == [f"at {n:,}" for n in sorted(study.n_training.values())]
        assert {len(row) for row in rows} == {len(rows[0])}

    def test_it_ends_with_what_more_labels_would_bring(self, study):
        *_, last = report.tables(study)
        rows = cells(last)
        n = max(study.n_training.values())
        assert rows[0] == ["method", "quantity", f"{2 * n:,}", f"{4 * n:,}", f"{10 * n:,}", "pays until"]
        energy = next(row for row in rows if row[:2] == ["finetune+fit", "Energy, meV/atom"])
        assert energy[2].startswith(f"{0.95 * 400 * (2 * n) ** -0.3:.0f} [")  # the law that was put in, seeds' mean
        assert energy[-1].startswith("214 [")  # 2 n^-0.6 = 0.4 n^-0.3
        assert next(row for row in rows if row[0] == "scratch+fit")[-1] == report.MISSING

    def test_curves_without_a_law_are_told(self, study):
        assert all("magmoms" in text for text in study.scaling.unfitted)
        assert "Not fitted" in markdown(report.study_report(study))


def test_the_report_names_data_and_settings(study):
    text = markdown(report.study_report(study))
    assert text.startswith("# Transfer methods on synthetic\n")
    assert study.plan.fingerprint in text
    assert "3 methods, 2 seeds" in text
    assert text.endswith("\n")
    assert "\n\n\n" not in text


def test_every_table_has_as_many_cells_in_each_row(study):
    for table in report.tables(study):
        assert {len(row.cells) for row in table.rows} == {len(table.columns)}


def test_a_method_without_moments_has_a_dash(study):
    from dataclasses import replace

    entries = [entry for entry in study.entries if (entry.method, entry.quantity) != ("scratch+fit", "magmoms")]
    rows = cells(report.errors_table(replace(study, entries=entries), entries))
    assert next(row for row in rows if row[0] == "scratch+fit")[-1] == report.MISSING
