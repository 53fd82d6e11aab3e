"""Energies of the Materials Project: the relaxed states of one material in GGA or GGA+U and in r²SCAN.

- Home: https://materialsproject.org, API https://api.materialsproject.org; client ``mp-api`` (``pip install ".[mp]"``)
- Licence: CC BY 4.0. The batch ``gnome_r2scan_statics`` is CC BY-NC 4.0 and is left out.
- A key of the Materials Project is needed, in ``MP_API_KEY``. It goes to the client and nowhere else.

**From the API**, one thermodynamic document for each material and scheme. Its entries have structures. Shortened::

    {"material_id": "mp-22862", "thermo_type": "GGA_GGA+U", "builder_meta": {"license": "BY-C", "batch_id": null, ...},
     "entries": {"GGA": {"entry_id": "mp-22862-GGA", "energy": -6.8, "correction": -0.614, "composition": {"Na": 1, "Cl": 1},
                         "structure": {...}, "parameters": {"run_type": "GGA", ...}, "data": {...}}}}

Lists of such entries, as ``MPRester.get_entries`` gives them, are read as well.

**From tables** in the layout of RxnNet (https://github.com/rasmusfr/RxnNet, MIT), without structures::

    material_id,e_gga_gga_u,e_r2scan,composition
    mp-1005,-7.540084815,-12.10395031625,Fe4 P4

| field | raw | here |
|---|---|---|
| energy of an entry | eV of the whole cell, uncorrected | as is |
| correction of an entry | eV of the whole cell, what MP2020 adds | ``correction`` |
| e_gga_gga_u of a table | eV/atom, **with** the MP2020 correction, which the table does not state | × atoms of the reduced formula; ``corrected`` in the provenance |
| e_r2scan of a table | eV/atom, uncorrected | × atoms of the reduced formula |

The two structures of a material are relaxed apart and must be the same phase (``same_material``); from tables there are
``energies_only``. An entry states whether it used a Hubbard U; for a table the rule of ``mptrj`` decides by the composition.
"""

from __future__ import annotations

import csv
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from xferbench.errors import UsageError
from xferbench.functionals import Functional, Pair
from xferbench.records import Drop, Frame, Geometry, SourceDataset, SplitRule
from xferbench.sources.documents import documents
from xferbench.sources.materials_project import fetched, is_non_commercial
from xferbench.sources.mptrj import hubbard
from xferbench.sources.reading import (
    INCONSISTENT,
    MISSING_FIELD,
    NON_COMMERCIAL,
    NOT_A_NUMBER,
    REPEATED_RECORD,
    UNKNOWN_FUNCTIONAL,
    Unusable,
    atomic_numbers,
    energy,
    mapping,
    number,
    structure,
    text,
)
from xferbench.sources.stream import FrameStream, local_files, local_version
from xferbench.storage import disk_errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Integers = NDArray[np.int64]

PAIR = Pair(source=(Functional("PBE"), Functional("PBE+U")), target=(Functional("r2SCAN"),))
MIXED = "GGA_GGA+U_R2SCAN"
"""The scheme that puts r2SCAN energies onto the scale of GGA ones."""

COLUMNS = ("material_id", "composition", "e_gga_gga_u", "e_r2scan")
TOLERANCE = 1e-6
"""Atoms by which the composition of an entry may differ from its structure."""

SPLIT = SplitRule(salt="mp-thermo", fractions=(0.8, 0.1, 0.1), group="Materials Project id")
CITATION = """@article{jain2013commentary,
  title = {Commentary: The Materials Project: A materials genome approach to accelerating materials innovation},
  author = {Jain, Anubhav and Ong, Shyue Ping and Hautier, Geoffroy and Chen, Wei and Richards, William Davidson and
            Dacek, Stephen and Cholia, Shreyas and Gunter, Dan and Skinner, David and Ceder, Gerbrand and
            Persson, Kristin A.},
  journal = {APL Materials},
  volume = {1},
  pages = {011002},
  year = {2013}
}"""
CARD = """Energies of relaxed materials of the Materials Project in GGA or GGA+U and in r²SCAN, joined by Materials Project id. Each
side has the geometry of its own functional. `energy` is uncorrected; the MP2020 correction of the GGA side is in `correction`.
There are no forces and no stress. Documents of the batch `gnome_r2scan_statics` (CC BY-NC 4.0) are left out."""
TABLE_CARD = """Energies of relaxed materials of the Materials Project in GGA or GGA+U and in r²SCAN, from tables without structures: each
frame has the atoms of its reduced formula and no places. The GGA energies **include the MP2020 correction**, which the tables do
not state apart (`corrected` in `provenance`); r²SCAN energies are uncorrected. Which ones used a Hubbard U follows from the
composition by the rule of the Materials Project's input sets."""


def load(*, paths: Sequence[Path] = (), cache_dir: Path | None = None, offline: bool = False) -> SourceDataset:
    """The pairs of relaxed energies. Nothing is fetched or read before the first frame is asked for.

    Args:
        paths: Local files, or directories of them, instead of the API: tables (``.csv``) or documents (``.json``, ``.jsonl``).
        cache_dir: Where the documents of the API are kept.
        offline: Forbid the network.

    Raises:
        UsageError: Tables and documents at once.
        DataError: Nothing to read at ``paths``.
        StorageError: A path cannot be read.
    """
    files = local_files(paths, _is_ours, "tables (*.csv) or documents (*.json, *.jsonl)") if paths else []
    tables = [path for path in files if path.suffix == ".csv"]
    if tables and len(tables) < len(files):
        raise UsageError("tables have no structures and documents have: give either kind with --from, not both")

    def read() -> Iterator[Frame | Drop]:
        if tables:
            return _from_tables(tables)
        return (item for path in files or [fetched(cache_dir, offline=offline)] for item in _from_documents(path))

    stream = FrameStream(read=read)
    return SourceDataset(
        name="mp-thermo",
        version=local_version(files) if files else "api",
        title="Materials Project: relaxed energies in GGA(+U) and r²SCAN",
        licence="cc-by-4.0",
        citation=CITATION,
        card=TABLE_CARD if tables else CARD,
        functionals=PAIR,
        geometry=Geometry.ENERGIES_ONLY if tables else Geometry.SAME_MATERIAL,
        split=SPLIT,
        frames=stream,
        drops=stream.drops,
    )


def _is_ours(name: str) -> bool:
    return name.lower().removesuffix(".gz").endswith((".csv", ".json", ".jsonl"))


def _from_documents(path: Path) -> Iterator[Frame | Drop]:
    """The frames of thermodynamic documents, or of entries."""
    for document in documents(path):
        name = document.value.get("material_id") or document.value.get("entry_id") or f"{path.name}#{document.key}"
        scheme = document.value.get("thermo_type", "entry")
        try:
            found = _entries(document.value)
        except Unusable as problem:
            yield problem.drop(f"{name}-{scheme}")
            continue
        for material, run_type, entry in found:
            try:
                yield frame(material, run_type, entry)
            except Unusable as problem:
                yield problem.drop(f"{name}-{run_type}")


def _entries(document: Mapping[str, Any]) -> list[tuple[str, str, Mapping[str, Any]]]:
    """Material, run type and entry of everything a document holds.

    Raises:
        Unusable: Nothing that may be used.
    """
    if is_non_commercial(document):
        raise Unusable(NON_COMMERCIAL, "CC BY-NC 4.0")
    if document.get("entries") is None:
        return [(_material(document), _run_type(document), document)]
    if str(document.get("thermo_type")).upper() == MIXED:
        raise Unusable(UNKNOWN_FUNCTIONAL, f"{MIXED} mixes functionals")
    entries = mapping(document, "entries")
    chosen = str(document.get("energy_type"))
    names = [chosen] if chosen in entries else sorted(entries)
    return [(text(document, "material_id"), name, mapping(entries, name)) for name in names]


def _material(entry: Mapping[str, Any]) -> str:
    """The Materials Project id of an entry, whose own id is ``mp-604313-GGA``."""
    stated = (entry.get("data") or {}).get("material_id")
    found = re.match(r"m(?:p|vc)-[0-9a-z]+", str(stated or entry.get("entry_id")))
    if found is None:
        raise Unusable(MISSING_FIELD, "material_id")
    return found[0]


def _run_type(entry: Mapping[str, Any]) -> str:
    found = [(entry.get(key) or {}).get("run_type") for key in ("parameters", "data")]
    return text({"run_type": next((value for value in found if value), None)}, "run_type")


def frame(material: str, run_type: str, entry: Mapping[str, Any]) -> Frame:
    """One entry as a frame; see the module for units.

    Args:
        material: Materials Project id.
        run_type: What the Materials Project calls the functional.
        entry: A ``ComputedStructureEntry`` as its ``as_dict`` writes it.

    Raises:
        Unusable: It gives none.
    """
    functional = Functional.get(run_type)
    if functional is None or PAIR.side_of(functional) is None:
        raise Unusable(UNKNOWN_FUNCTIONAL, run_type[:40])
    crystal = structure(mapping(entry, "structure"))
    n = len(crystal["numbers"])
    atoms = sum(number(mapping(entry, "composition"), symbol) or 0.0 for symbol in mapping(entry, "composition"))
    if abs(atoms - n) > TOLERANCE:
        raise Unusable(INCONSISTENT, f"composition of {atoms:g} atoms, structure of {n}")
    return Frame(
        frame_id=f"{material}-{functional}",
        pair_id=material,
        material_id=material,
        functional=functional,
        energy=energy(entry, "energy"),
        correction=number(entry, "correction"),
        provenance={"entry": entry.get("entry_id"), "run_type": run_type},
        **crystal,
    )


def _from_tables(paths: Sequence[Path]) -> Iterator[Frame | Drop]:
    """The frames of tables. An energy that several tables state alike is read once."""
    seen: dict[str, Frame] = {}
    for path in paths:
        with disk_errors("read", path), path.open(newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                yield Drop(record_id=path.name, reason=MISSING_FIELD, detail=f"columns {', '.join(missing)}")
                continue
            for i, row in enumerate(reader):
                yield from _row(row, f"{path.name}#{i}", seen)


def _row(row: Mapping[str, str], place: str, seen: dict[str, Frame]) -> Iterator[Frame | Drop]:
    """The frames of one row: one for each energy that it has."""
    for column in ("e_gga_gga_u", "e_r2scan"):
        if not row[column]:
            continue
        try:
            made = _without_structure(row, column)
        except Unusable as problem:
            yield problem.drop(f"{place}-{column}")
            continue
        before = seen.setdefault(made.frame_id, made)
        if before is not made and before.energy == made.energy and np.array_equal(before.numbers, made.numbers):
            yield Drop(record_id=f"{place}-{column}", reason=REPEATED_RECORD, detail=made.frame_id)
        else:
            yield made


def _without_structure(row: Mapping[str, str], column: str) -> Frame:
    """One energy of a row as a frame of the reduced formula."""
    try:
        numbers = atoms_of(row["composition"])
    except ValueError as error:
        raise Unusable(MISSING_FIELD, str(error)) from error
    elements, counts = np.unique(numbers, return_counts=True)
    numbers = np.repeat(elements, counts // np.gcd.reduce(counts))
    functional = Functional("r2SCAN") if column == "e_r2scan" else hubbard(numbers)
    try:
        per_atom = float(row[column])
    except ValueError as error:
        raise Unusable(NOT_A_NUMBER, f"{column} {row[column]!r:.40}") from error
    return Frame(
        frame_id=f"{row['material_id']}-{functional}",
        pair_id=row["material_id"],
        material_id=row["material_id"],
        functional=functional,
        numbers=numbers,
        positions=np.empty((0, 3)),
        cell=np.zeros((3, 3)),
        energy=per_atom * len(numbers),
        provenance={"column": column, "corrected": PAIR.side_of(functional) == "source"},
    )


def atoms_of(composition: str) -> Integers:
    """``Fe4 P4`` -> atomic numbers of eight atoms.

    >>> atoms_of("Li1 H2").tolist()
    [3, 1, 1]

    Raises:
        ValueError: It is no composition of whole atoms.
        Unusable: An element is unknown.
    """
    parts = [re.fullmatch(r"([A-Z][a-z]?)(\d+)", part) for part in composition.split()]
    counts = [(part[1], int(part[2])) for part in parts if part]
    if len(counts) < len(parts) or not counts:
        raise ValueError(f"{composition!r:.40} is no composition like 'Fe4 P4'")
    return np.repeat(atomic_numbers([symbol for symbol, _ in counts]), [count for _, count in counts])
