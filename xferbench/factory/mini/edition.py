"""Records of the factory -> the Parquet file and the card of the second edition, with whatever is finished."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from xferbench.errors import FormatError
from xferbench.factory.mini import accuracy
from xferbench.factory.mini.meshes import LEFT_OUT
from xferbench.factory.mini.plan import Stopped
from xferbench.factory.mini.structures import MOMENTS, seeds
from xferbench.factory.mini.work import Archive, found_out
from xferbench.sources.mini import build as table
from xferbench.storage import write_bytes
from xferbench.units import EV_PER_A3_IN_GPA

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from xferbench.factory.mini.plan import Outcome, Record
    from xferbench.factory.mini.structures import Seed

    Row = Mapping[str, Any]

CARD = Path(__file__).with_name("card.md")
"""Template of the card; what stands in it as ``$name`` is counted."""

COPY = re.compile(r"[vcsrw]\d")
"""Copies of the second edition; ``v`` of the first are called alike."""

FIRST_EDITION_ONLY = re.compile(r"v2|(rattle|strain)\d+")
"""Copies at the volume where a model that is now ranked has no pressure: for training only."""

ACCURACY_FIELDS = (
    pa.field("pulay_stress", pa.float64()),
    pa.field("kmesh_energy_error", pa.float64()),
    pa.field("kmesh_pressure_error", pa.float64()),
    pa.field("kmesh_confirmed", pa.bool_()),
    pa.field("free_shape", pa.bool_()),
)
"""What to add to the diagonal of the stress for an incomplete basis, eV/Å³; how far a denser mesh is at most, in eV/atom
and eV/Å³ (of the densest: the one before); whether two denser meshes confirm it; whether the shape was relaxed in PBE."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Edition:
    """What the finished crystals of an archive make.

    Attributes:
        rows: Of the table, by id, with ``ACCURACY_FIELDS``.
        stopped: Crystals that have no labels, with the reason.
        accuracy: Table of measured errors, Markdown.
    """

    rows: tuple[Row, ...]
    stopped: Mapping[str, str]
    accuracy: str


def edition(files: Iterable[Path], scans: Path | None) -> Edition:
    """The rows of all crystals whose core is there.

    Raises:
        StorageError: A file cannot be read.
        FormatError: A file breaks the format.
    """
    files = list(files)
    archive = Archive(files, scans)
    records: dict[str, list[Record]] = {}
    for record in archive.records():
        records.setdefault(record["seed_structure"], []).append(record)
    rows: list[Row] = []
    stopped = {}
    for seed in seeds().values():
        end = found_out(seed, archive)
        if isinstance(end, Stopped):
            stopped[seed.name] = str(end)
        elif end is not None:
            rows += [
                table.row(record) | _accuracy(seed, end, record)
                for record in records[seed.name]
                if _belongs(seed, record["perturbation"])
            ]
    return Edition(
        rows=tuple(sorted(rows, key=lambda row: str(row["record_id"]))),
        stopped=stopped,
        accuracy=str(accuracy.table(files, scans)),
    )


def build(files: Iterable[Path], scans: Path | None, out: Path, card: Path | None = None) -> table.Built:
    """Write the table of the second edition, and its card.

    Args:
        files: Record files.
        scans: Of the first edition.
        out: Parquet.
        card: Markdown; not written if not given.

    Raises:
        StorageError: A file cannot be read or written.
        FormatError: A file breaks the format, or no crystal is finished.
    """
    made = edition(files, scans)
    if not made.rows:
        raise FormatError(
            "no crystal of these records is finished, so nothing was built; `mini status` says what is missing"
        )
    built = table.write(made.rows, out, ACCURACY_FIELDS)
    if card is not None:
        write_bytes(card, card_text(made).encode())
    return built


def card_text(made: Edition) -> str:
    """The card, every figure in it counted from the rows."""
    return Template(CARD.read_text(encoding="utf-8")).substitute(facts(made))


def facts(made: Edition) -> dict[str, str]:
    """Placeholder of the card -> what it stands for."""
    complete = Counter(row["pair_id"] for row in made.rows if row["status"] == "ok")
    pairs = [row for row in made.rows if row["functional"] == "r2SCAN" and complete[row["pair_id"]] == 2]
    by_name = {name: seed for name, seed in seeds().items() if name in {row["seed_structure"] for row in pairs}}
    materials = {seed.material: seed for seed in by_name.values()}
    splits = Counter(seed.split for seed in materials.values())
    copies = Counter(row["perturbation"] for row in pairs)
    forces = [row for row in pairs if np.abs(row["forces"]).max() >= 0.05]
    confirmed = {row["seed_structure"] for row in pairs if row["kmesh_confirmed"]}
    errors = [1000 * row["kmesh_energy_error"] for row in pairs if not row["kmesh_confirmed"]]
    pulay = sorted(abs(row["pulay_stress"]) * EV_PER_A3_IN_GPA for row in pairs)
    magnetic = {m for m, seed in materials.items() if set(seed.atoms.get_chemical_symbols()) & set(MOMENTS)}
    elements = sorted({symbol for seed in by_name.values() for symbol in seed.atoms.get_chemical_symbols()})
    return {
        "pairs": str(len(pairs)),
        "failed": str(sum(row["status"] != "ok" for row in made.rows)),
        "compositions": str(len(materials)),
        "crystals": str(len(by_name)),
        "prototypes": str(len({seed.prototype for seed in by_name.values()})),
        "train": str(splits["train"]),
        "val": str(splits["val"]),
        "test": str(splits["test"]),
        "elements": str(len(elements)),
        "symbols": " ".join(elements),
        "magnetic": str(len(magnetic)),
        "largest": str(max((len(row["numbers"]) for row in pairs), default=0)),
        "force_frames": str(len(forces)),
        "force_materials": str(len({row["material_id"] for row in forces})),
        "confirmed": str(len(confirmed)),
        "unconfirmed": str(len(by_name) - len(confirmed)),
        "worst_mesh": f"{max(errors, default=0.0):.1f}",
        "limit": f"{LEFT_OUT:g}",
        "left_out": str(len(made.stopped)),
        "left_out_list": "; ".join(f"{name} ({reason})" for name, reason in made.stopped.items()) or "none",
        "accuracy": made.accuracy,
        "pulay_median": f"{pulay[len(pulay) // 2]:.2f}" if pulay else "0",
        "pulay_largest": f"{pulay[-1]:.2f}" if pulay else "0",
        "copies": "\n".join(f"| `{name}` | {_meaning(name)} | {copies[name]} |" for name in sorted(copies)),
    }


def _belongs(seed: Seed, copy: str) -> bool:
    """Whether a copy is part of the data set."""
    if FIRST_EDITION_ONLY.fullmatch(copy):
        return seed.split != "test"
    return COPY.fullmatch(copy) is not None


def _accuracy(seed: Seed, outcome: Outcome, record: Record) -> dict[str, Any]:
    """The row's ``ACCURACY_FIELDS``."""
    volume = abs(np.linalg.det(record["structure"]["lattice_A"]))
    return {
        "pulay_stress": float(outcome.pulay[record["functional"]] / volume),
        "kmesh_energy_error": outcome.choice.energy_error / 1000,
        "kmesh_pressure_error": outcome.choice.pressure_error / EV_PER_A3_IN_GPA,
        "kmesh_confirmed": outcome.choice.confirmed,
        "free_shape": seed.free_shape,
    }


def _meaning(copy: str) -> str:
    """What a kind of copy is, for the card."""
    volumes = {"v0": 0.88, "v1": 0.94, "v2": 1.00, "v3": 1.06, "v4": 1.13}
    if copy in volumes:
        return f"{volumes[copy]:.2f} of the volume without pressure in PBE"
    meanings = {
        "c": "unperturbed, at the mean of the volumes without pressure in PBE and r²SCAN",
        "s": "a random strain of up to 5 %",
        "w": "normal displacements of 0.25 Å, a strain of up to 2 %",
    }
    first = {"rattle": "as `r0`, of the first edition", "strain": "as `s0`, of the first edition"}
    word = copy.rstrip("0123456789")
    return first.get(word) or meanings.get(word, "normal displacements of 0.12 Å, a strain of up to 2 %")
