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
    from xferbench.transfer.config import TrainConfig
    from xferbench.workflow.studies.measuring import Load
    from xferbench.workflow.studies.plan import Cell
    from xferbench.workflow.studies.running import Work


LEFT_TO_RUNS = ("subset", "seed", "epoch_limit")
"""Settings that differ between the runs of a study, or make no sense in one."""


def train_cell(work: Work) -> None:
    """Train, or go on training.

    Raises:
        XferbenchError: Whatever the user has to mend.
    """
    from xferbench import transfer

    dataset, config = Dataset.open(Path(work.dataset)), config_of(work.config)
    transfer.train(work.method, dataset, Path(work.out), config, resume=True)


def settings(preset: str, **options: Any) -> dict[str, Any]:  # noqa: ANN401 - those of ``make_config``
    """Settings of training as plain values.

    Args:
        preset: As in ``transfer.make_config``.
        options: The same.

    Raises:
        UsageError: Unknown or impossible settings.
        FormatError: The same, of a file.
    """
    from xferbench.transfer.config import make_config, plain

    return plain(make_config(preset, **options))


def method_options(texts: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Settings of single methods, from ``method:key=value``.

    Raises:
        UsageError: A text is not like that.
    """
    found: dict[str, dict[str, Any]] = {}
    for text in texts:
        method, colon, setting = text.partition(":")
        if not colon:
            raise UsageError(f"--option {text!r}: write METHOD:KEY=VALUE, such as lora:rank=4")
        found.setdefault(method, {}).update(settings("paper", settings=(f"options.{setting}",))["options"])
    return found


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


def _predictions(out: Path, cell: Cell) -> dict[str, Prediction]:
    from xferbench import transfer

    records = transfer.open_run(out / cell.name).predictions("test").records
    return {record.frame_id: record for record in records}
