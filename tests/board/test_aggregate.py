"""One number over floors that know the composition only."""

from __future__ import annotations

import math

import pytest

from xferbench.board.aggregate import aggregate_of, aggregated, label_key
from xferbench.results import from_json


@pytest.fixture
def ridge(make_data):
    """A floor that knows the composition: 200 meV/atom, and no forces."""
    data = make_data("floor-ridge", 0.2, model={"kind": "floor"})
    data["metrics"][3] |= {"value": None, "ci_low": None, "ci_high": None, "reason": "no forces"}
    return from_json(data, "")


@pytest.fixture
def zero(make_data):
    """A floor without energies: force errors of 400 meV/Å."""
    data = make_data("floor-zero", 0.8, model={"kind": "floor"})
    for k in (0, 1, 2, 4):
        data["metrics"][k] |= {"value": None, "ci_low": None, "ci_high": None, "reason": "no energy"}
    return from_json(data, "")


def test_each_error_is_taken_over_the_floor_that_has_it(section, make_result, ridge, zero):
    """Energy 50 of 200 meV/atom, force 25 of 400 meV/Å: the geometric mean of 1/4 and 1/16 is 1/8."""
    found = section(alpha := make_result("alpha", 0.05, 0.01), ridge, zero)
    assert [label_key(metric) for metric in aggregated(found)] == ["energy", "force"]
    assert aggregate_of(alpha, found).value == pytest.approx(math.sqrt(1 / 4 * 1 / 16))


def test_an_error_beyond_the_floor_counts_as_the_floor_and_is_named(section, make_result, ridge, zero):
    found = section(alpha := make_result("alpha", 0.5), ridge, zero)
    result = aggregate_of(alpha, found)
    assert result.capped == ("springs/energy",)
    assert result.value == pytest.approx(math.sqrt(1 * 250 / 400))


def test_a_result_that_lacks_an_error_has_no_aggregate(section, make_result, ridge, zero):
    found = section(make_result("alpha"), ridge, zero)
    assert aggregate_of(ridge, found) is None
    assert aggregate_of(zero, found) is None


def test_without_such_floors_there_is_no_aggregate(section, make_result, make_floor):
    found = section(alpha := make_result("alpha"), make_floor("floor-copy-source", 0.3))
    assert aggregated(found) == ()
    assert aggregate_of(alpha, found) is None


def test_a_floor_without_error_is_no_floor(section, make_data, make_result):
    data = make_data("floor-ridge", 0.2, model={"kind": "floor"})
    data["metrics"][3] |= {"value": 0.0, "ci_low": 0.0, "ci_high": 0.0}
    found = section(make_result("alpha"), from_json(data, ""))
    assert [label_key(metric) for metric in aggregated(found)] == ["energy"]


def test_only_the_reference_that_ranks_enters(section, make_result, make_floor):
    found = section(make_result("alpha"), make_floor("floor-ridge", 0.3))
    assert [metric.key for metric in aggregated(found)] == ["energy_mae/aligned", "force_mae"]
