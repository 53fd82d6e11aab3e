from __future__ import annotations

import importlib
import os
import shutil
from pathlib import Path

import pytest

from xferbench import studies
from xferbench.dataset import Dataset

METHODS = ("scratch+fit", "finetune+fit", "finetune+source")
SUBSETS = {"methods": (1.0,), "scaling": (0.2, 0.4, 0.7, 1.0)}


@pytest.fixture
def data(synthetic_dataset, tmp_path):
    """The synthetic pairs in a place of their own, so that the fake trainer can count its calls beside them."""
    return Dataset.open(Path(shutil.copytree(synthetic_dataset.directory, tmp_path / "data" / "synthetic")))


@pytest.fixture
def calls(data):
    """The runs that were carried out: method, subset, seed, process."""

    def read():
        path = data.directory.parent / "trained.txt"
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    return read


@pytest.fixture
def fake(monkeypatch):
    """The module of the fake trainer, which other processes can import too."""
    here = str(Path(__file__).parent)
    monkeypatch.syspath_prepend(here)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")])))
    return importlib.import_module("fake_trainer")


@pytest.fixture
def execution(fake):
    """``execution(**options)``: runs are carried out by the fake trainer."""
    return lambda name="train", **options: studies.Execution(trainer=f"fake_trainer:{name}", **options)


@pytest.fixture(scope="session")
def finished(synthetic_dataset, tmp_path_factory):
    """``finished(kind)``: a study of the synthetic pairs that is done, made once; do not change it."""
    made = {}

    def get(kind):
        if kind not in made:
            with pytest.MonkeyPatch.context() as patch:
                patch.syspath_prepend(str(Path(__file__).parent))
                root = tmp_path_factory.mktemp(kind)
                copied = shutil.copytree(synthetic_dataset.directory, root / "data" / "synthetic")
                grid = studies.Grid(kind=kind, methods=METHODS, n_seeds=2, subsets=SUBSETS[kind])
                how = studies.Execution(trainer="fake_trainer:train")
                made[kind] = studies.run_study(Dataset.open(copied), grid, root / "study", how).study
        return made[kind]

    return get


@pytest.fixture
def run_study(data, execution, tmp_path):
    """``run_study(**grid)``: a study of the synthetic pairs in ``tmp_path / "study"``."""

    def run(how=None, out=tmp_path / "study", **grid):
        options = {"kind": "methods", "methods": METHODS, "n_seeds": 2, "config": studies.settings(epochs=4)}
        return studies.run_study(data, studies.Grid(**options | grid), out, how or execution())

    return run
