"""The loss: Huber's, of energy, forces, stress and magnetic moments, missing labels masked.

sum over the quantities q of w_q / n_q * sum huber(prediction - label), with n_q the labelled numbers of the whole batch.
In the units of chgnet: eV/atom, eV/Å, GPa, µB.

References:
    Huang et al., npj Comput. Mater. 11, 313 (2025): Huber loss with weights 3 : 1 : 0.1 : 1, delta 0.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import huber_loss

from xferbench.records import PROPERTIES
from xferbench.units import EV_PER_A3_IN_GPA

if TYPE_CHECKING:
    from torch import Tensor

    from xferbench.models.chgnet.model import Output
    from xferbench.transfer.batches import Labelled
    from xferbench.transfer.config import TrainConfig


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
    """Prediction and label of energy, forces, stress and moments, in the units of the loss."""
    forces, stress = output.forces, output.stress
    if forces is None or stress is None:
        raise ValueError("the network was not asked for forces and stress")
    return [
        (output.energy / labelled.batch.counts, labelled.energy),
        (forces, labelled.forces),
        (stress * EV_PER_A3_IN_GPA, labelled.stress),
        (output.magmoms, labelled.magmoms),
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
