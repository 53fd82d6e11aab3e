"""``mini``: our own density-functional calculations, PBE and r²SCAN on the same geometries, embedded in the package.

| file | what |
|---|---|
| ``records.jsonl`` | raw records, one calculation per line; units and signs in ``recordfile``; licence CC BY 4.0 |
| ``mini.parquet`` | the same as a table, made by ``build``; what ``load`` reads |
| ``atoms.jsonl`` | records of isolated atoms, read by ``atoms`` |
| ``card.md`` | how the labels were computed, units, limits |

``xferbench.factory.mini`` makes records, and recomputes them to compare.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xferbench import storage, tables
from xferbench.functionals import Functional, Pair
from xferbench.records import Drop, Geometry, SourceDataset, SplitRule

if TYPE_CHECKING:
    from collections.abc import Mapping

    from xferbench.records import Frame

CARD = Path(__file__).with_name("card.md")

VERSION = "1"
"""Of what the data mean: protocol, columns, ids, split. Adding or correcting records keeps it; they change the data set's
fingerprint, which tasks pin and ``prepare`` checks. A changed protocol, material id or split rule raises it."""

PAIR = Pair(source=(Functional("PBE"),), target=(Functional("r2SCAN"),))
SPLIT = SplitRule(salt="mini-201", fractions=(0.55, 0.10, 0.35), group="reduced composition")
"""``factory.mini.salt.choose`` found the salt, from compositions alone."""

ACCURACY = ("pulay_stress", "kmesh_energy_error", "kmesh_pressure_error", "kmesh_confirmed", "free_shape")
"""Columns of the second edition that say how accurate a label is; ``factory.mini.edition`` describes them."""

CITATION = """@misc{xferbench_mini,
  title = {mini: paired PBE and r2SCAN energies, forces and stresses of small crystals},
  author = {{The xferbench developers}},
  note = {Data set of xferbench, version 1; computed with GPAW}
}"""


def load() -> SourceDataset:
    """The embedded pairs. A calculation that failed, or whose partner failed, becomes a drop.

    Raises:
        StorageError: The package is incomplete.
        IntegrityError: The embedded table is truncated or altered.
    """
    from xferbench.sources.mini.atoms import energies
    from xferbench.sources.mini.build import PARQUET
    from xferbench.sources.mini.checks import XC

    rows = tables.read_table(PARQUET).to_pylist()
    computed = Counter(row["pair_id"] for row in rows if row["status"] == "ok")
    frames, drops = [], []
    for row in rows:
        if row["status"] != "ok":
            drops.append(
                Drop(record_id=row["record_id"], reason="calculation failed", detail=row["error"].rstrip(": "))
            )
        elif computed[row["pair_id"]] < len(XC):
            detail = (
                f"no {' or '.join(other for other in XC if other != row['functional'])} calculation of {row['pair_id']}"
            )
            drops.append(Drop(record_id=row["record_id"], reason="partner missing or failed", detail=detail))
        else:
            frames.append(_frame(row))
    return SourceDataset(
        name="mini",
        version=VERSION,
        title="mini: small crystals in PBE and r²SCAN",
        licence="cc-by-4.0",
        citation=CITATION,
        card=storage.read_bytes(CARD).decode(),
        functionals=PAIR,
        geometry=Geometry.SAME_GEOMETRY,
        split=SPLIT,
        frames=frames,
        drops=drops,
        atom_energies=energies(),
    )


def _frame(row: Mapping[str, Any]) -> Frame:
    provenance = {
        key: row[key] for key in ("seed_structure", "prototype", "perturbation", "kpts", "net_force", "free_energy")
    }
    provenance |= {key: row[key] for key in ACCURACY if row.get(key) is not None}
    provenance |= {"settings": json.loads(row["settings"]), "versions": json.loads(row["versions"])}
    return tables.row_frame(
        {**row, "frame_id": row["record_id"], "correction": None, "provenance": json.dumps(provenance)}
    )
