"""The layers of CHGNet, with the parameter names of its checkpoints.

A gated network acts on features of several things: two atoms and a bond, or two bonds, an angle and an atom. Its first
linear layer acts here on each thing once, before the results are added up per bond or angle; that is the same sum, since
W [x, y, z] = Wx x + Wy y + Wz z, at a fraction of the products.

References:
    B. Deng et al., Nat. Mach. Intell. 5, 1031 (2023), Methods: Eq. 3 (atom convolution), 4 (bond convolution),
    5 (angle update) and the gated network phi.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from xferbench.errors import ModelError
from xferbench.models.chgnet.normalisation import LayerNorm
from xferbench.models.chgnet.operations import Linear, linear, sum_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xferbench.models.chgnet.batch import Batch


@dataclass(slots=True, kw_only=True, eq=False)
class State:
    """Features on their way forward, or slopes by them on the way back.

    Attributes:
        atoms: (n_atoms, n_atom).
        bonds: (n_bonds, n_bond).
        angles: (n_angles, n_angle).
        weights: (n_bonds, n_atom) smooth weights of the bonds.
        short_weights: (n_short, n_bond) smooth weights of the short bonds.
    """

    atoms: Tensor
    bonds: Tensor
    angles: Tensor
    weights: Tensor
    short_weights: Tensor


class ScaledSiLU(nn.Module):
    """SiLU divided by 0.6, so that it about keeps the variance."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return nn.functional.silu(x) / 0.6


ACTIVATIONS: dict[str, type[nn.Module]] = {
    "silu": nn.SiLU,
    "scaledsilu": ScaledSiLU,
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "softplus": nn.Softplus,
    "sigmoid": nn.Sigmoid,
}

NORMS: dict[str, type[nn.Module]] = {"layer": LayerNorm, "batch": nn.BatchNorm1d}


def norm_layer(name: str | None, width: int) -> nn.Module | None:
    """A normalisation by its name in a checkpoint; unknown names mean none, as in CHGNet."""
    kind = None if name is None else NORMS.get(name.lower())
    return None if kind is None else kind(width)


class MLP(nn.Module):
    """Linear layers with an activation between them; ``layers`` is numbered as in the checkpoints.

    Args:
        n_in: Width of the input.
        n_out: Width of the output.
        hidden: Widths of the hidden layers.
        activation: Its name in ``ACTIVATIONS``.
        dropout: Before the last layer.
        bias: Whether the layers have one.
    """

    def __init__(
        self, n_in: int, n_out: int, *, hidden: Sequence[int], activation: str, dropout: float = 0, bias: bool = True
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = n_in
        for next_width in hidden:
            layers += [Linear(width, next_width, bias=bias), ACTIVATIONS[activation.lower()]()]
            width = next_width
        layers += [nn.Dropout(dropout), Linear(width, n_out, bias=bias)]
        self.layers = nn.Sequential(*layers)
        self.start = 0 if hidden else 1

    def forward(self, x: Tensor) -> Tensor:
        """(n, n_in) -> (n, n_out)."""
        result: Tensor = self.layers(x)
        return result

    @property
    def first(self) -> Linear:
        """The first linear layer."""
        layer = self.layers[self.start]
        assert isinstance(layer, Linear)  # noqa: S101 - for the type checker; the constructor put it there
        return layer

    def after_first(self, x: Tensor) -> Tensor:
        """What follows the first linear layer: (n, hidden[0]) -> (n, n_out)."""
        if self.start == 1 and self.training and self.layers[0].p:
            raise ModelError(
                "this network cannot be trained with conv_dropout; train it with chgnet, or without dropout"
            )
        for layer in list(self.layers)[self.start + 1 :]:
            x = layer(x)
        return x


class GatedMLP(nn.Module):
    """phi(x) = activation(norm(core(x))) * sigmoid(norm(gate(x)))."""

    def __init__(
        self, n_in: int, n_out: int, *, hidden: Sequence[int], activation: str, norm: str | None, dropout: float = 0
    ) -> None:
        super().__init__()
        self.mlp_core = MLP(n_in, n_out, hidden=hidden, activation=activation, dropout=dropout)
        self.mlp_gate = MLP(n_in, n_out, hidden=hidden, activation=activation, dropout=dropout)
        self.activation = ACTIVATIONS[activation.lower()]()
        self.bn1 = norm_layer(norm, n_out)
        self.bn2 = norm_layer(norm, n_out)

    def forward(self, x: Tensor) -> Tensor:
        """(n, n_in) -> (n, n_out)."""
        return self.after_first(self.mlp_core.first(x), self.mlp_gate.first(x))

    def after_first(self, core: Tensor, gate: Tensor) -> Tensor:
        """What follows the first linear layers, whose results (n, hidden[0]) are given."""
        core, gate = self.mlp_core.after_first(core), self.mlp_gate.after_first(gate)
        if self.bn1 is not None and self.bn2 is not None:
            core, gate = self.bn1(core), self.bn2(gate)
        result: Tensor = self.activation(core) * torch.sigmoid(gate)
        return result


class AtomConv(nn.Module):
    """v_i + W sum_j phi(v_i, e_ij, v_j) * weight_ij over the neighbours j of atom i (Eq. 3)."""

    def __init__(self, *, n_atom: int, gated: GatedMLP, out_bias: bool) -> None:
        super().__init__()
        self.n_atom = n_atom
        self.twoBody_atom = gated
        self.mlp_out = MLP(n_atom, n_atom, hidden=(), activation="silu", bias=out_bias)

    def forward(self, atoms: Tensor, bonds: Tensor, weights: Tensor, batch: Batch) -> Tensor:
        """New atom features (n_atoms, n_atom).

        Args:
            atoms: (n_atoms, n_atom).
            bonds: (n_bonds, n_bond).
            weights: (n_bonds, n_atom) smooth weights of the bonds.
            batch: The graphs.
        """
        gated = self.twoBody_atom
        core, gate = (self._ends(mlp.first, atoms, bonds, batch) for mlp in (gated.mlp_core, gated.mlp_gate))
        messages = gated.after_first(core, gate)
        messages = messages.reshape(len(bonds), 2, messages.shape[1]) * weights[:, None]
        received = sum_rows(messages.flatten(0, 1), batch.receive)
        update: Tensor = self.mlp_out(received)
        return atoms + update

    def _ends(self, first: Linear, atoms: Tensor, bonds: Tensor, batch: Batch) -> Tensor:
        """First layer on [v_i, e_ij, v_j] of every directed bond: (2 n_bonds, hidden)."""
        start, bond, end = torch.split(first.weight, [self.n_atom, bonds.shape[1], self.n_atom], dim=1)
        ends = linear(atoms, torch.cat([start, end])).reshape(2 * len(atoms), -1)
        return sum_rows(torch.cat([ends, linear(bonds, bond, first.bias)]), batch.ends)


class BondConv(nn.Module):
    """e_ij + W sum_k phi(e_ij, e_ik, a_jik, v_i) * weight_ij * weight_ik over the angles of a short bond (Eq. 4)."""

    def __init__(self, *, n_bond: int, gated: GatedMLP, out_bias: bool) -> None:
        super().__init__()
        self.twoBody_bond = gated
        self.mlp_out = MLP(n_bond, n_bond, hidden=(), activation="silu", bias=out_bias)

    def forward(self, atoms: Tensor, bonds: Tensor, weights: Tensor, angles: Tensor, batch: Batch) -> Tensor:
        """New bond features (n_bonds, n_bond); long bonds are nobody's message.

        Args:
            atoms: (n_atoms, n_atom).
            bonds: (n_bonds, n_bond).
            weights: (n_short, n_bond) smooth weights of the short bonds.
            angles: (n_angles, n_angle).
            batch: The graphs.
        """
        short, long = bonds[: batch.n_short], bonds[batch.n_short :]
        messages = self.twoBody_bond.after_first(*corners(self.twoBody_bond, atoms, short, angles, batch))
        messages = messages * sum_rows(weights, batch.others)
        # the weight of the receiving bond is the same for all its angles
        received = sum_rows(messages, batch.collect) * weights
        out = self.mlp_out.first
        bonds = torch.cat([short + linear(received, out.weight), long])
        # a bias reaches the long bonds as well, but not a crystal without angles: it never sees this layer
        return bonds if out.bias is None else bonds + batch.angled * out.bias


class AngleUpdate(nn.Module):
    """a_jik + phi(e_ij, e_ik, a_jik, v_i) (Eq. 5)."""

    def __init__(self, *, gated: GatedMLP) -> None:
        super().__init__()
        self.twoBody_bond = gated

    def forward(self, atoms: Tensor, bonds: Tensor, angles: Tensor, batch: Batch) -> Tensor:
        """New angle features (n_angles, n_angle); arguments as in ``BondConv``."""
        inputs = corners(self.twoBody_bond, atoms, bonds[: batch.n_short], angles, batch)
        return angles + self.twoBody_bond.after_first(*inputs)


def corners(gated: GatedMLP, atoms: Tensor, short: Tensor, angles: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """First layers of a gated network on [e_ij, e_ik, a_jik, v_i] of every angle.

    Returns:
        Core and gate, (n_angles, hidden) each.
    """

    def first(layer: Linear) -> Tensor:
        widths = [short.shape[1], short.shape[1], angles.shape[1], atoms.shape[1]]
        receiving, other, angle, atom = torch.split(layer.weight, widths, dim=1)
        bonds = linear(short, torch.cat([receiving, other])).reshape(2 * len(short), -1)
        around = sum_rows(torch.cat([bonds, linear(atoms, atom, layer.bias)]), batch.corners)
        return linear(angles, angle, None, around)

    return first(gated.mlp_core.first), first(gated.mlp_gate.first)
