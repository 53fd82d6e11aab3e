"""Labels: two CHGNets, one for each functional, say what the structures' energies are.

The work is done in chunks of fillings. A chunk is a Parquet file of frames with the drops beside it, whole or absent, so a
run that was killed goes on where it stopped.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xferbench.factory.synthetic.structures import KINDS, RATTLE, SEED, STRAIN, VOLUMES, copies, crystal, fillings
from xferbench.functionals import Functional
from xferbench.progress import bar
from xferbench.records import Drop, Frame
from xferbench.storage import read_json, to_json, write_text
from xferbench.tables import frames_table, read_table, table_frames, write_table
from xferbench.units import EV_PER_A3_IN_GPA

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from ase import Atoms

    from xferbench.factory.synthetic.structures import Filling, Kind
    from xferbench.models.chgnet.engine import CHGNetEngine

TEACHERS = {Functional("PBE"): "0.3.0", Functional("r2SCAN"): "r2scan"}
"""Variants of CHGNet. The first was trained on GGA and GGA+U with corrections, which PBE stands for here."""

CHUNK = 100
"""Fillings per file."""

SCALES = tuple(round(0.8 + 0.05 * k, 2) for k in range(15))
"""Of the lattice of touching atoms."""

FIRST = SCALES.index(1.0)

LARGEST_FORCE = 10.0
"""eV/Å."""

LARGEST_STRESS = 50.0
"""GPa. Beyond these, of either teacher, a copy is left out: neither has seen anything like it."""

NO_EQUILIBRIUM = "no_equilibrium_volume"
OUT_OF_RANGE = "beyond_the_teachers"
FAILED = "teacher_failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A part of the work and where it is kept."""

    fillings: Sequence[Filling]
    path: Path

    @property
    def drops(self) -> Path:
        """What was left out; written first, so that a table never lacks it."""
        return self.path.with_suffix(".drops.json")


def labelled(
    directory: Path, chosen: Sequence[Filling] | None = None, *, kinds: tuple[Kind, ...] = KINDS
) -> Iterator[Frame | Drop]:
    """Every frame and drop; chunks that are on disk are read, others are made and kept.

    Args:
        directory: Where chunks are kept.
        chosen: Fillings to label; all that there are if not given.
        kinds: Of compositions, see ``structures.SETS``.

    Raises:
        MissingExtraError: ``chgnet`` is not installed.
        StorageError: The disk refuses.
        IntegrityError: A chunk is damaged.
    """
    chunks = _chunks(directory, kinds, fillings(kinds) if chosen is None else chosen)
    total = sum(len(chunk.fillings) for chunk in chunks)
    with bar("labelling", total, 0, unit="fillings", show=sys.stderr.isatty()) as meter:
        teachers: dict[Functional, CHGNetEngine] = {}
        for chunk in chunks:
            if not chunk.path.exists():
                teachers = teachers or _teachers()
                _make(chunk, teachers)
            yield from read(chunk.path)
            meter.update(len(chunk.fillings))


def read(path: Path) -> Iterator[Frame | Drop]:
    """Frames of a chunk, and its drops if they are beside it.

    Raises:
        StorageError: It cannot be read.
        IntegrityError: It is damaged.
    """
    yield from table_frames(read_table(path))
    drops = Chunk(fillings=(), path=path).drops
    if drops.exists():
        yield from (Drop(**item) for item in read_json(drops))


def _teachers() -> dict[Functional, CHGNetEngine]:
    from xferbench.models.chgnet.checkpoint import load_engine

    return {functional: load_engine(variant) for functional, variant in TEACHERS.items()}


def _chunks(directory: Path, kinds: tuple[Kind, ...], chosen: Sequence[Filling]) -> list[Chunk]:
    """The work, each part named by what it consists of: other structures are other files."""
    settings = repr((SEED, kinds, STRAIN, VOLUMES, RATTLE, SCALES, LARGEST_FORCE, LARGEST_STRESS, TEACHERS))
    parts = [chosen[start : start + CHUNK] for start in range(0, len(chosen), CHUNK)]
    names = [hashlib.sha256(json.dumps([settings, *map(repr, part)]).encode()).hexdigest()[:16] for part in parts]
    return [Chunk(fillings=part, path=directory / f"{name}.parquet") for part, name in zip(parts, names, strict=True)]


def _make(chunk: Chunk, teachers: dict[Functional, CHGNetEngine]) -> None:
    items = list(_label(chunk.fillings, teachers))
    drops = [dataclasses.asdict(item) for item in items if isinstance(item, Drop)]
    write_text(chunk.drops, to_json(drops))
    write_table(chunk.path, frames_table([item for item in items if isinstance(item, Frame)]))


def _label(chosen: Sequence[Filling], teachers: dict[Functional, CHGNetEngine]) -> Iterator[Frame | Drop]:
    structures: list[tuple[Filling, str, Atoms]] = []
    for filling, scale in zip(chosen, equilibria(chosen, teachers[Functional("PBE")]), strict=True):
        if scale is None:
            yield Drop(record_id=filling.name, reason=NO_EQUILIBRIUM, detail=f"between {SCALES[0]} and {SCALES[-1]}")
        else:
            structures += [(filling, name, atoms) for name, atoms in copies(filling, scale)]
    crystals = [atoms for _, _, atoms in structures]
    results = {functional: teacher.predict(crystals) for functional, teacher in teachers.items()}
    for number, (filling, name, atoms) in enumerate(structures):
        said = {functional: found[number] for functional, found in results.items()}
        drop = _refused(name, said)
        if drop is None:
            yield from (_frame(filling, name, atoms, functional, result) for functional, result in said.items())
        else:
            yield drop


def equilibria(chosen: Sequence[Filling], teacher: CHGNetEngine) -> list[float | None]:
    """Walk downhill in the energy of a teacher, all fillings side by side, from the scale at which atoms nearly touch.

    On a grid, so that the last digit of a teacher does not move a structure.

    Returns:
        The scale of ``SCALES`` whose neighbours lie higher; ``None`` where the walk reaches an end.
    """
    energies: dict[tuple[int, int], float] = {}
    places = dict.fromkeys(range(len(chosen)), FIRST)
    while walking := {i: place for i, place in places.items() if 0 < place < len(SCALES) - 1}:
        wanted = [(i, k) for i, place in walking.items() for k in _around(place) if (i, k) not in energies]
        if not wanted:
            break
        results = teacher.predict([crystal(chosen[i], SCALES[k]) for i, k in wanted], forces=False, stress=False)
        energies |= {key: result.get("energy", np.inf) for key, result in zip(wanted, results, strict=True)}
        places |= {i: min(_around(place), key=lambda k: energies[i, k]) for i, place in walking.items()}
    return [SCALES[place] if 0 < place < len(SCALES) - 1 else None for place in places.values()]


def _around(place: int) -> tuple[int, int, int]:
    """A place and its neighbours; itself first, so that a tie ends a walk."""
    return place, place - 1, place + 1


def _refused(name: str, said: dict[Functional, dict[str, Any]]) -> Drop | None:
    """Why a copy is left out, if it is."""
    for functional, result in said.items():
        variant = TEACHERS[functional]
        if "error" in result:
            return Drop(record_id=name, reason=FAILED, detail=f"{variant}: {result['error']}")
        force = float(np.abs(result["forces"]).max())
        stress = float(np.abs(result["stress"]).max()) * EV_PER_A3_IN_GPA
        if force > LARGEST_FORCE or stress > LARGEST_STRESS:
            return Drop(record_id=name, reason=OUT_OF_RANGE, detail=f"{variant}: {force:.1f} eV/Å, {stress:.0f} GPa")
    return None


def _frame(filling: Filling, name: str, atoms: Atoms, functional: Functional, result: dict[str, Any]) -> Frame:
    return Frame(
        frame_id=f"{name}-{functional}",
        pair_id=name,
        material_id=filling.material_id,
        functional=functional,
        numbers=atoms.numbers.astype(np.int64),
        positions=atoms.positions,
        cell=atoms.cell.array,
        energy=float(result["energy"]),
        forces=result["forces"],
        stress=result["stress"],
        magmoms=result["magmoms"],
        provenance={"teacher": f"chgnet:{TEACHERS[functional]}", "prototype": filling.prototype},
    )
