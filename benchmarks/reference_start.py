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

from xferbench.transfer import make_config, referencing
from xferbench.transfer.method import Setting, references_table
from xferbench.transfer.referencing import composition_energy, labelled_energies
from xferbench.workflow.training import open_dataset

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from xferbench.dataset import Dataset
    from xferbench.records import Floats, Frame, Pair

    Fit = Callable[[Floats, Sequence[Pair], Sequence[Frame], Floats], referencing.References]

KINDS: dict[str, Fit] = {
    "those of GGA": lambda table, pairs, _frames, _predicted: referencing.kept(table, pairs),
    "fitted to the labels": lambda table, _pairs, frames, _predicted: referencing.refitted(table, frames),
    "those of GGA plus the difference of labels": lambda table, pairs, _frames, _predicted: (
        referencing.paired_difference(table, pairs)
    ),
    "fitted to labels minus model": lambda table, _pairs, frames, predicted: referencing.model_aware(
        table, frames, predicted
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
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


def starts(data: Dataset, *, gga: bool) -> tuple[dict[str, Start], float]:
    """Every kind of references against the labels of one functional, and the network's own part, mean absolute eV/atom.

    Args:
        data: With pairs, all with energies.
        gga: Whether the labels are those of the GGA frames.
    """
    pairs = list(data.iter_pairs("train"))
    frames = [pair.gga if gga else pair.r2scan for pair in pairs]
    known = {int(z) for frame in frames for z in frame.numbers}
    test = [frame for frame in data.frames("gga" if gga else "r2scan", "test") if known >= set(frame.numbers.tolist())]
    setting = Setting(config=make_config(), pairs=pairs)
    table = references_table(setting.pretrained())
    network, beyond = (_network(setting, table, some) for some in (frames, test))
    predicted = network + composition_energy(table, [frame.numbers for frame in frames])
    found = {}
    for name, fit in KINDS.items():
        if gga and "difference" in name:
            continue
        references = fit(table, pairs, frames, predicted)
        rest, rest_test = (_rest(references, some) for some in (frames, test))
        found[name] = Start(
            left=float(np.abs(rest).mean()),
            mean=float((network - rest).mean()),
            train=float(np.abs(network - rest).mean()),
            test=float(np.abs(beyond - rest_test).mean()),
        )
    return found, float(np.abs(network).mean())


def _network(setting: Setting, table: Floats, frames: Sequence[Frame]) -> Floats:
    """What the network adds to the references it was trained with (n,), eV/atom."""
    whole = Setting(config=setting.config, pairs=setting.pairs, more=frames).predicted(setting.pretrained())
    return whole - composition_energy(table, [frame.numbers for frame in frames])


def _rest(references: referencing.References, frames: Sequence[Frame]) -> Floats:
    """Labels minus references (n,), eV/atom."""
    numbers, energies = labelled_energies(frames)
    return energies - composition_energy(references.table, numbers)


def table(data: Dataset) -> str:
    """Both functionals as Markdown."""
    lines = [
        "| labels | references | they leave | model's mean error | its absolute error | on test |",
        "|---|---|---|---|---|---|",
    ]
    for name, gga in (("r²SCAN", False), ("GGA", True)):
        found, own = starts(data, gga=gga)
        lines += [
            f"| {name} | {kind} | {1000 * start.left:.0f} | {1000 * start.mean:.0f} | {1000 * start.train:.0f} "
            f"| {1000 * start.test:.0f} |".replace("-", "−")
            for kind, start in found.items()
        ]
    pairs = list(data.iter_pairs("train"))
    elements = {int(z) for pair in pairs for z in pair.r2scan.numbers}
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
