"""Tiny analytic models as files, and frames to ask them about."""

from __future__ import annotations

import subprocess
import time
from contextlib import suppress
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest

from xferbench import predict, tables
from xferbench.models import parse_spec
from xferbench.predict.sandbox import Options as Sandbox

HEAD = """
import os, signal, subprocess, sys, time
import numpy as np
FUNCTIONAL = "r2SCAN"

def good(atoms):
    return {"energy": 0.1 * float(atoms.numbers.sum()), "forces": -0.3 * atoms.positions, "stress": np.eye(3) / 7}
"""
GOOD = """
def predict(batch):
    return [good(atoms) for atoms in batch]
"""


@pytest.fixture
def frames(make_pairs):
    """Five frames, sorted by id: MgCl2, MgO, Li, LiCl, Li2O. Only Li has one atom."""
    return sorted((pair.target for pair in make_pairs(5, 1)), key=lambda frame: frame.frame_id)


@pytest.fixture
def write_model(tmp_path):
    """``write_model(source)`` -> the spec of a model file with that source after ``HEAD``."""

    def write(source=GOOD, name="model.py"):
        path = tmp_path / name
        path.write_text(HEAD + dedent(source))
        return parse_spec(str(path))

    return write


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out" / "predictions.parquet"


@pytest.fixture
def options():
    """``options(timeout=1.0)`` -> options in a process of its own, batches of two frames of ``frames``."""

    def make(sandbox="process", **changes):
        kept_apart = sandbox if isinstance(sandbox, Sandbox) else Sandbox(mode=sandbox)
        return predict.Options(**{"batch_atoms": 5, "sandbox": kept_apart, **changes})

    return make


@pytest.fixture
def run(out, frames, write_model, options):
    """``run(source, **options)`` -> predictions by frame id, and the model's facts."""

    def call(source=GOOD, **changes):
        mine = {
            name: changes.pop(name)
            for name in ("frames", "out", "settings", "resume", "progress", "shard")
            if name in changes
        }
        given = {"frames": frames, "out": out, "settings": {"task": "springs@1"}, **mine}
        facts = predict.run(write_model(source), options=options(**changes), **given)
        predictions = tables.table_predictions(tables.read_table(given["out"]))
        return {record.frame_id: record for record in predictions.records}, facts

    return call


@pytest.fixture
def assert_good():
    """``assert_good(record, frame)``: the closed form of ``good``, bit for bit: numbers lose nothing on their way."""

    def check(record, frame):
        assert record.frame_id == frame.frame_id
        assert record.error is None
        assert record.energy == 0.1 * float(frame.numbers.sum())
        assert np.array_equal(record.forces, -0.3 * frame.positions)
        assert np.array_equal(record.stress, np.eye(3) / 7)
        assert record.magmoms is None

    return check


@pytest.fixture
def living():
    """``living(group)`` -> how many processes of a process group still run."""

    def count(group):
        rows = _processes()
        return sum(int(pgid) == group and "Z" not in state for pgid, state in rows)

    return count


def _processes():
    """Process group and state of every process."""
    if not Path("/proc/self/stat").exists():
        command = ["/bin/ps", "-A", "-o", "pgid=,stat="]
        listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return [line.split() for line in listing.splitlines()]
    rows = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # after the name in brackets: state, parent, process group
            state, _, group = path.read_text().rpartition(")")[2].split()[:3]
            rows.append((group, state))
    return rows


@pytest.fixture
def ends(living, wait_until):
    """``ends(group)``: wait until no process of a group runs any more."""
    return lambda group: wait_until(lambda: living(group) == 0)


@pytest.fixture
def wait_until():
    """``wait_until(condition)``: for what another process does."""

    def wait(condition, seconds=30.0):
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "waited in vain"
            time.sleep(0.01)

    return wait
