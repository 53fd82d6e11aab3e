"""Hidden runs by hand, and the table of the page, which nobody may have typed."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TABLES = [ROOT / "docs" / "reports" / "study-scaling" / f"{q}.csv" for q in ("energy", "forces", "stress", "magmoms")]


@pytest.fixture(scope="module")
def data_budget(script):
    return script("data_budget")


def test_every_run_of_the_largest_sizes_is_hidden_in_turn(data_budget, tmp_path):
    """Straight curves without noise have intervals of no width: what follows the law is inside, what does not is outside."""
    path = tmp_path / "curve.csv"
    sizes = [1, 2, 4, 8, 16]
    lines = [f"{n},{64 / n},{64 / n if n < 16 else 5.0}" for n in sizes]
    path.write_text("\n".join(["n,straight,bent", "0,9,9", *lines]) + "\n")
    found = list(data_budget.cases(path))
    assert [(case.curve, case.n_sizes, case.factor) for case in found[:3]] == [
        ("curve, straight", 3, pytest.approx(2)),
        ("curve, straight", 3, pytest.approx(4)),
        ("curve, straight", 4, pytest.approx(2)),
    ]
    assert [case.width for case in found[:3]] == pytest.approx([1, 1, 1])
    assert [case.covered for case in found[3:]].count(False) >= 2  # of bent, with 16 frames
    assert "| all | 6 |" in data_budget.report(found, 30, 0)


def test_the_page_has_what_the_command_says_and_nine_of_ten_intervals_hold(data_budget):
    found = [case for table in TABLES for case in data_budget.cases(table)]
    text = data_budget.report(found, 30, 0)
    page = (ROOT / "docs" / "studies.md").read_text()
    assert page.partition("<!-- data budget -->\n")[2].partition("<!-- end data budget -->")[0] == text
    drawn = next(line for line in text.splitlines() if line.startswith("| drawn | 30 |"))
    assert int(drawn.split("|")[4]) >= 0.85 * 30
