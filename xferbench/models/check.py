"""Does a potential keep its word? Shapes, units, signs and symmetries on small crystals, without any reference data.

Model authors can run the checks in their own tests, also on an ASE calculator as it is:

    from xferbench.models import check_model
    assert not [result for result in check_model(my_calculator) if result.passed is False]

What no such check can see: energy, forces and stress that are all in the same wrong unit, and a wrong functional.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from xferbench.errors import ModelError
from xferbench.models import crystals as test_crystals
from xferbench.models.contract import CheckResult
from xferbench.models.diagnosis import (
    ENERGY_PER_ATOM,
    FORCES_PER_ATOM,
    ORDERS,
    VIRIAL,
    explain_forces,
    explain_stress,
    restored,
)
from xferbench.models.heads import head
from xferbench.models.probe import UNITS, Probe, Tolerances, evaluate, force_derivative, predictor, stress_derivative
from xferbench.units import voigt_to_matrix

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ase import Atoms

    from xferbench.models.contract import Model, Results
    from xferbench.records import Floats, Integers

N_CRYSTALS = 3
N_DIFFERENTIATED = 2
"""Crystals whose energy is differentiated, at 108 evaluations each: the costly part."""

N_ROWS = 4
"""Atoms of one crystal whose forces are compared with the derivative of the energy."""

SAFETY = 10.0
"""Times the estimated error of finite differences that is allowed: three standard deviations if the error is noise of the
energies, which the corrections they are estimated from show only 0.28 of."""

ROTATION = np.array([[2.0, -2.0, 1.0], [1.0, 2.0, 2.0], [-2.0, -1.0, 2.0]]) / 3.0
"""A proper rotation that maps no axis onto another."""


class Verdict(NamedTuple):
    """What a check finds; a ``CheckResult`` without its name."""

    passed: bool | None
    detail: str
    cause: str | None = None


def check_model(
    model: Model | Any,  # noqa: ANN401 - any ASE calculator
    *,
    structures: Sequence[Atoms] | None = None,
    tolerances: Tolerances | None = None,
    energies: list[float] | None = None,
) -> list[CheckResult]:
    """Run every check; never raises for what the model does.

    Args:
        model: A loaded model or an ASE calculator.
        structures: Periodic crystals to check on instead of the built-in ones: distorted, so that no force or
            stress component is zero by symmetry, and small, because energies are differentiated.
        tolerances: Instead of the usual ones.
        energies: Takes the energies of the crystals, for comparing heads; see ``heads.alike``.

    Raises:
        ModelError: ``model`` is neither.
    """
    probe, failures = _probe(model, structures, tolerances or Tolerances())
    if energies is not None:
        energies += [float(result["energy"]) for result in probe.alone]
    limited = structures is not None or getattr(model, "supported_elements", None) is not None
    verdicts = {
        "functional declared": _functional(model),
        "shapes and finite values": _outputs(probe, failures, limited=limited),
    }
    if (named := head(model)) is not None:
        verdicts["head"] = Verdict(*named)
    for name, check in CHECKS.items():
        verdicts[name] = _guarded(check, probe) if probe.crystals else Verdict(None, "not run: no usable results")
    return [CheckResult(name=name, **verdict._asdict()) for name, verdict in verdicts.items()]


def _probe(model: Any, structures: Sequence[Atoms] | None, tolerances: Tolerances) -> tuple[Probe, list[str]]:  # noqa: ANN401 - as in check_model
    """The model with the crystals that it can compute, and why it failed on others."""
    offered = test_crystals.candidates(getattr(model, "supported_elements", None)) if structures is None else structures
    probe = Probe(predict=predictor(model), tolerances=tolerances, crystals=[], alone=[])
    failures = []
    for atoms in offered:
        if structures is None and len(probe.crystals) == N_CRYSTALS:
            break
        try:
            probe.alone.extend(evaluate(probe.predict, [atoms]))
        except ModelError as error:
            failures.append(str(error))
        else:
            probe.crystals.append(atoms)
    return probe, failures


def _guarded(check: Callable[[Probe], Verdict], probe: Probe) -> Verdict:
    """A model that fails on a changed crystal fails the check."""
    try:
        return check(probe)
    except ModelError as error:
        return Verdict(False, str(error), "fails on a structure that is only a changed copy of one it computes")


def _functional(model: Any) -> Verdict:  # noqa: ANN401 - as in check_model
    functional = getattr(model, "functional", None)
    if functional is None:
        return Verdict(None, "a bare calculator declares none; a model.py must")
    return Verdict(True, str(functional))


def _outputs(probe: Probe, failures: Sequence[str], *, limited: bool) -> Verdict:
    """Every crystal gives finite numbers of the right shapes."""
    if not probe.crystals or (failures and limited):
        return Verdict(
            False,
            "; ".join(failures[:3]) or "no structures",
            "the results break the contract, or the elements are unsupported",
        )
    given = ", ".join(quantity for quantity in UNITS if quantity in probe.alone[0])
    names = ", ".join(atoms.get_chemical_formula() for atoms in probe.crystals)
    left_out = f"; left out, declare SUPPORTED_ELEMENTS: {'; '.join(failures)}" if failures else ""
    return Verdict(True, f"{given} on {names}{left_out}")


def _repeatable(probe: Probe) -> Verdict:
    """The same structure twice gives the same numbers."""
    again = [evaluate(probe.predict, [atoms])[0] for atoms in probe.crystals]
    problems = _compare(probe, again, probe.alone)
    return _verdict(problems, "random numbers, dropout left on (call eval()), or a state kept between calls")


def _extensive(probe: Probe) -> Verdict:
    """A cell repeated twice has twice the energy, the same stress, and the same forces on every copy."""
    cells = [atoms.repeat((2, 1, 1)) for atoms in probe.crystals]
    doubled = probe.evaluate(cells)
    problems = _compare(probe, doubled, [_tiled(result) for result in probe.alone], cells)
    return _verdict(problems, _extensive_cause(problems, doubled[0], probe.alone[0]))


def _extensive_cause(problems: Mapping[str, str], doubled: Results, single: Results) -> str:
    if "energy" in problems and np.isclose(doubled["energy"], single["energy"], rtol=1e-3):
        return ENERGY_PER_ATOM
    if set(problems) == {"stress"} and _close(doubled.get("stress"), 2 * single["stress"]):
        return VIRIAL
    if set(problems) == {"forces"} and _close(doubled.get("forces"), _tiled(single)["forces"] / 2):
        return FORCES_PER_ATOM
    return "neighbours beyond the cell are missed in small cells, or a property of the whole cell enters"


def _one_atom(probe: Probe) -> Verdict:
    """A primitive cell of one atom works, and by symmetry no force acts."""
    atoms = test_crystals.one_atom(test_crystals.largest_element(probe.crystals[0]))
    try:
        result = probe.evaluate([atoms])[0]
    except ModelError as error:
        return Verdict(False, str(error), "an axis of length one is lost (squeeze), or no neighbours are found")
    force = float(np.abs(result["forces"]).max()) if "forces" in result else 0.0
    if force > probe.tolerances.forces:
        return Verdict(False, f"forces off by {force:.3g} eV/Å", "an atom's own periodic images are treated wrongly")
    return Verdict(True, f"{atoms.get_chemical_formula()}: {result['energy']:.6g} eV")


def _batch(probe: Probe) -> Verdict:
    """A structure gives the same numbers in a batch of unequal cells as alone."""
    larger = probe.crystals[0].repeat((2, 1, 1))
    batch = [larger, *probe.crystals, probe.crystals[0]]
    expected = [*evaluate(probe.predict, [larger]), *probe.alone, probe.alone[0]]
    cause = "structures of a batch influence each other: indices, padding, batch statistics, order"
    try:
        found = probe.evaluate(batch)
    except ModelError as error:
        return Verdict(False, str(error), cause)
    return _verdict(_compare(probe, found, expected, batch), cause)


def _lattice_translation(probe: Probe) -> Verdict:
    """An atom moved by whole lattice vectors is the same atom."""
    moved = []
    for atoms in probe.crystals:
        copy = atoms.copy()
        copy.positions[0] += 3 * atoms.cell[0] - 4 * atoms.cell[1]
        copy.positions[-1] += 2 * atoms.cell[2]
        moved.append(copy)
    problems = _compare(probe, probe.evaluate(moved), probe.alone)
    return _verdict(problems, "positions outside the cell are not wrapped, or only the nearest images are searched")


def _atom_order(probe: Probe) -> Verdict:
    """Atoms listed in another order have the same energy, and their forces in that order."""
    orders = [np.roll(np.arange(len(atoms)), 1) for atoms in probe.crystals]
    found = probe.evaluate([atoms[order] for atoms, order in zip(probe.crystals, orders, strict=True)])
    expected = [_permuted(result, order) for result, order in zip(probe.alone, orders, strict=True)]
    problems = _compare(probe, found, expected)
    if "energy" in problems:
        return _verdict(problems, "the energy depends on the order of the atoms: positions and elements mixed up")
    return _verdict(problems, "results per atom are not in the order of the atoms: sorted by element?")


def _rotation(probe: Probe) -> Verdict:
    """A rotated crystal has the same energy and rotated forces and stress."""
    found = probe.evaluate([_rotated(atoms) for atoms in probe.crystals])
    problems = _compare(probe, found, [_rotated_results(result) for result in probe.alone])
    return _verdict(problems, _rotation_cause(probe, problems, found[0]))


def _rotation_cause(probe: Probe, problems: Mapping[str, str], found: Results) -> str:
    if "energy" in problems:
        return "the energy depends on the orientation: cell rows and columns exchanged, or no invariant features"
    if set(problems) == {"stress"} and "stress" in found:
        for order, cause in ORDERS.items():
            right = ROTATION @ restored(probe.alone[0]["stress"], order) @ ROTATION.T
            if _close(restored(found["stress"], order), right):
                return cause
        return "the stress does not rotate with the crystal: Voigt order, or the axes of a standard cell"
    return "forces do not rotate with the crystal: given in the axes of a standard cell, or predicted directly"


def _forces(probe: Probe) -> Verdict:
    """Forces are minus the derivative of the energy, by finite differences."""
    verdicts = []
    for atoms, result in _differentiated(probe):
        if "forces" not in result:
            return Verdict(None, "the model gives no forces")
        rows = sorted(np.random.default_rng(0).permutation(len(atoms))[:N_ROWS].tolist())
        expected, errors = force_derivative(probe, atoms, rows)
        found = result["forces"][rows]
        verdict = _derivative_verdict(found, expected, errors, probe.tolerances, "forces")
        if verdict.passed is False:
            verdict = verdict._replace(cause=explain_forces(found, expected, len(atoms), float(np.median(errors))))
        verdicts.append(verdict)
    return _worst(verdicts)


def _stress(probe: Probe) -> Verdict:
    """Stress is the derivative of the energy by strain over volume, by finite differences."""
    verdicts = []
    for atoms, result in _differentiated(probe):
        if "stress" not in result:
            return Verdict(None, "the model gives no stress")
        expected, errors = stress_derivative(probe, atoms)
        found, right = result["stress"], voigt_to_matrix(expected)
        verdict = _derivative_verdict(found, right, voigt_to_matrix(errors), probe.tolerances, "stress")
        if verdict.passed is False:
            noise = float(np.median(errors))
            verdict = verdict._replace(cause=explain_stress(found, expected, len(atoms), atoms.get_volume(), noise))
        verdicts.append(verdict)
    return _worst(verdicts)


CHECKS: Mapping[str, Callable[[Probe], Verdict]] = {
    "determinism": _repeatable,
    "extensive energy": _extensive,
    "one-atom cell": _one_atom,
    "batch equals single": _batch,
    "lattice translation": _lattice_translation,
    "atom order": _atom_order,
    "rotation": _rotation,
    "forces = -dE/dx": _forces,
    "stress = dE/dε / V": _stress,
}
"""Name -> check, in the order they are reported."""


def _differentiated(probe: Probe) -> list[tuple[Atoms, Results]]:
    return list(zip(probe.crystals, probe.alone, strict=True))[:N_DIFFERENTIATED]


def _derivative_verdict(
    found: Floats, expected: Floats, errors: Floats, tolerances: Tolerances, quantity: str
) -> Verdict:
    """Compare with finite differences, whose own errors decide what can be told."""
    size, floor = float(np.abs(expected).max()), tolerances.absolute(quantity)
    off, noise = np.abs(found - expected), SAFETY * float(np.median(errors))
    detail = f"off by {off.max():.2g} of {size:.3g} {UNITS[quantity]}, finite differences good to {noise:.1g}"
    if (off > tolerances.derivative * size + SAFETY * errors + floor).any():
        return Verdict(False, detail)
    if size <= 10 * floor:
        return Verdict(None, f"{quantity} too small on these crystals to tell: {detail}")
    if noise > 0.1 * size:
        return Verdict(None, f"the energy is too rough to differentiate: {detail}")
    return Verdict(True, detail)


def _worst(verdicts: Sequence[Verdict]) -> Verdict:
    """A failure if there is one, else an undecided one, else the first."""
    return min(verdicts, key=lambda verdict: (verdict.passed is not False, verdict.passed is not None))


def _verdict(problems: Mapping[str, str], cause: str) -> Verdict:
    if problems:
        return Verdict(False, "; ".join(problems.values()), cause)
    return Verdict(True, "equal within the tolerances")


def _compare(
    probe: Probe, found: Sequence[Results], expected: Sequence[Results], structures: Sequence[Atoms] | None = None
) -> dict[str, str]:
    """Quantities that differ on any structure, by default the crystals -> by how much."""
    problems: dict[str, str] = {}
    for result, right, atoms in zip(found, expected, structures or probe.crystals, strict=True):
        problems |= probe.differences(result, right, len(atoms))
    return problems


def _tiled(result: Results) -> Results:
    """What a cell repeated twice must give."""
    tiled = result.copy()
    tiled["energy"] = 2 * result["energy"]
    if "forces" in result:
        tiled["forces"] = np.tile(result["forces"], (2, 1))
    if "magmoms" in result:
        tiled["magmoms"] = np.tile(result["magmoms"], 2)
    return tiled


def _permuted(result: Results, order: Integers) -> Results:
    permuted = result.copy()
    if "forces" in result:
        permuted["forces"] = result["forces"][order]
    if "magmoms" in result:
        permuted["magmoms"] = result["magmoms"][order]
    return permuted


def _rotated(atoms: Atoms) -> Atoms:
    copy: Atoms = atoms.copy()
    copy.set_cell(atoms.cell.array @ ROTATION.T, scale_atoms=True)
    return copy


def _rotated_results(result: Results) -> Results:
    rotated = result.copy()
    if "forces" in result:
        rotated["forces"] = result["forces"] @ ROTATION.T
    if "stress" in result:
        rotated["stress"] = ROTATION @ result["stress"] @ ROTATION.T
    return rotated


def _close(found: Floats | None, expected: Floats) -> bool:
    """Whether two arrays agree to one percent of the largest entry."""
    return found is not None and bool(np.abs(found - expected).max() <= 0.01 * np.abs(expected).max())
