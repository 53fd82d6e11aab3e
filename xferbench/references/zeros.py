"""Zeros of energy: which code and potentials labels were made with. Rows of ``zeros.toml``, never an ``if``.

>>> of_dataset("mini").code
'GPAW'
>>> of_training_sets(("MPtrj", "MP-r2SCAN")).name
'mp'
>>> of_training_sets(("MPtrj", "MatPES-PBE")) is None
True
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping  # noqa: TC003 - schema.parse reads the annotations
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from xferbench.registry import check_name
from xferbench.schema import parse

if TYPE_CHECKING:
    from collections.abc import Iterable

TABLE = Path(__file__).with_name("zeros.toml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Zero:
    """What energies are relative to. Attributes as in the table."""

    name: str
    code: str
    potentials: str
    energies: str
    datasets: tuple[str, ...]
    training_sets: tuple[str, ...]
    models: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.code}, {self.potentials}; {self.energies}"


def get(name: str) -> Zero:
    """The row of a name.

    Raises:
        UnknownNameError: There is none.
    """
    return next(zero for zero in rows() if zero.name == check_name("zero of energy", name, names()))


def names() -> tuple[str, ...]:
    """Of all rows."""
    return tuple(zero.name for zero in rows())


def of_dataset(name: str) -> Zero | None:
    """That of a data set; none for a user's own, which nothing is known of."""
    return next((zero for zero in rows() if name in zero.datasets), None)


def of_training_sets(sets: Iterable[str]) -> Zero | None:
    """That of a model trained on these; none if they have several, or one is unknown."""
    found = [next((zero for zero in rows() if name in zero.training_sets), None) for name in sets]
    return found[0] if found and len({None if zero is None else zero.name for zero in found}) == 1 else None


def of_model(name: str) -> Zero | None:
    """That of a built-in model, ``chgnet:r2scan``; none for any other."""
    return next((zero for zero in rows() if name in zero.models), None)


@cache
def rows() -> tuple[Zero, ...]:
    """The table."""
    return tuple(parse(Zero, row, TABLE) for row in tomllib.loads(TABLE.read_text(encoding="utf-8"))["zero"])
