"""The public names are one list, and the examples in the docstrings are true."""

from __future__ import annotations

import doctest
from importlib import import_module
from pathlib import Path

import pytest

from xferbench import measure


def test_every_public_name_is_there_once_and_in_order():
    assert len(measure.__all__) == len(set(measure.__all__))
    assert all(hasattr(measure, name) for name in measure.__all__)


@pytest.mark.parametrize("name", ["comparing", "curves", "sample", "bootstrap"])
def test_the_examples_are_true(name):
    found = doctest.testmod(import_module(f"xferbench.measure.{name}"), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert found.attempted > 0
    assert found.failed == 0


def test_the_examples_of_the_page_are_true():
    page = Path(__file__).parents[2] / "docs" / "statistics.md"
    found = doctest.testfile(str(page), module_relative=False)
    assert found.attempted > 5
    assert found.failed == 0
