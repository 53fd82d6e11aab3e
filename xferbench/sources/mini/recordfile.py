"""The raw records of ``mini``: JSON lines, one calculation each, the PBE line of a pair before its r²SCAN line.

| key | what |
|---|---|
| ``id``, ``pair_id`` | ``<pair_id>-<functional>``, ``<seed_structure>-<perturbation>`` |
| ``seed_structure``, ``perturbation``, ``seed`` | what ``structures.perturbed`` was called with, and its random seed |
| ``functional``, ``settings``, ``versions`` | ``PBE`` or ``r2SCAN``; numerical settings; versions of all codes |
| ``structure`` | ``lattice_A``, ``species``, ``cart_coords_A``, ``pbc``, ``initial_magmoms_muB`` |
| ``status`` | ``ok`` or ``failed``; a failed record has ``error`` instead of everything below |
| ``energy_eV``, ``free_energy_eV`` | of the cell: extrapolated to zero smearing width; and the one forces derive from |
| ``reference_energy_eV`` | GPAW's atomic reference, which both energies are relative to |
| ``forces_eV_per_A`` | (n_atoms, 3) |
| ``stress_eV_per_A3_voigt`` | (6,) xx yy zz yz xz xy, tension positive |
| ``magmoms_muB`` | (n_atoms,), spin-polarised calculations only |
| ``kpts``, ``n_kpts_irreducible``, ``scf_iterations``, ``wall_s``, ``cpu_s`` | the mesh, and what it took |
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, NoReturn

from xferbench.errors import FormatError
from xferbench.sources.mini.checks import XC, Line, Problem, check, is_single
from xferbench.storage import disk_errors, read_bytes, write_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """A records file that is ready for more.

    Attributes:
        finished: Ids of the pairs that have both records, or a failed one.
        dropped: What a killed run left and was removed, in words.
    """

    finished: frozenset[str] = frozenset()
    dropped: tuple[str, ...] = ()


def read_records(path: Path, *, growing: bool = False) -> list[dict[str, Any]]:
    """Every record of a file, checked, in the order of their ids.

    Args:
        path: JSON lines.
        growing: Whether another process may be writing: what follows the last line end is not read.

    Raises:
        StorageError: The file cannot be read.
        FormatError: It breaks the format; all problems with their line numbers.
    """
    data = read_bytes(path)
    lines, problems = _parse(data[: data.rfind(b"\n") + 1] if growing else data)
    _refuse(path, problems + check(lines))
    return sorted((line.record for line in lines), key=lambda record: str(record["id"]))


def material_id(symbols: Sequence[str]) -> str:
    """The material of a structure: its reduced composition, as pymatgen writes it ("NaCl", "Mg2Si", "Si")."""
    return _reduced_formula(tuple(sorted(symbols)))


@cache
def _reduced_formula(symbols: tuple[str, ...]) -> str:
    from pymatgen.core.composition import Composition

    return str(Composition({symbol: symbols.count(symbol) for symbol in symbols}).reduced_formula)


def append_records(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Append records with one write, and wait until the disk has them.

    A run killed in the middle leaves at most a torn end, which ``resume`` removes.

    Raises:
        StorageError: The disk refuses.
    """
    data = "".join(json.dumps(record, sort_keys=True, allow_nan=False) + "\n" for record in records).encode()
    with disk_errors("write", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())


def resume(path: Path) -> Resumed:
    """Make a file that a run may have left at any moment ready for more.

    A torn last line is removed, and so is a pair of which only one record arrived; both will be calculated again.
    Anything else that is wrong was not done by a killed run and is refused, before hours are spent on adding to it.

    Raises:
        StorageError: The file cannot be read or written.
        FormatError: It breaks the format; all problems with their line numbers.
    """
    if not path.exists():
        return Resumed()
    data = read_bytes(path)
    lines, problems = _parse(data)
    dropped = []
    if problems and problems[-1].line == len(data.rstrip().splitlines()):
        dropped.append(f"line {problems.pop().line} was torn off by a killed run; removed it")
    finished = _finished_pairs(lines)
    kept = [line for line in lines if line.record.get("pair_id") in finished]
    dropped += [
        f"line {line.number} ({line.record.get('id')}) lacks the other record of its pair; removed it to calculate both"
        for line in lines
        if line.record.get("pair_id") not in finished
    ]
    _refuse(path, problems + check(kept))
    whole = b"".join(line.data + b"\n" for line in kept)
    if whole != data:
        write_bytes(path, whole)
    return Resumed(finished=finished, dropped=tuple(dropped))


def _refuse(path: Path, problems: Sequence[Problem]) -> None:
    if problems:
        listed = "; ".join(str(problem) for problem in sorted(problems, key=lambda item: item.line))
        raise FormatError(
            f"{path}: {len(problems)} problem{'s' * (len(problems) > 1)}: {listed}. Mend or remove these lines"
        )


def _parse(data: bytes) -> tuple[list[Line], list[Problem]]:
    lines, problems = [], []
    for number, text in enumerate(data.splitlines(), start=1):
        if not text.strip():
            continue
        try:
            record = json.loads(text, parse_constant=_refuse_constant)
        except ValueError as error:
            problems.append(Problem(line=number, text=f"not JSON ({error})"))
            continue
        if isinstance(record, dict):
            lines.append(Line(number=number, data=text, record=record))
        else:
            problems.append(Problem(line=number, text="not a JSON object"))
    return lines, problems


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


def _finished_pairs(lines: Iterable[Line]) -> frozenset[str]:
    """Pairs with both records or a failed one, and calculations that have no partner."""
    seen: dict[str, set[str]] = {}
    for line in lines:
        record = line.record
        alone = record.get("status") == "failed" or is_single(str(record.get("perturbation")))
        outcomes = {*XC} if alone else {str(record.get("functional"))}
        seen.setdefault(str(record.get("pair_id")), set()).update(outcomes)
    return frozenset(pair for pair, outcomes in seen.items() if {*XC} <= outcomes)
