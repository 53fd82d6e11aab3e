"""What ``import xferbench`` offers: names, docstrings, types, and that its examples are true."""

from __future__ import annotations

import ast
import doctest
import inspect
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import xferbench as xb

PACKAGE = Path(xb.__file__).parent
FUNCTIONS = [name for name in xb.__all__ if inspect.isfunction(getattr(xb, name, None))]


def imported_for_type_checkers():
    """Name -> module, as the block for type checkers has it."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    return {alias.name: node.module for node in block.body for alias in node.names}


def test_every_exported_name_is_there_once_and_is_what_type_checkers_see():
    assert xb.__all__ == sorted(set(xb.__all__))
    assert imported_for_type_checkers() == {name: f"xferbench.{home}" for name, home in xb._HOME.items()}
    assert {*xb._HOME, "__version__"} == set(xb.__all__)
    assert set(xb.__all__) <= set(dir(xb))


def test_no_exported_name_is_hidden_by_a_room():
    rooms = {path.stem for path in PACKAGE.iterdir()}
    assert not rooms & set(xb.__all__)


def test_what_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'scores'"):
        _ = xb.scores


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_says_what_it_takes_and_what_it_raises(name):
    function = getattr(xb, name)
    text = inspect.getdoc(function)
    signature = inspect.signature(function)
    for parameter in signature.parameters.values():
        assert parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL), parameter.name
        assert parameter.annotation is not parameter.empty
        assert parameter.annotation != "Any"
        assert f"    {parameter.name}: " in text, parameter.name
    assert signature.return_annotation not in (signature.empty, "Any", "None")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_examples_are_true(name, tmp_path, monkeypatch, cache):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XFERBENCH_CACHE", str(cache))
    for test in doctest.DocTestFinder(recurse=False).find(getattr(xb, name), name):
        result = doctest.DocTestRunner().run(test)
        assert result.failed == 0


def test_some_functions_have_examples():
    with_example = [name for name in FUNCTIONS if ">>>" in inspect.getdoc(getattr(xb, name))]
    assert {"prepare", "score", "fit_references", "open_dataset", "compare"} <= set(with_example)


@pytest.mark.parametrize("kind", ["task", "card", "result"])
def test_the_schema_of_a_file_refuses_unknown_keys(kind):
    schema = xb.json_schema(kind).to_json()
    tables = [item for item in schema["$defs"].values() if "properties" in item]
    assert tables
    assert all(item["additionalProperties"] is False for item in tables)


@pytest.mark.parametrize(
    ("kind", "pattern"),
    [("task", "tasks/*.toml"), ("card", "leaderboard/models/*.toml"), ("result", "leaderboard/results/*/*.json")],
)
def test_every_committed_file_follows_the_schema_that_is_printed(kind, pattern):
    jsonschema = pytest.importorskip("jsonschema", reason="of the dev extra")
    validator = jsonschema.Draft202012Validator(xb.json_schema(kind).to_json())
    validator.check_schema(validator.schema)
    files = sorted(PACKAGE.parent.glob(pattern))
    assert files
    for path in files:
        data = (tomllib if path.suffix == ".toml" else json).loads(path.read_text())
        assert [error.message for error in validator.iter_errors(data)] == [], path.name
        assert list(validator.iter_errors({**data, "vershun": 1}))


def test_the_package_is_a_command():
    process = subprocess.run(
        [sys.executable, "-m", "xferbench", "--version"], capture_output=True, text=True, check=True
    )
    assert process.stdout.strip().endswith(xb.__version__)


def test_the_document_names_every_function():
    text = (PACKAGE.parent / "docs" / "api.md").read_text()
    assert [name for name in FUNCTIONS if f"`{name}`" not in text] == []
