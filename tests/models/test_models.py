"""The public face of ``xferbench.models``, and every built-in adapter."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

import xferbench.models
from xferbench.models import check_model, load, parse_spec
from xferbench.models.check import CHECKS
from xferbench.models.loading import DECLARATIONS, OFFERS
from xferbench.models.spec import functionals
from xferbench.registry import MODEL_VARIANTS, MODELS

DOCUMENT = Path(__file__).parents[2] / "docs" / "model-contract.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE)
FILES = [block for block in BLOCKS if "FUNCTIONAL" in block]


def test_the_public_names_are_sorted_and_there():
    names = xferbench.models.__all__
    assert names == sorted(names)
    assert all(hasattr(xferbench.models, name) for name in names)


def test_every_adapter_has_variants():
    assert set(MODELS) == set(MODEL_VARIANTS)


def test_the_document_has_the_examples_it_promises():
    assert len(FILES) == 4
    assert ["def load_model" in block for block in FILES] == [True, False, True, True]
    assert "\ncalculator = " in FILES[1]


@pytest.mark.parametrize("block", FILES, ids=range(len(FILES)))
def test_every_model_file_of_the_document_is_valid(block, tmp_path):
    path = tmp_path / "model.py"
    path.write_text(block)
    assert parse_spec(str(path), functional=(functionals(path) or [None])[-1]).path == str(path)


@pytest.mark.parametrize("block", FILES[:3], ids=range(3))
def test_the_examples_that_need_no_other_package_pass_their_checks(block, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", sys.path.copy())
    path = tmp_path / "model.py"
    path.write_text(block)
    results = check_model(load(parse_spec(str(path))))
    assert {result.passed for result in results} == {True}


def test_the_document_names_every_check_and_only_those():
    table = DOCUMENT.read_text().split("| check | what must hold")[1].split("\n\n")[0]
    rows = [line.split("|")[1].strip() for line in table.splitlines()[2:]]
    assert rows == ["functional declared", "shapes and finite values", *CHECKS]


def test_the_document_names_every_declaration_and_every_offer():
    text = DOCUMENT.read_text()
    assert [name for name in (*DECLARATIONS, *OFFERS) if f"| `{name}" not in text] == []
