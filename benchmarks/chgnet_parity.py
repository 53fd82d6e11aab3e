"""How far the CHGNet engine is from chgnet's own ``predict_structure``, and each of the two from double precision.

    python benchmarks/chgnet_parity.py [--structures N] [--more FILE ...] [--variants NAME ...]

``--more`` takes JSON files of documents with a ``structure`` as pymatgen writes it, such as
``MatPES-PBE-Element-Refs.json.gz`` and ``wbm-random-pbe52-equilibrium-2025.1.json.gz`` of materialyzeai/matcalc.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import io
import json
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from chgnet_crystals import ELEMENTS, R2SCAN_ELEMENTS, awkward, crystal, mptrj_like, sensible, small

from xferbench.models.chgnet.checkpoint import load_engine
from xferbench.units import EV_PER_A3_IN_GPA

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ase import Atoms

LIMITS = {"energy": 1e-5, "forces": 1e-4, "stress": 1e-3, "magmoms": 1e-4}
"""eV/atom, eV/Å, GPa, µB: the largest deviation called equal in single precision."""

CHGNET_GPA = 160.21766208
"""eV/Å³ in GPa as chgnet 0.4.2 has it."""


FROM_FILE = 300
"""Structures taken of one file."""

FEWER = 5
"""chgnet runs in double precision, which is slow, and a second time for one in so many structures."""

MOVED = (0.1, 0.2, 0.3)
"""Å by which all atoms of a crystal are moved together, which changes nothing but rounding."""


class Reference:
    """chgnet's own path, in single precision as shipped or cast to double."""

    def __init__(self, variant: str, dtype: torch.dtype) -> None:
        from chgnet.model import model as chgnet_model

        with contextlib.redirect_stdout(io.StringIO()):
            self.model = chgnet_model.CHGNet.load(model_name=variant, use_device="cpu", verbose=False).to(dtype)
        self.dtype = dtype
        composition = self.model.composition_model
        fractions = composition._assemble_graphs  # noqa: SLF001 - chgnet cannot be cast to double from outside
        composition._assemble_graphs = lambda graphs: fractions(graphs).to(dtype)  # noqa: SLF001 - see above
        self._module = chgnet_model

    @contextlib.contextmanager
    def precision(self) -> Iterator[None]:
        """Within the block, chgnet works in the precision of this reference."""
        single, self._module.TORCH_DTYPE = self._module.TORCH_DTYPE, self.dtype
        try:
            yield
        finally:
            self._module.TORCH_DTYPE = single

    def graph(self, atoms: Atoms) -> Any:  # noqa: ANN401 - a CrystalGraph of an untyped package
        """Chgnet's graph, with geometry in the precision of this reference."""
        from pymatgen.core import Lattice, Structure

        lattice = Lattice(atoms.cell.array, pbc=tuple(map(bool, atoms.pbc)))
        structure = Structure(lattice, atoms.numbers, atoms.positions, coords_are_cartesian=True)
        graph = self.model.graph_converter(structure)
        graph.atom_frac_coord = torch.tensor(structure.frac_coords, dtype=self.dtype, requires_grad=True)
        graph.lattice = torch.tensor(lattice.matrix, dtype=self.dtype, requires_grad=True)
        graph.neighbor_image = graph.neighbor_image.to(self.dtype)
        return graph

    def predict(self, atoms: Atoms) -> dict[str, Any]:
        """Energy eV/atom, forces eV/Å, stress GPa, magmoms µB."""
        with self.precision():
            found = self.model.predict_graph(self.graph(atoms), task="efsm")
        # chgnet divides by the signed volume: the stress of a left-handed cell has the wrong sign
        handed = np.sign(np.linalg.det(atoms.cell.array))
        stress = handed * found["s"] * EV_PER_A3_IN_GPA / CHGNET_GPA
        return {"energy": float(found["e"]), "forces": found["f"], "stress": stress, "magmoms": found["m"]}


def structures(n: int, elements: Sequence[int], more: Sequence[Path] = ()) -> dict[str, list[Atoms]]:
    """Four populations.

    Args:
        n: About how many, without those of files: the embedded data set, and of the rest two thirds near contact, one
            third far from equilibrium.
        elements: Atomic numbers to draw from, and to keep of what is given.
        more: Files of documents with structures.

    Returns:
        ``embedded``; ``files``, if there are any; ``near contact``, random crystals with forces like those in molecular
        dynamics; ``violent``, random crystals with a tenth of an Ångström between some of the cores.
    """
    from xferbench.sources import mini

    embedded = [frame.atoms() for frame in mini.load().frames][:n]
    rest = max(n - len(embedded), 3)
    rng = np.random.default_rng(4)
    third = max(rest // 9, 1)
    groups = {
        "embedded": embedded,
        "files": [atoms for path in more for atoms in from_file(path)],
        "near contact": sensible(rest * 2 // 3, seed=13, elements=elements),
        "violent": [
            *(crystal(rng, int(rng.integers(150, 200)), elements=elements) for _ in range(max(1, third // 20))),
            *mptrj_like(third, seed=10, elements=elements),
            *awkward(third, seed=11, elements=elements),
            *small(third, seed=12, elements=elements),
        ],
    }
    known = set(elements)
    kept = {name: [atoms for atoms in group if known.issuperset(atoms.numbers)] for name, group in groups.items()}
    return {name: group for name, group in kept.items() if group}


def from_file(path: Path) -> Iterator[Atoms]:
    """Structures of a JSON file, compressed or not, at most ``FROM_FILE`` of them."""
    from pymatgen.core import Structure
    from pymatgen.io.ase import AseAtomsAdaptor

    data = path.read_bytes()
    documents = json.loads(gzip.decompress(data) if path.suffix == ".gz" else data)
    documents = list(documents.values()) if isinstance(documents, dict) else documents
    for document in documents[:FROM_FILE]:
        atoms = AseAtomsAdaptor.get_atoms(Structure.from_dict(document["structure"]))
        # without the properties that pymatgen keeps
        yield atoms.__class__(atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=True)


def deviations(a: dict[str, Any], b: dict[str, Any]) -> dict[str, float]:
    """Largest absolute difference of each quantity."""
    return {name: float(np.abs(np.asarray(a[name]) - np.asarray(b[name])).max()) for name in LIMITS}


def compare(variant: str, n: int, more: Sequence[Path] = ()) -> list[dict[str, Any]]:
    """Deviations over the structures of ``structures``, one result for each group of them.

    Returns:
        ``engine-chgnet``, ``engine-double``, ``chgnet-double`` (single against double precision) and ``double`` (engine
        against chgnet, both double) and ``moved`` (chgnet against itself with all atoms moved together), both of every
        fifth structure: quantity -> maximum, median, number beyond the limit;
        ``exceed``: for each of these, how many structures are beyond the limit of any quantity, of ``compared``;
        ``force``: median, 95th percentile and maximum of the largest force of each structure.
    """
    elements = R2SCAN_ELEMENTS if variant == "r2scan" else ELEMENTS
    engines = [load_engine(variant, precision=precision, isolated="allow") for precision in ("float32", "float64")]
    single, double = (Reference(variant, dtype) for dtype in (torch.float32, torch.float64))
    results = []
    for group, crystals in structures(n, elements, more).items():
        rows: dict[str, list[dict[str, float]]] = {}
        forces, isolated = [], 0
        pairs = zip(crystals, *(engine.predict(crystals) for engine in engines), strict=True)
        for index, (atoms, *found) in enumerate(pairs):
            if not index % 100:
                print(f"parity: {variant}, {group}, {index} of {len(crystals)}", file=sys.stderr, flush=True)
            ours, exact = (in_reference_units(result, len(atoms)) for result in found)
            try:
                chgnet = single.predict(atoms)
            except ValueError:
                # an isolated atom, which the converter refuses
                isolated += 1
                continue
            forces.append(float(np.linalg.norm(exact["forces"], axis=1).max()))
            rows.setdefault("engine-chgnet", []).append(deviations(ours, chgnet))
            rows.setdefault("engine-double", []).append(deviations(ours, exact))
            rows.setdefault("chgnet-double", []).append(deviations(chgnet, exact))
            if not index % FEWER:
                rows.setdefault("double", []).append(deviations(exact, double.predict(atoms)))
                moved = atoms.copy()
                moved.translate(MOVED)
                rows.setdefault("moved", []).append(deviations(chgnet, single.predict(moved)))
        counts = {
            "structures": len(forces),
            "isolated": isolated,
            "largest": max(map(len, crystals)),
            "force": np.percentile(forces, [50, 95, 100]).tolist(),
        }
        totals = {
            "compared": {name: len(found) for name, found in rows.items()},
            "exceed": {name: exceeding(found) for name, found in rows.items()},
        }
        summaries = {name: _summary(deviation) for name, deviation in rows.items()}
        results.append({"variant": variant, "group": group, **counts, **totals, **summaries})
    return results


def in_reference_units(result: dict[str, Any], n_atoms: int) -> dict[str, Any]:
    """The engine's result in chgnet's units."""
    return {**result, "energy": result["energy"] / n_atoms, "stress": result["stress"] * EV_PER_A3_IN_GPA}


def exceeding(found: list[dict[str, float]]) -> int:
    """How many structures are beyond the limit of any quantity."""
    return sum(any(row[name] > limit for name, limit in LIMITS.items()) for row in found)


def _summary(found: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    summary = {}
    for name, limit in LIMITS.items():
        values = np.array([row[name] for row in found])
        summary[name] = {
            "max": float(values.max()),
            "median": float(np.median(values)),
            "beyond": int((values > limit).sum()),
        }
    return summary


def main() -> None:
    """Print the deviations of all variants as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--structures", type=int, default=1300, help="without those of files")
    parser.add_argument("--more", type=Path, nargs="*", default=[], metavar="FILE", help="of documents with structures")
    parser.add_argument("--variants", nargs="*", default=["0.3.0", "0.2.0", "r2scan"])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    results = [
        result for variant in arguments.variants for result in compare(variant, arguments.structures, arguments.more)
    ]
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
