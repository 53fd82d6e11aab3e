"""Which components of forces and stresses symmetry leaves free.

A label that symmetry holds at zero says nothing about a model, and every one of them dilutes a mean. A Cartesian component counts if
the projector on what the symmetry operations leave unchanged has a diagonal entry above ``PROJECTED`` there. With the rotations R of
the operations that map an atom onto itself, and of all operations, the projectors on its force and on the stress have the diagonals

    mean of R_aa,        mean of (R_aa R_bb + R_ab R_ba) / 2.

Operations are those of spglib, of the magnetic group where there are moments: time reversal moves neither force nor stress.
"""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING

import numpy as np

from xferbench.labels import Free, Ragged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from xferbench.records import Frame

    Floats = NDArray[np.float64]
    Mask = NDArray[np.bool_]

log = logging.getLogger(__name__)

SYMPREC = 1e-3
"""Å. Atoms displaced by less count as undisplaced; far below any rattle, above the rounding of files."""

MAGNETIC = 0.1
"""µB. Moments that are all smaller are numerical, and none."""

MOMENTS_ALIKE = 0.05
"""µB. Moments that differ by less are equal: two calculations of one atom do not agree better."""

PROJECTED = 1e-6
"""Diagonal entry of a projector below which a component is not free; the smallest true one is 1/3."""

ITSELF = 0.1
"""Å. An operation that brings an atom as near to where it was maps it onto itself: no two atoms are as near."""

ROOM = 20.0
"""Å around a molecule, in a cubic box: only its own operations are left, some of them not found, which frees too much at most."""


BROKEN = {"forces": 0.01, "stress": 1e-3}
"""eV/Å and eV/Å³ (0.16 GPa). A larger label where symmetry allows none says that the calculation had less symmetry than the structure."""


def free_components(frames: Sequence[Frame]) -> Free:
    """Which components of many frames are free.

    A frame that is periodic in one or two directions, without a structure, whose own labels break its symmetry, or that spglib refuses,
    is taken to be without symmetry; the last are counted in a warning.
    """
    found = [_free(frame) for frame in frames]
    refused = sum(item is None for item in found)
    if refused:
        log.warning("spglib found no symmetry of %d of %d structures: all their components count", refused, len(frames))
    kept = [
        _whole(frame) if item is None or _broken(frame, *item) else item
        for frame, item in zip(frames, found, strict=True)
    ]
    return Free(
        forces=Ragged.of([forces for forces, _ in kept], 3, np.bool_),
        stress=Ragged.of([stress for _, stress in kept], 9, np.bool_),
    )


def _whole(frame: Frame) -> tuple[Mask, Mask]:
    """Everything is free."""
    return np.ones((frame.n_atoms, 3), dtype=bool), np.ones((3, 3), dtype=bool)


def _broken(frame: Frame, forces: Mask, stress: Mask) -> bool:
    """Whether a label is not zero where the structure says that it must be."""
    sides = ((frame.forces, forces, BROKEN["forces"]), (frame.stress, stress, BROKEN["stress"]))
    return any(label is not None and bool((np.abs(label[~free]) > limit).any()) for label, free, limit in sides)


def _free(frame: Frame) -> tuple[Mask, Mask] | None:
    """(n_atoms, 3) forces and (3, 3) stress of one frame; None if spglib refuses."""
    periodic = bool(np.all(frame.pbc))
    if len(frame.positions) != frame.n_atoms or (not periodic and np.any(frame.pbc)):
        return _whole(frame)
    positions = frame.positions - frame.positions.mean(axis=0)
    cell = frame.cell if periodic else np.eye(3) * (np.ptp(positions, axis=0).max() + ROOM)
    if abs(np.linalg.det(cell)) < SYMPREC:
        return None
    fractional = positions @ np.linalg.inv(cell)
    operations = _operations(cell, fractional, frame.numbers, frame.magmoms)
    if operations is None:
        return None
    rotations, translations = operations
    cartesian = np.einsum("ji,gjk,kl->gil", cell, rotations, np.linalg.inv(cell).T)
    return _free_forces(cell, fractional, rotations, translations, cartesian), _free_stress(cartesian)


def _operations(
    cell: Floats, fractional: Floats, numbers: NDArray[np.int64], moments: Floats | None
) -> tuple[Floats, Floats] | None:
    """(g, 3, 3) rotations and (g, 3) translations in fractional coordinates."""
    import spglib

    lattice, places, kinds = cell.tolist(), fractional.tolist(), numbers.tolist()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of how spglib will tell errors in future
            if moments is not None and np.abs(moments).max(initial=0.0) >= MAGNETIC:
                magnetic = (lattice, places, kinds, moments.tolist())
                found = spglib.get_magnetic_symmetry(magnetic, symprec=SYMPREC, mag_symprec=MOMENTS_ALIKE)
            else:
                found = spglib.get_symmetry((lattice, places, kinds), symprec=SYMPREC)
    except Exception:  # noqa: BLE001 - spglib's own errors differ between its versions, and all mean the same
        return None
    return None if found is None else (found["rotations"].astype(np.float64), found["translations"])


def _free_forces(cell: Floats, fractional: Floats, rotations: Floats, translations: Floats, cartesian: Floats) -> Mask:
    """(n_atoms, 3) by the operations that leave an atom where it is."""
    moved = np.einsum("gij,nj->gni", rotations, fractional) + translations[:, None] - fractional
    moved -= np.rint(moved)
    stays = (np.linalg.norm(moved @ cell, axis=2) < ITSELF).astype(np.float64)
    diagonal = stays.T @ np.einsum("gaa->ga", cartesian) / stays.sum(axis=0)[:, None]
    free: Mask = diagonal > PROJECTED
    return free


def _free_stress(cartesian: Floats) -> Mask:
    """(3, 3) by all operations."""
    straight = np.einsum("gaa,gbb->ab", cartesian, cartesian)
    crossed = np.einsum("gab,gba->ab", cartesian, cartesian)
    free: Mask = (straight + crossed) / (2 * len(cartesian)) > PROJECTED
    return free
