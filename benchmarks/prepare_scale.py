"""How fast and in how much memory `prepare` turns MatPES-shaped files into a data set, against the usual route.

    python benchmarks/prepare_scale.py --sizes 10000 100000 790000 --write docs/performance.md

Each run is a process of its own: wall and processor time with all its children, and the largest sum of the resident memory
of the process and its children, looked at every 20 ms. A record is one document of one functional. The usual route reads
the same two files with `json.load` (and, as a second way, `monty.serialization.loadfn`) into pymatgen structures, and stops
there: nothing is checked, paired, split or written. It keeps everything in memory, so beyond `--usual-up-to` records it is
not run: its line is the one of the largest size that was, less the time of importing pymatgen, scaled by the number of
records, and says so.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from matpes_like import PER_STRUCTURE, write
from page import put
from pyarrow import parquet

ROOT = Path(__file__).resolve().parent.parent
USUAL_UP_TO = 100_000
"""Records that the usual route is measured on; it keeps everything in memory."""

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
USUAL_IMPORTS = """
from pymatgen.core import Structure
from monty.serialization import loadfn
"""
PREPARED = "`xferbench prepare`"
STEPS = {PREPARED: PREPARE, "the same again, up to date": PREPARE, "`xferbench prepare --check`": VERIFY}
USUAL = {"`json.load`, `Structure.from_dict`": USUAL_JSON, "`monty.loadfn`": USUAL_MONTY}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One measured process with its children.

    Attributes:
        wall: Seconds.
        processor: Seconds of user and system time.
        memory: Largest resident memory in MB, summed over processes; ``None`` if it was not run.
        scaled_from: Records of the run that this one was scaled from.
    """

    step: str
    records: int
    wall: float
    processor: float
    memory: float | None
    scaled_from: int | None = None

    @property
    def rate(self) -> float:
        """Records per second of wall time."""
        return self.records / self.wall


class Memory(threading.Thread):
    """Watches the resident memory of a process and of all below it."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid = pid
        self._done = threading.Event()
        self.largest = 0.0

    def run(self) -> None:
        """Look until told to stop."""
        while not self._done.wait(0.02):
            self.largest = max(self.largest, sum(map(resident, family(self._pid))))

    def stop(self) -> float:
        """The largest sum seen, in MB."""
        self._done.set()
        self.join()
        return self.largest


def family(pid: int) -> list[int]:
    """A process and all below it."""
    children: list[int] = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            children += [int(name) for name in (task / "children").read_text().split()]
    return [pid, *(member for child in children for member in family(child))]


def resident(pid: int) -> float:
    """Resident memory of a process in MB; nothing if it has ended."""
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6
    return 0.0


def measure(step: str, code: str, records: int, source: Path, target: Path) -> Run:
    """Run code in a process of its own.

    Raises:
        SystemExit: It failed.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    started = time.perf_counter()
    command = [sys.executable, "-c", code, str(source), str(target)]
    child = os.spawnve(os.P_NOWAIT, sys.executable, command, environment)  # noqa: S606 - for the usage of this child alone
    memory = Memory(child)
    memory.start()
    _, status, usage = os.wait4(child, 0)
    wall = time.perf_counter() - started
    largest = memory.stop()
    if status:
        raise SystemExit(f"{step} failed on {records} records")
    return Run(step=step, records=records, wall=wall, processor=usage.ru_utime + usage.ru_stime, memory=largest)


def measure_size(size: int, *, with_usual: bool, scratch: Path) -> list[Run]:
    """Generate files of about this many records together, and measure every step on them."""
    with tempfile.TemporaryDirectory(dir=scratch) as place:
        source, target = Path(place) / "source", Path(place)
        write(source, round(size / PER_STRUCTURE))
        runs = [measure(step, code, 1, source, target) for step, code in STEPS.items()]
        records = _records(target / "prepared")
        if with_usual:
            runs += [measure(step, code, 1, source, target) for step, code in USUAL.items()]
        return [replace(run, records=records) for run in runs]


def _records(prepared: Path) -> int:
    """Documents of which the data set was made: two of each pair, and those that were dropped."""
    paired = sum(parquet.read_metadata(path).num_rows for path in prepared.glob("data/*/*.parquet"))
    drops = (prepared / "drops.jsonl").read_text(encoding="utf-8").splitlines()
    return paired + sum(1 if '"no_partner"' in line else 2 for line in drops)


def scaled(runs: list[Run], records: int) -> list[Run]:
    """The usual route at a size at which it was not run, by its largest one."""
    measured = [run for run in runs if run.step in USUAL and run.scaled_from is None]
    largest = max(run.records for run in measured)
    start = measure("the imports of the usual route", USUAL_IMPORTS, 0, Path(), Path())
    factor = records / largest
    return [
        replace(
            run,
            records=records,
            wall=start.wall + (run.wall - start.wall) * factor,
            processor=start.processor + (run.processor - start.processor) * factor,
            memory=None,
            scaled_from=largest,
        )
        for run in measured
        if run.records == largest
    ]


def table(runs: list[Run]) -> str:
    """The runs as a Markdown table."""
    lines = [
        "| step | records | wall s | CPU s | records/s | `prepare` is faster by (wall) | by (CPU) | peak memory MB, all processes |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for run in runs:
        ours = next(item for item in runs if item.step == PREPARED and item.records == run.records)
        ratios = f"{run.wall / ours.wall:.1f} | {run.processor / ours.processor:.1f}" if run.step in USUAL else "|"
        step = run.step if run.scaled_from is None else f"{run.step}, scaled from {run.scaled_from:,} records"
        memory = "not run" if run.memory is None else f"{run.memory:.0f}"
        lines.append(
            f"| {step} | {run.records:,} | {run.wall:.1f} | {run.processor:.1f} | {run.rate:,.0f} | {ratios} | {memory} |"
        )
    return "\n".join(lines)


def section(runs: list[Run], command: str) -> str:
    """What stands between the markers of the page."""
    ours = [run for run in runs if run.step == PREPARED]
    largest = max(run.memory or 0.0 for run in runs if run.step in STEPS)
    linear = ", ".join(
        f"{run.wall / run.records * 1e6:.0f} µs of wall time per record at {run.records:,}" for run in ours
    )
    return "\n".join(
        [
            (
                f"`{command}`, Python {platform.python_version()} on {platform.machine()}, {os.cpu_count()} cores, "
                f"load average {os.getloadavg()[2]:.1f} over the last 15 minutes."
            ),
            "",
            table(runs),
            "",
            f"`prepare`: {linear}; at most {largest:.0f} MB.",
            "",
        ]
    )


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 790_000], help="records")
    parser.add_argument(
        "--usual-up-to", type=int, default=USUAL_UP_TO, help="records; the usual route takes 30 kB for each"
    )
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--write", type=Path, help="the page to put the table into")
    arguments = parser.parse_args()
    sizes = sorted(arguments.sizes)
    runs: list[Run] = []
    for size in sizes:
        with_usual = size <= max(arguments.usual_up_to, sizes[0])
        found = measure_size(size, with_usual=with_usual, scratch=arguments.scratch)
        runs += found if with_usual else [*found, *scaled(runs, found[0].records)]
        print(table(runs), flush=True)
    if arguments.write:
        limit = "" if arguments.usual_up_to == USUAL_UP_TO else f" --usual-up-to {arguments.usual_up_to}"
        command = f"python benchmarks/prepare_scale.py --sizes {' '.join(map(str, sizes))}{limit}"
        put(arguments.write, "prepare", section(runs, command))


if __name__ == "__main__":
    main()
