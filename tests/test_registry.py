"""Names are found, imported late, and corrected when they are misspelled."""

from __future__ import annotations

import sys
from importlib.util import find_spec

import pytest

from xferbench import registry
from xferbench.errors import UnknownNameError
from xferbench.registry import check_name, near, resolve

TABLES = {
    "SOURCES": registry.SOURCES,
    "MODELS": registry.MODELS,
    "FLOORS": registry.FLOORS,
    "STRATEGIES": registry.STRATEGIES,
    "TRAINABLES": registry.TRAINABLES,
}
ENTRIES = [(table, name, target) for table, entries in TABLES.items() for name, target in entries.items()]


@pytest.mark.parametrize(("table", "name", "target"), ENTRIES, ids=[f"{table}-{name}" for table, name, _ in ENTRIES])
def test_every_entry_names_a_module_and_an_object(table, name, target):
    module, colon, attribute = target.partition(":")
    assert colon
    assert attribute.isidentifier()
    assert find_spec(module) is not None


def test_variants_belong_to_adapters():
    assert set(registry.MODEL_VARIANTS) <= set(registry.MODELS)


@pytest.mark.parametrize(
    ("typed", "canonical"),
    [
        ("chgnet-0.3.0", "chgnet:0.3.0"),
        ("chgnet:0.3.0", "chgnet:0.3.0"),
        ("floor-copy-source", "floor:copy-source"),
        ("floor:zero", "floor:zero"),
        ("my-net-1.0", "my-net-1.0"),
        ("chgnet-9", "chgnet-9"),
        ("models/chgnet-0.3.0.py", "models/chgnet-0.3.0.py"),
    ],
)
def test_a_built_in_model_may_be_typed_with_a_dash(typed, canonical):
    assert registry.canonical_model(typed) == canonical


def test_every_built_in_model_and_floor_has_one_spelling_and_is_reached_from_its_file_name():
    names = registry.builtin_models()
    assert len(names) == len(set(names)) == sum(map(len, registry.MODEL_VARIANTS.values())) + len(registry.FLOORS)
    assert [registry.canonical_model(name.replace(":", "-")) for name in names] == names


def test_a_known_name_is_returned():
    assert check_name("data set", "mini", ["mini", "maxi"]) == "mini"


def test_known_names_may_come_as_an_iterator():
    with pytest.raises(UnknownNameError, match="known: a, b"):
        check_name("letter", "zz", iter("ba"))


def test_an_unknown_name_is_answered_with_the_near_one():
    with pytest.raises(UnknownNameError) as caught:
        check_name("data set", "minni", ["mini", "matpes"])
    assert str(caught.value) == "unknown data set 'minni'; did you mean 'mini'? known: matpes, mini"


@pytest.mark.parametrize(
    ("name", "known", "expected"),
    [
        ("MINI", ["mini"], "did you mean 'mini'? known: mini"),
        ("qqq", ["mini"], "known: mini"),
        ("mini", [], "known: none yet"),
        ("", ["mini"], "known: mini"),
    ],
)
def test_the_hint_is_one_clause(name, known, expected):
    assert near(name, known) == expected


def test_an_object_is_imported_when_it_is_asked_for(tmp_path, monkeypatch):
    (tmp_path / "late_module.py").write_text("value = 42\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "late_module", raising=False)
    table = {"answer": "late_module:value"}
    assert "late_module" not in sys.modules
    assert resolve("thing", "answer", table) == 42
    monkeypatch.delitem(sys.modules, "late_module")


def test_resolving_an_unknown_name_imports_nothing():
    with pytest.raises(UnknownNameError, match="unknown thing 'anser'; did you mean 'answer'"):
        resolve("thing", "anser", {"answer": "no_such_module:value"})
