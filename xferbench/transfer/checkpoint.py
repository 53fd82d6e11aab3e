"""Where a run stands, and the one file that holds all of it.

``checkpoint.pt`` has weights, optimizer, moving average, place in the epoch, length of the log and the best weights so far. It is
replaced as a whole, so a run killed at any moment continues from the last one as if nothing had been. Order of the frames and
random numbers follow from the seed and the place (``data.order``, ``data.seed_part``).
"""

from __future__ import annotations

import io
import pickle
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from xferbench.errors import IntegrityError
from xferbench.storage import read_bytes, write_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

    from xferbench.transfer.optimization import Average

CHECKPOINT = "checkpoint.pt"
N_SUMS = 9
"""Loss; absolute errors of four quantities; how many numbers each is summed over."""


@dataclass(slots=True, kw_only=True)
class State:
    """How far a run is. Changed in place by the runner alone.

    Attributes:
        epoch: That is being worked on, from 0.
        batch: Next batch of it.
        step: Optimizer steps so far.
        sums: Of the epoch so far, see ``N_SUMS``.
        largest: Norm of the gradient, the largest of the epoch so far.
        log_bytes: Length of ``log.csv``; 0 before the initial model was validated.
        best: Lowest validation error so far.
        best_epoch: After which it was reached.
        best_weights: Then.
        gradients: Entries of ``gradients.json``.
        before: What the start says, see ``training``.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    sums: list[float] = field(default_factory=lambda: [0.0] * N_SUMS)
    largest: float = 0.0
    log_bytes: int = 0
    best: float = float("inf")
    best_epoch: int = 0
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    gradients: list[dict[str, Any]] = field(default_factory=list)
    before: dict[str, Any] = field(default_factory=dict)


def save(
    path: Path, state: State, model: nn.Module, optimizer: torch.optim.Optimizer | None, average: Average | None
) -> None:
    """Write a checkpoint, whole or not at all.

    Raises:
        StorageError: The disk refuses.
    """
    content = {
        "state": {name: getattr(state, name) for name in State.__slots__},
        "model": model.state_dict(),
        "optimizer": None if optimizer is None else optimizer.state_dict(),
        "average": None if average is None else average.weights,
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_bytes(path, buffer.getvalue())


def load(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer | None, average: Average | None) -> State:
    """Put a checkpoint back, in place.

    Raises:
        StorageError: It cannot be read.
        IntegrityError: It is damaged, or of another run.
    """
    data = read_bytes(path)
    try:
        content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        model.load_state_dict(content["model"])
        if optimizer is not None:
            optimizer.load_state_dict(content["optimizer"])
        if average is not None:
            average.load(content["average"])
        return State(**content["state"])
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise IntegrityError(f"{path} is damaged or of another run ({reason}); train anew in another place") from error
