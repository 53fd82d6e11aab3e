"""Graphs of thousands of random crystals against those of chgnet's converter, as sets.

    python benchmarks/chgnet_graphs.py [--share 1.0]

Prints JSON, and fails if a single graph differs. ``chgnet_report.py graphs`` writes the table of ``docs/performance.md``.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from chgnet_crystals import awkward, crystal, mptrj_like, sensible, small

from xferbench.errors import ModelError
from xferbench.models.chgnet.graph import build

if TYPE_CHECKING:
    from collections.abc import Callable

    from ase import Atoms

    from xferbench.models.chgnet.graph import Graphs
    from xferbench.records import Integers

BATCH = 50
"""Crystals whose graphs are built together."""

Keys = tuple["Integers", "Integers"]
"""Directed bonds (n_bonds,) and angles (n_angles, 2) as pairs of bonds, sorted, each bond as one number."""


def large(n: int) -> list[Atoms]:
    """Crystals of 120 to 200 atoms."""
    rng = np.random.default_rng(21)
    return [crystal(rng, int(rng.integers(120, 201))) for _ in range(n)]


def loose(n: int) -> list[Atoms]:
    """Crystals so dilute that about half of them have an atom without neighbours."""
    rng = np.random.default_rng(22)
    return [crystal(rng, int(rng.integers(1, 9)), volume=rng.uniform(150, 900)) for _ in range(n)]


def tiny(n: int) -> list[Atoms]:
    """One or two atoms in cells down to 4 Å³ per atom, of any skew: hundreds of images within the cutoff."""
    rng = np.random.default_rng(23)
    return [crystal(rng, int(rng.integers(1, 3)), volume=rng.uniform(4, 12), skew=1.0) for _ in range(n)]


KINDS: dict[str, tuple[Callable[[int], list[Atoms]], int]] = {
    "2 to 120 atoms, as dense as MPtrj": (lambda n: mptrj_like(n, seed=31), 1200),
    "8 atoms": (lambda n: small(n, seed=32), 1500),
    "one atom, skewed, slab, outside the cell, needle": (lambda n: awkward(n, seed=33), 1500),
    "one or two atoms in tiny, skewed cells": (tiny, 500),
    "120 to 200 atoms": (large, 100),
    "common structures and packings": (lambda n: sensible(n, seed=34), 500),
    "dilute, half with isolated atoms": (loose, 500),
}
"""How to make crystals of a kind, and how many."""


def numbered(start: Integers, end: Integers, image: Integers) -> Integers:
    """Each directed bond as one number (n_bonds,), from atoms and translations (n_bonds, 3) of one crystal."""
    bond = start.astype(np.int64)
    for part in (end, *(image.T + 512)):
        if len(part) and (part.min() < 0 or part.max() >= 1024):
            sys.exit("a crystal is too large to be compared")
        bond = bond * 1024 + part
    return bond


def engine_keys(graphs: Graphs) -> list[Keys]:
    """Of every crystal of a batch."""
    crystals = graphs.crystals
    center, neighbor, image, n_short = graphs.center, graphs.neighbor, graphs.image, graphs.n_short
    # short bonds as stored and reversed, as angles count them, then the long ones
    short, long = slice(None, n_short), slice(n_short, None)
    start = np.concatenate([center[short], neighbor[short], center[long], neighbor[long]])
    end = np.concatenate([neighbor[short], center[short], neighbor[long], center[long]])
    image = np.concatenate([image[short], -image[short], image[long], -image[long]])
    owner, of_angle = crystals.owner[start], crystals.owner[graphs.vertex]
    first_atom = (np.cumsum(crystals.counts) - crystals.counts)[owner]
    bond = numbered(start - first_atom, end - first_atom, image)
    angles = np.stack([bond[graphs.first], bond[graphs.second]], axis=1)
    by_bond, by_angle = np.lexsort((bond, owner)), np.lexsort((*angles.T, of_angle))
    inner = np.arange(1, len(crystals.counts))
    return list(
        zip(
            np.split(bond[by_bond], np.searchsorted(owner[by_bond], inner)),
            np.split(angles[by_angle], np.searchsorted(of_angle[by_angle], inner)),
            strict=True,
        )
    )


def chgnet_keys(converter: Any, atoms: Atoms) -> Keys:  # noqa: ANN401 - a converter of an untyped package
    """Of one crystal, from chgnet's converter.

    Raises:
        ValueError: It has an isolated atom.
    """
    from pymatgen.core import Lattice, Structure

    lattice = Lattice(atoms.cell.array, pbc=tuple(map(bool, atoms.pbc)))
    found = converter(Structure(lattice, atoms.numbers, atoms.positions, coords_are_cartesian=True))
    start, end = found.atom_graph.numpy().astype(np.int64).reshape(-1, 2).T
    bond = numbered(start, end, np.rint(found.neighbor_image.numpy()).astype(np.int64).reshape(-1, 3))
    _, _, first, _, second = found.bond_graph.numpy().astype(np.int64).reshape(-1, 5).T
    angles = np.stack([bond[first], bond[second]], axis=1)
    return np.sort(bond), angles[np.lexsort(angles.T)]


def compare(structures: list[Atoms]) -> dict[str, int]:
    """Counts over the structures: bonds and angles met, isolated atoms refused by both, graphs that differ."""
    from chgnet.graph import CrystalGraphConverter

    converter = CrystalGraphConverter(atom_graph_cutoff=6, bond_graph_cutoff=3, on_isolated_atoms="error")
    counts = {"crystals": len(structures), "atoms": 0, "bonds": 0, "angles": 0, "refused": 0, "different": 0}
    for start in range(0, len(structures), BATCH):
        batch = structures[start : start + BATCH]
        together = engine_keys(build(batch, atom_cutoff=6, bond_cutoff=3, isolated="allow"))
        for atoms, found in zip(batch, together, strict=True):
            try:
                expected = chgnet_keys(converter, atoms)
            except ValueError:
                counts["refused" if refused(atoms) else "different"] += 1
                continue
            counts["atoms"] += len(atoms)
            counts["bonds"] += len(found[0])
            counts["angles"] += len(found[1])
            counts["different"] += refused(atoms) or not all(map(np.array_equal, found, expected))
    return counts


def refused(atoms: Atoms) -> bool:
    """Whether the batched builder refuses a crystal for an isolated atom."""
    try:
        build([atoms], atom_cutoff=6, bond_cutoff=3)
    except ModelError as error:
        if "isolated atom" not in str(error):
            raise
        return True
    return False


def main() -> None:
    """Print the counts of every kind."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=float, default=1.0, help="of the full number of crystals")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    results = {}
    for name, (make, n) in KINDS.items():
        print(f"graphs: {name}", file=sys.stderr, flush=True)
        results[name] = compare(make(max(1, int(n * arguments.share))))
    print(json.dumps(results, indent=1))
    if any(result["different"] for result in results.values()):
        sys.exit("graphs differ")


if __name__ == "__main__":
    main()
