"""How fast and in how much memory `prepare` turns MatPES-shaped files into a data set, against the usual route.

    nice python benchmarks/prepare_scale.py --sizes 10000 100000 --write docs/performance.md

Each run is a process of its own: records per second of wall and of processor time, and the largest resident memory. A
record is one document of one functional. The usual route reads the same two files with `json.load` (and, as a second way,
`monty.serialization.loadfn`) into pymatgen structures, and stops there: nothing is checked, paired, split or written. It
keeps everything in memory, so it is measured on the smallest size only.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from matpes_like import write

ROOT = Path(__file__).resolve().parent.parent
HEADING = "## Preparing data sets"

PREPARE = """
from pathlib import Path
import sys
from xferbench import dataset
dataset.prepare("matpes", Path(sys.argv[2]) / "prepared", paths=[Path(sys.argv[1])])
"""
VERIFY = """
from pathlib import Path
import sys
from xferbench import dataset
dataset.verify(Path(sys.argv[2]) / "prepared")
"""
READ = """
from pathlib import Path
import sys
from xferbench.sources import matpes
for frame in matpes.load(paths=[Path(sys.argv[1])]).frames:
    pass
"""
USUAL_JSON = """
from pathlib import Path
import gzip, json, sys
from pymatgen.core import Structure
kept = []
for path in sorted(Path(sys.argv[1]).iterdir()):
    with gzip.open(path) as stream:
        documents = json.load(stream)
    kept += [(document, Structure.from_dict(document["structure"])) for document in documents]
"""
USUAL_MONTY = """
from pathlib import Path
import sys
from monty.serialization import loadfn
kept = [document for path in sorted(Path(sys.argv[1]).iterdir()) for document in loadfn(path)]
"""
STEPS = {"`xferbench prepare`": PREPARE, "`xferbench prepare --check`": VERIFY, "its reading of documents alone": READ}
USUAL = {"`json.load`, `Structure.from_dict`": USUAL_JSON, "`monty.loadfn`": USUAL_MONTY}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One measured process: seconds of wall clock and of processor, and peak resident memory in MB."""

    step: str
    records: int
    wall: float
    processor: float
    memory: float


def measure(step: str, code: str, records: int, source: Path, target: Path) -> Run:
    """Run code in a process of its own, with its children.

    Raises:
        SystemExit: It failed.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    started = time.perf_counter()
    command = [sys.executable, "-c", code, str(source), str(target)]
    child = os.spawnve(os.P_NOWAIT, sys.executable, command, environment)  # noqa: S606 - for the usage of this child alone
    _, status, usage = os.wait4(child, 0)
    wall = time.perf_counter() - started
    if status:
        raise SystemExit(f"{step} failed on {records} records")
    memory = usage.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
    return Run(step=step, records=records, wall=wall, processor=usage.ru_utime + usage.ru_stime, memory=memory)


def measure_size(count: int, *, with_usual: bool, scratch: Path) -> list[Run]:
    """Generate files of about ``2 * count`` records and measure every step on them."""
    with tempfile.TemporaryDirectory(dir=scratch) as place:
        source, target = Path(place) / "source", Path(place)
        write(source, count // 2)
        records = _records(source)
        steps = {**STEPS, **(USUAL if with_usual else {})}
        return [measure(step, code, records, source, target) for step, code in steps.items()]


def _records(source: Path) -> int:
    import gzip

    total = 0
    for path in source.iterdir():
        with gzip.open(path) as stream:
            total += sum(1 for _ in stream)
    return total


def table(runs: list[Run]) -> str:
    """The runs as a Markdown table."""
    lines = [
        "| step | records | wall s | CPU s | records/s (wall) | records/s (CPU) | peak memory MB |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {run.step} | {run.records} | {run.wall:.1f} | {run.processor:.1f} | {run.records / run.wall:.0f} "
        f"| {run.records / run.processor:.0f} | {run.memory:.0f} |"
        for run in runs
    ]
    return "\n".join(lines)


def section(runs: list[Run], command: str) -> str:
    """The section of the page on performance."""
    usual = [run for run in runs if run.step in USUAL]
    largest = max(run.memory for run in runs if run.step in STEPS)
    prepared = max((run for run in runs if run.step == next(iter(STEPS))), key=lambda run: run.records)
    ratios = ", ".join(
        f"{(prepared.records / prepared.processor) / (run.records / run.processor):.1f} times {run.step}"
        for run in usual
    )
    return "\n".join(
        [
            HEADING,
            "",
            f"`{command}`, Python {platform.python_version()} on {platform.machine()}, {os.cpu_count()} cores shared with other work.",
            "",
            table(runs),
            "",
            f"At {prepared.records} records, `prepare` handles, per second of processor time, {ratios}, which only load the",
            "documents. Its records are also checked, paired, dealt to splits, fingerprinted and written. Peak memory is",
            f"that of batches and buffers of fixed size, {largest:.0f} MB at most here. Most of the time is spent on turning",
            "JSON into frames, document by document in one process; sorting, pairing, fingerprinting and writing are the rest.",
            "",
        ]
    )


def put(page: Path, text: str) -> None:
    """Replace the section of a page, or append it."""
    old = page.read_text(encoding="utf-8") if page.exists() else "# Performance\n"
    before, _, rest = old.partition(HEADING)
    _, mark, after = rest.partition("\n## ")
    page.write_text(before.rstrip() + "\n\n" + text + (f"{mark}{after}" if mark else ""), encoding="utf-8")


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000], help="records")
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--write", type=Path, help="the page to put the table into")
    arguments = parser.parse_args()
    runs: list[Run] = []
    for size in sorted(arguments.sizes):
        runs += measure_size(size, with_usual=size == min(arguments.sizes), scratch=arguments.scratch)
        print(table(runs), flush=True)
    if arguments.write:
        sizes = " ".join(map(str, arguments.sizes))
        put(arguments.write, section(runs, f"nice python benchmarks/prepare_scale.py --sizes {sizes}"))


if __name__ == "__main__":
    main()
