"""Which k-point mesh a crystal gets: the coarsest whose energy and pressure every denser mesh of a scan confirms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    Array = np.ndarray[Any, np.dtype[np.float64]]
    Mesh = tuple[int, int, int]

SPACINGS = (0.50, 0.40, 0.32, 0.27, 0.22, 0.18, 0.15, 0.13, 0.11)
"""Of the meshes scanned, in Å⁻¹, 2π included."""

ENERGY = 2.0
"""How far denser meshes may be in meV/atom."""

PRESSURE = 0.1
"""How far denser meshes may be in GPa."""

CONFIRMED_BY = 2
"""Denser meshes that must have been scanned."""

LEFT_OUT = 5.0
"""A crystal whose densest mesh is further than this from the one before, in meV/atom, is left out."""

AFFORDABLE_SECONDS = 100.0
"""CPU time of one PBE calculation after which no denser mesh is scanned: a pair takes about three times as long, copies without
symmetry up to a hundred times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One calculation of a scan, in PBE.

    Attributes:
        kpts: Size of the Γ-centred mesh.
        energy: meV/atom.
        pressure: GPa.
        irreducible: k points that symmetry leaves.
        cpu_seconds: What it took.
    """

    kpts: Mesh
    energy: float
    pressure: float
    irreducible: int
    cpu_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The mesh of a crystal.

    Attributes:
        point: The mesh, as scanned.
        confirmed: Whether it passed the rule; otherwise it is the densest that was affordable.
        energy_error: Largest difference from a denser mesh, or of the densest from the one before, in meV/atom.
        pressure_error: The same in GPa.
    """

    point: Point
    confirmed: bool
    energy_error: float
    pressure_error: float

    @property
    def left_out(self) -> bool:
        """Whether the energies of this crystal are too uncertain to be labels."""
        return not self.confirmed and self.energy_error > LEFT_OUT


def mesh(cell: Array, spacing: float) -> Mesh:
    """Smallest Γ-centred mesh whose spacing stays within ``spacing``.

    Args:
        cell: (3, 3) lattice vectors in Å, one per row.
        spacing: Å⁻¹, 2π included.
    """
    lengths = 2 * np.pi * np.linalg.norm(np.linalg.inv(cell), axis=0)
    # 1e-6 so that a length of exactly n spacings does not round up to n + 1
    a, b, c = (max(1, int(np.ceil(length / spacing - 1e-6))) for length in lengths)
    return a, b, c


def candidates(cell: Array) -> list[Mesh]:
    """The different meshes of ``SPACINGS`` for a cell, coarse ones first."""
    return list(dict.fromkeys(mesh(cell, spacing) for spacing in SPACINGS))


def next_mesh(cell: Array, scan: Sequence[Point]) -> Mesh | None:
    """The mesh to scan next, or ``None`` if the scan decides, has reached its end or is no longer affordable."""
    if confirmed(scan) is not None or any(point.cpu_seconds > AFFORDABLE_SECONDS for point in scan):
        return None
    done = {point.kpts for point in scan}
    densest = max((point.kpts for point in scan), key=np.prod, default=(0, 0, 0))
    return next((size for size in candidates(cell) if size not in done and np.prod(size) > np.prod(densest)), None)


def confirmed(scan: Sequence[Point]) -> Choice | None:
    """The coarsest mesh that passes the rule, if there is one."""
    for point in sorted(scan, key=_density):
        denser = [other for other in scan if _density(other) > _density(point)]
        energy, pressure = _errors(point, denser)
        if len(denser) >= CONFIRMED_BY and energy <= ENERGY and pressure <= PRESSURE:
            return Choice(point=point, confirmed=True, energy_error=energy, pressure_error=pressure)
    return None


def choose(scan: Sequence[Point]) -> Choice:
    """The mesh of a crystal: the coarsest that passes the rule, or else the densest.

    Raises:
        ValueError: Fewer than two meshes were scanned, so that there is nothing to compare.
    """
    found = confirmed(scan)
    if found is not None:
        return found
    if len(scan) < CONFIRMED_BY:
        raise ValueError(f"{len(scan)} meshes were scanned; a mesh is judged by others")
    *_, before, densest = sorted(scan, key=_density)
    energy, pressure = _errors(densest, [before])
    return Choice(point=densest, confirmed=False, energy_error=energy, pressure_error=pressure)


def _density(point: Point) -> int:
    return int(np.prod(point.kpts))


def _errors(point: Point, others: Sequence[Point]) -> tuple[float, float]:
    return (
        max((abs(other.energy - point.energy) for other in others), default=0.0),
        max((abs(other.pressure - point.pressure) for other in others), default=0.0),
    )
