"""Isolated atoms: every element of ``mini`` alone in a cube, for the convention of elemental references that uses them.

Spin-polarised, the total moment fixed to that of the ground state by Hund's rule, degenerate levels filled evenly: a spherical
average, as far as a cube allows. ``sources.mini.atoms`` reads their records.

References:
    Ground states: A. Kramida et al., NIST Atomic Spectra Database. The convention: Huang et al. 2025, Eq. 3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from xferbench.errors import UsageError
from xferbench.factory.mini.engine import ATOM_PROTOCOL
from xferbench.factory.mini.plan import Step
from xferbench.factory.mini.work import work_through
from xferbench.registry import check_name

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator
    from pathlib import Path

    from ase import Atoms

    from xferbench.factory.mini.engine import Engine
    from xferbench.factory.mini.plan import Results
    from xferbench.factory.mini.work import Worked

COPY = "isolated"
"""Where a record names how its structure was perturbed."""

UNPAIRED = dict(
    **dict.fromkeys(("Be", "Mg", "Ca", "Sr", "Ba", "Zn", "Cd", "Pd"), 0),
    **dict.fromkeys(
        ("Li", "Na", "K", "Rb", "Cs", "Cu", "Ag", "Sc", "Y", "B", "Al", "Ga", "In", "F", "Cl", "Br", "I"), 1
    ),
    **dict.fromkeys(("C", "Si", "Ge", "Sn", "O", "S", "Se", "Te", "Ti", "Zr", "Ni"), 2),
    **dict.fromkeys(("N", "P", "As", "Sb", "V", "Co"), 3),
    Fe=4,
    **dict.fromkeys(("Nb", "Mn"), 5),
    Cr=6,
)
"""Unpaired electrons of the ground state of each element."""


MIXING = {"Ti": 0.1, "V": 0.1, "Cr": 0.1, "Mn": 0.1, "Fe": 0.15, "Co": 0.15, "Ni": 0.15}
"""Where the step of the protocol is too long: electrons of one spin wander between 3d and 4s."""


def generate_atoms(
    out: Path,
    *,
    budget_minutes: float = 60.0,
    elements: Collection[str] | None = None,
    progress: Callable[[str], None] | None = None,
    engine: Engine | None = None,
) -> Worked:
    """Append the missing atoms to a records file, light ones first.

    Args:
        out: JSON lines; made if missing. The two records of an atom arrive in one write.
        budget_minutes: After that no new atom is begun.
        elements: Only these; all of ``UNPAIRED`` if not given.
        progress: Told one line per calculation, and of everything unusual.
        engine: What calculates; default GPAW.

    Raises:
        UsageError: A number is out of range.
        UnknownNameError: An element that ``mini`` does not have.
        MissingExtraError: GPAW is not installed.
        StorageError: The file cannot be written, or another run is writing it.
        FormatError: The file is broken in a way that no killed run explains.
    """
    from ase.data import atomic_numbers

    if elements is not None and not elements:
        raise UsageError("no element is named; leave the choice out for all of mini")
    wanted = UNPAIRED if elements is None else {check_name("element", symbol, UNPAIRED) for symbol in elements}
    plans = {symbol: _plan(symbol) for symbol in sorted(wanted, key=atomic_numbers.__getitem__)}
    return work_through(plans.items(), out, budget_minutes=budget_minutes, progress=progress, engine=engine)


def isolated_atom(symbol: str) -> Atoms:
    """An atom in the middle of its cube."""
    from ase import Atoms

    box = np.full(3, ATOM_PROTOCOL["box_A"])
    return Atoms([symbol], positions=[box / 2], cell=box, pbc=True, magmoms=[float(UNPAIRED[symbol])])


def _plan(symbol: str) -> Generator[Step, Results, None]:
    """The two calculations of an atom; one that fails leaves a record with its reason."""
    yield Step(
        owner=f"{symbol}_atom",
        name=COPY,
        atoms=isolated_atom(symbol),
        kpts=(1, 1, 1),
        spin_polarised=True,
        protocol={**ATOM_PROTOCOL, "r2SCAN_mixing": MIXING.get(symbol, ATOM_PROTOCOL["r2SCAN_mixing"])},
    )
