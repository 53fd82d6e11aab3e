"""Raw records -> the Parquet file inside the package: one row per calculation, failed ones included with null labels."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from xferbench import storage, tables, units
from xferbench.errors import FormatError
from xferbench.sources.mini.checks import XC
from xferbench.sources.mini.recordfile import material_id, read_records

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

RECORDS = Path(__file__).with_name("records.jsonl")
PARQUET = Path(__file__).with_name("mini.parquet")

SCHEMA = pa.schema(
    [
        pa.field("record_id", pa.string(), nullable=False),
        pa.field("pair_id", pa.string(), nullable=False),
        pa.field("material_id", pa.string(), nullable=False),
        pa.field("seed_structure", pa.string(), nullable=False),
        pa.field("prototype", pa.string(), nullable=False),
        pa.field("perturbation", pa.string(), nullable=False),
        pa.field("seed", pa.int64(), nullable=False),
        pa.field("functional", pa.string(), nullable=False),
        pa.field("spin_polarised", pa.bool_(), nullable=False),
        pa.field("metal_kmesh", pa.bool_(), nullable=False),
        *tables.STRUCTURE_FIELDS,
        pa.field("initial_magmoms", pa.list_(pa.float64()), nullable=False),
        *tables.LABEL_FIELDS,
        pa.field("free_energy", pa.float64()),
        pa.field("reference_energy", pa.float64()),
        pa.field("net_force", pa.float64()),
        pa.field("kpts", pa.list_(pa.int64())),
        pa.field("n_kpts_irreducible", pa.int64()),
        pa.field("scf_iterations", pa.int64()),
        pa.field("wall_seconds", pa.float64()),
        pa.field("cpu_seconds", pa.float64()),
        pa.field("settings", pa.string(), nullable=False),
        pa.field("versions", pa.string(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        pa.field("error", pa.string()),
    ]
)
"""eV, eV/Å, eV/Å³, µB, Å. ``net_force`` is the length of the sum of all forces; settings and versions are JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What went into a Parquet file.

    Attributes:
        pairs: Pairs with both calculations.
        failed: Failed calculations.
        materials: Reduced compositions of the pairs.
        elements: Symbols of the elements in the pairs.
        versions: Different sets of code versions.
        sha256: Of the file.
    """

    path: Path
    records: int
    pairs: int
    failed: int
    materials: int
    elements: tuple[str, ...]
    versions: int
    sha256: str

    def __str__(self) -> str:
        return (
            f"{self.path}: {self.records} calculations ({self.failed} failed), {self.pairs} pairs of {self.materials} "
            f"compositions of {len(self.elements)} elements ({' '.join(self.elements)}), {self.versions} sets of code "
            f"versions, {self.sha256}"
        )


def build(records: Path | None = None, out: Path | None = None) -> Built:
    """Turn raw records into Parquet, sorted by id: the same records give the same bytes, in whatever order they come.

    Args:
        records: JSON lines; default: those in the package.
        out: Parquet; default: the file in the package.

    Raises:
        StorageError: A file cannot be read or written.
        FormatError: There are no records, or they break their format; all problems with their line numbers.
    """
    out = PARQUET if out is None else out
    records = RECORDS if records is None else records
    rows = [row(record) for record in read_records(records)]
    if not rows:
        raise FormatError(f"{records} has no records, so nothing was built; name a file that has some")
    return write(rows, out)


def write(rows: Sequence[Mapping[str, Any]], out: Path, more: Sequence[pa.Field] = ()) -> Built:
    """Write rows as Parquet.

    Args:
        rows: Of ``row``, in order.
        out: The file.
        more: Columns that they have besides those of ``SCHEMA``.

    Raises:
        StorageError: The file cannot be written.
    """
    tables.write_table(out, pa.Table.from_pylist(list(rows), schema=pa.schema([*SCHEMA, *more])))
    return _summary(rows, out)


def row(record: Mapping[str, Any]) -> dict[str, Any]:
    """One record as a row of the table."""
    structure = record["structure"]
    return {
        "record_id": record["id"],
        "pair_id": record["pair_id"],
        "material_id": material_id(structure["species"]),
        "seed_structure": record["seed_structure"],
        "prototype": record["seed_structure"].rpartition("_")[2],
        "perturbation": record["perturbation"],
        "seed": record["seed"],
        "functional": record["functional"],
        "spin_polarised": record["spin_polarised"],
        "metal_kmesh": record["metal_kmesh"],
        **_structure(structure),
        **(_labels(record) if record["status"] == "ok" else {}),
        "settings": _json(record["settings"]),
        "versions": _json(record["versions"]),
        "status": record["status"],
        "error": record.get("error"),
    }


def _structure(structure: Mapping[str, Any]) -> dict[str, Any]:
    from ase.data import atomic_numbers

    return {
        "numbers": [atomic_numbers[symbol] for symbol in structure["species"]],
        "positions": structure["cart_coords_A"],
        "cell": structure["lattice_A"],
        "pbc": structure["pbc"],
        "initial_magmoms": structure["initial_magmoms_muB"],
    }


def _labels(record: Mapping[str, Any]) -> dict[str, Any]:
    """Labels as computed, net forces and all; only the stress changes its shape."""
    return {
        "energy": record["energy_eV"],
        "forces": record["forces_eV_per_A"],
        "stress": units.voigt_to_matrix(record["stress_eV_per_A3_voigt"]).tolist(),
        "magmoms": record.get("magmoms_muB"),
        "free_energy": record["free_energy_eV"],
        "reference_energy": record["reference_energy_eV"],
        "net_force": math.hypot(*(math.fsum(column) for column in zip(*record["forces_eV_per_A"], strict=True))),
        "kpts": record["kpts"]["size"],
        "n_kpts_irreducible": record["n_kpts_irreducible"],
        "scf_iterations": record["scf_iterations"],
        "wall_seconds": record["wall_s"],
        "cpu_seconds": record["cpu_s"],
    }


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False)


def _summary(rows: Sequence[Mapping[str, Any]], out: Path) -> Built:
    from ase.data import chemical_symbols

    complete = Counter(row["pair_id"] for row in rows if row["status"] == "ok")
    paired = [row for row in rows if complete[row["pair_id"]] == len(XC)]
    return Built(
        path=out,
        records=len(rows),
        pairs=len(paired) // len(XC),
        failed=sum(row["status"] != "ok" for row in rows),
        materials=len({row["material_id"] for row in paired}),
        elements=tuple(chemical_symbols[z] for z in sorted({z for row in paired for z in row["numbers"]})),
        versions=len({row["versions"] for row in rows}),
        sha256=storage.sha256(out),
    )
