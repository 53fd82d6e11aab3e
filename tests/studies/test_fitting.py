from __future__ import annotations

import math

import numpy as np
import pytest

from xferbench.studies.fitting import fit, to_json
from xferbench.studies.summarising import Curve

SUBSETS = (0.1, 0.2, 0.5, 1.0)
N_PAIRS = {0.1: 100, 0.2: 200, 0.5: 500, 1.0: 1000}


def curve(method, prefactor, exponent, *, quantity="energy", noise=0.01, subsets=SUBSETS):
    sizes = np.array([N_PAIRS[subset] for subset in subsets], dtype=float)
    errors = prefactor * sizes**-exponent
    stream = np.random.default_rng(len(method))
    draws = errors * np.exp(noise * stream.standard_normal((500, len(sizes))))
    return Curve(method=method, quantity=quantity, subsets=subsets, errors=errors, draws=draws, runs={})


def known(*items):
    return {(item.method, item.quantity): item for item in items}


def test_exponents_crossing_and_equivalence_of_exact_laws():
    # 8·n^-1/2 and 1·n^-1/4 meet where n^1/4 = 8
    scaling = fit(known(curve("scratch+fit", 8.0, 0.5), curve("lora+fit", 1.0, 0.25)), N_PAIRS, 1)
    assert scaling.fits["scratch+fit", "energy"].exponent.value == pytest.approx(0.5)
    low, high = scaling.fits["lora+fit", "energy"].exponent.interval
    assert low < 0.25 < high
    [versus] = scaling.comparisons.values()
    assert versus.crossing.value == pytest.approx(4096.0)
    assert versus.crossing.low < 4096 < versus.crossing.high
    # the error of lora at 100 is 100^-1/4; scratch has it at (8·100^1/4)^2 = 640
    assert versus.equivalence[100].value == pytest.approx(6.4)
    assert versus.observed[100] == pytest.approx(6.4)
    assert math.isnan(versus.observed[1000])  # scratch never gets there


def test_the_declared_start_leaves_points_out():
    scaling = fit(known(curve("scratch+fit", 8.0, 0.5)), N_PAIRS, 200)
    law = scaling.fits["scratch+fit", "energy"]
    assert (law.n_points, law.n_outside) == (3, 1)
    assert scaling.comparisons == {}


def test_a_curve_with_too_few_sizes_has_no_law_and_says_so():
    scaling = fit(known(curve("scratch+fit", 8.0, 0.5)), N_PAIRS, 500)
    assert scaling.fits == {}
    assert scaling.unfitted == ["scratch+fit, energy: 2 sizes from 500 frames on, 3 are needed"]


def test_draws_without_an_error_forbid_a_law():
    holes = curve("scratch+fit", 8.0, 0.5, quantity="magmoms")
    holes.draws[3, 1] = np.nan
    scaling = fit(known(holes), N_PAIRS, 1)
    assert scaling.unfitted == ["scratch+fit, magmoms: too few test materials have it: some draws have no error"]


def test_plain_values_have_no_infinity():
    parallel = fit(known(curve("scratch+fit", 8.0, 0.25), curve("lora+fit", 1.0, 0.5)), N_PAIRS, 1)
    values = to_json(parallel)
    [versus] = values["comparisons"]
    assert versus["crossing"]["value"] is None  # scratch never overtakes
    assert versus["data_equivalence"][0]["n_training"] == 100
    assert {item["method"] for item in values["fits"]} == {"scratch+fit", "lora+fit"}


def test_wider_draws_give_wider_intervals():
    narrow, wide = (
        fit(known(curve("scratch+fit", 8.0, 0.5, noise=noise)), N_PAIRS, 1).fits["scratch+fit", "energy"].exponent
        for noise in (0.01, 0.1)
    )
    assert wide.high - wide.low > 5 * (narrow.high - narrow.low)
    assert wide.value == pytest.approx(narrow.value)


def test_a_method_that_is_never_caught_is_never_caught():
    scaling = fit(known(curve("scratch+fit", 8.0, 0.3), curve("lora+fit", 1.0, 0.6)), N_PAIRS, 1)
    [versus] = scaling.comparisons.values()
    assert math.isinf(versus.crossing.value)
    assert math.isinf(versus.crossing.high)


def test_quantities_are_compared_among_themselves():
    items = [
        curve(name, 8.0, 0.5, quantity=quantity)
        for name in ("scratch+fit", "lora+fit")
        for quantity in ("energy", "forces")
    ]
    scaling = fit(known(*items), N_PAIRS, 1)
    assert list(scaling.comparisons) == [("lora+fit", "energy"), ("lora+fit", "forces")]


def test_a_method_without_scratch_is_fitted_and_not_compared():
    scaling = fit(known(curve("lora+fit", 1.0, 0.25)), N_PAIRS, 1)
    assert list(scaling.fits) == [("lora+fit", "energy")]
    assert scaling.comparisons == {}


def test_a_method_may_lack_a_size():
    scaling = fit(known(curve("scratch+fit", 8.0, 0.5), curve("lora+fit", 1.0, 0.25, subsets=SUBSETS[1:])), N_PAIRS, 1)
    [versus] = scaling.comparisons.values()
    assert list(versus.equivalence) == [200, 500, 1000]
