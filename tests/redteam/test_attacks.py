"""Every attack under every sandbox ends as the table in docs/security.md says."""

from __future__ import annotations

import json
import os
import random
import re
import socket
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

import xferbench
from xferbench import predict
from xferbench.functionals import Functional
from xferbench.models import parse_spec
from xferbench.models.loading import load
from xferbench.predict import sandbox
from xferbench.records import Frame

ROOT = Path(__file__).parents[2]
MODES = ("none", "process", "bwrap")
ROW = re.compile(
    r"^\| (?P<attack>[^|]+?) \| (?P<none>[^|]+?) \| (?P<process>[^|]+?) \| (?P<bwrap>[^|]+?) \|", re.MULTILINE
)

RUN = """
import json, sys
from pathlib import Path
sys.path.insert(0, {here!r})
import test_attacks
print(json.dumps(test_attacks.attack(Path({folder!r}), {mode!r})))
"""


def table():
    """What docs/security.md says: attack -> mode -> text."""
    text = (ROOT / "docs" / "security.md").read_text().partition("## What each stops")[2]
    rows = {row["attack"]: {mode: row[mode] for mode in MODES} for row in ROW.finditer(text)}
    return {attack: row for attack, row in rows.items() if set(row.values()) <= set(WORDS)}


WORDS = {"stopped": False, "**reached**": True, "stopped, except for root": None if os.geteuid() == 0 else False}
"""What the table says -> whether an attack reaches its aim; what root reaches depends on the capabilities it has."""


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A machine with things to steal and to change: the folder of the model, and what the host saw before."""
    root = tmp_path_factory.mktemp("redteam")
    folder, data, out = root / "model", root / "cache" / "data", root / "out"
    for directory in (folder, data, out):
        directory.mkdir(parents=True)
    (data / "labels.parquet").write_text("labels")
    (out / "other.parquet").write_text("predictions")
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as local:
        name = f"xferbench-redteam-{os.getpid()}"
        if sys.platform == "linux":
            local.bind("\0" + name)
            local.listen()
        targets = {
            "embedded": str(Path(xferbench.__file__).parent / "sources" / "mini" / "mini.parquet"),
            "dataset": str(data),
            "label_file": str(data / "labels.parquet"),
            "home": str(Path.home()),
            "predictions": str(out / "other.parquet"),
            "frame_id": "the-hidden-id",
            "open_file": str(data),
            "port": server.getsockname()[1],
            "abstract": name,
            "seconds": str(random.Random(os.getpid()).randrange(7000, 9000)),
        }
        (folder / "targets.json").write_text(json.dumps(targets))
        (folder / "attacks.py").write_text((Path(__file__).parent / "attacks.py").read_text())
        yield folder


def attack(folder, mode):
    """Run every attack under a sandbox, from a process of its own; attack -> whether it reached its aim."""
    targets = json.loads((folder / "targets.json").read_text()) | {"pid": os.getpid()}
    (folder / "targets.json").write_text(json.dumps(targets))
    data, out = Path(targets["dataset"]), Path(targets["predictions"]).parent
    spec = parse_spec(str(folder / "attacks.py"))
    names = [thing.__doc__ for thing in load(spec).predictor.__globals__["ATTACKS"]]
    frames = [
        Frame(
            frame_id=f"the-hidden-id-{z:03d}", pair_id="", material_id="m", functional=Functional("PBE"),
            numbers=np.array([z]), positions=np.zeros((1, 3)), cell=np.eye(3), energy=-123.0,
        )
        for z in range(1, len(names) + 1)
    ]  # fmt: skip
    kept_apart = sandbox.Options(mode=mode, memory=2 << 30, hidden=[data, out])
    options = predict.Options(batch_atoms=1, timeout=60, sandbox=kept_apart)
    traces = {
        "change its own file": folder / "changed.py",
        "write into the home directory": Path.home() / "xferbench-redteam",
        "replace a result": out / "other.parquet.forged",
        "replace the labels that answers are compared with": data / "labels.parquet.forged",
        "change the package's code": Path(targets["embedded"]).with_name("redteam.txt"),
        "leave a file in shared memory for another run": Path("/dev/shm/xferbench-redteam"),  # noqa: S108 - a place that a model may reach
        "leave a file in /tmp for another run": Path("/tmp/xferbench-redteam"),  # noqa: S108 - as above
    }
    guarded = sandbox.undumpable() if mode == "process" else nullcontext()
    with (data / "labels.parquet").open(), predict.opened(spec, options) as session, guarded:
        reached = {
            name: bool(session.predict([frame]).answers.energy[0] == 1.0)
            for name, frame in zip(names, frames, strict=True)
        }
    for name, path in traces.items():
        reached[name] = path.exists()
        path.unlink(missing_ok=True)
    listed = subprocess.run(
        ["/usr/bin/env", "pgrep", "-f", f"^sleep {targets['seconds']}$"], capture_output=True, text=True, check=False
    ).stdout
    for pid in map(int, listed.split()):
        os.kill(pid, 9)
    reached["leave a process of another session behind"] = bool(listed)
    return reached


@pytest.fixture(scope="module", params=MODES)
def outcome(request, scene):
    """A mode, and what the attacks reached under it."""
    mode = request.param
    if mode == "bwrap" and (why := sandbox.bubblewrap_fails()):
        pytest.skip(f"no bubblewrap: {why}")
    code = RUN.format(here=str(Path(__file__).parent), folder=str(scene), mode=mode)
    secrets = {"GH_PAT": "x", "DATABASE_URL": "x", "WANDB_KEY": "x", "HF_TOKEN": "x"}
    variables = {**os.environ, **secrets, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return mode, json.loads(done.stdout.splitlines()[-1])


def test_the_table_has_a_row_for_every_attack_and_no_other():
    functions = re.findall(
        r'^def \w+\(\):\n    """(.+)"""$', (Path(__file__).parent / "attacks.py").read_text(), re.MULTILINE
    )
    assert sorted(table()) == sorted(functions)
    assert len(functions) >= 25


def test_every_attack_ends_as_the_table_says(outcome):
    mode, reached = outcome
    said = {name: WORDS[row[mode]] for name, row in table().items()}
    assert {name: found for name, found in reached.items() if said[name] is not None and found is not said[name]} == {}


def test_bubblewrap_stops_every_attack(outcome):
    mode, reached = outcome
    if mode == "bwrap":
        assert [name for name, found in reached.items() if found] == []
