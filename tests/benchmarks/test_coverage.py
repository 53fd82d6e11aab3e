"""The simulation behind the coverage table: its truths are true, and a small run of it comes out as reported."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture(scope="module")
def module(script):
    return script("coverage")


def test_the_true_values_are_those_of_the_simulated_errors(module):
    errors, squares, frames = module.data_set(np.random.default_rng(0), 200_000)
    assert errors.shape == squares.shape == (200_000, module.MODELS)
    assert errors.sum(axis=0) / frames.sum() == pytest.approx([module.TRUE_MAE] * module.MODELS, rel=0.01)
    assert np.sqrt(squares.sum(axis=0) / frames.sum()) == pytest.approx([module.TRUE_RMSE] * module.MODELS, rel=0.02)
    assert frames.min() == 1
    assert frames.max() == module.LARGEST


def test_a_small_run_comes_out_as_reported(module):
    """30 materials, as in the table of docs/statistics.md, within the noise of 300 data sets."""
    rates = module.simulate(30, 300, 1000)
    assert rates.mae == pytest.approx(0.928, abs=0.045)
    assert rates.rmse == pytest.approx(0.845, abs=0.06)
    assert rates.difference == pytest.approx(0.935, abs=0.045)
    assert rates.pair == pytest.approx(0.062, abs=0.045)
    assert rates.family_holm < 0.09 < rates.family


def test_intervals_and_tests_are_two_sides_of_one_thing(module):
    rates = module.simulate(12, 100, 500)
    assert rates.pair == pytest.approx(1 - rates.difference, abs=0.011)
