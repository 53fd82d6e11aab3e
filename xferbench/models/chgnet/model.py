"""CHGNet: energies, forces, stresses and magnetic moments of a batch of crystals.

References:
    B. Deng et al., Nat. Mach. Intell. 5, 1031 (2023), doi:10.1038/s42256-023-00716-3.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from ase.data import atomic_numbers
from torch import Tensor, nn

from xferbench.errors import UsageError
from xferbench.models.chgnet.basis import Fourier, RadialBessel
from xferbench.models.chgnet.layers import MLP, AngleUpdate, AtomConv, BondConv, GatedMLP, State, norm_layer
from xferbench.models.chgnet.operations import Linear, no_weight_gradients

if TYPE_CHECKING:
    from collections.abc import Mapping

    from xferbench.models.chgnet.batch import Batch

N_ELEMENTS = 94
"""Hydrogen to plutonium."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Shape of a network, by the names of CHGNet's checkpoints; defaults are those of chgnet 0.4.2.

    Attributes:
        atom_graph_cutoff: Å, longest bond.
        bond_graph_cutoff: Å, longest bond that takes part in angles.
        cutoff_coeff: Exponent of the smooth envelope.
        is_intensive: Whether the network's energy is per atom.
        reference_is_intensive: The same of the elemental references.
        mlp_out_bias: Whether the last layer of a convolution has a bias (0.2.0 only).
    """

    atom_fea_dim: int = 64
    bond_fea_dim: int = 64
    angle_fea_dim: int = 64
    num_radial: int = 31
    num_angular: int = 31
    n_conv: int = 4
    atom_conv_hidden_dim: tuple[int, ...] = (64,)
    update_bond: bool = True
    bond_conv_hidden_dim: tuple[int, ...] = (64,)
    update_angle: bool = True
    angle_layer_hidden_dim: tuple[int, ...] = ()
    conv_dropout: float = 0
    mlp_hidden_dims: tuple[int, ...] = (64, 64, 64)
    mlp_dropout: float = 0
    mlp_first: bool = True
    is_intensive: bool = True
    non_linearity: str = "silu"
    atom_graph_cutoff: float = 6
    bond_graph_cutoff: float = 3
    cutoff_coeff: int = 8
    learnable_rbf: bool = True
    gMLP_norm: str | None = "layer"  # noqa: N815 - chgnet's spelling
    readout_norm: str | None = "layer"
    mlp_out_bias: bool = False
    gated_readout: bool = False
    has_references: bool = True
    reference_is_intensive: bool = True


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Output:
    """What the network says about a batch.

    Attributes:
        energy: (n_crystals,) total eV.
        forces: (n_atoms, 3) eV/Å.
        stress: (n_crystals, 3, 3) eV/Å³, (1/V) dE/dε, tension positive.
        magmoms: (n_atoms,) µB, absolute values.
        site_energies: (n_atoms,) eV, references included; they add up to ``energy``.
    """

    energy: Tensor
    forces: Tensor | None
    stress: Tensor | None
    magmoms: Tensor
    site_energies: Tensor | None

    def to(self, dtype: torch.dtype) -> Output:
        """The same in another precision."""
        return Output(
            energy=self.energy.to(dtype),
            forces=None if self.forces is None else self.forces.to(dtype),
            stress=None if self.stress is None else self.stress.to(dtype),
            magmoms=self.magmoms.to(dtype),
            site_energies=None if self.site_energies is None else self.site_energies.to(dtype),
        )


class CHGNet(nn.Module):
    """The network. Its ``state_dict`` is that of chgnet's class of the same name, in both directions."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = s = settings
        width = s.atom_fea_dim
        self.composition_model = nn.ModuleDict({"fc": Linear(N_ELEMENTS, 1, bias=False)}) if s.has_references else None
        self.atom_embedding = nn.ModuleDict({"embedding": nn.Embedding(N_ELEMENTS, width)})
        self.bond_basis_expansion = nn.ModuleDict(
            {
                name: RadialBessel(
                    n_radial=s.num_radial, cutoff=cutoff, exponent=s.cutoff_coeff, learnable=s.learnable_rbf
                )
                for name, cutoff in (
                    ("rbf_expansion_ag", s.atom_graph_cutoff),
                    ("rbf_expansion_bg", s.bond_graph_cutoff),
                )
            }
        )
        fourier = Fourier(order=(s.num_angular - 1) // 2, learnable=s.learnable_rbf)
        self.angle_basis_expansion = nn.ModuleDict({"fourier_expansion": fourier})
        self.bond_embedding = Linear(s.num_radial, s.bond_fea_dim, bias=False)
        self.bond_weights_ag = Linear(s.num_radial, width, bias=False)
        self.bond_weights_bg = Linear(s.num_radial, s.bond_fea_dim, bias=False)
        self.angle_embedding = Linear(s.num_angular, s.angle_fea_dim, bias=False)
        self.atom_conv_layers, self.bond_conv_layers, self.angle_layers = _convolutions(s)
        self.site_wise = Linear(width, 1)
        self.readout_norm = norm_layer(s.readout_norm, width)
        self.mlp = _readout(s)

    @property
    def atom_layers(self) -> list[AtomConv]:
        """Atom convolutions, in order."""
        return [layer for layer in self.atom_conv_layers if isinstance(layer, AtomConv)]

    @property
    def bond_layers(self) -> list[BondConv]:
        """Bond convolutions, in order."""
        return [layer for layer in self.bond_conv_layers if isinstance(layer, BondConv)]

    @property
    def angle_updates(self) -> list[AngleUpdate]:
        """Angle updates, in order; nothing reads what the last one would make."""
        return [layer for layer in self.angle_layers if isinstance(layer, AngleUpdate)]

    def forward(self, batch: Batch, *, forces: bool = True, stress: bool = True, create_graph: bool = False) -> Output:
        """Predict a batch.

        Args:
            batch: The crystals, in the precision and on the device of the network.
            forces: Whether to predict forces; one backward pass gives forces and stress.
            stress: Whether to predict stress.
            create_graph: Keep what is needed to differentiate forces and stress, for training.
        """
        with torch.set_grad_enabled(create_graph or forces or stress):
            vector = batch.vector.detach().requires_grad_(forces or stress)
            site, magmoms = self._sites(vector, batch)
        slope = None
        if forces or stress:
            with no_weight_gradients():
                (slope,) = torch.autograd.grad(site.sum(), vector, create_graph=create_graph)
        if not create_graph:
            site, magmoms = site.detach(), magmoms.detach()
        return self.output(batch, site, magmoms, slope, forces=forces, stress=stress).to(site.dtype)

    def output(
        self, batch: Batch, site: Tensor, magmoms: Tensor, slope: Tensor | None, *, forces: bool, stress: bool
    ) -> Output:
        """Everything that is asked for.

        Args:
            batch: The crystals.
            site: (n_atoms,) eV without references.
            magmoms: (n_atoms,) µB.
            slope: (n_bonds, 3) dE/d(bond vector) eV/Å.
            forces: Whether to give them.
            stress: Whether to give it.
        """
        reference = self._references(batch)
        energy = site.new_zeros(len(batch.counts)).index_add(0, batch.owner, site + reference)
        return Output(
            energy=energy,
            forces=_forces(slope, batch) if forces and slope is not None else None,
            stress=_stress(slope, batch) if stress and slope is not None else None,
            magmoms=magmoms,
            site_energies=site + reference if self.settings.mlp_first else None,
        )

    def _sites(self, vector: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Energies (n_atoms,) eV without references, and moments (n_atoms,) µB."""
        state = self.features(vector, batch)
        atoms = before_last = state.atoms
        bond_layers, angle_updates = self.bond_layers, self.angle_updates[:-1]
        for block, convolution in enumerate(self.atom_layers):
            before_last, atoms = atoms, convolution(atoms, state.bonds, state.weights, batch)
            if batch.n_angles and block < len(bond_layers):
                bonds, weights = state.bonds, state.short_weights
                state.bonds = bond_layers[block](atoms, bonds, weights, state.angles, batch)
                if block < len(angle_updates):
                    state.angles = angle_updates[block](atoms, state.bonds, state.angles, batch)
        return self.readout(atoms, batch), self.magmoms(before_last)

    def features(self, vector: Tensor, batch: Batch) -> State:
        """Features before the first convolution, from bond vectors (n_bonds, 3) Å."""
        distance = torch.linalg.vector_norm(vector, dim=1)
        radial = self.bond_basis_expansion["rbf_expansion_ag"](distance)
        short = self.bond_basis_expansion["rbf_expansion_bg"](distance[: batch.n_short])
        return State(
            atoms=self.atom_embedding["embedding"](batch.numbers - 1),
            bonds=self.bond_embedding(radial),
            angles=self.angle_embedding(self._angle_basis(vector[: batch.n_short], distance, batch)),
            weights=self.bond_weights_ag(radial),
            short_weights=self.bond_weights_bg(short),
        )

    def magmoms(self, atoms: Tensor) -> Tensor:
        """Moments (n_atoms,) µB, from the features before the last convolution."""
        moments: Tensor = self.site_wise(atoms)
        return moments.abs().squeeze(1)

    def _angle_basis(self, vector: Tensor, distance: Tensor, batch: Batch) -> Tensor:
        """(n_angles, num_angular) from the vectors (n_short, 3) of the short bonds."""
        unit = vector / distance[: batch.n_short, None]
        directed = torch.cat([unit, -unit])
        cosine = (directed[batch.first] * directed[batch.second]).sum(1)
        basis: Tensor = self.angle_basis_expansion["fourier_expansion"](cosine)
        return basis

    def readout(self, atoms: Tensor, batch: Batch) -> Tensor:
        """Energies (n_atoms,); a network that pools first spreads the energy of a crystal evenly over its atoms."""
        if self.readout_norm is not None:
            atoms = self.readout_norm(atoms)
        if self.settings.mlp_first:
            site: Tensor = self.mlp(atoms)
            return site.squeeze(1)
        mean = atoms.new_zeros(len(batch.counts), atoms.shape[1]).index_add(0, batch.owner, atoms)
        per_atom: Tensor = self.mlp(mean / batch.counts[:, None])
        return per_atom.squeeze(1)[batch.owner]

    def _references(self, batch: Batch) -> Tensor:
        """Elemental references (n_atoms,) eV, scaled as chgnet scales them if only one of the two is per atom."""
        s = self.settings
        if self.composition_model is None:
            return self.site_wise.weight.new_zeros(len(batch.numbers))
        reference = self.composition_model.get_parameter("fc.weight")[0, batch.numbers - 1]
        if s.is_intensive == s.reference_is_intensive:
            return reference
        counts = batch.counts[batch.owner]
        return reference * counts if s.is_intensive else reference / counts


def new_network(
    seed: int, *, settings: Settings | None = None, references: Mapping[str, float] | None = None
) -> CHGNet:
    """A network with random weights, as chgnet's class of the same name makes them after ``torch.manual_seed(seed)``.

    All of its weights want gradients but the elemental references, which chgnet does not train either.

    Args:
        seed: Of the weights; torch's own random state is left alone.
        settings: Its shape; by default that of chgnet 0.4.2. Whether it has references is decided by ``references``.
        references: Energies of the elements, eV/atom, zero where there is none; no references at all if left out.

    Raises:
        UsageError: A reference of something that is not among the first 94 elements.
    """
    shape = replace(settings or Settings(), has_references=references is not None)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        # chgnet draws its references as well, before it replaces them by a table
        network = CHGNet(replace(shape, has_references=True))
    if references is None:
        network.settings, network.composition_model = shape, None
        return network
    network.get_submodule("composition_model").requires_grad_(requires_grad=False)
    table = network.get_parameter("composition_model.fc.weight").zero_()
    for symbol, energy in references.items():
        number = atomic_numbers.get(symbol, 0)
        if not 1 <= number <= N_ELEMENTS:
            raise UsageError(f"no reference for {symbol!r}: CHGNet knows hydrogen to plutonium")
        table[0, number - 1] = energy
    return network


def _gated(s: Settings, n_in: int, n_out: int, hidden: tuple[int, ...]) -> GatedMLP:
    activation, norm, dropout = s.non_linearity, s.gMLP_norm, s.conv_dropout
    return GatedMLP(n_in, n_out, hidden=hidden, activation=activation, norm=norm, dropout=dropout)


def _convolutions(s: Settings) -> tuple[nn.ModuleList, nn.ModuleList, nn.ModuleList]:
    """Atom convolutions (n_conv), bond convolutions and angle updates (n_conv - 1 each, or none)."""
    n_atom, n_bond, n_angle = s.atom_fea_dim, s.bond_fea_dim, s.angle_fea_dim
    n_ends, n_corner = 2 * n_atom + n_bond, n_atom + 2 * n_bond + n_angle
    bias = s.mlp_out_bias
    atoms = [
        AtomConv(n_atom=n_atom, gated=_gated(s, n_ends, n_atom, s.atom_conv_hidden_dim), out_bias=bias)
        for _ in range(s.n_conv)
    ]
    bonds = [
        BondConv(n_bond=n_bond, gated=_gated(s, n_corner, n_bond, s.bond_conv_hidden_dim), out_bias=bias)
        for _ in range(s.n_conv - 1 if s.update_bond else 0)
    ]
    angles = [
        AngleUpdate(gated=_gated(s, n_corner, n_angle, s.angle_layer_hidden_dim))
        for _ in range(s.n_conv - 1 if s.update_angle else 0)
    ]
    return nn.ModuleList(atoms), nn.ModuleList(bonds), nn.ModuleList(angles)


def _readout(s: Settings) -> nn.Module:
    """The network from atom features to energy."""
    n_atom, hidden, activation, dropout = s.atom_fea_dim, s.mlp_hidden_dims, s.non_linearity, s.mlp_dropout
    if not s.gated_readout:
        return MLP(n_atom, 1, hidden=hidden, activation=activation, dropout=dropout)
    norm, last = s.gMLP_norm, hidden[-1]
    gated = GatedMLP(n_atom, last, hidden=hidden, activation=activation, norm=norm, dropout=dropout)
    return nn.Sequential(gated, Linear(last, 1))


def _forces(slope: Tensor, batch: Batch) -> Tensor:
    """Forces (n_atoms, 3) from dE/d(bond vector) (n_bonds, 3): a bond vector is neighbour minus center."""
    forces = slope.new_zeros(len(batch.numbers), 3)
    return forces.index_add(0, batch.center, slope).index_add(0, batch.neighbor, -slope)


def _stress(slope: Tensor, batch: Batch) -> Tensor:
    """Stress (n_crystals, 3, 3): a strain ε turns each bond vector d into d (1 + ε), so dE/dε = sum of d ⊗ dE/dd."""
    virial = (batch.vector[:, :, None] * slope[:, None, :]).reshape(-1, 9)
    total = virial.new_zeros(len(batch.counts), 9).index_add(0, batch.owner[batch.center], virial)
    return total.reshape(-1, 3, 3) / batch.volumes[:, None, None]
