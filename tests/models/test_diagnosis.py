from __future__ import annotations

import numpy as np
import pytest

from xferbench.models.diagnosis import (
    ORDERS,
    Mistake,
    explain,
    explain_forces,
    explain_stress,
    reordered,
    restored,
)
from xferbench.units import voigt_to_matrix

RNG = np.random.default_rng(5)
FORCES = RNG.normal(0, 1, (4, 3))
STRESS = np.array([0.03, -0.05, 0.02, 0.011, -0.024, 0.017])


def test_the_best_mistake_wins():
    mistakes = [Mistake("twice", lambda x: 2 * x), Mistake("nearly twice", lambda x: 1.98 * x)]
    assert explain(FORCES * 1.985, FORCES, mistakes) == "nearly twice"


def test_no_mistake_explains_unrelated_numbers():
    assert explain(FORCES[::-1], FORCES, [Mistake("twice", lambda x: 2 * x)]) is None


def test_noise_of_the_expected_values_widens_what_is_recognised():
    blurred = 2 * (FORCES + RNG.normal(0, 0.1, FORCES.shape))
    mistake = [Mistake("twice", lambda x: 2 * x)]
    assert explain(blurred, FORCES, mistake) is None
    assert explain(blurred, FORCES, mistake, noise=0.1) == "twice"


def test_another_order_of_few_rows_is_recognised():
    assert "order of the atoms" in explain_forces(FORCES[[2, 0, 3, 1]], FORCES, 4, 0.0)


def test_orders_are_not_tried_when_only_some_rows_are_known():
    assert "not conservative" in explain_forces(FORCES[[2, 0, 3, 1]], FORCES, 40, 0.0)


def test_orders_of_many_rows_are_not_tried():
    many = RNG.normal(0, 1, (6, 3))
    assert "not conservative" in explain_forces(many[::-1], many, 6, 0.0)


@pytest.mark.parametrize("order", ORDERS)
def test_a_voigt_order_is_undone(order):
    right = voigt_to_matrix(STRESS)
    wrong = voigt_to_matrix(reordered(STRESS, order))
    np.testing.assert_array_equal(restored(wrong, order), right)
    assert explain_stress(wrong, STRESS, 4, 60.0, 0.0) == ORDERS[order]


def test_vasp_order_puts_xy_where_yz_is_read():
    np.testing.assert_array_equal(reordered(np.arange(6.0), (2, 0, 1)), [0, 1, 2, 5, 3, 4])


def test_a_factor_and_an_order_together_are_both_named():
    wrong = voigt_to_matrix(-60.0 * reordered(STRESS, (2, 1, 0)))
    cause = explain_stress(wrong, STRESS, 4, 60.0, 0.0)
    assert "minus the volume" in cause
    assert "LAMMPS" in cause


def test_zero_expected_forces_give_no_factor():
    assert "not conservative" in explain_forces(FORCES, np.zeros((4, 3)), 4, 0.0)


@pytest.mark.parametrize("noise", [0.0, 1e-3])
@pytest.mark.parametrize(
    ("factor", "cause"),
    [
        (-1.0, "sign flipped"),
        (160.2176634, "GPa instead"),
        (-160.2176634, "GPa with the sign flipped"),
        (1602.176634, "kBar instead"),
        (-1602.176634, "VASP sign in kBar"),
        (60.0, "divide by the volume"),
        (-60.0, "divide by minus the volume"),
        (4.0, "eV/atom instead of eV"),
        (0.25, "misses a factor n_atoms"),
    ],
)
def test_every_factor_of_a_stress_is_recognised_through_noise(factor, cause, noise):
    blurred = STRESS + RNG.normal(0.0, noise, 6)
    assert cause in explain_stress(voigt_to_matrix(factor * STRESS), blurred, 4, 60.0, noise)


@pytest.mark.parametrize(
    ("factor", "cause"),
    [
        (-1.0, "forces are +dE/dx"),
        (6.0, "eV/atom instead of eV"),
        (1 / 6, "miss a factor n_atoms"),
        (1 / 51.4220675, "Hartree/Bohr"),
        (1 / 25.711034, "Rydberg/Bohr"),
        (23.0605, "kcal/mol/Å"),
        (96.4853, "kJ/mol/Å"),
        (1000.0, "meV/Å"),
    ],
)
def test_every_factor_of_forces_is_recognised(factor, cause):
    assert cause in explain_forces(factor * FORCES, FORCES, 6, 0.0)


def test_an_unknown_factor_is_given():
    assert "forces 7.3 times -dE/dx" in explain_forces(7.3 * FORCES, FORCES, 4, 0.0)
    assert "stress 7.3 times dE/dε / V" in explain_stress(voigt_to_matrix(7.3 * STRESS), STRESS, 4, 60.0, 0.0)


def test_a_stress_with_a_one_sided_virial_is_not_symmetric():
    assert "not symmetric" in explain_stress(np.tri(3) * 0.1, STRESS, 4, 60.0, 0.0)
