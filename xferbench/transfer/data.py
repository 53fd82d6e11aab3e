"""What is learned from, and batches of it.

Everything is a function of seed, epoch and place: a run that continues in the middle of an epoch makes the very batches
that it would have made. A batch is divided over the processes of a run, and each process's share into parts of a bounded
cost; the loss is divided by what is labelled in the whole batch, so that neither changes the gradient by more than rounding.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from xferbench.errors import DataError, ModelError
from xferbench.models.trainable import SIDES, built, n_bytes
from xferbench.records import PROPERTIES
from xferbench.units import EV_PER_A3_IN_GPA

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from xferbench import dataset as datasets
    from xferbench.functionals import Functional
    from xferbench.models.trainable import Batch, Side, Trainable
    from xferbench.records import Floats, Frame, FramePair


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainingData:
    """What a strategy and its references may look at.

    Attributes:
        pairs: Of the training materials.
        frames: Target frames to learn from: those of the pairs, or more.
        atom_energies: Functional -> symbol -> eV of an isolated atom, as far as the data set knows them.
    """

    pairs: Sequence[FramePair]
    frames: Sequence[Frame]
    atom_energies: Mapping[Functional, Mapping[str, float]] = field(default_factory=dict)

    @classmethod
    def of(cls, dataset: datasets.Dataset, family: str, subset: float) -> TrainingData:
        """The training materials, or a nested part of them.

        Args:
            dataset: With pairs.
            family: The configuration that is learned from.
            subset: Fraction of the materials; smaller ones lie inside larger ones, see ``splits.subset_key``.

        Raises:
            DataError: The part is empty.
        """
        chosen = _materials(dataset, "target", subset)
        pairs = [pair for pair in dataset.iter_pairs("train") if pair.material_id in chosen]
        if not pairs:
            raise DataError(f"the subset {subset:g} of {dataset.name} has no training pairs; choose a larger one")
        frames = [pair.target for pair in pairs]
        if family != "target":
            chosen = _materials(dataset, family, subset)
            frames = [frame for frame in dataset.iter_frames(family, "train") if frame.material_id in chosen]
        return cls(pairs=pairs, frames=frames, atom_energies=dataset.atom_energies)

    def facts(self) -> dict[str, int]:
        """In numbers: pairs, all target frames, and the materials and elements of the pairs."""
        return {
            "pairs": len(self.pairs),
            "frames": len(self.frames),
            "materials": len({pair.material_id for pair in self.pairs}),
            "elements": len({int(z) for pair in self.pairs for z in pair.target.numbers}),
        }


def _materials(dataset: datasets.Dataset, family: str, subset: float) -> set[str]:
    """Training materials whose key lies in the subset."""
    return {
        material
        for table in dataset.tables(family, "train", ["material_id", "subset_key"])
        for material, key in zip(table["material_id"].to_pylist(), table["subset_key"].to_pylist(), strict=True)
        if subset >= 1 or key < subset
    }


class GraphStore:
    """Graphs of frames, built once in a run and kept as long as they fit into memory.

    Args:
        model: Whose graphs.
        memory: Bytes; graphs beyond are built anew whenever they are asked for.
    """

    def __init__(self, model: Trainable, memory: float) -> None:
        self.model, self.memory, self.used = model, memory, 0
        self.kept: dict[tuple[str, str], Any] = {}
        self.built: Counter[tuple[str, str]] = Counter()

    def get(self, frames: Sequence[Frame]) -> list[Any | ModelError]:
        """The graph of each frame, or why it has none."""
        wanted = {_key(frame): frame for frame in frames if _key(frame) not in self.kept}
        found = dict(zip(wanted, built(self.model, [frame.atoms() for frame in wanted.values()]), strict=True))
        self.built.update(found.keys())
        for key, graph in found.items():
            size = n_bytes(graph)
            if self.used + size <= self.memory:
                self.kept[key] = graph
                self.used += size
        return [self.kept[_key(frame)] if _key(frame) in self.kept else found[_key(frame)] for frame in frames]

    def split(self, frames: Sequence[Frame]) -> tuple[list[Frame], list[Frame]]:
        """Frames that have a graph, and those that have none: an isolated atom, two atoms at one place."""
        good: list[Frame] = []
        bad: list[Frame] = []
        for frame, graph in zip(frames, self.get(frames), strict=True):
            (bad if isinstance(graph, ModelError) else good).append(frame)
        return good, bad


def _key(frame: Frame) -> tuple[str, str]:
    """What tells frames of a data set apart."""
    return str(frame.functional), frame.frame_id


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """A frame with its labels in the units of the loss; NaN where there is no label, or none that the network predicts.

    Attributes:
        frame: The frame.
        side: Whose labels they are.
        cost: Of its graph, see ``Trainable.cost``.
        energy: eV/atom.
        forces: (n_atoms, 3) eV/Å.
        stress: (3, 3) GPa, tension positive.
        magmoms: (n_atoms,) µB, absolute values.
    """

    frame: Frame
    side: Side
    cost: float
    energy: float
    forces: Floats
    stress: Floats
    magmoms: Floats

    @property
    def frame_id(self) -> str:
        """Of the frame."""
        return self.frame.frame_id

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """How many numbers are labelled of energy, forces, stress and moments."""
        return (
            int(np.isfinite(self.energy)),
            int(np.isfinite(self.forces).sum()),
            int(np.isfinite(self.stress).sum()),
            int(np.isfinite(self.magmoms).sum()),
        )


def samples(frames: Iterable[Frame], model: Trainable, side: Side = "target") -> list[Sample]:
    """Frames as samples, in order.

    Raises:
        DataError: Labels that are infinite or NaN; every such frame is named.
    """
    made, broken = [], []
    for frame in frames:
        if any(value is not None and not np.isfinite(value).all() for value in map(frame.__getattribute__, PROPERTIES)):
            broken.append(frame.frame_id)
        made.append(_sample(frame, model, side))
    if broken:
        raise DataError(f"labels that are not finite: {listed(broken)}; leave these frames out of the data set")
    return made


def _sample(frame: Frame, model: Trainable, side: Side) -> Sample:
    n, nothing = frame.n_atoms, np.float64(np.nan)
    label = {name: getattr(frame, name) if name in model.outputs else None for name in PROPERTIES}
    forces, stress, magmoms = label["forces"], label["stress"], label["magmoms"]
    return Sample(
        frame=frame,
        side=side,
        cost=model.cost(frame.atoms()),
        energy=np.nan if label["energy"] is None else label["energy"] / n,
        forces=np.broadcast_to(nothing, (n, 3)) if forces is None else forces,
        stress=np.broadcast_to(nothing, (3, 3)) if stress is None else stress * EV_PER_A3_IN_GPA,
        magmoms=np.broadcast_to(nothing, (n,)) if magmoms is None else np.abs(magmoms),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one process computes at once.

    Attributes:
        indices: Of the samples.
        counts: Labelled numbers of each quantity in the whole batch.
        weight: 0 for a process without a share of this batch, which computes a sample all the same: the processes wait
            for each other's gradients.
        is_last: Whether the batch ends here, and the optimizer steps.
    """

    indices: tuple[int, ...]
    counts: tuple[int, int, int, int]
    weight: float
    is_last: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Labelled:
    """A part as tensors: the structures, and their labels as in ``Sample``."""

    batch: Batch
    energy: Tensor
    forces: Tensor
    stress: Tensor
    magmoms: Tensor
    part: Part

    def to(self, device: torch.device) -> Labelled:
        """A copy on a device; itself if it is there."""
        if self.energy.device == device:
            return self
        values = {item.name: getattr(self, item.name) for item in fields(self) if item.name not in {"part", "batch"}}
        moved = {name: value.to(device, non_blocking=True) for name, value in values.items()}
        return replace(self, batch=self.batch.to(device), **moved)


def order(seed: int, epoch: int, n: int) -> NDArray[np.int64]:
    """The order (n,) of the samples in an epoch."""
    return np.random.default_rng([seed, epoch]).permutation(n)


def seed_part(seed: int, epoch: int, part: Part) -> None:
    """Start torch's random numbers, those of dropout, anew for a part.

    What it draws then depends on nothing that was drawn before, by whatever else in this process: a run that goes on from a
    checkpoint needs no state of a generator, of whichever device or process.
    """
    torch.manual_seed(int(np.random.SeedSequence([seed, epoch, part.indices[0]]).generate_state(1, np.uint64)[0]))


def n_batches(n: int, batch_size: int) -> int:
    """Batches of an epoch; the last one may be smaller."""
    return -(-n // batch_size)


def parts(
    samples: Sequence[Sample],
    order: NDArray[np.int64],
    *,
    batch_size: int,
    max_cost: float,
    rank: int = 0,
    world: int = 1,
    start: int = 0,
) -> Iterator[Part]:
    """What one process computes in an epoch, from batch ``start`` on.

    Args:
        samples: All of them.
        order: Of the epoch.
        batch_size: Samples of a batch, over all processes.
        max_cost: Of a part; one sample may cost more.
        rank: Which process.
        world: Of how many.
        start: First batch.
    """
    for begin in range(start * batch_size, len(order), batch_size):
        batch = order[begin : begin + batch_size].tolist()
        totals = np.sum([samples[i].counts for i in batch], axis=0).tolist()
        share = batch[rank::world]
        weight = 1.0 if share else 0.0
        groups = _within(samples, share or batch[:1], max_cost)
        for number, group in enumerate(groups):
            yield Part(indices=tuple(group), counts=tuple(totals), weight=weight, is_last=number == len(groups) - 1)


def _within(samples: Sequence[Sample], indices: Sequence[int], max_cost: float) -> list[list[int]]:
    """Consecutive groups of at most ``max_cost``; one sample may cost more."""
    groups: list[list[int]] = [[]]
    filled = 0.0
    for index in indices:
        if groups[-1] and filled + samples[index].cost > max_cost:
            groups.append([])
            filled = 0.0
        groups[-1].append(index)
        filled += samples[index].cost
    return groups


class _Parts(Dataset[Labelled]):
    """Makes the tensors of a part; torch's loader runs it in other processes, ahead of the training."""

    def __init__(self, samples: Sequence[Sample], parts: Sequence[Part], graphs: GraphStore) -> None:
        self.samples, self.parts, self.graphs = samples, parts, graphs

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, place: int) -> Labelled:
        part = self.parts[place]
        return labelled([self.samples[i] for i in part.indices], part, self.graphs)


def labelled(samples: Sequence[Sample], part: Part, graphs: GraphStore) -> Labelled:
    """Samples as tensors.

    Raises:
        ModelError: A structure that has no graph, such as an isolated atom.
    """
    found = graphs.get([sample.frame for sample in samples])
    for graph in found:
        if isinstance(graph, ModelError):
            raise graph
    sides = [SIDES.index(sample.side) for sample in samples]

    def real(values: Any) -> Tensor:  # noqa: ANN401 - arrays or numbers
        return torch.as_tensor(np.asarray(values), dtype=torch.float32)

    return Labelled(
        batch=graphs.model.collate([sample.frame.numbers for sample in samples], found, sides),
        energy=real([sample.energy for sample in samples]),
        forces=real(np.concatenate([sample.forces for sample in samples])),
        stress=real(np.stack([sample.stress for sample in samples])),
        magmoms=real(np.concatenate([sample.magmoms for sample in samples])),
        part=part,
    )


def load(samples: Sequence[Sample], parts: Sequence[Part], graphs: GraphStore, *, workers: int) -> Iterator[Labelled]:
    """The parts as tensors, in order.

    Args:
        samples: All of them.
        parts: Of an epoch.
        graphs: Of the samples.
        workers: Processes that work ahead; with 0 each part is made when it is asked for.
    """
    made: Iterator[Labelled] = iter(
        DataLoader(_Parts(samples, parts, graphs), batch_size=None, num_workers=workers, shuffle=False)
    )
    return made


def listed(ids: Sequence[str], shown: int = 10) -> str:
    """Ids for a message: the first ones, and how many more."""
    more = f" and {len(ids) - shown} more" if len(ids) > shown else ""
    return ", ".join(ids[:shown]) + more
