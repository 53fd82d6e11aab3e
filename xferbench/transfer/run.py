"""The directory of a run.

```
run.json             method, settings, data, versions, references: what decides the result
config.toml          the settings, for `xferbench train --config`
log.csv              one row per epoch, row 0 before training: errors in eV/atom, eV/Å, eV/Å³, µB
timing.csv           one row per epoch: frames a second, share of the time spent waiting for data
health.json          loss and gradients of the first epoch
checkpoint.pt        everything needed to continue
model.pth.tar        the best weights; chgnet reads it (with `base.pth.tar` to be added, for `delta`)
model.safetensors    the same weights
model.py, <id>.toml  for `xferbench score`, with the model card
predictions/         train.parquet (what was trained on), val.parquet, test.parquet, gga-test.parquet
evaluation.json      errors on them; written last: a run that has it is finished
```
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xferbench.errors import StorageError
from xferbench.schema import parse
from xferbench.storage import read_json
from xferbench.tables import read_table, table_predictions
from xferbench.transfer import health
from xferbench.transfer.config import TrainConfig
from xferbench.transfer.logs import read_rows

if TYPE_CHECKING:
    from pathlib import Path

    from xferbench.records import Predictions

RECORD = "run.json"
CONFIG = "config.toml"
LOG = "log.csv"
TIMING = "timing.csv"
HEALTH = "health.json"
WEIGHTS = "model.pth.tar"
BASE = "base.pth.tar"
SAFE = "model.safetensors"
MODEL = "model.py"
PREDICTIONS = "predictions"
EVALUATION = "evaluation.json"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Run:
    """A run that was started, perhaps finished.

    Attributes:
        directory: Where it lies.
        record: ``run.json`` as plain values.
    """

    directory: Path
    record: dict[str, Any]

    @property
    def finished(self) -> bool:
        """Whether everything is there."""
        return (self.directory / EVALUATION).is_file()

    @property
    def method(self) -> str:
        """Name in ``registry.METHODS``."""
        return str(self.record["method"])

    @property
    def config(self) -> TrainConfig:
        """Its settings, as far as they decide the result."""
        return parse(TrainConfig, self.record["config"], self.directory / RECORD)

    @property
    def log(self) -> list[dict[str, float]]:
        """Rows of ``log.csv``; an empty cell is NaN."""
        return read_rows(self.directory / LOG)

    @property
    def evaluation(self) -> dict[str, Any]:
        """Errors of the exported model: for each split what ``evaluating.errors`` says of it.

        Also ``best_epoch``, and the ids of training frames that were ``left_out`` because they have isolated atoms.

        Splits are ``train`` (what was trained on), ``val``, ``test``, and ``gga_test`` with GGA labels; ``gga_test_before``
        is what the start of the transfer says there, None from scratch. ``energy_aligned`` has one offset per element
        removed, fitted on the training frames. In eV/atom, eV/Å, eV/Å³, µB; None where nothing is labelled.

        Raises:
            StorageError: The run is not finished.
        """
        value: dict[str, Any] = read_json(self._finished(EVALUATION))
        return value

    @property
    def best_epoch(self) -> int:
        """After which the exported weights were reached, from 1; 0 is the initial model.

        Raises:
            StorageError: The run is not finished.
        """
        return int(self.evaluation["best_epoch"])

    @property
    def model(self) -> Path:
        """``model.py``, for ``xferbench score``.

        Raises:
            StorageError: The run is not finished.
        """
        return self._finished(MODEL)

    @property
    def weights(self) -> Path:
        """The best weights, as chgnet reads them.

        Raises:
            StorageError: The run is not finished.
        """
        return self._finished(WEIGHTS)

    def predictions(self, split: str) -> Predictions:
        """Predictions of the exported model for every frame of ``train`` (its part), ``val``, ``test`` or ``gga-test``.

        A frame with an element that the training frames lack has an error instead of numbers.

        Raises:
            StorageError: The run is not finished, or has no such predictions.
        """
        return table_predictions(read_table(self._finished(f"{PREDICTIONS}/{split}.parquet")))

    def steps_to_reach(self, other: Run) -> dict[str, int | None]:
        """Optimiser steps until this run is as good on the validation set as the other one ever gets, by quantity.

        Raises:
            StorageError: One of them has no log yet.
        """
        return health.steps_to_reach(self.log, other.log)

    def _finished(self, name: str) -> Path:
        if not self.finished:
            raise StorageError(f"the run in {self.directory} is not finished; continue it with --resume")
        path = self.directory / name
        if not path.is_file():
            raise StorageError(f"{path} is missing; train again in another place")
        return path


def is_run(directory: Path) -> bool:
    """Whether a run was started there."""
    return (directory / RECORD).is_file()


def open_run(directory: Path) -> Run:
    """A run that was started.

    Raises:
        StorageError: There is none.
        IntegrityError: Its record is damaged.
    """
    if not is_run(directory):
        raise StorageError(f"no run in {directory}: {RECORD} is missing; make one with `xferbench train`")
    return Run(directory=directory, record=read_json(directory / RECORD))
