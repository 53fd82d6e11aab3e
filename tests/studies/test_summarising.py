from __future__ import annotations

import numpy as np
import pytest

from xferbench.measure import Estimate
from xferbench.studies.measuring import Measured
from xferbench.studies.plan import Cell, Plan
from xferbench.studies.summarising import RESAMPLES, curves, entries, finite, plain

N_MATERIALS = 40


def made(errors, *, spread=0.0, quantities=("energy",)):
    """Runs whose energy errors by material are known: (method, subset, seed) -> mean error."""
    wave = np.linspace(-1, 1, N_MATERIALS)  # mean zero
    sums = {
        Cell(method=method, subset=subset, seed=seed): np.stack([value + spread * wave, np.ones(N_MATERIALS)], axis=1)
        for (method, subset, seed), value in errors.items()
    }
    empty = {name: {} for name in ("energy", "forces", "stress", "magmoms")}
    names = [f"m{i:02d}" for i in range(N_MATERIALS)]
    return Measured(materials=names, sums=empty | dict.fromkeys(quantities, sums), n_frames=N_MATERIALS, left_out=[])


def plan(*methods, subsets=(1.0,)):
    return Plan(
        kind="methods",
        dataset="d",
        fingerprint="f",
        methods=methods,
        subsets=subsets,
        seeds=(0, 1, 2),
        fit_from=1,
        config={},
    )


def table(measured, methods=("scratch+fit", "lora+fit"), subsets=(1.0,)):
    known = curves(plan(*methods, subsets=subsets), measured)
    return {(e.method, e.subset, e.quantity): e for e in entries(known, measured, {s: int(100 * s) for s in subsets})}


@pytest.fixture
def three_seeds():
    values = {("scratch+fit", 1.0, k): 2.0 + 0.2 * (k - 1) for k in range(3)}
    return values | {("lora+fit", 1.0, k): 1.0 + 0.1 * (k - 1) for k in range(3)}


def test_mean_and_spread_are_those_of_the_seeds(three_seeds):
    entry = table(made(three_seeds))["scratch+fit", 1.0, "energy"]
    assert entry.mean.value == pytest.approx(2.0)
    assert entry.seed_sd == pytest.approx(0.2)  # of 1.8, 2.0, 2.2
    assert entry.values == pytest.approx({0: 1.8, 1: 2.0, 2: 2.2})
    assert (entry.n_training, entry.unit) == (100, "eV/atom")


def test_without_differences_between_materials_only_the_seeds_are_uncertain(three_seeds):
    entry = table(made(three_seeds))["scratch+fit", 1.0, "energy"]
    assert entry.materials == pytest.approx((2.0, 2.0))
    assert entry.mean.low < 1.9
    assert entry.mean.high > 2.1


def test_the_interval_of_a_mean_has_the_width_of_its_standard_error():
    values = {("scratch+fit", 1.0, k): 2.0 for k in range(3)}
    entry = table(made(values, spread=0.9), methods=("scratch+fit",))["scratch+fit", 1.0, "energy"]
    deviation = 0.9 * np.std(np.linspace(-1, 1, N_MATERIALS), ddof=1)
    half = 1.96 * deviation / np.sqrt(N_MATERIALS)
    for low, high in (entry.materials, entry.mean.interval):
        assert high - low == pytest.approx(2 * half, rel=0.1)
    assert entry.seed_sd == pytest.approx(0.0, abs=1e-12)


def test_the_index_of_negative_transfer_is_the_ratio_to_scratch(three_seeds):
    found = table(made(three_seeds, spread=0.5))
    ratio = found["lora+fit", 1.0, "energy"].ratio
    assert ratio.value == pytest.approx(0.5)
    assert ratio.low < 0.5 < ratio.high
    assert found["scratch+fit", 1.0, "energy"].ratio is None
    assert found["lora+fit", 1.0, "energy"].gain == Estimate(1 - ratio.value, 1 - ratio.high, 1 - ratio.low)


def test_ratios_are_paired_in_the_materials():
    values = {(name, 1.0, 0): value for name, value in (("scratch+fit", 2.0), ("lora+fit", 1.0))}
    measured = made(values)
    wave = np.linspace(0.5, 1.5, N_MATERIALS)
    proportional = {
        cell: np.stack([sums[:, 0] * wave, sums[:, 1]], axis=1) for cell, sums in measured.sums["energy"].items()
    }
    measured = Measured(
        materials=measured.materials, sums={**measured.sums, "energy": proportional}, n_frames=1, left_out=[]
    )
    ratio = table(measured)["lora+fit", 1.0, "energy"].ratio
    assert (ratio.low, ratio.high) == pytest.approx((0.5, 0.5))  # though each error by itself is uncertain


def test_one_seed_has_no_spread():
    entry = table(made({("scratch+fit", 1.0, 0): 2.0}, spread=0.5))["scratch+fit", 1.0, "energy"]
    assert entry.seed_sd is None
    assert entry.materials == pytest.approx(tuple(entry.mean.interval))


def test_a_method_without_scratch_of_its_size_is_compared_with_nothing(three_seeds):
    other = {("lora+fit", 0.5, 0): 3.0}
    found = table(made(three_seeds | other), subsets=(0.5, 1.0))
    assert found["lora+fit", 0.5, "energy"].ratio is None
    assert found["lora+fit", 1.0, "energy"].ratio is not None


def test_lines_come_by_quantity_size_and_error(three_seeds):
    keys = list(table(made(three_seeds, quantities=("energy", "forces"))))
    assert keys == [(m, 1.0, q) for q in ("energy", "forces") for m in ("lora+fit", "scratch+fit")]


def test_methods_without_a_finished_run_have_no_line(three_seeds):
    assert not [
        key
        for key in table(made(three_seeds), methods=("scratch+fit", "lora+fit", "delta+fit"))
        if key[0] == "delta+fit"
    ]


def test_a_curve_has_a_draw_for_every_resample(three_seeds):
    [curve] = curves(plan("lora+fit"), made(three_seeds)).values()
    assert curve.draws.shape == (RESAMPLES, 1)
    assert curve.draws.mean() == pytest.approx(1.0, abs=0.01)


def test_plain_values_name_everything(three_seeds):
    values = plain(table(made(three_seeds))["lora+fit", 1.0, "energy"])
    assert values["negative_transfer_index"] == pytest.approx(0.5)
    assert values["values"] == {"0": pytest.approx(0.9), "1": pytest.approx(1.0), "2": pytest.approx(1.1)}
    assert (values["metric"], values["n_seeds"]) == ("energy_mae", 3)


def test_a_single_material_gives_no_interval():
    measured = made({("scratch+fit", 1.0, 0): 2.0})
    alone = {cell: sums * (np.arange(N_MATERIALS) == 0)[:, None] for cell, sums in measured.sums["energy"].items()}
    measured = Measured(materials=measured.materials, sums={**measured.sums, "energy": alone}, n_frames=1, left_out=[])
    entry = table(measured)["scratch+fit", 1.0, "energy"]
    assert entry.materials is None
    assert plain(entry)["ci_low"] is None


def test_infinity_is_null():
    assert (finite(float("inf")), finite(float("nan")), finite(1.5)) == (None, None, 1.5)


def test_the_order_of_runs_is_irrelevant(three_seeds):
    forwards, backwards = made(three_seeds, spread=0.5), made(dict(reversed(three_seeds.items())), spread=0.5)
    first, second = table(forwards), table(backwards)
    for key, entry in first.items():
        assert entry.mean == pytest.approx(second[key].mean)
        assert entry.values == pytest.approx(second[key].values)


def test_errors_scale_with_their_unit_and_ratios_do_not(three_seeds):
    scaled = {key: 1000 * value for key, value in three_seeds.items()}
    small, large = table(made(three_seeds, spread=0.5)), table(made(scaled, spread=500.0))
    for key, entry in small.items():
        assert [*large[key].mean] == pytest.approx([1000 * number for number in entry.mean])
        assert large[key].seed_sd == pytest.approx(1000 * entry.seed_sd)
        if entry.ratio is not None:
            assert [*large[key].ratio] == pytest.approx([*entry.ratio])


def test_an_equal_method_has_an_index_around_one():
    values = {(name, 1.0, k): 2.0 + 0.1 * k for name in ("scratch+fit", "lora+fit") for k in range(3)}
    ratio = table(made(values, spread=0.5))["lora+fit", 1.0, "energy"].ratio
    assert ratio.value == pytest.approx(1.0)
    assert ratio.low < 1 < ratio.high


@pytest.mark.parametrize("n_seeds", [2, 3, 5])
def test_the_interval_over_seeds_has_the_spread_of_their_mean(n_seeds):
    stream = np.random.default_rng(n_seeds)
    values = {("scratch+fit", 1.0, k): float(2 + 0.1 * stream.standard_normal()) for k in range(n_seeds)}
    measured = made(values)
    [curve] = curves(plan("scratch+fit"), measured).values()
    expected = np.std(list(values.values()), ddof=1) / np.sqrt(n_seeds)
    assert curve.draws.std() == pytest.approx(expected, rel=0.1)


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    """Forty studies of a method whose true error is 2, materials and seeds drawn anew."""
    stream, held = np.random.default_rng(0), 0
    for _ in range(40):
        base = stream.exponential(2.0, N_MATERIALS)
        cells = {
            Cell(method="scratch+fit", subset=1.0, seed=k): np.stack(
                [base * (1 + 0.05 * stream.standard_normal()), np.ones(N_MATERIALS)], axis=1
            )
            for k in range(3)
        }
        sums = {name: cells if name == "energy" else {} for name in ("energy", "forces", "stress", "magmoms")}
        names = [f"m{i:02d}" for i in range(N_MATERIALS)]
        entry = table(Measured(materials=names, sums=sums, n_frames=1, left_out=[]))["scratch+fit", 1.0, "energy"]
        held += entry.mean.low <= 2.0 <= entry.mean.high
    assert 33 <= held <= 40
