"""CHGNet as an ASE calculator, for relaxations and molecular dynamics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ase.calculators.calculator import Calculator, all_changes

from xferbench.errors import ModelError
from xferbench.units import matrix_to_voigt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms

    from xferbench.models.chgnet.engine import CHGNetEngine


class CHGNetCalculator(Calculator):
    """Energy (eV), forces (eV/Å), stress (eV/Å³, Voigt), magnetic moments (µB) and site energies (eV) of one structure.

    Args:
        engine: From ``load``. To predict many structures, call its ``predict``: that is several times faster.
    """

    implemented_properties = ["energy", "free_energy", "forces", "stress", "magmoms", "energies"]  # noqa: RUF012 - as in ASE

    def __init__(self, engine: CHGNetEngine) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.engine = engine

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Predict all properties of ``atoms``.

        Raises:
            ModelError: The structure cannot be predicted: an isolated atom, an unsupported element.
        """
        super().calculate(atoms, list(properties), list(system_changes))  # type: ignore[no-untyped-call]
        # the base class keeps a copy, given now or before
        assert self.atoms is not None  # noqa: S101 - for the type checker
        (result,) = self.engine.predict([self.atoms])
        if "error" in result:
            raise ModelError(result["error"])
        results: dict[str, Any] = {**result, "free_energy": result["energy"]}
        results["stress"] = matrix_to_voigt(result["stress"])
        self.results = results
