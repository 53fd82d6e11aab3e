"""Many metrics resampled at once have the values that each has alone."""

from __future__ import annotations

import numpy as np
import pytest

from xferbench.measure import METRICS, Resampler, sample, together, undefined

RNG = np.random.default_rng(0)
N_FRAMES, N_GROUPS = 40, 12
GROUP = RNG.integers(0, N_GROUPS, N_FRAMES)
LABEL, NOISE, BASE = RNG.normal(size=(3, 2 * N_FRAMES, 1))
ROWS = sample(LABEL + 0.3 * NOISE, LABEL, frame=np.arange(2 * N_FRAMES) // 2, baseline=BASE)
COUNTS = RNG.multinomial(N_GROUPS, np.full(N_GROUPS, 1 / N_GROUPS), size=9).astype(float)


def test_every_metric_has_the_values_it_has_alone():
    resamplers = [metric.resampler(ROWS, GROUP, N_GROUPS) for metric in METRICS.values()]
    for alone, found in zip(resamplers, together(resamplers)(COUNTS), strict=True):
        np.testing.assert_allclose(found, alone(COUNTS), rtol=1e-13)


def test_drawn_sums_are_those_of_drawn_groups():
    sums = RNG.normal(size=(N_GROUPS, 3))
    seen = []
    resampler = Resampler(sums=sums, finish=lambda _counts, drawn: seen.append(drawn) or drawn[:, 1])
    assert resampler(COUNTS) == pytest.approx((COUNTS[:, :, None] * sums).sum(axis=1)[:, 1])
    assert seen[0].shape == (9, 3)


def test_a_column_that_two_metrics_need_is_summed_once():
    widths = []

    class Counted(np.ndarray):
        def __matmul__(self, other):
            widths.append(other.shape[1])
            return np.asarray(self) @ other

    mae, rmse = (METRICS[name].resampler(ROWS, GROUP, N_GROUPS) for name in ("energy_mae", "energy_rmse"))
    together([mae, rmse, mae])(COUNTS.view(Counted))
    assert widths == [3]  # absolute errors, squared errors, and the number of rows of both


def test_columns_equal_but_for_the_sign_of_zero_are_not_mixed_up():
    first, second = (
        Resampler(sums=column[:, None], finish=lambda _counts, drawn: drawn[:, 0])
        for column in (np.array([0.0, 1.0]), np.array([-0.0, 2.0]))
    )
    assert [values.tolist() for values in together([first, second])(np.ones((1, 2)))] == [[1.0], [2.0]]


def test_what_is_undefined_is_nan_beside_what_is_not():
    defined = METRICS["energy_mae"].resampler(ROWS, GROUP, N_GROUPS)
    nothing, something = together([undefined(N_GROUPS), defined])(COUNTS)
    assert np.isnan(nothing).all()
    assert something == pytest.approx(defined(COUNTS))
    assert np.isnan(together([undefined(N_GROUPS)])(COUNTS)[0]).all()


def test_no_metric_and_no_resample_are_possible():
    assert together([])(COUNTS) == []
    assert METRICS["energy_mae"].resampler(ROWS, GROUP, N_GROUPS)(COUNTS[:0]).shape == (0,)
