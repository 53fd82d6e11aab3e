"""How long `xferbench score predictions.parquet` takes on MatPES-shaped data: the whole command, python benchmarks/score_scale.py.

    python benchmarks/score_scale.py --pairs 10000 100000 400000 --write docs/performance.md

For each size a data set is built, with that many pairs in test and 20,000 in train, of which the task calibrates on its default
number: 25 atoms a structure, two structures a material, compositions of two to four of 89 elements, energies, forces, stresses and
moments of both functionals, invented. Then the command runs in a process of its own, twice: first with the floors, which are kept
beside the data set, then as every further model. Wall and processor seconds and the peak of resident memory are the operating
system's. Floors of speed: 100,000 pairs in 60 s and 2 GiB, 400,000 in 4 min and 4 GiB, on two cores.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from page import put

from xferbench import dataset as datasets
from xferbench.functionals import Functional, Pair
from xferbench.records import Geometry, SourceDataset, SplitRule
from xferbench.scoring import expected_frames
from xferbench.sources.stream import FrameStream
from xferbench.tables import flat_table
from xferbench.tasks import read_task, tasks_directory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

ATOMS, PER_MATERIAL, ELEMENTS = 25, 2, 89
TRAIN, VALIDATION = 20_000, 200
BATCH = 2_000
GIB = 2**30
FUNCTIONALS = (Functional("PBE"), Functional("r2SCAN"))


class Cost(NamedTuple):
    """Of one run of the command."""

    wall: float
    cpu: float
    gib: float


def tables(count: int) -> Iterator[pa.Table]:
    """Frames of both functionals of many pairs."""
    for start in range(0, count, BATCH):
        n = min(BATCH, count - start)
        stream = np.random.default_rng([0, start])
        index = np.arange(start, start + n)
        material = index // PER_MATERIAL
        numbers = np.concatenate([_numbers(int(item)) for item in material])
        lengths = np.full(n, ATOMS)
        cell = np.eye(3) * 7.3 * (1 + 0.05 * stream.standard_normal((n, 1, 1)))
        positions = stream.random((n * ATOMS, 3)) * 7.3
        texts = {
            "pair_id": [f"p{item:08d}" for item in index.tolist()],
            "material_id": [f"m{item:07d}" for item in material.tolist()],
        }
        moments = np.abs(stream.normal(0, 1, n * ATOMS)) * (numbers > 20)
        energy = np.zeros(n)
        forces, stress = stream.normal(0, 1.0, (n * ATOMS, 3)), stream.normal(0, 0.05, (n, 3, 3))
        for number, functional in enumerate(FUNCTIONALS):
            energy = energy + (-3.0 - 0.1 * number) * numbers.reshape(n, ATOMS).sum(axis=1) / 10
            energy = energy + ATOMS * stream.normal(0, 0.05, n)
            forces, stress = 1.02 * forces + stream.normal(0, 0.05, forces.shape), 1.02 * stress
            columns = {
                "frame_id": [f"{item}-{functional}" for item in texts["pair_id"]],
                **texts,
                "functional": [str(functional)] * n,
                "numbers": numbers,
                "positions": positions,
                "cell": cell,
                "pbc": np.ones((n, 3), dtype=bool),
                "energy": energy,
                "forces": forces,
                "stress": (stress + stress.transpose(0, 2, 1)) / 2,
                "magmoms": moments * (1 + 0.1 * number),
                "provenance": ["{}"] * n,
            }
            yield flat_table(columns, lengths, has_magmoms=np.ones(n, dtype=bool))


def _numbers(material: int) -> NDArray[np.int64]:
    stream = np.random.RandomState(material)
    elements = stream.choice(np.arange(1, ELEMENTS + 1), size=stream.randint(2, 5), replace=False)
    return np.sort(np.concatenate([elements, stream.choice(elements, ATOMS - len(elements))]))


def make(directory: Path, n_test: int) -> tuple[Path, Path, Path]:
    """Build a data set, a task on it and predictions for the task.

    Returns:
        Their paths.
    """
    total = n_test + TRAIN + VALIDATION
    source = SourceDataset(
        name="matpes",
        version="like",
        title="MatPES-shaped",
        licence="none",
        citation="none",
        card="Invented.",
        geometry=Geometry.SAME_GEOMETRY,
        split=SplitRule(
            salt="scale", fractions=(TRAIN / total, VALIDATION / total, n_test / total), group="invented material"
        ),
        frames=FrameStream(read=lambda: tables(total)),
        functionals=Pair(source=FUNCTIONALS[:1], target=FUNCTIONALS[1:]),
    )
    data = datasets.build(source, directory / "data")
    text = (tasks_directory() / "mini-static.toml").read_text()
    old = read_task(tasks_directory() / "mini-static.toml")
    task = directory / "scale.toml"
    text = text.replace('id = "mini-static"', 'id = "scale"').replace('dataset = "mini"', 'dataset = "matpes"')
    task.write_text(text.replace(old.fingerprint, data.fingerprint))
    predictions = directory / "predictions.parquet"
    _predict(predictions, data, task)
    return data.directory, task, predictions


def _predict(path: Path, data: datasets.Dataset, task: Path) -> None:
    expected = expected_frames(read_task(task), data, structures=False)
    stream = np.random.default_rng(1)
    sides = [part.target for part in (expected.test, expected.calibration)]
    with pq.ParquetWriter(path, _SCHEMA) as writer:
        for side in sides:
            for start in range(0, len(side), BATCH):
                part = side.take(np.arange(start, min(start + BATCH, len(side))))
                values, offsets = part.values, pa.array(part.numbers.offsets.astype(np.int32))
                forces = 0.9 * values.forces.values + stream.normal(0, 0.1, values.forces.values.shape)
                sums = np.add.reduceat(part.numbers.values, part.numbers.offsets[:-1])
                stress = values.stress.values.ravel() + stream.normal(0, 0.01, values.stress.values.size)
                columns = [
                    pa.array(part.frame_id.tolist()),
                    pa.array(values.energy + 0.05 * sums + stream.normal(0, 0.05, len(part)) * ATOMS),
                    pa.ListArray.from_arrays(offsets, pa.FixedSizeListArray.from_arrays(pa.array(forces.ravel()), 3)),
                    pa.FixedSizeListArray.from_arrays(pa.FixedSizeListArray.from_arrays(pa.array(stress), 3), 3),
                    pa.ListArray.from_arrays(offsets, pa.array(values.magmoms.values * 0.9)),
                ]
                writer.write_table(pa.table(columns, schema=_SCHEMA))


_VECTOR = pa.list_(pa.float64(), 3)
_SCHEMA = pa.schema(
    [
        ("frame_id", pa.string()),
        ("energy", pa.float64()),
        ("forces", pa.list_(_VECTOR)),
        ("stress", pa.list_(_VECTOR, 3)),
        ("magmoms", pa.list_(pa.float64())),
    ]
)


def command(data: Path, task: Path, predictions: Path, out: Path) -> Cost:
    """Run the command once."""
    code = "import sys; from xferbench.cli import main; sys.exit(main())"
    arguments = ["score", str(predictions), "--task", str(task), "--dataset", str(data), "--out", str(out)]
    arguments += ["--functional", "r2SCAN", "--model-id", "scale"]
    began = time.perf_counter()
    pid = os.posix_spawn(sys.executable, [sys.executable, "-c", code, *arguments], os.environ)
    _, status, usage = os.wait4(pid, 0)
    if status:
        raise SystemExit(f"the command ended with {os.waitstatus_to_exitcode(status)}")
    return Cost(time.perf_counter() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / GIB)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--pairs", type=int, nargs="+", default=[10_000, 100_000, 400_000])
    parser.add_argument("--directory", type=Path, help="where to work; a temporary one if not given")
    parser.add_argument("--write", type=Path, help="the page to put the table into")
    arguments = parser.parse_args()
    lines = [
        "| test pairs | run | wall s | CPU s | ms per pair | peak GiB |",
        "|---:|---|---:|---:|---:|---:|",
    ]
    print("\n".join(lines), flush=True)
    for n in arguments.pairs:
        work = Path(tempfile.mkdtemp(dir=arguments.directory))
        try:
            data, task, predictions = make(work, n)
            for run in ("first model, with the floors", "every further model"):
                cost = command(data, task, predictions, work / "out")
                lines.append(
                    f"| {n:,} | {run} | {cost.wall:.1f} | {cost.cpu:.1f} | {1000 * cost.wall / n:.2f} | {cost.gib:.2f} |"
                )
                print(lines[-1], flush=True)
        finally:
            shutil.rmtree(work)
    if arguments.write:
        load = os.getloadavg()[2]
        about = (
            f"`python benchmarks/score_scale.py --pairs {' '.join(map(str, arguments.pairs))}`, Python "
            f"{platform.python_version()} on {platform.machine()}, {os.cpu_count()} cores, load average {load:.1f} over the "
            "last 15 minutes."
        )
        put(arguments.write, "score", "\n".join([about, "", *lines]))


if __name__ == "__main__":
    main()
