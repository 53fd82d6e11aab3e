"""How far the CHGNet engine is from chgnet's own ``predict_structure``, and each of the two from double precision.

python benchmarks/chgnet_parity.py [--structures N]
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from chgnet_crystals import ELEMENTS, R2SCAN_ELEMENTS, awkward, crystal, mptrj_like, small

from xferbench.models.chgnet.checkpoint import load_engine
from xferbench.units import EV_PER_A3_IN_GPA

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ase import Atoms

LIMITS = {"energy": 1e-5, "forces": 1e-4, "stress": 1e-3, "magmoms": 1e-4}
"""eV/atom, eV/Å, GPa, µB: the largest deviation called equal in single precision."""

CHGNET_GPA = 160.21766208
"""eV/Å³ in GPa as chgnet 0.4.2 has it."""


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


def structures(n: int, elements: Sequence[int]) -> dict[str, list[Atoms]]:
    """A fifth from the embedded data set; the rest random: MPtrj-like, small, awkward and some of 150 to 200 atoms."""
    from xferbench.sources import mini

    own = [frame.atoms() for frame in mini.load().frames][: n // 5]
    rng = np.random.default_rng(4)
    large = [crystal(rng, int(rng.integers(150, 200)), elements=elements) for _ in range(max(1, n // 200))]
    rest = n - len(own) - len(large)
    return {
        "embedded": own,
        "random": [
            *large,
            *mptrj_like(rest // 3, seed=10, elements=elements),
            *awkward(rest // 3, seed=11, elements=elements),
            *small(rest - 2 * (rest // 3), seed=12, elements=elements),
        ],
    }


def deviations(a: dict[str, Any], b: dict[str, Any]) -> dict[str, float]:
    """Largest absolute difference of each quantity."""
    return {name: float(np.abs(np.asarray(a[name]) - np.asarray(b[name])).max()) for name in LIMITS}


def compare(variant: str, n: int) -> list[dict[str, Any]]:
    """Deviations over ``n`` structures, one result for each group of them.

    Returns:
        ``engine-chgnet``, ``engine-double``, ``chgnet-double`` (single against double precision) and ``double`` (engine
        against chgnet, both double): quantity -> maximum, median, number beyond the limit.
    """
    elements = R2SCAN_ELEMENTS if variant == "r2scan" else ELEMENTS
    engines = [load_engine(variant, dtype=dtype, isolated="allow") for dtype in ("float32", "float64")]
    references = [Reference(variant, dtype) for dtype in (torch.float32, torch.float64)]
    results = []
    for group, crystals in structures(n, elements).items():
        rows: dict[str, list[dict[str, float]]] = {}
        isolated = 0
        for start in range(0, len(crystals), 64):
            part = crystals[start : start + 64]
            for atoms, *found in zip(part, *(engine.predict(part) for engine in engines), strict=True):
                try:
                    chgnet, chgnet_double = (reference.predict(atoms) for reference in references)
                except ValueError:
                    # an isolated atom, which the converter refuses
                    isolated += 1
                    continue
                ours, double = (_in_reference_units(result, len(atoms)) for result in found)
                pairs = {
                    "engine-chgnet": (ours, chgnet),
                    "engine-double": (ours, double),
                    "chgnet-double": (chgnet, double),
                    "double": (double, chgnet_double),
                }
                for name, pair in pairs.items():
                    rows.setdefault(name, []).append(deviations(*pair))
        summaries = {name: _summary(deviation) for name, deviation in rows.items()}
        counts = {"structures": len(crystals) - isolated, "isolated": isolated}
        results.append({"variant": variant, "group": group, **counts, **summaries})
    return results


def _in_reference_units(result: dict[str, Any], n_atoms: int) -> dict[str, Any]:
    return {**result, "energy": result["energy"] / n_atoms, "stress": result["stress"] * EV_PER_A3_IN_GPA}


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
    parser.add_argument("--structures", type=int, default=1000, help="for 0.3.0; a fifth of them for the others")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    sizes = {"0.3.0": arguments.structures, "0.2.0": arguments.structures // 5, "r2scan": arguments.structures // 5}
    print(json.dumps([result for variant, n in sizes.items() for result in compare(variant, n)], indent=1))


if __name__ == "__main__":
    main()
