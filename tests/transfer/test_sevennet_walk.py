"""SevenNet from the command line: train, kill in the middle, resume to the same bytes, load the export with sevenn's own calculator."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

pytest.importorskip("sevenn", reason='sevenn is not here; `pip install ".[sevenn]"` adds this test')

STEPS = ["--strategy", "head", "--references", "fit", "--subset", "0.05", "--epochs", "2", "--set", "save_steps=1"]
SAME = ("log.csv", "model.safetensors", "evaluation.json", "predictions/test.parquet")


def started(out: Path, cache: Path, *more: str) -> subprocess.Popen[str]:
    words = [
        sys.executable,
        "-m",
        "xferbench",
        "train",
        "mini",
        "--model",
        "sevennet:7net-0",
        *STEPS,
        "--out",
        str(out),
    ]
    return subprocess.Popen(
        [*words, "--cache-dir", str(cache), *more],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> None:
    said, _ = process.communicate(timeout=600)
    assert process.returncode == 0, said


def kill_after_a_step(process: subprocess.Popen[str], checkpoint: Path) -> None:
    while process.poll() is None and not checkpoint.exists():
        time.sleep(0.01)
    process.kill()
    process.communicate()


@pytest.mark.filterwarnings("ignore:No tensor product accelerator:UserWarning")  # sevenn, of its own speed
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what sevenn imports
def test_train_kill_resume_and_export(tmp_path, cache):
    finish(started(tmp_path / "whole", cache))
    interrupted = started(tmp_path / "killed", cache)
    kill_after_a_step(interrupted, tmp_path / "killed" / "checkpoint.pt")
    assert interrupted.returncode == -9
    assert not (tmp_path / "killed" / "model.safetensors").exists()
    finish(started(tmp_path / "killed", cache, "--resume"))
    for name in SAME:
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name

    from xferbench.transfer.run import load_potential

    atoms = bulk("BP", "zincblende", 4.5)
    atoms.rattle(0.05, seed=0)
    [ours] = load_potential("sevennet", tmp_path / "whole", "cpu", "r2SCAN", delta=False).predict([atoms])
    theirs = theirs_of(tmp_path / "whole" / "model.pth", atoms)
    assert ours["energy"] == pytest.approx(theirs["energy"], abs=1e-4)
    np.testing.assert_allclose(ours["forces"], theirs["forces"], atol=1e-4)


def theirs_of(path: Path, atoms) -> dict:
    from sevenn.calculator import SevenNetCalculator

    atoms = atoms.copy()
    atoms.calc = SevenNetCalculator(str(path), device="cpu")
    return {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
