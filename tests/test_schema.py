from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from xferbench.errors import FormatError, StorageError
from xferbench.functionals import Functional, names
from xferbench.schema import parse, read_toml

UNKNOWN = f"unknown functional 'r2scam'; did you mean 'r2SCAN'? known: {', '.join(names())}"


@dataclass(frozen=True, kw_only=True)
class Inner:
    size: int


@dataclass(frozen=True, kw_only=True)
class Outer:
    name: str
    ratio: float
    functional: Functional
    colour: Literal["red", "blue"] = "red"
    flag: bool = False
    inner: Inner | None = None
    many: tuple[Inner, ...] = ()
    table: Mapping[str, float] | None = None
    energies: Mapping[Functional, float] | None = None
    anything: Any = None


GOOD = {"name": "x", "ratio": 1, "functional": "r2SCAN"}


def test_a_complete_table_becomes_the_dataclass():
    data = GOOD | {
        "inner": {"size": 2},
        "many": [{"size": 1}, {"size": 3}],
        "table": {"a": 1},
        "colour": "blue",
        "flag": True,
    }
    value = parse(Outer, data, "f.toml")
    assert value.functional == Functional("r2SCAN")
    assert value.inner == Inner(size=2)
    assert value.many == (Inner(size=1), Inner(size=3))
    assert value.table == {"a": 1.0}
    assert isinstance(value.ratio, float)


def test_keys_of_a_table_may_be_an_enumeration():
    assert parse(Outer, GOOD | {"energies": {"PBE": 1}}, "f").energies == {Functional("PBE"): 1.0}


def test_defaults_make_keys_optional():
    assert parse(Outer, GOOD, "f").many == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nmae": "y"}, "unknown key nmae (did you mean name?)"),
        ({"zzz": 1}, "unknown key zzz"),
        ({"ratio": "1"}, "ratio must be a number, not text"),
        ({"ratio": True}, "ratio must be a number, not a boolean"),
        ({"energies": {"r2scam": 1.0}}, f"a key of energies: {UNKNOWN}"),
        ({"name": 3}, "name must be text, not an integer"),
        ({"flag": 1}, "flag must be true or false, not an integer"),
        ({"functional": "r2scam"}, f"functional: {UNKNOWN}"),
        ({"colour": "green"}, "colour must be one of red, blue, not 'green'"),
        ({"inner": 3}, "inner must be a table, not an integer"),
        ({"inner": {"size": True}}, "inner.size must be an integer, not a boolean"),
        (
            {"many": [{"size": 1}, {"sise": 1}]},
            "unknown key many[1].sise (did you mean size?); missing key many[1].size",
        ),
        ({"many": 3}, "many must be a list, not an integer"),
        ({"table": {"a": "b"}}, "table.a must be a number, not text"),
        ({"table": []}, "table must be a table, not a list"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(change, message):
    with pytest.raises(FormatError) as caught:
        parse(Outer, GOOD | change, "f.toml")
    assert str(caught.value) == f"f.toml: {message}"


def test_all_problems_come_at_once():
    with pytest.raises(FormatError) as caught:
        parse(Outer, {"name": 1, "ratoi": 2}, "f.toml")
    for part in ["name must be text", "unknown key ratoi", "missing key ratio", "missing key functional"]:
        assert part in str(caught.value)


def test_the_top_level_must_be_a_table():
    with pytest.raises(FormatError, match="the file must be a table, not a list"):
        parse(Outer, [], "f.json")


def test_toml_errors_have_the_line(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text("a = 1\nb = \n")
    with pytest.raises(FormatError, match=r"a\.toml is not valid TOML: .*line 2"):
        read_toml(path)


def test_toml_that_is_not_text_or_not_there(tmp_path):
    path = tmp_path / "a.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(FormatError, match="not valid TOML"):
        read_toml(path)
    with pytest.raises(StorageError, match="cannot read"):
        read_toml(tmp_path / "none.toml")


def test_nobelium_stays_text(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text('elements = ["N", "O", "No"]\nx = 1e-3\n')
    assert read_toml(path) == {"elements": ["N", "O", "No"], "x": 0.001}
