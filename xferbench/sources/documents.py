"""JSON documents of a file of any size, one by one, in constant memory.

Upstream files disagree with their names, so the layout is told by content: gzip by its first two bytes, the rest by the
first characters.

| layout | begins with | key of a document |
|---|---|---|
| array | ``[{`` | its position: ``0``, ``1``, … |
| JSON lines | a whole object, then another one | its position |
| envelope | ``{"samples": [{`` (also ``entries``, ``data``) | its position |
| mapping | ``{"Fe": {`` | ``Fe`` |

A single object is a mapping if all its values are objects, else one document. The splitter finds where documents end by
counting brackets outside strings, over whole blocks with numpy; each document is then parsed by ``orjson``, or by ``json``
where Python wrote ``NaN`` into it. Who knows a faster way for most documents takes them as ``texts``.
"""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from isal import igzip, igzip_lib

from xferbench.errors import FormatError, IntegrityError
from xferbench.storage import disk_errors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

GZIP = b"\x1f\x8b"
BROKEN: type[Exception] = igzip_lib.IsalError  # type: ignore[assignment]  # the stub says instance
"""What isal says of compressed bytes that are none."""

BOM = b"\xef\xbb\xbf"
BLOCK = 1 << 22
"""Bytes that are read at a time."""

PIECE = 1 << 18
"""Bytes that are looked at together, so that what is computed of them fits into a processor's cache."""

ENVELOPES = ("samples", "entries", "data")
"""Keys under which a list of documents is wrapped."""

BLANK = b" \t\r\n"
ESCAPE = re.compile(rb"\\.", re.DOTALL)
BRACKETS = np.zeros(256, dtype=np.int8)
BRACKETS[list(b"[{")] = 1
BRACKETS[list(b"]}")] = -1
QUOTE = ord('"')
MARKS = bytes(bool(value == QUOTE or BRACKETS[value]) for value in range(256))


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a file may ask of this machine before it is refused.

    Attributes:
        document: Bytes of one document.
        depth: Nested brackets within the file.
        ratio: Bytes out per byte in of a compressed file, once more than one document's limit has come out. JSON of
            numbers shrinks 3 to 10 times.
    """

    document: int = 1 << 26
    depth: int = 64
    ratio: int = 200


LIMITS = Limits()


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One document and what it is called in its file."""

    key: str
    value: dict[str, Any]


def documents(path: Path, *, limits: Limits = LIMITS) -> Iterator[Document]:
    """Read the documents of a JSON file of any layout, compressed or not.

    Numbers that JSON does not know (``NaN``, ``Infinity``) are passed on as such: the caller drops what has them.

    Raises:
        StorageError: The file cannot be read.
        IntegrityError: It is truncated, or its compression is damaged.
        FormatError: It is not JSON of a known layout, or goes beyond the limits.
    """
    return (parsed(text, key, path) for key, text in texts(path, limits=limits))


def texts(path: Path, *, limits: Limits = LIMITS) -> Iterator[tuple[str, bytes]]:
    """The key and the text of each document; brackets match in number, nothing else is known of the text.

    Raises:
        StorageError: The file cannot be read.
        IntegrityError: It is truncated, or its compression is damaged.
        FormatError: It is not of a known layout, or goes beyond the limits.
    """
    with _opened(path) as stream:
        blocks = _blocks(stream, path, limits)
        head = _head(blocks, limits)
        yield from _splitter(head, path, limits).split(_chain(head, blocks))


def _head(blocks: Iterator[bytes], limits: Limits) -> bytes:
    """The beginning of a file, long enough to tell its layout; doubled until it is, so that looking costs little."""
    head = next(blocks, b"").removeprefix(BOM).lstrip(BLANK)
    taken = 1
    while head and len(head) < limits.document and not _told(head):
        more = b"".join(islice(blocks, taken))
        if not more:
            break
        head, taken = head + more, 2 * taken
    return head


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes] | igzip.IGzipFile]:
    """The file's bytes, decompressed if they are compressed."""
    with disk_errors("read", path), path.open("rb") as raw:
        compressed = raw.read(2) == GZIP
        raw.seek(0)
        if not compressed:
            yield raw
            return
        try:
            with igzip.IGzipFile(fileobj=raw) as stream:  # type: ignore[no-untyped-call]
                yield stream
        except (igzip.BadGzipFile, EOFError, BROKEN) as error:
            raise IntegrityError(f"{path} is damaged gzip ({error}): fetch or copy it again") from error


def _blocks(stream: IO[bytes] | igzip.IGzipFile, path: Path, limits: Limits) -> Iterator[bytes]:
    size, total = path.stat().st_size, 0
    while block := stream.read(BLOCK):
        total += len(block)
        if total > limits.document and total > limits.ratio * size:
            raise FormatError(
                f"{path} unpacks to more than {limits.ratio} times its {size} bytes: this is no data file, it is not read on"
            )
        yield from (block[at : at + PIECE] for at in range(0, len(block), PIECE))


def _chain(head: bytes, blocks: Iterator[bytes]) -> Iterator[bytes]:
    yield head
    yield from blocks


@dataclass(slots=True, kw_only=True)
class _Splitter:
    """Cuts a stream of bytes into documents.

    Attributes:
        level: Brackets open around a document: 0 for JSON lines, 1 in an array or mapping, 2 in an envelope.
        keyed: Documents are the values of a mapping.
        count: Documents cut off so far.
        offset: Bytes cut off so far.
        depth: Brackets open at the end of what was looked at.
        inside_string: Whether that end lies in a string.
        begin: Where the unfinished document begins in what is kept, if one is open.
    """

    path: Path
    limits: Limits
    level: int
    keyed: bool
    count: int = 0
    offset: int = 0
    depth: int = 0
    inside_string: bool = False
    begin: int | None = None

    def split(self, blocks: Iterator[bytes]) -> Iterator[tuple[str, bytes]]:
        """Yield the key and the text of each document."""
        kept, seen = b"", 0
        for block in blocks:
            kept += block
            stop = len(kept) - _open_escape(kept)
            cut = 0
            for begin, end in self._bounds(kept, seen, stop):
                self._check_length(end - begin)
                yield self._key(kept[cut:begin]), kept[begin:end]
                self.count += 1
                cut = end
            kept, seen = kept[cut:], stop - cut
            self.begin = None if self.begin is None else self.begin - cut
            self.offset += cut
            self._check_length(len(kept))
        self._check_end(kept)

    def _bounds(self, text: bytes, start: int, stop: int) -> list[tuple[int, int]]:
        """Where the documents that end in ``text[start:stop]`` begin and end; what is before was looked at already."""
        places, steps, self.inside_string = _brackets(text[start:stop], self.inside_string)
        if len(places) == 0:
            return []
        places += start
        depths = self.depth + np.cumsum(steps, dtype=np.int64)
        self._check_depths(depths, places)
        self.depth = int(depths[-1])
        begins = places[(depths == self.level + 1) & (steps > 0)].tolist()
        ends = (places[(depths == self.level) & (steps < 0)] + 1).tolist()
        self._check_objects(text, begins)
        begins = begins if self.begin is None else [self.begin, *begins]
        self.begin = begins[len(ends)] if len(begins) > len(ends) else None
        return list(zip(begins, ends, strict=False))  # the last one may not have ended

    def _check_length(self, length: int) -> None:
        if length > self.limits.document:
            raise FormatError(
                f"{self.path} has a document of more than {self.limits.document} bytes after byte {self.offset}; "
                "it is not read on"
            )

    def _check_depths(self, depths: NDArray[np.int64], places: NDArray[np.int64]) -> None:
        if depths.max() > self.limits.depth:
            raise FormatError(
                f"{self.path} nests brackets deeper than {self.limits.depth}; it is no data file of a known kind"
            )
        if depths.min() < 0:
            where = self.offset + int(places[int(np.argmax(depths < 0))])
            raise FormatError(f"{self.path}: the bracket at byte {where} closes nothing; the file is no JSON")

    def _check_objects(self, text: bytes, begins: list[int]) -> None:
        for begin in begins:
            if text[begin : begin + 1] != b"{":
                raise FormatError(
                    f"{self.path}: document {self.count} is a list, not an object, at byte {self.offset + begin}"
                )

    def _key(self, before: bytes) -> str:
        """What stands between two documents: a comma, and the key in a mapping."""
        text = before.strip(BLANK)
        if text == b"," and self.count and self.level and not self.keyed:
            return str(self.count)  # as between almost all documents
        opening = {0: b"", 1: b"[", 2: b"["}[self.level] if not self.keyed else b"{"
        first = self.count == 0
        if self.level == 2 and first:
            text = text[text.rfind(b"[") :]
        expected = opening if first else (b"" if self.level == 0 else b",")
        if not text.startswith(expected):
            raise self._stray(text)
        rest = text[len(expected) :].strip(BLANK)
        if not self.keyed:
            if rest:
                raise self._stray(rest)
            return str(self.count)
        try:
            key = json.loads(rest.removesuffix(b":"))
        except ValueError:
            key = None
        if not isinstance(key, str) or not rest.endswith(b":"):
            raise self._stray(rest)
        return key

    def _stray(self, text: bytes) -> FormatError:
        return FormatError(
            f"{self.path}: {text[:40]!r} stands before document {self.count} near byte {self.offset}, where only documents "
            "and what separates them belong"
        )

    def _check_end(self, rest: bytes) -> None:
        if self.depth or self.inside_string:
            raise IntegrityError(
                f"{self.path} ends in the middle of document {self.count}: it is truncated, fetch or copy it again"
            )
        tail = b"".join(rest.split())
        envelope = self.level == 2 and tail.startswith(b"]")
        if not envelope and tail != self._closing():
            raise self._stray(tail)

    def _closing(self) -> bytes:
        """What follows the last document; without documents, the whole file."""
        if self.level == 0:
            return b""
        opening, closing = (b"{", b"}") if self.keyed else (b"[", b"]")
        return closing if self.count else opening + closing


def _told(head: bytes) -> bool:
    """Whether the first bytes tell the layout: not while an object may yet end, or be followed by another."""
    if not head.startswith(b"{"):
        return True
    end = _first_object_end(head)
    return end is not None and bool(head[end:].strip(BLANK))


def _splitter(head: bytes, path: Path, limits: Limits) -> _Splitter:
    """The layout of a file by its first bytes.

    Raises:
        FormatError: It is none of the known ones.
    """
    if head.startswith(b"["):
        return _Splitter(path=path, limits=limits, level=1, keyed=False)
    if not head.startswith(b"{"):
        what = f"begins with {head[:20]!r}" if head else "is empty"
        raise FormatError(f"{path} {what}: it is no JSON of documents")
    end = _first_object_end(head)
    if end is not None and _is_document(head[:end], head[end:], path):
        return _Splitter(path=path, limits=limits, level=0, keyed=False)
    if _envelope(head):
        return _Splitter(path=path, limits=limits, level=2, keyed=False)
    return _Splitter(path=path, limits=limits, level=1, keyed=True)


def _is_document(first: bytes, rest: bytes, path: Path) -> bool:
    """Whether a whole object is a document, rather than a mapping or an envelope of documents."""
    if rest.strip(BLANK):
        return True
    value = _parse(first, "0", path)
    wrapped = any(isinstance(value.get(name), list) for name in ENVELOPES)
    return not wrapped and not all(isinstance(item, dict) for item in value.values())


def _envelope(head: bytes) -> bool:
    names = b"|".join(name.encode() for name in ENVELOPES)
    return re.match(rb'\{\s*"(?:' + names + rb')"\s*:\s*\[', head) is not None


def _first_object_end(head: bytes) -> int | None:
    """Where the object that ``head`` begins with ends, if it does."""
    places, steps, _ = _brackets(head, inside_string=False)
    closed = np.flatnonzero(np.cumsum(steps, dtype=np.int64) == 0)
    return int(places[closed[0]]) + 1 if len(closed) else None


def _brackets(text: bytes, inside_string: bool) -> tuple[NDArray[np.int64], NDArray[np.int8], bool]:
    """Brackets that are not part of a string.

    Args:
        text: Not ending in the middle of an escape.
        inside_string: Whether it begins in a string.

    Returns:
        Their places, +1 for opening and -1 for closing ones, and whether the text ends in a string.
    """
    plain = _without_escapes(text)
    places = np.flatnonzero(np.frombuffer(plain.translate(MARKS), dtype=bool))
    marks = np.frombuffer(plain, dtype=np.uint8)[places]
    quotes = marks == QUOTE
    in_string = np.logical_xor.accumulate(quotes) ^ inside_string
    outside = ~(in_string | quotes)
    return places[outside], BRACKETS[marks[outside]], bool(in_string[-1]) if len(in_string) else inside_string


def _without_escapes(text: bytes) -> bytes:
    """The same length with every escaped character blotted out, so that each quote left opens or closes a string."""
    return ESCAPE.sub(b"__", text) if b"\\" in text else text


def _open_escape(text: bytes) -> int:
    """1 if the text ends in the middle of an escape."""
    return (len(text) - len(text.rstrip(b"\\"))) % 2


def parsed(text: bytes, key: str, path: Path) -> Document:
    """A document from its text.

    Raises:
        FormatError: It is no JSON.
    """
    return Document(key=key, value=_parse(text, key, path))


def _parse(text: bytes, key: str, path: Path) -> dict[str, Any]:
    import orjson

    try:
        value: dict[str, Any] = orjson.loads(text)
    except orjson.JSONDecodeError:
        value = _parse_slowly(text, key, path)
    return without_monty(value) if b"numpy" in text or b"__ndarray__" in text else value


def without_monty(value: Any) -> Any:  # noqa: ANN401 - a JSON value
    """A JSON value whose arrays, as ``monty`` and ASE write them, are lists.

    ``{"@module": "numpy", "@class": "array", "dtype": …, "data": […]}`` is what ``monty.serialization.dumpfn`` makes of an array, and
    ``{"__ndarray__": [shape, dtype, [numbers]]}`` what ASE does.
    """
    if isinstance(value, list):
        return [without_monty(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("@module") == "numpy" and "data" in value:
        return value["data"]
    packed = value.get("__ndarray__")
    if len(value) == 1 and isinstance(packed, list) and len(packed) == 3 and isinstance(packed[2], list):
        try:
            return np.array(packed[2]).reshape(packed[0]).tolist()
        except (TypeError, ValueError):
            return value
    return {name: without_monty(item) for name, item in value.items()}


def _parse_slowly(text: bytes, key: str, path: Path) -> dict[str, Any]:
    """As Python reads it: with ``NaN``."""
    try:
        value: dict[str, Any] = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path}: document {key!r:.60} is not valid JSON ({error})") from error
    return value
