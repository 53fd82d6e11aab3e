"""What predicting costs besides the model: memory of the run and time per structure, with a model that does nothing.

    python benchmarks/predict_scale.py [--sizes 10000 100000 1000000] [--sandbox process] [--write docs/scale.md]

Each size runs in a process of its own, whose highest memory the system reports. Structures are made when they are asked for, as
a memory-mapped table would make them; they have 8 atoms. The model answers zeros.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from xferbench import predict, tables
from xferbench.functionals import Functional
from xferbench.models import parse_spec
from xferbench.predict import sandbox
from xferbench.records import Frame

BEGIN, END = "<!-- predict_scale begin -->", "<!-- predict_scale end -->"

MODEL = """
import numpy as np

FUNCTIONAL = "PBE"


def predict(structures):
    return [{"energy": 0.0, "forces": np.zeros((len(a), 3)), "stress": np.zeros((3, 3))} for a in structures]
"""

N_ATOMS = 8


class Frames(Sequence[Frame]):
    """Frames that are made when they are asked for."""

    def __init__(self, n: int) -> None:
        self._n = n
        self._positions = np.random.default_rng(0).normal(size=(N_ATOMS, 3))

    def __len__(self) -> int:
        """How many there are."""
        return self._n

    def __getitem__(self, index: int) -> Frame:  # type: ignore[override] # never sliced
        """One of them."""
        return Frame(
            frame_id=f"frame-{index:09d}",
            pair_id="",
            material_id="",
            functional=Functional("PBE"),
            numbers=np.full(N_ATOMS, 3 + index % 80),
            positions=self._positions + index * 1e-9,
            cell=np.eye(3) * 6.0,
        )


def measure(n: int, mode: str) -> dict[str, float]:
    """Predict ``n`` structures in this process.

    Returns:
        Seconds in all, processor seconds of the run and of the model's process, the memory of the run at its highest in MB.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "null.py").write_text(MODEL)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.perf_counter()
        predict.run(
            parse_spec(str(folder / "null.py")),
            Frames(n),
            folder / "out" / "null.parquet",
            settings={},
            options=predict.Options(threads=1, sandbox=sandbox.Options(mode=mode)),
        )
        seconds = time.perf_counter() - start
        rows = sum(table.num_rows for table in tables.read_batches(folder / "out" / "null.parquet", ["frame_id"]))
        size = (folder / "out" / "null.parquet").stat().st_size
    if rows != n:
        raise SystemExit(f"{rows} predictions for {n} structures")
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu = [usage.ru_utime + usage.ru_stime for usage in used]
    unit = 1e6 if sys.platform == "darwin" else 1e3
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "n": n,
        "seconds": seconds,
        "run_cpu": cpu[0],
        "model_cpu": cpu[1],
        "peak_mb": peak / unit,
        "start_mb": before / unit,
        "file_mb": size / 1e6,
    }


def report(rows: Sequence[dict[str, float]], mode: str) -> str:
    """The table of docs/scale.md."""
    lines = [
        "| structures | seconds | processor seconds: run | model's process | memory of the run | file |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['n']:,.0f} | {row['seconds']:.1f} | {row['run_cpu']:.1f} | {row['model_cpu']:.1f} | {row['peak_mb']:.0f} MB | {row['file_mb']:.1f} MB |"
        for row in rows
    ]
    if len(rows) > 1:
        first, last = rows[0], rows[-1]
        wall, run, model = (
            1e6 * (last[name] - first[name]) / (last["n"] - first["n"]) for name in ("seconds", "run_cpu", "model_cpu")
        )
        text = (
            f"Each further structure of {N_ATOMS} atoms costs {run:.0f} µs of processor time in the run and {model:.0f} µs in the"
            f" model's process, the null model included; {wall:.0f} µs of wall time on this machine, shared or not."
        )
        lines += ["", text]
    lines += [
        "",
        f"{os.cpu_count()} cores, {platform.machine()}, one worker, sandbox `{mode}`; load of the machine: {os.getloadavg()[0]:.1f}.",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure each size in a process of its own, and print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--sandbox", default="process")
    parser.add_argument("--write", type=Path)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one is not None:
        print(json.dumps(measure(arguments.one, arguments.sandbox)))
        return
    rows = []
    for n in arguments.sizes:
        command = [sys.executable, __file__, "--one", str(n), "--sandbox", arguments.sandbox]
        rows.append(
            json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
        )
        print(rows[-1], file=sys.stderr)
    text = report(rows, arguments.sandbox)
    print(text)
    if arguments.write is not None:
        page = arguments.write.read_text()
        head, _, rest = page.partition(BEGIN)
        arguments.write.write_text(f"{head}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
