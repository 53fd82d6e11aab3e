from __future__ import annotations

import pytest

from xferbench.studies.compute import compute_gains, to_json
from xferbench.studies.plan import Cell


def cell(method, seed=0):
    return Cell(method=method, subset=1.0, seed=seed)


def rows(*errors, every=10):
    """A log with a row before training and one per epoch."""
    names = ("val_energy", "val_forces", "val_stress", "val_magmoms")
    return [{"step": every * k, **dict.fromkeys(names, error)} for k, error in enumerate(errors)]


def found(logs):
    return {(item.method, item.quantity): item for item in compute_gains(list(logs), logs.__getitem__)}


def test_gain_and_goal_by_hand():
    logs = {cell("scratch+fit"): rows(9, 8, 4, 2, 1.0), cell("lora+fit"): rows(3, 2, 1.0, 0.5, 0.25)}
    item = found(logs)["lora+fit", "energy"]
    assert item.gain == pytest.approx(0.75)  # 0.25 instead of 1
    assert item.reached == pytest.approx(0.5)  # after 20 of 40 steps


def test_the_best_so_far_counts_as_the_checkpoint_does():
    logs = {cell("scratch+fit"): rows(9, 1, 5), cell("lora+fit"): rows(9, 0.5, 7)}
    assert found(logs)["lora+fit", "forces"].gain == pytest.approx(0.5)


def test_equal_compute_is_equal_steps_not_equal_epochs():
    logs = {cell("scratch+fit"): rows(9, 4, 2), cell("replay+fit"): rows(9, 2, 1, every=20)}
    item = found(logs)["replay+fit", "energy"]
    assert item.gain == pytest.approx(0.0)  # after 20 steps both have 2
    assert item.reached == pytest.approx(1.0)


def test_means_over_seeds_and_their_spread():
    logs = {cell("scratch+fit", seed): rows(9, 1.0) for seed in (0, 1)}
    logs |= {cell("lora+fit", 0): rows(9, 0.8), cell("lora+fit", 1): rows(9, 0.6)}
    item = found(logs)["lora+fit", "energy"]
    assert (item.n_seeds, item.gain) == (2, pytest.approx(0.3))
    assert item.gain_sd == pytest.approx(0.1414, abs=1e-4)


def test_a_method_may_be_as_good_before_it_is_trained():
    logs = {cell("scratch+fit"): rows(9, 2.0), cell("lora+fit"): rows(1.5, 1.0)}
    assert found(logs)["lora+fit", "energy"].reached == 0


def test_never_if_one_seed_never_gets_there():
    logs = {cell("scratch+fit", seed): rows(9, 1.0) for seed in (0, 1)}
    logs |= {cell("lora+fit", 0): rows(9, 0.8), cell("lora+fit", 1): rows(9, 1.2)}
    assert found(logs)["lora+fit", "energy"].reached is None


def test_a_method_without_steps_or_partner_is_not_compared():
    assert found({cell("scratch+fit"): rows(9, 1), cell("zero-shot+fit"): rows(3)}) == {}
    assert found({cell("scratch+fit", 1): rows(9, 1), cell("lora+fit", 0): rows(9, 1)}) == {}


def test_quantities_without_labels_are_left_out():
    logs = {
        name: [{**row, "val_magmoms": float("nan")} for row in rows(9, 2, 1)]
        for name in (cell("scratch+fit"), cell("lora+fit"))
    }
    assert {quantity for _, quantity in found(logs)} == {"energy", "forces", "stress"}


def test_plain_values():
    [first, *_] = to_json(list(found({cell("scratch+fit"): rows(9, 1), cell("lora+fit"): rows(9, 1)}).values()))
    assert first == {
        "method": "lora+fit", "subset": 1.0, "quantity": "energy", "n_seeds": 1, "gain": 0.0, "gain_sd": None, "reached": 1.0,
    }  # fmt: skip
