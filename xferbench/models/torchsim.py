"""A TorchSim ``ModelInterface`` as a model: many structures as one state, split by TorchSim's own batcher.

Energies are eV, forces eV/Å, stress eV/Å³ with tension positive in TorchSim, as here.
https://github.com/TorchSim/torch-sim
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xferbench.models.contract import Declarations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms

MEMORY = {"n_atoms": 4_000.0, "n_atoms_x_density": 200_000.0}
"""Budget of one state in the measure that a model scales with: atoms, or atoms times their number in a cubic nanometre. Fixed,
because a budget found by trying would give another split, and other last digits, on another device."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TorchSimModel(Declarations):
    """A TorchSim model with what it declares.

    Attributes:
        network: The ``ModelInterface``.
    """

    network: Any

    def predict(self, structures: Sequence[Atoms]) -> list[dict[str, Any]]:
        """Energy, forces and stress, as far as the model gives them, for each structure."""
        from torch_sim.autobatching import BinningAutoBatcher
        from torch_sim.io import atoms_to_state

        network = self.network
        state = atoms_to_state(list(structures), network.device, network.dtype)
        measure = network.memory_scales_with
        # a structure that is larger than the budget makes a state of its own
        largest = max(_measure(atoms, measure) for atoms in structures)
        batcher = BinningAutoBatcher(
            network, memory_scales_with=measure, max_memory_scaler=max(MEMORY[measure], 1.01 * largest)
        )
        batcher.load_states(state)
        results: list[dict[str, Any]] = [{} for _ in structures]
        for part, indices in zip(iter(batcher.next_batch, None), batcher.index_bins, strict=True):
            output = network(part)
            sizes = np.bincount(part.system_idx.cpu().numpy(), minlength=len(indices))
            ends = np.cumsum(sizes)
            for row, index in enumerate(indices):
                atoms = slice(ends[row] - sizes[row], ends[row])
                results[index] = {"energy": output["energy"][row]}
                if output.get("forces") is not None:
                    results[index]["forces"] = output["forces"][atoms]
                if output.get("stress") is not None:
                    results[index]["stress"] = output["stress"][row]
        return results


def is_model(thing: object) -> bool:
    """Whether ``thing`` is a TorchSim ``ModelInterface``, told without importing TorchSim."""
    return any(
        kind.__name__ == "ModelInterface" and kind.__module__.startswith("torch_sim") for kind in type(thing).__mro__
    )


def _measure(atoms: Atoms, measure: str) -> float:
    n = len(atoms)
    return float(n) if measure == "n_atoms" else 1000.0 * n * n / abs(atoms.cell.volume)
