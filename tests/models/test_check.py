from __future__ import annotations

import json
import sys
from dataclasses import asdict
from itertools import islice

import numpy as np
import pytest
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.units import Bohr, Hartree

from xferbench.models import check_model
from xferbench.models.check import CHECKS, CheckResult
from xferbench.models.crystals import candidates
from xferbench.models.probe import Tolerances
from xferbench.units import EV_PER_A3_IN_GPA, matrix_to_voigt, voigt_to_matrix

GPA = EV_PER_A3_IN_GPA
FORCES, STRESS = "forces = -dE/dx", "stress = dE/dε / V"


@pytest.fixture(scope="module")
def crystal():
    return next(iter(candidates(None)))


def failures(results):
    return {result.name: result for result in results if result.passed is False}


def on(results, name):
    return next(result for result in results if result.name == name)


def changed(**changes):
    """A change of the named quantities, each by a function of its right value and the structure."""

    def change(result, atoms):
        return result | {name: function(result[name], atoms) for name, function in changes.items()}

    return change


def voigt(order, factor=1.0):
    """What is read when a stress is given in another Voigt order, in ASE's numbering of the six."""
    return lambda stress, _: voigt_to_matrix(matrix_to_voigt(stress)[list(order)] * factor)


def scaled_shear(factor):
    return lambda stress, _: stress * np.where(np.eye(3), 1.0, factor)


def sorted_by_element(forces, atoms):
    return forces[np.argsort(atoms.numbers, kind="stable")]


@pytest.mark.parametrize("calculator", [EMT(), LennardJones(sigma=2.0, rc=7.0, smooth=True)], ids=["EMT", "LJ"])
def test_a_correct_ase_calculator_passes_every_check_that_applies(calculator):
    results = check_model(calculator)
    assert not failures(results)
    assert {result.name for result in results if result.passed is None} == {"functional declared"}


def test_a_correct_model_passes_every_check(gaussians):
    results = check_model(gaussians())
    assert [result.passed for result in results] == [True] * (2 + len(CHECKS))
    assert on(results, "functional declared").detail == "r2SCAN"
    assert "energy, forces, stress, magmoms on Mg2O2" in on(results, "shapes and finite values").detail


WRONG_FORCES = [
    ("sign", lambda f, _: -f, "sign flipped: the forces are +dE/dx"),
    ("meV", lambda f, _: f * 1000, "look like meV/Å"),
    ("Hartree", lambda f, _: f * Bohr / Hartree, "look like Hartree/Bohr"),
    ("twice", lambda f, _: f * 2, "doubled"),
    ("half", lambda f, _: f / 2, "halved"),
    ("odd factor", lambda f, _: f * 0.7, "0.7 times -dE/dx"),
    ("zero", lambda f, _: f * 0, "all forces are zero"),
    ("slightly", lambda f, _: f * 1.03, "nearly right"),
    ("unrelated", lambda f, _: np.roll(f, 1, axis=1) + 0.2, "not conservative"),
]
WRONG_STRESS = [
    ("sign", lambda s, _: -s, "sign flipped: compression must be negative"),
    ("GPa", lambda s, _: s * GPA, "looks like GPa instead of eV/Å³"),
    ("minus GPa", lambda s, _: s * -GPA, "looks like GPa with the sign flipped"),
    ("kBar", lambda s, _: s * GPA * 10, "looks like kBar"),
    ("VASP", lambda s, _: s * GPA * -10, "looks like VASP sign in kBar"),
    ("minus virial", lambda s, atoms: s * -atoms.get_volume(), "looks like a virial (eV)"),
    ("per atom", lambda s, atoms: s / len(atoms), "misses a factor n_atoms"),
    ("doubled shear", scaled_shear(2.0), "off-diagonal components doubled"),
    ("halved shear", scaled_shear(0.5), "off-diagonal components halved"),
    ("no shear", scaled_shear(0.0), "off-diagonal components are zero"),
    ("zero", lambda s, _: s * 0, "the stress is zero"),
    ("asymmetric", lambda s, _: s * np.tri(3), "not symmetric"),
    ("slightly", lambda s, _: s * 1.03, "nearly right"),
    ("odd factor", lambda s, _: s * 3.3, "3.3 times"),
]


@pytest.mark.parametrize(
    ("change", "cause"), [case[1:] for case in WRONG_FORCES], ids=[case[0] for case in WRONG_FORCES]
)
def test_wrong_forces_are_found_and_only_there(gaussians, crystal, change, cause):
    found = failures(check_model(gaussians(changed(forces=change)), structures=[crystal]))
    assert FORCES in found
    assert cause in found[FORCES].cause
    assert STRESS not in found


@pytest.mark.parametrize(
    ("change", "cause"), [case[1:] for case in WRONG_STRESS], ids=[case[0] for case in WRONG_STRESS]
)
def test_wrong_stress_is_found_and_only_there(gaussians, crystal, change, cause):
    found = failures(check_model(gaussians(changed(stress=change)), structures=[crystal]))
    assert STRESS in found
    assert cause in found[STRESS].cause
    assert FORCES not in found


@pytest.mark.parametrize(
    ("order", "factor", "cause"),
    [
        ((0, 1, 2, 5, 3, 4), 1.0, "Voigt order xx yy zz xy yz zx (VASP)"),
        ((0, 1, 2, 5, 4, 3), 1.0, "Voigt order xx yy zz xy xz yz (LAMMPS)"),
        ((0, 1, 2, 3, 5, 4), 1.0, "xz and xy swapped"),
        ((0, 1, 2, 4, 3, 5), 1.0, "yz and xz swapped"),
        ((0, 1, 2, 4, 5, 3), 1.0, "hold xz xy yz"),
        ((0, 1, 2, 5, 3, 4), -GPA * 10, "looks like VASP sign in kBar; Voigt order xx yy zz xy yz zx (VASP)"),
    ],
)
def test_a_wrong_voigt_order_is_named_by_the_derivative_and_by_the_rotation(gaussians, crystal, order, factor, cause):
    found = failures(check_model(gaussians(changed(stress=voigt(order, factor))), structures=[crystal]))
    assert set(found) == {"rotation", STRESS}
    assert cause in found[STRESS].cause
    assert found["rotation"].cause in found[STRESS].cause


def test_an_energy_per_atom_is_named_by_every_check_that_sees_it(gaussians, crystal):
    found = failures(check_model(gaussians(changed(energy=lambda e, atoms: e / len(atoms))), structures=[crystal]))
    assert set(found) == {"extensive energy", FORCES, STRESS}
    assert {result.cause for result in found.values()} == {"the energy looks like eV/atom instead of eV"}


def test_forces_of_an_energy_per_atom_are_named(gaussians, crystal):
    found = failures(check_model(gaussians(changed(forces=lambda f, atoms: f / len(atoms))), structures=[crystal]))
    assert set(found) == {"extensive energy", FORCES}
    assert all("forces miss a factor n_atoms" in result.cause for result in found.values())


def test_a_virial_is_named(gaussians, crystal):
    found = failures(
        check_model(gaussians(changed(stress=lambda s, atoms: s * atoms.get_volume())), structures=[crystal])
    )
    assert set(found) == {"extensive energy", STRESS}
    assert all("looks like a virial (eV)" in result.cause for result in found.values())


def test_a_constant_in_the_energy_is_not_extensive(gaussians, crystal):
    found = failures(check_model(gaussians(changed(energy=lambda e, _: e + 3.0)), structures=[crystal]))
    assert set(found) == {"extensive energy"}
    assert "energy off by 0.375 eV/atom" in found["extensive energy"].detail
    assert "a property of the whole cell" in found["extensive energy"].cause


def test_forces_sorted_by_element_are_named(gaussians):
    nacl = list(islice(candidates({"Na", "Cl"}), 1))
    found = failures(check_model(gaussians(changed(forces=sorted_by_element)), structures=nacl))
    assert "sorted by element" in found["atom order"].cause
    assert "sorted by element" in found[FORCES].cause


def test_an_energy_that_depends_on_the_order_of_the_atoms_is_named(gaussians, crystal):
    change = changed(energy=lambda e, atoms: e + 0.01 * float(atoms.numbers @ np.arange(len(atoms))))
    assert "depends on the order" in failures(check_model(gaussians(change), structures=[crystal]))["atom order"].cause


def test_unwrapped_positions_are_named(gaussians, crystal):
    found = failures(check_model(gaussians(wraps=False), structures=[crystal]))
    assert set(found) == {"lattice translation"}
    assert "not wrapped" in found["lattice translation"].cause


def test_an_energy_in_a_fixed_frame_is_named(gaussians, crystal):
    change = changed(energy=lambda e, atoms: e + 0.1 * atoms.cell.array[0, 0])
    assert "orientation" in failures(check_model(gaussians(change), structures=[crystal]))["rotation"].cause


def test_forces_in_a_fixed_frame_are_named(gaussians, crystal):
    change = changed(forces=lambda f, _: f + np.array([0.0, 0.0, 0.5]))
    assert "forces do not rotate" in failures(check_model(gaussians(change), structures=[crystal]))["rotation"].cause


def test_a_stress_in_a_fixed_frame_is_named(gaussians, crystal):
    change = changed(stress=lambda s, _: s + np.diag([0.1, 0.0, 0.0]))
    assert "stress does not rotate" in failures(check_model(gaussians(change), structures=[crystal]))["rotation"].cause


def test_random_numbers_are_named(gaussians, crystal):
    rng = np.random.default_rng(1)
    change = changed(energy=lambda e, _: e + rng.normal(0, 0.01))
    assert "dropout" in failures(check_model(gaussians(change), structures=[crystal]))["determinism"].cause


def test_structures_that_influence_each_other_in_a_batch_are_named(gaussians, crystal):
    class Leaking(gaussians):
        def predict(self, structures):
            results = super().predict(structures)
            mean = np.mean([len(atoms) for atoms in structures])
            return [
                r | {"energy": r["energy"] + 0.01 * (mean - len(a))} for r, a in zip(results, structures, strict=True)
            ]

    found = failures(check_model(Leaking(), structures=[crystal]))
    assert set(found) == {"batch equals single"}
    assert "influence each other" in found["batch equals single"].cause


def test_a_lost_axis_of_one_atom_is_named(gaussians, crystal):
    found = failures(check_model(gaussians(changed(forces=lambda f, _: f.squeeze())), structures=[crystal]))
    assert set(found) == {"one-atom cell"}
    assert "Mg: forces has shape (3,)" in found["one-atom cell"].detail
    assert "squeeze" in found["one-atom cell"].cause


def test_a_force_on_a_single_atom_is_named(gaussians, crystal):
    change = changed(forces=lambda f, _: f + 0.01 if len(f) == 1 else f)
    assert "periodic images" in failures(check_model(gaussians(change), structures=[crystal]))["one-atom cell"].cause


def test_magmoms_sorted_by_element_are_named(gaussians, crystal):
    found = failures(check_model(gaussians(changed(magmoms=sorted_by_element)), structures=[crystal]))
    assert set(found) == {"extensive energy", "atom order"}
    assert "sorted by element" in found["atom order"].cause
    assert found["atom order"].detail.startswith("magmoms off by")


def test_a_batch_in_another_order_is_found(gaussians):
    class Backwards(gaussians):
        def predict(self, structures):
            return super().predict(structures)[::-1]

    found = failures(check_model(Backwards()))
    assert "influence each other" in found["batch equals single"].cause


def test_a_batch_that_fails_where_single_structures_work_is_named(gaussians, crystal):
    class Stacking(gaussians):
        def predict(self, structures):
            np.stack([atoms.positions for atoms in structures])
            return super().predict(structures)

    found = failures(check_model(Stacking(), structures=[crystal]))
    assert set(found) == {"batch equals single"}
    assert "all input arrays must have the same shape" in found["batch equals single"].detail
    assert "influence each other" in found["batch equals single"].cause


def test_neighbours_searched_in_the_nearest_cells_only_are_named(gaussians, crystal, monkeypatch):
    module = sys.modules[gaussians.__module__]
    monkeypatch.setattr(module, "IMAGES", module.IMAGES[np.abs(module.IMAGES).max(axis=1) == 0])
    found = failures(check_model(gaussians(), structures=[crystal]))
    assert "neighbours beyond the cell are missed" in found["extensive energy"].cause


def float32(result, atoms):
    """What a single-precision network with the total energies of r2SCAN's heavy elements says."""
    energy = np.float32(result["energy"] - 70.0 * len(atoms)) * (1 + 1e-7 * np.sin(1e4 * atoms.positions.sum()))
    return {name: np.float32(value) for name, value in result.items()} | {"energy": np.float32(energy)}


def test_single_precision_passes_every_check(gaussians):
    results = check_model(gaussians(float32))
    assert [(result.name, result.detail) for result in results if result.passed is not True] == []


@pytest.mark.parametrize(
    ("change", "cause"),
    [(changed(forces=lambda f, _: f * -1), "sign flipped"), (changed(stress=lambda s, _: s * GPA), "looks like GPa")],
)
def test_single_precision_does_not_hide_a_mistake(gaussians, crystal, change, cause):
    results = check_model(gaussians(lambda result, atoms: float32(change(result, atoms), atoms)), structures=[crystal])
    assert cause in "; ".join(result.cause for result in failures(results).values())


def test_tolerances_can_be_widened(gaussians, crystal):
    nearly = gaussians(changed(forces=lambda f, _: f * 1.03, stress=lambda s, _: s * 0.97))
    assert set(failures(check_model(nearly, structures=[crystal]))) == {FORCES, STRESS}
    assert not failures(check_model(nearly, structures=[crystal], tolerances=Tolerances(derivative=0.1)))


def test_larger_structures_of_the_user_are_checked_on_some_of_their_atoms(gaussians, crystal):
    large = crystal.repeat((2, 1, 1))
    large.rattle(0.05, seed=3)
    assert not failures(check_model(gaussians(), structures=[large]))
    found = failures(check_model(gaussians(changed(forces=lambda f, _: -f)), structures=[large]))
    assert "sign flipped" in found[FORCES].cause
    found = failures(check_model(gaussians(changed(forces=lambda f, _: f / 8)), structures=[large]))
    assert "factor n_atoms" in found[FORCES].cause


def test_the_checks_are_in_order_and_can_be_sent_as_json(gaussians, crystal):
    results = check_model(gaussians(), structures=[crystal])
    assert [result.name for result in results] == ["functional declared", "shapes and finite values", *CHECKS]
    assert [CheckResult(**item) for item in json.loads(json.dumps([asdict(result) for result in results]))] == results


def test_the_checks_are_the_same_every_time(gaussians, crystal):
    wrong = gaussians(changed(stress=lambda s, _: -s))
    assert check_model(wrong, structures=[crystal]) == check_model(wrong, structures=[crystal])


def test_an_energy_rougher_than_its_slope_cannot_be_told(gaussians, crystal):
    def rough(energy, atoms):
        return energy + 0.03 * np.sin(1e5 * float((atoms.positions**2).sum()))

    results = check_model(gaussians(changed(energy=rough)), structures=[crystal], tolerances=Tolerances(energy=1.0))
    assert on(results, FORCES).passed is None
    assert "too rough" in on(results, FORCES).detail


def test_forces_too_small_to_tell_are_not_passed(gaussians):
    from ase.build import bulk

    results = check_model(gaussians(), structures=[bulk("Cu", "fcc", a=3.61).repeat((2, 1, 1))])
    assert on(results, FORCES).passed is None
    assert "too small" in on(results, FORCES).detail
    assert on(results, STRESS).passed


def test_a_model_without_forces_and_stress_is_checked_for_the_rest(gaussians, crystal):
    results = check_model(gaussians(lambda result, _: {"energy": result["energy"]}), structures=[crystal])
    assert not failures(results)
    assert on(results, FORCES).detail == "the model gives no forces"
    assert on(results, STRESS).detail == "the model gives no stress"
    assert on(results, FORCES).passed is on(results, STRESS).passed is None


def test_a_quantity_given_only_sometimes_is_a_failure(gaussians, crystal):
    def sometimes(result, atoms):
        return result if len(atoms) <= 4 else {"energy": result["energy"]}

    found = failures(check_model(gaussians(sometimes), structures=[crystal]))
    assert "forces given for one structure and not for the other" in found["extensive energy"].detail


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        (lambda *_: {}, "no 'energy' among the results"),
        (lambda result, _: result | {"energy": np.nan}, "energy has 1 of 1 values that are NaN or infinite"),
        (lambda result, _: result | {"forces": result["forces"][1:]}, "forces has shape (3, 3)"),
        (lambda *_: {"error": "ValueError: no"}, "ValueError: no"),
        (lambda *_: None, "predict gave a NoneType for this structure; it must be a dictionary"),
    ],
)
def test_results_that_break_the_contract_stop_the_other_checks(gaussians, crystal, change, detail):
    results = check_model(gaussians(change), structures=[crystal])
    assert set(failures(results)) == {"shapes and finite values"}
    assert f"Mg2O2: {detail}" in on(results, "shapes and finite values").detail
    assert [result.passed for result in results[2:]] == [None] * len(CHECKS)
    assert on(results, STRESS).detail == "not run: no usable results"


def test_a_model_that_raises_or_exits_is_reported_not_raised(gaussians, crystal):
    def exits(*_):
        raise SystemExit(3)

    results = check_model(gaussians(exits), structures=[crystal])
    assert "SystemExit: 3" in on(results, "shapes and finite values").detail


def test_a_model_that_fails_on_a_changed_structure_fails_that_check(gaussians, crystal):
    def small_only(result, atoms):
        if len(atoms) > 4:
            raise MemoryError("too large")
        return result

    found = failures(check_model(gaussians(small_only), structures=[crystal]))
    assert set(found) == {"extensive energy", "batch equals single"}
    assert found["extensive energy"].detail == "Mg4O4: MemoryError: too large"


def test_a_failure_within_the_declared_elements_is_a_failure(gaussians):
    def no_silicon(result, atoms):
        if 14 in atoms.numbers:
            raise KeyError("Si")
        return result

    undeclared, declared = gaussians(no_silicon), gaussians(no_silicon)
    declared.supported_elements = frozenset({"Mg", "O", "Si"})
    assert (
        "left out, declare SUPPORTED_ELEMENTS: Si4: KeyError"
        in on(check_model(undeclared), "shapes and finite values").detail
    )
    assert set(failures(check_model(declared))) == {"shapes and finite values"}


def test_no_known_element_at_all_is_reported(gaussians):
    def nothing(result, atoms):
        raise KeyError("element")

    results = check_model(gaussians(nothing))
    assert on(results, "shapes and finite values").passed is False
    assert "Si4: KeyError" in on(results, "shapes and finite values").detail


def test_no_structures_at_all_is_a_failure(gaussians):
    assert on(check_model(gaussians(), structures=[]), "shapes and finite values").detail == "no structures"


def test_the_model_gets_copies(gaussians, crystal):
    def vandal(result, atoms):
        atoms.positions[:] = 0.0
        atoms.numbers[:] = 1
        return result

    before = crystal.copy()
    check_model(gaussians(vandal), structures=[crystal])
    assert crystal == before


def test_every_failure_has_a_cause(gaussians, crystal):
    for change in [case[1] for case in WRONG_STRESS[:3]]:
        found = failures(check_model(gaussians(changed(stress=change)), structures=[crystal]))
        assert all(result.cause for result in found.values())
