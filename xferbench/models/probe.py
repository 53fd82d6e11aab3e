"""Put questions to a potential under test: evaluate, compare, differentiate its energy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xferbench.errors import ModelError
from xferbench.models import ase as ase_models
from xferbench.models.contract import Results, describe, normalise
from xferbench.models.crystals import strained
from xferbench.units import VOIGT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ase import Atoms

    from xferbench.records import Floats

BATCH = 16

DISPLACEMENT = 0.004
"""Smallest of three steps of the finite differences in Å, each twice the one before: float32 energies need the large
ones, potentials that are rough on the scale of their cutoff functions the small ones."""

STRAIN = 0.001
"""Smallest step of the strain, which moves neighbours about as far as ``DISPLACEMENT``."""

UNITS = {"energy": "eV/atom", "forces": "eV/Å", "stress": "eV/Å³", "magmoms": "µB"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerances:
    """How far two numbers that should be equal may differ; made for float32 models on any device.

    Attributes:
        energy: eV/atom.
        forces: eV/Å.
        stress: eV/Å³.
        magmoms: µB.
        relative: Of the size of the quantity, added to each of these: float32 keeps seven digits.
        derivative: Of forces and stress from the derivative of the energy, relative to the largest component; the
            error of the finite differences is added.
    """

    energy: float = 1e-5
    forces: float = 1e-3
    stress: float = 1e-5
    magmoms: float = 1e-3
    relative: float = 1e-5
    derivative: float = 0.01

    def absolute(self, quantity: str) -> float:
        """The absolute tolerance of a key of ``UNITS``, in its unit."""
        return {"energy": self.energy, "forces": self.forces, "stress": self.stress, "magmoms": self.magmoms}[quantity]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Probe:
    """A model under test, the crystals it can compute, and what it says about each of them alone."""

    predict: Callable[[list[Atoms]], object]
    tolerances: Tolerances
    crystals: list[Atoms]
    alone: list[Results]

    def evaluate(self, structures: Sequence[Atoms]) -> list[Results]:
        """Checked results of structures given in batches.

        Raises:
            ModelError: As of ``evaluate``.
        """
        results: list[Results] = []
        for start in range(0, len(structures), BATCH):
            results += evaluate(self.predict, structures[start : start + BATCH])
        return results

    def energies(self, structures: Sequence[Atoms]) -> Floats:
        """Total energies in eV."""
        return np.array([result["energy"] for result in self.evaluate(structures)])

    def differences(self, found: Results, expected: Results, n_atoms: int) -> dict[str, str]:
        """Quantities of one structure that differ beyond the tolerances -> by how much, in words."""
        problems = {}
        for quantity, unit in UNITS.items():
            if (quantity in found) != (quantity in expected):
                problems[quantity] = f"{quantity} given for one structure and not for the other"
            elif quantity in expected:
                per = n_atoms if quantity == "energy" else 1
                right = np.asarray(expected[quantity]) / per  # type: ignore[literal-required] # a key of UNITS
                error = np.abs(np.asarray(found[quantity]) / per - right).max()  # type: ignore[literal-required] # same
                if error > self.tolerances.absolute(quantity) + self.tolerances.relative * np.abs(right).max():
                    problems[quantity] = f"{quantity} off by {error:.3g} {unit}"
        return problems


def predictor(model: Any) -> Callable[[list[Atoms]], object]:  # noqa: ANN401 - a loaded model or any ASE calculator
    """The ``predict`` of a model, or one made from an ASE calculator.

    Raises:
        ModelError: It is neither.
    """
    if ase_models.is_calculator(model):
        return lambda structures: ase_models.predict(model, structures)
    predict: Callable[[list[Atoms]], object] | None = getattr(model, "predict", None)
    if isinstance(model, type) or predict is None:
        raise ModelError(f"{model!r} is neither an ASE calculator nor an object with predict(list of Atoms)")
    return predict


def evaluate(predict: Callable[[list[Atoms]], object], structures: Sequence[Atoms]) -> list[Results]:
    """Checked results of one batch; the model gets copies.

    Raises:
        ModelError: It raised, exited, returned another number of results, or results that break the contract.
    """
    try:
        raw = predict([atoms.copy() for atoms in structures])
    except (Exception, SystemExit) as error:
        raise ModelError(f"{_names(structures)}: {describe(error)}") from error
    if not isinstance(raw, list | tuple):
        raise ModelError(f"predict returned a {type(raw).__name__} instead of a list with one dictionary per structure")
    if len(raw) != len(structures):
        raise ModelError(f"predict returned {len(raw)} results for {len(structures)} structures")
    return [_normalised(item, atoms) for item, atoms in zip(raw, structures, strict=True)]


def force_derivative(probe: Probe, atoms: Atoms, rows: Sequence[int]) -> tuple[Floats, Floats]:
    """-dE/dx of some atoms, by finite differences.

    Returns:
        Forces and their estimated errors, both (n_rows, 3) in eV/Å.
    """

    def moved(component: int, step: float) -> Atoms:
        copy: Atoms = atoms.copy()
        copy.positions[rows[component // 3], component % 3] += step
        return copy

    slopes, errors = _slopes(probe, moved, 3 * len(rows), DISPLACEMENT)
    return -slopes.reshape(-1, 3), errors.reshape(-1, 3)


def stress_derivative(probe: Probe, atoms: Atoms) -> tuple[Floats, Floats]:
    """(1/V) dE/dε by finite differences.

    Returns:
        Stress and its estimated errors, both (6,) in eV/Å³ in Voigt order.
    """

    def deformed(component: int, step: float) -> Atoms:
        strain = np.zeros((3, 3))
        i, j = VOIGT[component]
        # off the diagonal both entries carry half the step, so that dE is V times stress times step for all six
        strain[i, j] += step / 2
        strain[j, i] += step / 2
        return strained(atoms, strain)

    slopes, errors = _slopes(probe, deformed, 6, STRAIN)
    return slopes / atoms.get_volume(), errors / atoms.get_volume()


def _slopes(probe: Probe, change: Callable[[int, float], Atoms], n: int, smallest: float) -> tuple[Floats, Floats]:
    """dE/dstep of n changes and the estimated errors, both (n,).

    Central differences D at three steps h, 2h, 4h, extrapolated to D(h) + (D(h) - D(2h)) / 3 (Richardson, order h⁴). The
    correction bounds the truncation and shows the noise; of the two extrapolations the one with smaller corrections is
    taken.
    """
    steps = smallest * np.array([1.0, 2.0, 4.0])
    structures = [change(component, size) for component in range(n) for size in (*steps, *-steps)]
    energies = probe.energies(structures).reshape(n, 2, 3)
    central = (energies[:, 0] - energies[:, 1]) / (2 * steps)
    corrections = (central[:, :2] - central[:, 1:]) / 3
    typical = np.sqrt(np.mean(corrections**2, axis=0))
    best = int(np.argmin(typical))
    return (central[:, :2] + corrections)[:, best], np.maximum(np.abs(corrections[:, best]), typical[best])


def _normalised(raw: object, atoms: Atoms) -> Results:
    try:
        return normalise(raw, len(atoms))
    except ModelError as error:
        raise ModelError(f"{_names([atoms])}: {error}") from error


def _names(structures: Sequence[Atoms]) -> str:
    return ", ".join(atoms.get_chemical_formula() for atoms in structures[:4]) + (", …" if len(structures) > 4 else "")
