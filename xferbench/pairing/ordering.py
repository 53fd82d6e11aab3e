"""Two frames side by side: the same atoms in another order, or what else keeps them from being the same structure.

Nothing is matched by likeness: an order is accepted only where every atom lies within the tolerance of ``pairing`` of one of its own
species, whole lattice vectors aside. Where none is, ``difference`` says what a person would have to look for.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xferbench.records import Frame

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

REORDERED = "reordered"
"""In the provenance of a frame whose atoms were put into the order of its partner's."""

NEAR = 0.1
"""Å up to which two structures are told from each other by rounding rather than by being others."""

ROTATED = 1e-3
"""Relative difference of lengths and angles up to which two lattices are one in other axes."""


def reordered(first: Frame, second: Frame, tolerance: float) -> Frame | None:
    """The second frame with its atoms and their labels in the order of the first; ``None`` if no order makes them equal.

    Args:
        first: Whose order.
        second: Of the same lattice within the tolerance.
        tolerance: Å for each atom.
    """
    if np.abs(first.cell - second.cell).max() > tolerance or tuple(first.pbc) != tuple(second.pbc):
        return None
    order = _order(first, second, tolerance)
    if order is None:
        return None
    return replace(
        second,
        numbers=second.numbers[order],
        positions=second.positions[order],
        forces=None if second.forces is None else second.forces[order],
        magmoms=None if second.magmoms is None else second.magmoms[order],
        provenance={**second.provenance, REORDERED: True},
    )


def difference(first: Frame, second: Frame, tolerance: float) -> tuple[float, str]:  # noqa: C901 - one thing after the other
    """How far two frames of one composition are from being the same structure, and in what they differ.

    Returns:
        A number that is smaller for nearer candidates, and words.
    """
    if tuple(first.pbc) != tuple(second.pbc):
        return 1.0, f"other periodic directions, {_marks(first)} and {_marks(second)}; write the same in both files"
    apart = float(np.abs(first.cell - second.cell).max())
    if apart > NEAR:
        one, two = first.cell @ first.cell.T, second.cell @ second.cell.T
        if np.abs(one - two).max() <= ROTATED * max(np.abs(one).max(), 1e-9):
            return 2.0, "the same lattice in rotated axes; write both structures in the same axes"
        return 10.0 + apart, f"another lattice, by up to {apart:.3g} Å"
    words = []
    if apart > tolerance:
        words.append(f"lattice vectors up to {apart:.2g} Å apart{_decimals(second.cell)}")
    order = _order(first, second, NEAR)
    shifted = False
    if order is None:
        shift = first.positions[0] - second.positions[second.numbers == first.numbers[0]][0]
        order = _order(first, replace(second, positions=second.positions + shift), NEAR)
        shifted = order is not None
    if order is None:
        return 5.0 + apart, "; ".join([*words, f"atoms in other places, by more than {NEAR} Å"])
    if shifted:
        return 3.0, "; ".join(
            [*words, "all atoms shifted by the same vector; write both structures from the same origin"]
        )
    if not np.array_equal(order, np.arange(len(order))):
        words.append("another order of atoms")
    moved = float(_distances(first, second, order).max())
    if moved > tolerance:
        words.append(f"coordinates up to {moved:.2g} Å apart{_decimals(second.positions)}")
    if any("decimals" in word for word in words):
        words.append("write both files with at least 7 decimals")
    return moved + apart, "; ".join(words)


def _marks(frame: Frame) -> str:
    return "".join("T" if mark else "F" for mark in frame.pbc)


def _decimals(values: Floats) -> str:
    """To how many decimals all numbers are rounded, if that can be seen."""
    for digits in range(3, 7):
        if np.abs(values - np.round(values, digits)).max() < 1e-12 * max(1.0, float(np.abs(values).max())):
            return f", rounded to {digits} decimals"
    return ""


def _order(first: Frame, second: Frame, tolerance: float) -> Integers | None:
    """(n_atoms,) which atom of the second frame lies where each of the first does; ``None`` if one has no partner, or shares it."""
    from scipy.spatial import cKDTree

    if not np.array_equal(np.sort(first.numbers), np.sort(second.numbers)):
        return None
    periodic = np.array(first.pbc, dtype=bool)
    cell = first.cell.copy()
    if not np.isfinite(cell).all() or not (np.isfinite(first.positions).all() and np.isfinite(second.positions).all()):
        return None
    for axis in np.flatnonzero(~periodic).tolist():  # whatever stands there, coordinates along it are not wrapped
        cell[axis] = _across(cell, periodic, axis)
    if abs(np.linalg.det(cell)) < 1e-9:
        return None
    inverse = np.linalg.inv(cell)
    box = np.where(periodic, 1.0, 0.0)
    places = [_wrapped(frame.positions @ inverse, periodic) for frame in (first, second)]
    reach = tolerance * float(np.linalg.norm(inverse, 2)) * 1.01 + 1e-12
    order = np.full(first.n_atoms, -1)
    for number in np.unique(first.numbers):
        mine, theirs = (np.flatnonzero(frame.numbers == number) for frame in (first, second))
        _, nearest = cKDTree(places[1][theirs], boxsize=box).query(places[0][mine], distance_upper_bound=reach)
        if (nearest == len(theirs)).any():
            return None
        order[mine] = theirs[nearest]
    if len(set(order.tolist())) < len(order) or _distances(first, second, order).max() > tolerance:
        return None
    return order


def _across(cell: Floats, periodic: NDArray[np.bool_], axis: int) -> Floats:
    """A unit vector along which nothing repeats."""
    others = [cell[i] for i in range(3) if periodic[i] or i < axis]
    candidates = np.eye(3)
    free = candidates - sum((np.outer(candidates @ item, item) for item in _orthonormal(others)), np.zeros((3, 3)))
    best = free[int(np.argmax(np.linalg.norm(free, axis=1)))]
    return np.asarray(best / np.linalg.norm(best), dtype=np.float64)


def _orthonormal(vectors: list[Floats]) -> list[Floats]:
    if not vectors:
        return []
    basis, sizes, _ = np.linalg.svd(np.array(vectors).T, full_matrices=False)
    return [basis[:, i] for i in range(len(sizes)) if sizes[i] > 1e-9]


def _wrapped(fractional: Floats, periodic: NDArray[np.bool_]) -> Floats:
    out = fractional.copy()
    out[:, periodic] %= 1.0
    out[:, periodic] = np.where(out[:, periodic] >= 1.0, 0.0, out[:, periodic])  # -1e-17 % 1 is 1.0
    return out


def _distances(first: Frame, second: Frame, order: Integers) -> Floats:
    """(n_atoms,) Å from each atom to its partner, whole lattice vectors removed."""
    delta = second.positions[order] - first.positions
    lattice = first.cell[np.array(first.pbc, dtype=bool)]
    images = np.rint(delta @ np.linalg.pinv(lattice))
    return np.asarray(np.linalg.norm(delta - images @ lattice, axis=1), dtype=np.float64)
