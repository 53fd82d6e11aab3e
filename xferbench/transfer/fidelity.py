"""Multi-fidelity training: both functionals at once, told apart by a vector that is added to every atom's features.

An atom of a GGA frame is numbered beyond the last element, which picks the second half of two tables: embeddings, made of
one common table and one vector per functional, and references, one table per functional.

References:
    J. Kim et al., JACS 2025, arXiv:2409.07947 (SevenNet-MF): a fidelity encoding and references per fidelity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from xferbench.errors import UsageError
from xferbench.transfer import referencing
from xferbench.transfer.method import Group, Setting, Student, references_table, weights_of

if TYPE_CHECKING:
    from xferbench.models.chgnet.model import CHGNet


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """Settings of ``multi-fidelity``.

    Attributes:
        gga_share: GGA frames to learn from for each r2SCAN frame, at most one.
    """

    gga_share: float = 1.0


class Fidelity(nn.Module):
    """One embedding per element -> one per functional and element, r2SCAN first.

    Args:
        width: Of an embedding.
        learned: Whether the functionals differ by a vector, zero at the start; otherwise both read the same.
    """

    def __init__(self, width: int, *, learned: bool) -> None:
        super().__init__()
        self.vectors = nn.Parameter(torch.zeros(2, width)) if learned else None

    def forward(self, table: Tensor) -> Tensor:
        """(n_elements, width) -> (2 n_elements, width)."""
        if self.vectors is None:
            return torch.cat([table, table])
        return torch.cat([table + self.vectors[0], table + self.vectors[1]])


def multi_fidelity(setting: Setting, options: Shares) -> Student:
    """From the GGA model, both functionals train at once: a vector per functional, references of each refitted."""
    return two_functionals(setting.pretrained(), setting, options.gga_share, learned=True)


def two_functionals(network: CHGNet, setting: Setting, gga_share: float, *, learned: bool) -> Student:
    """A student of both functionals: two embeddings and two references per element, each fitted to its functional's labels.

    Args:
        network: Is changed.
        setting: What there is to learn from.
        gga_share: GGA frames for each r2SCAN frame.
        learned: Whether the embeddings differ by a vector.

    Raises:
        UsageError: No share.
    """
    if not 0 < gga_share <= 1:
        raise UsageError(f"options.gga_share = {gga_share:g} must be above 0 and at most 1")
    table = references_table(network)
    target = referencing.refitted(table, setting.frames)
    source = referencing.refitted(table, [pair.gga for pair in setting.pairs])
    both = torch.cat([torch.from_numpy(target.table), torch.from_numpy(source.table)]).float()
    network.get_submodule("composition_model.fc").register_parameter("weight", nn.Parameter(both[None]))
    embedding = network.get_submodule("atom_embedding.embedding")
    width = network.settings.atom_fea_dim
    # the shape changes on purpose
    parametrize.register_parametrization(embedding, "weight", Fidelity(width, learned=learned), unsafe=True)
    return Student(
        network=network,
        groups=(Group(name="network", weights=weights_of(network)),),
        references=target,
        gga_share=gga_share,
        has_gga=True,
    )
