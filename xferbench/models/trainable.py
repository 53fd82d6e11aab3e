"""What a potential must be able to do so that this package can train it, whatever its architecture.

An architecture is a folder with one subclass of ``Trainable`` and a line in ``registry.TRAINABLES``; ``docs/extending.md`` walks
one. The base class owns the elemental references and adds them to what the network says, so that they are exactly
additive in every architecture:

    energy of a structure = sum over atoms of reference[side, element] + what the network says

Units are those of the package: eV (total), eV/Å, eV/Å³ (tension positive), µB. A network that knows two functionals is asked
for one of its two sides, ``target`` or ``source``; every other network has the target side only.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from xferbench.errors import DataError, ModelError, UsageError
from xferbench.models.contract import Declarations, describe, unsupported
from xferbench.references.composition import symbols
from xferbench.registry import DEFAULT_MODEL, TRAINABLES, resolve

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from ase import Atoms

    from xferbench.functionals import Functional
    from xferbench.models.contract import Model
    from xferbench.records import Floats, Integers

    Side = Literal["source", "target"]

SIDES: tuple[Side, Side] = ("target", "source")
"""Rows of the table of references, and the numbers of the sides in a batch."""

REFERENCES = "references"
"""Name of the parameter with the elemental references, (n_sides, n_elements) eV/atom."""

OUTPUT = "output"
"""Name of the last parameter group: with all of its parameters zero, the network says zero energy."""

PACK = 64
"""Structures whose graphs are built at once."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """Structures of one forward pass.

    Attributes:
        inputs: What the architecture made of their graphs; has a method ``to(device)``.
        elements: (n_atoms,) column of each atom in the table of references.
        owner: (n_atoms,) structure of each atom.
        counts: (n,) atoms of each structure.
        sides: (n,) place of each structure's functional in ``SIDES``.
    """

    inputs: Any
    elements: Tensor
    owner: Tensor
    counts: Tensor
    sides: Tensor

    def to(self, device: torch.device) -> Batch:
        """A copy on a device."""
        moved = {item.name: getattr(self, item.name).to(device) for item in dataclasses.fields(self)}
        return Batch(**moved)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Output:
    """What a network says about a batch.

    Attributes:
        energy: (n,) total eV.
        forces: (n_atoms, 3) eV/Å.
        stress: (n, 3, 3) eV/Å³, (1/V) dE/dε, tension positive.
        magmoms: (n_atoms,) µB, absolute values; None of a network without moments.
    """

    energy: Tensor
    forces: Tensor
    stress: Tensor
    magmoms: Tensor | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Matrix:
    """A weight that acts as a matrix, or as several in a row, for low-rank changes.

    Attributes:
        module: That owns it.
        name: Of the parameter in the module.
        blocks: (start, rows, columns) of each matrix in the flattened parameter.
    """

    module: nn.Module
    name: str
    blocks: tuple[tuple[int, int, int], ...]

    @classmethod
    def whole(cls, module: nn.Module, name: str = "weight") -> Matrix:
        """A parameter that is one matrix."""
        rows, columns = getattr(module, name).shape
        return cls(module=module, name=name, blocks=((0, rows, columns),))


class Trainable(nn.Module, ABC):
    """A network that can be trained, with its table of elemental references.

    In training mode ``forward`` keeps what is needed to differentiate forces and stress once more; in evaluation mode it does not.

    Attributes:
        architecture: Name in ``registry.TRAINABLES``.
        title: As people write it.
        outputs: Quantities that it predicts.
        weights: Name of the file that ``save`` writes, as the architecture's own package expects it.
        packages: Whose versions can move the result.
        trained_on: Start -> data sets that shipped weights have seen.
        elements: Atomic numbers that it has a reference for, in the order of the table.

    Args:
        elements: Atomic numbers.
        references: (n_elements,) eV/atom.
    """

    architecture: ClassVar[str]
    title: ClassVar[str]
    outputs: ClassVar[tuple[str, ...]] = ("energy", "forces", "stress")
    weights: ClassVar[str]
    packages: ClassVar[tuple[str, ...]] = ()
    trained_on: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    def __init__(self, elements: Sequence[int], references: Floats) -> None:
        super().__init__()
        self.elements = tuple(int(z) for z in elements)
        self.references = nn.Parameter(torch.as_tensor(references, dtype=torch.float32)[None], requires_grad=False)

    # what an architecture writes

    @classmethod
    @abstractmethod
    def load(cls, start: str, *, seed: int | None = None) -> Trainable:
        """A network to start from, on the CPU, in evaluation mode.

        Args:
            start: Name of weights that its package ships, or the path of a file that ``save`` or the package wrote.
            seed: If given, the network has the shape of the start and random weights that the seed decides.

        Raises:
            MissingExtraError: Its package is not installed.
            StorageError: The file cannot be read.
            ModelError: It is no checkpoint, or one that cannot be trained here.
        """

    @abstractmethod
    def graphs(self, structures: Sequence[Atoms]) -> list[Any]:
        """What the network needs to know of each structure, made once and kept: arrays, in a dictionary or dataclass.

        Raises:
            ModelError: A structure has none: an isolated atom, two atoms at one place.
        """

    @abstractmethod
    def cost(self, atoms: Atoms) -> float:
        """About what a structure costs in time and memory, in edges of its graph; only ratios and sums matter."""

    @abstractmethod
    def inputs(self, graphs: Sequence[Any], sides: Sequence[int]) -> Any:  # noqa: ANN401 - the architecture's own
        """Graphs of several structures, and the place of each one's functional in ``SIDES``, as input of ``compute``."""

    @abstractmethod
    def compute(self, inputs: Any) -> Output:  # noqa: ANN401 - the architecture's own
        """What the network says, references left out; differentiable once more in training mode."""

    @abstractmethod
    def groups(self) -> dict[str, tuple[str, ...]]:
        """Names of the parameters that a prediction depends on, references aside, from the embedding to the read-out.

        The groups are called ``embedding``, ``block-1`` …, ``readout`` and ``output``; the last is the final linear map.
        """

    @abstractmethod
    def matrices(self) -> list[Matrix]:
        """Weights that low-rank adaptation changes."""

    @abstractmethod
    def save(self, path: Path, side: Side = "target") -> None:
        """Write the network of one side as its own package reads it, adapters multiplied out.

        Raises:
            StorageError: The disk refuses.
        """

    def add_second(self, kind: Literal["embedding", "head"]) -> None:
        """Give the network a source side that starts as a copy of the target side.

        Args:
            kind: Whether the sides differ by a vector that is added to the embedding, or by read-outs of their own.

        Raises:
            UsageError: The architecture has no such thing.
        """
        raise UsageError(f"{self.title} has no second {kind} here; choose a strategy that needs one functional only")

    @classmethod
    def potential(cls, path: Path, device: str, functional: Functional) -> Model:
        """A model to score, of a file that ``save`` wrote."""
        return Predictor.of(cls.load(str(path)).to(torch.device(device)), functional)

    # what is the same for all

    def collate(self, numbers: Sequence[Integers], graphs: Sequence[Any], sides: Sequence[int] | None = None) -> Batch:
        """A batch of structures.

        Args:
            numbers: Atomic numbers of each structure.
            graphs: Of each structure.
            sides: Place of each one's functional in ``SIDES``; the target's if left out.
        """
        sides = [0] * len(graphs) if sides is None else sides
        counts = torch.tensor([len(item) for item in numbers])
        column = np.full(120, -1)
        column[list(self.elements)] = np.arange(len(self.elements))
        return Batch(
            inputs=self.inputs(graphs, sides),
            elements=torch.from_numpy(column[np.concatenate(numbers)]),
            owner=torch.repeat_interleave(torch.arange(len(counts)), counts),
            counts=counts,
            sides=torch.as_tensor(sides),
        )

    def forward(self, batch: Batch) -> Output:
        """Energies, forces, stresses and, of some networks, moments of a batch."""
        output = self.compute(batch.inputs)
        atoms = self.references[batch.sides[batch.owner], batch.elements]
        energy = output.energy
        if not self.training:
            # single precision resolves thousands of eV to 1e-4 eV only
            energy, atoms = energy.double(), atoms.double()
        return dataclasses.replace(output, energy=energy.index_add(0, batch.owner, atoms))

    def reference_energies(self, side: Side = "target") -> Floats:
        """The table (n_elements,) eV/atom of one side."""
        table: Floats = self.references.detach().double().cpu().numpy()[SIDES.index(side)].copy()
        return table

    def set_reference_energies(self, table: Floats, side: Side = "target") -> None:
        """Replace the table of one side."""
        with torch.no_grad():
            self.references[SIDES.index(side)] = torch.as_tensor(table, dtype=self.references.dtype)

    def second_references(self) -> None:
        """Give the source side references of its own, those of the target at first."""
        both = torch.cat([self.references.detach(), self.references.detach()])
        self.references = nn.Parameter(both, requires_grad=False)

    @property
    def n_sides(self) -> int:
        """How many functionals it knows."""
        return len(self.references)

    @property
    def symbols(self) -> tuple[str, ...]:
        """Chemical symbols of ``elements``."""
        return tuple(symbols(self.elements))

    def check_elements(self, numbers: Sequence[Integers]) -> None:
        """Refuse structures with an element that the network does not know.

        Raises:
            DataError: There are such.
        """
        unknown = sorted({int(z) for item in numbers for z in item} - set(self.elements))
        if unknown:
            raise DataError(
                f"{self.title} does not know {', '.join(symbols(unknown))}; leave frames with them out of the data set"
            )


def trainable(model: str) -> tuple[type[Trainable], str]:
    """The architecture and the start that ``chgnet:0.3.0`` or ``chgnet:path/to/weights`` names.

    Raises:
        UnknownNameError: No such architecture.
        UsageError: The start is missing.
        MissingExtraError: Its package is not installed.
    """
    architecture, _, start = model.partition(":")
    found: type[Trainable] = resolve("architecture", architecture, TRAINABLES)
    if not start:
        raise UsageError(f"say which weights of {architecture} to start from, such as --model {DEFAULT_MODEL}")
    return found, start


def merged_state(module: nn.Module) -> dict[str, Tensor]:
    """The ``state_dict`` that a module amounts to: parametrised weights multiplied out, on the CPU."""
    state = {
        name: value.detach().cpu() for name, value in module.state_dict().items() if "parametrizations." not in name
    }
    for path, inner in module.named_modules():
        if parametrize.is_parametrized(inner):
            names = inner.parametrizations
            state |= {f"{path}.{name}".lstrip("."): getattr(inner, name).detach().cpu() for name in names}
    return state


def built(model: Trainable, structures: Sequence[Atoms]) -> Iterator[Any | ModelError]:
    """The graph of each structure, in order, or why it has none."""
    for begin in range(0, len(structures), PACK):
        pack = structures[begin : begin + PACK]
        try:
            yield from model.graphs(pack)
        except ModelError:
            for atoms in pack:
                try:
                    yield from model.graphs([atoms])
                except ModelError as error:
                    yield error


def n_bytes(graph: Any) -> int:  # noqa: ANN401 - arrays in whatever they lie in
    """Memory of a graph: of all arrays in it."""
    if isinstance(graph, np.ndarray | Tensor):
        return int(graph.nbytes)
    if dataclasses.is_dataclass(graph):
        graph = {item.name: getattr(graph, item.name) for item in dataclasses.fields(graph)}
    return sum(n_bytes(item) for item in graph.values()) if isinstance(graph, dict) else 0


def packs(costs: Sequence[float], limit: float) -> Iterator[list[int]]:
    """Indices in groups whose costs add up to ``limit`` at most, the dearest first; a single one may cost more."""
    pack: list[int] = []
    total = 0.0
    for index in sorted(range(len(costs)), key=lambda i: -costs[i]):
        if pack and total + costs[index] > limit:
            yield pack
            pack, total = [], 0.0
        pack.append(index)
        total += costs[index]
    if pack:
        yield pack


def results(output: Output, counts: Sequence[int]) -> list[dict[str, Any]]:
    """An output as one dictionary per structure, as in ``models.contract``."""
    ends = np.cumsum(counts)[:-1]
    columns: dict[str, Any] = {
        "energy": output.energy.detach().double().tolist(),
        "forces": np.split(output.forces.detach().double().cpu().numpy(), ends),
        "stress": list(output.stress.detach().double().cpu().numpy()),
    }
    if output.magmoms is not None:
        columns["magmoms"] = np.split(output.magmoms.detach().double().cpu().numpy(), ends)
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def predict(
    model: Trainable,
    numbers: Sequence[Integers],
    graphs: Sequence[Any],
    costs: Sequence[float],
    *,
    side: Side = "target",
    limit: float = 1 << 15,
) -> list[dict[str, Any]]:
    """What a network in evaluation mode says of structures whose graphs are built, in order.

    Args:
        model: On its device.
        numbers: Atomic numbers of each structure.
        graphs: Of each structure.
        costs: Of each structure.
        side: Functional to predict.
        limit: Cost of a batch.
    """
    device = model.references.device
    found: list[dict[str, Any]] = [{} for _ in graphs]
    for pack in packs(costs, limit):
        chosen = [numbers[i] for i in pack]
        batch = model.collate(chosen, [graphs[i] for i in pack], [SIDES.index(side)] * len(pack)).to(device)
        for index, result in zip(pack, results(model(batch), [len(item) for item in chosen]), strict=True):
            found[index] = result
    return found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Predictor(Declarations):
    """A trained network as a model that can be scored.

    Attributes:
        network: On its device, in evaluation mode.
    """

    network: Trainable

    @classmethod
    def of(cls, network: Trainable, functional: Functional) -> Predictor:
        """A network with all of its elements and references."""
        references: Mapping[str, float] = dict(zip(network.symbols, network.reference_energies().tolist(), strict=True))
        return cls(
            functional=functional,
            supported_elements=frozenset(references),
            references=references,
            network=network.eval(),
        )

    def predict(self, structures: Sequence[Atoms]) -> list[dict[str, Any]]:
        """Results or an ``error`` for each structure, as in ``models.contract``."""
        found: list[dict[str, Any]] = [{} for _ in structures]
        good, graphs = [], []
        known = [not unsupported(atoms.numbers, self.supported_elements) for atoms in structures]
        made = built(self.network, [atoms for atoms, ok in zip(structures, known, strict=True) if ok])
        for index, (atoms, ok) in enumerate(zip(structures, known, strict=True)):
            graph = next(made) if ok else None
            if graph is None:
                missing = ", ".join(unsupported(atoms.numbers, self.supported_elements))
                found[index] = {"error": f"ModelError: no training data for {missing}"}
            elif isinstance(graph, ModelError):
                found[index] = {"error": describe(graph)}
            else:
                good.append(index)
                graphs.append(graph)
        chosen = [structures[index] for index in good]
        numbers, costs = [atoms.numbers for atoms in chosen], [self.network.cost(atoms) for atoms in chosen]
        for index, result in zip(good, predict(self.network, numbers, graphs, costs), strict=True):
            found[index] = result
        return found
