"""Corrections against closed forms, intervals on errors of a known law, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from xferbench import lifting
from xferbench.errors import DataError, UsageError
from xferbench.functionals import Functional
from xferbench.lifting import Asked, Limits, Pairs, Structures
from xferbench.lifting.intervals import binomial, one_each
from xferbench.records import Frame, Prediction

ELEMENTS = (3, 8, 12, 17)
SHIFT = np.array([-0.5, -0.8, -2.4, -4.0])
SOURCE = np.array([-1.9, -4.9, -1.5, -1.8])


def structures(fractions, *, materials=None, noise=0.0, model=None):
    fractions = np.asarray(fractions, dtype=float)
    names = [f"f{i}" for i in range(len(fractions))]
    return Structures(
        ids=tuple(names),
        materials=tuple(materials or names),
        elements=ELEMENTS,
        fractions=fractions,
        source=fractions @ SOURCE + noise,
        model=model,
    )


def random_pairs(n, seed=0, *, per_material=1, error=0.05, common=0.0):
    """Pairs whose gap is elemental but for normal errors, ``common`` ones of a material and ``error`` ones of a frame."""
    rng = np.random.default_rng(seed)
    fractions = np.repeat(rng.dirichlet(np.ones(4), size=n), per_material, axis=0)
    materials = np.repeat([f"m{i}" for i in range(n)], per_material).tolist()
    errors = np.repeat(rng.normal(0, common, n), per_material) + rng.normal(0, error, n * per_material)
    return Pairs(structures=structures(fractions, materials=materials), gap=fractions @ SHIFT + errors)


def asked(of):
    return Asked(structures=of, compositions=["X"] * len(of), n_atoms=[2] * len(of))


def test_an_elemental_gap_is_found_exactly():
    correction = lifting.fit(random_pairs(20, error=0.0))
    assert correction.gap(structures(np.eye(4))) == pytest.approx(SHIFT, abs=1e-9)


def test_what_models_leave_is_elemental_and_their_part_is_told_apart():
    pairs = random_pairs(30, error=0.0)
    bend = 0.3 * pairs.structures.fractions[:, 0] * pairs.structures.fractions[:, 1]
    model = bend + pairs.structures.fractions @ np.array([1.0, 2.0, 3.0, 4.0])
    of = structures(pairs.structures.fractions, model=model)
    bent = Pairs(structures=of, gap=pairs.gap + bend)
    correction = lifting.fit(bent)
    assert correction.gap(of) == pytest.approx(bent.gap, abs=1e-9)
    row = lifting.lift(asked(of), correction, None, None)[0]
    assert row.elemental + row.model == pytest.approx(bent.gap[0], abs=1e-9)
    assert row.elemental == pytest.approx(
        lifting.fit(Pairs(structures=pairs.structures, gap=bent.gap)).gap(pairs.structures)[0]
    )


def test_each_pair_is_judged_without_its_material():
    pairs = random_pairs(15, per_material=3, error=0.0)
    gap = pairs.gap.copy()
    gap[:3] += 10.0
    judged = lifting.left_out(Pairs(structures=pairs.structures, gap=gap))
    assert judged.error[:3] == pytest.approx(np.full(3, -10.0), abs=1e-9)


def test_one_score_for_each_material_and_none_from_too_few():
    few, many = random_pairs(8, per_material=5), random_pairs(9, per_material=5)
    assert len(one_each(many.structures)) == 9
    assert lifting.conformal(lifting.left_out(few), few.structures, 0.9).quantile is None
    width = lifting.conformal(lifting.left_out(many), many.structures, 0.9)
    judged, rows = lifting.left_out(many), one_each(many.structures)
    scores = np.abs(judged.error[rows]) / np.sqrt(1 + judged.placement.leverage[rows])
    assert width.quantile == pytest.approx(scores.max())  # ⌈10 · 0.9⌉ = 9th of nine


def test_intervals_hold_as_often_as_they_promise_when_frames_of_a_material_err_alike():
    found = [
        lifting.coverage(
            random_pairs(40, seed, per_material=4, error=0.01, common=0.05),
            random_pairs(40, 1000 + seed, per_material=4, error=0.01, common=0.05),
            0.9,
        )
        for seed in range(50)
    ]
    total = binomial(sum(item.held for item in found), sum(item.n_materials for item in found), 0.9)
    assert 0.88 < total.held / total.n_materials < 0.94


def test_a_binomial_interval_is_the_exact_one():
    found = binomial(9, 10, 0.9)
    assert (found.low, found.high) == pytest.approx(
        (0.5550, 0.9975), abs=1e-4
    )  # Clopper and Pearson's own kind of table
    assert binomial(0, 5, 0.9).low == 0.0
    assert not binomial(0, 5, 0.9).as_promised


@pytest.mark.parametrize(
    ("fractions", "noise", "model", "reason"),
    [
        ([0.5, 0.5, 0, 0], 9.0, 0.0, "another kind of structure, unit or zero"),
        ([0.5, 0.5, 0, 0], 0.0, 5.0, "the models add 5"),
        ([0.5, 0.5, 0, 0], 0.0, np.nan, "no answer of the models"),
        ([0.5, 0.5, 0, 0], 0.0, 0.0, ""),
    ],
)
def test_what_is_far_from_the_pairs_is_refused_with_the_reason(fractions, noise, model, reason):
    pairs = random_pairs(40)
    learn = Pairs(
        structures=structures(pairs.structures.fractions, model=np.zeros(40), noise=np.linspace(-0.5, 0.5, 40)),
        gap=pairs.gap,
    )
    of = structures([fractions], noise=noise, model=np.array([model]))
    row = lifting.lift(asked(of), lifting.fit(learn), None, Limits.of(lifting.left_out(learn)))[0]
    assert reason in row.reason
    assert (row.status == "refused") == bool(reason)
    assert (row.energy is None) == bool(reason)


def test_elements_without_pairs_and_open_combinations_are_refused():
    half = [[0.5, 0.5, 0, 0]] * 3
    correction = lifting.fit(Pairs(structures=structures(half), gap=np.full(3, -0.65)))
    rows = lifting.lift(asked(structures([*half[:1], [1, 0, 0, 0], [0.5, 0, 0, 0.5]])), correction, None, None)
    assert rows[0].energy == pytest.approx(half[0] @ SOURCE - 0.65)
    assert "leave Li, O open" in rows[1].reason
    assert "no calibration pair has Cl" in rows[2].reason


def test_without_a_tie_only_differences_within_a_composition_are_given():
    of = structures(
        [[1, 0, 0, 0]] * 2 + [[0, 1, 0, 0]], noise=np.array([0.2, 0.0, 0.0]), model=np.array([7.3, 7.0, 1.0])
    )
    rows = lifting.differences(Asked(structures=of, compositions=["Li", "Li", "O"], n_atoms=[1, 1, 1]))
    assert rows[0].energy == pytest.approx(0.2 + 0.3)
    assert rows[1].energy == 0.0
    assert "only structure of O" in rows[2].reason


def test_pairs_of_one_material_cannot_be_judged():
    one = Pairs(structures=structures(np.eye(4)[:2], materials=["m", "m"]), gap=np.ones(2))
    with pytest.raises(DataError, match="of one material"):
        lifting.left_out(one)


def frame(name):
    return Frame(
        frame_id=name, pair_id="", material_id=name, functional=Functional("PBE"), numbers=np.array([3, 17]),
        positions=np.zeros((2, 3)), cell=np.eye(3),
    )  # fmt: skip


def test_models_that_answer_alike_are_told_and_failures_keep_their_reason():
    frames = [frame("a"), frame("b")]
    said = {name: Prediction(frame_id=name, energy=-4.0) for name in "ab"}
    with pytest.raises(UsageError, match="answer alike on all 2"):
        lifting.difference(frames, said, said)
    other = {"a": Prediction(frame_id="a", energy=-6.0), "b": Prediction(frame_id="b", error="too large")}
    found = lifting.difference(frames, other, said)
    assert found.gap[0] == -1.0
    assert np.isnan(found.gap[1])
    assert found.errors == {"b": "too large"}
