"""Speed of ``xferbench train`` against chgnet's ``Trainer``: same crystals, labels, batches, weights and threads.

    python benchmarks/train_speed.py [--structures 48] [--batch-size 8] [--threads 1] [--write docs/training.md]

One epoch of each in turn, the least CPU time (user and system) of each counts. Ours makes its graphs within the epoch, as it
does in a run; chgnet's are made before. Prints JSON; ``--write`` puts the table into a page.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import platform
import tempfile
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from chgnet_crystals import mptrj_like, small

from xferbench.models.chgnet.checkpoint import load_network, shipped_checkpoint
from xferbench.models.chgnet.engine import ROWS_CPU
from xferbench.models.chgnet.hardware import flushed_denormals, warm_heap
from xferbench.models.chgnet.model import N_ELEMENTS
from xferbench.records import Frame, Functional
from xferbench.transfer import make_config
from xferbench.transfer.distributed import Processes
from xferbench.transfer.loop import Loop
from xferbench.transfer.method import Group, Student, weights_of
from xferbench.transfer.referencing import References
from xferbench.transfer.samples import samples

if TYPE_CHECKING:
    from collections.abc import Callable

    from ase import Atoms

MARKERS = ("<!-- train speed -->\n", "<!-- end train speed -->")
SETS = {"MPtrj-like, 25 atoms": mptrj_like, "8 atoms": small}


def labelled(structures: list[Atoms]) -> list[Frame]:
    """Crystals with invented labels of all four kinds."""
    rng = np.random.default_rng(0)
    return [
        Frame(
            frame_id=f"frame-{number}",
            pair_id=f"frame-{number}",
            material_id=f"material-{number}",
            functional=Functional.R2SCAN,
            numbers=atoms.numbers,
            positions=atoms.positions,
            cell=atoms.cell.array,
            energy=-5.0 * len(atoms),
            forces=rng.normal(size=(len(atoms), 3)),
            stress=rng.normal(size=(3, 3)) / 160,
            magmoms=rng.random(len(atoms)),
        )
        for number, atoms in enumerate(structures)
    ]


def ours(frames: list[Frame], batch_size: int) -> Callable[[], None]:
    """An epoch of this package's loop, with graphs, logs and checkpoints, without validation."""
    warm_heap()
    config = make_config(epochs=1, batch_size=batch_size, lr=1e-6, seed=0)

    def epoch() -> None:
        network = load_network(shipped_checkpoint("0.3.0"))
        group = Group(name="network", weights=weights_of(network))
        for name in group.weights:
            network.get_parameter(name).requires_grad_(True)
        student = Student(
            network=network, groups=(group,), references=References(table=np.zeros(N_ELEMENTS), how="", elements=())
        )
        with tempfile.TemporaryDirectory() as directory, flushed_denormals():
            Loop(
                student=student,
                samples=samples(frames),
                validate=lambda _: dict.fromkeys(("energy", "forces", "stress", "magmoms"), 0.0),
                config=config,
                processes=Processes(device=torch.device("cpu")),
                directory=Path(directory),
                max_rows=ROWS_CPU,
                workers=0,
            ).run()

    return epoch


def theirs(frames: list[Frame], batch_size: int) -> Callable[[], None]:
    """An epoch of chgnet's loop on graphs that exist already."""
    from chgnet.model.model import CHGNet
    from chgnet.trainer import Trainer
    from pymatgen.io.ase import AseAtomsAdaptor

    with contextlib.redirect_stdout(io.StringIO()):
        model = CHGNet.load(model_name="0.3.0", use_device="cpu", verbose=False)
    graphs = [model.graph_converter(AseAtomsAdaptor.get_structure(frame.atoms())) for frame in frames]
    trainer = Trainer(
        model,
        targets="efsm",
        energy_loss_ratio=3,
        mag_loss_ratio=1,
        criterion="Huber",
        optimizer="Adam",
        learning_rate=1e-6,
        use_device="cpu",
        print_freq=10**9,
    )
    model.composition_model.requires_grad_(False)
    packs = [range(start, min(start + batch_size, len(frames))) for start in range(0, len(frames), batch_size)]

    def targets(pack: range) -> dict[str, Any]:
        chosen = [frames[i] for i in pack]

        def real(values: object) -> torch.Tensor:
            return torch.as_tensor(np.asarray(values), dtype=torch.float32)

        return {
            "e": real([frame.energy / frame.n_atoms for frame in chosen]),
            "f": [real(frame.forces) for frame in chosen],
            "s": [real(frame.stress * 160.2176634) for frame in chosen],
            "m": [real(frame.magmoms) for frame in chosen],
        }

    def epoch() -> None:
        loader = [([graphs[i] for i in pack], targets(pack)) for pack in packs]
        with contextlib.redirect_stdout(io.StringIO()):
            trainer._train(loader, 0)  # noqa: SLF001 - one epoch without validation

    return epoch


def rates(frames: list[Frame], batch_size: int, repeats: int) -> dict[str, float]:
    """Structures per CPU second of both, the best of alternating epochs; one of each before does not count."""
    tasks = {"Trainer": theirs(frames, batch_size), "xferbench": ours(frames, batch_size)}
    best = dict.fromkeys(tasks, float("inf"))
    for repeat in range(repeats + 1):
        for name, task in tasks.items():
            start = time.process_time()
            task()
            if repeat:
                best[name] = min(best[name], time.process_time() - start)
    return {name: len(frames) / seconds for name, seconds in best.items()}


def table(results: dict[str, dict[str, float]], arguments: argparse.Namespace) -> str:
    """The results as Markdown."""
    lines = ["| crystals | chgnet `Trainer`, per CPU s | `xferbench train`, per CPU s | ratio |", "|---|---|---|---|"]
    lines += [
        f"| {name} | {found['Trainer']:.2f} | {found['xferbench']:.2f} | {found['xferbench'] / found['Trainer']:.2f} |"
        for name, found in results.items()
    ]
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}"
    lines += [
        "",
        f"{arguments.structures} structures, batches of {arguments.batch_size}, {arguments.threads} thread(s), {machine}.",
        "",
    ]
    return "\n".join(lines)


def write(page: Path, text: str) -> None:
    """Put the table between the markers of a page.

    Raises:
        SystemExit: It has none.
    """
    before, found, rest = page.read_text(encoding="utf-8").partition(MARKERS[0])
    _, ended, after = rest.partition(MARKERS[1])
    if not (found and ended):
        raise SystemExit(f"{page} has no markers {MARKERS[0].strip()} and {MARKERS[1]}")
    page.write_text(f"{before}{found}{text}{ended}{after}", encoding="utf-8")


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--structures", type=int, default=48)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--write", type=Path, help="the page to put the table into")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    warnings.filterwarnings("ignore")
    results = {
        name: rates(labelled(make(arguments.structures)), arguments.batch_size, arguments.repeats)
        for name, make in SETS.items()
    }
    print(json.dumps(results, indent=1))
    if arguments.write is not None:
        write(arguments.write, table(results, arguments))


if __name__ == "__main__":
    main()
