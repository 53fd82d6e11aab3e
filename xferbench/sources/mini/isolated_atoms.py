"""Energies of isolated atoms with the code, cutoff and PAW set-ups of ``mini``: the other convention of elemental references.

Every element of ``mini`` alone in a cube, spin-polarised, its total moment fixed to that of its ground state by Hund's rule,
degenerate levels filled evenly: a spherical average, as far as a cube allows.
``atoms.jsonl`` has their records, in the format of ``recordfile``, and ``energies`` the table.

References:
    Ground states: A. Kramida et al., NIST Atomic Spectra Database. The convention: Huang et al. 2025, Eq. 3.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from xferbench.errors import FormatError, UsageError
from xferbench.records import Functional
from xferbench.registry import check_name
from xferbench.sources.mini.engine import ATOM_PROTOCOL
from xferbench.sources.mini.jobs import Job, run
from xferbench.sources.mini.recordfile import read_records

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from ase import Atoms

    from xferbench.sources.mini.engine import Engine
    from xferbench.sources.mini.jobs import Generated

RECORDS = Path(__file__).with_name("atoms.jsonl")

COPY = "isolated"
"""Where a record names how its structure was perturbed."""

UNPAIRED = dict(
    **dict.fromkeys(("Mg", "Ca", "Zn"), 0),
    **dict.fromkeys(("Li", "Na", "K", "Cu", "B", "Al", "Ga", "F", "Cl", "Br"), 1),
    **dict.fromkeys(("C", "Si", "Ge", "O", "S", "Se", "Ti", "Ni"), 2),
    **dict.fromkeys(("N", "P", "As", "V"), 3),
    Fe=4,
)
"""Unpaired electrons of the ground state of each element."""


MIXING = {"Ti": 0.1, "V": 0.1, "Fe": 0.15, "Ni": 0.15}
"""Where the step of the protocol is too long: electrons of one spin wander between 3d and 4s."""


def generate_atoms(
    out: Path,
    *,
    budget_minutes: float = 60.0,
    elements: Collection[str] | None = None,
    limit_seconds: float = 1200.0,
    progress: Callable[[str], None] | None = None,
    engine: Engine | None = None,
) -> Generated:
    """Append the missing atoms to a records file, light ones first.

    Args:
        out: JSON lines; made if missing. The two records of an atom arrive in one write.
        budget_minutes: After that no new atom is begun.
        elements: Only these; all of ``UNPAIRED`` if not given.
        limit_seconds: Of wall time for one calculation; beyond it the calculation has failed.
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
    jobs = [_job(symbol) for symbol in sorted(wanted, key=atomic_numbers.__getitem__)]
    return run(out, jobs, budget_minutes=budget_minutes, limit_seconds=limit_seconds, progress=progress, engine=engine)


def energies(path: Path = RECORDS) -> dict[Functional, dict[str, float]]:
    """Functional -> symbol -> eV of an isolated atom, relative to the same zero as the energies of ``mini``.

    Without the entropy of the occupations: the energy of a record, (E + F)/2, is that of width zero where the entropy vanishes
    with the square of the width, as in a metal. Of degenerate levels filled evenly it vanishes with the width itself, and E is.

    Raises:
        StorageError: The file cannot be read.
        FormatError: It breaks the format of records (all problems with their line numbers), or has other structures.
    """
    tables: dict[Functional, dict[str, float]] = {Functional.PBE: {}, Functional.R2SCAN: {}}
    for record in read_records(path):
        symbol, *others = record["structure"]["species"]
        if others:
            raise FormatError(f"{path}: {record['id']} is no isolated atom")
        if record["status"] == "ok":
            tables[Functional(record["functional"])][symbol] = 2 * record["energy_eV"] - record["free_energy_eV"]
    return tables


def isolated_atom(symbol: str) -> Atoms:
    """An atom in the middle of its cube."""
    from ase import Atoms

    box = np.full(3, ATOM_PROTOCOL["box_A"])
    return Atoms([symbol], positions=[box / 2], cell=box, pbc=True, magmoms=[float(UNPAIRED[symbol])])


def _job(symbol: str) -> Job:
    return Job(
        seed_structure=f"{symbol}_atom",
        perturbation=COPY,
        seed=0,
        atoms=partial(isolated_atom, symbol),
        kpts=(1, 1, 1),
        spin_polarised=True,
        metal=False,
        protocol={**ATOM_PROTOCOL, "r2SCAN_mixing": MIXING.get(symbol, ATOM_PROTOCOL["r2SCAN_mixing"])},
    )
