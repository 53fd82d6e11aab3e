"""Plain MatPES documents -> tables, many at a time.

``matpes_documents.frame`` alone decides what becomes of a document, and takes a tenth of a millisecond for it. Here documents are
recognised that it would certainly accept, by typed decoding and a few vector operations, and give the same bytes as there
(tests hold this module to that). Every other one is left to it. So what is odd costs time and nothing else.

What makes it certain:

- ``msgspec`` refuses whatever is no JSON, fields that it skips included, and texts or truth values where numbers belong.
  It does not look at the encoding of texts that it skips: a document must be ASCII. It knows no ``NaN``.
- Numbers of 2^53 and more are left to the judge, who tells large integers from numbers.
- A value that is compared with another one must agree to half of what is allowed.
"""

from __future__ import annotations

import json
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import orjson

from xferbench.functionals import Functional
from xferbench.sources import matpes_documents
from xferbench.sources.documents import parsed, texts
from xferbench.sources.reading import MAX_ATOMS, SAME_PLACE
from xferbench.tables import flat_table
from xferbench.units import stress_from_vasp_kbar, voigt_to_matrix

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray

    from xferbench.records import Drop, Frame

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]
    Mask = NDArray[np.bool_]

BATCH_DOCUMENTS = 1024
BATCH_BYTES = 1 << 23
"""A batch ends with the document that reaches one of these."""

TOGETHER = 16
"""Documents whose values are Python objects at the same time: so few that the same memory is used again and again."""

LARGEST = 2.0**53
NAN = float("nan")
NOWHERE = (NAN, NAN, NAN)

Vector = tuple[float, float, float]
Voigt = tuple[float, float, float, float, float, float]


class _Species(msgspec.Struct, gc=False):
    element: str
    occu: float = 1.0


class _Properties(msgspec.Struct, gc=False):
    magmom: float | None = None


class _Site(msgspec.Struct, gc=False):
    species: tuple[_Species]
    abc: Vector
    xyz: Vector = NOWHERE
    properties: _Properties | None = None


class _Lattice(msgspec.Struct, gc=False):
    matrix: tuple[Vector, Vector, Vector]
    pbc: tuple[bool, bool, bool] = (True, True, True)


class _Structure(msgspec.Struct, gc=False):
    lattice: _Lattice
    sites: list[_Site]


class _Document(msgspec.Struct, gc=False):
    """The fields that are read of a plain document; what has others of these names, or lacks one, is not plain."""

    matpes_id: str
    functional: str
    structure: _Structure
    energy: float
    forces: list[Vector]
    stress: Voigt
    energy_per_atom: float | None = None
    abs_forces: list[float] | None = None
    bandgap: float | None = None
    provenance: msgspec.Raw = msgspec.Raw(b"null")


class _Plain(msgspec.Struct, gc=False):
    """What is not a number in a plain document, as a frame has it."""

    functional: str
    material_id: str
    provenance: str


DECODER = msgspec.json.Decoder(_Document)
ENCODE = json.JSONEncoder(sort_keys=True).encode


def read(path: Path) -> Iterator[Frame | Drop | pa.Table]:
    """The documents of a file: tables of the plain ones, and a frame or a drop for each of the others.

    Raises:
        DataError: See ``documents.documents``.
    """
    batch = Batch()
    for key, text in texts(path):
        batch.add(key, text)
        if batch.is_full:
            yield from _finished(batch, path)
            batch = Batch()
    yield from _finished(batch, path)


def _finished(batch: Batch, path: Path) -> Iterator[Frame | Drop | pa.Table]:
    table, others = batch.convert()
    if table.num_rows:
        yield table
    for key, text in others:
        yield matpes_documents.judged(parsed(text, key, path), path)


class Batch:
    """Documents of a file on their way into a table. Each is decoded at once, while its text is at hand."""

    def __init__(self) -> None:
        self._texts: list[tuple[str, bytes]] = []
        self._size = 0
        self._numbers: list[int] = []
        self._rows: list[tuple[str, _Plain]] = []
        self._together: list[_Document] = []
        self._parts: list[dict[str, NDArray[Any]]] = []

    @property
    def is_full(self) -> bool:
        """Whether a table is to be made."""
        return len(self._texts) == BATCH_DOCUMENTS or self._size >= BATCH_BYTES

    def add(self, key: str, text: bytes) -> None:
        """Take a document, plain or not."""
        decoded = _decoded(text)
        if decoded is not None:
            document, plain = decoded
            self._numbers.append(len(self._texts))
            self._rows.append((document.matpes_id, plain))
            self._together.append(document)
        self._texts.append((key, text))
        self._size += len(text)
        if len(self._together) == TOGETHER:
            self._flatten()

    def convert(self) -> tuple[pa.Table, list[tuple[str, bytes]]]:
        """The plain documents as ``FRAME_SCHEMA``, in the given order, and keys and texts of the others."""
        self._flatten()
        flat = {name: np.concatenate([part[name] for part in self._parts]) for name in self._parts[0]}
        with np.errstate(over="ignore", invalid="ignore"):  # of numbers that are left to the judge
            positions = _positions(flat)
            certain = _certain(flat, positions)
        if certain.all():
            plain = set(self._numbers)
            return _table(self._rows, flat, positions), [x for i, x in enumerate(self._texts) if i not in plain]
        kept = {self._numbers[i] for i in np.flatnonzero(certain).tolist()}
        again = Batch()
        for i in sorted(kept):
            again.add(*self._texts[i])
        return again.convert()[0], [item for i, item in enumerate(self._texts) if i not in kept]

    def _flatten(self) -> None:
        self._parts.append(_flat(self._together))
        self._together = []


def _decoded(text: bytes) -> tuple[_Document, _Plain] | None:
    """A document whose numbers may be looked at, or nothing."""
    if not text.isascii():
        return None
    try:
        document = DECODER.decode(text)
        plain = _plain(document)
    except (msgspec.DecodeError, RecursionError, orjson.JSONDecodeError):
        return None
    n = len(document.structure.sites)
    fits = 0 < n <= MAX_ATOMS and len(document.forces) == n and len(document.abs_forces or document.forces) == n
    return (document, plain) if fits and document.abs_forces != [] and plain is not None else None


def _plain(document: _Document) -> _Plain | None:
    """What is not a number, if it is as in nearly all documents."""
    functional = Functional.get(document.functional)
    if functional is not None and matpes_documents.PAIR.side_of(functional) is None:
        functional = None
    history = orjson.loads(bytes(document.provenance))
    if functional is None or not document.matpes_id or not (history is None or isinstance(history, dict)):
        return None
    facts = {key: value for key, value in (history or {}).items() if value is not None}
    material = facts.get("original_mp_id", document.matpes_id if document.matpes_id.startswith("mp-") else None)
    if not isinstance(material, str) or not material:
        return None
    if document.bandgap is not None:
        facts["bandgap"] = document.bandgap
    return _Plain(functional=functional, material_id=material, provenance=ENCODE(facts))


def _flat(documents: Sequence[_Document]) -> dict[str, NDArray[Any]]:
    """The numbers of some documents, one after the other."""
    each = chain.from_iterable
    crystals = [document.structure for document in documents]
    lattices = [crystal.lattice for crystal in crystals]
    sites = list(each([crystal.sites for crystal in crystals]))
    species = [site.species[0] for site in sites]
    number = _elements()
    return {
        "n": np.fromiter([len(crystal.sites) for crystal in crystals], dtype=np.int64),
        "numbers": np.fromiter([number(item.element, 0) for item in species], dtype=np.int64),
        "occupancies": _floats([item.occu for item in species]),
        "fractional": _floats(each([site.abc for site in sites]), 3),
        "stated": _floats(each([site.xyz for site in sites]), 3),
        "moments": _floats([_or_nan(site.properties.magmom if site.properties else None) for site in sites]),
        "cells": _floats(each(each([lattice.matrix for lattice in lattices])), 3, 3),
        "pbc": np.fromiter(each([lattice.pbc for lattice in lattices]), dtype=bool).reshape(-1, 3),
        "energies": _floats([document.energy for document in documents]),
        "per_atom": _floats([_or_nan(document.energy_per_atom) for document in documents]),
        "gaps": _floats([document.bandgap or 0.0 for document in documents]),
        "forces": _floats(each(each([document.forces for document in documents])), 3),
        "lengths": _floats(each([_lengths(document) for document in documents])),
        "stress": _floats(each([document.stress for document in documents]), 6),
    }


def _floats(values: Iterable[float], *shape: int) -> Floats:
    return np.fromiter(values, dtype=np.float64).reshape(-1, *shape)


def _or_nan(value: float | None) -> float:
    return NAN if value is None else value


def _lengths(document: _Document) -> Sequence[float]:
    return document.abs_forces if document.abs_forces is not None else [NAN] * len(document.forces)


@cache
def _elements() -> Callable[[str, int], int]:
    from ase.data import atomic_numbers

    return {symbol: int(number) for symbol, number in atomic_numbers.items() if number > 0}.get


def _positions(flat: dict[str, NDArray[Any]]) -> Floats:
    """(atoms, 3) in Å: the product of each document by itself, as ``reading.structure`` makes it, to the last bit."""
    n, fractional = flat["n"], flat["fractional"]
    positions = np.empty_like(fractional)
    starts = np.cumsum(n) - n
    for size in np.unique(n).tolist():
        rows = np.flatnonzero(n == size)
        atoms = (starts[rows, None] + np.arange(size)).ravel()
        positions[atoms] = (fractional[atoms].reshape(-1, size, 3) @ flat["cells"][rows]).reshape(-1, 3)
    return positions


def _certain(flat: dict[str, NDArray[Any]], positions: Floats) -> Mask:
    """Which documents ``matpes_documents.frame`` accepts beyond doubt. What is not stated is NaN, and no comparison is true of that."""
    n = flat["n"]
    doubtful = (flat["numbers"] == 0) | (flat["occupancies"] != 1) | (np.abs(flat["moments"]) >= LARGEST)
    for name in ("fractional", "forces", "stated"):
        doubtful |= (np.abs(flat[name]) >= LARGEST).any(axis=1)
    doubtful |= (np.abs(flat["stated"] - positions) > SAME_PLACE / 2).any(axis=1)
    lengths = np.sqrt((flat["forces"] * flat["forces"]).sum(axis=1))
    doubtful |= np.abs(lengths - flat["lengths"]) > matpes_documents.TOLERANCE / 2
    row_of_atom = np.repeat(np.arange(len(n)), n)
    certain: Mask = np.bincount(row_of_atom[doubtful], minlength=len(n)) == 0
    moments = np.bincount(row_of_atom[~np.isnan(flat["moments"])], minlength=len(n))
    certain &= (moments == 0) | (moments == n)
    for name in ("energies", "per_atom", "gaps"):
        certain &= ~(np.abs(flat[name]) >= LARGEST)
    certain &= (np.abs(flat["stress"]) < LARGEST).all(axis=1) & (np.abs(flat["cells"]) < LARGEST).all(axis=(1, 2))
    certain &= ~(np.abs(flat["energies"] / n - flat["per_atom"]) > matpes_documents.TOLERANCE / 2)
    return certain


def _table(rows: Sequence[tuple[str, _Plain]], flat: dict[str, NDArray[Any]], positions: Floats) -> pa.Table:
    n, ids = flat["n"], [name for name, _ in rows]
    stated = ~np.isnan(flat["moments"])
    columns = {
        "frame_id": [f"{name}-{plain.functional}" for name, plain in rows],
        "pair_id": ids,
        "material_id": [plain.material_id for _, plain in rows],
        "functional": [plain.functional for _, plain in rows],
        "provenance": [plain.provenance for _, plain in rows],
        "energy": flat["energies"],
        "numbers": flat["numbers"],
        "positions": positions,
        "cell": flat["cells"],
        "pbc": flat["pbc"],
        "forces": flat["forces"],
        "stress": voigt_to_matrix(stress_from_vasp_kbar(flat["stress"])),
        "magmoms": flat["moments"][stated],
    }
    return flat_table(columns, n, has_magmoms=stated[np.cumsum(n) - n])
