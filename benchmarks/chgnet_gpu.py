"""The CHGNet engine on a CUDA GPU: its numbers, its speed, and how much of the GPU it uses.

    python benchmarks/chgnet_gpu.py [--structures N] [--device cuda]

Prints JSON; ``chgnet_report.py gpu`` writes the tables of ``docs/performance.md``. Needs a GPU, chgnet and its weights.

- parity: engine on the GPU against the engine in double precision on the CPU, in all precisions.
- speed: structures per second of wall time, graph building included, against chgnet's ASE calculator on the same GPU.
- roofline: time of the network alone, bytes and floating-point operations it needs at least, and what share of the GPU's
  measured copy bandwidth and single-precision matrix product rate that is. The larger share is the roofline fraction.
- utilisation: share of time a kernel runs, from torch's profiler.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
import time
import warnings
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from chgnet_crystals import mptrj_like, sensible, small
from chgnet_parity import LIMITS, deviations, in_reference_units

from xferbench.models.chgnet.checkpoint import load_engine

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ase import Atoms

    from xferbench.models.chgnet.batch import Batch
    from xferbench.models.chgnet.engine import CHGNetEngine

PRECISIONS = ("float32", "tf32", "bf16", "float64")
BUDGETS = [1 << power for power in (15, 17, 19, 20, 21)]
"""Rows of a batch that are tried."""

LOOP = 64
"""Structures of the ASE loop, which is slow."""


def wall(task: Callable[[], object], repeats: int = 3) -> float:
    """Least seconds of a task after one run that does not count, GPU included."""
    best = float("inf")
    for repeat in range(repeats + 1):
        torch.cuda.synchronize()
        start = time.perf_counter()
        task()
        torch.cuda.synchronize()
        if repeat:
            best = min(best, time.perf_counter() - start)
    return best


def parity(device: str) -> dict[str, Any]:
    """Largest deviation from double precision on the CPU, and how many structures exceed a limit, by precision."""
    structures = sensible(300, seed=60)
    exact = load_engine("0.3.0", precision="float64", isolated="allow").predict(structures)
    results = {}
    for precision in PRECISIONS:
        found = load_engine("0.3.0", device, precision=precision, isolated="allow").predict(structures)
        rows = [
            deviations(*(in_reference_units(result, len(atoms)) for result in pair))
            for atoms, *pair in zip(structures, found, exact, strict=True)
        ]
        results[precision] = {
            name: {"max": max(row[name] for row in rows), "beyond": sum(row[name] > limit for row in rows)}
            for name, limit in LIMITS.items()
        }
    return results


def speed(device: str, n: int) -> dict[str, Any]:
    """Structures per second of chgnet's calculator and of the engine, by precision and by rows of a batch."""
    engine = load_engine("0.3.0", device)
    engines = {f"engine, {rows} rows": replace(engine, max_rows=rows) for rows in BUDGETS}
    engines["engine, graphs not ahead"] = replace(engine, ahead=0)
    for precision in ("tf32", "bf16"):
        engines[f"engine, {precision}"] = load_engine("0.3.0", device, precision=precision)
    results = {}
    for name, structures in {"MPtrj-like": mptrj_like(n), "small": small(n)}.items():
        rates = {"ASE calculator loop": LOOP / wall(_loop(structures[:LOOP], device), repeats=1)}
        for path, candidate in engines.items():
            rates[path] = n / wall(partial(candidate.predict, structures))
        results[name] = rates
    return results


def _loop(structures: Sequence[Atoms], device: str) -> Callable[[], None]:
    from chgnet.model.dynamics import CHGNetCalculator

    with contextlib.redirect_stdout(io.StringIO()):
        calculator = CHGNetCalculator(use_device=device)

    def run() -> None:
        for atoms in structures:
            calculator.calculate(atoms)

    return run


def roofline(device: str, n: int) -> dict[str, float]:
    """Time of the network on one full batch, against what the GPU could do."""
    engine = load_engine("0.3.0", device)
    batch, structures = _full_batch(engine, n)
    seconds = wall(lambda: engine.network(batch))
    torch.cuda.reset_peak_memory_stats()
    engine.network(batch)
    peak = torch.cuda.max_memory_allocated()
    operations, traffic = least_work(batch)
    bandwidth, products = _bandwidth(device), _product_rate(device)
    return {
        "structures": structures,
        "atoms": len(batch.numbers),
        "rows": 2 * len(batch.center) + batch.n_angles,
        "milliseconds": 1e3 * seconds,
        "peak GiB": peak / 2**30,
        "GFLOP": operations / 1e9,
        "least GB moved": traffic / 1e9,
        "copy bandwidth, GB/s": bandwidth / 1e9,
        "product rate, TFLOP/s": products / 1e12,
        "share of product rate": operations / seconds / products,
        "share of bandwidth": traffic / seconds / bandwidth,
        "utilisation": _utilisation(engine, batch),
    }


def least_work(batch: Batch, width: int = 64) -> tuple[float, float]:
    """Floating-point operations of the matrix products on bonds and angles, forward and back, and bytes moved at least.

    A layer on rows of directed bonds or angles reads its inputs once, writes its messages once, and the same on the way
    back, with everything else kept on the chip: four arrays of ``width`` single-precision numbers per row and layer.
    Atom convolutions have one product of ``width`` squared for core and gate each (the first layer acts on atoms and bonds);
    bond convolutions two, angle updates one.
    """
    bonds, angles = 2 * len(batch.center), batch.n_angles
    products = 4 * bonds * 2 + 3 * angles * 4 + 2 * angles * 2
    layers = 4 * bonds + 5 * angles
    # forward, and once more on the way back, where only inputs want a derivative
    return 2.0 * 2 * products * width**2, 4.0 * 4 * layers * width


def _full_batch(engine: CHGNetEngine, n: int) -> tuple[Batch, int]:
    structures = mptrj_like(n)
    pack = next(engine._packs(structures, range(n)))  # noqa: SLF001 - the batch that predict would make
    return engine._batch([structures[index] for index in pack]), len(pack)  # noqa: SLF001 - see above


def _bandwidth(device: str) -> float:
    """Bytes per second of a copy on the device, read and written."""
    array = torch.empty(1 << 28, device=device)
    other = torch.empty_like(array)
    return 2 * array.numel() * array.element_size() / wall(lambda: other.copy_(array), repeats=10)


def _product_rate(device: str) -> float:
    """Single-precision operations per second of a large matrix product."""
    a, b = (torch.randn(8192, 8192, device=device) for _ in range(2))
    return 2 * 8192**3 / wall(lambda: a @ b, repeats=5)


def _utilisation(engine: CHGNetEngine, batch: Batch) -> float:
    """Share of the time of a few passes in which a kernel runs."""
    from torch.profiler import ProfilerActivity, profile

    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        start = time.perf_counter()
        for _ in range(5):
            engine.network(batch)
        torch.cuda.synchronize()
        seconds = time.perf_counter() - start
    busy = sum(event.self_device_time_total for event in profiler.key_averages())
    return float(busy / 1e6 / seconds)


def main() -> None:
    """Run everything and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--structures", type=int, default=4096)
    parser.add_argument("--device", default="cuda")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("this torch sees no CUDA GPU")
    warnings.filterwarnings("ignore")
    device = arguments.device
    print(
        json.dumps(
            {
                "gpu": torch.cuda.get_device_name(device),
                "parity": parity(device),
                "speed": speed(device, arguments.structures),
                "roofline": roofline(device, arguments.structures),
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
