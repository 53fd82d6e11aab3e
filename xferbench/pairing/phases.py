"""Are two structures, relaxed by different functionals, the same phase of a material?

pymatgen's ``StructureMatcher`` decides: both cells are made primitive and scaled to the same volume, and a mapping of the
atoms is looked for within its default tolerances, which are the Materials Project's. Relaxations mostly keep the order of
the atoms and the choice of axes. Such a pair needs no search: where the axes given agree within ``QUICK_CELL`` and the atoms in
the order given within ``QUICK``, that mapping is the proof, and the matcher is not asked (a hundred times faster).

References:
    Ong et al., Comput. Mater. Sci. 68, 314 (2013), doi 10.1016/j.commatsci.2012.10.028.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xferbench.records import Frame

    Floats = NDArray[np.float64]

LENGTH = 0.2
"""Fraction by which lattice vectors may differ once the volumes are equal."""

SITE = 0.3
"""Root mean square distance of the atoms, in units of the cube root of the volume per atom."""

ANGLE = 5.0
"""Degrees by which lattice angles may differ."""

QUICK = 0.1
"""As ``SITE``; beyond it another order of the atoms may fit better, and the matcher is asked."""

QUICK_CELL = 0.25
"""Part of ``LENGTH`` and ``ANGLE``: the matcher measures in axes of its own choice, where differences may be three times as large."""

KEY = "same_material"
"""In the provenance of a target frame: how it compares with its partner."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """How a target structure differs from the source structure of the same phase.

    Attributes:
        volume_change: Volume per atom in the target over that in the source, minus 1.
        rms: Root mean square distance of the atoms at equal volume, in units of the cube root of the volume per atom.
    """

    volume_change: float
    rms: float


def compare(source: Frame, target: Frame) -> Match | str:
    """Compare two structures, periodic in three directions.

    Returns:
        The match, or in words why there is none.
    """
    if not (all(source.pbc) and all(target.pbc)):
        return "not periodic in three directions, so there is no phase to compare"
    volumes = _volume(source) / source.n_atoms, _volume(target) / target.n_atoms
    if min(volumes) <= 0:
        return "a cell without volume"
    rms = _in_order(source, target)
    found = _by_matcher(source, target) if rms is None else rms
    return found if isinstance(found, str) else Match(volume_change=volumes[1] / volumes[0] - 1, rms=found)


def recorded(target: Frame, match: Match) -> Frame:
    """The target frame with the match in its provenance."""
    return replace(target, provenance={**target.provenance, KEY: asdict(match)})


def _volume(frame: Frame) -> float:
    return abs(float(np.linalg.det(frame.cell)))


def _in_order(first: Frame, second: Frame) -> float | None:
    """Distance of the atoms in the order given, as the matcher defines it; ``None`` if that settles nothing."""
    if not np.array_equal(first.numbers, second.numbers):
        return None
    lengths, angles = zip(_parameters(first), _parameters(second), strict=True)
    longer, wider = np.abs(lengths[0] / lengths[1] - 1).max(), np.abs(angles[0] - angles[1]).max()
    if longer > QUICK_CELL * LENGTH or wider > QUICK_CELL * ANGLE:
        return None
    metric = _metric((lengths[0] + lengths[1]) / 2, (angles[0] + angles[1]) / 2)
    moved = _fractional(second) - _fractional(first)
    moved -= moved[0].copy()
    moved -= np.rint(moved)
    moved -= moved.mean(axis=0)
    squares = np.einsum("ni,ij,nj->n", moved, metric, moved)
    rms = float(np.sqrt(squares.mean()) * (first.n_atoms / np.sqrt(np.linalg.det(metric))) ** (1 / 3))
    return rms if rms < QUICK else None


def _parameters(frame: Frame) -> tuple[Floats, Floats]:
    """Lengths of the lattice vectors at unit volume per atom, and the angles α, β, γ in degrees."""
    lengths = np.linalg.norm(frame.cell, axis=1)
    unit = frame.cell / lengths[:, None]
    cosines = np.array([unit[1] @ unit[2], unit[0] @ unit[2], unit[0] @ unit[1]])
    return lengths / (_volume(frame) / frame.n_atoms) ** (1 / 3), np.degrees(np.arccos(np.clip(cosines, -1, 1)))


def _metric(lengths: Floats, angles: Floats) -> Floats:
    """(3, 3) scalar products of lattice vectors of these lengths and angles."""
    alpha, beta, gamma = np.cos(np.radians(angles))
    cosines = np.array([[1, gamma, beta], [gamma, 1, alpha], [beta, alpha, 1]])
    metric: Floats = cosines * np.outer(lengths, lengths)
    return metric


def _fractional(frame: Frame) -> Floats:
    return np.asarray(np.linalg.solve(frame.cell.T, frame.positions.T).T, dtype=np.float64)


def _by_matcher(first: Frame, second: Frame) -> float | str:
    matcher, structures = _matcher(), [_structure(frame) for frame in (first, second)]
    formulas = [structure.composition.reduced_formula for structure in structures]
    if formulas[0] != formulas[1]:
        return f"{formulas[0]} and {formulas[1]}"
    try:
        found = matcher.get_rms_dist(*structures)
    except (ValueError, np.linalg.LinAlgError) as error:  # of cells that cannot be reduced
        return f"the structures cannot be compared ({error})"
    return "no mapping of lattice and atoms within the matcher's tolerances" if found is None else float(found[0])


@cache
def _matcher() -> Any:  # noqa: ANN401 - pymatgen has no types
    from pymatgen.analysis.structure_matcher import StructureMatcher

    return StructureMatcher(ltol=LENGTH, stol=SITE, angle_tol=ANGLE, primitive_cell=True, scale=True)


def _structure(frame: Frame) -> Any:  # noqa: ANN401 - pymatgen has no types
    from pymatgen.core.structure import Structure

    return Structure(frame.cell, frame.numbers.tolist(), frame.positions, coords_are_cartesian=True)
