"""Values of an upstream record -> arrays, or the reason why not.

A source converts each record inside ``try: … except Unusable``, so that a bad record costs itself and nothing else.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from xferbench.pairing import MISSING_ENERGY, NOT_FINITE, UNKNOWN_ELEMENT, WRONG_SHAPE
from xferbench.records import LARGEST, Drop

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

MISSING_FIELD = "missing_field"
NOT_A_NUMBER = "not_a_number"
DISORDERED = "disordered"
TOO_LARGE = "too_large"
INCONSISTENT = "inconsistent"
UNKNOWN_FUNCTIONAL = "unknown_functional"
CALCULATION_FAILED = "calculation_failed"
OTHER_FRAMES = "other_frames"
NON_COMMERCIAL = "non_commercial"
REPEATED_RECORD = "repeated_record"
AMBIGUOUS_MATCH = "ambiguous_match"
NO_CELL = "no_cell"

REASONS = {
    MISSING_FIELD: "a record without one of the fields that every frame needs",
    NOT_A_NUMBER: "text, a truth value or null where a number belongs",
    DISORDERED: "a site with several species or a partial occupancy",
    TOO_LARGE: "more atoms than a record of this source can have",
    INCONSISTENT: "two fields of the record that say the same thing disagree",
    UNKNOWN_FUNCTIONAL: "labels of a functional that is not part of the data set",
    CALCULATION_FAILED: "the source holds a placeholder instead of a result",
    OTHER_FRAMES: "frames of a relaxation other than its last; the detail has their number",
    NON_COMMERCIAL: "a licence that forbids commercial use",
    REPEATED_RECORD: "the same record again, word for word",
    AMBIGUOUS_MATCH: "joined by structure, and several frames of one functional have that structure",
    NO_CELL: "periodic without lattice vectors to repeat by",
}
"""Why a source drops a record, besides the reasons of ``pairing``: reason -> what it means."""

MAX_ATOMS = 2000
"""Upstream sets of bulk crystals hold a few hundred atoms per cell at most; more is a damaged or a foreign record."""

SAME_PLACE = 1e-3
"""Å by which the Cartesian coordinates that a record states may differ from its fractional ones."""


class Unusable(Exception):  # noqa: N818 - not an error of the program, and never leaves a source
    """A record that gives no frame."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail

    def drop(self, record_id: str) -> Drop:
        """As a row of the drops table."""
        return Drop(record_id=record_id, reason=self.reason, detail=self.detail)


def field(record: Mapping[str, Any], name: str) -> Any:  # noqa: ANN401 - a JSON value
    """A field that must be there and not null.

    Raises:
        Unusable: It is not.
    """
    value = record.get(name)
    if value is None:
        raise Unusable(MISSING_FIELD, name)
    return value


def text(record: Mapping[str, Any], name: str) -> str:
    """A field that must be a text.

    Raises:
        Unusable: It is missing, empty or something else.
    """
    value = field(record, name)
    if not isinstance(value, str) or not value:
        raise Unusable(MISSING_FIELD, f"{name} is {value!r:.40}, not a text")
    return value


def mapping(record: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A field that must be an object.

    Raises:
        Unusable: It is missing or something else.
    """
    value = field(record, name)
    if not isinstance(value, dict):
        raise Unusable(MISSING_FIELD, f"{name} is {value!r:.40}, not an object")
    return value


def number(record: Mapping[str, Any], name: str) -> float | None:
    """A finite number, or nothing where the field is missing or null.

    Raises:
        Unusable: It is something else.
    """
    value = record.get(name)
    if value is None:
        return None
    if type(value) is float and abs(value) <= LARGEST:  # almost all of them; the rest goes the thorough way
        return value
    return float(_numbers(value, name, ()))


def energy(record: Mapping[str, Any], name: str) -> float:
    """A total energy, as stated.

    Raises:
        Unusable: It is missing or no number.
    """
    value = number(record, name)
    if value is None:
        raise Unusable(MISSING_ENERGY, name)
    return value


def array(record: Mapping[str, Any], name: str, shape: tuple[int, ...]) -> Floats | None:
    """Finite numbers of a shape, or nothing where the field is missing or null.

    Raises:
        Unusable: They are something else.
    """
    value = record.get(name)
    return None if value is None else _numbers(value, name, shape)


def _numbers(value: Any, name: str, shape: tuple[int, ...]) -> Floats:  # noqa: ANN401 - a JSON value
    """Numbers without conversion of anything else: ``numpy`` would take "1.5" and true for numbers, and null for NaN."""
    try:
        values = np.array(value)
    except ValueError as error:
        raise Unusable(WRONG_SHAPE, f"{name} is ragged") from error
    if values.size == 0 and 0 not in shape:
        raise Unusable(WRONG_SHAPE, f"{name} is empty")
    if values.dtype.kind not in "fiu":
        raise Unusable(NOT_A_NUMBER, f"{name} holds {value!r:.40}")
    if values.shape != shape:
        raise Unusable(WRONG_SHAPE, f"{name} has shape {values.shape} instead of {shape}")
    out = values.astype(np.float64, copy=False)
    if not np.isfinite(out).all():
        raise Unusable(NOT_FINITE, name)
    if np.abs(out).max(initial=0.0) > LARGEST:
        raise Unusable(
            NOT_FINITE, f"{name} is {np.abs(out).max():.3g}, and no number beyond {LARGEST:g} means anything"
        )
    return out


def atomic_numbers(symbols: Sequence[str]) -> Integers:
    """Chemical symbols -> atomic numbers.

    Raises:
        Unusable: One is no symbol of an element.
    """
    table = _table()
    try:
        return np.array([table[symbol] for symbol in symbols], dtype=np.int64)
    except (KeyError, TypeError) as error:
        raise Unusable(UNKNOWN_ELEMENT, f"{error.args[0]!s:.40}") from error


@cache
def _table() -> dict[str, int]:
    from ase.data import atomic_numbers as table

    return {symbol: int(value) for symbol, value in table.items() if value > 0}


def structure(record: Mapping[str, Any]) -> dict[str, Any]:
    """A pymatgen ``Structure`` as its ``as_dict`` writes it -> the structural fields of a ``Frame``, and ``magmoms``.

    The positions are the fractional ones (``abc``) times the lattice, as pymatgen itself reads them.

    Returns:
        ``numbers`` (n_atoms,), ``positions`` (n_atoms, 3) in Å, ``cell`` (3, 3) in Å, ``pbc``, and ``magmoms`` (n_atoms,)
        in µB from the site properties, ``None`` if no site has one.

    Raises:
        Unusable: It is no ordered, finite structure of known elements.
    """
    lattice, sites = mapping(record, "lattice"), field(record, "sites")
    if not isinstance(sites, list) or not sites:
        raise Unusable(MISSING_FIELD, f"sites is {sites!r:.40}")
    if len(sites) > MAX_ATOMS:
        raise Unusable(TOO_LARGE, f"{len(sites)} atoms, at most {MAX_ATOMS}")
    if not all(isinstance(site, dict) for site in sites):
        raise Unusable(MISSING_FIELD, "a site that is no object")
    n = len(sites)
    cell = _numbers(field(lattice, "matrix"), "lattice.matrix", (3, 3))
    fractional = _numbers([site.get("abc") for site in sites], "abc", (n, 3))
    positions = fractional @ cell
    _check_places(sites, positions)
    return {
        "numbers": atomic_numbers([_symbol(site) for site in sites]),
        "positions": positions,
        "cell": cell,
        "pbc": _pbc(lattice),
        "magmoms": _site_magmoms(sites),
    }


def _check_places(sites: Sequence[Mapping[str, Any]], positions: Floats) -> None:
    """Where a record states both kinds of coordinates, they must be of the same places."""
    if all("xyz" in site for site in sites):
        apart = np.abs(_numbers([site["xyz"] for site in sites], "xyz", positions.shape) - positions).max()
        if apart > SAME_PLACE:
            raise Unusable(INCONSISTENT, f"xyz and abc are {apart:.3g} Å apart")


def _symbol(site: Mapping[str, Any]) -> str:
    species = site.get("species")
    if not isinstance(species, list) or not species or not isinstance(species[0], dict):
        raise Unusable(MISSING_FIELD, "species of a site")
    if len(species) != 1 or species[0].get("occu", 1) != 1:
        raise Unusable(DISORDERED, f"{species!r:.80}")
    return str(species[0].get("element"))


def _pbc(lattice: Mapping[str, Any]) -> tuple[bool, bool, bool]:
    """Periodic in all directions unless it says otherwise."""
    value = lattice.get("pbc", (True, True, True))
    if not isinstance(value, list | tuple) or len(value) != 3 or not all(isinstance(item, bool) for item in value):
        raise Unusable(WRONG_SHAPE, f"lattice.pbc is {value!r:.40}")
    a, b, c = value
    return a, b, c


def _site_magmoms(sites: Sequence[Mapping[str, Any]]) -> Floats | None:
    values = [(site.get("properties") or {}).get("magmom") for site in sites]
    stated = sum(value is not None for value in values)
    if not stated:
        return None
    if stated < len(values):
        raise Unusable(WRONG_SHAPE, f"magmom of {stated} of {len(values)} sites")
    return _numbers(values, "magmom", (len(values),))
