"""Files that others made, made plain: unpacked, in UTF-8, of a kind told by content, read within bounds.

Everything that comes from outside goes through here, for ``prepare``, ``audit`` and ``score`` alike. The name of a file is a hint
and its content decides:

| content | what happens |
|---|---|
| gzip, bzip2, xz, zstd | unpacked |
| zip, tar, packed or not | unpacked; each file in it counts as a file of its own |
| UTF-16, UTF-32 with a byte order mark | turned into UTF-8 |
| anything else | read where it is |

Limits: what unpacks to more than ``RATIO`` times its size is refused, so are lines beyond ``LINE`` and binary files that
nothing here reads, each by its name. A pickle is never opened: reading one runs the program in it.
"""

from __future__ import annotations

import bz2
import codecs
import csv
import io
import json
import lzma
import re
import tarfile
import tempfile
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, NoReturn, cast

from isal import igzip, igzip_lib

from xferbench.errors import DataError, FormatError, IntegrityError
from xferbench.storage import disk_errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Record = Mapping[str, Any]

PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
"""First bytes -> how a file is compressed."""

ZIP = b"PK\x03\x04"
TAR = b"ustar"
TAR_AT = 257

WIDE = ((codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))  # fmt: skip

UNREAD = {
    b"\x80\x02": "a Python pickle",
    b"\x80\x03": "a Python pickle",
    b"\x80\x04": "a Python pickle",
    b"\x80\x05": "a Python pickle",
    b"(lp0\n": "a Python pickle",
    b"(dp0\n": "a Python pickle",
    b"\x89HDF": "an HDF5 file",
    b"\x93NUMPY": "a NumPy array",
    b"7z\xbc\xaf\x27\x1c": "a 7-zip archive",
    b"Rar!": "a RAR archive",
    b"\x1f\x9d": "a file of compress (.Z)",
    b"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xde\xc0\xef\xbe": "an LMDB database",
    b"%PDF": "a PDF document",
}
"""First bytes -> what nothing here reads."""

SQLITE = b"SQLite format 3\x00"
PARQUET = b"PAR1"
TRAJECTORY = b"- of Ulm"
ARROW = b"\xff\xff\xff\xff"
ARROW_FILE = b"ARROW1"

RATIO = 1000
"""Bytes out per byte in that a compressed file may have, beyond ``FREE``. Text of numbers has 3 to 10, of zeros some hundred."""

FREE = 1 << 28
"""Bytes that may always come out."""

MEMBERS = 100_000
"""Files in an archive."""

LINE = 1 << 24
"""Characters of a line of text."""

BLOCK = 1 << 20
SEPARATORS = ",;\t|"
BROKEN: tuple[type[Exception], ...] = (
    EOFError, lzma.LZMAError, tarfile.TarError, zipfile.BadZipFile, igzip_lib.IsalError, igzip.BadGzipFile, NotImplementedError, RuntimeError,
)  # type: ignore[assignment]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainFile:
    """A file as readers want it.

    Attributes:
        path: Where its bytes are.
        name: What it is called, inside of its archive; without the endings of compression.
        shown: For messages: the file of the user, and the place in it.
    """

    path: Path
    name: str
    shown: str

    @property
    def suffix(self) -> str:
        """The last ending of the name, in small letters."""
        return PurePosixPath(self.name).suffix.lower()


@contextmanager
def plain_files(path: Path) -> Iterator[list[PlainFile]]:
    """The file, or what is in it, unpacked and in UTF-8. Temporary copies go when the block ends.

    Raises:
        StorageError: It cannot be read, or the disk for temporary files is full.
        IntegrityError: Its compression is damaged.
        FormatError: It unpacks to more than it should, or to nothing.
    """
    with tempfile.TemporaryDirectory(prefix="xferbench-") as scratch:
        files = list(_plain(PlainFile(path=path, name=path.name, shown=str(path)), Path(scratch)))
        if not files:
            raise FormatError(f"{path} is an archive without files in it; name the data file itself")
        try:
            yield files
        except DataError as error:  # of a reader that knows the copy only
            told = str(error)
            for file in files:
                told = told.replace(str(file.path), file.shown)
            if told == str(error):
                raise
            raise type(error)(told) from error


def _plain(file: PlainFile, scratch: Path, depth: int = 0) -> Iterator[PlainFile]:
    head = first_bytes(file.path)
    packing = next((name for magic, name in PACKED.items() if head.startswith(magic)), None)
    if depth > 3:
        raise FormatError(f"{file.shown} is packed more than three times over; unpack it first")
    if packing is not None:
        name = re.sub(r"\.(gz|bz2|xz|zst|tgz|tbz2?|txz)$", "", file.name, flags=re.IGNORECASE)
        out = scratch / f"{depth}-{len(list(scratch.iterdir()))}"
        _copy(_unpacked(file.path, packing), out, file, packing)
        yield from _plain(PlainFile(path=out, name=name, shown=file.shown), scratch, depth + 1)
    elif head.startswith(ZIP) or head[TAR_AT : TAR_AT + 5] == TAR:
        for name, stream in _members(file, zipped=head.startswith(ZIP)):
            out = scratch / f"{depth}-{len(list(scratch.iterdir()))}"
            _copy(stream, out, file, "zip" if head.startswith(ZIP) else "tar")
            yield from _plain(PlainFile(path=out, name=name, shown=f"{file.shown}:{name}"), scratch, depth + 1)
    elif encoding := next((name for mark, name in WIDE if head.startswith(mark)), None):
        out = scratch / f"{depth}-{len(list(scratch.iterdir()))}"
        try:
            with (
                disk_errors("read", file.path),
                file.path.open(encoding=encoding) as wide,
                out.open("w", encoding="utf-8") as narrow,
            ):
                while text := wide.read(BLOCK):
                    narrow.write(text)
        except UnicodeError as error:
            raise IntegrityError(
                f"{file.shown} begins as {encoding.upper()} and is none ({error}); save it as UTF-8"
            ) from error
        yield PlainFile(path=out, name=file.name, shown=file.shown)
    else:
        yield file


def first_bytes(path: Path, count: int = 512) -> bytes:
    """How a file begins.

    Raises:
        StorageError: It cannot be read.
    """
    with disk_errors("read", path), path.open("rb") as stream:
        return stream.read(count)


def _unpacked(path: Path, packing: str) -> IO[bytes]:
    if packing == "gzip":
        return cast("IO[bytes]", igzip.open(path, "rb"))  # type: ignore[no-untyped-call]
    if packing == "bzip2":
        return bz2.open(path, "rb")
    if packing == "xz":
        return lzma.open(path, "rb")
    import pyarrow as pa

    return cast("IO[bytes]", pa.input_stream(str(path), compression="zstd"))


def _members(file: PlainFile, *, zipped: bool) -> Iterator[tuple[str, IO[bytes]]]:
    """Files of an archive, without hidden ones and what file managers add."""
    with disk_errors("read", file.path):
        try:
            if zipped:
                with zipfile.ZipFile(file.path) as archive:
                    names = [item.filename for item in archive.infolist() if not item.is_dir()]
                    for name in _wanted(names, file):
                        with archive.open(name) as stream:
                            yield name, stream
            else:
                with tarfile.open(file.path, "r:") as bundle:
                    found = {item.name: item for item in bundle if item.isfile()}
                    for name in _wanted(list(found), file):
                        content = bundle.extractfile(found[name])
                        if content is not None:
                            yield name, content
        except BROKEN as error:
            raise _damaged(file, "zip" if zipped else "tar", error) from error


def _wanted(names: Sequence[str], file: PlainFile) -> list[str]:
    if len(names) > MEMBERS:
        raise FormatError(
            f"{file.shown} holds {len(names)} files, at most {MEMBERS} are read; unpack it and name a folder"
        )
    return sorted(name for name in names if not any(part.startswith((".", "__")) for part in PurePosixPath(name).parts))


def _copy(stream: IO[bytes], out: Path, file: PlainFile, packing: str) -> None:
    with disk_errors("read", file.path):
        limit = max(FREE, RATIO * file.path.stat().st_size)
        total = 0
        try:
            with out.open("xb") as into:
                while block := stream.read(BLOCK):
                    total += len(block)
                    if total > limit:
                        raise FormatError(
                            f"{file.shown} unpacks to more than {limit} bytes: this is no data file, it is not read on"
                        )
                    into.write(block)
        except BROKEN as error:
            raise _damaged(file, packing, error) from error
        except OSError as error:
            if error.errno is None:  # of the decompressor, not of the disk
                raise _damaged(file, packing, error) from error
            raise


def _damaged(file: PlainFile, packing: str, error: Exception) -> IntegrityError:
    return IntegrityError(
        f"{file.shown} is damaged {packing} ({error or type(error).__name__}): fetch or copy it again"
    )


def kind_of(file: PlainFile) -> str:
    """``parquet``, ``arrow``, ``sqlite``, ``traj``, ``xml``, ``outcar``, ``json``, ``xyz`` or ``text``, by content.

    Raises:
        StorageError: It cannot be read.
        FormatError: It is something that nothing here reads; the message says what.
    """
    head = first_bytes(file.path, 4096)
    for magic, what in UNREAD.items():
        if head.startswith(magic):
            why = ", and reading one runs the program in it" if "pickle" in what else ""
            raise FormatError(
                f"{file.shown} is {what}, which is not read{why}; save it as extended XYZ, Parquet, JSON or CSV"
            )
    for magic, kind in (
        (PARQUET, "parquet"),
        (SQLITE, "sqlite"),
        (TRAJECTORY, "traj"),
        (ARROW, "arrow"),
        (ARROW_FILE, "arrow"),
    ):
        if head.startswith(magic):
            return kind
    name = PurePosixPath(file.name).name.lower()
    if b"\x00" in head:
        raise FormatError(f"{file.shown} is binary and of no known kind; save it as extended XYZ, Parquet, JSON or CSV")
    text = head.removeprefix(codecs.BOM_UTF8).lstrip()
    if text.startswith(b"<?xml") or file.suffix == ".xml":
        return "xml"
    if name.startswith("outcar") or text.startswith(b"vasp."):
        return "outcar"
    if text[:1] in (b"{", b"["):
        return "json"
    first = text.split(b"\n", 1)[0].strip()
    if file.suffix in {".xyz", ".extxyz"} or (
        first.isdigit() and file.suffix not in {".txt", ".csv", ".tsv"} and _is_xyz(text)
    ):
        return "xyz"
    return "text"


def _is_xyz(text: bytes) -> bool:
    second = text.split(b"\n", 2)[1:2]
    return bool(second) and (b"=" in second[0])


def text_lines(file: PlainFile) -> Iterator[tuple[int, str]]:
    """Number, from 1, and text of each line, without its end.

    Raises:
        StorageError: It cannot be read.
        FormatError: It is not UTF-8, or a line has no end.
    """
    with disk_errors("read", file.path), file.path.open("rb") as stream:
        number = 0
        while line := stream.readline(LINE):
            number += 1
            if len(line) == LINE:
                raise FormatError(f"{file.shown} line {number} is longer than {LINE} bytes: this is no data file")
            if number == 1:
                line = line.removeprefix(codecs.BOM_UTF8)
            try:
                text = line.decode()
            except UnicodeDecodeError as error:
                raise FormatError(
                    f"{file.shown} line {number} is not UTF-8 (byte {line[error.start]:#x}); save the file as UTF-8"
                ) from error
            if "\x00" in text:
                raise FormatError(f"{file.shown} line {number} holds a zero byte: it is binary or damaged, not text")
            yield number, text.rstrip("\r\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class XyzText:
    """A frame of an XYZ file as it is written: the line of its number of atoms, and its lines."""

    line: int
    comment: str
    atoms: list[str]

    def text(self) -> str:
        """As a file of its own."""
        return "\n".join([str(len(self.atoms)), self.comment, *self.atoms, ""])


def xyz_frames(file: PlainFile) -> Iterator[XyzText]:
    """Every frame of an XYZ file: empty lines between frames are nothing, any other line that fits nowhere is an error.

    Raises:
        StorageError: It cannot be read.
        FormatError: A line is not what has to stand there; it is named.
        IntegrityError: The file ends within a frame.
    """
    size = file.path.stat().st_size
    lines = text_lines(file)
    for number, line in lines:
        if not line.strip():
            continue
        count = line.strip()
        if not count.isdecimal():
            raise FormatError(
                f"{file.shown} line {number} is {count[:40]!r} where a frame begins with its number of atoms; the frame before it has "
                "more lines than it says, or the file is no XYZ"
            )
        n = int(count)
        if 4 * n > size:  # an atom takes more than four bytes
            raise IntegrityError(
                f"{file.shown} line {number} promises {n} atoms in a file of {size} bytes; it is truncated or damaged"
            )
        taken = [text for _, text in islice(lines, n + 1)]
        if len(taken) < n + 1 or any(not text.strip() for text in taken[1:]):
            raise IntegrityError(
                f"{file.shown} line {number}: the frame of {n} atoms that begins there ends too early; the file is truncated"
            )
        yield XyzText(line=number, comment=taken[0], atoms=taken[1:])


ENTRY = re.compile(r'([^\s="]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|\{([^}]*)\}|(\S+))')
"""A key and its value in the comment line of extended XYZ."""


def xyz_entries(frame: XyzText, file: PlainFile) -> dict[str, str]:
    """Keys and values, as texts, of a comment line.

    Raises:
        FormatError: A key is there twice, and which counts is anybody's guess.
    """
    found: dict[str, str] = {}
    for key, quoted, braced, bare in ENTRY.findall(frame.comment):
        if key in found:
            raise FormatError(f"{file.shown} line {frame.line + 1} has {key!r} twice; keep the one that is meant")
        found[key] = quoted or braced or bare
    return found


NAMES = ("id", "ids", "name", "functional", "formula")
"""Ends of keys whose values are texts, however much they look like numbers: ``007`` is not 7."""


def plain_text(text: str) -> str:
    r"""A value without what ASE does to texts that look like numbers: ``_JSON \"3-17\"``."""
    return re.sub(r"\\(.)", r"\1", text).removeprefix("_JSON ").strip('"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Delimited text. Without a header that knows any of the wanted names, columns have none.

    Attributes:
        header: Names of the columns in small letters, or nothing.
        rows: Line and cells of each row.
    """

    header: tuple[str, ...] | None
    rows: Iterator[tuple[int, list[str]]]


def text_table(file: PlainFile, known: Sequence[str]) -> Table:
    """Text in columns, whatever separates them: comma, semicolon, tab or bar, told by the first line that says something.

    Args:
        file: The file.
        known: Names of columns; a first line with any of them is a header.

    Raises:
        StorageError: It cannot be read.
        FormatError: It is no text.
    """
    lines = text_lines(file)
    first = next(((number, line) for number, line in lines if line.strip() and not line.startswith("#")), None)
    if first is None:
        return Table(header=None, rows=iter(()))
    counts = {mark: first[1].count(mark) for mark in SEPARATORS}
    separator = max(counts, key=lambda mark: counts[mark]) if any(counts.values()) else None

    def rows() -> Iterator[tuple[int, list[str]]]:
        source = _texts(first, lines)
        if separator is None:
            yield from (
                (number, [line.strip().strip('"')])
                for number, line in source
                if line.strip() and not line.startswith("#")
            )
            return
        numbers: list[int] = []
        reader = csv.reader((_remember(numbers, item) for item in source), delimiter=separator)
        try:
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    yield numbers[-1], [cell.strip() for cell in cells]
        except csv.Error as error:
            raise FormatError(
                f"{file.shown} line {numbers[-1] if numbers else 1} is no row of a table ({error})"
            ) from error

    found = rows()
    head = next(found)
    names = tuple(cell.strip().lower() for cell in head[1])
    if set(names) & set(known):
        return Table(header=names, rows=found)
    return Table(header=None, rows=_again(head, found))


def _remember(numbers: list[int], item: tuple[int, str]) -> str:
    numbers[:] = [item[0]]
    return item[1]


def _texts(first: tuple[int, str], rest: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    yield first
    yield from rest


def _again(head: tuple[int, list[str]], rest: Iterator[tuple[int, list[str]]]) -> Iterator[tuple[int, list[str]]]:
    yield head
    yield from rest


JSON_BYTES = 1 << 30
"""Of JSON that is read as one."""

JSON_DEPTH = 64
"""Brackets within brackets."""


def read_foreign_json(file: PlainFile) -> Any:  # noqa: ANN401 - JSON is what it is
    """A JSON file as one value, or JSON lines as a list of them.

    Raises:
        StorageError: It cannot be read.
        IntegrityError: It is no JSON.
        FormatError: It is beyond the limits.
    """
    if file.path.stat().st_size > JSON_BYTES:
        raise FormatError(f"{file.shown} is larger than {JSON_BYTES} bytes; save it as Parquet")
    text = "\n".join(line for _, line in text_lines(file)) if file.suffix in {".jsonl", ".ndjson"} else _all_text(file)
    try:
        return check_depth(json.loads(text), file.shown)
    except RecursionError as error:
        raise FormatError(f"{file.shown} nests brackets deeper than {JSON_DEPTH}; it is no data file") from error
    except ValueError as error:
        lines = [line for line in text.splitlines() if line.strip()]
        try:
            return [check_depth(json.loads(line), file.shown) for line in lines] if len(lines) > 1 else _raise(error)
        except (ValueError, RecursionError):
            raise IntegrityError(f"{file.shown} is no JSON ({error}): truncated, or of another kind") from error


def check_depth(value: Any, shown: str, depth: int = 0) -> Any:  # noqa: ANN401 - JSON is what it is
    """The value, if it nests no deeper than ``JSON_DEPTH``.

    Raises:
        FormatError: It does.
    """
    if depth > JSON_DEPTH:
        raise FormatError(f"{shown} nests brackets deeper than {JSON_DEPTH}; it is no data file")
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            if isinstance(item, dict | list):
                check_depth(item, shown, depth + 1)
    return value


def _raise(error: Exception) -> NoReturn:
    raise error


def _all_text(file: PlainFile) -> str:
    with disk_errors("read", file.path):
        try:
            return file.path.read_bytes().removeprefix(codecs.BOM_UTF8).decode()
        except UnicodeDecodeError as error:
            raise FormatError(f"{file.shown} is not UTF-8 (byte {error.start}); save the file as UTF-8") from error


def atoms_records(file: PlainFile, kind: str | None = None) -> Iterator[Record]:
    """Frames of any format that ASE reads, as records: structure, ``info``, per-atom arrays and results under their own names.

    Extended XYZ is cut into frames here, so that no frame is lost and every message has a line. Of a database, the
    ``key_value_pairs`` and the ``data`` of a row are part of its record.

    Args:
        file: The file.
        kind: From ``kind_of``; another one is left to ASE to tell.

    Raises:
        StorageError: It cannot be read.
        FormatError: ASE does not understand it.
    """
    kind = kind_of(file) if kind is None else kind
    if kind == "xyz":
        yield from _xyz_records(file)
    elif kind == "sqlite" or (kind == "json" and file.suffix in {".json", ".db"}):
        yield from _database_records(file, "db" if kind == "sqlite" else "json")
    else:
        from ase.io import iread

        form = {"xml": "vasp-xml", "outcar": "vasp-out", "traj": "traj"}.get(kind)
        if kind == "text":
            form = _format_by_name(file)
        with _ase_errors(file):
            for atoms in iread(str(file.path), index=":", format=form):
                yield atoms_record(atoms)


def _format_by_name(file: PlainFile) -> str | None:
    """What ASE calls the format; a copy has lost the name that ASE would look at."""
    if file.path.name == PurePosixPath(file.name).name:
        return None
    from ase.io.formats import filetype

    with _ase_errors(file):
        return str(filetype(file.name, read=False))


@contextmanager
def _ase_errors(file: PlainFile, line: int | None = None) -> Iterator[None]:
    """Whatever ASE's readers make of the bytes, as one line with the place."""
    with disk_errors("read", file.path):
        try:
            yield
        except DataError:
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            place = file.shown if line is None else f"{file.shown}, frame at line {line}"
            told = " ".join(str(error).split())[:200] or "no reason given"
            if isinstance(error, KeyError) and error.args and isinstance(error.args[0], str) and len(error.args[0]) < 4:
                symbol = error.args[0]
                hint = "write H" if symbol in {"D", "T"} else "write the symbol of an element"
                raise FormatError(f"{place}: {symbol!r} is no element; {hint}") from error
            raise FormatError(
                f"{place}: ASE cannot read it ({type(error).__name__}: {told}); check its format"
            ) from error


def _xyz_records(file: PlainFile) -> Iterator[Record]:
    from ase.io.extxyz import read_xyz

    for frame in xyz_frames(file):
        entries = xyz_entries(frame, file)
        with _ase_errors(file, frame.line):
            (atoms,) = read_xyz(io.StringIO(frame.text()), index=slice(None))
        names = {key: plain_text(text) for key, text in entries.items() if key.lower().endswith(NAMES)}
        yield {**atoms_record(atoms), **names}


def _database_records(file: PlainFile, form: str) -> Iterator[Record]:
    from ase.db import connect

    with _ase_errors(file):
        for row in connect(str(file.path), type=form, use_lock_file=False).select():
            atoms = row.toatoms()
            yield {**atoms_record(atoms), **dict(row.data or {}), **row.key_value_pairs}


def atoms_record(atoms: Any) -> Record:  # noqa: ANN401 - ase.Atoms, which is imported late
    """ASE atoms as a record: ``info``, arrays and a calculator's results under their names, the structure under ours."""
    results = (
        {} if atoms.calc is None else {key: value for key, value in atoms.calc.results.items() if value is not None}
    )
    extra = {key: value for key, value in atoms.arrays.items() if key not in {"numbers", "positions"}}
    return {
        **extra,
        **atoms.info,
        **results,
        "numbers": atoms.numbers,
        "positions": atoms.positions,
        "cell": atoms.cell.array,
        "pbc": atoms.pbc.tolist(),
    }
