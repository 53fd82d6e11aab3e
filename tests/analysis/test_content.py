"""The analysis as JSON."""

from __future__ import annotations

import json

import pytest

from xferbench.analysis.content import settled
from xferbench.storage import to_json


def test_json_has_every_statistic(found):
    data = json.loads(to_json(found.to_json()))
    assert set(data["statistics"]) == set(found.tables)
    pearson = next(item for item in data["statistics"]["energy/raw"]["estimates"] if item["name"] == "pearson")
    assert pearson["value"] == pytest.approx(found.find("energy/raw", "pearson").value, abs=1e-9)
    assert [row["symbol"] for row in data["elements"]] == ["Li", "O", "Mg", "Cl"]
    assert data["dataset"]["fingerprint"] == found.dataset.fingerprint
    assert data["counts"]["pairs"] == 42


def test_unknown_statistics_are_key_errors(found):
    with pytest.raises(KeyError, match="nothing"):
        found.find("energy/raw", "nothing")
    with pytest.raises(KeyError, match="energy/none"):
        found.find("energy/none", "pearson")


def test_digits_that_depend_on_the_order_of_sums_are_cut():
    assert settled({"a": [0.1 + 0.2, -1e-17], "b": ("x", None, 3)}) == {"a": [0.3, 0.0], "b": ["x", None, 3]}
    assert str(settled(-1e-17)) == "0.0"


def test_only_floats_are_touched_at_any_depth():
    assert settled({"a": [{"b": (1.23456789012, True, 7)}]}) == {"a": [{"b": [1.23456789, True, 7]}]}
    assert settled([True])[0] is True
    assert settled("0.12345678901") == "0.12345678901"


def test_settling_twice_is_settling_once(found):
    once = found.to_json()
    assert settled(once) == once


@pytest.mark.parametrize("name", ["one pair", "one material", "one element", "nothing varies", "no energies"])
def test_what_is_not_defined_is_null_with_a_reason_and_never_nan(odd, name):
    def refuse(word):
        raise AssertionError(word)

    data = json.loads(to_json(odd[name].to_json()), parse_constant=refuse)
    for table in data["statistics"].values():
        for item in table["estimates"]:
            assert (item["value"] is None) == bool(item["reason"]), item["name"]
            assert item["value"] is not None or item["ci_low"] is item["ci_high"] is None
