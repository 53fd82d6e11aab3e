"""A study of real runs, killed in the middle of training, ends as if nothing had happened."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

ARGUMENTS = [
    *("study", "methods", "mini", "--methods", "finetune+fit", "--seeds", "1", "--subset", "0.2"),
    *("--epochs", "3", "--set", "threads=1", "--set", "batch_size=4", "--set", "reference_data=train"),
]
PATIENCE = 300.0
"""Seconds; a busy machine is no failure."""


@pytest.fixture
def command(cache):
    pytest.importorskip("chgnet")
    code = "from xferbench.cli import run; run()"
    return lambda out: subprocess.Popen(
        [sys.executable, "-c", code, *ARGUMENTS, "-o", str(out)],
        env={**os.environ, "XFERBENCH_CACHE": str(cache)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, said
    return said


def kill_in_training(process, log):
    """Wait until the log has a second row, then kill -9."""
    deadline = time.monotonic() + PATIENCE
    while not (log.exists() and log.read_text().count("\n") >= 3):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_a_study_that_was_killed_ends_like_one_that_was_not(command, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    finish(command(whole))
    process = command(broken)
    kill_in_training(process, broken / "runs" / "finetune+fit" / "subset-0.2" / "seed-0" / "log.csv")
    assert not (broken / "study.json").exists()
    said = finish(command(broken))
    assert "finished" in said
    assert json.loads((broken / "study.json").read_text()) == json.loads((whole / "study.json").read_text())
    for name in ("README.md", "index.html", "runs.csv"):
        assert (broken / name).read_bytes() == (whole / name).read_bytes()
