"""Your own pairs: extended XYZ, any format ASE reads, or Parquet; packed or not, in folders or not (``foreign``).

``hub`` reads the Parquet of a data set on the Hub likewise.

Two files, or one that holds both functionals. Which of them is the source and which the target follows from Jacob's ladder:
the lower rung is the source. Of two on one rung, the one named first with ``--from FUNCTIONAL=FILE``. What a frame is comes from, in this order:

| what | extended XYZ and ASE | Parquet |
|---|---|---|
| functional | ``functional`` in ``info`` or in ``key_value_pairs``, else ``FUNCTIONAL=FILE`` on the command line | column ``functional``, else the same |
| pair | ``pair_id`` likewise, else see below | column ``pair_id``, else see below |
| material | ``material_id`` likewise, else the reduced formula | column ``material_id``, else the reduced formula |
| labels | ``REF_energy`` and other references, else the calculator's results: the names of ``labels`` | columns of these names |
| correction | ``correction`` in ``info`` | column ``correction`` |

A frame without ``frame_id`` is called by its file and place: the path below the argument, with as much of the folders above as tells
files apart. The same record again, word for word, is left out and counted.

Units and signs are ASE's, which are those of the package: eV, eV/Å, eV/Å³ with tension positive, µB. They are checked as
far as the data allow (``work``).

The two frames of a pair have the same geometry, unless ``same_material`` is declared. Without any ``pair_id``, frames of the
same geometry are joined by structure (``same_structure``): species in order, lattice and coordinates within the tolerance of
``pairing``, 1e-6 Å, whole lattice vectors aside. Frames of the same material are joined by ``material_id``, which they must
have. The Parquet columns are those of a prepared data set; ``numbers``, ``positions``, ``cell`` and ``energy`` must be there.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections import Counter
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xferbench.errors import FormatError, UnknownNameError, UsageError
from xferbench.functionals import SIDES, Functional, Pair, by_ladder, names
from xferbench.pairing import UNKNOWN_ELEMENT, WRONG_SHAPE
from xferbench.records import Drop, Frame, Geometry, SourceDataset, SplitRule
from xferbench.sources.foreign import atoms_records, plain_files
from xferbench.sources.labels import Heard, labels
from xferbench.sources.reading import (
    MISSING_FIELD,
    NO_CELL,
    REPEATED_RECORD,
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
from xferbench.units import voigt_to_matrix

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]
    Record = Mapping[str, Any]

HEAVIEST = 118
log = logging.getLogger(__name__)
COLUMNS = ("numbers", "positions", "cell", "energy")
"""Of Parquet, that must be there."""

SPLIT = SplitRule(salt="user", fractions=(0.8, 0.1, 0.1), group="material_id of the files, else reduced formula")
CARD = """Files of a user, read as they are: energies in eV, forces in eV/Å, stress in eV/Å³ with tension positive, moments in
µB. Nothing more is known of how they were computed."""


def load_extxyz(*, paths: Sequence[Path] = (), geometry: Geometry | None = None) -> SourceDataset:
    """Your own pairs in extended XYZ: two files, or one with a functional column."""
    return _load("extxyz", paths, geometry, r"\.xyz|\.extxyz", _xyz_file)


def load_ase(*, paths: Sequence[Path] = (), geometry: Geometry | None = None) -> SourceDataset:
    """Your own pairs in any format that ASE reads: trajectories, databases, trees of calculations."""
    accept = r"\.traj|\.db|\.json|\.xml|\.xyz|\.extxyz|^OUTCAR[^/]*"
    return _load("ase", paths, geometry, accept, _ase_file)


def load_parquet(*, paths: Sequence[Path] = (), geometry: Geometry | None = None) -> SourceDataset:
    """Your own pairs in Parquet, with the columns of a prepared data set."""
    return _load("parquet", paths, geometry, r"\.parquet|\.pq", _parquet_file)


PACKING = r"(\.(gz|bz2|xz|zst))?$"


def _load(
    name: str,
    paths: Sequence[Path],
    geometry: Geometry | None,
    accept: str,
    records: Callable[[Path], Iterator[Record]],
) -> SourceDataset:
    """A data set of local files.

    Raises:
        UsageError: A functional is unknown.
        DataError: Nothing to read at ``paths``.
        StorageError: A path cannot be read.
    """
    wanted = re.compile(f"(?:{accept}){PACKING}")
    shown = " or ".join(re.sub(r"[\\^$()?]", "", accept).split("|"))
    found = [
        (functional, argument, file)
        for functional, argument in map(declared, paths)
        for file in _calculations(
            local_files([argument], lambda item: wanted.search(item) is not None, f"files named like {shown}")
        )
    ]
    places = unique_places([(argument, file, kind or "") for kind, argument, file in found])
    seen: dict[tuple[Functional | None, Path], None] = {}
    files = []
    for place, (kind, _, file) in zip(places, found, strict=True):
        if (kind, file) not in seen:
            seen[kind, file] = None
            files.append(UserFile(path=file, functional=kind, place=place))
    return dataset(name, files, geometry, records)


def _calculations(files: list[Path]) -> list[Path]:
    """Of VASP's two files of one calculation, the one with more digits."""
    complete = {file.parent for file in files if file.name.startswith("vasprun.xml")}
    return [file for file in files if not (file.name.startswith("OUTCAR") and file.parent in complete)]


def unique_places(files: Sequence[tuple[Path, Path, str]]) -> list[str]:
    """What each file is called in ids: its path below the argument, with as many folders above as tell it from the others.

    Args:
        files: The argument that named it, itself or a folder above it; the file; its functional, which tells apart what no folder
            does.
    """
    parts = [
        (file.absolute().parts, len(file.relative_to(argument).parts) if argument != file else 1)
        for argument, file, _ in files
    ]
    lengths = [length for _, length in parts]
    while True:
        names = ["/".join(whole[-length:]) for (whole, _), length in zip(parts, lengths, strict=True)]
        counts = Counter(names)
        longer = [
            i for i, name in enumerate(names)
            if counts[name] > 1 and lengths[i] < len(parts[i][0]) - 1
            and any(names[j] == name and parts[j][0] != parts[i][0] for j in range(len(names)))
        ]  # fmt: skip
        if not longer:
            return [
                f"{kind}/{name}" if counts[name] > 1 and kind else name
                for name, (_, _, kind) in zip(names, files, strict=True)
            ]
        for i in longer:
            lengths[i] += 1


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
    heard = Heard()

    def frames() -> Iterator[Frame | Drop]:
        heard.clear()  # the files are read twice where structures are compared
        return without_repeats(item for file in files for item in _frames(file, shared, records, heard))

    def read() -> Iterator[Frame | Drop | pa.Table]:
        if not files:
            raise UsageError(
                f"data set {name!r} is made from your files; give them with --from PATH or --from FUNCTIONAL=PATH"
            )
        yield from checked(_paired(frames, shared))
        for line in heard.lines():
            log.warning("note: %s", line)

    stream = FrameStream(read=read)
    mark = "" if shared is Geometry.SAME_GEOMETRY else f"+{shared.value.replace('_', '-')}"
    return SourceDataset(
        name=name,
        version=f"{local_version(file.path for file in files)}{mark}" if files else "local",
        title=f"Local pairs from {', '.join(file.place for file in files) or 'your own files'}",
        licence="unknown",
        citation="none",
        card=CARD,
        functionals=sides([file.functional for file in files]),
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
    try:
        return Functional(before), Path(after)
    except UnknownNameError as error:
        raise UsageError(f"--from {path}: {error}") from error


def sides(named: Sequence[Functional | None]) -> Pair | None:
    """The pair that files of named functionals are of: by the rungs of the ladder, else the first named is the source.

    Returns:
        ``None`` if they are not two functionals, or not every file is of a named one: then the frames say.
    """
    known = [functional for functional in dict.fromkeys(named) if functional is not None]
    if None in named or len(known) < len(SIDES):
        return None
    found = by_ladder(known)
    if found is None and len(known) == len(SIDES):
        return Pair(source=(known[0],), target=(known[1],))
    return found


def _frames(
    file: UserFile, geometry: Geometry, records: Callable[[Path], Iterator[Record]], heard: Heard
) -> Iterator[Frame | Drop]:
    i = -1
    for i, record in enumerate(records(file.path)):
        place = f"{file.place}#{i}"
        try:
            yield frame(record, file.functional, place, geometry, heard)
        except Unusable as problem:
            yield problem.drop(place)
    if i < 0:
        raise FormatError(f"{file.path} holds no frames; name another file, or leave it out")


def without_repeats(items: Iterable[Frame | Drop]) -> Iterator[Frame | Drop]:
    """Frames that say word for word what an earlier one said, their own ids aside, become drops."""
    known: set[bytes] = set()
    for item in items:
        if isinstance(item, Drop):
            yield item
            continue
        key = _content(item)
        if key in known:
            yield Drop(
                record_id=item.frame_id, reason=REPEATED_RECORD, detail="the same structure and labels were read before"
            )
        else:
            known.add(key)
            yield item


def _content(item: Frame) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    names = (item.pair_id, item.material_id, str(item.functional), item.pbc, item.energy, item.correction)
    digest.update(repr(names).encode())
    for values in (item.numbers, item.positions, item.cell, item.forces, item.stress, item.magmoms):
        digest.update(b"-" if values is None else np.ascontiguousarray(values).tobytes())
    return digest.digest()


def frame(
    record: Record,
    functional: Functional | None,
    place: str,
    geometry: Geometry = Geometry.SAME_GEOMETRY,
    heard: Heard | None = None,
) -> Frame:
    """One record as a frame.

    Args:
        record: Named as the columns of a prepared data set.
        functional: Of the file, where the record does not say.
        place: File and position, which is the frame's id if it has none.
        geometry: What the two frames of a pair share. Without ``pair_id`` of their own, frames of the same geometry have none
            yet, and frames of the same material have that of the material.
        heard: Takes note of labels that were not read.

    Raises:
        Unusable: It gives none.
    """
    numbers = _atomic_numbers(record)
    n = len(numbers)
    cell, positions = _needed(record, "cell", (3, 3)), _needed(record, "positions", (n, 3))
    pbc = _pbc(record)
    _check_cell(cell, pbc)
    kind = _functional(record, functional)
    label = _name(record, "pair_id")
    if label is None and geometry is Geometry.SAME_MATERIAL:
        label = _name(record, "material_id")
        if label is None:
            raise Unusable(MISSING_FIELD, "material_id")
    found = labels(record, n, cell, heard)
    return Frame(
        frame_id=_name(record, "frame_id") or place,
        pair_id=label or "",
        material_id=_name(record, "material_id") or reduced_formula(numbers),
        functional=kind,
        numbers=numbers,
        positions=positions,
        cell=cell,
        pbc=pbc,
        energy=energy(found, "energy"),
        forces=array(found, "forces", (n, 3)),
        stress=_stress(found),
        magmoms=array(found, "magmoms", (n,)),
        correction=number(record, "correction"),
        provenance={**_provenance(record), "file": place},
    )


def _name(record: Record, key: str) -> str | None:
    """An id as a text: 0 is one, nothing and an empty text are none."""
    value = record.get(key)
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return None
    return str(value).strip() or None


def _check_cell(cell: Floats, pbc: tuple[bool, bool, bool]) -> None:
    """Where a structure repeats there must be something to repeat it by."""
    vectors = cell[np.array(pbc)]
    if len(vectors) and np.linalg.matrix_rank(vectors) < len(vectors):
        raise Unusable(
            NO_CELL, f"periodic in {len(vectors)} directions, lattice vectors of rank {np.linalg.matrix_rank(vectors)}"
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
    found = Functional.get(str(value))
    if found is None:
        raise Unusable(UNKNOWN_FUNCTIONAL, f"functional {str(value)[:40]!r} is unknown; known: {', '.join(names())}")
    if declared is not None and found is not declared:
        raise Unusable(UNKNOWN_FUNCTIONAL, f"{found} in a file given as {declared}")
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


def reduced_formula(numbers: Integers) -> str:
    """Of a structure, in Hill's order: what a material is called that has no other name."""
    from ase import Atoms

    return str(Atoms(numbers=numbers).symbols.formula.reduce()[0].format("hill"))


def _xyz_file(path: Path) -> Iterator[Record]:
    """Frames of extended XYZ, or of a file that calls itself so.

    Raises:
        DataError: It cannot be read; see ``foreign``.
    """
    with plain_files(path) as files:
        for file in files:
            yield from atoms_records(file, "xyz")


def _ase_file(path: Path) -> Iterator[Record]:
    """Frames of a file as ASE reads it.

    Raises:
        DataError: It cannot be read; see ``foreign``.
    """
    with plain_files(path) as files:
        for file in files:
            yield from atoms_records(file)


def _parquet_file(path: Path) -> Iterator[Record]:
    """Rows of Parquet.

    Raises:
        DataError: It cannot be read, or lacks a column.
    """
    with plain_files(path) as files:
        for file in files:
            yield from rows(file.path, COLUMNS)
