"""What is computed of a crystal: a chain of calculations, each from the results of those before.

    settle   PBE on a coarse mesh at a few volumes, until the volume without pressure is known to 2 %
    cutoff   both functionals at two cutoffs, for what the incomplete basis does to the stress
    mesh     PBE on denser and denser meshes, until the rule of ``meshes`` picks one for all copies
    relax    PBE, crystals with a free shape or inner coordinates only: the shape serves both functionals
    v1, v3   both functionals at 0.94 and 1.06 of that volume: their equations of state give the *centre*,
             the mean of the two volumes without pressure
    c0 …     copies around the centre, in both functionals

A plan is a generator that yields a ``Step`` and is sent its records. It is run from its start each time, and does not know whether a
record was computed just now or years ago. Nothing in it is drawn by chance that the crystal's name does not decide.

| copy | what | test, main crystal | others |
|---|---|---|---|
| ``v1``, ``v3`` | 0.94, 1.06 of the volume without pressure in PBE | yes | yes |
| ``c0`` | the crystal at the centre | yes | yes |
| ``r0`` | normal displacements of 0.12 Å and a random strain of up to 2 % | yes | main crystals |
| ``v0``, ``v4`` | 0.88, 1.13: with ``v1``, ``c0`` and ``v3`` five volumes | yes | no |
| ``s0`` | a random strain of up to 5 % that keeps a twofold axis | yes | no |
| ``r1`` | as ``r0`` | yes | no |
| ``w0`` | normal displacements of 0.25 Å and a random strain of up to 2 % | yes | no |

Displaced copies have no symmetry and take up to a hundred times as long; those that would take longer than
``AFFORDABLE_SECONDS`` are not made, and those longer than ``CORE_SECONDS`` not before every crystal has its core, which is
all up to ``r0``.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from xferbench.factory.mini.curve import equilibrium_volume
from xferbench.factory.mini.engine import PROTOCOL
from xferbench.factory.mini.meshes import Choice, Point, choose, mesh, next_mesh
from xferbench.factory.mini.structures import random_seed
from xferbench.sources.mini.checks import PBE, R2SCAN
from xferbench.units import EV_PER_A3_IN_GPA

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping, Sequence

    from ase import Atoms

    from xferbench.factory.mini.meshes import Mesh
    from xferbench.factory.mini.structures import Seed
    from xferbench.functionals import Functional

    Record = dict[str, Any]
    Results = Mapping[Functional, Record]
    Array = np.ndarray[Any, np.dtype[np.float64]]

PAIR = (PBE, R2SCAN)
"""In the order of calculation: r²SCAN starts from PBE."""

COARSE = {"ionic": 0.50, "covalent": 0.50, "metallic": 0.40}
"""Spacing of the mesh of first approaches, in Å⁻¹, by bonding."""

CUTOFF_SPACING = 0.80
"""Of the mesh of the cutoff steps, in Å⁻¹: how the energy depends on the cutoff is decided near the nuclei."""

CUTOFFS = (760.0, 840.0)
"""Symmetric about the cutoff of the protocol, eV; their difference gives the derivative there."""

VOLUMES = {"v0": 0.88, "v1": 0.94, "v3": 1.06, "v4": 1.13}
"""Copy -> volume relative to the base. ``v2`` (1.00) is of the first edition; here ``c0`` is in its place."""

BRACKET = ("v1", "v3")
"""The volumes that determine the centre."""

DISPLACED = {"r0": 0.12, "r1": 0.12, "w0": 0.25}
"""Copy -> standard deviation of a displacement in Å."""

STRAINED = {"s0": 0.05, **dict.fromkeys(DISPLACED, 0.02)}
"""Copy -> largest component of the strain."""

AFFORDABLE_SECONDS = {"train": 300.0, "val": 300.0, "test": 900.0}
"""CPU time of a pair of a copy without symmetry, by split."""

CORE_SECONDS = 80.0
"""The same as long as the cores of other crystals are waiting."""

PAIR_COST = 3.2
"""CPU time of a pair relative to its PBE calculation, as measured in the first edition."""

SETTLE_STEPS = 8
SETTLED = 0.02
"""Relative change of volume after which it is settled."""
FIRST_MODULUS = 0.5
"""eV/Å³ (80 GPa), before two pressures tell."""

RELAX_STEPS = 40
FORCE = 0.01
"""Of a relaxed crystal, eV/Å."""
STRESS = 0.1 / EV_PER_A3_IN_GPA
"""Of a relaxed crystal, eV/Å³: 0.1 GPa."""

CPU_LIMIT = 1200.0
MAGNETIC_CPU_LIMIT = 1800.0
"""CPU seconds of one calculation, after which it has failed."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Step:
    """One calculation, or the same one with both functionals.

    Attributes:
        owner: Name of the crystal that it is about: the ``seed_structure`` of its records.
        name: Of the copy or of what the step is for: the ``perturbation`` of its records.
        atoms: The structure, with initial moments where it has any.
        kpts: Size of the Γ-centred mesh.
        functionals: ``PAIR``, or PBE alone.
        spin_polarised: Whether it is calculated with spin.
        metallic: Whether the crystal is listed as a metal.
        random_seed: Of the copy's random numbers.
        protocol: Settings that both functionals share.
    """

    owner: str
    name: str
    atoms: Atoms
    kpts: Mesh
    functionals: tuple[Functional, ...] = PAIR
    spin_polarised: bool = False
    metallic: bool = False
    random_seed: int = 0
    protocol: Mapping[str, Any] = field(default_factory=lambda: PROTOCOL)

    @property
    def pair_id(self) -> str:
        """Of its records."""
        return f"{self.owner}-{self.name}"

    @property
    def cpu_limit(self) -> float:
        """Seconds of CPU time for each functional."""
        return MAGNETIC_CPU_LIMIT if self.spin_polarised else CPU_LIMIT


def step_of(seed: Seed, name: str, atoms: Atoms, kpts: Mesh, *, alone: bool = False, **changes: Any) -> Step:  # noqa: ANN401
    """A step of a crystal.

    Args:
        seed: The crystal.
        name: Of the step.
        atoms: The structure.
        kpts: Size of the mesh.
        alone: Whether PBE is all that is needed.
        **changes: Settings of the protocol that are different.
    """
    return Step(
        owner=seed.name,
        name=name,
        atoms=atoms,
        kpts=kpts,
        functionals=PAIR[:1] if alone else PAIR,
        spin_polarised=seed.spin_polarised,
        metallic=seed.bonding == "metallic",
        random_seed=random_seed(seed.name, name) if name in STRAINED else 0,
        protocol={**PROTOCOL, **changes},
    )


class Stopped(Exception):  # noqa: N818 - not an error: a plan's end that nobody hoped for, recorded and counted
    """A plan cannot go on: what it needs has failed."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Known:
    """What is known of a crystal from the first edition.

    Attributes:
        scan: Of its meshes, at its start cell; empty if there is none.
        kept_mesh: Mesh of its records if that passes the rule, so that they stay; else ``None``.
    """

    scan: tuple[Point, ...] = ()
    kept_mesh: Mesh | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """What a plan has found out.

    Attributes:
        pulay: Functional -> what ``cutoff_stress`` gave, eV.
        choice: The mesh, and what is left of its error.
        base: The crystal without pressure in PBE.
        centre: The crystal at the mean of the two volumes without pressure.
        volumes: Functional -> volume without pressure, Å³.
        unaffordable: Copies that would take too long.
        failed: Copies that failed.
    """

    pulay: Mapping[Functional, float]
    choice: Choice
    base: Atoms
    centre: Atoms
    volumes: Mapping[Functional, float]
    unaffordable: tuple[str, ...]
    failed: tuple[str, ...]


def plan(seed: Seed, known: Known, *, everything: bool) -> Generator[Step, Results, Outcome]:
    """The calculations of a crystal.

    Args:
        seed: Which.
        known: From the first edition.
        everything: All copies, or only those that come first (the core).

    Yields:
        Steps, and expects their records.

    Returns:
        What came out.

    Raises:
        Stopped: A step failed that the others need, or its energies are too uncertain.
    """
    start = seed.atoms if known.kept_mesh else (yield from settled(seed))
    pulay = yield from cutoff_stress(seed, start)
    choice = yield from scanned(seed, known, start)
    if choice.left_out:
        raise Stopped(f"k points: {choice.energy_error:.1f} meV/atom are left on the densest affordable mesh")
    size = known.kept_mesh or choice.point.kpts
    base = start
    if seed.free_shape:
        rough = yield from relaxed(seed, start, mesh(start.cell.array, COARSE[seed.bonding]), "shape")
        base = yield from relaxed(seed, rough, size, "relax")
    bracket: dict[str, Results] = {}
    for name in BRACKET:
        bracket[name] = yield from needed(step_of(seed, name, of_volume(base, VOLUMES[name]), size))
    volumes = {functional: _equilibrium(bracket.values(), functional, pulay[functional]) for functional in PAIR}
    centre = of_volume(base, float(np.mean(list(volumes.values()))) / base.get_volume())
    limit = AFFORDABLE_SECONDS[seed.split] if everything else CORE_SECONDS
    unaffordable, failed = [], []
    for name in copies(seed, everything=everything):
        if name not in VOLUMES and name != "c0" and pair_seconds(choice.point, name) > limit:
            unaffordable.append(name)
            continue
        atoms = of_volume(base, VOLUMES[name]) if name in VOLUMES else perturbed(centre, seed.name, name)
        results = yield step_of(seed, name, atoms, size)
        if not _succeeded(results):
            failed.append(name)
    return Outcome(
        pulay=pulay,
        choice=choice,
        base=base,
        centre=centre,
        volumes=volumes,
        unaffordable=tuple(unaffordable),
        failed=tuple(failed),
    )


def copies(seed: Seed, *, everything: bool) -> tuple[str, ...]:
    """The copies of a crystal that follow its centre, in order: the table above."""
    inner = len(seed.atoms) > 1
    names: tuple[str, ...] = ("c0", "r0") if seed.main and inner else ("c0",)
    if everything and seed.main and seed.split == "test":
        names += ("v0", "v4", "s0", "r1", "w0") if inner else ("v0", "v4", "s0")
    return names


def copied(atoms: Atoms) -> Atoms:
    """ASE's copy, without a calculator; ASE does not tell its type."""
    copy: Atoms = atoms.copy()
    return copy


def of_volume(atoms: Atoms, factor: float) -> Atoms:
    """A copy with the same shape and ``factor`` times the volume."""
    atoms = copied(atoms)
    atoms.set_cell(atoms.cell.array * factor ** (1 / 3), scale_atoms=True)
    return atoms


def perturbed(centre: Atoms, name: str, copy: str) -> Atoms:
    """A strained or displaced copy; the same crystal and copy always give the same numbers."""
    atoms = copied(centre)
    if copy == "c0":
        return atoms
    rng = np.random.default_rng(random_seed(name, copy))
    size = STRAINED[copy]
    strain = rng.uniform(-size, size, (3, 3))
    strain = 0.5 * (strain + strain.T)
    if copy not in DISPLACED:
        strain[2, :2] = strain[:2, 2] = (
            0.0  # keeps a twofold axis along z where there is one, which halves the k points
        )
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    if copy in DISPLACED:
        atoms.positions += rng.normal(0.0, DISPLACED[copy], atoms.positions.shape)
    return atoms


def needed(step: Step) -> Generator[Step, Results, Results]:
    """A step whose failure ends the plan.

    Raises:
        Stopped: It failed.
    """
    results = yield step
    if not _succeeded(results):
        *_, last = results.values()
        raise Stopped(f"{step.name}: {last['error']}")
    return results


def settled(seed: Seed) -> Generator[Step, Results, Atoms]:
    """The crystal scaled to the volume without pressure in PBE, on a coarse mesh."""
    size = mesh(seed.atoms.cell.array, COARSE[seed.bonding])
    place, before = 0.0, None
    for number in range(SETTLE_STEPS):
        atoms = of_volume(seed.atoms, float(np.exp(place)))
        results = yield from needed(step_of(seed, f"settle-{number}", atoms, size, alone=True))
        pressure = pressure_of(results[PBE])
        modulus = FIRST_MODULUS
        if before is not None:
            modulus = float(np.clip(-(pressure - before[1]) / (place - before[0]), 0.05, 4.0))
        before = (place, pressure)
        change = float(np.clip(pressure / modulus, -0.25, 0.25))
        place += change
        if abs(change) < SETTLED:
            return of_volume(seed.atoms, float(np.exp(place)))
    raise Stopped(f"no volume without pressure within {SETTLE_STEPS} steps")


def cutoff_stress(seed: Seed, atoms: Atoms) -> Generator[Step, Results, dict[Functional, float]]:
    """(2/3) E_cut dE/dE_cut in eV, by functional: divided by the volume it is what to add to the stress.

    A stress is the derivative at a fixed number of plane waves; at a fixed cutoff their number grows with the volume, and the energy
    falls with it. (Francis and Payne, J. Phys. Condens. Matter 2, 4395, 1990.)
    """
    size = mesh(atoms.cell.array, CUTOFF_SPACING)
    energies = []
    for cutoff in CUTOFFS:
        results = yield from needed(step_of(seed, f"cutoff-{cutoff:g}", atoms, size, ecut_eV=cutoff))
        energies.append({functional: results[functional]["energy_eV"] for functional in PAIR})
    low, high = energies
    width = float(np.log(CUTOFFS[1] / CUTOFFS[0]))
    return {functional: 2 / 3 * (high[functional] - low[functional]) / width for functional in PAIR}


def scanned(seed: Seed, known: Known, atoms: Atoms) -> Generator[Step, Results, Choice]:
    """The mesh, from a scan at the given cell; one of the first edition is continued at its own cell.

    A mesh on which PBE does not converge ends the scan, as one that is too dear does.

    Raises:
        Stopped: There is nothing to compare.
    """
    scan = list(known.scan)
    cell = seed.atoms if scan else atoms
    while (size := next_mesh(cell.cell.array, scan)) is not None:
        name = "mesh-" + "x".join(map(str, size))
        results = yield step_of(seed, name, cell, size, alone=True)
        if not _succeeded(results):  # as good as not affordable
            break
        scan.append(scan_point(results[PBE]))
    try:
        return choose(scan)
    except ValueError as error:
        raise Stopped(f"k points: {error}") from error


def scan_point(record: Record) -> Point:
    """A record as a point of a scan."""
    a, b, c = record["kpts"]["size"]
    return Point(
        kpts=(a, b, c),
        energy=1000 * record["energy_eV"] / len(record["structure"]["species"]),
        pressure=pressure_of(record) * EV_PER_A3_IN_GPA,
        irreducible=record["n_kpts_irreducible"],
        cpu_seconds=record["cpu_s"],
    )


def relaxed(seed: Seed, atoms: Atoms, size: Mesh, word: str) -> Generator[Step, Results, Atoms]:
    """Cell and positions relaxed in PBE, by BFGS; symmetry is kept by the forces and stresses.

    The optimiser starts over with every new record and is answered by the earlier ones: there is no state to lose.
    """
    history: list[Record] = []
    while True:
        moved, done = _replayed(atoms, history)
        if done:
            return moved
        if len(history) == RELAX_STEPS:
            raise Stopped(f"{word}: not relaxed within {RELAX_STEPS} steps")
        results = yield from needed(step_of(seed, f"{word}-{len(history)}", moved, size, alone=True))
        history.append(results[PBE])


def pair_seconds(point: Point, copy: str) -> float:
    """CPU time of a pair of a copy, estimated from a scan: displaced ones keep half of all k points, strained ones a quarter."""
    left = float(np.prod(point.kpts)) / (2 if copy in DISPLACED else 4)
    return PAIR_COST * point.cpu_seconds * max(1.0, left / point.irreducible)


def pressure_of(record: Record) -> float:
    """Minus a third of the trace of a record's stress, in eV/Å³."""
    return -float(np.mean(record["stress_eV_per_A3_voigt"][:3]))


def _succeeded(results: Results) -> bool:
    return all(record["status"] == "ok" for record in results.values())


def _equilibrium(points: Iterable[Results], functional: Functional, pulay: float) -> float:
    """Volume without pressure in Å³.

    Raises:
        Stopped: The curve has no minimum near its points.
    """
    records = [results[functional] for results in points]
    volumes = [float(abs(np.linalg.det(record["structure"]["lattice_A"]))) for record in records]
    energies = [record["energy_eV"] for record in records]
    pressures = [pressure_of(record) - pulay / volume for record, volume in zip(records, volumes, strict=True)]
    try:
        return equilibrium_volume(volumes, energies, pressures)
    except ValueError as error:
        raise Stopped(f"{functional}: {error}") from error


def _replayed(atoms: Atoms, history: Sequence[Record]) -> tuple[Atoms, bool]:
    """Where an optimiser that has been told these records wants to go next, and whether it has arrived."""
    from ase.filters import FrechetCellFilter
    from ase.optimize import BFGS

    moving = copied(atoms)
    moving.calc = _recorded(history)
    optimiser: Any = BFGS
    arrived = False
    with suppress(IndexError):  # of the history: the optimiser wants the next record
        for _ in optimiser(FrechetCellFilter(moving), logfile=None, maxstep=0.1).irun(fmax=0.0, steps=RELAX_STEPS):
            arrived = bool(np.abs(moving.get_forces()).max() < FORCE and np.abs(moving.get_stress()).max() < STRESS)
            if arrived:
                break
    return copied(moving), arrived


def _recorded(history: Sequence[Record]) -> Any:  # noqa: ANN401 - ASE's calculators are untyped
    """A calculator that answers each new structure with the next record."""
    from ase.calculators.calculator import Calculator

    base: Any = Calculator
    remaining = list(history)

    class Recorded(base):  # type: ignore[misc] # ASE's calculators are untyped
        implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012 - ASE's own way

        def calculate(self, *arguments: object) -> None:
            super().calculate(*arguments)
            record = remaining.pop(0)
            self.results = {
                "energy": record["energy_eV"],
                "free_energy": record["free_energy_eV"],
                "forces": np.array(record["forces_eV_per_A"]),
                "stress": np.array(record["stress_eV_per_A3_voigt"]),
            }

    return Recorded()
