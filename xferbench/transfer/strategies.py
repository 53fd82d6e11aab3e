"""How a network is made to follow another functional: which of its weights move, and from where.

A strategy is a function ``(start, options) -> Transfer`` with a line in ``registry.STRATEGIES``; the annotation of ``options`` is
the dataclass of its own settings. Whatever it does, the elemental references come from the scheme that the run names, and the
one loop of ``runner`` trains what it returns. No strategy knows an architecture.
"""

from __future__ import annotations

import typing
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from xferbench.errors import FormatError, ModelError, UsageError
from xferbench.models.trainable import OUTPUT, REFERENCES, predict, trainable
from xferbench.registry import STRATEGIES, near, resolve
from xferbench.schema import parse
from xferbench.transfer.data import Part, labelled, samples
from xferbench.transfer.optimization import ParameterGroup, Penalty, loss
from xferbench.transfer.references import InitialReferences, initial_references

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from xferbench.models.trainable import Matrix, Trainable
    from xferbench.records import Floats, Frame
    from xferbench.transfer.config import TrainConfig
    from xferbench.transfer.data import GraphStore, TrainingData


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Transfer:
    """What is trained.

    Attributes:
        model: The network, with its references.
        groups: What trains; everything else is frozen. Without any, there is no training.
        references: That it starts with.
        source_share: Source frames to learn from, for each target frame.
        base: Frozen network that the predictions of the model are added to.
        penalty: On leaving the start.
    """

    model: Trainable
    groups: tuple[ParameterGroup, ...]
    references: InitialReferences
    source_share: float = 0.0
    base: Trainable | None = None
    penalty: Penalty | None = None


class Start:
    """What a strategy begins with.

    Args:
        config: Of the run.
        data: What is trained on.
        reference_data: What references are fitted to.
        graphs: Makes the graphs of the frames; of the start.
        device: To predict on.
    """

    def __init__(
        self,
        *,
        config: TrainConfig,
        data: TrainingData,
        reference_data: TrainingData,
        graphs: Callable[[Trainable], GraphStore],
        device: torch.device,
    ) -> None:
        self.config, self.data, self.reference_data, self.device = config, data, reference_data, device
        self._graphs = graphs

    @cached_property
    def model(self) -> Trainable:
        """The network to start from, loaded once; a strategy takes it and changes it. From scratch it has random weights."""
        architecture, weights = trainable(self.config.model)
        seed = self.config.seed if self.config.strategy == "scratch" else None
        model = architecture.load(weights, seed=seed).to(self.device)
        if seed is not None:
            model.set_reference_energies(np.zeros(len(model.elements)))
        return model.eval()

    @cached_property
    def graphs(self) -> GraphStore:
        """Graphs of the frames."""
        return self._graphs(self.model)

    def predicted(self, frames: Sequence[Frame]) -> Floats:
        """Energies (n,) eV/atom that the start predicts for the frames with an energy, NaN for one without a graph."""
        labelled_frames = [frame for frame in frames if frame.energy is not None]
        good, _ = self.graphs.split(labelled_frames)
        if not good:
            raise ModelError(f"{self.config.model} can predict none of {len(frames)} training frames")
        costs = [self.model.cost(frame.atoms()) for frame in good]
        found = predict(self.model, [frame.numbers for frame in good], self.graphs.get(good), costs)
        energy = {id(frame): result["energy"] / frame.n_atoms for frame, result in zip(good, found, strict=True)}
        return np.array([energy.get(id(frame), np.nan) for frame in labelled_frames], dtype=np.float64)

    def references(self) -> InitialReferences:
        """The table of the target that the scheme of the run makes; not yet in the network."""
        data, config = self.reference_data, self.config
        return initial_references(
            self.model, config.reference_choice.scheme, data, lambda: self.predicted(data.frames), atoms=config.atoms
        )

    def source_references(self) -> InitialReferences:
        """The table of the source: fitted to its labels as that of the target is, or the start's own for another scheme."""
        frames = [pair.source for pair in self.reference_data.pairs]
        scheme = self.config.reference_choice.scheme
        data = replace(self.reference_data, frames=frames)
        chosen = scheme if scheme in {"fit", "model-aware"} else "source"
        return initial_references(self.model, chosen, data, lambda: self.predicted(frames))

    def transfer(
        self,
        references: InitialReferences,
        parameters: Sequence[str],
        *,
        name: str = "network",
        **more: Any,  # noqa: ANN401 - further attributes of Transfer
    ) -> Transfer:
        """The start with its references, which train as the run says, beside these parameters."""
        choice = self.config.reference_choice
        self.model.set_reference_energies(references.table)
        groups = [ParameterGroup(name=name, parameters=tuple(parameters))] if parameters else []
        if choice.trains:
            groups.append(ParameterGroup(name=REFERENCES, parameters=(REFERENCES,), lr=choice.lr, after=choice.after))
        return Transfer(model=self.model, groups=tuple(groups), references=references, **more)

    def parameters(self, chosen: Callable[[str], bool] = lambda _: True) -> list[str]:
        """Names of the parameters in the groups of the network that are chosen by name."""
        return [name for group, names in self.model.groups().items() if chosen(group) for name in names]


Strategy = typing.Callable[[Start, Any], Transfer]


def build(start: Start) -> Transfer:
    """What the run trains; only the parameters of its groups want gradients.

    Raises:
        UsageError: Options that the strategy does not have.
        DataError: The training data do not suffice for it.
    """
    config = start.config
    make: Strategy = resolve("strategy", config.strategy, STRATEGIES)
    kind = typing.get_type_hints(make)["options"]
    try:
        options = parse(kind, dict(config.options), f"options of {config.strategy}")
    except FormatError as error:
        raise UsageError(str(error)) from error
    made = make(start, options)
    known = dict(made.model.named_parameters())
    for parameter in known.values():
        parameter.requires_grad_(False)
    for group in made.groups:
        for name in group.parameters:
            if name not in known:
                raise UsageError(f"no parameter is called {name!r}; {near(name, known)}")
            known[name].requires_grad_(True)
    made.model.eval()
    return made


@dataclass(frozen=True, slots=True, kw_only=True)
class NoOptions:
    """Of a strategy without settings of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LastBlocks:
    """Settings of ``last-blocks``.

    Attributes:
        blocks: How many interaction blocks, counted from the last, train with the read-out.
    """

    blocks: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LowRankOptions:
    """Settings of ``lora``.

    Attributes:
        rank: Width of the thin matrices.
        alpha: The product is multiplied by ``alpha / rank``.
    """

    rank: int = 8
    alpha: float = 8.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiFidelityOptions:
    """Settings of ``multi-fidelity``.

    Attributes:
        source_share: Source frames to learn from for each target frame, at most one.
    """

    source_share: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayOptions:
    """Settings of ``replay``.

    Attributes:
        source_share: Source frames to repeat for each target frame, at most one.
    """

    source_share: float = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsolidationOptions:
    """Settings of ``ewc``.

    Attributes:
        strength: Of the penalty.
        frames: Source frames that say which weights matter to the source.
    """

    strength: float = 1000.0
    frames: int = 64


def scratch(start: Start, options: NoOptions) -> Transfer:  # noqa: ARG001 - every strategy has the same signature
    """All weights train, from random ones: what every transfer is compared with."""
    return start.transfer(start.references(), start.parameters())


def zero_shot(start: Start, options: NoOptions) -> Transfer:  # noqa: ARG001 - every strategy has the same signature
    """Nothing trains: the start with other references, the point n = 0 of a scaling curve."""
    return start.transfer(start.references(), ())


def finetune(start: Start, options: NoOptions) -> Transfer:  # noqa: ARG001 - every strategy has the same signature
    """All weights train, from those of the start."""
    return start.transfer(start.references(), start.parameters())


def head(start: Start, options: NoOptions) -> Transfer:  # noqa: ARG001 - every strategy has the same signature
    """Only the read-out trains."""
    return start.transfer(start.references(), start.parameters(lambda group: group in {"readout", OUTPUT}))


def last_blocks(start: Start, options: LastBlocks) -> Transfer:
    """The read-out and the last interaction blocks train, what comes before is frozen."""
    blocks = [group for group in start.model.groups() if group.startswith("block-")]
    if not 1 <= options.blocks <= len(blocks):
        raise UsageError(f"options.blocks = {options.blocks} must be from 1 to {len(blocks)}")
    chosen = {*blocks[-options.blocks :], "readout", OUTPUT}
    return start.transfer(start.references(), start.parameters(lambda group: group in chosen))


def lora(start: Start, options: LowRankOptions) -> Transfer:
    """Low-rank changes of the matrices train (E. Hu et al., ICLR 2022, arXiv:2106.09685)."""
    if options.rank < 1:
        raise UsageError(f"options.rank = {options.rank} must be 1 or more")
    references = start.references()
    generator = torch.Generator().manual_seed(start.config.seed)
    for matrix in start.model.matrices():
        change = LowRank(matrix, options, generator).to(start.device)
        parametrize.register_parametrization(matrix.module, matrix.name, change)
    names = [name for name, _ in start.model.named_parameters() if ".down." in name or ".up." in name]
    return start.transfer(references, names, name="adapters")


def delta(start: Start, options: NoOptions) -> Transfer:  # noqa: ARG001 - every strategy has the same signature
    """A second network learns what is to be added to the frozen start; it begins as zero, with the start's features.

    What is learned is the target label minus the *prediction* of the start, so that its own errors are corrected as well. Magnetic
    moments are absolute values, of which no difference is learned: the second network predicts them whole.
    """
    references = start.references()
    base = deepcopy(start.model)
    change = replace(references, table=references.table - base.reference_energies())
    with torch.no_grad():
        for name in start.model.groups()[OUTPUT]:
            start.model.get_parameter(name).zero_()
    return start.transfer(change, start.parameters(), base=base)


def multi_fidelity(start: Start, options: MultiFidelityOptions) -> Transfer:
    """Both functionals train at once, told apart by a vector and by references (SevenNet-MF, arXiv:2409.07947)."""
    return _two_sides(start, options.source_share, "embedding")


def replay(start: Start, options: ReplayOptions) -> Transfer:
    """The target is learned while some source frames are repeated, each with a read-out of its own (as in MACE, arXiv:2510.25380)."""
    return _two_sides(start, options.source_share, "head")


def ewc(start: Start, options: ConsolidationOptions) -> Transfer:
    """All weights train, those that matter to the source against a penalty (Kirkpatrick et al. 2017; SevenNet's reEWC)."""
    if options.frames < 1 or options.strength < 0:
        raise UsageError("options.frames must be 1 or more, and options.strength 0 or more")
    references, source = start.references(), start.source_references()
    start.model.set_reference_energies(source.table)
    names = start.parameters()
    frames, _ = start.graphs.split([pair.source for pair in start.data.pairs[: options.frames]])
    importance = fisher_information(start, names, frames)
    kept = {name: start.model.get_parameter(name).detach().clone() for name in names}
    return start.transfer(
        references, names, penalty=Penalty(strength=options.strength, start=kept, importance=importance)
    )


def fisher_information(start: Start, names: Sequence[str], frames: Sequence[Frame]) -> dict[str, Tensor]:
    """Mean square (over frames) of the derivative of the loss by each weight: the empirical Fisher information, its diagonal."""
    model = start.model.train()
    parameters = [model.get_parameter(name).requires_grad_() for name in names]
    total = [torch.zeros_like(parameter) for parameter in parameters]
    for sample in samples(frames, model):
        part = Part(indices=(0,), counts=sample.counts, weight=1.0, is_last=True)
        item = labelled([sample], part, start.graphs).to(start.device)
        value = loss(model(item.batch), item, start.config).value
        for sum_, slope in zip(total, torch.autograd.grad(value, parameters, allow_unused=True), strict=True):
            if slope is not None:
                sum_.add_(slope.square(), alpha=1 / len(frames))
    model.eval()
    return dict(zip(names, total, strict=True))


def _two_sides(start: Start, source_share: float, kind: Literal["embedding", "head"]) -> Transfer:
    """A network of both functionals, each with references fitted to its own labels."""
    if not 0 < source_share <= 1:
        raise UsageError(f"options.source_share = {source_share:g} must be above 0 and at most 1")
    target, source = start.references(), start.source_references()
    start.model.add_second(kind)
    start.model.to(start.device)
    start.model.set_reference_energies(source.table, "source")
    return start.transfer(target, start.parameters(), source_share=source_share)


class LowRank(nn.Module):
    """Adds (alpha / rank) B A to each matrix in a parameter.

    Args:
        matrix: The parameter.
        options: Rank and scale.
        generator: Of the random A; B is zero, so that the network starts as it was.
    """

    def __init__(self, matrix: Matrix, options: LowRankOptions, generator: torch.Generator) -> None:
        super().__init__()
        self.scale, self.blocks = options.alpha / options.rank, matrix.blocks
        self.down = nn.ParameterList(
            torch.randn(options.rank, columns, generator=generator) / columns**0.5 for _, _, columns in matrix.blocks
        )
        self.up = nn.ParameterList(torch.zeros(rows, options.rank) for _, rows, _ in matrix.blocks)

    def forward(self, weight: Tensor) -> Tensor:
        """A parameter of any shape -> the same shape."""
        change = [self.scale * (up @ down).reshape(-1) for up, down in zip(self.up, self.down, strict=True)]
        pieces, at, flat = [], 0, weight.reshape(-1)
        for (start, rows, columns), item in zip(self.blocks, change, strict=True):
            pieces += [flat[at:start], flat[start : start + rows * columns] + item]
            at = start + rows * columns
        return torch.cat([*pieces, flat[at:]]).reshape(weight.shape)
