"""MPtrj: relaxations of the Materials Project in PBE and PBE+U, what CHGNet 0.3.0 was trained on.

- Home: https://figshare.com/articles/dataset/23713842, file 41619375, ``MPtrj_2022.9_full.json``, 11.35 GB
- Licence: MIT; the Materials Project's data are CC BY 4.0. Paper: doi 10.1038/s42256-023-00716-3.
- 1,580,395 frames of 145,923 materials.

One mapping of materials, each a mapping of frames ``<task>-<calculation>-<ionic step>``. Calculation 0 is the second, last
relaxation. Shortened::

    {"mp-1": {"mp-1990456-0-2": {"structure": {...}, "uncorrected_total_energy": -0.85, "corrected_total_energy": -0.85,
              "energy_per_atom": -0.85, "force": [[0, 0, 0]], "stress": [[x, x, x], [x, x, x], [x, x, x]],
              "magmom": [0.0], "bandgap": 0.0, "mp_id": "mp-1"}, ...}, ...}

| field | raw | here |
|---|---|---|
| uncorrected_total_energy | eV of the whole cell | ``energy`` |
| corrected_total_energy | eV with MP2020 corrections | ``correction`` is the difference |
| energy_per_atom | eV/atom, **corrected**; CHGNet's label | checked against the corrected energy |
| force | eV/Å | as is |
| stress | (3, 3), kBar, VASP's sign (compression positive) | × -0.1 / 160.2176634: eV/Å³, tension positive |
| magmom | µB, or null | as is, with its sign |

A record does not say whether it used a Hubbard U. The Materials Project's input sets do so exactly for oxides and fluorides
of Co, Cr, Fe, Mn, Mo, Ni, V and W, and its corrections mix the two by the same rule, so that is how PBE and PBE+U are told
apart here (``MPRelaxSet`` of pymatgen); it is a deduction, not a label.

As a data set of pairs it serves ``mp_r2scan``.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from xferbench.functionals import Functional
from xferbench.records import Drop, Frame
from xferbench.sources.documents import documents
from xferbench.sources.reading import (
    INCONSISTENT,
    MISSING_FIELD,
    OTHER_FRAMES,
    Unusable,
    array,
    energy,
    mapping,
    number,
    structure,
)
from xferbench.sources.work import WorkCheck, conclude
from xferbench.units import stress_from_vasp_kbar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

ARTICLE = 23713842
FILE = "MPtrj_2022.9_full.json"
HUBBARD_METALS = frozenset({23, 24, 25, 26, 27, 28, 42, 74})
"""V, Cr, Mn, Fe, Co, Ni, Mo, W."""

HUBBARD_ANIONS = frozenset({8, 9})
"""O and F."""

CHECKED = 1000
"""Materials, the first ones, whose whole relaxations are looked at to check units."""

TOLERANCE = 1e-3
"""eV/atom up to which a record's repeated energies may differ."""


def read(path: Path) -> Iterator[Frame | Drop]:
    """The last frame of each material's relaxation; a drop for what gives none, and one for all its other frames."""
    return read_relaxed(path, hubbard)


def hubbard(numbers: NDArray[Any]) -> Functional:
    """Which functional the Materials Project's GGA input sets give a composition."""
    present = set(numbers.tolist())
    return Functional("PBE+U") if present & HUBBARD_METALS and present & HUBBARD_ANIONS else Functional("PBE")


def read_relaxed(
    path: Path, functional: Callable[[NDArray[Any]], Functional], *, every: bool = False
) -> Iterator[Frame | Drop]:
    """Read a file of this layout, whatever the functional of its labels.

    Args:
        path: The file.
        functional: Of a frame with these atomic numbers.
        every: Also give all frames of each relaxation, the last one among them, as standing alone.

    Raises:
        IntegrityError: The file is truncated or damaged.
        FormatError: It is no JSON of the known layout.
        DataError: Forces or stresses have another unit or sign than they should.
    """
    check = WorkCheck()
    for i, document in enumerate(documents(path)):
        if i < CHECKED:
            _check_units(document.key, document.value, functional, check)
        if every:
            yield from _alone(document.key, document.value, functional, path)
        name = f"{document.key}@{path.name}"
        try:
            frame_id, record = last_frame(document.value)
            yield frame(document.key, frame_id, record, functional)
        except Unusable as problem:
            yield problem.drop(name)
            continue
        others = len(document.value) - 1
        if others and not every:
            yield Drop(record_id=name, reason=OTHER_FRAMES, detail=f"{others} besides {frame_id}")
    conclude(path.name, check)


def _alone(
    material: str, frames: Mapping[str, Any], functional: Callable[[NDArray[Any]], Functional], path: Path
) -> Iterator[Frame | Drop]:
    """All frames of a material, without partners."""
    for frame_id in frames:
        try:
            yield replace(frame(material, frame_id, mapping(frames, frame_id), functional), pair_id="")
        except Unusable as problem:
            yield problem.drop(f"{material}/{frame_id}@{path.name}")


def _check_units(
    material: str, frames: Mapping[str, Any], functional: Callable[[NDArray[Any]], Functional], check: WorkCheck
) -> None:
    """Have the steps of a relaxation tell whether energies, forces and stresses belong together."""
    for frame_id in frames:
        with suppress(Unusable):  # what is wrong with a record is said when its frame is asked for
            check.add(frame(material, frame_id, mapping(frames, frame_id), functional))


def last_frame(frames: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """The frame at which the relaxation of a material ended.

    That is the last ionic step of a task's last calculation; of several tasks, the one with the lowest energy per atom.

    Returns:
        Its id and its record.

    Raises:
        Unusable: There is none, or the ids are not of the known form.
    """
    ends: dict[str, tuple[int, int, str]] = {}
    for frame_id in frames:
        task, calculation, step = _parts(frame_id)
        ends[task] = max(ends.get(task, (-calculation, step, frame_id)), (-calculation, step, frame_id))
    if not ends:
        raise Unusable(MISSING_FIELD, "no frames")
    candidates = sorted(frame_id for _, _, frame_id in ends.values())
    chosen = candidates[0] if len(candidates) == 1 else min(candidates, key=lambda item: _per_atom(frames, item))
    return chosen, mapping(frames, chosen)


def _parts(frame_id: str) -> tuple[str, int, int]:
    parts = frame_id.rsplit("-", 2)
    if len(parts) != 3 or not parts[1].isdigit() or not parts[2].isdigit():
        raise Unusable(MISSING_FIELD, f"frame id {frame_id!r:.60} is not <task>-<calculation>-<step>")
    return parts[0], int(parts[1]), int(parts[2])


def _per_atom(frames: Mapping[str, Any], frame_id: str) -> float:
    record = mapping(frames, frame_id)
    sites = mapping(record, "structure").get("sites") or [None]
    return energy(record, "uncorrected_total_energy") / len(sites)


def frame(
    material: str, frame_id: str, record: Mapping[str, Any], functional: Callable[[NDArray[Any]], Functional]
) -> Frame:
    """One record as a frame; see the module for units.

    Args:
        material: Materials Project id, which is what a pair has in common.
        frame_id: Of the record in its file.
        record: As in the file.
        functional: Of a frame with these atomic numbers.

    Raises:
        Unusable: It gives none.
    """
    crystal = structure(mapping(record, "structure"))
    n = len(crystal["numbers"])
    raw, corrected = energy(record, "uncorrected_total_energy"), number(record, "corrected_total_energy")
    per_atom = number(record, "energy_per_atom")
    stated = raw if corrected is None else corrected
    if per_atom is not None and abs(stated / n - per_atom) > TOLERANCE:
        raise Unusable(INCONSISTENT, f"{frame_id}: {stated} eV of {n} atoms, {per_atom} eV/atom")
    stress = array(record, "stress", (3, 3))
    magmoms = array(record, "magmom", (n,))
    kind = functional(crystal["numbers"])
    gap = number(record, "bandgap")
    return Frame(
        frame_id=f"{frame_id}-{kind}",
        pair_id=material,
        material_id=material,
        functional=kind,
        energy=raw,
        forces=array(record, "force", (n, 3)),
        stress=None if stress is None else stress_from_vasp_kbar(stress),
        correction=None if corrected is None else corrected - raw,
        provenance={"frame": frame_id} if gap is None else {"frame": frame_id, "bandgap": gap},
        **{**crystal, "magmoms": crystal["magmoms"] if magmoms is None else magmoms},
    )
