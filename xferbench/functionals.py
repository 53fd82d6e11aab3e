"""Density functionals, and the two sides of a comparison. Which functionals there are is data: ``functionals.toml``.

>>> Functional("R2SCAN"), Functional("r²SCAN"), Functional("matpes_r2scan")
('r2SCAN', 'r2SCAN', 'r2SCAN')
>>> Functional("r2SCAN").rung
'meta-GGA'
>>> pair = Pair(source=(Functional("PBE"), Functional("PBE+U")), target=(Functional("r2SCAN"),))
>>> pair.name("source"), pair.prose("target"), pair.side_of(Functional("PBE+U"))
('PBE(+U)', 'r²SCAN', 'source')
"""

from __future__ import annotations

import difflib
import tomllib
import unicodedata
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from xferbench.errors import FormatError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

Side = Literal["source", "target"]
SIDES: tuple[Side, Side] = ("source", "target")
"""The functional that one starts from, and the one that one goes to."""

RUNGS = ("LDA", "GGA", "meta-GGA", "hybrid GGA", "hybrid meta-GGA")
"""Of Jacob's ladder, lowest first."""

TABLE = Path(__file__).with_name("functionals.toml")
KEYS = {"name", "prose", "rung", "without_u", "spellings", "citation"}


class Functional(str):
    """The density functional of a label or a model: its name as files write it, made from any of its spellings.

    It is a ``str``, so JSON, TOML, Parquet and messages take it as it is; two spellings of one functional give one object.

    Raises:
        UnknownNameError: No row of ``functionals.toml`` has the spelling; the message has the near name and all known ones.
    """

    __slots__ = ()

    def __new__(cls, spelling: str) -> Functional:  # noqa: PYI034 - a name has one object, of this class
        """The functional that a spelling stands for."""
        if isinstance(spelling, cls):
            return spelling
        found = cls.get(spelling)
        if found is None:
            raise UnknownNameError(f"unknown functional {spelling!r}; {_near(spelling)}")
        return found

    @classmethod
    def get(cls, spelling: str) -> Functional | None:
        """The functional that a spelling stands for, if any."""
        known = _spellings()
        name = known.get(spelling) or known.get(_plain(spelling))
        return None if name is None else _made(name)

    @property
    def prose(self) -> str:
        """As pages and messages write it: ``r²SCAN``."""
        return str(_rows()[self].get("prose", self))

    @property
    def rung(self) -> str:
        """One of ``RUNGS``."""
        return str(_rows()[self]["rung"])

    @property
    def hubbard_u(self) -> bool:
        """Whether it has a Hubbard U."""
        return "without_u" in _rows()[self]

    @property
    def without_u(self) -> Functional:
        """The functional without its Hubbard U, or itself."""
        return Functional(_rows()[self].get("without_u", self))

    @property
    def citation(self) -> str:
        """Who published it, and where."""
        return str(_rows()[self]["citation"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Which functionals stand on each side of a comparison, each in the order that its source lists them.

    A side may hold several that the upstream data mix, as PBE and PBE+U, or none: the source side of frames that only serve
    for training.

    Raises:
        UnknownNameError: A functional is unknown, or stands on both sides.
    """

    source: tuple[Functional, ...]
    target: tuple[Functional, ...]

    def __post_init__(self) -> None:
        """Read the spellings."""
        for side in SIDES:
            object.__setattr__(self, side, tuple(map(Functional, getattr(self, side))))
        both = set(self.source) & set(self.target)
        if both:
            raise UnknownNameError(f"{', '.join(sorted(both))} cannot stand on both sides; name two functionals")

    def __str__(self) -> str:
        """``PBE(+U)/r2SCAN``."""
        return "/".join(self.name(side) for side in SIDES if self.of(side))

    def to_json(self) -> dict[str, list[str]]:
        """As manifests state it: side -> names."""
        return {side: [str(functional) for functional in self.of(side)] for side in SIDES}

    def of(self, side: Side) -> tuple[Functional, ...]:
        """The functionals of one side."""
        return self.source if side == "source" else self.target

    def name(self, side: Side) -> str:
        """A side in files, as a verdict says it: its functional's name, ``PBE(+U)`` for PBE together with PBE+U."""
        return _joined(self.of(side), str)

    def prose(self, side: Side) -> str:
        """The same on pages and in messages: ``r²SCAN``."""
        return _joined(self.of(side), lambda functional: functional.prose)

    def side_of(self, functional: Functional) -> Side | None:
        """The side a functional stands on, if any."""
        return next((side for side in SIDES if functional in self.of(side)), None)

    def side_meant(self, functional: Functional) -> Side | None:
        """The side that a model is of which declares a functional: with a Hubbard U or without, where there is only the other."""
        bare = functional.without_u
        near = (side for side in SIDES if bare in {item.without_u for item in self.of(side)})
        return self.side_of(functional) or next(near, None)


def names() -> tuple[str, ...]:
    """Names of all functionals, in the order of the table."""
    return tuple(_rows())


def by_ladder(functionals: Iterable[Functional]) -> Pair | None:
    """Functionals of exactly two rungs as a pair: the lower rung is the source. ``None`` for any other number of rungs."""
    chosen = sorted(set(functionals), key=names().index)
    rungs = sorted({item.rung for item in chosen}, key=RUNGS.index)
    if len(rungs) != len(SIDES):
        return None
    source, target = (tuple(item for item in chosen if item.rung == rung) for rung in rungs)
    return Pair(source=source, target=target)


@cache
def _made(name: str) -> Functional:
    """The one object of a name."""
    return str.__new__(Functional, name)


def _joined(functionals: tuple[Functional, ...], spelled: Callable[[Functional], str]) -> str:
    groups: dict[Functional, list[Functional]] = {}
    for functional in functionals:
        groups.setdefault(functional.without_u, []).append(functional)
    return "/".join(spelled(group[0]) if len(group) == 1 else f"{spelled(bare)}(+U)" for bare, group in groups.items())


def _plain(spelling: str) -> str:
    """A spelling without case, superscripts and signs."""
    folded = unicodedata.normalize("NFKC", spelling).casefold().replace("ω", "w")
    return "".join(character for character in folded if character.isalnum())


def _near(spelling: str) -> str:
    close = difflib.get_close_matches(_plain(spelling), _spellings(), n=1, cutoff=0.5)
    hint = f"did you mean {_spellings()[close[0]]!r}? " if close else ""
    return f"{hint}known: {', '.join(names())}"


@cache
def _rows() -> Mapping[str, Mapping[str, Any]]:
    """Name -> row of the table."""
    rows = tomllib.loads(TABLE.read_text(encoding="utf-8"))["functional"]
    for row in rows:
        odd = set(row) - KEYS | {"name", "rung", "citation"} - set(row)
        if odd or row["rung"] not in RUNGS:
            raise FormatError(
                f"{TABLE}: {row.get('name', 'a row')} has a rung not in {RUNGS}, or lacks or adds {sorted(odd)}"
            )
    return {row["name"]: row for row in rows}


@cache
def _spellings() -> Mapping[str, str]:
    """Plain spelling, or exact name -> name of the functional."""
    found: dict[str, str] = {name: name for name in _rows()}
    for name, row in _rows().items():
        for spelling in {_plain(item) for item in (name, row.get("prose", name), *row.get("spellings", ()))}:
            if found.setdefault(spelling, name) != name:
                raise FormatError(f"{TABLE}: {spelling!r} stands for {found[spelling]} and for {name}; keep one")
    return found
