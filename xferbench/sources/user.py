"""Your own pairs: extended XYZ, any format ASE reads, or Parquet.

Two files, or one that holds both functionals. What a frame is comes from, in this order:

| what | extended XYZ and ASE | Parquet |
|---|---|---|
| functional | ``functional`` in ``info``, else ``FUNCTIONAL=FILE`` on the command line | column ``functional``, else the same |
| pair | ``pair_id`` in ``info``, else the structure itself | column ``pair_id``, else the structure itself |
| material | ``material_id`` in ``info``, else the reduced formula | column ``material_id``, else the reduced formula |
| labels | the calculator's results, else ``REF_energy``, ``REF_forces``, ``REF_stress`` as MACE writes them | columns ``energy``, ``forces``, ``stress``, ``magmoms`` |
| correction | ``correction`` in ``info`` | column ``correction`` |

Units and signs are ASE's, which are those of the package: eV, eV/Å, eV/Å³ with tension positive, µB. They are checked as
far as the data allow (``work``). Without ``pair_id``, two frames are a pair if species, lattice and coordinates agree to
1e-4 Å; two that lie on either side of a rounding edge are missed, and counted as ``no_partner``. The Parquet columns are
those of a prepared data set; ``numbers``, ``positions``, ``cell`` and ``energy`` must be there.
"""

from __future__ import annotations

import hashlib
from functools import partial
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
from xferbench.sources.stream import FrameStream, local_files, local_version
from xferbench.sources.work import checked
from xferbench.storage import disk_errors
from xferbench.units import voigt_to_matrix

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

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
PLACE = 1e-4
"""Å to which coordinates are rounded when frames are joined by structure."""

SPLIT = SplitRule(salt="user", fractions=(0.8, 0.1, 0.1), group="material_id of the files, else reduced formula")
CARD = """Files of a user, read as they are: energies in eV, forces in eV/Å, stress in eV/Å³ with tension positive, moments in
µB. Nothing more is known of how they were computed."""


def load_extxyz(*, paths: Sequence[Path] = ()) -> SourceDataset:
    """Your own pairs in extended XYZ: two files, or one with a functional column."""
    return _load("extxyz", paths, (".xyz", ".extxyz"), partial(_ase_records, kind="extxyz"))


def load_ase(*, paths: Sequence[Path] = ()) -> SourceDataset:
    """Your own pairs in any format that ASE reads: trajectories, databases, outputs of DFT codes."""
    return _load("ase", paths, (".traj", ".db", ".json", ".xml", ".xyz", ".extxyz"), partial(_ase_records, kind=None))


def load_parquet(*, paths: Sequence[Path] = ()) -> SourceDataset:
    """Your own pairs in Parquet, with the columns of a prepared data set."""
    return _load("parquet", paths, (".parquet", ".pq"), _parquet_records)


def _load(
    name: str, paths: Sequence[Path], suffixes: tuple[str, ...], records: Callable[[Path], Iterator[Record]]
) -> SourceDataset:
    """A data set of local files; without any it can be named but not read.

    Raises:
        UsageError: A functional is unknown.
        DataError: Nothing to read at ``paths``.
        StorageError: A path cannot be read.
    """
    files = [
        (file, functional)
        for functional, path in map(_declared, paths)
        for file in local_files([path], lambda item: item.endswith(suffixes), f"files ending in {', '.join(suffixes)}")
    ]

    def read() -> Iterator[Frame | Drop]:
        if not files:
            raise UsageError(
                f"data set {name!r} is made from your files; give them with --from PATH or --from FUNCTIONAL=PATH"
            )
        return checked(item for path, functional in files for item in _frames(path, functional, records))

    stream = FrameStream(read=read)
    return SourceDataset(
        name=name,
        version=local_version(path for path, _ in files) if files else "local",
        title=f"Local pairs from {', '.join(path.name for path, _ in files) or 'your own files'}",
        licence="unknown",
        citation="none",
        card=CARD,
        geometry=Geometry.SAME_GEOMETRY,
        split=SPLIT,
        frames=stream,
        drops=stream.drops,
    )


def _declared(path: Path) -> tuple[Functional | None, Path]:
    """``PBE=file`` -> the functional and the path."""
    before, mark, after = str(path).partition("=")
    if not mark or "/" in before or path.exists():
        return None, path
    if before.lower() not in SPELLINGS:
        raise UsageError(
            f"--from {path}: {before!r} is no functional; known: {', '.join(item.value for item in Functional)}"
        )
    return SPELLINGS[before.lower()], Path(after)


def _frames(
    path: Path, functional: Functional | None, records: Callable[[Path], Iterator[Record]]
) -> Iterator[Frame | Drop]:
    for i, record in enumerate(records(path)):
        try:
            yield frame(record, functional, f"{path.name}#{i}")
        except Unusable as problem:
            yield problem.drop(f"{path.name}#{i}")


def frame(record: Record, functional: Functional | None, place: str) -> Frame:
    """One record as a frame.

    Args:
        record: Named as the columns of a prepared data set.
        functional: Of the file, where the record does not say.
        place: File and position, which is the frame's id if it has none.

    Raises:
        Unusable: It gives none.
    """
    numbers = _atomic_numbers(record)
    n = len(numbers)
    cell, positions = _needed(record, "cell", (3, 3)), _needed(record, "positions", (n, 3))
    kind = _functional(record, functional)
    label = record.get("pair_id") or structure_key(numbers, positions, cell)
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
        provenance={"file": place},
    )


def structure_key(numbers: Integers, positions: Floats, cell: Floats) -> str:
    """A name for a structure: equal for frames whose coordinates round to the same 1e-4 Å."""
    digest = hashlib.sha256(np.asarray(numbers, dtype="<i8").tobytes())
    for values in (cell, positions):
        digest.update((np.rint(np.asarray(values) / PLACE) + 0.0).astype("<i8").tobytes())
    return f"structure-{digest.hexdigest()[:16]}"


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


def _parquet_records(path: Path) -> Iterator[Record]:
    """Rows of a Parquet file, a batch at a time.

    Raises:
        StorageError: It cannot be read.
        FormatError: It is not Parquet, or lacks a column.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with disk_errors("read", path), path.open("rb") as stream:
        try:
            table = pq.ParquetFile(stream)
            missing = {"numbers", "positions", "cell", "energy"} - set(table.schema_arrow.names)
            if missing:
                raise FormatError(f"{path} lacks the columns {', '.join(sorted(missing))}")
            for batch in table.iter_batches(batch_size=1024):
                yield from batch.to_pylist()
        except pa.ArrowException as error:
            raise FormatError(f"{path} is no readable Parquet file ({error})") from error
