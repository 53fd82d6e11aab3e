"""Train a transfer method on a data set, by name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xferbench import dataset as datasets
from xferbench.registry import METHODS, check_name
from xferbench.units import RENDERED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xferbench.transfer import Run

COLUMNS = (
    ("energy", "E", "eV/atom"),
    ("energy_aligned", "E aligned", "eV/atom"),
    ("forces", "F", "eV/Å"),
    ("stress", "S", "eV/Å³"),
    ("magmoms", "M", "µB"),
)
"""Quantity, head of the column, stored unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRequest:
    """What to train, and where; the options of ``xferbench train``.

    Attributes:
        method: Name in ``registry.METHODS``.
        dataset: Name of a data set, or a prepared directory.
        out: Of the run; by default named by method, data set, subset and seed below ``runs``.
        preset: Settings to begin with.
        config: TOML with settings.
        settings: ``key=value`` texts.
        options: Keywords of ``TrainConfig``; ``None`` is not given.
        resume: Whether to continue a run that is there.
        progress: Whether to show a bar.
    """

    method: str
    dataset: str = "mini"
    out: Path | None = None
    preset: str = "paper"
    config: Path | None = None
    settings: Sequence[str] = ()
    options: dict[str, Any]
    resume: bool = False
    progress: bool = False
    cache_dir: Path | None = None
    offline: bool = False


def train(request: TrainRequest) -> Run:
    """Train, evaluate and export.

    Raises:
        XferbenchError: Whatever the user has to mend: see ``errors`` and ``transfer.train``.
    """
    check_name("method", request.method, METHODS)
    from xferbench import transfer

    config = transfer.make_config(request.preset, path=request.config, settings=request.settings, **request.options)
    data = open_dataset(request.dataset, request.cache_dir, offline=request.offline)
    out = request.out or Path("runs") / run_name(request.method, data.name, config.subset, config.seed)
    return transfer.train(request.method, data, out, config, resume=request.resume, progress=request.progress)


def run_name(method: str, dataset: str, subset: float, seed: int) -> str:
    """Name of the directory of a run."""
    from xferbench.transfer.exporting import model_id

    return model_id(method, dataset, subset, seed)


def open_dataset(name: str, cache_dir: Path | None = None, *, offline: bool = False) -> datasets.Dataset:
    """A prepared directory, or a data set by name, prepared in the cache if need be.

    Raises:
        UnknownNameError: No such data set, and no such directory.
        DataError: It cannot be prepared, or is damaged.
    """
    if Path(name).is_dir():
        return datasets.Dataset.open(Path(name))
    directory = datasets.locate(name, cache_dir)
    if directory.exists():
        return datasets.Dataset.open(directory)
    return datasets.prepare(name, cache_dir=cache_dir, offline=offline)


def training_table(run: Run) -> str:
    """Errors of a run as text, in meV/atom, meV/Å, GPa, µB."""
    evaluation = run.evaluation
    heads = [f"{head} ({RENDERED[unit][0]})" for _, head, unit in COLUMNS]
    lines = ["  ".join(["frames".ljust(22), "n".rjust(7), *(head.rjust(20) for head in heads)])]
    titles = {
        "val": "r2SCAN val",
        "test": "r2SCAN test",
        "gga_test": "GGA test",
        "gga_test_before": "GGA test, before",
    }
    for key, title in titles.items():
        found = evaluation[key]
        if found is not None:
            lines.append(
                "  ".join([title.ljust(22), str(found["n_frames"] - found["n_failed"]).rjust(7), *_cells(found)])
            )
    return "\n".join(lines)


def _cells(found: dict[str, Any]) -> list[str]:
    return [
        ("-" if found.get(name) is None else f"{found[name] * RENDERED[unit][1]:.4g}").rjust(20)
        for name, _, unit in COLUMNS
    ]
