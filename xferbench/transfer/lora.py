"""Low-rank adaptation: each matrix of the convolutions and of the read-out is moved by a product of two thin ones.

References:
    E. Hu et al., ICLR 2022, arXiv:2106.09685: W + (alpha / r) B A, with B zero at the start.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from xferbench.errors import UsageError
from xferbench.transfer.finetune import refit
from xferbench.transfer.method import Group, Setting, Student, set_references

if TYPE_CHECKING:
    from xferbench.models.chgnet.model import CHGNet


@dataclass(frozen=True, slots=True, kw_only=True)
class Rank:
    """Settings of ``lora``.

    Attributes:
        rank: Width of the thin matrices.
        alpha: The product is multiplied by ``alpha / rank``.
    """

    rank: int = 8
    alpha: float = 8.0


class LowRank(nn.Module):
    """Adds (alpha / rank) B A to a matrix.

    Args:
        weight: The matrix (n_out, n_in).
        options: Rank and scale.
        generator: Of the random A; B is zero, so that the network starts as it was.
    """

    def __init__(self, weight: Tensor, options: Rank, generator: torch.Generator) -> None:
        super().__init__()
        n_out, n_in = weight.shape
        self.scale = options.alpha / options.rank
        self.down = nn.Parameter(torch.randn(options.rank, n_in, generator=generator) / n_in**0.5)
        self.up = nn.Parameter(torch.zeros(n_out, options.rank))

    def forward(self, weight: Tensor) -> Tensor:
        """(n_out, n_in) -> (n_out, n_in)."""
        return weight + self.scale * self.up @ self.down


def lora(setting: Setting, options: Rank) -> Student:
    """From the GGA model, low-rank changes of its matrices train; references refitted and frozen."""
    if options.rank < 1:
        raise UsageError(f"options.rank = {options.rank} must be 1 or more")
    network = setting.pretrained()
    references = refit(network, setting)
    set_references(network, references)
    generator = torch.Generator().manual_seed(setting.config.seed)
    for layer in _matrices(network):
        parametrize.register_parametrization(layer, "weight", LowRank(layer.weight, options, generator))
    names = tuple(name for name, _ in network.named_parameters() if name.endswith((".down", ".up")))
    return Student(network=network, groups=(Group(name="adapters", weights=names),), references=references)


def _matrices(network: CHGNet) -> list[nn.Linear]:
    """Matrices that are more than one row, of the layers that a prediction reads."""
    used = [network.atom_conv_layers, network.bond_conv_layers, *list(network.angle_layers)[:-1], network.mlp]
    return [
        layer for part in used for layer in part.modules() if isinstance(layer, nn.Linear) and layer.weight.shape[0] > 1
    ]
