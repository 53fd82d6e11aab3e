"""Conversion factors against ASE and against numbers converted by hand."""

from __future__ import annotations

import ase.units
import numpy as np
import pytest
from ase.stress import full_3x3_to_voigt_6_stress, voigt_6_to_full_3x3_stress

from xferbench.units import (
    EV_PER_A3_IN_GPA,
    KBAR_IN_GPA,
    RENDERED,
    VOIGT,
    matrix_to_voigt,
    stress_from_gpa,
    stress_from_vasp_kbar,
    voigt_to_matrix,
)

SYMMETRIC = np.array([[1.0, 6.0, 5.0], [6.0, 2.0, 4.0], [5.0, 4.0, 3.0]])


def test_ev_per_cubic_angstrom_is_the_elementary_charge_in_units_of_gpa():
    assert pytest.approx(1.602176634e-19 / 1e-30 / 1e9, rel=1e-15) == EV_PER_A3_IN_GPA
    assert pytest.approx(1 / ase.units.GPa, rel=1e-7) == EV_PER_A3_IN_GPA  # ASE has CODATA 2014


def test_one_kbar_is_a_tenth_of_a_gpa():
    assert pytest.approx(1e8 / 1e9) == KBAR_IN_GPA


def test_a_stress_in_gpa_keeps_its_sign():
    assert stress_from_gpa(160.2176634) == pytest.approx(1.0)
    assert stress_from_gpa([[-1.0]])[0, 0] == pytest.approx(-1.0 * ase.units.GPa, rel=1e-7)


def test_a_vasp_stress_of_a_compressed_cell_becomes_negative():
    # 100 kBar of VASP's sign = the cell pushes outwards with 10 GPa = -10 / 160.2176634 eV/Å³
    assert stress_from_vasp_kbar(100.0) == pytest.approx(-0.0624150907446076)
    assert stress_from_vasp_kbar(np.ones((2, 3, 3))).shape == (2, 3, 3)


def test_the_voigt_order_is_that_of_ase():
    np.testing.assert_array_equal(matrix_to_voigt(SYMMETRIC), [1, 2, 3, 4, 5, 6])
    np.testing.assert_array_equal(matrix_to_voigt(SYMMETRIC), full_3x3_to_voigt_6_stress(SYMMETRIC))
    np.testing.assert_array_equal(voigt_to_matrix([1, 2, 3, 4, 5, 6]), voigt_6_to_full_3x3_stress([1, 2, 3, 4, 5, 6]))


def test_voigt_names_each_component_once():
    components = {tuple(sorted(pair)) for pair in VOIGT}
    assert components == {(i, j) for i in range(3) for j in range(i, 3)}


def test_a_stack_of_stresses_is_converted_at_once_and_back():
    stack = np.random.default_rng(0).normal(size=(2, 5, 6))
    matrices = voigt_to_matrix(stack)
    assert matrices.shape == (2, 5, 3, 3)
    np.testing.assert_array_equal(matrices, matrices.swapaxes(-1, -2))
    np.testing.assert_array_equal(matrix_to_voigt(matrices), stack)


def test_off_diagonal_pairs_are_averaged():
    assert matrix_to_voigt([[0, 1, 0], [3, 0, 0], [0, 0, 0]])[5] == 2


@pytest.mark.parametrize("shape", [(3, 3), (7,), ()])
def test_six_components_are_needed(shape):
    with pytest.raises(ValueError, match="an axis of 6"):
        voigt_to_matrix(np.zeros(shape))


@pytest.mark.parametrize("shape", [(6,), (9,), (3, 6), (3,)])
def test_a_matrix_is_three_by_three(shape):
    with pytest.raises(ValueError, match="3 by 3"):
        matrix_to_voigt(np.zeros(shape))


def test_rendered_units_agree_with_ase():
    assert RENDERED["eV"] == ("meV", pytest.approx(1e3))
    assert RENDERED["eV/Å³"] == ("GPa", pytest.approx(1 / ase.units.GPa, rel=1e-7))
    assert all(factor > 0 for _, factor in RENDERED.values())
