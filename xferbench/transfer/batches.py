"""The order of frames, and batches of them.

Everything is a function of seed, epoch and place: a run that continues in the middle of an epoch makes the very batches
that it would have made. A batch is divided over the processes of a run, and each process's share into parts of a bounded
number of directed bonds and angles; the loss is divided by what is labelled in the whole batch, so that neither changes
the gradient by more than rounding.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from xferbench.models.chgnet.batch import Batch
from xferbench.models.chgnet.graph import build
from xferbench.models.chgnet.model import N_ELEMENTS
from xferbench.models.chgnet.operations import Incidence

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from xferbench.models.chgnet.model import Settings
    from xferbench.transfer.samples import Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one process computes at once.

    Attributes:
        indices: Of the samples.
        counts: Labelled numbers of each quantity in the whole batch.
        weight: 0 for a process without a share of this batch, which computes a sample all the same: the processes wait
            for each other's gradients.
        is_last: Whether the batch ends here, and the optimiser steps.
    """

    indices: tuple[int, ...]
    counts: tuple[int, int, int, int]
    weight: float
    is_last: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Labelled:
    """A part as tensors: the crystals, and their labels as in ``Sample``."""

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
        return replace(self, batch=_moved(self.batch, device), **moved)


def _moved(batch: Batch, device: torch.device) -> Batch:
    values: dict[str, Any] = {item.name: getattr(batch, item.name) for item in fields(batch)}
    movable = (torch.Tensor, Incidence)
    values |= {key: value.to(device) for key, value in values.items() if isinstance(value, movable)}
    return Batch(**values)


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
    max_rows: float,
    rank: int = 0,
    world: int = 1,
    start: int = 0,
) -> Iterator[Part]:
    """What one process computes in an epoch, from batch ``start`` on.

    Args:
        samples: All of them.
        order: Of the epoch.
        batch_size: Samples of a batch, over all processes.
        max_rows: Directed bonds and angles of a part; one sample may have more.
        rank: Which process.
        world: Of how many.
        start: First batch.
    """
    for begin in range(start * batch_size, len(order), batch_size):
        batch = order[begin : begin + batch_size].tolist()
        totals = np.sum([samples[i].counts for i in batch], axis=0).tolist()
        share = batch[rank::world]
        weight = 1.0 if share else 0.0
        groups = _within(samples, share or batch[:1], max_rows)
        for number, group in enumerate(groups):
            yield Part(indices=tuple(group), counts=tuple(totals), weight=weight, is_last=number == len(groups) - 1)


def _within(samples: Sequence[Sample], indices: Sequence[int], max_rows: float) -> list[list[int]]:
    """Consecutive groups of at most ``max_rows``; one sample may have more."""
    groups: list[list[int]] = [[]]
    filled = 0.0
    for index in indices:
        if groups[-1] and filled + samples[index].rows > max_rows:
            groups.append([])
            filled = 0.0
        groups[-1].append(index)
        filled += samples[index].rows
    return groups


class _Parts(Dataset[Labelled]):
    """Makes the tensors of a part; torch's loader runs it in other processes, ahead of the training."""

    def __init__(self, samples: Sequence[Sample], parts: Sequence[Part], settings: Settings) -> None:
        self.samples, self.parts, self.settings = samples, parts, settings

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, place: int) -> Labelled:
        part = self.parts[place]
        return labelled([self.samples[i] for i in part.indices], part, self.settings)


def labelled(samples: Sequence[Sample], part: Part, settings: Settings) -> Labelled:
    """Samples as tensors; atoms of GGA samples are numbered beyond the last element, see ``fidelity``.

    Raises:
        ModelError: A structure that has no graph, such as an isolated atom.
    """
    graphs = build(
        [sample.atoms for sample in samples],
        atom_cutoff=settings.atom_graph_cutoff,
        bond_cutoff=settings.bond_graph_cutoff,
    )
    batch = Batch.from_graphs(graphs, dtype=torch.float32, device=torch.device("cpu"))
    if any(sample.gga for sample in samples):
        shift = torch.tensor([N_ELEMENTS * sample.gga for sample in samples])
        batch = replace(batch, numbers=batch.numbers + shift[batch.owner])

    def real(values: Any) -> Tensor:  # noqa: ANN401 - arrays or numbers
        return torch.as_tensor(np.asarray(values), dtype=torch.float32)

    return Labelled(
        batch=batch,
        energy=real([sample.energy for sample in samples]),
        forces=real(np.concatenate([sample.forces for sample in samples])),
        stress=real(np.stack([sample.stress for sample in samples])),
        magmoms=real(np.concatenate([sample.magmoms for sample in samples])),
        part=part,
    )


def load(samples: Sequence[Sample], parts: Sequence[Part], settings: Settings, *, workers: int) -> Iterator[Labelled]:
    """The parts as tensors, in order.

    Args:
        samples: All of them.
        parts: Of an epoch.
        settings: Of the network, for the cutoffs.
        workers: Processes that work ahead; with 0 each part is made when it is asked for.
    """
    made: Iterator[Labelled] = iter(
        DataLoader(_Parts(samples, parts, settings), batch_size=None, num_workers=workers, shuffle=False)
    )
    return made
