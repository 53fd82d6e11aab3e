"""SevenNet as a network that can be trained, through its own package ``sevenn`` (extra ``sevenn``), which reads what is written.

Starts: ``7net-0`` and ``7net-l3i5``, ``7net-mf-0:PBE`` and ``7net-mf-0:R2SCAN`` (a modality of the multi-fidelity network), or the path
of a checkpoint. References are its shift per element. What is its own of sevenn 0.13.0:

| quantity | in sevenn | here |
|---|---|---|
| energy | eV, shift of each atom included | the shift is zero in the network, and the table of references |
| forces | eV/Å | the same |
| stress | eV/Å³, -(1/V) dE/dε, in the order xx yy zz xy yz zx | (1/V) dE/dε, (3, 3) |

References:
    Y. Park et al., J. Chem. Theory Comput. 20, 4857 (2024), arXiv:2402.03789; J. Kim et al., JACS 2025, arXiv:2409.07947.
"""

from __future__ import annotations

import io
import warnings
from contextlib import contextmanager
from copy import deepcopy
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from xferbench.errors import MissingExtraError, ModelError, StorageError, UsageError
from xferbench.models.contract import one_line
from xferbench.models.trainable import SIDES, Matrix, Output, Trainable, merged_state
from xferbench.storage import write_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ase import Atoms

    from xferbench.models.trainable import Side

RESCALE = "rescale_atomic_energy"
EMBEDDING = "onehot_to_feature_x"
READOUT = ("reduce_input_to_hidden", "reduce_hidden_to_energy")
VOIGT = (0, 3, 5, 3, 1, 4, 5, 4, 2)
"""Places of the nine components of the stress among sevenn's six."""

MODALITY = "xferbench_modality"
"""Entry of a written checkpoint of a multi-fidelity network: which of its modalities was trained."""


class Graphs(dict[str, Any]):
    """Tensors by sevenn's names."""

    def to(self, device: torch.device) -> Graphs:
        """A copy on a device."""
        return Graphs({name: value.to(device) if isinstance(value, Tensor) else value for name, value in self.items()})


class TrainableSevenNet(Trainable):
    """A SevenNet whose shift per element is apart.

    Args:
        checkpoint: As ``torch.load`` reads it, to be written with other weights.
        network: ``sevenn.nn.sequential.AtomGraphSequential``; its weights are taken over.
        modality: Of a multi-fidelity network.
    """

    architecture: ClassVar[str] = "sevennet"
    title: ClassVar[str] = "SevenNet"
    weights: ClassVar[str] = "model.pth"
    packages: ClassVar[tuple[str, ...]] = ("e3nn", "sevenn")
    trained_on: ClassVar[Mapping[str, tuple[str, ...]]] = {"7net-0": ("MPtrj",), "7net-l3i5": ("MPtrj",)}

    def __init__(self, checkpoint: dict[str, Any], network: Any, modality: str | None) -> None:  # noqa: ANN401 - untyped
        place = network.type_map
        rescale = network.get_submodule(RESCALE)
        shift = rescale.shift.detach().double().numpy()
        self.modality = modality
        if shift.ndim > 1:
            shift = shift[network.modal_map[modality]]
        super().__init__(sorted(place), np.broadcast_to(shift, len(place))[[place[z] for z in sorted(place)]].copy())
        # its weights are those of this version already: sevenn changes those of older ones when it reads them
        self.checkpoint = {**checkpoint, "version": version("sevenn")}
        self.cutoff, self.kind = float(network.cutoff), "one side"
        self._names = set(network.state_dict())
        rescale.shift.data.zero_()
        network.eval_modal_map = False
        # sevenn's constants are parameters that never train
        for module in network.modules():
            for name, value in list(module.named_parameters(recurse=False)):
                if not value.requires_grad or module is rescale:
                    delattr(module, name)
                    module.register_buffer(name, value.detach())
        self.network = network.requires_grad_(requires_grad=False)

    @classmethod
    def load(cls, start: str, *, seed: int | None = None) -> TrainableSevenNet:
        """A shipped network or a checkpoint, of a multi-fidelity network followed by ``:MODALITY``."""
        try:
            with _quiet():
                from sevenn.model_build import build_E3_equivariant_model
                from sevenn.util import load_checkpoint
        except ModuleNotFoundError as error:
            raise MissingExtraError(f'sevennet needs the package {error.name!r}; pip install ".[sevenn]"') from error
        name, _, modality = (start, "", "") if Path(start).exists() else start.partition(":")
        try:
            with _quiet(), torch.random.fork_rng(devices=[]):
                checkpoint = load_checkpoint(name)
                config = checkpoint.config
                network = checkpoint.build_model()
                if seed is not None:
                    constants = {name: value for name, value in network.named_parameters() if not value.requires_grad}
                    torch.manual_seed(seed)
                    network = build_E3_equivariant_model(config)
                    network.load_state_dict(constants, strict=False)
        except OSError as error:
            raise StorageError(f"cannot read {name}: {error.strerror or error}; check the path") from error
        except Exception as error:  # whatever sevenn raises of a file that is none of its own
            raise ModelError(f"sevenn cannot load {name!r}: {one_line(error, 200)}") from error
        modality = modality or config.get(MODALITY, "")
        known = sorted(network.modal_map or {})
        if bool(known) != bool(modality) or (known and modality not in known):
            choices = f"one of {', '.join(f'{name}:{item}' for item in known)}" if known else f"{name} alone"
            raise UsageError(f"{start}: choose {choices}")
        return cls(config, network, modality or None).eval()

    def graphs(self, structures: Sequence[Atoms]) -> list[dict[str, Any]]:
        """Sevenn's own neighbour search."""
        with _quiet():
            from sevenn.train.dataload import unlabeled_atoms_to_graph
        made = []
        for atoms in structures:
            if atoms.cell.rank < 3:
                raise ModelError("the structure has no cell of three lattice vectors, of which a stress could be")
            graph = unlabeled_atoms_to_graph(atoms, self.cutoff)
            if not graph["edge_index"].size:
                raise ModelError(f"the structure has no two atoms within {self.cutoff:g} Å")
            if (np.linalg.norm(graph["edge_vec"], axis=1) < 1e-4).any():
                raise ModelError("the structure has two atoms at the same place")
            made.append(
                {
                    "atomic_numbers": np.asarray(graph["atomic_numbers"], dtype=np.int64),
                    "edge_index": graph["edge_index"].astype(np.int32),
                    "edge_vec": graph["edge_vec"].astype(np.float32),
                    "volume": np.array([abs(atoms.cell.volume)], dtype=np.float32),
                }
            )
        return made

    def cost(self, atoms: Atoms) -> float:
        """Edges, guessed from the density; each is about as dear as twenty rows of a batch of CHGNet."""
        volume = max(abs(float(np.linalg.det(atoms.cell.array))), 1e-3)
        return 20 * len(atoms) * max(len(atoms) / volume, 0.05) * 4.19 * self.cutoff**3

    def inputs(self, graphs: Sequence[dict[str, Any]], sides: Sequence[int]) -> Graphs:
        """A batch as sevenn's networks read it."""
        counts = [len(graph["atomic_numbers"]) for graph in graphs]
        starts = np.cumsum([0, *counts])
        numbers = torch.from_numpy(np.concatenate([graph["atomic_numbers"] for graph in graphs]))
        edges = np.concatenate([graph["edge_index"] + at for graph, at in zip(graphs, starts, strict=False)], axis=1)
        data = Graphs(
            x=numbers,
            atomic_numbers=numbers,
            edge_index=torch.from_numpy(edges),
            edge_vec=torch.from_numpy(np.concatenate([graph["edge_vec"] for graph in graphs])),
            cell_volume=torch.from_numpy(np.concatenate([graph["volume"] for graph in graphs])),
            num_atoms=torch.tensor(counts),
            batch=torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts)),
            sides=torch.as_tensor(sides),
        )
        if self.modality is not None:
            modality = self.network.modal_map[self.modality]
            data["modal_type"] = torch.full((len(counts),), modality)
        return data

    def compute(self, inputs: Graphs) -> Output:
        """Forces and stress by sevenn's own layer."""
        data = Graphs(inputs)
        data["edge_vec"] = inputs["edge_vec"].detach().requires_grad_()
        # torch's profiling executor rounds otherwise in its first calls than in later ones, and a resumed run would too
        with torch.enable_grad(), torch.jit.optimized_execution(should_optimize=False):  # type: ignore[attr-defined]
            data = self.network(data)
        stress = -data["inferred_stress"][:, VOIGT].reshape(-1, 3, 3)
        output = Output(energy=data["inferred_total_energy"], forces=data["inferred_force"], stress=stress)
        if self.training:
            return output
        return Output(energy=output.energy.detach(), forces=output.forces.detach(), stress=stress.detach())

    def groups(self) -> dict[str, tuple[str, ...]]:
        """Block k is the k-th interaction."""
        n = int(self.checkpoint["num_convolution_layer"])
        found: dict[str, list[str]] = {
            name: [] for name in ("embedding", *(f"block-{k}" for k in range(1, n + 1)), "readout", "output")
        }
        for name, _ in self.network.named_parameters():
            number, digit, _ = name.partition("_")
            if digit and number.isdigit():
                place = f"block-{int(number) + 1}"
            elif name.startswith(("edge_embedding", EMBEDDING, "second_vector")):
                place = "embedding"
            else:
                place = "readout"
            found[place].append(f"network.{name}")
        owner = found["readout"][-1].removesuffix(".original").rpartition(".")[0]
        last = [name for name in found["readout"] if name.startswith(owner)]
        if self.kind == "head":
            last += [name.replace(".source.", ".target.") for name in last]
        found["output"] = [name for name in found["readout"] if name in last]
        found["readout"] = [name for name in found["readout"] if name not in last]
        return {place: tuple(names) for place, names in found.items()}

    def matrices(self) -> list[Matrix]:
        """Those of the equivariant linear layers, one for each kind of feature, and of the radial networks."""
        from e3nn.nn._fc import _Layer
        from e3nn.o3 import Linear

        found = []
        for name, module in self.network.named_modules():
            if name.startswith(EMBEDDING):
                continue
            if isinstance(module, Linear) and module.weight_numel:
                blocks, start = [], 0
                for instruction in module.instructions:
                    if instruction.i_in < 0:
                        continue
                    rows, columns = instruction.path_shape
                    blocks.append((start, rows, columns))
                    start += rows * columns
                found.append(
                    Matrix(module=module, name="weight", blocks=tuple(block for block in blocks if min(block[1:]) > 1))
                )
            elif isinstance(module, _Layer):
                found.append(Matrix.whole(module))
        return [matrix for matrix in found if matrix.blocks]

    def add_second(self, kind: Literal["embedding", "head"]) -> None:
        """A vector that is added to the embedding of every atom, or a copy of the read-out."""
        if self.modality is not None:
            raise UsageError("a multi-fidelity SevenNet is fine-tuned in one of its modalities; start from 7net-0")
        modules = dict(self.network.named_children())
        if kind == "head":
            for name in READOUT:
                if name not in modules:
                    raise UsageError(
                        "this SevenNet reads energies out through a network without a copy here; take 7net-0"
                    )
                self.network.replace_module(name, TwoReadouts(modules[name]))
        else:
            width = modules[EMBEDDING].irreps_out.dim
            order = list(modules)
            self.network.add_module("second_vector", SecondVector(width))
            for name in order[order.index(EMBEDDING) + 1 :]:
                self.network._modules.move_to_end(name)  # noqa: SLF001 - as its own methods do
        self.kind = kind
        self.second_references()

    def save(self, path: Path, side: Side = "target") -> None:
        """A checkpoint of sevenn."""
        state = merged_state(self.network)
        table = self.reference_energies(side)
        by_place = torch.as_tensor(table[[self.elements.index(z) for z in self._by_place()]], dtype=torch.float32)
        shift = state[f"{RESCALE}.shift"]
        if shift.ndim > 1:
            shift[self.network.modal_map[self.modality]] = by_place
        else:
            state[f"{RESCALE}.shift"] = by_place.clone()
        if self.kind == "embedding":
            vector = state.pop("second_vector.vectors")[SIDES.index(side)]
            weight = state[f"{EMBEDDING}.linear.weight"]
            # the layer divides by the root of the number of elements; of a one-hot vector one row remains
            state[f"{EMBEDDING}.linear.weight"] = (
                weight.reshape(-1, len(vector)) + vector * len(self.elements) ** 0.5
            ).reshape(-1)
        if self.kind == "head":
            state = {
                name.replace(f".{side}.", "."): value
                for name, value in state.items()
                if f".{SIDES[1 - SIDES.index(side)]}." not in name
            }
        # a copy of an e3nn module has constants in its state that the module itself has not
        state = {name: value for name, value in state.items() if name in self._names}
        config = {**deepcopy(self.checkpoint), "shift": by_place.tolist()} if shift.ndim == 1 else dict(self.checkpoint)
        if self.modality is not None:
            config[MODALITY] = self.modality
        content = {"config": config, "model_state_dict": state, "epoch": None, "time": "", "hash": ""}
        buffer = io.BytesIO()
        torch.save(content, buffer)
        write_bytes(path, buffer.getvalue())

    def _by_place(self) -> list[int]:
        place = self.network.type_map
        return sorted(place, key=lambda z: int(place[z]))


class SecondVector(nn.Module):
    """Adds a vector of its functional to every atom's features, zero at the start."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.vectors = nn.Parameter(torch.zeros(2, width))

    def forward(self, data: Graphs) -> Graphs:
        """Data with changed features."""
        data["x"] = data["x"] + self.vectors[data["sides"][data["batch"]]]
        return data


class TwoReadouts(nn.Module):
    """A layer and its copy, one for each side."""

    def __init__(self, layer: Any) -> None:  # noqa: ANN401 - a layer of an untyped package
        super().__init__()
        self.target, self.source = layer, deepcopy(layer)
        self.key_input, self.key_output = layer.key_input, layer.key_output

    def forward(self, data: Graphs) -> Graphs:
        """Data with the output of the layer of each atom's side."""
        x = data[self.key_input]
        found = []
        for layer in (self.target, self.source):
            data[self.key_input] = x
            found.append(layer(data)[self.key_output])
        is_source = (data["sides"][data["batch"]] == SIDES.index("source"))[:, None]
        data[self.key_output] = torch.where(is_source, found[1], found[0])
        return data


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings of sevenn and its packages, which are about neither structures nor results."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
