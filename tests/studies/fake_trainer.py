"""Runs in a blink: the directory that training leaves, with errors that fall with data in a known way."""

from __future__ import annotations

import os
import time
from pathlib import Path

from xferbench.dataset import Dataset
from xferbench.errors import DataError
from xferbench.records import Prediction, Predictions
from xferbench.storage import write_json, write_text
from xferbench.studies.measuring import training_size
from xferbench.tables import predictions_table, write_table

LAWS = {"scratch+fit": (2.0, 0.6), "finetune+fit": (0.4, 0.3), "finetune+source": (4.0, 0.6)}
"""Method -> prefactor and exponent of its error."""

SECONDS = {"scratch+fit": 3.0, "finetune+fit": 4.0}
"""Method -> seconds of an epoch but the first; the third trains nothing."""


def error(method, n_training, seed):
    """Of every energy per atom and every component, but for its sign."""
    prefactor, exponent = LAWS[method]
    return prefactor * n_training**-exponent * (1 + 0.1 * (seed - 1))


def predicted(frame, size):
    sign = 1.0 if sum(map(ord, frame.frame_id)) % 2 else -1.0
    return Prediction(
        frame_id=frame.frame_id,
        energy=frame.energy + sign * size * frame.n_atoms,
        forces=frame.forces + size,
        stress=frame.stress - size,
        magmoms=None if frame.magmoms is None else frame.magmoms + size,
    )


def train(work):
    """What ``transfer.train`` does, as far as a study can see."""
    out, dataset = Path(work.out), Dataset.open(Path(work.dataset))
    with (Path(work.dataset).parent / "trained.txt").open("a") as stream:
        stream.write(f"{work.method} {work.config['subset']} {work.config['seed']} {os.getpid()}\n")
    if work.method not in LAWS:
        raise DataError(f"{work.method} needs the energies of atoms")
    size = error(work.method, training_size(dataset, work.config["subset"]), work.config["seed"])
    records = [predicted(frame, size) for frame in dataset.frames("target", "test")]
    write_table(out / "predictions" / "test.parquet", predictions_table(Predictions(records=records, settings={})))
    write_json(out / "run.json", {"method": work.method, "config": dict(work.config)})
    errors = dict.fromkeys(("energy", "forces", "stress", "magmoms"), 2 * size)
    header = f"epoch,step,{','.join(f'val_{name}' for name in errors)}\n"
    rows = [f"{epoch},{2 * epoch}," + ",".join(f"{value * factor:.6f}" for value in errors.values())
            for epoch, factor in enumerate((8, 4, 2, 1, 1.5))]  # fmt: skip
    write_text(out / "log.csv", header + "\n".join(rows) + "\n")
    if work.method in SECONDS:
        write_text(out / "timing.csv", f"epoch,seconds\n1,{10 * SECONDS[work.method]}\n2,{SECONDS[work.method]}\n")
    known = dict.fromkeys(("energy_aligned", "forces", "stress"), 0.1)
    before = None if work.method == "scratch+fit" else known
    after = {name: value + 0.01 * (1 + work.config["seed"]) for name, value in known.items()}
    write_json(out / "evaluation.json", {"best_epoch": 3, "source_test": after, "source_test_before": before})


def train_or_die(work):
    """Killed from outside in the middle of the second seed."""
    if work.config["seed"] == 1:
        os._exit(9)
    train(work)


def threads(work):
    """Write down what the process may use."""
    train(work)
    write_text(Path(work.dataset).parent / "threads.txt", os.environ["OMP_NUM_THREADS"])


def train_for_ever(work):
    """Say that it began; what comes then has to be ended from outside."""
    Path(work.out).mkdir(parents=True)
    time.sleep(3600)
