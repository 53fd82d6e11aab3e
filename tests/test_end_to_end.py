"""The whole way as a user walks it, in processes of its own: killed at random moments, and side by side."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from xferbench.tasks import load_task

TASK = load_task("mini-static")
SLOW = """
import time

from ase.calculators.lj import LennardJones

FUNCTIONAL = "r2SCAN"
inner = LennardJones(sigma=1.8, epsilon=0.2, rc=4.0, smooth=True)


def predict(structures):
    time.sleep(0.02 * len(structures))
    out = []
    for atoms in structures:
        atoms.calc = inner
        out.append({"energy": atoms.get_potential_energy(), "forces": atoms.get_forces(), "stress": atoms.get_stress()})
    return out
"""


def start(*arguments, cwd, cache):
    """The command as a process, quiet."""
    code = "from xferbench.cli import run; run()"
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=cwd,
        env=os.environ | {"XFERBENCH_CACHE": str(cache), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def finish(*arguments, cwd, cache):
    """Run the command to its good end."""
    with start(*arguments, cwd=cwd, cache=cache) as process:
        out, error = process.communicate(timeout=300)
    assert process.returncode == 0, error.decode()
    return out


def contents(directory):
    """Every visible file with its bytes; logs and locks are no results."""
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and not path.name.startswith(".") and path.suffix != ".log"
    }


def kill_at_random_moments(arguments, *, cwd, cache, duration, times=20, seed=0):
    """Start the command and ``kill -9`` it, again and again; returns how many runs were still going when killed.

    The shortest run comes first: one that ends before its kill leaves nothing to do for the next ones.
    """
    generator = random.Random(seed)
    caught = 0
    for moment in sorted(generator.uniform(0.3, 1.0) * duration for _ in range(times)):
        with start(*arguments, cwd=cwd, cache=cache) as process:
            time.sleep(moment)
            caught += process.poll() is None
            process.send_signal(signal.SIGKILL)
    return caught


@pytest.mark.parametrize("again", [False, True], ids=["nothing there", "an old one there"])
def test_prepare_killed_twenty_times_ends_with_the_bytes_of_an_undisturbed_run(tmp_path, cache, again):
    begin = time.monotonic()
    finish("prepare", "mini", "--out", "calm", cwd=tmp_path, cache=cache)
    duration = time.monotonic() - begin
    if again:
        finish("prepare", "mini", "--out", "rough", cwd=tmp_path, cache=cache)
        (tmp_path / "rough/drops.jsonl").write_text("damaged")
    arguments = ["prepare", "mini", "--out", "rough"]
    assert kill_at_random_moments(arguments, cwd=tmp_path, cache=cache, duration=duration) > 0
    finish(*arguments, cwd=tmp_path, cache=cache)
    assert contents(tmp_path / "rough") == contents(tmp_path / "calm")
    assert not [path for path in tmp_path.iterdir() if "tmp" in path.name]


def test_score_killed_twenty_times_ends_with_the_bytes_of_an_undisturbed_run(tmp_path, cache):
    (tmp_path / "slow.py").write_text(SLOW)
    arguments = ["score", "slow.py", "--batch-atoms", "30", "--out"]
    begin = time.monotonic()
    finish(*arguments, "calm", cwd=tmp_path, cache=cache)
    duration = time.monotonic() - begin
    assert kill_at_random_moments([*arguments, "rough"], cwd=tmp_path, cache=cache, duration=duration) > 0
    finish(*arguments, "rough", cwd=tmp_path, cache=cache)
    assert contents(tmp_path / "rough") == contents(tmp_path / "calm")


def test_two_runs_of_one_output_do_not_mix(tmp_path, cache):
    waiting = (
        "import time\n\nFUNCTIONAL = 'r2SCAN'\n\ndef predict(structures):\n    while True:\n        time.sleep(0.1)\n"
    )
    (tmp_path / "waiting.py").write_text(waiting)
    arguments = ["score", "waiting.py", "--out", "out"]
    parts = tmp_path / "out/predictions" / TASK.key / "waiting.parquet.partial"
    with start(*arguments, cwd=tmp_path, cache=cache) as first:
        while not parts.exists() and first.poll() is None:
            time.sleep(0.05)
        with start(*arguments, cwd=tmp_path, cache=cache) as second:
            _, error = second.communicate(timeout=120)
        first.kill()
    assert second.returncode == 3, error.decode()
    assert b"being written by another run" in error


def test_other_settings_do_not_continue_an_old_run(tmp_path, cache):
    (tmp_path / "slow.py").write_text(SLOW)
    finish("score", "slow.py", "--out", "out", cwd=tmp_path, cache=cache)
    with start("score", "slow.py", "--out", "out", "--batch-atoms", "20", cwd=tmp_path, cache=cache) as other:
        _, error = other.communicate(timeout=120)
    assert other.returncode == 2
    assert b"batch_atoms was 512 and is 20" in error
    assert b"--no-resume" in error
    finish("score", "slow.py", "--out", "out", "--batch-atoms", "20", "--no-resume", cwd=tmp_path, cache=cache)
