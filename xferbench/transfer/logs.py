"""What a run writes as it goes: CSV always, TensorBoard and Weights & Biases where asked for."""

from __future__ import annotations

import csv
import io
import math
import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from xferbench.errors import MissingExtraError
from xferbench.storage import disk_errors, write_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from xferbench.transfer.config import TrainConfig


class Logger(Protocol):
    """Takes the numbers of an epoch."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Write them."""

    def close(self, *, failed: bool) -> None:
        """Nothing more comes; ``failed`` if the run stopped before its end."""


class Table:
    """A CSV file that grows by rows and can be cut back to where a checkpoint was written.

    Args:
        path: Of the file.
        position: Bytes of it that are kept; what a stopped run wrote beyond is made again. All if left out.
    """

    def __init__(self, path: Path, position: int | None = None) -> None:
        self.path = path
        with disk_errors("write", path):
            self.position = path.stat().st_size if path.exists() else 0
            if position is not None and position < self.position:
                with path.open("rb+") as stream:
                    stream.truncate(position)
                self.position = position

    def add(self, row: Mapping[str, object]) -> None:
        """Append a row; the first one brings the header.

        Raises:
            StorageError: The disk refuses.
        """
        text = io.StringIO()
        writer = csv.DictWriter(text, row, lineterminator="\n")
        if not self.position:
            writer.writeheader()
        writer.writerow(row)
        data = text.getvalue().encode()
        with disk_errors("write", self.path), self.path.open("ab") as stream:
            stream.write(data)
        self.position += len(data)


def read_rows(path: Path) -> list[dict[str, float]]:
    """Rows of a CSV file of numbers; an empty cell is NaN.

    Raises:
        StorageError: It cannot be read.
    """
    with disk_errors("read", path):
        rows = list(csv.DictReader(path.read_text().splitlines()))
    return [{key: float(value) if value else math.nan for key, value in row.items()} for row in rows]


class TensorBoard:
    """Scalars in TensorBoard's files below a run."""

    def __init__(self, directory: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ModuleNotFoundError as error:
            raise MissingExtraError('the logger tensorboard needs its package; pip install ".[tensorboard]"') from error
        self._writer: Any = SummaryWriter(str(directory / "tensorboard"))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Write the numbers of an epoch."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self, *, failed: bool) -> None:  # noqa: ARG002 - of every logger
        """End the file."""
        self._writer.close()


class WeightsAndBiases:
    """A run of Weights & Biases, the same one after a resume; project, account and mode are taken from its environment variables."""

    def __init__(self, directory: Path, settings: Mapping[str, Any]) -> None:
        try:
            import wandb  # type: ignore[import-not-found,unused-ignore] # an extra
        except ModuleNotFoundError as error:
            raise MissingExtraError('the logger wandb needs its package; pip install ".[wandb]"') from error
        known = directory / "wandb" / "run-id"
        if not known.exists():
            write_text(known, secrets.token_hex(4))
        self._run: Any = wandb.init(
            dir=str(directory), name=directory.name, config=dict(settings), id=known.read_text(), resume="allow"
        )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Send the numbers of an epoch."""
        self._run.log(dict(values), step=step)

    def close(self, *, failed: bool) -> None:
        """Finish the run; without it the next one in this process would be written into it."""
        self._run.finish(exit_code=int(failed))


@contextmanager
def loggers(config: TrainConfig, directory: Path) -> Iterator[list[Logger]]:
    """The loggers that were asked for, beyond the CSV files; closed after the block, however it ends.

    Raises:
        MissingExtraError: A package is not installed.
    """
    made: list[Logger] = []
    failed = True
    try:
        if "tensorboard" in config.loggers:
            made.append(TensorBoard(directory))
        if "wandb" in config.loggers:
            made.append(WeightsAndBiases(directory, config.recipe()))
        yield made
        failed = False
    finally:
        for logger in made:
            logger.close(failed=failed)


def mean_columns(values: Sequence[float], names: Sequence[str], prefix: str) -> dict[str, float | str]:
    """Cells of a row; what is not a number is left empty."""
    return {f"{prefix}{name}": "" if math.isnan(value) else value for name, value in zip(names, values, strict=True)}
