"""Your own pairs: extended XYZ, any format ASE reads, or Parquet. ``hub`` reads the Parquet of a data set on the Hub likewise.

Two files, or one that holds both functionals. What a frame is comes from, in this order:

| what | extended XYZ and ASE | Parquet |
|---|---|---|
| functional | ``functional`` in ``info``, else ``FUNCTIONAL=FILE`` on the command line | column ``functional``, else the same |
| pair | ``pair_id`` in ``info``, else see below | column ``pair_id``, else see below |
| material | ``material_id`` in ``info``, else the reduced formula | column ``material_id``, else the reduced formula |
| labels | the calculator's results, else ``REF_energy``, ``REF_forces``, ``REF_stress`` as MACE writes them | columns ``energy``, ``forces``, ``stress``, ``magmoms`` |
| correction | ``correction`` in ``info`` | column ``correction`` |

Units and signs are ASE's, which are those of the package: eV, eV/Å, eV/Å³ with tension positive, µB. They are checked as
far as the data allow (``work``).

The two frames of a pair have the same geometry, unless ``same_material`` is declared. Without any ``pair_id``, frames of the
same geometry are joined by structure (``same_structure``): species in order, lattice and coordinates within the tolerance of
``pairing``, 1e-6 Å, whole lattice vectors aside. Frames of the same material are joined by ``material_id``, which they must
have. The Parquet columns are those of a prepared data set; ``numbers``, ``positions``, ``cell`` and ``energy`` must be there.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xferbench.errors import FormatError, UsageError
from xferbench.pairing import UNKNOWN_ELEMENT, WRONG_SHAPE
from xferbench.records import Drop, Frame, Functional, Geometry, SourceDataset, SplitRule
from xferbench.sources.reading import (
    MISSING_FIELD,
    UNKNOWN_FUNCTIONAL,
    Unusable,
    array,
    energy,
    field,
    number,
)
from xferbench.sources.rows import rows
from xferbench.sources.same_structure import joined
from xferbench.sources.stream import FrameStream, local_files, local_version
from xferbench.sources.work import checked
from xferbench.storage import disk_errors
from xferbench.units import voigt_to_matrix

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import pyarrow as pa
    from ase import Atoms
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]
    Record = Mapping[str, Any]

SPELLINGS = {
    "pbe": Functional.PBE,
    "pbe+u": Functional.PBE_U,
    "pbe_u": Functional.PBE_U,
    "r2scan": Functional.R2SCAN,
    "r²scan": Functional.R2SCAN,
}
HEAVIEST = 118
COLUMNS = ("numbers", "positions", "cell", "energy")
"""Of Parquet, that must be there."""

SPLIT = SplitRule(salt="user", fractions=(0.8, 0.1, 0.1), group="material_id of the files, else reduced formula")
CARD = """Files of a user, read as they are: energies in eV, forces in eV/Å, stress in eV/Å³ with tension positive, moments in
µB. Nothing more is known of how they were computed."""


def load_extxyz(*, paths: Sequence[Path] = (), geometry: Geometry | None = None) -> SourceDataset:
    """Your own pairs in extended XYZ: two files, or one with a functional column."""
    return _load("extxyz", paths, geometry, (".xyz", ".extxyz"), partial(_ase_records, kind="extxyz"))


def load_ase(*, paths: Sequence[Path] = (), geometry: Geometry | None = None) -> SourceDataset:
    """Your own pairs in any format that ASE reads: trajectories, databases, outputs of DFT codes."""
    suffixes = (".traj", ".db", ".json", ".xml", ".xyz", ".extxyz")
    return _load("ase", paths, geometry, suffixes, partial(_ase_records, kind=None))


def load_parquet(*, paths: Sequence[Path] = (), geometry: Geometry | None = None) -> SourceDataset:
    """Your own pairs in Parquet, with the columns of a prepared data set."""
    return _load("parquet", paths, geometry, (".parquet", ".pq"), partial(rows, needed=COLUMNS))


def _load(
    name: str,
    paths: Sequence[Path],
    geometry: Geometry | None,
    suffixes: tuple[str, ...],
    records: Callable[[Path], Iterator[Record]],
) -> SourceDataset:
    """A data set of local files.

    Raises:
        UsageError: A functional is unknown.
        DataError: Nothing to read at ``paths``.
        StorageError: A path cannot be read.
    """
    files = [
        UserFile(path=file, functional=functional, place=file.name)
        for functional, path in map(declared, paths)
        for file in local_files([path], lambda item: item.endswith(suffixes), f"files ending in {', '.join(suffixes)}")
    ]
    return dataset(name, files, geometry, records)


@dataclass(frozen=True, slots=True, kw_only=True)
class UserFile:
    """A file of a user.

    Attributes:
        functional: Of all its frames; of those that do not say, nothing else is known.
        place: What it is called in ids and reasons.
    """

    path: Path
    functional: Functional | None
    place: str


def dataset(
    name: str, files: Sequence[UserFile], geometry: Geometry | None, records: Callable[[Path], Iterator[Record]]
) -> SourceDataset:
    """A data set of a user's files; without any it can be named but not read.

    Args:
        name: Of the source.
        files: Its files.
        geometry: What the two frames of a pair share; the same geometry if not given.
        records: Reads a file.

    Raises:
        StorageError: A file cannot be read.
    """
    shared = geometry or Geometry.SAME_GEOMETRY

    def frames() -> Iterator[Frame | Drop]:
        return (item for file in files for item in _frames(file, shared, records))

    def read() -> Iterator[Frame | Drop | pa.Table]:
        if not files:
            raise UsageError(
                f"data set {name!r} is made from your files; give them with --from PATH or --from FUNCTIONAL=PATH"
            )
        return checked(_paired(frames, shared))

    stream = FrameStream(read=read)
    mark = "" if shared is Geometry.SAME_GEOMETRY else f"+{shared.value.replace('_', '-')}"
    return SourceDataset(
        name=name,
        version=f"{local_version(file.path for file in files)}{mark}" if files else "local",
        title=f"Local pairs from {', '.join(file.place for file in files) or 'your own files'}",
        licence="unknown",
        citation="none",
        card=CARD,
        geometry=shared,
        split=SPLIT,
        frames=stream,
        drops=stream.drops,
    )


def _paired(frames: Callable[[], Iterator[Frame | Drop]], geometry: Geometry) -> Iterator[Frame | Drop]:
    """Frames with a ``pair_id``: their own, or that of their structure if the first frame has none either."""
    items = frames()
    head: list[Frame | Drop] = []
    for item in items:
        head.append(item)
        if isinstance(item, Frame):
            break
    if not head or isinstance(head[-1], Drop) or head[-1].pair_id or geometry is Geometry.SAME_MATERIAL:
        return (_labelled(item) for item in chain(head, items))
    return joined(frames)


def _labelled(item: Frame | Drop) -> Frame | Drop:
    if isinstance(item, Drop) or item.pair_id:
        return item
    return Drop(record_id=item.frame_id, reason=MISSING_FIELD, detail="pair_id, which the first frame has")


def declared(path: Path) -> tuple[Functional | None, Path]:
    """``PBE=file`` -> the functional and the path.

    Raises:
        UsageError: A functional is unknown.
    """
    before, mark, after = str(path).partition("=")
    if not mark or "/" in before or path.exists():
        return None, path
    if before.lower() not in SPELLINGS:
        raise UsageError(
            f"--from {path}: {before!r} is no functional; known: {', '.join(item.value for item in Functional)}"
        )
    return SPELLINGS[before.lower()], Path(after)


def _frames(file: UserFile, geometry: Geometry, records: Callable[[Path], Iterator[Record]]) -> Iterator[Frame | Drop]:
    for i, record in enumerate(records(file.path)):
        place = f"{file.place}#{i}"
        try:
            yield frame(record, file.functional, place, geometry)
        except Unusable as problem:
            yield problem.drop(place)


def frame(
    record: Record, functional: Functional | None, place: str, geometry: Geometry = Geometry.SAME_GEOMETRY
) -> Frame:
    """One record as a frame.

    Args:
        record: Named as the columns of a prepared data set.
        functional: Of the file, where the record does not say.
        place: File and position, which is the frame's id if it has none.
        geometry: What the two frames of a pair share. Without ``pair_id`` of their own, frames of the same geometry have none
            yet, and frames of the same material have that of the material.

    Raises:
        Unusable: It gives none.
    """
    numbers = _atomic_numbers(record)
    n = len(numbers)
    cell, positions = _needed(record, "cell", (3, 3)), _needed(record, "positions", (n, 3))
    kind = _functional(record, functional)
    label = record.get("pair_id") or ""
    if not label and geometry is Geometry.SAME_MATERIAL:
        label = field(record, "material_id")
    return Frame(
        frame_id=str(record.get("frame_id") or place),
        pair_id=str(label),
        material_id=str(record.get("material_id") or _formula(numbers)),
        functional=kind,
        numbers=numbers,
        positions=positions,
        cell=cell,
        pbc=_pbc(record),
        energy=energy(record, "energy"),
        forces=array(record, "forces", (n, 3)),
        stress=_stress(record),
        magmoms=array(record, "magmoms", (n,)),
        correction=number(record, "correction"),
        provenance={**_provenance(record), "file": place},
    )


def _provenance(record: Record) -> dict[str, Any]:
    """What the record says of its origin, if that is JSON as in a prepared data set."""
    try:
        value = json.loads(record.get("provenance") or "{}")
    except (TypeError, ValueError) as error:
        raise Unusable(WRONG_SHAPE, f"provenance {record['provenance']!r:.40} is no JSON") from error
    return value if isinstance(value, dict) else {"provenance": value}


def _functional(record: Record, declared: Functional | None) -> Functional:
    value = record.get("functional")
    if value is None:
        if declared is None:
            raise Unusable(MISSING_FIELD, "functional; name it in the file or with --from FUNCTIONAL=PATH")
        return declared
    found = SPELLINGS.get(str(value).lower())
    if found is None:
        raise Unusable(UNKNOWN_FUNCTIONAL, str(value)[:40])
    if declared is not None and found is not declared:
        raise Unusable(UNKNOWN_FUNCTIONAL, f"{found.value} in a file given as {declared.value}")
    return found


def _needed(record: Record, name: str, shape: tuple[int, ...]) -> Floats:
    values = array(record, name, shape)
    if values is None:
        raise Unusable(MISSING_FIELD, name)
    return values


def _atomic_numbers(record: Record) -> Integers:
    values = np.asarray(field(record, "numbers"))
    if values.ndim != 1 or values.dtype.kind not in "iu" or len(values) == 0:
        raise Unusable(WRONG_SHAPE, f"numbers {values!r:.60}")
    if values.min() < 1 or values.max() > HEAVIEST:
        raise Unusable(UNKNOWN_ELEMENT, f"atomic numbers {values.min()} to {values.max()}")
    return values.astype(np.int64)


def _pbc(record: Record) -> tuple[bool, bool, bool]:
    value = record.get("pbc")
    a, b, c = (True, True, True) if value is None else (bool(item) for item in value)
    return a, b, c


def _stress(record: Record) -> Floats | None:
    """Six numbers in ASE's order, or nine."""
    value = record.get("stress")
    if value is None:
        return None
    size = np.asarray(value).size
    if size == 6:
        return voigt_to_matrix(_needed(record, "stress", (6,)))
    return _needed({"stress": np.asarray(value).reshape(3, 3)} if size == 9 else record, "stress", (3, 3))


def _formula(numbers: Integers) -> str:
    from ase import Atoms

    return str(Atoms(numbers=numbers).symbols.formula.reduce()[0].format("hill"))


def _ase_records(path: Path, kind: str | None) -> Iterator[Record]:
    """Frames of a file as ASE reads it.

    Raises:
        StorageError: It cannot be read.
        FormatError: ASE does not understand it.
    """
    from ase.io import iread

    with disk_errors("read", path):
        try:
            for atoms in iread(path, index=":", format=kind):
                yield _ase_record(atoms)
        except Exception as error:  # ASE's readers raise whatever their formats make of the bytes
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise FormatError(
                f"{path}: ASE cannot read it ({type(error).__name__}: {error}); check its format"
            ) from error


def _ase_record(atoms: Atoms) -> Record:
    info, arrays = atoms.info, atoms.arrays
    results = {} if atoms.calc is None else atoms.calc.results
    forces = results.get("forces", arrays.get("REF_forces"))
    stress = results.get("stress", info.get("REF_stress"))
    return {
        **{key: info.get(key) for key in ("functional", "pair_id", "material_id", "frame_id", "correction")},
        "numbers": atoms.numbers,
        "positions": atoms.positions,
        "cell": atoms.cell.array,
        "pbc": atoms.pbc.tolist(),
        "energy": results.get("energy", info.get("REF_energy")),
        "forces": forces,
        "stress": stress,
        "magmoms": results.get("magmoms", arrays.get("REF_magmoms")),
    }
