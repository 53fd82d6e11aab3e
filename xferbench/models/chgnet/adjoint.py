"""The convolutions of CHGNet with their reverse pass written out, for prediction.

``layers.py`` defines the network and can be differentiated as often as training wants. Prediction needs one reverse pass
to the geometry and no gradient of weights; written out, it works through bonds and angles in blocks that stay in the
processor's cache, keeps less than autograd keeps, and calls far fewer operations.

Two identities on top of those in ``layers.py``, both exact:

- Layer normalisation subtracts the mean of a linear layer's outputs. The mean is linear, so it is subtracted from the
  weights once. What remains is a division by the root mean square.
- The weight of the bond that receives is the same for all its angles, so it multiplies their sum.

Every ``forward`` returns what its ``backward`` needs. "slope" is always dE/d(something), of the shape of that thing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding_bag, silu

from xferbench.models.chgnet.layers import State
from xferbench.models.chgnet.operations import add_rows, product

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from xferbench.models.chgnet.batch import Batch
    from xferbench.models.chgnet.layers import MLP, AngleUpdate, AtomConv, BondConv, GatedMLP
    from xferbench.models.chgnet.model import CHGNet
    from xferbench.models.hardware import Arena

BLOCK = 2048
"""Bonds or angles worked on at once on a CPU: a dozen arrays of this many rows of 64 floats fit its cache."""

Saved = tuple[Tensor, Tensor, Tensor]
"""Kept of one branch and block: first-layer results, last-layer results, reciprocal root mean squares."""


class Branch:
    """Core or gate of a gated network: one or two linear layers and a normalisation.

    Attributes:
        parts: First-layer weights of each input, (hidden, width) each.
        bias: (hidden,) of the first layer.
        second: Weight, bias and transposed weight of the second layer, if there is one.
        scale: Gain and offset of the normalisation, if there is one.
    """

    def __init__(self, mlp: MLP, norm: nn.Module | None, widths: Sequence[int]) -> None:
        linears = [layer for layer in mlp.layers if isinstance(layer, nn.Linear)]
        weights = [layer.weight.detach() for layer in linears]
        biases = [layer.bias.detach() for layer in linears]
        self.scale: tuple[Tensor, Tensor] | None = None
        if isinstance(norm, nn.LayerNorm):
            self.scale = norm.weight.detach(), norm.bias.detach()
            self.epsilon = norm.eps
            weights[-1] = weights[-1] - weights[-1].mean(0)
            biases[-1] = biases[-1] - biases[-1].mean()
        self.parts = [part.contiguous() for part in torch.split(weights[0], list(widths), dim=1)]
        self.bias = biases[0]
        self.second = (weights[1], biases[1], weights[1].t().contiguous()) if len(weights) > 1 else None

    def forward(self, first: Tensor, arena: Arena | None) -> tuple[Tensor, Saved | None]:
        """First-layer results (n, hidden) -> output before the activation (n, n_out)."""
        last = first if self.second is None else product(silu(first), self.second[0], self.second[1])
        inverse = last[:, :0]
        if self.scale is not None:
            square = torch.linalg.vector_norm(last, dim=1, keepdim=True).square_()
            inverse = square.div_(last.shape[1]).add_(self.epsilon).rsqrt_()
        saved = None
        if arena is not None:
            # with one linear layer, its results are first and last
            kept = arena.keep(last)
            saved = (kept if self.second is None else arena.keep(first), kept, inverse)
        return self.scaled(last, inverse), saved

    def scaled(self, last: Tensor, inverse: Tensor) -> Tensor:
        """Last-layer results, normalised."""
        if self.scale is None:
            return last
        return torch.addcmul(self.scale[1], last * inverse, self.scale[0])

    def backward(self, slope: Tensor, saved: Saved, out: Tensor) -> None:
        """Slope by the output (n, n_out) -> slope by the first-layer results, into ``out`` (n, hidden)."""
        first, last, inverse = saved
        if self.scale is not None:
            gain, offset = self.scale
            mean = torch.zeros_like(inverse)
            slope = torch.ops.aten.native_layer_norm_backward(
                slope, last, [last.shape[1]], mean, inverse, gain, offset, [True, False, False]
            )[0]
        if self.second is None:
            out.copy_(slope)
        else:
            torch.ops.aten.silu_backward(product(slope, self.second[2]), first, grad_input=out)


class Gate:
    """A gated network after its first layers: silu(core) * sigmoid(gate)."""

    def __init__(self, gated: GatedMLP, widths: Sequence[int]) -> None:
        self.core = Branch(gated.mlp_core, gated.bn1, widths)
        self.gate = Branch(gated.mlp_gate, gated.bn2, widths)
        self.branches = (self.core, self.gate)

    def forward(self, first: Sequence[Tensor], out: Tensor, arena: Arena | None) -> Any:  # noqa: ANN401 - for backward
        """First-layer results of core and gate -> result, into ``out`` (n, n_out)."""
        core, core_saved = self.core.forward(first[0], arena)
        gate, gate_saved = self.gate.forward(first[1], arena)
        torch.mul(silu(core), torch.sigmoid(gate), out=out)
        return core_saved, gate_saved

    def again(self, saved: tuple[Saved, Saved]) -> tuple[Tensor, Tensor, Tensor]:
        """Core before its activation, sigmoid of the gate, and the result, from what was kept."""
        core = self.core.scaled(*saved[0][1:])
        gate = torch.sigmoid(self.gate.scaled(*saved[1][1:]))
        return core, gate, silu(core).mul_(gate)

    def backward(
        self,
        slope: Tensor,
        saved: tuple[Saved, Saved],
        values: tuple[Tensor, Tensor, Tensor],
        out: Sequence[Tensor],
    ) -> None:
        """Slope by the result (n, n_out) -> slopes by the first-layer results of core and gate, into ``out``.

        Args:
            slope: By the result.
            saved: From ``forward``.
            values: From ``again``; the last one is overwritten.
            out: Two of (n, hidden).
        """
        core, gate, result = values
        # the derivative of the sigmoid is gate (1 - gate), and the result already holds one factor gate
        through = result.mul_(slope)
        to_gate = torch.addcmul(through, through, gate, value=-1)
        to_core = torch.ops.aten.silu_backward(slope * gate, core)
        self.core.backward(to_core, saved[0], out[0])
        self.gate.backward(to_gate, saved[1], out[1])


class AtomStep:
    """``layers.AtomConv``, forward and back."""

    def __init__(self, layer: AtomConv, n_bond: int) -> None:
        self.gate = Gate(layer.twoBody_atom, [layer.n_atom, n_bond, layer.n_atom])
        self.ends = [torch.cat([branch.parts[0], branch.parts[2]]) for branch in self.gate.branches]
        out = layer.mlp_out.first
        self.out, self.out_bias = out.weight.detach(), None if out.bias is None else out.bias.detach()

    def forward(self, state: State, batch: Batch, arena: Arena | None) -> list[tuple[Saved, Saved]]:
        """Update the atoms of ``state``."""
        tables = [
            torch.cat([
                product(state.atoms, ends).reshape(2 * len(state.atoms), -1),
                product(state.bonds, branch.parts[1], branch.bias),
            ])
            for ends, branch in zip(self.ends, self.gate.branches, strict=True)
        ]  # fmt: skip
        messages = state.atoms.new_empty(2 * len(state.bonds), state.atoms.shape[1])
        kept = []
        for bonds, rows in _blocks(len(state.bonds), 2, messages.device):
            first = [embedding_bag(batch.ends.terms[rows], table, mode="sum") for table in tables]
            saved = self.gate.forward(first, messages[rows], arena)
            _both(messages[rows]).mul_(state.weights[bonds, None])
            kept.append(saved)
        state.atoms = state.atoms + product(add_rows(messages, batch.receive), self.out, self.out_bias)
        return kept

    def backward(self, slope: State, state: State, batch: Batch, kept: list[tuple[Saved, Saved]]) -> None:
        """Add what this layer passes back to ``slope``; ``state`` has the weights."""
        received = add_rows(product(slope.atoms, self.out.t()), batch.receive.transpose)
        firsts = [received.new_empty(len(received), len(branch.bias)) for branch in self.gate.branches]
        for (bonds, rows), saved in zip(_blocks(len(slope.bonds), 2, received.device), kept, strict=True):
            values = self.gate.again(saved)
            by_weight = _both(received[rows] * values[2])
            slope.weights[bonds] += by_weight[:, 0] + by_weight[:, 1]
            _both(received[rows]).mul_(state.weights[bonds, None])
            self.gate.backward(received[rows], saved, values, [first[rows] for first in firsts])
        n_ends = 2 * len(slope.atoms)
        for first, ends, branch in zip(firsts, self.ends, self.gate.branches, strict=True):
            table = add_rows(first, batch.ends.transpose)
            slope.atoms = product(table[:n_ends].reshape(len(slope.atoms), -1), ends.t(), None, slope.atoms)
            slope.bonds = product(table[n_ends:], branch.parts[1].t(), None, slope.bonds)


class CornerStep:
    """What bond convolutions and angle updates share: a gated network on the angles."""

    def __init__(self, gated: GatedMLP, widths: Sequence[int]) -> None:
        self.gate = Gate(gated, widths)
        self.pairs = [torch.cat(branch.parts[:2]) for branch in self.gate.branches]

    def tables(self, state: State, batch: Batch) -> list[Tensor]:
        """First-layer results of short bonds (as receiver, as other) and of atoms, for core and gate."""
        short = state.bonds[: batch.n_short]
        return [
            torch.cat([
                product(short, pair).reshape(2 * len(short), -1),
                product(state.atoms, branch.parts[3], branch.bias),
            ])
            for pair, branch in zip(self.pairs, self.gate.branches, strict=True)
        ]  # fmt: skip

    def first(self, tables: list[Tensor], angles: Tensor, batch: Batch, rows: slice) -> list[Tensor]:
        """First-layer results of the angles in a block, for core and gate."""
        terms = batch.corners.terms[rows]
        return [
            product(angles[rows], branch.parts[2], None, embedding_bag(terms, table, mode="sum"))
            for table, branch in zip(tables, self.gate.branches, strict=True)
        ]

    def firsts(self, slope: State) -> list[Tensor]:
        """Room for slopes by the first-layer results, for core and gate."""
        return [slope.angles.new_empty(len(slope.angles), len(branch.bias)) for branch in self.gate.branches]

    def gather(self, firsts: list[Tensor], slope: State, batch: Batch) -> None:
        """Add slopes by the first-layer results to those by angles, bonds and atoms."""
        n_short = batch.n_short
        for first, pair, branch in zip(firsts, self.pairs, self.gate.branches, strict=True):
            slope.angles = product(first, branch.parts[2].t(), None, slope.angles)
            table = add_rows(first, batch.corners.transpose)
            slope.bonds[:n_short] += product(table[: 2 * n_short].reshape(n_short, -1), pair.t())
            slope.atoms = product(table[2 * n_short :], branch.parts[3].t(), None, slope.atoms)


class BondStep(CornerStep):
    """``layers.BondConv``, forward and back."""

    def __init__(self, layer: BondConv, widths: Sequence[int]) -> None:
        super().__init__(layer.twoBody_bond, widths)
        out = layer.mlp_out.first
        self.out, self.out_bias = out.weight.detach(), None if out.bias is None else out.bias.detach()

    def forward(self, state: State, batch: Batch, arena: Arena | None) -> tuple[list[tuple[Saved, Saved]], Tensor]:
        """Update the bonds of ``state``."""
        tables = self.tables(state, batch)
        messages = state.angles.new_empty(batch.n_angles, state.bonds.shape[1])
        kept = []
        for rows, _ in _blocks(batch.n_angles, 1, messages.device):
            saved = self.gate.forward(self.first(tables, state.angles, batch, rows), messages[rows], arena)
            messages[rows].mul_(embedding_bag(batch.others.terms[rows], state.short_weights, mode="sum"))
            kept.append(saved)
        received = add_rows(messages, batch.collect)
        short, long = state.bonds[: batch.n_short], state.bonds[batch.n_short :]
        state.bonds = torch.cat([product(received * state.short_weights, self.out, None, short), long])
        if self.out_bias is not None:
            state.bonds += batch.angled * self.out_bias
        return kept, received

    def backward(
        self, slope: State, state: State, batch: Batch, kept: tuple[list[tuple[Saved, Saved]], Tensor]
    ) -> None:
        """Add what this layer passes back to ``slope``; ``state`` has the weights."""
        blocks, received = kept
        out = product(slope.bonds[: batch.n_short], self.out.t())
        slope.short_weights += out * received
        slopes = add_rows(out * state.short_weights, batch.collect.transpose)
        firsts = self.firsts(slope)
        for (rows, _), saved in zip(_blocks(batch.n_angles, 1, out.device), blocks, strict=True):
            values = self.gate.again(saved)
            by_other = slopes[rows] * values[2]
            slopes[rows].mul_(embedding_bag(batch.others.terms[rows], state.short_weights, mode="sum"))
            self.gate.backward(slopes[rows], saved, values, [first[rows] for first in firsts])
            slopes[rows] = by_other
        slope.short_weights += add_rows(slopes, batch.others.transpose)
        self.gather(firsts, slope, batch)


class AngleStep(CornerStep):
    """``layers.AngleUpdate``, forward and back."""

    def __init__(self, layer: AngleUpdate, widths: Sequence[int]) -> None:
        super().__init__(layer.twoBody_bond, widths)

    def forward(self, state: State, batch: Batch, arena: Arena | None) -> list[tuple[Saved, Saved]]:
        """Update the angles of ``state``."""
        tables = self.tables(state, batch)
        angles = torch.empty_like(state.angles)
        kept = []
        for rows, _ in _blocks(batch.n_angles, 1, angles.device):
            saved = self.gate.forward(self.first(tables, state.angles, batch, rows), angles[rows], arena)
            angles[rows] += state.angles[rows]
            kept.append(saved)
        state.angles = angles
        return kept

    def backward(self, slope: State, state: State, batch: Batch, kept: list[tuple[Saved, Saved]]) -> None:  # noqa: ARG002 - steps share a signature
        """Add what this layer passes back to ``slope``."""
        firsts = self.firsts(slope)
        for (rows, _), saved in zip(_blocks(batch.n_angles, 1, slope.angles.device), kept, strict=True):
            self.gate.backward(slope.angles[rows], saved, self.gate.again(saved), [first[rows] for first in firsts])
        self.gather(firsts, slope, batch)


def _blocks(n: int, rows_each: int, device: torch.device) -> Iterator[tuple[slice, slice]]:
    """Slices of ``n`` things and of their rows, ``rows_each`` per thing; one slice on a GPU."""
    step = max(n, 1) if device.type != "cpu" else BLOCK // rows_each
    for start in range(0, n, step):
        stop = min(start + step, n)
        yield slice(start, stop), slice(rows_each * start, rows_each * stop)


def _both(rows: Tensor) -> Tensor:
    """Rows of directed bonds (2 n, width), by bond (n, 2, width); a view."""
    return rows.view(-1, 2, rows.shape[1])


class Convolutions:
    """All convolutions of a network whose weights stay as they are.

    Args:
        network: SiLU, at most one hidden layer, layer normalisation or none; see ``supported``.
    """

    def __init__(self, network: CHGNet) -> None:
        s = network.settings
        corner = [s.bond_fea_dim, s.bond_fea_dim, s.angle_fea_dim, s.atom_fea_dim]
        self.atom_steps = [AtomStep(layer, s.bond_fea_dim) for layer in network.atom_layers]
        self.bond_steps = [BondStep(layer, corner) for layer in network.bond_layers]
        # nothing reads the angles after the last bond convolution
        self.angle_steps = [AngleStep(layer, corner) for layer in network.angle_updates[:-1]]

    @staticmethod
    def supported(network: CHGNet) -> bool:
        """Whether the written-out pass covers this network."""
        s = network.settings
        hidden = (s.atom_conv_hidden_dim, s.bond_conv_hidden_dim, s.angle_layer_hidden_dim)
        norm = s.gMLP_norm is None or s.gMLP_norm.lower() == "layer"
        return s.non_linearity.lower() == "silu" and norm and all(len(widths) <= 1 for widths in hidden)

    @torch.no_grad()
    def forward(self, features: State, batch: Batch, arena: Arena | None) -> tuple[State, Tensor, list[Any]]:
        """Run all layers.

        Args:
            features: Before the first layer; left as they are.
            batch: The graphs.
            arena: Keeps what ``backward`` will need; none if it will not be called.

        Returns:
            Features after the last layer, atom features before the last layer, and the tape for ``backward``.
        """
        state, tape = replace(features), []
        before_last = state.atoms
        for step in self._order(batch):
            before_last = state.atoms
            tape.append((step, step.forward(state, batch, arena)))
        return state, before_last, tape

    @torch.no_grad()
    def backward(self, atoms: Tensor, state: State, batch: Batch, tape: list[Any]) -> State:
        """Slope by the atom features after the last layer (n_atoms, n_atom) -> slopes by the features before the first."""
        slope = State(
            atoms=atoms,
            bonds=torch.zeros_like(state.bonds),
            angles=torch.zeros_like(state.angles),
            weights=torch.zeros_like(state.weights),
            short_weights=torch.zeros_like(state.short_weights),
        )
        while tape:
            step, kept = tape.pop()
            step.backward(slope, state, batch, kept)
        return slope

    def _order(self, batch: Batch) -> Iterator[AtomStep | BondStep | AngleStep]:
        """Layers in the order of ``model.CHGNet``; without angles only the atoms change."""
        for block, step in enumerate(self.atom_steps):
            yield step
            if batch.n_angles and block < len(self.bond_steps):
                yield self.bond_steps[block]
                if block < len(self.angle_steps):
                    yield self.angle_steps[block]
