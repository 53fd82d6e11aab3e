"""Processes of one run: which part of the work is this one's, and what all must agree on.

``torchrun`` starts the processes and says so in the environment; without it there is one. torch.distributed does the rest.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import distributed

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True, kw_only=True)
class Processes:
    """This process among all of a run.

    Attributes:
        device: This process's own.
        rank: From 0; process 0 writes the files.
        world: How many there are.
    """

    device: torch.device
    rank: int = 0
    world: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def gather(self, value: Any) -> list[Any]:  # noqa: ANN401 - anything that can be pickled
        """The value of every process, in order of rank."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        distributed.all_gather_object(values, value)
        return values


@contextmanager
def processes(device: str) -> Iterator[Processes]:
    """Join the processes that torchrun started, gloo for CPUs and nccl for GPUs; alone without torchrun.

    Args:
        device: "cpu", or "cuda": with several processes each takes the GPU of its local rank.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1 or distributed.is_initialized():
        joined = distributed.is_initialized()
        rank, world = (distributed.get_rank(), distributed.get_world_size()) if joined else (0, 1)
        yield Processes(rank=rank, world=world, device=_own(device, world))
        return
    own = _own(device, world)
    if own.type == "cuda":
        torch.cuda.set_device(own)
    distributed.init_process_group("nccl" if own.type == "cuda" else "gloo")
    try:
        yield Processes(rank=distributed.get_rank(), world=world, device=own)
    finally:
        distributed.destroy_process_group()


def _own(device: str, world: int) -> torch.device:
    if world > 1 and device == "cuda":
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device(device)
