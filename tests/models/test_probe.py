from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

from xferbench.errors import ModelError
from xferbench.models.crystals import candidates
from xferbench.models.probe import BATCH, Probe, Tolerances, evaluate, force_derivative, predictor, stress_derivative
from xferbench.units import matrix_to_voigt


def probe(model, **tolerances):
    return Probe(predict=predictor(model), tolerances=Tolerances(**tolerances), crystals=[], alone=[])


@pytest.fixture(scope="module")
def crystal():
    return next(iter(candidates({"Cu", "Ni", "Al"})))


def test_forces_agree_with_those_of_an_independent_calculator(crystal):
    derivative, errors = force_derivative(probe(EMT()), crystal, [1, 3])
    atoms = crystal.copy()
    atoms.calc = EMT()
    np.testing.assert_allclose(derivative, atoms.get_forces()[[1, 3]], atol=1e-7)
    assert derivative.shape == errors.shape == (2, 3)


def test_stress_agrees_with_that_of_an_independent_calculator(crystal):
    derivative, errors = stress_derivative(probe(EMT()), crystal)
    atoms = crystal.copy()
    atoms.calc = EMT()
    np.testing.assert_allclose(derivative, atoms.get_stress(), atol=1e-8)
    assert derivative.shape == errors.shape == (6,)


def test_the_error_estimate_covers_the_error_of_noisy_energies(gaussians, crystal):
    rng = np.random.default_rng(0)
    noisy = probe(gaussians(lambda result, _: result | {"energy": result["energy"] + rng.normal(0, 1e-5)}))
    right = gaussians().predict([crystal])[0]
    derivative, errors = force_derivative(noisy, crystal, range(4))
    off = np.abs(derivative - right["forces"])
    assert 0 < off.max() < 10 * errors.min()
    derivative, errors = stress_derivative(noisy, crystal)
    assert np.abs(derivative - matrix_to_voigt(right["stress"])).max() < 10 * errors.min()


def test_large_sets_are_evaluated_in_batches(gaussians, crystal):
    sizes = []

    class Counting(gaussians):
        def predict(self, structures):
            sizes.append(len(structures))
            return super().predict(structures)

    assert probe(Counting()).energies([crystal] * (BATCH + 3)).shape == (BATCH + 3,)
    assert sizes == [BATCH, 3]


def test_a_bare_calculator_and_a_model_are_asked_alike(gaussians, crystal):
    assert evaluate(predictor(EMT()), [crystal])[0]["forces"].shape == (4, 3)
    model = gaussians()
    assert evaluate(predictor(model), [crystal])[0]["energy"] == model.predict([crystal])[0]["energy"]


@pytest.mark.parametrize(
    ("predict", "message"),
    [
        (lambda _: [{"energy": 1.0}], "predict returned 1 results for 2 structures"),
        (lambda _: {"energy": [1.0, 2.0]}, "predict returned a dict instead of a list"),
        (lambda _: 1 / 0, "Cu, Cu: ZeroDivisionError: division by zero"),
        (lambda _: [{"energy": 1.0}, {"forces": 0}], "Cu: no 'energy' among the results"),
    ],
)
def test_what_a_model_does_wrong_is_one_line_with_the_structure(predict, message):
    with pytest.raises(ModelError, match=message):
        evaluate(predict, [bulk("Cu"), bulk("Cu")])


def test_long_batches_are_not_listed_in_full():
    with pytest.raises(ModelError, match="Cu, Cu, Cu, Cu, …: ZeroDivisionError"):
        evaluate(lambda _: 1 / 0, [bulk("Cu")] * 5)


def test_differences_count_energies_per_atom():
    tolerant = probe(EMT(), energy=0.1, relative=0.0)
    assert tolerant.differences({"energy": 10.3}, {"energy": 10.0}, 4) == {}
    assert tolerant.differences({"energy": 10.5}, {"energy": 10.0}, 4) == {"energy": "energy off by 0.125 eV/atom"}


def test_differences_grow_with_the_size_of_the_numbers():
    tolerant = probe(EMT(), energy=0.0, relative=0.01)
    assert tolerant.differences({"energy": -99.5}, {"energy": -100.0}, 1) == {}
    assert tolerant.differences({"energy": -98.5}, {"energy": -100.0}, 1)


def test_every_quantity_is_compared():
    right = {"energy": 1.0, "forces": np.zeros((1, 3)), "stress": np.zeros((3, 3)), "magmoms": np.zeros(1)}
    wrong = {"energy": 2.0, "forces": np.ones((1, 3)), "stress": np.ones((3, 3)), "magmoms": np.ones(1)}
    assert list(probe(EMT()).differences(wrong, right, 1)) == ["energy", "forces", "stress", "magmoms"]
    assert "given for one structure" in probe(EMT()).differences({"energy": 1.0}, right, 1)["stress"]


@pytest.mark.parametrize("thing", [3, None, EMT])
def test_what_is_no_model_is_refused(thing):
    with pytest.raises(ModelError, match="is neither an ASE calculator nor an object with predict"):
        predictor(thing)
