"""What a transfer method is: from a setting, a student.

A method is a function ``(setting, options) -> Student`` in one of the files beside this one, named in
``registry.METHODS``; the annotation of ``options`` is the dataclass of its own settings. It decides the initial weights,
the references, which weights train and how fast, which frames are learned from, and how a plain CHGNet comes out.
"""

from __future__ import annotations

import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parametrize

from xferbench.errors import FormatError, ModelError, UsageError
from xferbench.models.chgnet.checkpoint import SHIPPED, load_network, shipped_checkpoint
from xferbench.models.chgnet.engine import ROWS_CPU, CHGNetEngine
from xferbench.models.chgnet.frozen import FrozenCHGNet
from xferbench.models.chgnet.model import CHGNet, new_network
from xferbench.records import Functional
from xferbench.registry import METHODS, near, resolve
from xferbench.schema import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from xferbench.records import Floats, Frame, Pair
    from xferbench.transfer.config import TrainConfig
    from xferbench.transfer.referencing import References

READOUT = ("mlp.", "readout_norm.", "site_wise.")
"""Beginnings of the names of what reads energies and moments off the atoms."""

REFERENCES = "composition_model.fc.weight"


CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True, kw_only=True)
class NoOptions:
    """Of a method without settings of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Weights that train alike.

    Attributes:
        name: For messages and logs.
        weights: Names of the parameters.
        lr: Their own learning rate instead of the run's, which follows the same schedule.
        after: Fraction of the epochs in which they do not train yet.
    """

    name: str
    weights: tuple[str, ...]
    lr: float | None = None
    after: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Student:
    """What the training loop trains.

    Attributes:
        network: Predicts like ``CHGNet``; ``plain`` makes one of it.
        groups: What trains; everything else is frozen. Without any, there is no training.
        references: That it starts with.
        gga_share: GGA frames to learn from, for each r2SCAN frame; their atoms are numbered beyond the last element.
        base: Frozen network whose predictions the student's are added to.
        has_gga: Whether ``plain(…, gga=True)`` predicts the GGA surface.
    """

    network: CHGNet
    groups: tuple[Group, ...]
    references: References
    gga_share: float = 0.0
    base: CHGNet | None = None
    has_gga: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Setting:
    """What a method may look at.

    Attributes:
        config: Of the run.
        pairs: To fit references to: the pairs that are trained on, or all of the training split.
        device: To predict on.
        more: All r2SCAN frames of the training, where there are more than in pairs.
        atom_energies: Functional -> symbol -> eV of an isolated atom, as far as the data set knows them.
    """

    config: TrainConfig
    pairs: Sequence[Pair]
    device: torch.device = CPU
    more: Sequence[Frame] | None = None
    atom_energies: Mapping[Functional, Mapping[str, float]] = field(default_factory=dict)

    @property
    def frames(self) -> Sequence[Frame]:
        """r2SCAN frames to fit references to."""
        return [pair.r2scan for pair in self.pairs] if self.more is None else self.more

    def pretrained(self) -> CHGNet:
        """The network to start from, not yet trainable.

        Raises:
            StorageError: Its file cannot be read.
            ModelError: It is no checkpoint of chgnet, or one that cannot be trained here.
        """
        start = self.config.start
        network = load_network(shipped_checkpoint(start) if start in SHIPPED else Path(start))
        settings = network.settings
        if network.composition_model is None or not (settings.is_intensive and settings.reference_is_intensive):
            raise ModelError(f"{start} has no references per atom; start from a CHGNet with an AtomRef, like 0.3.0")
        return network

    def random(self, references: References) -> CHGNet:
        """A network of the shape of the start, with random weights that the seed of the run decides."""
        shape = self.pretrained().settings
        return new_network(self.config.seed, settings=shape, references=references.by_symbol())

    def predicted(self, network: CHGNet) -> Floats:
        """Energies (n,) eV/atom that a network predicts for the r2SCAN frames with an energy.

        Raises:
            ModelError: It cannot predict one.
        """
        frames = [frame for frame in self.frames if frame.energy is not None]
        results = engine(network, self.device).predict([frame.atoms() for frame in frames], forces=False, stress=False)
        failed = [frame.frame_id for frame, result in zip(frames, results, strict=True) if "error" in result]
        if failed:
            raise ModelError(f"{self.config.start} cannot predict {len(failed)} training frames: {failed[0]}, …")
        return np.array([result["energy"] / frame.n_atoms for frame, result in zip(frames, results, strict=True)])


Builder = typing.Callable[[Setting, Any], Student]


def build(method: str, setting: Setting) -> Student:
    """The student of a method.

    Raises:
        UnknownNameError: No such method.
        UsageError: Options that the method does not have.
        DataError: The training data do not suffice for it.
    """
    make: Builder = resolve("method", method, METHODS)
    kind = typing.get_type_hints(make)["options"]
    try:
        options = parse(kind, dict(setting.config.options), f"options of {method}")
    except FormatError as error:
        raise UsageError(str(error)) from error
    student = make(setting, options)
    _freeze(student)
    return student


def _freeze(student: Student) -> None:
    """Let the weights of the groups want gradients, and no others."""
    known = dict(student.network.named_parameters())
    for parameter in known.values():
        parameter.requires_grad_(False)
    for group in student.groups:
        for name in group.weights:
            if name not in known:
                raise UsageError(f"no weight is called {name!r}; {near(name, known)}")
            known[name].requires_grad_(True)
    student.network.train()


def weights_of(network: nn.Module, chosen: Callable[[str], bool] = lambda _: True) -> tuple[str, ...]:
    """Names of the weights that a prediction depends on, references aside, as far as they are chosen.

    The last angle update is read by nothing: it has no gradient, and processes would wait for one.
    """
    layers = {name.split(".")[1] for name, _ in network.named_parameters() if name.startswith("angle_layers.")}
    dead = f"angle_layers.{max(layers, key=int, default='0')}."
    return tuple(
        name
        for name, _ in network.named_parameters()
        if chosen(name) and not name.startswith(("composition_model.", dead))
    )


def set_references(network: CHGNet, references: References) -> CHGNet:
    """Put a table into a network."""
    with torch.no_grad():
        network.get_parameter(REFERENCES).copy_(torch.from_numpy(references.table)[None])
    return network


def references_table(network: CHGNet) -> Floats:
    """The table (94,) eV/atom of a network."""
    table: Floats = network.get_parameter(REFERENCES).detach().double().cpu().numpy()[0].copy()
    return table


def plain(network: CHGNet, *, gga: bool = False) -> CHGNet:
    """A CHGNet of its own with the weights that a student amounts to for one functional.

    Args:
        network: Of a student: adapters are multiplied out, and of two tables or two heads one is taken.
        gga: Whether to take that of GGA, for students that have it.
    """
    merged = CHGNet(network.settings)
    state = {name: value.detach().cpu() for name, value in network.state_dict().items()}
    state |= {
        f"{path}.{name}": getattr(module, name).detach().cpu()
        for path, module in network.named_modules()
        if parametrize.is_parametrized(module)
        for name in typing.cast("nn.ModuleDict", module.parametrizations)
    }
    wanted = merged.state_dict()
    chosen = {name: state[_head(name, state, gga=gga)] for name in wanted}
    for name, axis in (("atom_embedding.embedding.weight", 0), (REFERENCES, 1)):
        width = wanted[name].shape[axis]
        start = width if gga and chosen[name].shape[axis] > width else 0
        chosen[name] = chosen[name].narrow(axis, start, width)
    merged.load_state_dict(chosen)
    return merged.requires_grad_(requires_grad=False).eval()


def _head(name: str, state: dict[str, torch.Tensor], *, gga: bool) -> str:
    other = f"gga_{name}"
    return other if gga and other in state else name


def engine(network: CHGNet, device: str | torch.device = "cpu", max_rows: int = ROWS_CPU) -> CHGNetEngine:
    """A network ready to predict any element; it is taken as it is, so give a copy of one that trains on."""
    return CHGNetEngine(
        functional=Functional.R2SCAN, network=FrozenCHGNet(network.to(torch.device(device))), max_rows=max_rows
    )
