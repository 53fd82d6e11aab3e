"""Results, cards, tasks and whole leaderboard directories, small and with numbers one can check by eye."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest

from xferbench.board.comparisons import PairTest, Standing, Tests
from xferbench.functionals import Functional, Pair
from xferbench.results import Result, from_json, write
from xferbench.storage import write_text
from xferbench.tasks import Bootstrap, Task

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from xferbench.board.ranking import Entry
    from xferbench.board.reading import Section

FINGERPRINT = "sha256:" + "a" * 64

CARD = """\
model_id = "{id}"
model_name = '{name}'
model_version = "1.0"
functional = "{functional}"
authors = ["A. Author", "B. Author"]
training_sets = ["Set"]
outputs = ["energy", "forces"]
conservative = true
citation = "@article{{key}}"
{extra}
[license]
code = "MIT"
checkpoint = "MIT"
"""

TASK = f"""\
id = "springs"
version = 2
title = "Springs"
description = "Energies and forces of springs."
dataset = "mini"
fingerprint = "{FINGERPRINT}"
functionals = {{ source = ["PBE", "PBE+U"], target = ["r2SCAN"] }}
side = "target"
split = "test"
calibration = "train"
properties = ["energy", "forces"]
main = "energy_mae/aligned"
citation = "@article{{springs}}"
[bootstrap]
n = 1000
seed = 1
confidence = 0.95
"""


def metric(name: str, value: float | None, half: float, **changes: Any) -> dict[str, Any]:
    """One entry of ``metrics``: value and value ± half."""
    name, _, reference = name.partition("/")
    units = {"energy": "eV/atom", "force": "eV/Å", "stress": "eV/Å³", "magmom": "µB"}
    quantity, _, statistic = name.partition("_")
    return {
        "name": name,
        "version": 1,
        "reference": reference or None,
        "key": f"{name}/{reference}" if reference else name,
        "unit": "1" if statistic == "explained" else units.get(quantity, "eV/atom"),
        "better": "higher" if statistic == "explained" else "lower",
        "value": value,
        "ci_low": None if value is None else value - half,
        "ci_high": None if value is None else value + half,
        "n_frames": 10,
        "n_materials": 5,
        "n_missing": 0,
        "main": name == "energy_mae" and reference == "aligned",
        "reason": "the model has none" if value is None else None,
        **changes,
    }


def result_data(name: str = "alpha", error: float = 0.142, half: float = 0.026, /, **changes: Any) -> dict[str, Any]:
    """A result as parsed JSON. ``changes`` replace top-level keys or, given as mappings, update tables in them."""
    data = {
        "schema": 2,
        "task": {"id": "springs", "version": 2, "key": "springs@2", "digest": "sha256:" + "b" * 64},
        "dataset": {"name": "mini", "version": "1", "fingerprint": FINGERPRINT, "labels": "sha256:" + "d" * 64},
        "model": {
            "id": name, "name": name.capitalize(), "kind": "model", "functional": "r2SCAN", "declared_match": True,
            "source_sha256": None,
        },
        "predictions": {"digest": "sha256:" + "c" * 64, "settings": {}},
        "counts": {
            "frames": 10, "predicted": 10, "failed": 0, "errors": {}, "materials": 5, "calibration_frames": 30,
            "ignored": 0, "limit": None,
        },
        "coverage": 1.0,
        "alignment": {"elements": {"Li": 0.5, "O": -1.0}, "rank": 2, "condition": 1.5, "n_frames": 30, "not_estimable": []},
        "references": {"label": {"Li": -1.0, "O": -2.0}, "model": None},
        "metrics": [
            metric("energy_mae/raw", 16.9, 3.1),
            metric("energy_mae/aligned", error, half),
            metric("energy_rmse/aligned", error * 1.3, half),
            metric("force_mae", error / 2, half / 4),
            metric("gap_explained/aligned", 1 - error, half),
        ],
        "per_element": [
            {"element": "Li", "metric": "energy_mae/aligned", "value": error, "n_frames": 6},
            {"element": "O", "metric": "energy_mae/aligned", "value": error * 2, "n_frames": 8},
            {"element": "O", "metric": "force_mae", "value": error, "n_frames": 8},
        ],
        "slices": [],
        "identity": {
            "verdict": "r2SCAN", "declared_loses": False,
            "entries": [
                {
                    "quantity": "stress", "value": 0.9, "ci_low": 0.7, "ci_high": 1.2, "softening": 0.8,
                    "uncorrected": 0.6, "n_frames": 10, "n_materials": 5, "verdict": "r2SCAN", "reason": None,
                },
            ],
        },
        "notes": [],
        "parity": {"energy": [[0.0, error], [1.0, 1.0 + error]], "forces": [[-1.0, -1.1], [1.0, 5.0]]},
        "environment": {"python": "3.11", "platform": "any", "packages": {"numpy": "2.0"}},
    }  # fmt: skip
    for key, value in changes.items():
        data[key] = {**data[key], **value} if isinstance(value, dict) and isinstance(data.get(key), dict) else value
    return copy.deepcopy(data)


def change_main(data: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Change the main metric of a result given as parsed JSON."""
    next(entry for entry in data["metrics"] if entry["main"]).update(changes)
    return data


@pytest.fixture(scope="session")
def make_data() -> Callable[..., dict[str, Any]]:
    """``make_data("alpha", 0.142, 0.026, coverage=0.5, counts={...})`` -> a result as parsed JSON."""
    return result_data


@pytest.fixture(scope="session")
def main_changed() -> Callable[..., dict[str, Any]]:
    """``main_changed(data, value=None)`` -> the same data, its main metric changed."""
    return change_main


@pytest.fixture(scope="session")
def make_result() -> Callable[..., Result]:
    """``make_result("alpha", 0.142)`` -> a result of the task ``springs@2``."""

    def make(name: str = "alpha", error: float = 0.142, half: float = 0.026, /, **changes: Any) -> Result:
        return from_json(result_data(name, error, half, **changes), name)

    return make


@pytest.fixture(scope="session")
def audited_result() -> Result:
    """A result with an audit: 4 of 10 test pairs seen in training, and the main metric of the other six."""
    data = result_data("alpha")
    clean = next(entry for entry in data["metrics"] if entry["main"]) | {
        "value": 0.2, "ci_low": 0.15, "ci_high": 0.25, "n_frames": 6, "n_materials": 3,
    }  # fmt: skip
    data["overlap"] = {
        "audit_sha256": "sha256:" + "d" * 64,
        "train_records": 1000,
        "compared": {"id": 1000, "structure": 1000, "composition": 1000, "chemsys": 1000},
        "counts": {"id": 0, "structure": 4, "composition": 7, "chemsys": 8},
        "regimes": {"seen-structure": 4, "new-material": 4, "new-chemsys": 2},
        "n_clean": 6,
        "slices": [],
        "clean": [clean],
        "reason": None,
    }
    return from_json(data, "alpha")


@pytest.fixture(scope="session")
def make_floor(make_result) -> Callable[..., Result]:
    """``make_floor("zero", 0.3)`` -> the result of a floor."""

    def make(name: str = "zero", error: float = 0.3, /, **changes: Any) -> Result:
        return make_result(name, error, **{"model": {"kind": "floor"}, **changes})

    return make


@pytest.fixture(scope="session")
def make_entry(make_result) -> Callable[..., Entry]:
    """``make_entry("alpha", 0.142)`` -> an entry without a card."""
    from xferbench.board.ranking import Entry

    return lambda *args, **kwargs: Entry(result=make_result(*args, **kwargs))


@pytest.fixture(scope="session")
def make_card() -> Callable[..., str]:
    """``make_card("alpha")`` -> the text of a card."""

    def make(model: str = "alpha", name: str = "Alpha", functional: str = "r2SCAN", extra: str = "") -> str:
        return CARD.format(id=model, name=name, functional=functional, extra=extra)

    return make


@pytest.fixture
def task_files(tmp_path) -> Path:
    """A directory with the file of ``springs@2``."""
    write_text(tmp_path / "tasks" / "springs.toml", TASK)
    return tmp_path / "tasks"


@pytest.fixture(scope="session")
def springs() -> Task:
    """The task ``springs@2``."""
    return Task(
        id="springs", version=2, title="Springs", description="Energies and forces of springs.", dataset="mini",
        fingerprint=FINGERPRINT, functionals=Pair(source=(Functional("PBE"), Functional("PBE+U")), target=(Functional("r2SCAN"),)), side="target", split="test", calibration="train",
        properties=("energy", "forces"), main="energy_mae/aligned", citation="",
        bootstrap=Bootstrap(n=1000, seed=1, confidence=0.95),
    )  # fmt: skip


@pytest.fixture
def lay_out(tmp_path, make_card, task_files) -> Callable[..., Path]:
    """``lay_out([results], cards={"alpha": text})`` -> a leaderboard directory; models get a card unless ``cards`` is given."""

    def make(results: list[Result], cards: dict[str, str] | None = None) -> Path:
        directory = tmp_path / "board"
        (directory / "models").mkdir(parents=True, exist_ok=True)
        models = {item.model.id: item.model for item in results if item.model.kind == "model"}
        default = {name: make_card(name, model.name, model.functional) for name, model in models.items()}
        for name, text in (default if cards is None else cards).items():
            write_text(directory / "models" / f"{name}.toml", text)
        for item in results:
            write(directory / "results" / item.task.key / f"{item.model.id}.json", item)
        return directory

    return make


@pytest.fixture
def section(lay_out, task_files) -> Callable[..., Section]:
    """``section(*results, cards=None)`` -> the first section of their board."""
    from xferbench.board.reading import read_board

    def make(*results: Result, cards: dict[str, str] | None = None) -> Section:
        return read_board(lay_out(list(results), cards), tasks=task_files).sections[0]

    return make


@pytest.fixture(scope="session")
def make_tests() -> Callable[..., Tests]:
    """``make_tests([("alpha", 1, 2, "a"), …], significant={("alpha", "beta")})`` -> stored tests of these models."""

    def make(standings, significant=(), digest="sha256:" + "c" * 64, **changes: Any) -> Tests:
        names = [name for name, *_ in standings]
        values = {
            "task": "springs@2",
            "task_digest": "sha256:" + "b" * 64,
            "metric": "energy_mae/aligned",
            "family": "3 pairs, Holm",
            "confidence": 0.95,
            "n_frames": 10,
            "n_materials": 5,
            "n_resamples": 1000,
            "standings": tuple(
                Standing(model=name, digest=digest, rescored=True, best=best, worst=worst, ties=ties)
                for name, best, worst, ties in standings
            ),
            "pairs": tuple(
                PairTest(
                    first=first, second=second, value=-0.1, low=-0.15, high=-0.05, p_value=0.01,
                    p_adjusted=0.02 if (first, second) in significant else 0.5,
                )
                for k, first in enumerate(names)
                for second in names[k + 1 :]
            ),
        }  # fmt: skip
        return Tests(**{**values, **changes})

    return make
