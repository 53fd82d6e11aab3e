from __future__ import annotations

import pytest

pytest.importorskip("chgnet")


@pytest.fixture(scope="module")
def module(script):
    return script("reproduction_hours")


def test_hours_by_hand(module):
    # 50 epochs of 7,200 s training and 3,600 s validation, and 1,800 s of test
    size = module.Size(name="x", train=72_000, val=36_000, test=18_000)
    assert module.hours(size, module.Rates(train=10.0, predict=10.0, waiting=0.0)) == pytest.approx(150.5)


def test_validation_costs_the_same_for_every_fraction(module):
    size = module.Size(name="x", train=3_600, val=3_600, test=0)
    rates = module.Rates(train=1.0, predict=1.0, waiting=0.0)
    assert module.hours(size, rates) - module.hours(size, rates, 0.5) == pytest.approx(25.0)
    assert module.hours(size, rates, 0.0) == pytest.approx(50.0)


def test_sizes_are_the_published_ones(module):
    assert [(size.train, size.val, size.test) for size in module.SIZES] == [
        (190_560, 23_888, 23_799),
        (349_017, 19_394, 19_396),
    ]


def test_it_measures_what_it_prints(module):
    rates = module.measure(12, "cpu")
    assert rates.train > 0
    assert rates.predict > rates.train
    assert 0 <= rates.waiting < 1
