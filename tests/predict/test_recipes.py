"""Recipes of ``examples/models`` that run from wheels alone, in environments made for them: a gigabyte each, so only when asked for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import xferbench as xb
from xferbench.board.cards import read_card
from xferbench.models import parse_spec
from xferbench.models.spec import functionals

RECIPES = Path(__file__).parents[2] / "examples" / "models"
FILES = sorted(path for path in RECIPES.glob("*/*.py") if path.name != "batched.py")

slow = pytest.mark.skipif(
    os.environ.get("XFERBENCH_RECIPES") != "1",
    reason="installs packages of a gigabyte: XFERBENCH_RECIPES=1 asks for it",
)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_recipe_names_its_functionals_and_its_environment(path):
    served = functionals(path)
    for functional in served or [None]:
        assert parse_spec(str(path), functional=functional).model_id
    assert (path.parent / "env.toml").is_file()
    assert (path.parent / "requirements.txt").is_file()


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*/*-*.toml")), ids=lambda path: path.stem)
def test_the_cards_of_recipes_are_cards(path):
    assert read_card(path).model_id == path.stem


@slow
@pytest.mark.parametrize(
    ("recipe", "functional"),
    [("diep/diep-matpes-r2scan.py", None), ("sevennet/sevennet-0.py", None), ("sevennet/sevennet-mf-0.py", "r2SCAN")],
)
def test_a_recipe_makes_its_environment_and_a_row(tmp_path, recipe, functional):
    cache = os.environ.get("XFERBENCH_CACHE", str(tmp_path / "cache"))
    report = xb.score(str(RECIPES / recipe), functional=functional, out=tmp_path / "out", cache_dir=cache)
    assert report.result.counts.failed == 0
