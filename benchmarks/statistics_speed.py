"""How long all metrics with clustered resamples take, and how that grows: python benchmarks/statistics_speed.py.

Synthetic arrays of 25 atoms per structure and two structures per material go through ``scoring.measuring.measure``, the
code that scores a task: every metric of ``METRICS`` on every quantity, one pass over one resample plan. The reference is
the loop that the formulas would suggest: for each resample gather the rows of the drawn materials and compute each metric
anew; it is run for a few resamples and its time scaled to the full number.

CPU seconds are those of the process, all threads together; the peak is of the process so far.
"""

from __future__ import annotations

import argparse
import resource
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from xferbench.functionals import Pair
from xferbench.measure import METRICS, Sample
from xferbench.records import PROPERTIES
from xferbench.scoring.measuring import measure
from xferbench.tasks import Bootstrap, Task
from xferbench.tasks.rows import Rows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    Keyed = Mapping[tuple[str, str], Rows]

ATOMS = 25
PER_MATERIAL = 2
GIB = 2**30


def task(n_resamples: int) -> Task:
    """A task with every metric there is."""
    return Task(
        id="synthetic",
        version=1,
        title="",
        description="",
        dataset="",
        fingerprint="",
        functionals=Pair(source=("PBE",), target=("r2SCAN",)),
        side="target",
        split="test",
        calibration="train",
        properties=PROPERTIES,
        main="energy_mae/aligned",
        bootstrap=Bootstrap(n=n_resamples, seed=0, confidence=0.95),
        citation="",
    )


def rows(n: int) -> Keyed:
    """Rows of every quantity for n structures, with skewed errors."""
    stream = np.random.default_rng(0)
    frames = np.arange(n)
    atoms = np.repeat(frames, ATOMS)
    energy = sample(stream, frames, n, 1)
    forces = sample(stream, atoms, n, 3)
    stress = sample(stream, frames, n, 9)
    magmoms = sample(stream, atoms, n, 1)
    per_quantity = {
        "energy": energy,
        "differences": replace(energy, weight=stream.uniform(0.1, 1.0, n)),
        "ground": sample(stream, frames[::PER_MATERIAL], n, 1),
        "forces": forces,
        "all_forces": forces,
        "stress": stress,
        "all_stress": stress,
        "magmoms": magmoms,
        "gap": energy,
        "force_gap": forces,
        "stress_gap": stress,
    }
    return {
        (metric.quantity, reference): Rows(per_quantity[metric.quantity], np.ones(n, dtype=bool))
        for metric in METRICS.values()
        for reference in metric.references
    }


def sample(stream: np.random.Generator, frame: NDArray[np.int64], n: int, width: int) -> Sample:
    """Normal labels; errors whose size is drawn for each row from an exponential law."""
    label = stream.standard_normal((len(frame), width))
    size = stream.standard_exponential((len(frame), 1))
    return Sample(
        prediction=label + 0.1 * size * stream.standard_normal(label.shape),
        label=label,
        frame=frame,
        n_frames=n,
        baseline=0.9 * label if width != 3 else None,
    )


def naive(keyed: Keyed, asked: Task, material: NDArray[np.int64], n_resamples: int) -> None:
    """The loop over resamples: gather rows, compute each metric anew."""
    stream = np.random.RandomState(0)
    n = int(material.max()) + 1
    for _ in range(n_resamples):
        drawn = stream.randint(0, n, n)
        frames = (drawn[:, None] * PER_MATERIAL + np.arange(PER_MATERIAL)).ravel()
        gathered = {id(item.sample): gather(item.sample, frames) for item in keyed.values() if item.sample}
        for metric in asked.metrics:
            known = METRICS[metric.name]
            if known.resampled:
                known.value(gathered[id(keyed[known.quantity, metric.reference].sample)])


def gather(source: Sample, frames: NDArray[np.int64]) -> Sample:
    """The rows of drawn frames, as often as they were drawn."""
    count = np.bincount(source.frame, minlength=source.n_frames)
    start = np.concatenate([[0], np.cumsum(count)])[frames]
    index = np.repeat(start - np.concatenate([[0], np.cumsum(count[frames])[:-1]]), count[frames])
    index = index + np.arange(len(index))
    return Sample(
        prediction=source.prediction[index],
        label=source.label[index],
        frame=np.repeat(np.arange(len(frames)), count[frames]),
        n_frames=len(frames),
        baseline=None if source.baseline is None else source.baseline[index],
        weight=None if source.weight is None else source.weight[index],
    )


def timed(job: Callable[[], object]) -> tuple[float, float]:
    """CPU and wall seconds of a job."""
    cpu, wall = time.process_time(), time.perf_counter()
    job()
    return time.process_time() - cpu, time.perf_counter() - wall


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--structures", type=int, nargs="+", default=[50_000, 100_000, 200_000, 400_000])
    parser.add_argument("--resamples", type=int, default=2000)
    parser.add_argument("--naive-resamples", type=int, default=2)
    arguments = parser.parse_args()
    asked = task(arguments.resamples)
    print(f"{len(asked.metrics)} metrics, {arguments.resamples} resamples\n")
    print("| structures | atoms | materials | CPU s | wall s | loop, CPU s | ratio | peak GiB |")
    print("|---:|---:|---:|---:|---:|---:|---:|---:|")
    for n in arguments.structures:
        keyed = rows(n)
        material = np.arange(n) // PER_MATERIAL
        materials = [f"m{number:07d}" for number in material.tolist()]
        cpu, wall = timed(partial(measure, asked, keyed, materials))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB
        loop, _ = timed(partial(naive, keyed, asked, material, arguments.naive_resamples))
        loop *= arguments.resamples / arguments.naive_resamples
        print(
            f"| {n:,} | {n * ATOMS:,} | {n // PER_MATERIAL:,} | {cpu:.1f} | {wall:.1f} | {loop:,.0f} | {loop / cpu:.0f} | {peak:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
