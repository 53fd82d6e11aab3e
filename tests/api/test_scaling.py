"""``xferbench fit-scaling``: tables in, laws with intervals out, and one clear line for each bad table."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

from xferbench import fit_scaling
from xferbench.cli import main
from xferbench.errors import DataError, FormatError, StorageError, UnknownNameError, UsageError

SIZES = [100, 1000, 10_000, 100_000]


@pytest.fixture
def table(tmp_path):
    """n, transfer = 10·n^-0.2 and scratch = 1000·n^-0.6, with a point at n = 0 that scratch lacks."""
    path = tmp_path / "curve.csv"
    lines = ["n,transfer,scratch", "0,50,"]
    lines += [f"{n},{10 * n**-0.2!r},{1000 * n**-0.6!r}" for n in SIZES]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_every_column_is_fitted_over_the_declared_range(table):
    fits = fit_scaling(table, first=100).fits
    assert fits["transfer"].law.exponent == pytest.approx(0.2)
    assert fits["scratch"].law.exponent == pytest.approx(0.6)
    assert (fits["transfer"].n_points, fits["transfer"].n_outside) == (4, 1)
    assert (fits["scratch"].n_points, fits["scratch"].n_outside) == (4, 0)
    assert fit_scaling(table, first=100, last=10_000).fits["scratch"].n_points == 3


def test_columns_are_compared_on_request(table):
    (versus,) = fit_scaling(table, first=100, versus=["transfer:scratch"]).comparisons.values()
    assert versus.crossing.value == pytest.approx(100**2.5)
    assert versus.equivalence[1000.0].value == pytest.approx((1000 / (10 * 1000**-0.2)) ** (1 / 0.6) / 1000)
    assert versus.observed[1000.0] == pytest.approx(versus.equivalence[1000.0].value)


def test_beyond_the_last_point_only_the_law_speaks(tmp_path):
    path = tmp_path / "curve.csv"
    path.write_text("n,a,b\n" + "\n".join(f"{n},{n**-0.3!r},{8 * n**-0.3!r}" for n in SIZES))
    (versus,) = fit_scaling(path, first=1, versus=["a:b"]).comparisons.values()
    assert versus.crossing.value == np.inf
    assert np.isnan(versus.observed[100_000.0])
    assert "beyond" in str(fit_scaling(path, first=1, versus=["a:b"]))


def test_several_runs_of_one_size_are_points_of_the_fit_and_one_of_the_curve(tmp_path):
    path = tmp_path / "curve.csv"
    path.write_text(
        "n,a,b\n" + "\n".join(f"{n},{f * n**-0.3!r},{f * 9 * n**-0.4!r}" for n in SIZES for f in (0.9, 1.1))
    )
    report = fit_scaling(path, first=1, versus=["a:b"])
    assert report.fits["a"].n_points == 8
    assert report.fits["a"].law.exponent == pytest.approx(0.3)
    assert list(report.comparisons["a", "b"].equivalence) == SIZES


def test_an_error_that_grows_has_one_sign_in_its_exponent(tmp_path):
    path = tmp_path / "curve.csv"
    path.write_text("n,a\n" + "\n".join(f"{n},{float(n) ** 0.25!r}" for n in SIZES))
    text = str(fit_scaling(path, first=1))
    assert "n^0.25" in text
    assert "--" not in text


def test_two_curves_do_not_share_their_noise(tmp_path):
    path = tmp_path / "curve.csv"
    errors = np.array(SIZES) ** -0.3 * [1.1, 0.9, 1.1, 0.9]
    path.write_text("n,a,b\n" + "\n".join(f"{n},{e!r},{e!r}" for n, e in zip(SIZES, errors.tolist(), strict=True)))
    fits = fit_scaling(path, first=1).fits
    assert fits["a"].law == fits["b"].law
    assert not np.allclose(fits["a"].draws, fits["b"].draws)


def test_the_command_prints_text_or_json(table):
    arguments = ["fit-scaling", str(table), "--from", "100", "--versus", "transfer:scratch"]
    text = CliRunner().invoke(main, arguments)
    assert text.exit_code == 0, text.output
    assert "slope -0.200" in text.stdout
    assert "is better from 100,000" in text.stdout
    plain = json.loads(CliRunner().invoke(main, [*arguments, "--json"]).stdout)
    assert plain["fits"]["scratch"]["fit_range"] == [100.0, None]
    assert plain["comparisons"][0]["crossing"]["value"] == pytest.approx(1e5)
    floored = CliRunner().invoke(main, [*arguments, "--floor", "--to", "100000"])
    assert "floor 0" in floored.stdout


def test_a_crossing_that_never_comes_is_null_in_json(table):
    report = fit_scaling(table, first=100, versus=["scratch:transfer"])
    assert report.to_json()["comparisons"][0]["crossing"]["value"] is None
    assert "never" in str(report)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("n\n1\n", FormatError, "one of errors"),
        ("", FormatError, "a header"),
        ("n,a,a\n1,2,3\n", FormatError, "same name"),
        ("n,a\n1,2,3\n", FormatError, "row 2 has 3 cells, the header 2"),
        ("n,a\n1,x\n2,y\n", FormatError, "row 2, a: 'x' is no number; row 3, a: 'y' is no number"),
        ("n,a\n1,2\n2,1\n", DataError, "column a: 2 points in the fit range"),
        ("n,a\n1,2\n2,1\n3,0\n", DataError, "positive"),
    ],
)
def test_a_bad_table_is_named_with_its_fault(tmp_path, text, error, message):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(error, match=message):
        fit_scaling(path, first=1)


def test_bytes_that_are_no_text_are_refused(tmp_path):
    path = tmp_path / "bad.csv"
    path.write_bytes(b"\xff\xfe\x00n,a")
    with pytest.raises(FormatError, match="not a CSV table"):
        fit_scaling(path, first=1)


def test_an_absent_table_cannot_be_read(tmp_path):
    with pytest.raises(StorageError, match="cannot read"):
        fit_scaling(tmp_path / "nowhere.csv", first=1)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"first": 10, "last": 5}, UsageError, "empty"),
        ({"first": 1, "versus": ["transfer"]}, UsageError, "first:second"),
        ({"first": 1, "versus": ["transfer:scrach"]}, UnknownNameError, "did you mean 'scratch'"),
    ],
)
def test_wrong_options_are_said(table, options, error, message):
    with pytest.raises(error, match=message):
        fit_scaling(table, **options)


def written(tmp_path, *rows):
    path = tmp_path / "curve.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


def test_columns_are_fitted_as_if_each_were_alone_in_the_table(table, tmp_path):
    alone = written(tmp_path, "n,transfer", *(f"{n},{10 * n**-0.2!r}" for n in SIZES))
    assert fit_scaling(alone, first=100).fits["transfer"].law == fit_scaling(table, first=100).fits["transfer"].law


def test_the_order_of_rows_does_not_matter(table, tmp_path):
    head, *rows = table.read_text().splitlines()
    turned = tmp_path / "turned.csv"
    turned.write_text("\n".join([head, *reversed(rows)]))
    first, second = (fit_scaling(path, first=100, versus=["transfer:scratch"]) for path in (table, turned))
    for name in ("transfer", "scratch"):
        assert second.fits[name].law.exponent == pytest.approx(first.fits[name].law.exponent)
    assert second.comparisons["transfer", "scratch"].observed == pytest.approx(
        first.comparisons["transfer", "scratch"].observed, nan_ok=True
    )


def test_the_seed_moves_intervals_and_nothing_else(tmp_path):
    path = written(tmp_path, "n,a", *(f"{n},{f * n**-0.3!r}" for n, f in zip(SIZES, (1.1, 0.9, 1.1, 0.9), strict=True)))
    first, again, other = (fit_scaling(path, first=1, seed=seed).fits["a"] for seed in (0, 0, 1))
    assert first.exponent == again.exponent
    assert first.law == other.law
    assert first.exponent.low != other.exponent.low


def test_a_byte_order_mark_and_blank_lines_are_no_part_of_a_table(table, tmp_path):
    marked = tmp_path / "marked.csv"
    marked.write_bytes(b"\xef\xbb\xbf" + table.read_bytes().replace(b"\n", b"\r\n\r\n"))
    assert fit_scaling(marked, first=100).to_json() == fit_scaling(table, first=100).to_json()


def test_rows_are_named_as_an_editor_counts_them(tmp_path):
    path = written(tmp_path, "n,a", "", "1,5", "", "2,x")
    with pytest.raises(FormatError, match="row 5, a: 'x' is no number"):
        fit_scaling(path, first=1)


def test_errors_that_are_not_positive_matter_only_within_the_range(tmp_path):
    path = written(tmp_path, "n,a,b", "10,-1,0", *(f"{n},{n**-0.3!r},{8 * n**-0.3!r}" for n in SIZES))
    report = fit_scaling(path, first=100, versus=["a:b"])
    assert [fit.n_outside for fit in report.fits.values()] == [1, 1]
    assert report.fits["a"].law.exponent == pytest.approx(0.3)
    with pytest.raises(DataError, match="column a: a power law needs positive sizes and errors"):
        fit_scaling(path, first=10, versus=["a:b"])


def test_structures_of_little_worth_are_not_taken_for_unknown_ones(tmp_path):
    path = written(tmp_path, "n,a,b", *(f"{n},{4 * n**-0.3!r},{n**-0.3!r}" for n in (1, 10, 1000, 100_000)))
    report = fit_scaling(path, first=1, versus=["a:b"])
    worth = 0.25 ** (1 / 0.3)
    assert report.comparisons["a", "b"].observed[1000.0] == pytest.approx(worth)
    line = next(line for line in str(report).splitlines() if line.split()[:1] == ["1,000"])
    assert line.endswith(f", {worth:.2g}")
    assert "beyond" not in line


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("n,a\n5,3\n5,2\n5,1\n", DataError, "column a: 3 points in the fit range, 3 of different size are needed"),
        ("n,a\n1,3\n2,-2\n3,1\n", DataError, "column a: a power law needs positive"),
        ("n,a,b\n1,3,\n2,2,\n3,1,4\n", DataError, "column b: 1 points in the fit range"),
        ("n,a,b\n1,3\n2,2,1\n3,1,1\n", FormatError, "row 2 has 2 cells, the header 3"),
        ("n,a\n1,inf\n2,2\n3,1\n4,1\n", FormatError, "row 2, a: 'inf' is not finite; leave the cell empty"),
        ("n;a\n1;3\n2;2\n3;1\n", FormatError, "a column of sizes and one of errors"),
        ("1,3\n2,2\nn,a\n", FormatError, "row 3, 1: 'n' is no number; row 3, 3: 'a' is no number"),
    ],
)
def test_more_bad_tables_are_named_with_their_fault(tmp_path, text, error, message):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(error, match=message):
        fit_scaling(path, first=1)


def test_plain_values_say_what_was_left_out_and_hold_no_infinity(table):
    plain = fit_scaling(table, first=100, floor=True, versus=["scratch:transfer"]).to_json()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain["fits"]["transfer"]["n_outside"] == 1
    assert plain["fits"]["transfer"]["with_floor"] is True
    assert [row["n"] for row in plain["comparisons"][0]["data_equivalence"]] == SIZES
    assert "extrapolated" in plain["scope"]


def test_it_ends_with_the_error_to_expect_with_more(table):
    report = fit_scaling(table, first=100)
    assert list(report.expected["transfer"]) == [2e5, 4e5, 1e6]
    assert list(report.expected["transfer"][1e6]) == pytest.approx([10 * 1e6**-0.2] * 3)
    assert "transfer: 200,000: 0.8706 [0.8706, 0.8706]; 400,000" in str(report)
    assert report.to_json()["expected"]["scratch"][0] == {
        "n": 2e5,
        **dict.fromkeys(("value", "low", "high"), pytest.approx(1000 * 2e5**-0.6)),
    }


def test_a_range_leaves_larger_sizes_out_of_what_to_expect(table):
    assert list(fit_scaling(table, first=100, last=10_000).expected["scratch"]) == [2e4, 4e4, 1e5]
