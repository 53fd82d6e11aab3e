from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator

from xferbench.functionals import Functional
from xferbench.models.ase import CalculatorModel, calculate, is_calculator, predict
from xferbench.models.contract import normalise


class Recorder(Calculator):
    """Says what it was asked for."""

    implemented_properties = ("energy", "free_energy", "forces")

    def __init__(self):
        super().__init__()
        self.asked = []

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.asked.append((properties[0], len(atoms)))
        self.seen = atoms.copy()
        self.results = {"energy": -1.0, "free_energy": -2.0, "forces": np.zeros((len(atoms), 3))}


@pytest.fixture
def copper():
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.05, seed=1)
    return atoms


def test_the_numbers_are_those_of_the_calculator(copper):
    model = CalculatorModel(calculator=EMT(), functional=Functional("PBE"))
    results = normalise(model.predict([copper])[0], len(copper))
    copper.calc = EMT()
    assert results["energy"] == copper.get_potential_energy()
    np.testing.assert_array_equal(results["forces"], copper.get_forces())
    np.testing.assert_array_equal(results["stress"], copper.get_stress(voigt=False))


def test_a_model_declares_what_it_was_given():
    model = CalculatorModel(calculator=EMT(), functional=Functional("PBE"), references={"Cu": -3.7})
    assert (model.functional, model.references, model.supported_elements, model.card) == (
        "PBE",
        {"Cu": -3.7},
        None,
        None,
    )


def test_only_implemented_properties_are_asked_for(copper):
    assert set(calculate(Recorder(), copper)) == {"energy", "forces"}


def test_a_property_listed_and_then_missing_is_left_out(copper):
    assert "magmoms" in EMT.implemented_properties
    assert "magmoms" not in calculate(EMT(), copper)


def test_the_energy_is_the_one_extrapolated_to_zero_smearing(copper):
    assert calculate(Recorder(), copper)["energy"] == -1.0


def test_a_structure_is_computed_once_and_no_result_is_inherited(copper):
    recorder = Recorder()
    predict(recorder, [copper, copper, copper[:2]])
    assert recorder.asked == [("energy", 4), ("energy", 4), ("energy", 2)]


def test_one_failure_does_not_stop_the_others(copper):
    results = predict(EMT(), [copper, bulk("Si"), copper])
    assert results[1] == {"error": "NotImplementedError: No EMT-potential for Si"}
    assert results[0]["energy"] == results[2]["energy"]


def test_the_structure_is_left_alone(copper):
    copper.set_initial_magnetic_moments([1.0] * 4)
    recorder = Recorder()
    calculate(recorder, copper)
    assert copper.calc is None
    assert not recorder.seen.get_initial_magnetic_moments().any()


def test_no_structures_give_no_results():
    assert predict(EMT(), []) == []


def test_calculators_are_recognised_by_what_they_can_do(copper):
    assert is_calculator(EMT())
    assert is_calculator(LennardJones())
    assert is_calculator(SinglePointCalculator(copper, energy=1.0))
    assert not is_calculator(EMT)
    assert not is_calculator(copper)
    assert not is_calculator(None)


class Matrix(Recorder):
    """Gives its stress as a matrix, as CHGNet's calculator does, instead of in Voigt order."""

    implemented_properties = ("energy", "stress", "magmoms")
    stress = np.array([[1.0, 6.0, 5.0], [6.0, 2.0, 4.0], [5.0, 4.0, 3.0]])

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.results = {"energy": -1.0, "stress": self.stress, "magmoms": np.arange(len(atoms))}


def test_a_stress_given_as_a_matrix_or_in_voigt_order_is_the_same(copper):
    class Voigt(Matrix):
        stress = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])

    np.testing.assert_array_equal(calculate(Matrix(), copper)["stress"], Matrix.stress)
    np.testing.assert_array_equal(calculate(Voigt(), copper)["stress"], Matrix.stress)


def test_magnetic_moments_are_asked_for_where_implemented(copper):
    np.testing.assert_array_equal(normalise(calculate(Matrix(), copper), len(copper))["magmoms"], [0.0, 1.0, 2.0, 3.0])


def test_a_calculator_needs_no_more_than_its_properties(copper):
    class Minimal:
        implemented_properties = ("energy",)

        def get_property(self, name, atoms): ...

        def get_potential_energy(self, atoms):
            return -2.0 * len(atoms)

    assert is_calculator(Minimal())
    assert calculate(Minimal(), copper) == {"energy": -8.0}


def test_an_interrupt_is_not_taken_for_a_failed_structure(copper):
    class Interrupted(Recorder):
        def calculate(self, *_):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict(Interrupted(), [copper])
