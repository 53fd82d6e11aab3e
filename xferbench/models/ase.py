"""Any ASE calculator as a model: one structure after the other, each with its own success or failure."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from xferbench.models.contract import Declarations, describe

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ase import Atoms


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CalculatorModel(Declarations):
    """An ASE calculator with what it declares.

    Attributes:
        calculator: Used for all structures, one at a time.
    """

    calculator: Any

    def predict(self, structures: Sequence[Atoms]) -> list[dict[str, Any]]:
        """Results or an ``error`` for each structure; see ``calculate``."""
        return predict(self.calculator, structures)


def is_calculator(thing: object) -> bool:
    """Whether ``thing`` is used like an ASE calculator: an instance with a ``get_property`` method."""
    return not isinstance(thing, type) and callable(getattr(thing, "get_property", None))


def predict(calculator: Any, structures: Sequence[Atoms]) -> list[dict[str, Any]]:  # noqa: ANN401 - any calculator
    """Calculate each structure; one that raises gets an ``error`` entry and does not stop the others."""
    results = []
    for atoms in structures:
        try:
            results.append(calculate(calculator, atoms))
        except Exception as error:  # noqa: BLE001 - whatever a foreign calculator raises is this structure's result
            results.append({"error": describe(error)})
    return results


def calculate(calculator: Any, atoms: Atoms) -> dict[str, Any]:  # noqa: ANN401 - any calculator
    """Ask a calculator for what it implements.

    The energy is ``get_potential_energy()``, extrapolated to zero smearing where the calculator distinguishes, not
    the free energy that is consistent with forces: labels are of the former kind.

    Args:
        calculator: Its remembered results are dropped first, so that no structure inherits another's.
        atoms: Left as it is: the calculator works on a copy without initial magnetic moments, charges or tags.
    """
    from ase import Atoms
    from ase.calculators.calculator import PropertyNotImplementedError

    fresh = Atoms(
        numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc, calculator=calculator
    )
    if callable(getattr(calculator, "reset", None)):
        calculator.reset()
    results: dict[str, Any] = {"energy": fresh.get_potential_energy()}
    for name, ask in _questions(fresh).items():
        if name in calculator.implemented_properties:
            # some calculators list what they then do not have: ASE's EMT lists magmoms
            with contextlib.suppress(PropertyNotImplementedError):
                results[name] = ask()
    return results


def _questions(atoms: Atoms) -> dict[str, Callable[[], Any]]:
    return {
        "forces": atoms.get_forces,
        "stress": partial(atoms.get_stress, voigt=False),
        "magmoms": atoms.get_magnetic_moments,
    }
