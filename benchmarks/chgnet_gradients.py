"""Gradients of a training loss by all weights: the CHGNet engine against chgnet, and both against double precision.

    python benchmarks/chgnet_gradients.py [--batches N]

The loss is that of chgnet's trainer with its defaults for energy, forces, stress and moments. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from chgnet_crystals import sensible
from chgnet_parity import CHGNET_GPA, Reference

from xferbench.models.chgnet.batch import Batch
from xferbench.models.chgnet.checkpoint import load_engine
from xferbench.models.chgnet.graph import build

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms
    from torch import Tensor

Gradients = dict[str, "Tensor"]
BATCH = 8
"""Structures of a batch."""


def labels(structures: Sequence[Atoms], seed: int) -> dict[str, Any]:
    """Random targets, as chgnet's trainer takes them; the loss is linear where they are far away."""
    rng = np.random.default_rng(seed)
    return {
        "e": torch.as_tensor(rng.normal(-5, 1, len(structures))),
        "f": [torch.as_tensor(rng.normal(0, 1, (len(atoms), 3))) for atoms in structures],
        "s": [torch.as_tensor(rng.normal(0, 5, (3, 3))) for _ in structures],
        "m": [torch.as_tensor(np.abs(rng.normal(0, 1, len(atoms)))) for atoms in structures],
    }


def loss(prediction: dict[str, Any], target: dict[str, Any], dtype: torch.dtype) -> Tensor:
    """The combined loss of chgnet's trainer, with mean squared errors."""
    from chgnet.trainer.trainer import CombinedLoss

    criterion = CombinedLoss(target_str="efsm", criterion="MSE")
    cast = {key: value.to(dtype) if key == "e" else [v.to(dtype) for v in value] for key, value in target.items()}
    result: Tensor = criterion(cast, prediction)["loss"]
    return result


def of_engine(structures: Sequence[Atoms], target: dict[str, Any], dtype: torch.dtype) -> Gradients:
    """From this package, weights of 0.3.0."""
    network = load_engine("0.3.0", precision=str(dtype).removeprefix("torch.")).network.network
    network.requires_grad_(requires_grad=True).train()
    network.composition_model.requires_grad_(requires_grad=False)
    batch = Batch.from_graphs(build(structures, atom_cutoff=6, bond_cutoff=3), dtype=dtype, device=torch.device("cpu"))
    found = network(batch, create_graph=True)
    counts = batch.counts.tolist()
    prediction = {
        "e": found.energy / batch.counts,
        "f": list(found.forces.split(counts)),
        "s": list(found.stress * CHGNET_GPA),
        "m": list(found.magmoms.split(counts)),
        "atoms_per_graph": batch.counts,
    }
    loss(prediction, target, dtype).backward()
    return {name: p.grad.double() for name, p in network.named_parameters() if p.grad is not None}


def of_chgnet(structures: Sequence[Atoms], target: dict[str, Any], dtype: torch.dtype) -> Gradients:
    """From the chgnet package."""
    reference = Reference("0.3.0", dtype)
    model = reference.model.train()
    with reference.precision():
        loss(model([reference.graph(atoms) for atoms in structures], task="efsm"), target, dtype).backward()
    return {name: p.grad.double() for name, p in model.named_parameters() if p.grad is not None}


def deviation(a: Gradients, b: Gradients) -> dict[str, Any]:
    """Relative deviations |a - b| / |b|: of the whole gradient, and of the parameter where it is largest.

    Only parameters with at least a millionth of the whole gradient count: the rest is rounding of zero.
    """
    names = sorted(a.keys() & b.keys())
    whole = torch.stack([b[name].norm() for name in names]).norm()
    apart = torch.stack([(a[name] - b[name]).norm() for name in names]).norm()
    each = {name: float((a[name] - b[name]).norm() / b[name].norm()) for name in names if b[name].norm() > 1e-6 * whole}
    worst = max(each, key=lambda name: each[name])
    return {"parameters": len(each), "whole": float(apart / whole), "worst": each[worst], "name": worst}


def compare(structures: Sequence[Atoms], seed: int) -> dict[str, Any]:
    """Deviations of one batch."""
    target = labels(structures, seed)
    single, double = torch.float32, torch.float64
    ours, exact = (of_engine(structures, target, dtype) for dtype in (single, double))
    theirs, theirs_exact = (of_chgnet(structures, target, dtype) for dtype in (single, double))
    return {
        "engine-chgnet": deviation(ours, theirs),
        "engine-double": deviation(ours, exact),
        "chgnet-double": deviation(theirs, exact),
        "double": deviation(exact, theirs_exact),
    }


def main() -> None:
    """Print the deviations of every batch."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=6)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    crystals = [atoms for atoms in sensible(12 * arguments.batches, seed=40) if 1 < len(atoms) < 40]
    batches = [crystals[start : start + BATCH] for start in range(0, BATCH * arguments.batches, BATCH)]
    found = []
    for seed, batch in enumerate(batches):
        print(f"gradients: batch {seed + 1} of {len(batches)}", file=sys.stderr, flush=True)
        found.append(compare(batch, seed))
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
