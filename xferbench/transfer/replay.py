"""Replay: r2SCAN is learned while some GGA frames are repeated, each functional with a read-out of its own.

What the network shares between the two heads cannot move far from what GGA needs; how much of GGA is forgotten is measured
on its test frames through the GGA head.

References:
    Multi-head replay fine-tuning as in MACE (github.com/ACEsuit/mace); I. Batatia et al., arXiv:2510.25380.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from xferbench.errors import ModelError
from xferbench.models.chgnet.model import N_ELEMENTS, CHGNet
from xferbench.transfer.fidelity import two_functionals
from xferbench.transfer.method import Setting, Student  # noqa: TC001 - options are found by the hints of a method

if TYPE_CHECKING:
    from xferbench.models.chgnet.batch import Batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeated:
    """Settings of ``replay``.

    Attributes:
        gga_share: GGA frames to repeat for each r2SCAN frame, at most one.
    """

    gga_share: float = 0.25


class TwoHeads(CHGNet):
    """A CHGNet with a read-out of its own for GGA frames, whose atoms are numbered beyond the last element."""

    gga_mlp: nn.Module

    @classmethod
    def of(cls, network: CHGNet) -> TwoHeads:
        """Both heads as the one that there is.

        Raises:
            ModelError: The network pools before its read-out.
        """
        if not network.settings.mlp_first:
            raise ModelError("replay needs a network that reads energies off atoms (mlp_first); start from another")
        two = cls(network.settings)
        two.load_state_dict(network.state_dict())
        two.gga_mlp = deepcopy(two.mlp)
        return two

    def readout(self, atoms: Tensor, batch: Batch) -> Tensor:
        """Energies (n_atoms,) from features (n_atoms, n_atom)."""
        if self.readout_norm is not None:
            atoms = self.readout_norm(atoms)
        is_gga = batch.numbers > N_ELEMENTS
        return torch.where(is_gga, self.gga_mlp(atoms).squeeze(1), self.mlp(atoms).squeeze(1))


def replay(setting: Setting, options: Repeated) -> Student:
    """From the GGA model, a head per functional: r2SCAN is learned while some GGA frames are repeated."""
    return two_functionals(TwoHeads.of(setting.pretrained()), setting, options.gga_share, learned=False)
