"""The one place where a study meets ``xferbench.transfer``: carry out a run, and read what it left."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xferbench.dataset import Dataset
from xferbench.errors import UsageError
from xferbench.schema import parse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from xferbench.records import Prediction
    from xferbench.studies.measuring import Load
    from xferbench.studies.plan import Cell
    from xferbench.studies.running import Work
    from xferbench.transfer.config import TrainConfig


LEFT_TO_RUNS = ("subset", "seed", "epoch_limit", "strategy", "references", "atoms")
"""Settings that differ between the runs of a study, or make no sense in one."""


def train_cell(work: Work) -> None:
    """Train, or go on training.

    Raises:
        XferbenchError: Whatever the user has to mend.
    """
    from xferbench import transfer

    dataset, config = Dataset.open(Path(work.dataset)), config_of(work.config)
    transfer.train(dataset, Path(work.out), config, resume=True)


def settings(presets: Sequence[str] = (), **options: Any) -> dict[str, Any]:  # noqa: ANN401 - those of ``make_config``
    """Settings of training as plain values.

    Args:
        presets: As in ``transfer.make_config``.
        options: The same.

    Raises:
        UsageError: Unknown or impossible settings.
        FormatError: The same, of a file.
    """
    from xferbench.transfer.config import make_config, plain

    return plain(make_config(presets, **options))


def method_options(texts: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Settings of single methods, from ``method:key=value``.

    Raises:
        UsageError: A text is not like that.
    """
    found: dict[str, dict[str, Any]] = {}
    for text in texts:
        method, colon, setting = text.rpartition(":")
        if not colon or "=" not in setting:
            raise UsageError(f"--option {text!r}: write METHOD:KEY=VALUE, such as lora+fit:rank=4")
        found.setdefault(method_name(method), {}).update(settings(settings=(f"options.{setting}",))["options"])
    return found


def method_name(text: str, model: str | None = None) -> str:
    """A method as plans, tables and directories name it: ``[MODEL/]STRATEGY+REFERENCES``.

    Args:
        text: As typed: ``paper-4``, ``lora``, ``finetune+model-aware``, ``sevennet:7net-0/paper-4``.
        model: Put before it if none is there.

    Raises:
        UnknownNameError: No such strategy, preset, architecture or reference scheme.
        UsageError: The references do not go with the strategy.
    """
    found = method_settings(text)
    model = found.get("model", model)
    return f"{model}/" * (model is not None) + f"{found['strategy']}+{found['references']}"


def method_settings(text: str) -> dict[str, str]:
    """Settings of training that a method stands for.

    Raises:
        UnknownNameError: As ``method_name``.
        UsageError: The same.
    """
    from xferbench.transfer.config import read_method

    return read_method(text)


def parted(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings that decide the results of a study, and those that say how its runs are carried out."""
    from xferbench.transfer.config import RUNTIME

    own = {key: value for key, value in values.items() if key not in LEFT_TO_RUNS}
    recipe = {key: value for key, value in own.items() if key not in RUNTIME}
    return recipe, {key: value for key, value in own.items() if key in RUNTIME}


def config_of(values: Mapping[str, Any]) -> TrainConfig:
    """Settings from plain values.

    Raises:
        FormatError: They are no settings.
    """
    from xferbench.transfer.config import TrainConfig

    return parse(TrainConfig, values, "settings of the study")


def predictions_of(out: Path) -> Load:
    """A function that reads what a run below ``out`` predicts for the test split, by frame id."""
    return partial(_predictions, out)


def log_of(out: Path, cell: Cell) -> Sequence[Mapping[str, float]]:
    """Rows of the log of a run, one per epoch."""
    from xferbench import transfer

    return transfer.open_run(out / cell.name).log


def evaluation_of(out: Path, cell: Cell) -> Mapping[str, Any]:
    """What a finished run wrote about itself."""
    from xferbench import transfer

    return transfer.open_run(out / cell.name).evaluation


def seconds_per_epoch(run: Path) -> float | None:
    """Of the last epoch of a run, by the clock; ``None`` if it has none."""
    from xferbench.transfer.logs import read_rows
    from xferbench.transfer.run import TIMING

    rows = read_rows(run / TIMING) if (run / TIMING).exists() else []
    return rows[-1]["seconds"] if rows else None


def _predictions(out: Path, cell: Cell) -> dict[str, Prediction]:
    from xferbench import transfer

    records = transfer.open_run(out / cell.name).predictions("test").records
    return {record.frame_id: record for record in records}
