"""What it costs to compare the structures of pairs that were relaxed apart: python benchmarks/phase_matching.py.

Structures of the embedded data set, as supercells of about ``--atoms`` atoms, are strained by 1 % and rattled by 0.02 Å, as two
functionals may differ. Each pair is compared twice: with the atoms in the same order, as almost all relaxations leave them,
and shuffled, so that pymatgen's matcher has to search.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from xferbench.pairing import Match, compare
from xferbench.sources import mini

if TYPE_CHECKING:
    from xferbench.records import Frame

STRAIN, RATTLE = 0.01, 0.02
MATERIALS = 35_000
"""Of MP-r2SCAN, for the estimate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Of one pair.

    Attributes:
        atoms: Mean number.
        pairs: Compared.
        matched: Of them, found to be one phase with the atoms shuffled.
        in_order: Seconds with the atoms in order.
        shuffled: Seconds with the atoms shuffled, for the matcher.
    """

    atoms: float
    pairs: int
    matched: int
    in_order: float
    shuffled: float


def supercell(frame: Frame, atoms: int) -> Frame:
    """The same crystal with about so many atoms, at most 3 cells in each direction."""
    count = int(np.clip(np.floor((atoms / frame.n_atoms) ** (1 / 3)), 1, 3))
    steps = np.stack(np.meshgrid(*[np.arange(count)] * 3), axis=-1).reshape(-1, 3) @ frame.cell
    return replace(
        frame,
        numbers=np.tile(frame.numbers, len(steps)),
        positions=(steps[:, None] + frame.positions).reshape(-1, 3),
        cell=frame.cell * count,
    )


def relaxed(frame: Frame, random: np.random.Generator) -> Frame:
    """As another functional might have it."""
    strain = random.normal(0, STRAIN, (3, 3))
    change = np.eye(3) + (strain + strain.T) / 2
    moved = frame.positions @ change + random.normal(0, RATTLE, frame.positions.shape)
    return replace(frame, positions=moved, cell=frame.cell @ change)


def shuffled(frame: Frame, random: np.random.Generator) -> Frame:
    """The same structure with its atoms in another order."""
    order = random.permutation(frame.n_atoms)
    return replace(frame, numbers=frame.numbers[order], positions=frame.positions[order])


def measure(atoms: int, n_pairs: int) -> Cost:
    """Compare pairs both ways."""
    random = np.random.default_rng(0)
    materials = {frame.material_id: frame for frame in mini.load().frames}
    firsts = [supercell(frame, atoms) for frame in list(materials.values())[:n_pairs]]
    seconds = [relaxed(frame, random) for frame in firsts]
    mixed = [shuffled(frame, random) for frame in seconds]
    compare(firsts[0], mixed[0])  # loads pymatgen
    times, found = [], []
    for others in (seconds, mixed):
        start = time.perf_counter()
        found = [compare(first, second) for first, second in zip(firsts, others, strict=True)]
        times.append((time.perf_counter() - start) / len(firsts))
    return Cost(
        atoms=float(np.mean([frame.n_atoms for frame in firsts])),
        pairs=len(firsts),
        matched=sum(isinstance(item, Match) for item in found),
        in_order=times[0],
        shuffled=times[1],
    )


def table(costs: list[Cost]) -> str:
    """The costs as Markdown."""
    lines = [
        f"| atoms | pairs | in order, ms | {MATERIALS:,d} such pairs, s | shuffled, ms | of them matched |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {cost.atoms:.1f} | {cost.pairs} | {1e3 * cost.in_order:.2f} | {MATERIALS * cost.in_order:.0f} | "
        f"{1e3 * cost.shuffled:.1f} | {cost.matched} |"
        for cost in costs
    ]
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--atoms", type=int, nargs="+", default=[4, 30, 100])
    parser.add_argument("--pairs", type=int, default=30)
    arguments = parser.parse_args()
    print(table([measure(atoms, arguments.pairs) for atoms in arguments.atoms]))


if __name__ == "__main__":
    main()
