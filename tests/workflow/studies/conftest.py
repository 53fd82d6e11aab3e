from __future__ import annotations

import importlib
import shutil
from pathlib import Path

import pytest

from xferbench.dataset import Dataset
from xferbench.workflow import studies

METHODS = ("scratch", "finetune-refit-refs", "finetune-frozen-refs")
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
    monkeypatch.setenv("PYTHONPATH", here)
    return importlib.import_module("fake_trainer")


@pytest.fixture
def means(fake):
    """``means(**options)``: runs are carried out by the fake trainer."""
    return lambda name="train", **options: studies.Means(trainer=f"fake_trainer:{name}", **options)


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
                how = studies.Means(trainer="fake_trainer:train")
                made[kind] = studies.conduct(str(copied), grid, root / "study", how).study
        return made[kind]

    return get


@pytest.fixture
def conduct(data, means, tmp_path):
    """``conduct(**grid)``: a study of the synthetic pairs in ``tmp_path / "study"``."""

    def run(how=None, out=tmp_path / "study", **grid):
        options = {"kind": "methods", "methods": METHODS, "n_seeds": 2, "config": studies.settings("paper", epochs=4)}
        return studies.conduct(str(data.directory), studies.Grid(**options | grid), out, how or means())

    return run
