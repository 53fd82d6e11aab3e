"""The script of the workflow that verifies pull requests, on two checkouts: what may change, and what becomes of each model."""

from __future__ import annotations

import runpy
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / ".github" / "submissions.py"
MODEL = "chgnet-0.2.0"
KEEP = ("models/*.toml", f"results/*/{MODEL}.json", f"predictions/*/{MODEL}.parquet", "results/*/chgnet-0.3.0.json")


@pytest.fixture(scope="module")
def main():
    return runpy.run_path(str(SCRIPT))["main"]


@pytest.fixture
def checkouts(tmp_path, cache, monkeypatch):
    """``base`` without one model, ``head`` with it, as a pull request that adds it."""
    monkeypatch.setenv("XFERBENCH_CACHE", str(cache))
    base, head = tmp_path / "base", tmp_path / "head"
    for pattern in KEEP:
        for path in (ROOT / "leaderboard").glob(pattern):
            name = path.relative_to(ROOT / "leaderboard")
            for side in (head,) if path.stem == MODEL else (base, head):
                (side / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, side / name)
    return base, head


def test_a_good_submission_passes(main, checkouts, capsys):
    assert main(*checkouts) == 0
    assert "# Add CHGNet 0.2.0 to the board" in capsys.readouterr().out


def test_nothing_to_check(main, checkouts, capsys):
    base, _ = checkouts
    assert main(base, base) == 0
    assert capsys.readouterr().out == "No model changed.\n"


@pytest.mark.parametrize(
    "name",
    ["conftest.py", "models/evil.py", "results/mini-static@1/UP.json", "results/a/b/c.json", "x"],
)
def test_other_places_are_refused(main, checkouts, capsys, name):
    base, head = checkouts
    (head / name).parent.mkdir(parents=True, exist_ok=True)
    (head / name).write_text("x")
    assert main(base, head) == 1
    assert "**refused**" in capsys.readouterr().out


def test_links_and_removals_are_refused(main, checkouts, capsys):
    base, head = checkouts
    card = head / "models" / f"{MODEL}.toml"
    text = card.read_text()
    card.unlink()
    card.symlink_to("/etc/passwd")
    assert main(base, head) == 1
    card.unlink()
    card.write_text(text)
    (head / "models" / "chgnet-0.3.0.toml").unlink()
    assert main(base, head) == 1
    assert "adds or replaces" in capsys.readouterr().out


def test_a_tampered_prediction_is_refused(main, checkouts, capsys):
    base, head = checkouts
    for path in head.glob(f"predictions/*/{MODEL}.parquet"):
        other = ROOT / "leaderboard" / path.relative_to(head).parent / "chgnet-0.3.0.parquet"
        shutil.copy(other, path)
    assert main(base, head) == 1
    assert "scoring its predictions again gives other values" in capsys.readouterr().out
