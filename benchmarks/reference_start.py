"""What a pre-trained CHGNet starts from with each kind of elemental references, before any training.

    python benchmarks/reference_start.py [--dataset mini] [--write docs/training.md]

The energy per atom of CHGNet is references plus network. References fitted to labels leave a rest to the network, which it
learned with other references: how much do both differ? The same for GGA labels and the GGA model is the control: there is
no change of functional in it. All energies in meV/atom, means over frames.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from page import put

from xferbench.dataset import open_dataset
from xferbench.references import composition_matrix
from xferbench.transfer import make_config
from xferbench.transfer.data import GraphStore, TrainingData
from xferbench.transfer.references import initial_references
from xferbench.transfer.strategies import Start

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xferbench.dataset import Dataset
    from xferbench.models.trainable import Trainable
    from xferbench.records import Floats, Frame

KINDS = {
    "those of GGA": "source",
    "fitted to the labels": "fit",
    "those of GGA plus the difference of labels": "paired",
    "fitted to labels minus model": "model-aware",
}
"""Name in the table -> scheme."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """Of one kind of references; means over frames, eV/atom.

    Attributes:
        left: Absolute value of what the references leave of the labels, over training frames.
        mean: Error of the whole model over training frames, with its sign.
        train: Absolute error, over training frames.
        test: The same over test frames of the elements that the training frames have.
    """

    left: float
    mean: float
    train: float
    test: float


def starts(data: Dataset, *, source: bool) -> tuple[dict[str, Errors], float]:
    """Every kind of references against the labels of one functional, and the network's own part, mean absolute eV/atom.

    Args:
        data: With pairs, all with energies.
        source: Whether the labels are those of the source frames.
    """
    side = "source" if source else "target"
    pairs = list(data.iter_pairs("train"))
    frames = [pair.source if source else pair.target for pair in pairs]
    known = {int(z) for frame in frames for z in frame.numbers}
    test = [frame for frame in data.frames(side, "test") if known >= set(frame.numbers.tolist())]
    learned = TrainingData(pairs=pairs, frames=frames)
    config = make_config()
    start = Start(
        config=config,
        data=learned,
        reference_data=learned,
        graphs=lambda model: GraphStore(model, config.graph_memory * 2**30),
        device=torch.device(config.device),
    )
    predicted, beyond = start.predicted(frames), start.predicted(test)
    table = start.model.reference_energies()
    network, network_test = (
        energies - _by_elements(start.model, table, some) for energies, some in ((predicted, frames), (beyond, test))
    )
    found = {}
    for name, scheme in KINDS.items():
        if source and scheme == "paired":
            continue
        fitted = initial_references(start.model, scheme, learned, lambda: predicted).table
        rest, rest_test = (_labels(some) - _by_elements(start.model, fitted, some) for some in (frames, test))
        found[name] = Errors(
            left=float(np.abs(rest).mean()),
            mean=float((network - rest).mean()),
            train=float(np.abs(network - rest).mean()),
            test=float(np.abs(network_test - rest_test).mean()),
        )
    return found, float(np.abs(network).mean())


def _by_elements(model: Trainable, table: Floats, frames: Sequence[Frame]) -> Floats:
    """What references say (n,), eV/atom."""
    return composition_matrix([frame.numbers for frame in frames], model.elements) @ table


def _labels(frames: Sequence[Frame]) -> Floats:
    """Energies (n,) eV/atom."""
    return np.array([frame.energy / frame.n_atoms for frame in frames], dtype=np.float64)  # type: ignore[operator]


def table(data: Dataset) -> str:
    """Both functionals as Markdown."""
    lines = [
        "| labels | references | they leave | model's mean error | its absolute error | on test |",
        "|---|---|---|---|---|---|",
    ]
    for name, source in (("r²SCAN", False), ("GGA", True)):
        found, own = starts(data, source=source)
        lines += [
            f"| {name} | {kind} | {1000 * start.left:.0f} | {1000 * start.mean:.0f} | {1000 * start.train:.0f} "
            f"| {1000 * start.test:.0f} |".replace("-", "−")
            for kind, start in found.items()
        ]
    pairs = list(data.iter_pairs("train"))
    elements = {int(z) for pair in pairs for z in pair.target.numbers}
    materials = {pair.material_id for pair in pairs}
    fact = f"{len(pairs)} training pairs of {len(materials)} materials with {len(elements)} elements."
    return "\n".join([*lines, "", f"{fact} The network's own part is {1000 * own:.0f} meV/atom in the mean.", ""])


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="mini")
    parser.add_argument("--write", type=Path, help="the page to put the table into")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    text = table(open_dataset(arguments.dataset))
    print(text, end="")
    if arguments.write is not None:
        put(arguments.write, "reference start", text)


if __name__ == "__main__":
    main()
