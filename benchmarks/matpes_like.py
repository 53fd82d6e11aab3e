"""Write files shaped like MatPES, of any size: the same fields, nesting and length of text, with invented physics.

    python benchmarks/matpes_like.py 100000 matpes-like

gives ``MatPES-PBE-like.json.gz`` and ``MatPES-R2SCAN-like.json.gz`` of 100,000 documents or a little less each. As in the
real files the two list the same structures in different orders, 4 % of PBE and 1 % of r²SCAN have no partner, and the
documents of one material are several. In 0.5 % of the pairs an atom is elsewhere, which pairing must find.

Every atom hangs on a spring at its site, and the crystal resists a change of volume:
E = Σ offset(Z) + k/2 Σ u² + n b (V/V₀ - 1)², with the forces and the stress that belong to it. So physical checks pass.
"""

from __future__ import annotations

import argparse
import gzip
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

FUNCTIONALS = ("PBE", "r2SCAN")
SYMBOLS = ("Li", "O", "Na", "Mg", "Al", "Si", "S", "Cl", "K", "Ca", "Ti", "Fe", "Cu", "Zn", "Sr", "Ag", "Ba", "W")
STEPS = 6
"""Documents of one material."""

LARGEST_CELL = 16
"""Atoms; the mean cell has 8.5, which gives the 5.4 kB per document of the real files."""

ONLY_PBE, ONLY_R2SCAN, MOVED = 0.04, 0.01, 0.005
PER_STRUCTURE = 2 - ONLY_PBE - ONLY_R2SCAN
"""Documents of both functionals together, on average."""

EV_PER_A3_IN_KBAR = 1602.176634


def documents(functional: str, count: int, seed: int = 0) -> Iterator[dict[str, Any]]:
    """The documents of one functional.

    Args:
        functional: ``PBE`` or ``r2SCAN``.
        count: Structures of which the functional's documents are some.
        seed: Another one gives other structures.
    """
    order = range(count) if functional == "PBE" else np.random.default_rng(seed).permutation(count).tolist()
    missing = ONLY_R2SCAN if functional == "PBE" else ONLY_PBE
    for index in order:
        rng = np.random.default_rng([seed, 1, index])
        fate = rng.random()
        lonely = fate < missing if functional == "PBE" else missing + ONLY_R2SCAN > fate >= ONLY_R2SCAN
        if not lonely:
            yield document(functional, index, seed, moved=functional == "r2SCAN" and fate > 1 - MOVED)


def document(functional: str, index: int, seed: int, *, moved: bool) -> dict[str, Any]:
    """One document."""
    material, step = divmod(index, STEPS)
    numbers, lattice, sites = _crystal(material, seed)
    rng = np.random.default_rng([seed, 2, index])
    scale = 1 + rng.normal(0, 0.01)
    u = rng.normal(0, 0.05, sites.shape)
    matrix = np.round(lattice * scale, 8)
    abc = np.round(sites + u @ np.linalg.inv(matrix), 8)
    if moved:
        abc[0, 0] += 0.01
    stiffer = FUNCTIONALS.index(functional) * 0.1
    energy, forces, stress = _labels(numbers, (abc - sites) @ matrix, scale**3, np.linalg.det(matrix), stiffer)
    magmoms = np.round(np.where(numbers > 10, 0.3 + stiffer, 0.0) + 0.01 * abc[:, 0], 3)
    symbols = [SYMBOLS[number] for number in numbers]
    return {
        "builder_meta": {
            "emmet_version": "0.84.6", "pymatgen_version": "2024.11.13", "run_id": None, "batch_id": None,
            "database_version": None, "build_date": "2025-02-27 21:16:44.732890+00:00", "license": None,
        },
        "nsites": len(numbers),
        **_composition(symbols),
        "volume": float(np.linalg.det(matrix)),
        "density": 4.2,
        "density_atomic": float(np.linalg.det(matrix)) / len(numbers),
        "symmetry": {
            "crystal_system": "Triclinic", "symbol": "P1", "number": 1, "point_group": "1", "symprec": 0.1,
            "angle_tolerance": 5.0, "version": "2.5.0",
        },
        "structure": _structure(symbols, matrix, abc, magmoms),
        "energy": energy,
        "forces": np.round(forces, 8),
        "stress": np.round(stress, 8),
        "matpes_id": f"matpes-20240214_{material}_{step}",
        "bandgap": 0.0,
        "functional": functional,
        "formation_energy_per_atom": None,
        "cohesive_energy_per_atom": energy / len(numbers) + 1.0,
        "abs_forces": np.linalg.norm(np.round(forces, 8), axis=1),
        "bader_charges": np.round(8 + abc[:, 1], 6),
        "bader_magmoms": np.round(magmoms * 0.97, 6),
        "provenance": {
            "original_mp_id": f"mp-{material}", "materials_project_version": "v2023.11.1", "md_ensemble": "NpT",
            "md_temperature": 300.0, "md_pressure": 1.0, "md_step": step, "mlip_name": "M3GNet-DIRECT",
        },
        "energy_per_atom": energy / len(numbers),
    }  # fmt: skip


def _crystal(material: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Species, lattice in Å and fractional sites of a material."""
    rng = np.random.default_rng([seed, 3, material])
    n = int(rng.integers(1, LARGEST_CELL + 1))
    elements = rng.choice(len(SYMBOLS), size=min(n, 3), replace=False)
    numbers = np.sort(rng.choice(elements, size=n))
    lattice = (np.eye(3) + rng.uniform(-0.1, 0.1, (3, 3))) * (14.0 * n) ** (1 / 3)
    return numbers, lattice, rng.random((n, 3))


def _labels(
    numbers: NDArray[np.int64], u: NDArray[np.float64], volume: float, cell_volume: float, stiffer: float
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Energy in eV, forces in eV/Å, and stress in kBar with VASP's sign, xx yy zz yz xz xy."""
    k, b, n = 2.0 + stiffer, 1.5, len(numbers)
    x = volume - 1
    energy = -2.0 * n - (0.3 + stiffer) * float(numbers.sum()) + 0.5 * k * float((u**2).sum()) + n * b * x**2
    stress = (k * u.T @ u + np.eye(3) * 2 * n * b * x * volume) / cell_volume
    voigt = stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
    return energy, -k * u, -EV_PER_A3_IN_KBAR * voigt


def _composition(symbols: list[str]) -> dict[str, Any]:
    counts = {symbol: float(symbols.count(symbol)) for symbol in dict.fromkeys(symbols)}
    formula = "".join(f"{symbol}{count:g}" for symbol, count in counts.items())
    return {
        "elements": sorted(counts),
        "nelements": len(counts),
        "composition": counts,
        "composition_reduced": counts,
        "formula_pretty": formula,
        "formula_anonymous": "ABC",
        "chemsys": "-".join(sorted(counts)),
    }


def _structure(
    symbols: list[str], matrix: NDArray[np.float64], abc: NDArray[np.float64], magmoms: NDArray[np.float64]
) -> dict[str, Any]:
    """As pymatgen's ``Structure.as_dict``."""
    xyz = abc @ matrix
    a, b, c = np.linalg.norm(matrix, axis=1).tolist()
    sites = [
        {
            "species": [{"element": symbol, "occu": 1}], "abc": abc[i], "properties": {"magmom": magmoms[i]},
            "label": symbol, "xyz": xyz[i],
        }
        for i, symbol in enumerate(symbols)
    ]  # fmt: skip
    return {
        "@module": "pymatgen.core.structure",
        "@class": "Structure",
        "charge": 0.0,
        "lattice": {
            "matrix": matrix, "pbc": [True, True, True], "a": a, "b": b, "c": c, "alpha": 90.0, "beta": 90.0,
            "gamma": 90.0, "volume": float(np.linalg.det(matrix)),
        },
        "properties": {},
        "sites": sites,
        "@version": None,
    }  # fmt: skip


def write(directory: Path, count: int, *, seed: int = 0, compress: bool = True) -> list[Path]:
    """Write both files as JSON arrays.

    Returns:
        Their paths, PBE first.
    """
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for functional in FUNCTIONALS:
        path = directory / f"MatPES-{functional.upper()}-like.json{'.gz' if compress else ''}"
        with gzip.open(path, "wb", compresslevel=1) if compress else path.open("wb") as stream:
            separator = b"["
            for item in documents(functional, count, seed):
                stream.write(separator + orjson.dumps(item, option=orjson.OPT_SERIALIZE_NUMPY))
                separator = b",\n"
            stream.write(b"]" if separator != b"[" else b"[]")
        paths.append(path)
    return paths


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int, help="structures")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plain", action="store_true", help="do not compress")
    arguments = parser.parse_args()
    for path in write(arguments.directory, arguments.count, seed=arguments.seed, compress=not arguments.plain):
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
