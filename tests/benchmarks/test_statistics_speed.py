"""The timed code is the code that scores, and the loop it is timed against computes the same metrics."""

from __future__ import annotations

import numpy as np
import pytest

from xferbench.measure import METRICS
from xferbench.scoring.measuring import measure


@pytest.fixture(scope="module")
def module(script):
    return script("statistics_speed")


def test_every_metric_is_timed_on_rows_that_define_it(module):
    n = 60
    materials = [f"m{i // module.PER_MATERIAL:02d}" for i in range(n)]
    entries = measure(module.task(100), module.rows(n), materials)
    assert {entry.name for entry in entries} == set(METRICS)
    assert [entry.key for entry in entries if entry.value is None] == []


def test_gathered_rows_are_those_of_the_drawn_frames(module):
    source = module.rows(20)["forces", "none"].sample
    gathered = module.gather(source, np.array([3, 3, 0]))
    atoms = module.ATOMS
    assert gathered.n_frames == 3
    assert (gathered.label[:atoms] == source.label[3 * atoms : 4 * atoms]).all()
    assert (gathered.label[atoms : 2 * atoms] == gathered.label[:atoms]).all()
    assert (gathered.prediction[2 * atoms :] == source.prediction[:atoms]).all()


def test_the_loop_gives_the_value_of_the_matrix_product(module):
    """One resample by hand: the same draw through both."""
    keyed = module.rows(40)
    sample = keyed["forces", "none"].sample
    drawn = np.random.default_rng(0).integers(0, 20, 20)
    frames = (drawn[:, None] * module.PER_MATERIAL + np.arange(module.PER_MATERIAL)).ravel()
    counts = np.bincount(drawn, minlength=20)[None].astype(float)
    for name in ("force_mae", "force_rmse", "force_cosine"):
        metric = METRICS[name]
        by_product = metric.resampler(sample, np.arange(40) // module.PER_MATERIAL, 20)(counts)[0]
        assert by_product == pytest.approx(metric.value(module.gather(sample, frames)), rel=1e-12)


def test_the_loop_runs_over_every_metric(module):
    module.naive(module.rows(20), module.task(100), np.arange(20) // module.PER_MATERIAL, 1)
