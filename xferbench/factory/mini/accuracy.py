"""How accurate the labels are, measured: denser meshes, a higher cutoff, a narrower width, and finite differences of energies.

The calculations are records like all others (``check-…`` and ``small-…``), made for some finished crystals of every bonding and shipped
to nobody; ``table`` compares them with the labels.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xferbench.factory.mini.meshes import candidates
from xferbench.factory.mini.plan import (
    PAIR,
    VOLUMES,
    Outcome,
    copied,
    of_volume,
    pair_seconds,
    perturbed,
    pressure_of,
    step_of,
)
from xferbench.factory.mini.work import Archive, effort, found_out, order, work_through
from xferbench.sources.mini.checks import PBE, R2SCAN
from xferbench.units import EV_PER_A3_IN_GPA

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
    from pathlib import Path

    from ase import Atoms

    from xferbench.factory.mini.engine import Engine
    from xferbench.factory.mini.plan import Record, Results, Step
    from xferbench.factory.mini.structures import Seed
    from xferbench.factory.mini.work import Worked
    from xferbench.functionals import Functional

CUTOFF = 1000.0
"""eV."""

WIDTH = 0.05
"""Of the occupations, eV: half of the protocol's."""

SHEAR = 0.002
"""Strain of a finite difference: energies move by a tenth of a meV, far beyond their convergence."""

SMALL = "v0"
"""The smallest volume."""

KINDS = ("ionic", "covalent", "metallic", "magnetic")

EACH = 6
"""Crystals of each kind."""

AFFORDABLE_SECONDS = 150.0
"""CPU time of a pair, estimated, beyond which a check of a copy with little symmetry is not made."""

QUANTITIES = {
    "energy, denser mesh": "meV/atom",
    "gap, denser mesh": "meV/atom",
    "pressure, denser mesh": "GPa",
    "energy, denser mesh, smallest volume": "meV/atom",
    "energy between volumes, cutoff": "meV/atom",
    "gap, cutoff": "meV/atom",
    "stress, cutoff": "GPa",
    "stress with its Pulay term, cutoff": "GPa",
    "forces, cutoff": "meV/Å",
    "energy, width": "meV/atom",
    "gap, width": "meV/atom",
    "pressure from energies": "GPa",
    "pressure with its Pulay term from energies": "GPa",
    "shear stress from energies": "GPa",
}
"""What is compared, and its unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Absolute differences from the labels.

    Attributes:
        crystals: Kind of bonding -> crystals whose checks are there, at least in part.
        values: (quantity, kind) -> one value per crystal, the worse of the two functionals.
    """

    crystals: Mapping[str, int]
    values: Mapping[tuple[str, str], tuple[float, ...]]

    def __str__(self) -> str:
        """Markdown: median and largest of each quantity and kind."""
        lines = [
            f"Median and largest difference; crystals: {', '.join(f'{n} {kind}' for kind, n in self.crystals.items())}.",
            "",
            "| quantity | unit | " + " | ".join(KINDS) + " |",
            "|---|---|" + "---|" * len(KINDS),
        ]
        for quantity, unit in QUANTITIES.items():
            cells = [_cell(self.values.get((quantity, kind), ())) for kind in KINDS]
            if any(cells):
                lines.append(f"| {quantity} | {unit} | " + " | ".join(cell or "none" for cell in cells) + " |")
        return "\n".join(lines)

    def to_json(self) -> object:
        """Plain values."""
        return {
            "crystals": dict(self.crystals),
            "values": [{"quantity": q, "kind": kind, "values": list(v)} for (q, kind), v in self.values.items()],
        }


def kind_of(seed: Seed) -> str:
    """One of ``KINDS``."""
    return "magnetic" if seed.spin_polarised else seed.bonding


def chosen(archive: Archive, each: int = EACH) -> list[tuple[Seed, Outcome]]:
    """The cheapest finished crystals of every kind."""
    found: dict[str, list[tuple[Seed, Outcome]]] = defaultdict(list)
    for seed in sorted({seed.name: seed for seed, _ in order()}.values(), key=lambda seed: (effort(seed), seed.name)):
        if len(found[kind_of(seed)]) < each:
            outcome = found_out(seed, archive)
            if isinstance(outcome, Outcome):
                found[kind_of(seed)].append((seed, outcome))
    return [item for kind in KINDS for item in found[kind]]


def checks(seed: Seed, outcome: Outcome) -> Generator[Step, Results, None]:
    """The calculations that test the labels of a crystal."""
    size, centre = outcome.choice.point.kpts, outcome.centre
    denser = next((mesh for mesh in candidates(centre.cell.array) if np.prod(mesh) > np.prod(size)), None)
    if denser is not None:
        yield step_of(seed, "check-mesh", centre, denser)
        small = of_volume(outcome.base, VOLUMES[SMALL])
        yield step_of(seed, "small-chosen", small, size, alone=True)
        yield step_of(seed, "small-denser", small, denser, alone=True)
    yield step_of(seed, "check-cutoff", centre, size, ecut_eV=CUTOFF)
    yield step_of(seed, "check-cutoff-v1", of_volume(outcome.base, VOLUMES["v1"]), size, ecut_eV=CUTOFF)
    yield step_of(seed, "check-width", centre, size, fermi_dirac_width_eV=WIDTH)
    if pair_seconds(outcome.choice.point, "s0") <= AFFORDABLE_SECONDS:
        strained = perturbed(centre, seed.name, "s0")
        yield step_of(seed, "check-shear", strained, size)
        for sign in (1, -1):
            yield step_of(seed, f"check-shear{sign:+d}", sheared(strained, sign * SHEAR), size)
    if len(centre) > 1 and pair_seconds(outcome.choice.point, "r0") <= AFFORDABLE_SECONDS:
        yield step_of(seed, "check-cutoff-r0", perturbed(centre, seed.name, "r0"), size, ecut_eV=CUTOFF)


def sheared(atoms: Atoms, strain: float) -> Atoms:
    """A copy with a further symmetric xy strain."""
    atoms = copied(atoms)
    matrix = np.eye(3)
    matrix[0, 1] = matrix[1, 0] = strain
    atoms.set_cell(atoms.cell.array @ matrix, scale_atoms=True)
    return atoms


def measure(
    out: Path,
    *,
    others: Iterable[Path] = (),
    scans: Path | None = None,
    each: int = EACH,
    budget_minutes: float = 60.0,
    progress: Callable[[str], None] | None = None,
    engine: Engine | None = None,
) -> Worked:
    """Append the missing checks to a records file; arguments as of ``work.work``, and how many crystals of each kind."""
    archive = Archive([*others, *([out] if out.exists() else [])], scans)
    plans = [(seed.name, checks(seed, outcome)) for seed, outcome in chosen(archive, each)]
    return work_through(plans, out, archive=archive, budget_minutes=budget_minutes, progress=progress, engine=engine)


def table(files: Iterable[Path], scans: Path | None) -> Measured:
    """Compare checks with labels, and pressures with energies, for every crystal that has them."""
    archive = Archive(files, scans)
    by_seed: dict[str, dict[str, dict[Functional, Record]]] = defaultdict(lambda: defaultdict(dict))
    for record in archive.records():
        if record["status"] == "ok":
            by_seed[record["seed_structure"]][record["perturbation"]][record["functional"]] = record
    values: dict[tuple[str, str], list[float]] = defaultdict(list)
    crystals: dict[str, int] = dict.fromkeys(KINDS, 0)
    for seed in sorted({seed.name: seed for seed, _ in order()}.values(), key=lambda seed: seed.name):
        outcome = found_out(seed, archive) if seed.name in by_seed else None
        if not isinstance(outcome, Outcome):
            continue
        found = by_seed[seed.name]
        crystals[kind_of(seed)] += any(name.startswith("check") for name in found)
        for quantity, value in differences(found, outcome).items():
            values[quantity, kind_of(seed)].append(value)
    return Measured(crystals=crystals, values={key: tuple(found) for key, found in values.items()})


def differences(found: Mapping[str, Mapping[Functional, Record]], outcome: Outcome) -> dict[str, float]:
    """Quantity -> absolute difference of one crystal, the worse of the two functionals.

    Args:
        found: Perturbation -> functional -> record.
        outcome: Of the crystal's plan.
    """
    whole = {name: records for name, records in found.items() if len(records) == len(PAIR)}
    result: dict[str, float] = {}
    if {"c0", "check-mesh"} <= whole.keys():
        result |= _energies(whole["c0"], whole["check-mesh"], "denser mesh")
        result["pressure, denser mesh"] = EV_PER_A3_IN_GPA * max(
            abs(pressure_of(whole["c0"][f]) - pressure_of(whole["check-mesh"][f])) for f in PAIR
        )
    if {"small-chosen", "small-denser"} <= found.keys():
        result["energy, denser mesh, smallest volume"] = abs(
            _per_atom(found["small-chosen"][PBE]) - _per_atom(found["small-denser"][PBE])
        )
    if {"c0", "check-width"} <= whole.keys():
        result |= _energies(whole["c0"], whole["check-width"], "width")
    if {"c0", "v1", "check-cutoff", "check-cutoff-v1"} <= whole.keys():
        result |= _cutoff(whole, outcome)
    if {"r0", "check-cutoff-r0"} <= whole.keys():
        result["forces, cutoff"] = 1000 * max(
            float(np.abs(np.subtract(*(whole[n][f]["forces_eV_per_A"] for n in ("r0", "check-cutoff-r0")))).max())
            for f in PAIR
        )
    if {"v1", "c0", "v3"} <= whole.keys():
        offsets = {f: pressure_offset([whole[name][f] for name in ("v1", "c0", "v3")]) for f in PAIR}
        volume = outcome.centre.get_volume()
        result["pressure from energies"] = EV_PER_A3_IN_GPA * max(map(abs, offsets.values()))
        result["pressure with its Pulay term from energies"] = EV_PER_A3_IN_GPA * max(
            abs(offsets[f] + outcome.pulay[f] / volume) for f in PAIR
        )
    if {"check-shear", "check-shear+1", "check-shear-1"} <= whole.keys():
        result["shear stress from energies"] = EV_PER_A3_IN_GPA * max(_shear_error(whole, f) for f in PAIR)
    return result


def pressure_offset(records: Sequence[Record]) -> float:
    """What to add to the pressures of an equation of state so that they integrate to its energies, in eV/Å³.

    Args:
        records: Of three volumes. Pressure is interpolated by a parabola, energy needs none.
    """
    volumes = [_volume(record) for record in records]
    parabola = np.polyint(np.polyfit(volumes, [pressure_of(record) for record in records], len(records) - 1))
    work_done = float(np.polyval(parabola, volumes[-1]) - np.polyval(parabola, volumes[0]))
    drop = records[0]["energy_eV"] - records[-1]["energy_eV"]
    return float((drop - work_done) / (volumes[-1] - volumes[0]))


def _cutoff(whole: Mapping[str, Mapping[Functional, Record]], outcome: Outcome) -> dict[str, float]:
    """What a higher cutoff changes. Between volumes of one crystal all that belongs to its elements has cancelled."""
    low = {f: _per_atom(whole["v1"][f]) - _per_atom(whole["c0"][f]) for f in PAIR}
    high = {f: _per_atom(whole["check-cutoff-v1"][f]) - _per_atom(whole["check-cutoff"][f]) for f in PAIR}
    volume = outcome.centre.get_volume()
    change = {f: pressure_of(whole["check-cutoff"][f]) - pressure_of(whole["c0"][f]) for f in PAIR}
    return {
        "energy between volumes, cutoff": max(abs(low[f] - high[f]) for f in PAIR),
        "gap, cutoff": _energies(whole["c0"], whole["check-cutoff"], "cutoff")["gap, cutoff"],
        "stress, cutoff": EV_PER_A3_IN_GPA * max(abs(change[f]) for f in PAIR),
        "stress with its Pulay term, cutoff": EV_PER_A3_IN_GPA
        * max(abs(change[f] + outcome.pulay[f] / volume) for f in PAIR),
    }


def _energies(one: Mapping[Functional, Record], other: Mapping[Functional, Record], word: str) -> dict[str, float]:
    """Differences of energy and of gap between two pairs."""
    change = {f: _per_atom(one[f]) - _per_atom(other[f]) for f in PAIR}
    return {
        f"energy, {word}": max(abs(value) for value in change.values()),
        f"gap, {word}": abs(change[R2SCAN] - change[PBE]),
    }


def _shear_error(whole: Mapping[str, Mapping[Functional, Record]], functional: Functional) -> float:
    """Shear stress against the central difference of the energy: dE/dγ = 2 V σ_xy for a symmetric strain γ, eV/Å³."""
    here = whole["check-shear"][functional]
    stress: float = here["stress_eV_per_A3_voigt"][5]
    rise: float = whole["check-shear+1"][functional]["energy_eV"] - whole["check-shear-1"][functional]["energy_eV"]
    return abs(rise / (4 * SHEAR * _volume(here)) - stress)


def _per_atom(record: Record) -> float:
    """Energy in meV/atom."""
    return float(1000 * record["energy_eV"] / len(record["structure"]["species"]))


def _volume(record: Record) -> float:
    return float(abs(np.linalg.det(record["structure"]["lattice_A"])))


def _cell(values: Sequence[float]) -> str:
    return f"{np.median(values):.2g}, {max(values):.2g} ({len(values)})" if values else ""
