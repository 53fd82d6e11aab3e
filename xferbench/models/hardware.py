"""Two habits of CPUs that each double the time of a prediction if nothing is done about them.

Memory: glibc gives large freed blocks back to the system, and the next pass faults every page in anew. So what a pass
keeps goes to an arena that stays from batch to batch.

Denormal numbers: values that CHGNet's first layers hand to SiLU are often below -88, where exp(x) in single precision is
a denormal number, which takes a processor a hundred cycles. They are flushed to zero, an error of at most 1e-38.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator

HEAP_HINT = (32 << 20) - (64 << 10)
"""Bytes. glibc serves from its heap what is smaller than the largest block freed so far, up to 32 MiB."""

ALIGNMENT = 64
"""Bytes; a cache line, and the width of the widest vector instructions."""


def warm_heap() -> None:
    """Let glibc reuse blocks below 32 MiB instead of returning each to the system; elsewhere without effect."""
    torch.empty(HEAP_HINT, dtype=torch.uint8)


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """Within the block, denormal numbers are zero; afterwards as before."""
    smallest_normal = torch.tensor(torch.finfo(torch.float32).tiny)
    already = bool(smallest_normal / 2 == 0)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(already)


class Arena:
    """Room for the arrays of one pass, one after the other; ``reset`` makes all of it free again.

    It grows to what a pass needed. On a GPU torch's own cache does this, and the arena only passes arrays through.
    """

    def __init__(self, *, dtype: torch.dtype, device: torch.device) -> None:
        self.dtype = dtype
        self.device = device
        self._room = torch.empty(0, dtype=dtype, device=device)
        self._used = 0

    def reset(self) -> None:
        """Forget all arrays; those handed out before must not be used any more."""
        if self._used > len(self._room):
            # numpy asks the system for huge pages, torch does not: fewer faults and fewer misses of the page table
            self._room = torch.from_numpy(np.empty(self._used * self.dtype.itemsize, dtype=np.uint8)).view(self.dtype)
        self._used = 0

    def empty(self, rows: int, width: int) -> Tensor:
        """Uninitialised (rows, width)."""
        if self.device.type != "cpu":
            return torch.empty(rows, width, dtype=self.dtype, device=self.device)
        start = self._used
        size = rows * width
        self._used += size + -size % (ALIGNMENT // self.dtype.itemsize)
        if self._used > len(self._room):
            return torch.empty(rows, width, dtype=self.dtype)
        return self._room[start : start + size].view(rows, width)

    def keep(self, array: Tensor) -> Tensor:
        """A copy (n, width) inside the arena, so that the original's memory is free for the next block."""
        if self.device.type != "cpu":
            return array
        return self.empty(*array.shape).copy_(array)
