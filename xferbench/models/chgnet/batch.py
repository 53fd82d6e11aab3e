"""A batch as the network reads it: graphs of many crystals as torch tensors and incidences.

Tables and results of the sums; of bond ``b``, directed bond ``2 b`` is as stored and ``2 b + 1`` reversed:

| sum | result row | table rows added |
|---|---|---|
| ``ends`` | directed bond (2 n_bonds) | atom it starts from, atom it leads to, undirected bond |
| ``receive`` | atom (n_atoms) | directed bonds that start from it |
| ``corners`` | angle (n_angles) | receiving bond, other bond, atom at the tip |
| ``others`` | angle (n_angles) | other bond |
| ``collect`` | short bond (n_short) | angles it receives from |
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from xferbench.models.chgnet.operations import Incidence

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from xferbench.models.chgnet.graph import Graphs


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """Crystals of one forward pass.

    Attributes:
        numbers: (n_atoms,) atomic numbers.
        owner: (n_atoms,) crystal of each atom.
        counts: (n_crystals,) atoms of each crystal.
        volumes: (n_crystals,) Å³, positive.
        center: (n_bonds,) atom a stored bond starts from.
        neighbor: (n_bonds,) atom it leads to.
        vector: (n_bonds, 3) Å, from center to neighbour.
        n_short: The first bonds, nodes of the bond graph.
        angled: (n_bonds, 1) 1 for bonds of a crystal that has angles, else 0.
        first: (n_angles,) directed short bond that receives, as in ``Graphs``.
        second: (n_angles,) the other one.
    """

    numbers: Tensor
    owner: Tensor
    counts: Tensor
    volumes: Tensor
    center: Tensor
    neighbor: Tensor
    vector: Tensor
    n_short: int
    angled: Tensor
    first: Tensor
    second: Tensor
    ends: Incidence
    receive: Incidence
    corners: Incidence
    others: Incidence
    collect: Incidence

    @classmethod
    def from_graphs(cls, graphs: Graphs, *, dtype: torch.dtype, device: torch.device) -> Batch:
        """Graphs as tensors: geometry in double precision, ``angled`` in that of the network."""
        crystals, n_short = graphs.crystals, graphs.n_short
        n_atoms, n_bonds = len(crystals.numbers), len(graphs.center)
        has_angles = np.bincount(crystals.owner[graphs.vertex], minlength=len(crystals.counts)) > 0
        start = np.stack([graphs.center, graphs.neighbor], axis=1).ravel()
        end = np.stack([graphs.neighbor, graphs.center], axis=1).ravel()
        ends = np.column_stack([2 * start, 2 * end + 1, 2 * n_atoms + np.repeat(np.arange(n_bonds), 2)])
        first, second = graphs.first % max(n_short, 1), graphs.second % max(n_short, 1)
        corners = np.column_stack([2 * first, 2 * second + 1, 2 * n_short + graphs.vertex])

        def double(array: NDArray[Any]) -> Tensor:
            return torch.as_tensor(array, dtype=torch.float64, device=device)

        def integer(array: NDArray[Any]) -> Tensor:
            return torch.as_tensor(array, dtype=torch.int64, device=device)

        return cls(
            numbers=integer(crystals.numbers),
            owner=integer(crystals.owner),
            counts=integer(crystals.counts),
            volumes=double(np.abs(np.linalg.det(crystals.cells))),
            center=integer(graphs.center),
            neighbor=integer(graphs.neighbor),
            vector=double(graphs.vector),
            n_short=n_short,
            angled=torch.as_tensor(has_angles[crystals.owner[graphs.center], None], dtype=dtype, device=device),
            first=integer(graphs.first),
            second=integer(graphs.second),
            ends=Incidence.from_terms(ends, 2 * n_atoms + n_bonds).to(device),
            receive=Incidence.from_terms(start[:, None], n_atoms).transpose.to(device),
            corners=Incidence.from_terms(corners, 2 * n_short + n_atoms).to(device),
            others=Incidence.from_terms(second[:, None], n_short).to(device),
            collect=Incidence.from_terms(first[:, None], n_short).transpose.to(device),
        )

    def to(self, device: torch.device) -> Batch:
        """A copy on a device; itself if it is there."""
        if self.numbers.device == device:
            return self
        values: dict[str, Any] = {item.name: getattr(self, item.name) for item in fields(self)}
        movable = (torch.Tensor, Incidence)
        moved: dict[str, Any] = {
            key: value.to(device) if isinstance(value, movable) else value for key, value in values.items()
        }
        return Batch(**moved)

    @property
    def n_angles(self) -> int:
        """Number of angles."""
        return len(self.first)
