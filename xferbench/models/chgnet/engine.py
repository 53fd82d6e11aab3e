"""CHGNet as a model of this suite: any list of structures in, results out, in batches of even cost.

What a batch costs is proportional to its directed bonds plus angles ("rows"), not to structures or atoms; batches are
filled up to a budget of rows, and halved if memory runs out all the same.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from xferbench.errors import ModelError
from xferbench.models.chgnet.batch import Batch
from xferbench.models.chgnet.graph import build
from xferbench.models.contract import Declarations, describe, unsupported

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ase import Atoms

    from xferbench.models.chgnet.frozen import FrozenCHGNet
    from xferbench.models.chgnet.graph import Graphs
    from xferbench.models.chgnet.model import Output

ROWS_CPU = 1 << 15
"""Rows of a batch on a CPU: about 200 MB. Larger ones gain nothing, smaller ones pay more per call."""

AHEAD_GPU = 2
"""Threads that build graphs for a GPU. Not measured there; one builds for about 5,000 crystals of 25 atoms per second."""

ROWS_GPU = 1 << 19
"""Rows of a batch on a GPU. Not measured: chosen to need a few GB."""

TYPICAL_DENSITY = 0.05
"""Atoms per Å³; used to guess the rows of a crystal that is mostly vacuum."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CHGNetEngine(Declarations):
    """A CHGNet run by this package.

    Attributes:
        network: With frozen weights, on its device and in its precision.
        max_rows: Budget of a batch; a single structure may exceed it.
        isolated: What to do with an atom without neighbours: "raise", as chgnet's converter does, or "allow", as its
            ASE calculator does.
        ahead: Batches whose graphs are built in threads of their own while the network works. It pays where the network
            runs elsewhere, on a GPU; on a CPU both want the same cores.
        build: Makes graphs; ``cache.GraphCache(folder=…).build`` keeps them on disk.
    """

    network: FrozenCHGNet
    max_rows: int = ROWS_CPU
    isolated: str = "raise"
    ahead: int = 0
    build: Callable[..., Graphs] = build

    def predict(self, structures: Sequence[Atoms], *, forces: bool = True, stress: bool = True) -> list[dict[str, Any]]:
        """Results for each structure, in order, as in ``models.contract``; one that fails gets its own ``error``.

        Besides the contract's keys, ``energies`` (n_atoms,) eV are the site energies, references included.

        Args:
            structures: Any number of any size.
            forces: Whether to predict forces.
            stress: Whether to predict stress.
        """
        results: list[dict[str, Any]] = [{} for _ in structures]
        good = []
        for index, atoms in enumerate(structures):
            missing = unsupported(atoms.numbers, self.supported_elements)
            if missing:
                results[index] = {"error": f"ModelError: no training data for {', '.join(missing)}"}
            else:
                good.append(index)
        for pack, prepare in self._prepared(structures, self._packs(structures, good)):
            packed = [structures[index] for index in pack]
            found = self._predict(packed, prepare, forces=forces, stress=stress)
            for index, result in zip(pack, found, strict=True):
                results[index] = result
        return results

    def _prepared(
        self, structures: Sequence[Atoms], packs: Iterator[list[int]]
    ) -> Iterator[tuple[list[int], Callable[[], Batch]]]:
        """Each pack with what gives its batch: built when it is asked for, or ``ahead`` of that."""

        def prepare(pack: list[int]) -> Callable[[], Batch]:
            return partial(self._batch, [structures[index] for index in pack])

        if not self.ahead:
            yield from ((pack, prepare(pack)) for pack in packs)
            return
        with ThreadPoolExecutor(self.ahead) as pool:
            waiting = deque((pack, pool.submit(prepare(pack))) for pack in islice(packs, self.ahead))
            while waiting:
                pack, future = waiting.popleft()
                waiting.extend((later, pool.submit(prepare(later))) for later in islice(packs, 1))
                yield pack, future.result

    def _packs(self, structures: Sequence[Atoms], indices: Sequence[int]) -> Iterator[list[int]]:
        """Split into batches within the budget, the largest structures first so that memory runs out early or never."""
        settings = self.network.network.settings
        rows = {i: guess_rows(structures[i], settings.atom_graph_cutoff, settings.bond_graph_cutoff) for i in indices}
        pack: list[int] = []
        total = 0.0
        for index in sorted(indices, key=lambda i: -rows[i]):
            if pack and total + rows[index] > self.max_rows:
                yield pack
                pack, total = [], 0.0
            pack.append(index)
            total += rows[index]
        if pack:
            yield pack

    def _predict(
        self, structures: list[Atoms], prepare: Callable[[], Batch], *, forces: bool, stress: bool
    ) -> list[dict[str, Any]]:
        """One batch, or halves of it where the batch is too large or holds a structure that fails."""
        try:
            batch = prepare()
            return _results(self.network(batch, forces=forces, stress=stress), batch.counts.cpu().numpy())
        except (ModelError, MemoryError, RuntimeError) as error:
            if not (isinstance(error, ModelError) or _out_of_memory(error)):
                raise
            if len(structures) == 1:
                return [{"error": describe(error)}]
        half = len(structures) // 2
        return [
            result
            for part in (structures[:half], structures[half:])
            for result in self._predict(part, partial(self._batch, part), forces=forces, stress=stress)
        ]

    def _batch(self, structures: list[Atoms]) -> Batch:
        """Graphs of some structures as tensors, on the device of the network."""
        settings = self.network.network.settings
        graphs = self.build(
            structures,
            atom_cutoff=settings.atom_graph_cutoff,
            bond_cutoff=settings.bond_graph_cutoff,
            isolated=self.isolated,
        )
        if len(structures) > 1 and graphs.size > 2 * self.max_rows:
            raise MemoryError(f"{graphs.size} rows, for a budget of {self.max_rows}")
        weight = self.network.network.site_wise.weight
        return Batch.from_graphs(graphs, dtype=weight.dtype, device=weight.device)


def guess_rows(atoms: Atoms, atom_cutoff: float, bond_cutoff: float) -> float:
    """About how many directed bonds and angles a structure has, from its density alone."""
    volume = abs(float(np.linalg.det(atoms.cell.array)))
    density = max(len(atoms) / volume, TYPICAL_DENSITY) if volume > 0 else TYPICAL_DENSITY
    sphere = 4 / 3 * np.pi * density
    bonds, short = sphere * atom_cutoff**3, sphere * bond_cutoff**3
    return float(len(atoms) * (bonds + short**2))


def _out_of_memory(error: BaseException) -> bool:
    """Whether the error means that a smaller batch may do."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in str(error)


def _results(output: Output, counts: np.ndarray[Any, np.dtype[np.int64]]) -> list[dict[str, Any]]:
    """Arrays of a batch -> one dictionary per structure, in double precision."""
    bounds = np.cumsum(counts)[:-1]
    columns: dict[str, Any] = {"energy": output.energy.double().tolist()}
    for name, array in (("forces", output.forces), ("magmoms", output.magmoms), ("energies", output.site_energies)):
        if array is not None:
            columns[name] = np.split(array.double().cpu().numpy(), bounds)
    if output.stress is not None:
        columns["stress"] = list(output.stress.double().cpu().numpy())
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
