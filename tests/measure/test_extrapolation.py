"""The error to expect with more labels: exact where nothing bends, wide where much does, and as often right as it says."""

from __future__ import annotations

import numpy as np
import pytest

from xferbench.measure import expected_errors

SIZES = np.geomspace(100, 1600, 5)


def test_a_curve_without_bend_or_noise_goes_on_as_it_is():
    found = expected_errors(SIZES, 3 * SIZES**-0.4, [1600, 3200, 16000])
    for n, estimate in zip([1600, 3200, 16000], found, strict=True):
        assert list(estimate) == pytest.approx([3 * n**-0.4] * 3)


def test_the_interval_is_students_of_the_slopes():
    """Slopes -1 and 0 over equal distances: mean -1/2, s² = 1/2; beyond by as much again, t of one degree of freedom."""
    (found,) = expected_errors([1, 10, 100], [100, 10, 10], [1000])
    half = 6.313751514675043 * np.sqrt(0.5 * 1.5) * np.log(10)
    assert list(found) == pytest.approx([10 * 10**-0.5, 10 * 10**-0.5 * np.exp(-half), 10 * 10**-0.5 * np.exp(half)])


def test_runs_of_one_size_widen_the_interval_by_their_scatter():
    sizes = np.repeat(SIZES, 2)
    errors = 3 * sizes**-0.4 * np.tile([np.exp(0.1), np.exp(-0.1)], 5)
    (found,) = expected_errors(sizes, errors, [1600])
    half = 2.353363434801824 * np.sqrt(0.02 * 1.5)  # variance of two runs that are 0.2 apart; four slopes
    assert np.log(found.high / found.value) == pytest.approx(half)


def test_neither_unit_nor_order_of_runs_matters():
    errors = 3 * SIZES**-0.4 * [1.1, 0.9, 1.05, 1.0, 0.95]
    (first,) = expected_errors(SIZES, errors, [5000])
    (turned,) = expected_errors(10 * SIZES[::-1], 1000 * errors[::-1], [50000])
    assert list(turned) == pytest.approx([1000 * value for value in first])


def test_further_away_is_less_sure():
    widths = [
        np.log(found.high / found.low)
        for found in expected_errors(SIZES, SIZES**-0.4 * [1, 0.9, 1.1, 1, 0.95], [1600, 3200, 6400, 16000])
    ]
    assert widths == sorted(widths)
    assert widths[0] == 0  # nothing is known of runs of one size


@pytest.mark.parametrize(("n_sizes", "n_seeds"), [(3, 3), (4, 3), (5, 3), (7, 3), (5, 1)])
@pytest.mark.parametrize("floor", [0.0, 0.2])
def test_nine_of_ten_intervals_hold_the_error_that_comes(n_sizes, n_seeds, floor):
    """Laws that go on straight, and laws that bend towards a floor; a straight one is covered more often than it need be."""
    rng = np.random.default_rng(n_sizes)
    sizes, last = np.geomspace(100, 3000, n_sizes), 12000.0

    def drawn(n, shape):
        return ((n / 100) ** -0.4 + floor) * np.exp(0.05 * rng.standard_normal(shape))

    inside = 0
    for _ in range(400):
        errors = drawn(sizes, (n_seeds, n_sizes))
        (found,) = expected_errors(np.tile(sizes, n_seeds), errors.ravel(), [last])
        inside += found.low <= drawn(last, ()) <= found.high
    assert inside / 400 >= 0.85


@pytest.mark.parametrize(
    ("sizes", "errors", "at", "message"),
    [
        ([1, 2], [1, 1], [4], "2 sizes, 3 are needed"),
        ([1, 2, 4], [1, 1, np.nan], [8], "2 sizes, 3 are needed"),
        ([1, 2, 4], [1, 0, 1], [8], "positive sizes and errors"),
        ([0, 2, 4], [1, 1, 1], [8], "positive sizes and errors"),
        ([1, 2, 4], [1, 1, 1], [3], "sizes below 4, the largest one measured"),
    ],
)
def test_what_cannot_be_said_is_refused(sizes, errors, at, message):
    with pytest.raises(ValueError, match=message):
        expected_errors(sizes, errors, at)
