"""What moves the weights: loss, optimizer, learning rate, and the moving average.

The loss is Huber's, of energy, forces, stress and magnetic moments, missing labels masked:
sum over the quantities q of w_q / n_q * sum huber(prediction - label), with n_q the labelled numbers of the whole batch,
in the units of chgnet: eV/atom, eV/Å, GPa, µB.

References:
    Huang et al., npj Comput. Mater. 11, 313 (2025): weights 3 : 1 : 0.1 : 1, delta 0.1.
    J. Kirkpatrick et al., PNAS 114, 3521 (2017): elastic weight consolidation.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import huber_loss
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from xferbench.records import PROPERTIES
from xferbench.units import EV_PER_A3_IN_GPA

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from torch import Tensor, nn

    from xferbench.models.trainable import Output
    from xferbench.transfer.config import TrainConfig
    from xferbench.transfer.data import Labelled

STEPS_PER_EPOCH = 10
"""How often an epoch the cosine schedule moves, as in chgnet's ``Trainer``."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Loss:
    """Of one part of a batch.

    Attributes:
        value: This part's share of the batch's loss; the shares add up.
        errors: (4,) sums of absolute errors of energy, forces, stress and moments, without derivatives.
    """

    value: Tensor
    errors: Tensor


def loss(output: Output, labelled: Labelled, config: TrainConfig) -> Loss:
    """Compare a prediction with its labels."""
    value, errors = output.energy.new_zeros(()), []
    for name, count, (prediction, stated) in zip(
        PROPERTIES, labelled.part.counts, compared(output, labelled), strict=True
    ):
        # a missing label becomes the prediction: no loss, and no NaN on the way back
        label = torch.where(torch.isfinite(stated), stated, prediction.detach())
        weight = labelled.part.weight * getattr(config.loss, name) / max(count, 1)
        # also with a weight of zero: processes wait for the gradient of everything that was predicted
        value = value + weight * huber_loss(prediction, label, reduction="sum", delta=config.huber_delta)
        errors.append(labelled.part.weight * (prediction.detach() - label).abs().sum())
    return Loss(value=value, errors=torch.stack(errors))


def compared(output: Output, labelled: Labelled) -> list[tuple[Tensor, Tensor]]:
    """Prediction and label of energy, forces, stress and moments, in the units of the loss; no moments are zeros."""
    magmoms = output.magmoms
    return [
        (output.energy / labelled.batch.counts, labelled.energy),
        (output.forces, labelled.forces),
        (output.stress * EV_PER_A3_IN_GPA, labelled.stress),
        (torch.zeros_like(labelled.magmoms) if magmoms is None else magmoms, labelled.magmoms),
    ]


def not_finite(output: Output, labelled: Labelled) -> list[int]:
    """Places of the samples whose prediction is NaN or infinite."""
    owner = labelled.batch.owner
    bad: set[int] = set()
    for number, (prediction, _) in enumerate(compared(output, labelled)):
        broken = ~torch.isfinite(prediction.detach())
        rows = broken.reshape(len(broken), -1).any(1).nonzero().flatten()
        places = owner[rows] if number in {1, 3} else rows
        bad.update(int(place) for place in places.tolist())
    return sorted(bad)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterGroup:
    """Parameters that train alike.

    Attributes:
        name: For messages and the record.
        parameters: Names.
        lr: Their own learning rate instead of the run's, whose schedule it follows.
        after: Optimizer steps in which they do not train yet.
    """

    name: str
    parameters: tuple[str, ...]
    lr: float | None = None
    after: int = 0


def make_optimizer(model: nn.Module, groups: Sequence[ParameterGroup], config: TrainConfig) -> torch.optim.Optimizer:
    """The optimizer, with one of torch's parameter groups for each of these, in order."""
    known = dict(model.named_parameters())
    made: list[dict[str, Any]] = [{"params": [known[name] for name in group.parameters]} for group in groups]
    if config.optimizer == "sgd":
        return torch.optim.SGD(made, lr=config.lr, momentum=0.9, weight_decay=config.weight_decay)
    kind = torch.optim.Adam if config.optimizer == "adam" else torch.optim.AdamW
    return kind(made, lr=config.lr, weight_decay=config.weight_decay)


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


def set_rates(optimizer: torch.optim.Optimizer, groups: Sequence[ParameterGroup], rate: float, base: float) -> None:
    """Give each group its learning rate: the run's, or its own scaled as the run's is."""
    for settings, group in zip(optimizer.param_groups, groups, strict=True):
        settings["lr"] = rate if group.lr is None else group.lr * rate / base


def hold(model: nn.Module, groups: Sequence[ParameterGroup], step: int) -> None:
    """Drop the gradients of groups that do not train yet, so that the optimizer leaves them alone."""
    for group in groups:
        if step < group.after:
            for name in group.parameters:
                model.get_parameter(name).grad = None


def clip(parameters: Sequence[nn.Parameter], largest: float | None) -> float:
    """Norm of the gradient, all parameters together; the gradient is scaled down to ``largest`` if it is longer."""
    having = [parameter for parameter in parameters if parameter.grad is not None]
    norm = get_total_norm([parameter.grad for parameter in having if parameter.grad is not None])
    if largest is not None:
        clip_grads_with_norm_(having, largest, norm)
    return float(norm)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Penalty:
    """Elastic weight consolidation: strength / 2 * sum of importance * (weight - weight at the start)², per parameter.

    Attributes:
        strength: Of all.
        start: Name -> weights at the start.
        importance: Name -> diagonal of the Fisher information of what is to be kept.
    """

    strength: float
    start: Mapping[str, Tensor]
    importance: Mapping[str, Tensor]

    def add_gradients(self, model: nn.Module) -> None:
        """Add the derivative to the gradients that are there."""
        with torch.no_grad():
            for name, start in self.start.items():
                parameter = model.get_parameter(name)
                if parameter.grad is not None:
                    away = parameter - start.to(parameter.device)
                    parameter.grad += self.strength * self.importance[name].to(parameter.device) * away


class Average:
    """Exponential moving average of the weights that train.

    Args:
        model: Whose weights.
        decay: Share of the old average that a step keeps.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay, self.trained = decay, _trained(model)
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
        """The model has the average as its weights; afterwards its own."""
        own = {name: value.detach().clone() for name, value in self.trained.items()}
        try:
            _assign(self.trained, self.weights)
            yield
        finally:
            _assign(self.trained, own)


def _trained(model: nn.Module) -> dict[str, Tensor]:
    return {name: value for name, value in model.named_parameters() if value.requires_grad}


def _assign(parameters: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    with torch.no_grad():
        for name, value in parameters.items():
            value.copy_(values[name])
