"""CHGNet as a network that can be trained: the engine of this package, whose weights chgnet reads and writes."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from xferbench.errors import ModelError, UsageError
from xferbench.models.chgnet.batch import Batch
from xferbench.models.chgnet.checkpoint import SHIPPED, load_engine, load_network, save_network, shipped_checkpoint
from xferbench.models.chgnet.engine import guess_rows
from xferbench.models.chgnet.frozen import FrozenCHGNet
from xferbench.models.chgnet.graph import Graphs, build
from xferbench.models.chgnet.layers import MLP
from xferbench.models.chgnet.model import N_ELEMENTS, CHGNet, new_network
from xferbench.models.trainable import SIDES, Matrix, Output, Trainable, merged_state

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ase import Atoms

    from xferbench.functionals import Functional
    from xferbench.models.contract import Model
    from xferbench.models.trainable import Side

TABLE = "composition_model.fc.weight"
EMBEDDING = "atom_embedding.embedding"


class TrainableCHGNet(Trainable):
    """A CHGNet whose references are apart.

    Args:
        network: Its weights are taken over, its own references out of it.
    """

    architecture: ClassVar[str] = "chgnet"
    title: ClassVar[str] = "CHGNet"
    outputs: ClassVar[tuple[str, ...]] = ("energy", "forces", "stress", "magmoms")
    weights: ClassVar[str] = "model.pth.tar"
    packages: ClassVar[tuple[str, ...]] = ("chgnet",)
    trained_on: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "0.3.0": ("MPtrj",),
        "0.2.0": ("MPtrj",),
        "r2scan": ("MPtrj", "MP-r2SCAN"),
    }

    def __init__(self, network: CHGNet) -> None:
        table = network.get_parameter(TABLE).detach().double().numpy()[0]
        super().__init__(range(1, N_ELEMENTS + 1), table)
        network.composition_model = None
        self.network = network
        self._frozen: FrozenCHGNet | None = None

    @classmethod
    def load(cls, start: str, *, seed: int | None = None) -> TrainableCHGNet:
        """A shipped variant (0.3.0, 0.2.0, r2scan) or a ``.pth.tar`` of chgnet."""
        network = load_network(shipped_checkpoint(start) if start in SHIPPED else Path(start))
        settings = network.settings
        if network.composition_model is None or not (settings.is_intensive and settings.reference_is_intensive):
            raise ModelError(f"{start} has no references per atom; start from a CHGNet with an AtomRef, like 0.3.0")
        if seed is not None:
            network = new_network(seed, settings=settings, references={})
        return cls(network.requires_grad_(requires_grad=False)).eval()

    def graphs(self, structures: Sequence[Atoms]) -> list[Graphs]:
        """Atom graphs and bond graphs, one crystal each."""
        settings = self.network.settings
        whole = build(structures, atom_cutoff=settings.atom_graph_cutoff, bond_cutoff=settings.bond_graph_cutoff)
        return whole.split()

    def cost(self, atoms: Atoms) -> float:
        """Directed bonds and angles, guessed from the density."""
        return guess_rows(atoms, self.network.settings.atom_graph_cutoff, self.network.settings.bond_graph_cutoff)

    def inputs(self, graphs: Sequence[Graphs], sides: Sequence[int]) -> Batch:
        """A batch; atoms of source frames are numbered beyond the last element."""
        batch = Batch.from_graphs(Graphs.join(graphs), dtype=torch.float32, device=torch.device("cpu"))
        if not any(sides):
            return batch
        shift = torch.as_tensor([N_ELEMENTS * side for side in sides])
        return replace(batch, numbers=batch.numbers + shift[batch.owner])

    def compute(self, inputs: Batch) -> Output:
        """In evaluation mode, by the faster network of frozen weights where it has only one side."""
        if self.training:
            output = self.network(inputs, create_graph=True)
        elif self.n_sides > 1:
            output = self.network(inputs)
        else:
            if self._frozen is None:
                self._frozen = FrozenCHGNet(self._plain("target").to(self.references.device))
            output = self._frozen(inputs)
        return Output(energy=output.energy, forces=output.forces, stress=output.stress, magmoms=output.magmoms)

    def train(self, mode: bool = True) -> TrainableCHGNet:
        """As in torch; weights may change afterwards, so that a frozen copy is out of date."""
        self._frozen = None
        return super().train(mode)

    def groups(self) -> dict[str, tuple[str, ...]]:
        """Block k has the k-th atom convolution, and the bond convolution and angle update that it reads first.

        The last angle update is read by nothing, and is in no group.
        """
        n = self.network.settings.n_conv
        mlp = self.network.mlp
        last = f"mlp.layers.{len(mlp.layers) - 1}." if isinstance(mlp, MLP) else "mlp.1."
        found: dict[str, list[str]] = {
            name: [] for name in ("embedding", *(f"block-{k}" for k in range(1, n + 1)), "readout", "output")
        }
        for name, _ in self.network.named_parameters():
            place = _place(name.removeprefix("source_"), n, last)
            if place is not None:
                found[place].append(f"network.{name}")
        return {place: tuple(names) for place, names in found.items()}

    def matrices(self) -> list[Matrix]:
        """Those of the convolutions and of the read-out with more than one row."""
        network = self.network
        used = [network.atom_conv_layers, network.bond_conv_layers, *list(network.angle_layers)[:-1], network.mlp]
        layers = [layer for part in used for layer in part.modules() if isinstance(layer, nn.Linear)]
        return [Matrix.whole(layer) for layer in layers if layer.weight.shape[0] > 1]

    def add_second(self, kind: Literal["embedding", "head"]) -> None:
        """The read-out of energies, or a vector that is added to the embedding of every element."""
        if kind == "head":
            self.network = TwoHeads.of(self.network)
        self.second_references()
        embedding = self.network.get_submodule(EMBEDDING)
        vector = Fidelity(self.network.settings.atom_fea_dim, learned=kind == "embedding")
        # the shape changes on purpose
        parametrize.register_parametrization(embedding, "weight", vector, unsafe=True)

    def save(self, path: Path, side: Side = "target") -> None:
        """A checkpoint of chgnet."""
        network = self._plain(side)
        table = torch.as_tensor(self.reference_energies(side), dtype=torch.float32)
        network.composition_model = nn.ModuleDict({"fc": nn.Linear(N_ELEMENTS, 1, bias=False)})
        network.composition_model["fc"].weight = nn.Parameter(table[None], requires_grad=False)
        save_network(network, path)

    @classmethod
    def potential(cls, path: Path, device: str, functional: Functional) -> Model:
        """The engine, which batches and knows CHGNet by hand."""
        return load_engine(path, device, functional=functional)

    def _plain(self, side: Side) -> CHGNet:
        """A network of its own of one side, adapters multiplied out, without references."""
        state = merged_state(self.network)
        plain = CHGNet(self.network.settings)
        plain.composition_model = None
        chosen = {}
        for name, value in plain.state_dict().items():
            other = f"source_{name}"
            found = state[other if side == "source" and other in state else name]
            start = len(value) * SIDES.index(side) if found.shape != value.shape else 0
            chosen[name] = found if found.shape == value.shape else found.narrow(0, start, len(value))
        plain.load_state_dict(chosen)
        return plain.requires_grad_(requires_grad=False).eval()


class Fidelity(nn.Module):
    """One embedding per element -> one per functional and element, the target first.

    References:
        J. Kim et al., JACS 2025, arXiv:2409.07947 (SevenNet-MF).

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


class TwoHeads(CHGNet):
    """A CHGNet with a read-out of its own for source frames, whose atoms are numbered beyond the last element."""

    source_mlp: nn.Module

    @classmethod
    def of(cls, network: CHGNet) -> TwoHeads:
        """Both heads as the one that there is.

        Raises:
            UsageError: The network pools before its read-out.
        """
        if not network.settings.mlp_first:
            raise UsageError("a second head needs a network that reads energies off atoms (mlp_first)")
        two = cls(network.settings)
        two.composition_model = None
        two.load_state_dict(network.state_dict())
        two.source_mlp = deepcopy(two.mlp)
        return two

    def readout(self, atoms: Tensor, batch: Batch) -> Tensor:
        """Energies (n_atoms,) from features (n_atoms, n_atom)."""
        if self.readout_norm is not None:
            atoms = self.readout_norm(atoms)
        is_source = batch.numbers > N_ELEMENTS
        return torch.where(is_source, self.source_mlp(atoms).squeeze(1), self.mlp(atoms).squeeze(1))


def _place(name: str, n_blocks: int, last: str) -> str | None:
    """The group of a parameter; None of the one that nothing reads."""
    layer, _, rest = name.partition(".")
    if layer in {"mlp", "readout_norm", "site_wise"}:
        return "output" if name.startswith(last) else "readout"
    if layer == "atom_conv_layers":
        return f"block-{int(rest.split('.')[0]) + 1}"
    if layer == "bond_conv_layers":
        return f"block-{int(rest.split('.')[0]) + 2}"
    if layer == "angle_layers":
        # the update after bond convolution k is read by bond convolution k + 1, a block later
        block = int(rest.split(".")[0]) + 3
        return f"block-{block}" if block <= n_blocks else None
    return "embedding"
