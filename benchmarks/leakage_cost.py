"""What flags, prototypes and audits cost: python benchmarks/leakage_cost.py [--records 20000].

Crystals are supercells of the embedded data set with about ``--atoms`` atoms, rattled by 0.2 Å so that no structure is one
of the test. A training set of ``--records`` of them, half of whose compositions are those of test pairs (the costly case:
their structures are compared), is written as extended XYZ and as JSON lines, and audited; so is a list of as many ids,
those of the data set's own materials by turns. Times are of the processor, on one core.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from xferbench import audit as audits
from xferbench import dataset as datasets
from xferbench.grouping import space_group
from xferbench.hygiene import flag_masks, geometry_keys
from xferbench.sources import mini
from xferbench.tables import frames_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from xferbench.dataset import Dataset
    from xferbench.records import Frame

RATTLE = 0.2
PAIRS = 8192
LARGE = 1_500_000
"""Records of MPtrj, about, for the estimate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Of one job: processor seconds for so many items."""

    job: str
    items: int
    seconds: float


def supercell(frame: Frame, atoms: int, random: np.random.Generator) -> Frame:
    """The same crystal with about so many atoms, rattled."""
    count = int(np.clip(np.rint((atoms / frame.n_atoms) ** (1 / 3)), 1, 4))
    steps = np.stack(np.meshgrid(*[np.arange(count)] * 3), axis=-1).reshape(-1, 3) @ frame.cell
    positions = (steps[:, None] + frame.positions).reshape(-1, 3)
    numbers = np.tile(frame.numbers, len(steps))
    moved = positions + random.normal(0, RATTLE, positions.shape)
    return replace(
        frame, numbers=numbers, positions=moved, cell=frame.cell * count, forces=np.zeros_like(moved), magmoms=None
    )


def timed(job: str, items: int, run: Callable[[], object]) -> Cost:
    """Processor time of one call."""
    start = time.process_time()
    run()
    return Cost(job=job, items=items, seconds=time.process_time() - start)


def training_set(dataset: Dataset, atoms: int, n: int) -> list[Frame]:
    """Crystals of test and training compositions by turns."""
    random = np.random.default_rng(0)
    sides = [
        [frame for frame in dataset.frames("source", split) if frame.n_atoms <= atoms] for split in ("test", "train")
    ]
    return [supercell(sides[i % 2][i // 2 % len(sides[i % 2])], atoms, random) for i in range(n)]


def extxyz(frames: Sequence[Frame]) -> Iterator[str]:
    """Frames as extended XYZ, named ``mp-0`` and on."""
    from ase.data import chemical_symbols

    for i, frame in enumerate(frames):
        lattice = " ".join(f"{x:.8f}" for x in frame.cell.ravel())
        yield f'{frame.n_atoms}\nLattice="{lattice}" Properties=species:S:1:pos:R:3 material_id=mp-{i} pbc="T T T"\n'
        for number, (x, y, z) in zip(frame.numbers.tolist(), frame.positions.tolist(), strict=True):
            yield f"{chemical_symbols[number]} {x:.8f} {y:.8f} {z:.8f}\n"


def documents(frames: Sequence[Frame]) -> Iterator[str]:
    """Frames as JSON lines of arrays."""
    for i, frame in enumerate(frames):
        arrays = {name: getattr(frame, name).tolist() for name in ("numbers", "positions", "cell")}
        yield json.dumps({"material_id": f"mp-{i}", **arrays}) + "\n"


def measure(atoms: int, n_records: int, place: Path) -> list[Cost]:
    """Every job once."""
    dataset = datasets.build(mini.load(), place / "mini")
    frames = training_set(dataset, atoms, min(n_records, PAIRS))
    table = frames_table(frames)
    flag_masks(table.slice(0, 8), table.slice(0, 8))  # loads what is loaded late
    space_group(frames[0])
    costs = [
        timed("flags of pairs", len(frames), lambda: flag_masks(table, table)),
        timed("keys for duplicates", len(frames), lambda: geometry_keys(table)),
        timed("space groups, rattled", 200, lambda: [space_group(frame) for frame in frames[:200]]),
        timed("space groups, embedded", 200, lambda: [space_group(f) for f in dataset.frames("source")[:200]]),
    ]
    many = training_set(dataset, atoms, n_records)
    for name, lines in (
        ("train.extxyz", extxyz(many)),
        ("train.jsonl", documents(many)),
        ("train.txt", (f"{frame.material_id}\n" for frame in many)),
    ):
        path = place / name
        path.write_text("".join(lines))
        costs.append(timed(f"audit of {name}", n_records, lambda path=path: audits.audit(dataset, path)))  # type: ignore[misc]
    return costs


def report(costs: Sequence[Cost], atoms: int) -> str:
    """A Markdown table."""
    lines = [
        f"Crystals of about {atoms} atoms.",
        "",
        f"| job | items | µs each | {LARGE:,} items, min |",
        "|---|---|---|---|",
    ]
    for cost in costs:
        each = cost.seconds / cost.items
        lines.append(f"| {cost.job} | {cost.items} | {each * 1e6:.1f} | {each * LARGE / 60:.1f} |")
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--atoms", type=int, default=30)
    parser.add_argument("--records", type=int, default=20_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        print(report(measure(options.atoms, options.records, Path(place)), options.atoms))


if __name__ == "__main__":
    main()
