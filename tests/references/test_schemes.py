"""Every scheme: what it must find on data with a known answer, and what it is in closed form."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from xferbench.errors import DataError
from xferbench.functionals import Functional
from xferbench.references import SCHEMES, paired_shift
from xferbench.references.schemes import Calibration

SHIFT = np.array([-0.1, -0.5, -1.4, -2.2, -4.5])
FITTED = ["independent", "paired", "counts", "huber", "ridge", "two-step", "phases", "model-aware", "atoms"]
ATOMS = {
    Functional("PBE"): dict(zip(["H", "Li", "O", "Na", "Cl"], [-1.0, -0.3, -1.5, -0.2, -0.3], strict=True)),
    Functional("r2SCAN"): dict(zip(["H", "Li", "O", "Na", "Cl"], [-1.1, -0.8, -2.9, -2.4, -4.8], strict=True)),
}


def calibration(labels, *, model=True, atoms=ATOMS):
    labels = replace(labels, model=labels.source if model else None)
    return Calibration(labels=labels, weights=np.ones(len(labels)), atoms=atoms)


def values(fitted):
    return np.array(list(fitted.shift.energies.values()))


def rest(name, given):
    return given.labels.target - SCHEMES[name].fit(given).predict(given.labels)


@pytest.mark.parametrize("name", FITTED)
def test_an_exactly_additive_gap_leaves_nothing(name, make_labels):
    given = calibration(make_labels())
    tolerance = 1e-5 if name == "ridge" else 1e-10  # the weakest penalty is not none
    assert np.abs(rest(name, given)).max() < tolerance
    np.testing.assert_allclose(values(SCHEMES[name].fit(given)), SHIFT, atol=1e-4 if name == "ridge" else 1e-9)


@pytest.mark.parametrize("name", [item for item in FITTED if item not in {"atoms", "ridge"}])
def test_an_elemental_shift_of_either_functional_changes_no_rest(name, make_labels):
    labels = make_labels(noise=0.05)
    if name == "phases":  # keep the order of an element's phases: each has one
        labels = labels.take(np.arange(5))
    moved = labels.fractions @ np.array([7.0, -3.0, 40.0, 0.5, -11.0])
    shifted = replace(labels, target=labels.target + moved, source=labels.source - 2 * moved)
    before, after = (rest(name, calibration(item, atoms=None)) for item in (labels, shifted))
    np.testing.assert_allclose(after, before, atol=1e-8)


@pytest.mark.parametrize("name", SCHEMES)
def test_the_order_of_pairs_is_irrelevant(name, make_labels):
    labels = make_labels(noise=0.05)
    order = np.random.default_rng(1).permutation(len(labels))
    # folds of the cross-validation and their ties are by material, not by row
    first, second = (SCHEMES[name].fit(calibration(item)) for item in (labels, labels.take(order)))
    np.testing.assert_allclose(values(first), values(second), atol=1e-8)


@pytest.mark.parametrize("name", [item for item in SCHEMES if item != "ridge"])
def test_a_weight_of_two_is_the_pair_twice(name, make_labels):
    given = calibration(make_labels(30, noise=0.05))
    rows = np.concatenate([np.arange(30), np.arange(7)])
    weighted = replace(given, weights=np.bincount(rows).astype(float))
    drawn = calibration(make_labels(30, noise=0.05).take(rows))
    first, second = SCHEMES[name].fit(weighted), SCHEMES[name].fit(drawn)
    np.testing.assert_allclose(values(first), values(second), atol=1e-8)
    assert first.scale == pytest.approx(second.scale)


def test_none_and_mean_are_what_they_say(make_labels):
    given = calibration(make_labels(noise=0.1))
    np.testing.assert_array_equal(rest("source", given), given.labels.gap)
    np.testing.assert_allclose(rest("mean", given), given.labels.gap - given.labels.gap.mean())


def test_independent_and_paired_fits_agree_on_pairs(make_labels):
    given = calibration(make_labels(noise=0.3))
    np.testing.assert_allclose(
        values(SCHEMES["independent"].fit(given)), values(SCHEMES["paired"].fit(given)), atol=1e-10
    )


def test_paired_is_numpys_least_squares(make_labels):
    labels = make_labels(noise=0.3)
    oracle = np.linalg.lstsq(labels.fractions, labels.gap)[0]
    np.testing.assert_allclose(values(SCHEMES["paired"].fit(calibration(labels))), oracle, atol=1e-10)
    np.testing.assert_allclose(list(paired_shift(labels).energies.values()), oracle, atol=1e-10)


def test_counts_is_least_squares_of_totals_on_counts(make_labels):
    labels = make_labels(noise=0.3)
    n = labels.n_atoms
    oracle = np.linalg.lstsq(labels.fractions * n[:, None], labels.gap * n)[0]
    np.testing.assert_allclose(values(SCHEMES["counts"].fit(calibration(labels))), oracle, atol=1e-10)


def test_the_model_scheme_is_fitted_to_and_added_to_the_model(make_labels):
    labels = make_labels(noise=0.2)
    model = labels.source + np.random.default_rng(5).normal(0, 0.1, len(labels))
    given = replace(calibration(labels), labels=replace(labels, model=model))
    fitted = SCHEMES["model-aware"].fit(given)
    n = labels.n_atoms
    oracle = np.linalg.lstsq(labels.fractions * n[:, None], (labels.target - model) * n)[0]
    np.testing.assert_allclose(fitted.predict(given.labels), model + labels.fractions @ oracle, atol=1e-9)


def test_structures_without_prediction_are_neither_fitted_nor_predicted(make_labels):
    labels = make_labels(noise=0.2)
    model = labels.source.copy()
    model[::3] = np.nan
    given = replace(calibration(labels), labels=replace(labels, model=model))
    there = np.arange(len(labels)) % 3 > 0
    np.testing.assert_allclose(
        values(SCHEMES["model-aware"].fit(given)),
        values(SCHEMES["model-aware"].fit(calibration(labels.take(there)))),
        atol=1e-10,
    )
    assert np.isnan(SCHEMES["model-aware"].fit(given).predict(given.labels)).tolist() == (~there).tolist()


def test_phases_take_the_lowest_energy_of_each_functional_by_itself(make_labels):
    labels = make_labels(7)
    fractions = labels.fractions.copy()
    fractions[5:7] = fractions[0]  # two more phases of hydrogen
    source, target = labels.source.copy(), labels.target.copy()
    source[[0, 5, 6]], target[[0, 5, 6]] = [-1.0, -3.0, -2.0], [-4.0, -2.0, -5.0]
    given = calibration(replace(labels, fractions=fractions, source=source, target=target))
    assert SCHEMES["phases"].fit(given).shift.energies["H"] == pytest.approx(-5.0 - -3.0)


def test_two_steps_find_a_scaled_atomisation_energy(make_labels):
    labels = make_labels()
    pbe, target = (labels.fractions @ list(ATOMS[key].values()) for key in (Functional("PBE"), Functional("r2SCAN")))
    given = calibration(replace(labels, target=target + 1.1 * (labels.source - pbe)))
    fitted = SCHEMES["two-step"].fit(given)
    assert fitted.scale == pytest.approx(1.1)
    assert "isolated atoms" in fitted.note
    np.testing.assert_allclose(rest("two-step", given), 0, atol=1e-10)
    assert np.abs(rest("atoms", given)).max() > 0.01


def test_without_atoms_two_steps_scale_what_the_fitted_references_leave(make_labels):
    labels = make_labels()
    # a linear part more or less does not matter: the rest of the target is 0.9 times that of the source
    given = calibration(replace(labels, target=0.9 * labels.source + labels.fractions @ SHIFT), atoms=None)
    fitted = SCHEMES["two-step"].fit(given)
    assert fitted.scale == pytest.approx(0.9)
    assert "there are no isolated atoms of both functionals" in fitted.note
    np.testing.assert_allclose(rest("two-step", given), 0, atol=1e-10)


def test_if_references_leave_nothing_there_is_nothing_to_scale(make_labels):
    assert SCHEMES["two-step"].fit(calibration(make_labels(source_noise=0), atoms=None)).scale == 1.0


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("model-aware", {"model": None}, "needs the energies that a source model predicts"),
        ("atoms", {"atoms": None}, "needs isolated atoms of the same code and pseudopotentials"),
        ("atoms", {"atoms": {Functional("PBE"): {"H": -1.0}}}, "has no r2SCAN"),
        ("atoms", {"atoms": {Functional("PBE+U"): {"H": -1.0}}}, "has no PBE and no r2SCAN"),
    ],
)
def test_what_a_scheme_lacks_is_told(name, change, reason, make_labels):
    given = calibration(make_labels(), model="model" not in change, atoms=change.get("atoms", ATOMS))
    assert reason in SCHEMES[name].lacking(given)


def test_predictions_of_nothing_and_compounds_only_are_told(make_labels):
    labels = make_labels()
    silent = replace(calibration(labels), labels=replace(labels, model=np.full(len(labels), np.nan)))
    assert "no energy of a calibration frame" in SCHEMES["model-aware"].lacking(silent)
    compounds = labels.take(labels.fractions.max(axis=1) < 1)
    assert "no calibration pair is an elemental phase" in SCHEMES["phases"].lacking(calibration(compounds))


def test_an_element_without_data_is_never_given_a_shift(make_labels):
    labels = make_labels()
    given = calibration(labels.take(labels.fractions[:, 4] == 0), atoms=None)
    for name in ("independent", "paired", "counts", "huber", "ridge", "two-step", "phases", "model-aware"):
        fitted = SCHEMES[name].fit(given)
        assert "Cl" not in fitted.shift.energies, name
        predicted = fitted.predict(replace(labels, model=labels.source))
        assert np.isnan(predicted[labels.fractions[:, 4] > 0]).all(), name
        assert np.isfinite(predicted[[0, 1, 2, 3]]).all(), name


def test_two_elements_in_one_ratio_stay_open_but_for_ridge(make_labels):
    labels = make_labels(40, noise=0.01)
    fractions = labels.fractions.copy()
    fractions[:, 3] = fractions[:, 4] = (fractions[:, 3] + fractions[:, 4]) / 2
    given = calibration(replace(labels, fractions=fractions), atoms=None)
    for name in ("independent", "paired", "counts", "huber", "two-step", "model-aware"):
        assert SCHEMES[name].fit(given).shift.undetermined == {"Na", "Cl"}, name
    assert SCHEMES["ridge"].fit(given).shift.undetermined == set()


def test_every_scheme_says_what_it_is():
    assert list(SCHEMES) == [scheme.name for scheme in SCHEMES.values()]
    for scheme in SCHEMES.values():
        assert scheme.about
        assert bool(scheme.source) == (scheme.name not in {"source", "mean"})


BY_LABELS = ["mean", "independent", "paired", "counts", "huber", "ridge", "phases", "two-step"]


@pytest.mark.parametrize("name", BY_LABELS)
def test_one_gap_for_all_pairs_is_the_shift_of_every_element(name, make_labels):
    labels = make_labels()
    given = calibration(replace(labels, target=labels.source + 0.3), atoms=None)
    np.testing.assert_allclose(values(SCHEMES[name].fit(given)), 0.3, atol=1e-9)
    np.testing.assert_allclose(rest(name, given), 0, atol=1e-9)


@pytest.mark.parametrize("name", [*BY_LABELS, "model-aware"])
def test_equal_labels_have_no_shift(name, make_labels):
    labels = make_labels()
    given = calibration(replace(labels, target=labels.source), atoms=None)
    np.testing.assert_allclose(values(SCHEMES[name].fit(given)), 0, atol=1e-10)
    np.testing.assert_allclose(SCHEMES[name].fit(given).predict(given.labels), labels.source, atol=1e-10)


@pytest.mark.parametrize("name", SCHEMES)
def test_another_unit_of_energy_scales_shifts_and_predictions(name, make_labels):
    labels = make_labels(noise=0.1)
    in_milli = replace(labels, source=1000 * labels.source, target=1000 * labels.target)
    atoms = {functional: {s: 1000 * e for s, e in table.items()} for functional, table in ATOMS.items()}
    one, milli = SCHEMES[name].fit(calibration(labels)), SCHEMES[name].fit(calibration(in_milli, atoms=atoms))
    np.testing.assert_allclose(values(milli), 1000 * values(one), atol=1e-5)
    assert milli.scale == pytest.approx(one.scale)
    predicted = one.predict(replace(labels, model=labels.source))
    np.testing.assert_allclose(milli.predict(replace(in_milli, model=in_milli.source)), 1000 * predicted, atol=1e-5)


@pytest.mark.parametrize("name", SCHEMES)
def test_what_the_columns_are_called_first_is_irrelevant(name, make_labels):
    labels = make_labels(noise=0.1)
    order = np.array([3, 0, 4, 2, 1])
    turned = replace(labels, elements=tuple(labels.elements[i] for i in order), fractions=labels.fractions[:, order])
    one, other = (SCHEMES[name].fit(calibration(item)).shift.energies for item in (labels, turned))
    assert dict(other) == pytest.approx(dict(one), abs=1e-8)


@pytest.mark.parametrize("name", ["source", "mean", "independent", "counts", "huber", "ridge", "phases", "atoms"])
def test_no_other_shift_leaves_less_scatter_than_least_squares(name, make_labels):
    for seed in range(5):
        given = calibration(make_labels(noise=0.2, seed=seed))
        best, other = ((rest(scheme, given) ** 2).mean() for scheme in ("paired", name))
        assert best <= other * (1 + 1e-12)


@pytest.mark.parametrize("name", ["mean", "paired", "counts", "huber", "ridge", "phases"])
def test_a_single_elemental_pair_gives_its_gap(name, make_labels):
    labels = make_labels().take(np.array([2]))
    given = calibration(replace(labels, source=np.array([-5.0]), target=np.array([-6.25])), atoms=None)
    assert SCHEMES[name].fit(given).shift.energies["O"] == pytest.approx(-1.25)


@pytest.mark.parametrize("name", ["independent", "paired", "counts", "huber", "two-step", "model-aware"])
def test_no_pair_that_counts_is_refused(name, make_labels):
    given = replace(calibration(make_labels(), atoms=None), weights=np.zeros(60))
    with pytest.raises(DataError, match="not all zero"):
        SCHEMES[name].fit(given)


def test_counting_atoms_lets_the_large_cell_decide(make_labels):
    # two lithium cells with gaps 1 and 0 of 1 and 3 atoms: half, and 1/(1 + 3²)
    labels = make_labels().take(np.array([1, 1]))
    labels = replace(labels, source=np.zeros(2), target=np.array([1.0, 0.0]), n_atoms=np.array([1, 3]))
    found = {name: SCHEMES[name].fit(calibration(labels)).shift.energies["Li"] for name in ("paired", "counts")}
    assert found == pytest.approx({"paired": 0.5, "counts": 0.1})
