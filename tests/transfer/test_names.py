"""``transfer`` trains any architecture: it knows the contract, and no network by name."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import xferbench
from xferbench.registry import TRAINABLES

FILES = sorted((Path(xferbench.__file__).parent / "transfer").glob("*.py"))


def spoken(tree: ast.Module) -> set[str]:
    """Every name, attribute, imported module and text of code; texts that stand alone are docstrings, and may tell of anything."""
    documents = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.FunctionDef | ast.ClassDef | ast.alias | ast.arg | ast.keyword):
            found.add(str(getattr(node, "id", None) or getattr(node, "name", None) or getattr(node, "arg", None)))
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.ImportFrom):
            found.add(str(node.module))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documents:
            found.add(node.value)
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_architecture_is_named(path):
    words = " ".join(spoken(ast.parse(path.read_text()))).lower()
    assert [name for name in (*TRAINABLES, "sevenn", "mace") if name in words] == []


def test_the_search_finds_what_it_should():
    text = (
        'from xferbench.models.chgnet import Engine\ndef f(x):\n    """sevennet"""\n    return x.mace == "CHGNet:0.3.0"'
    )
    assert {"xferbench.models.chgnet", "Engine", "mace", "CHGNet:0.3.0"} <= spoken(ast.parse(text))
    assert "sevennet" not in " ".join(spoken(ast.parse(text)))
