"""Parts of variance against designs whose answer is known, and against sums of squares by hand."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from xferbench.measure import Estimate
from xferbench.studies import variance
from xferbench.studies.variance import CONTRAST, REST, shares

STRATEGIES, REFERENCES = ("head", "lora", "finetune"), ("fit", "source")
GRID = [f"{strategy}+{references}" for strategy, references in product(STRATEGIES, REFERENCES)]


def values(methods, errors):
    return {name: (freedom, float(part)) for name, (freedom, part) in shares(methods, np.array(errors)).items()}


def test_a_product_of_two_factors_leaves_nothing():
    errors = [a * b for a, b in product((1.0, 2.0, 4.0), (1.0, 8.0))]
    found = values(GRID, errors)
    # logarithms of base 2: 0 1 2 by 0 3; of 17.5 in all, 4 * 1 by the strategy and 6 * 1.5² by the references
    assert found["strategy"] == (2, pytest.approx(4 / 17.5))
    assert found["references"] == (1, pytest.approx(13.5 / 17.5))
    assert found[REST] == (2, pytest.approx(0, abs=1e-12))


def test_the_base_of_the_logarithm_and_the_unit_do_not_matter():
    errors = np.random.default_rng(0).uniform(0.5, 2, len(GRID))
    found = values(GRID, errors)
    assert values(GRID, 1000 * errors) == {key: (df, pytest.approx(part)) for key, (df, part) in found.items()}


def test_parts_of_a_full_grid_add_up_and_those_of_one_with_holes_are_of_type_two():
    logs = np.random.default_rng(1).normal(size=len(GRID))
    assert sum(part for _, part in values(GRID, np.exp(logs)).values()) == pytest.approx(1)
    methods, left = GRID[:-1], logs[:-1]
    table = np.array(
        [
            [float(name.startswith(s)) for s in STRATEGIES] + [float(name.endswith(r)) for r in REFERENCES]
            for name in methods
        ]
    )

    def unexplained(columns):
        return float(np.sum((left - table[:, columns] @ np.linalg.lstsq(table[:, columns], left, rcond=None)[0]) ** 2))

    found, whole = values(methods, np.exp(left)), float(np.sum((left - left.mean()) ** 2))
    both = unexplained([0, 1, 2, 3, 4])
    assert found["strategy"] == (2, pytest.approx((unexplained([3, 4]) - both) / whole))
    assert found["references"] == (1, pytest.approx((unexplained([0, 1, 2]) - both) / whole))
    assert found[REST] == (1, pytest.approx(both / whole))


def test_a_choice_that_the_others_determine_has_no_part():
    found = values(["scratch+fit", "lora+source", "head+paired"], [1.0, 2.0, 3.0])
    assert found == {}
    assert set(values(["lora+fit", "head+fit", "finetune+fit"], [1.0, 2.0, 3.0])) == {"strategy"}


def test_networks_are_a_choice_of_their_own():
    methods = [f"{network}/{name}" for network in ("chgnet:0.3.0", "sevennet:7net-0") for name in GRID]
    found = values(methods, np.exp(np.repeat([0.0, 1.0], len(GRID))))
    assert found["network"] == (1, pytest.approx(1))
    assert found["strategy"] == (2, pytest.approx(0, abs=1e-12))


def test_a_study_of_methods_says_which_choice_matters_and_keeps_it(finished):
    study = finished("methods")
    found = {(part.quantity, part.source): part for part in study.variance}
    # scratch+fit, finetune+fit, finetune+source: each choice has one step that it makes alone
    part = found["energy", "references"]
    errors = {entry.method: entry.mean.value for entry in study.entries if entry.quantity == "energy"}
    logs = np.log([errors["scratch+fit"], errors["finetune+fit"], errors["finetune+source"]])
    whole = np.sum((logs - logs.mean()) ** 2)
    # by the strategy alone finetune has one value: half of the square of the step between its two methods is lost
    assert part.share.value == pytest.approx((logs[1] - logs[2]) ** 2 / 2 / whole)
    assert part.share.low < part.share.value < part.share.high
    contrast = found["energy", CONTRAST].share
    assert contrast.value == pytest.approx(part.share.value - found["energy", "strategy"].share.value)
    assert variance.from_json(variance.to_json(study.variance)) == list(study.variance)
    assert finished("scaling").variance == ()


def test_errors_of_zero_and_two_methods_have_no_parts(finished):
    assert variance.parts({}, (1.0,), lambda *_: Estimate(0.0)) == []
