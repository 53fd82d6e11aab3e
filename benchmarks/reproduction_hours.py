"""How long the seed paper's experiment takes: measured rates of training and prediction, times the sizes of the data sets.

    python benchmarks/reproduction_hours.py [--device cuda] [--frames 64]

Random crystals with the size distribution of MPtrj (25 atoms on average, 58 neighbours within 6 Å) are labelled by two CHGNets
and trained on with the paper's settings. Rates are those of the second epoch, the first one warms up; graphs are made in each, as
those of the large sets do not fit into memory. A run costs

    epochs · (training frames / training rate + validation frames / prediction rate) + test frames / prediction rate.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from chgnet_crystals import mptrj_like

from xferbench import dataset, transfer
from xferbench.functionals import Functional
from xferbench.models.chgnet.checkpoint import load_engine
from xferbench.records import Frame, Geometry, SourceDataset, SplitRule
from xferbench.transfer.logs import read_rows
from xferbench.transfer.run import TIMING

if TYPE_CHECKING:
    from ase import Atoms

    from xferbench.models.chgnet.engine import CHGNetEngine

ELEMENTS = (3, 8, 12, 14, 26)
"""Few, so that no validation crystal has one that training lacks; the cost does not depend on them."""

EPOCHS = 50
SEEDS = 3
METHODS = 4
FIGURE_6 = (0.005, 0.01, 0.02, 0.1, 0.2, 1.0)
"""About the six sizes that the paper fits, as fractions of the training materials; two methods each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Frames of a data set."""

    name: str
    train: int
    val: int
    test: int


SIZES = (
    Size(name="MP-r2SCAN", train=190_560, val=23_888, test=23_799),
    Size(name="MatPES 2025.1", train=349_017, val=19_394, test=19_396),
)
"""As published: the paper's split, and MatPES' own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Frames a second.

    Attributes:
        waiting: Share of the training time in which the device waited for data.
    """

    train: float
    predict: float
    waiting: float


def labelled(crystals: list[Atoms], engines: dict[Functional, CHGNetEngine]) -> list[Frame]:
    """Frames of both functionals."""
    frames = []
    for functional, engine in engines.items():
        for number, (atoms, result) in enumerate(zip(crystals, engine.predict(crystals), strict=True)):
            if "error" not in result:
                frames.append(
                    Frame(
                        frame_id=f"{number}-{functional}",
                        pair_id=str(number),
                        material_id=str(number),
                        functional=functional,
                        numbers=atoms.numbers,
                        positions=atoms.positions,
                        cell=atoms.cell.array,
                        energy=result["energy"],
                        forces=result["forces"],
                        stress=result["stress"],
                        magmoms=result["magmoms"],
                    )
                )
    return frames


def prepared(n: int, directory: Path, engines: dict[Functional, CHGNetEngine]) -> dataset.Dataset:
    """A data set of n crystals, nearly all of them for training."""
    crystals = mptrj_like(n, seed=7, elements=ELEMENTS)
    source = SourceDataset(
        name="speed",
        version="1",
        title="Random crystals",
        licence="none",
        citation="none",
        card="Random crystals.",
        geometry=Geometry.SAME_GEOMETRY,
        split=SplitRule(salt="speed", fractions=(0.8, 0.1, 0.1), group="crystal"),
        frames=labelled(crystals, engines),
        synthetic=True,
    )
    return dataset.build(source, directory)


def measure(n: int, device: str) -> Rates:
    """Rates of the second epoch of training, and of prediction with all labels."""
    names = {Functional("PBE"): "0.3.0", Functional("r2SCAN"): "r2scan"}
    engines = {functional: load_engine(name, device) for functional, name in names.items()}
    with tempfile.TemporaryDirectory() as place:
        data = prepared(n, Path(place) / "data", engines)
        threads = torch.get_num_threads()
        config = transfer.make_config("paper-4", epochs=2, device=device, threads=threads, graph_memory=0.0)
        run = transfer.train(data, Path(place) / "run", config)
        timing = read_rows(run.directory / TIMING)[-1]
        atoms = [frame.atoms() for frame in data.frames("target", "train")]
    engines[Functional("r2SCAN")].predict(atoms[: len(atoms) // 4])
    start = time.perf_counter()
    engines[Functional("r2SCAN")].predict(atoms)
    rate = len(atoms) / (time.perf_counter() - start)
    return Rates(train=timing["frames_per_second"], predict=rate, waiting=timing["waiting_for_data"])


def hours(size: Size, rates: Rates, fraction: float = 1.0) -> float:
    """Of one run on a fraction of the training frames."""
    epoch = fraction * size.train / rates.train + size.val / rates.predict
    return (EPOCHS * epoch + size.test / rates.predict) / 3600


def main() -> None:
    """Measure, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--frames", type=int, default=64, help="Crystals; some thousand for a GPU.")
    arguments = parser.parse_args()
    rates = measure(arguments.frames, arguments.device)
    on_gpu = arguments.device.startswith("cuda")
    place = torch.cuda.get_device_name() if on_gpu else f"{torch.get_num_threads()} thread(s) of {os.cpu_count()} cores"
    print(f"{place}: {rates.train:.1f} training frames/s, {rates.predict:.1f} predicted frames/s,")
    print(f"{100 * rates.waiting:.1f} % of the training time waiting for data\n")
    print("| data | one run | Table 1, 4 methods × 3 seeds | Figure 6, 2 methods × 6 sizes × 3 seeds |")
    print("|---|---:|---:|---:|")
    for size in SIZES:
        curve = 2 * SEEDS * sum(hours(size, rates, fraction) for fraction in FIGURE_6)
        print(
            f"| {size.name} | {hours(size, rates):,.0f} h | {METHODS * SEEDS * hours(size, rates):,.0f} h | {curve:,.0f} h |"
        )


if __name__ == "__main__":
    main()
