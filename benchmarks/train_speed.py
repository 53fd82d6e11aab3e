"""Speed of ``xferbench train`` against chgnet's ``Trainer``: same crystals, labels, batches, weights and threads.

    python benchmarks/train_speed.py [--structures 96] [--batch-size 8] [--threads 1] [--write docs/training.md]

One epoch of each in turn, the least CPU time (user and system) of each counts, after one that warms up. Ours makes its
graphs and writes its log and checkpoint within the epoch, as in the first one of a run, which keeps its graphs; chgnet's are
made before, and nothing is written. Then how long the command takes on ``mini`` until it trains. ``--write`` puts the table
into a page.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import platform
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from chgnet_crystals import mptrj_like, small
from page import put

from xferbench.functionals import Functional
from xferbench.models.hardware import flushed_denormals, warm_heap
from xferbench.records import PROPERTIES, Frame
from xferbench.transfer import make_config
from xferbench.transfer.data import GraphStore, TrainingData, samples
from xferbench.transfer.logs import read_rows
from xferbench.transfer.run import TIMING
from xferbench.transfer.runner import Processes, Runner
from xferbench.transfer.strategies import Start, build
from xferbench.transfer.training import MAX_COST

if TYPE_CHECKING:
    from collections.abc import Callable

    from ase import Atoms

COMMAND = ("train", "mini", "--references", "fit", "--offline")
SETS = {"MPtrj-like, 25 atoms": mptrj_like, "8 atoms": small}


def labelled(structures: list[Atoms]) -> list[Frame]:
    """Crystals with invented labels of all four kinds."""
    rng = np.random.default_rng(0)
    return [
        Frame(
            frame_id=f"frame-{number}",
            pair_id=f"frame-{number}",
            material_id=f"material-{number}",
            functional=Functional("r2SCAN"),
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


def ours(frames: list[Frame], batch_size: int, epochs: int, directory: Path, between: Callable[[], None]) -> None:
    """Epochs of this package's loop, with graphs, logs and checkpoints; validation is left to ``between``.

    Args:
        frames: To learn from.
        batch_size: Of them.
        epochs: How many.
        directory: Of the run.
        between: Is called before, between and after epochs.
    """
    config = make_config(references="source", epochs=epochs, batch_size=batch_size, lr=1e-6)
    learned, device = TrainingData(pairs=(), frames=frames), torch.device("cpu")
    start = Start(
        config=config,
        data=learned,
        reference_data=learned,
        graphs=lambda model: GraphStore(model, 0),
        device=device,
    )
    transfer = build(start)

    def validate(_: object) -> dict[str, float]:
        between()
        return dict.fromkeys(PROPERTIES, 0.0)

    warm_heap()
    with flushed_denormals():
        Runner(
            transfer=transfer,
            samples=samples(frames, transfer.model),
            graphs=start.graphs,
            validate=validate,
            config=config,
            processes=Processes(device=device),
            directory=directory,
            max_cost=MAX_COST["cpu"],
            workers=0,
        ).run()


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """Of both on the same crystals.

    Attributes:
        trainer: Structures per CPU second of chgnet's ``Trainer``, in its best epoch.
        xferbench: Of this package.
        waiting: Part of our time in which the network waits for its next batch.
    """

    trainer: float
    xferbench: float
    waiting: float


def speed(frames: list[Frame], batch_size: int, repeats: int) -> Speed:
    """Epochs of both in turn; the first one of each does not count."""
    their_epoch = theirs(frames, batch_size)
    their_seconds, our_seconds, since = [], [], [0.0]

    def between() -> None:
        start = time.process_time()
        our_seconds.append(start - since[0])
        their_epoch()
        since[0] = time.process_time()
        their_seconds.append(since[0] - start)

    with tempfile.TemporaryDirectory() as directory:
        ours(frames, batch_size, repeats + 1, Path(directory), between)
        timing = read_rows(Path(directory) / TIMING)[1:]
    # what ours counts before its first epoch is no epoch, and what follows warms up
    return Speed(
        trainer=len(frames) / min(their_seconds[1:]),
        xferbench=len(frames) / min(our_seconds[2:]),
        waiting=min(row["waiting_for_data"] for row in timing),
    )


def fixed_cost() -> dict[str, float]:
    """Seconds from the command to the first training step on ``mini``: the first time ever, and with the data set there."""
    with tempfile.TemporaryDirectory() as place:
        return {name: _until_first_step(Path(place), name) for name in ("data set not prepared", "data set prepared")}


def _until_first_step(place: Path, name: str) -> float:
    """Seconds until the errors of the untrained model are logged; then the run is stopped.

    Raises:
        SystemExit: The command failed.
    """
    log = place / name / "log.csv"
    command = [sys.executable, "-c", "from xferbench.cli import run; run()", *COMMAND, "-o", str(log.parent)]
    start = time.perf_counter()
    process = subprocess.Popen(command, env={**os.environ, "XFERBENCH_CACHE": str(place)}, stderr=subprocess.DEVNULL)
    while not (log.exists() and log.read_text().count("\n") > 1):
        if process.poll() is not None:
            raise SystemExit(f"xferbench {' '.join(COMMAND)} ended with exit code {process.returncode}")
        time.sleep(0.01)
    seconds = time.perf_counter() - start
    process.kill()
    process.wait()
    return seconds


def table(speeds: dict[str, Speed], costs: dict[str, float], arguments: argparse.Namespace) -> str:
    """The results as Markdown."""
    lines = [
        "| crystals | chgnet `Trainer`, per CPU s | `xferbench train`, per CPU s | ratio | waiting for data |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {found.trainer:.2f} | {found.xferbench:.2f} | {found.xferbench / found.trainer:.2f} "
        f"| {100 * found.waiting:.1f} % |"
        for name, found in speeds.items()
    ]
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}"
    until = " and ".join(f"{seconds:.1f} s ({name})" for name, seconds in costs.items())
    return "\n".join(
        [
            *lines,
            "",
            f"{arguments.structures} structures, batches of {arguments.batch_size}, {arguments.threads} thread(s), {machine}.",
            f"From the command to the first step on `mini`: {until}.",
            "",
        ]
    )


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--structures", type=int, default=96)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--write", type=Path, help="the page to put the table into")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    warnings.filterwarnings("ignore")
    costs = fixed_cost()
    speeds = {
        name: speed(labelled(make(arguments.structures)), arguments.batch_size, arguments.repeats)
        for name, make in SETS.items()
    }
    text = table(speeds, costs, arguments)
    print(text, end="")
    if arguments.write is not None:
        put(arguments.write, "train speed", text)


if __name__ == "__main__":
    main()
