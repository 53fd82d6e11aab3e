"""How a run starts: loss and gradients of its first steps, and when it is as good as another run.

References:
    Huang et al., npj Comput. Mater. 11, 313 (2025), Fig. 3: gradients at every tenth of the first epoch; with references
    that were not refitted they are larger by an order of magnitude.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from xferbench.records import PROPERTIES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import nn

SAMPLES = 10
"""Steps of the first epoch that are looked at."""


def is_sampled(epoch: int, batch: int, n_batches: int) -> bool:
    """Whether the gradients of a step are recorded: ten steps of the first epoch, the first among them."""
    return epoch == 0 and (batch == 0 or SAMPLES * batch // n_batches > SAMPLES * (batch - 1) // n_batches)


def gradient_norms(network: nn.Module) -> dict[str, float]:
    """Norm of the gradient of each layer that has one; a layer is named by its first words, like ``mlp.layers``."""
    squares: dict[str, float] = {}
    for name, parameter in network.named_parameters():
        if parameter.grad is not None:
            layer = ".".join(name.split(".")[:2])
            squares[layer] = squares.get(layer, 0.0) + float(parameter.grad.double().square().sum())
    return {layer: math.sqrt(square) for layer, square in squares.items()}


def entry(step: int, loss: float, network: nn.Module) -> dict[str, Any]:
    """What is recorded of a step: before it changes the weights."""
    return {"step": step, "loss": loss, "gradient_norms": gradient_norms(network)}


def steps_to_reach(log: Sequence[Mapping[str, float]], other: Sequence[Mapping[str, float]]) -> dict[str, int | None]:
    """Optimiser steps after which a run is as good as another one ever gets, on the validation set.

    Args:
        log: Rows of a run's ``log.csv``.
        other: Those of the other run, usually from scratch on the same data.

    Returns:
        Quantity -> steps; 0 if it is so good before training, None if it never is.
    """
    found: dict[str, int | None] = {}
    for name in PROPERTIES:
        column = f"val_{name}"
        values = [row[column] for row in other if not math.isnan(row[column])]
        goal = min(values, default=math.nan)
        found[name] = next((int(row["step"]) for row in log if row[column] <= goal), None)
    return found
