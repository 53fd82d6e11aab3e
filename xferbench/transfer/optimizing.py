"""Optimiser, learning rate, and the moving average of the weights."""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from torch import Tensor, nn

    from xferbench.transfer.config import TrainConfig
    from xferbench.transfer.method import Group, Student

STEPS_PER_EPOCH = 10
"""How often an epoch the cosine schedule moves, as in chgnet's ``Trainer``."""


def make_optimizer(student: Student, config: TrainConfig) -> torch.optim.Optimizer:
    """The optimiser of a student, one parameter group for each of its groups, in order."""
    known = dict(student.network.named_parameters())
    groups: list[dict[str, Any]] = [{"params": [known[name] for name in group.weights]} for group in student.groups]
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=0.9, weight_decay=config.weight_decay)
    kind = torch.optim.Adam if config.optimizer == "adam" else torch.optim.AdamW
    return kind(groups, lr=config.lr, weight_decay=config.weight_decay)


def rate(config: TrainConfig, epoch: int, batch: int, n_batches: int) -> float:
    """Learning rate of a step.

    Args:
        config: Of the run.
        epoch: From 0.
        batch: Of the epoch, from 0.
        n_batches: Of an epoch; with fewer than ten, the schedule moves by as many steps at once.
    """
    done = epoch + batch / n_batches
    value = config.lr
    if config.schedule == "cosine":
        step = STEPS_PER_EPOCH * epoch + STEPS_PER_EPOCH * batch // n_batches
        phase = math.pi * step / (STEPS_PER_EPOCH * config.epochs)
        value = config.final_lr + (config.lr - config.final_lr) * (1 + math.cos(phase)) / 2
    if done < config.warmup:
        value *= (done + 1 / n_batches) / (config.warmup + 1 / n_batches)
    return value


def set_rates(optimizer: torch.optim.Optimizer, groups: tuple[Group, ...], rate: float, base: float) -> None:
    """Give each group its learning rate: the run's, or its own scaled as the run's is."""
    for settings, group in zip(optimizer.param_groups, groups, strict=True):
        settings["lr"] = rate if group.lr is None else group.lr * rate / base


def hold(student: Student, config: TrainConfig, epoch: int) -> None:
    """Drop the gradients of groups that do not train yet, so that the optimiser leaves them alone."""
    for group in student.groups:
        if epoch < group.after * config.epochs:
            for name in group.weights:
                student.network.get_parameter(name).grad = None


def clip(parameters: Sequence[nn.Parameter], largest: float | None) -> float:
    """Norm of the gradient, all parameters together; the gradient is scaled down to ``largest`` if it is longer."""
    having = [parameter for parameter in parameters if parameter.grad is not None]
    norm = get_total_norm([parameter.grad for parameter in having if parameter.grad is not None])
    if largest is not None:
        clip_grads_with_norm_(having, largest, norm)
    return float(norm)


class Average:
    """Exponential moving average of the weights that train.

    Args:
        network: Whose weights.
        decay: Share of the old average that a step keeps.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay, self.trained = decay, _trained(network)
        self.weights = {name: value.detach().clone() for name, value in self.trained.items()}

    def update(self) -> None:
        """Take in the weights after a step."""
        with torch.no_grad():
            for name, mean in self.weights.items():
                mean.lerp_(self.trained[name], 1 - self.decay)

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Continue from a saved average."""
        for name, mean in self.weights.items():
            mean.copy_(weights[name])

    @contextmanager
    def within(self) -> Iterator[None]:
        """The network has the average as its weights; afterwards its own."""
        own = {name: value.detach().clone() for name, value in self.trained.items()}
        try:
            _assign(self.trained, self.weights)
            yield
        finally:
            _assign(self.trained, own)


def _trained(network: nn.Module) -> dict[str, Tensor]:
    return {name: value for name, value in network.named_parameters() if value.requires_grad}


def _assign(parameters: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    with torch.no_grad():
        for name, value in parameters.items():
            value.copy_(values[name])
