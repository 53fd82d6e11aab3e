"""Kill `prepare matpes` at random moments, and compare the bytes that the next run ends with.

    python benchmarks/kill_prepare.py --records 100000 --kills 20

The files are those of `matpes_like`. One run is left alone and timed. Then each round starts a run in a process of its own, ends
it by SIGKILL at a moment drawn between nothing and the time of the undisturbed one, and runs it again to the end. After
the kill the data set must be absent or whole; after the second run it must be the undisturbed one byte for byte, with
nothing beside it. A run that was over before its kill does not count. The package must not be edited meanwhile:
its version and the text of cards are in the bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from matpes_like import PER_STRUCTURE, write

ROOT = Path(__file__).resolve().parent.parent
NAME = "prepared"
BESIDE = {NAME}
"""What a finished run leaves where the data set is."""

COMMAND = "from xferbench.cli import main; main()"


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One kill and the run after it.

    Attributes:
        moment: Seconds after the start.
        left: What the kill left: files of the data set, and names beside it.
        again: Seconds of the run after it.
    """

    moment: float
    left: tuple[int, int]
    again: float


def start(source: Path, place: Path) -> subprocess.Popen[bytes]:
    """The command line, in a process of its own."""
    command = [sys.executable, "-c", COMMAND, "prepare", "matpes", "--from", str(source), "--out", str(place / NAME)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)


def finish(source: Path, place: Path) -> float:
    """Seconds of a run to the end.

    Raises:
        SystemExit: It failed.
    """
    started = time.perf_counter()
    if code := start(source, place).wait():
        raise SystemExit(f"prepare ended with exit code {code}")
    return time.perf_counter() - started


def hashes(directory: Path) -> dict[str, str]:
    """SHA-256 of each file below a directory; empty if there is none."""
    return {
        path.relative_to(directory).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def different(found: dict[str, str], whole: dict[str, str]) -> list[str]:
    """Files that only one side has or that differ."""
    return sorted(path for path in found.keys() | whole.keys() if found.get(path) != whole.get(path))


def check(moment: float, what: str, found: object, *allowed: object) -> None:
    """Stop at the first deviation.

    Raises:
        SystemExit: It is none of what is allowed.
    """
    if found not in allowed:
        raise SystemExit(f"killed after {moment:.2f} s: {what}: {found}")


def kill(source: Path, place: Path, moment: float, whole: dict[str, str]) -> Round | None:
    """Kill a run, check what it left, run it again, and compare; ``None`` if it was over before.

    Raises:
        SystemExit: Something half-written is there, or other bytes than those of ``whole``.
    """
    shutil.rmtree(place / NAME, ignore_errors=True)
    process = start(source, place)
    time.sleep(moment)
    process.kill()
    if process.wait() != -signal.SIGKILL:
        return None
    left = hashes(place / NAME)
    check(moment, "neither nothing nor the whole data set is there", left, {}, whole)
    beside = {path.name for path in place.iterdir()}
    again = finish(source, place)
    check(moment, "the next run gave other bytes", different(hashes(place / NAME), whole), [])
    check(moment, "the next run left files", {path.name for path in place.iterdir()}, BESIDE)
    return Round(moment=moment, left=(len(left), len(beside - BESIDE)), again=again)


def rounds(source: Path, place: Path, kills: int, seed: int) -> list[Round]:
    """An undisturbed run, then as many kills.

    Raises:
        SystemExit: As ``kill``.
    """
    longest = finish(source, place)
    whole = hashes(place / NAME)
    print(f"undisturbed: {longest:.1f} s, {len(whole)} files", flush=True)
    rng = random.Random(seed)  # noqa: S311 - moments, no secrets
    done: list[Round] = []
    while len(done) < kills:
        found = kill(source, place, rng.uniform(0, longest), whole)
        if found is not None:
            done.append(found)
            print(
                f"{len(done)}: killed after {found.moment:.2f} s; {found.left[0]} files of the data set and "
                f"{found.left[1]} beside it were left; the same bytes after {found.again:.1f} s more",
                flush=True,
            )
    return done


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=100_000, help="documents of both functionals together")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as scratch:
        source, place = Path(scratch) / "source", Path(scratch) / "place"
        place.mkdir()
        write(source, round(arguments.records / PER_STRUCTURE))
        done = rounds(source, place, arguments.kills, arguments.seed)
    print(f"{len(done)} kills of {arguments.records:,} records: the same bytes each time")


if __name__ == "__main__":
    main()
