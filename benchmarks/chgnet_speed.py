"""Speed and memory of the CHGNet engine against chgnet's own code, in CPU time of one process.

    python benchmarks/chgnet_speed.py graph|cache|predict|precision|train|memory|scaling [--threads N]

CPU time (user and system) of alternating runs, the least of each: wall times mean little on a shared machine. Each section
prints JSON. ``chgnet_report.py`` runs all of them and writes ``docs/performance.md``.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from chgnet_crystals import crystal, mptrj_like, sensible, small
from chgnet_parity import deviations, in_reference_units

from xferbench.models.chgnet.batch import Batch
from xferbench.models.chgnet.cache import GraphCache
from xferbench.models.chgnet.checkpoint import load_engine
from xferbench.models.chgnet.graph import build
from xferbench.models.hardware import warm_heap

if TYPE_CHECKING:
    from collections.abc import Callable

    from ase import Atoms

CPU = torch.device("cpu")
SETS = {"MPtrj-like": lambda: mptrj_like(64), "small": lambda: small(128)}
BATCH = 16
"""Structures of a batch, as chgnet makes them by default."""

GRAPHS = 64
"""Structures of a batch of graphs."""


def cpu_times(tasks: dict[str, Callable[[], object]], repeats: int = 3) -> dict[str, float]:
    """Least CPU seconds of each task; tasks alternate, after one run of each that does not count.

    With more than one thread, seconds of wall time: threads that wait for each other use CPU time as well.
    """
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    best = dict.fromkeys(tasks, float("inf"))
    for repeat in range(repeats + 1):
        for name, task in tasks.items():
            start = clock()
            with contextlib.redirect_stdout(io.StringIO()):
                task()
            if repeat:
                best[name] = min(best[name], clock() - start)
    return best


def chgnet_model() -> Any:  # noqa: ANN401 - a CHGNet of an untyped package
    """Chgnet's own 0.3.0."""
    from chgnet.model.model import CHGNet

    with contextlib.redirect_stdout(io.StringIO()):
        return CHGNet.load(model_name="0.3.0", use_device="cpu", verbose=False)


def pymatgen(structures: list[Atoms]) -> list[Any]:
    """The structures as chgnet takes them."""
    from pymatgen.io.ase import AseAtomsAdaptor

    return [AseAtomsAdaptor.get_structure(atoms) for atoms in structures]


def graph() -> dict[str, Any]:
    """Structures per CPU second of graph building, chgnet's from pymatgen structures that exist already."""
    # as every engine does
    warm_heap()
    converter = chgnet_model().graph_converter
    results = {}
    for name, make in SETS.items():
        structures = make()
        theirs = pymatgen(structures)
        packs = [structures[start : start + GRAPHS] for start in range(0, len(structures), GRAPHS)]

        def convert(theirs: list[Any] = theirs) -> None:
            for structure in theirs:
                converter(structure)

        def build_all(packs: list[list[Atoms]] = packs) -> None:
            for pack in packs:
                build(pack, atom_cutoff=6, bond_cutoff=3)

        def pack_all(packs: list[list[Atoms]] = packs) -> None:
            for pack in packs:
                graphs = build(pack, atom_cutoff=6, bond_cutoff=3)
                Batch.from_graphs(graphs, dtype=torch.float32, device=CPU)

        times = cpu_times({"chgnet": convert, "graphs": build_all, "graphs and tensors": pack_all})
        sizes = [build(pack, atom_cutoff=6, bond_cutoff=3) for pack in packs]
        results[name] = {
            "structures": len(structures),
            "atoms": sum(map(len, structures)),
            "bonds": sum(2 * len(size.center) for size in sizes),
            "angles": sum(len(size.vertex) for size in sizes),
            "rate": {task: len(structures) / seconds for task, seconds in times.items()},
        }
    return results


def cache() -> dict[str, Any]:
    """CPU microseconds per structure of building graphs and of reading them from disk, files in the system's memory."""
    results = {}
    for name, make in SETS.items():
        structures = make()[:GRAPHS]
        with tempfile.TemporaryDirectory() as folder:
            stored = GraphCache(folder=Path(folder))
            times = cpu_times(
                {
                    "build": lambda s=structures: build(s, atom_cutoff=6, bond_cutoff=3),
                    "read": lambda s=structures, c=stored: c.build(s, atom_cutoff=6, bond_cutoff=3),
                },
                repeats=20,
            )
            size = sum(path.stat().st_size for path in Path(folder).iterdir())
        rates = {task: 1e6 * seconds / len(structures) for task, seconds in times.items()}
        results[name] = {**rates, "kilobytes": size / 1e3 / len(structures)}
    return results


def precision() -> dict[str, Any]:
    """Structures per CPU second in each precision, and the largest and median deviation from double precision."""
    structures = sensible(150, seed=70)
    engines = {name: load_engine("0.3.0", precision=name, isolated="allow") for name in ("float64", "float32", "bf16")}
    times = cpu_times({name: partial(engine.predict, structures) for name, engine in engines.items()}, repeats=2)
    found = {
        name: [in_reference_units(r, len(r["magmoms"])) for r in engine.predict(structures)]
        for name, engine in engines.items()
    }
    results: dict[str, Any] = {}
    for name, own in found.items():
        rows = [deviations(a, b) for a, b in zip(own, found["float64"], strict=True)]
        columns = {key: [row[key] for row in rows] for key in rows[0]}
        results[name] = {
            "rate": len(structures) / times[name],
            **{key: [max(values), float(np.median(values))] for key, values in columns.items()},
        }
    return results


def predict() -> dict[str, Any]:
    """Structures per CPU second, graph building included: energy, forces, stress and moments, or energy alone."""
    from chgnet.model.dynamics import CHGNetCalculator

    model, engine = chgnet_model(), load_engine("0.3.0")
    with contextlib.redirect_stdout(io.StringIO()):
        calculator = CHGNetCalculator(model, use_device="cpu")
    results = {}
    for name, make in SETS.items():
        structures = make()

        def loop(structures: list[Atoms] = structures) -> None:
            for atoms in structures:
                calculator.calculate(atoms)

        def own(structures: list[Atoms] = structures, task: str = "efsm") -> None:
            model.predict_structure(pymatgen(structures), task=task, batch_size=BATCH)

        def ours(structures: list[Atoms] = structures, *, derivatives: bool = True) -> None:
            engine.predict(structures, forces=derivatives, stress=derivatives)

        def one_by_one(structures: list[Atoms] = structures) -> None:
            for atoms in structures:
                engine.predict([atoms])

        def flushed(loop: Callable[[], None] = loop) -> None:
            torch.set_flush_denormal(True)
            loop()
            torch.set_flush_denormal(False)

        times = cpu_times(
            {
                "ASE calculator loop": loop,
                "ASE calculator loop, denormals flushed": flushed,
                "predict_structure, batch 16": own,
                "engine": ours,
                "engine, one by one": one_by_one,
                "predict_structure, batch 16, energy only": lambda own=own: own(task="e"),
                "engine, energy only": lambda ours=ours: ours(derivatives=False),
            }
        )
        results[name] = {task: len(structures) / seconds for task, seconds in times.items()}
    return results


def train() -> dict[str, Any]:
    """Structures per CPU second of a training epoch: energy, forces, stress, moments; batch 8; graphs made before."""
    from chgnet.trainer import Trainer

    structures, rng = mptrj_like(32, seed=5), np.random.default_rng(0)
    model = chgnet_model()
    graphs = [model.graph_converter(structure) for structure in pymatgen(structures)]
    labels = [
        {
            "e": torch.tensor(-5.0),
            "f": torch.tensor(rng.normal(size=(len(atoms), 3)), dtype=torch.float32),
            "s": torch.tensor(rng.normal(size=(3, 3)), dtype=torch.float32),
            "m": torch.tensor(rng.random(len(atoms)), dtype=torch.float32),
        }
        for atoms in structures
    ]
    packs = [range(start, start + 8) for start in range(0, len(structures), 8)]

    def targets(pack: range) -> dict[str, Any]:
        together: dict[str, Any] = {key: [labels[i][key] for i in pack] for key in "efsm"}
        return together | {"e": torch.stack(together["e"])}

    trainer = Trainer(model, targets="efsm", optimizer="Adam", learning_rate=1e-6, use_device="cpu", print_freq=10**9)
    network = load_engine("0.3.0").network.network.train()
    network.requires_grad_(requires_grad=True)
    network.composition_model.requires_grad_(requires_grad=False)
    optimizer = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=1e-6)
    batches = [
        Batch.from_graphs(
            build([structures[i] for i in pack], atom_cutoff=6, bond_cutoff=3), dtype=torch.float32, device=CPU
        )
        for pack in packs
    ]
    warm_heap()

    def theirs() -> None:
        loader = [([graphs[i] for i in pack], targets(pack)) for pack in packs]
        trainer._train(loader, 0)  # noqa: SLF001 - one epoch without validation

    def ours() -> None:
        torch.set_flush_denormal(True)
        for pack, batch in zip(packs, batches, strict=True):
            found = network(batch, create_graph=True)
            counts = batch.counts.tolist()
            prediction = {
                "e": found.energy / batch.counts,
                "f": list(found.forces.split(counts)),
                "s": list(found.stress * 160.21766208),
                "m": list(found.magmoms.split(counts)),
                "atoms_per_graph": batch.counts,
            }
            optimizer.zero_grad()
            trainer.criterion(targets(pack), prediction)["loss"].backward()
            optimizer.step()
        torch.set_flush_denormal(False)

    times = cpu_times({"Trainer": theirs, "engine": ours})
    return {task: len(structures) / seconds for task, seconds in times.items()}


def memory() -> dict[str, Any]:
    """Memory that predicting 16 MPtrj-like crystals at once adds to a process, in MiB."""
    return {
        name: json.loads(subprocess.run([sys.executable, __file__, name], check=True, capture_output=True).stdout)
        for name in ("memory-chgnet", "memory-engine")
    }


def _added_memory(name: str) -> float:
    structures = mptrj_like(BATCH)
    if name == "memory-chgnet":
        model, theirs = chgnet_model(), pymatgen(structures)
        model.predict_structure(theirs[0])
        before = _peak()
        model.predict_structure(theirs, batch_size=BATCH)
    else:
        engine = load_engine("0.3.0", max_rows=1 << 30)
        engine.predict(structures[:1])
        before = _peak()
        engine.predict(structures)
    return _peak() - before


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def scaling() -> dict[str, Any]:
    """CPU milliseconds per atom against the size of one structure, and per structure against their number."""
    engine, rng = load_engine("0.3.0"), np.random.default_rng(6)
    by_atoms = {}
    for n_atoms in (2, 5, 10, 20, 50, 100, 200, 500):
        structures = [crystal(rng, n_atoms) for _ in range(max(1, 100 // n_atoms))]
        seconds = cpu_times({"engine": lambda s=structures: [engine.predict([atoms]) for atoms in s]})["engine"]
        by_atoms[n_atoms] = 1e3 * seconds / (n_atoms * len(structures))
    pool, by_number = small(100), {}
    for number in (1, 10, 100, 1000, 10000):
        structures = [pool[i % 100] for i in range(number)]
        seconds = cpu_times({"engine": lambda s=structures: engine.predict(s)}, repeats=3 if number <= 100 else 1)
        by_number[number] = 1e3 * seconds["engine"] / number
    return {"per atom": by_atoms, "per structure of 8 atoms": by_number}


SECTIONS: dict[str, Callable[[], dict[str, Any]]] = {
    "graph": graph,
    "cache": cache,
    "predict": predict,
    "precision": precision,
    "train": train,
    "memory": memory,
    "scaling": scaling,
}


def main() -> None:
    """Run one section and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("section", choices=[*SECTIONS, "memory-chgnet", "memory-engine"])
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    warnings.filterwarnings("ignore")
    section = arguments.section
    result = SECTIONS[section]() if section in SECTIONS else _added_memory(section)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
