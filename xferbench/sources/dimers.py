"""Homonuclear dimers of 92 elements, PBE and r²SCAN at the same distances: far from equilibrium, with spin.

- Home: Matbench Discovery, ``site/src/lib/diatomics-dft.json.gz`` of https://github.com/janosh/matbench-discovery
- Licence: MIT (repository). VASP 6, settings like the Materials Project's of 2024, PBE_64 PAW, a box of 15 Å.

One object per functional, one per dimer in it, with one entry per distance in each list. Shortened::

    {"PBE": {"He-He": {"distances": [0.224, ...], "energies": [134.953486, ...],
                       "forces": [[[-1020.03, 0.0, 0.0], [1020.03, 0.0, -0.0]], ...],
                       "magmoms": [[-0.0, -0.0], ...], "spin_candidates": ["0", ...]}, ...},
     "r2SCAN": {...}}

| field | raw | here |
|---|---|---|
| distances | Å; the second atom lies at +x of the first | positions in the middle of a box of 15 Å |
| energies | eV of both atoms, σ → 0 | as is |
| forces | eV/Å, (point, atom, xyz) | as is |
| magmoms | µB, null where the calculation failed | as is |

There is no stress. A point whose calculation failed has energy 0, no forces and no moments; it is dropped, since its zeros
are no results. Two points are a pair if they are at the same distance, digit by digit. The material is the element.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from xferbench import download
from xferbench.download import RemoteFile
from xferbench.functionals import Functional, Pair
from xferbench.pairing import WRONG_SHAPE
from xferbench.records import Drop, Frame, Geometry, SourceDataset, SplitRule
from xferbench.sources.documents import documents
from xferbench.sources.reading import (
    CALCULATION_FAILED,
    INCONSISTENT,
    UNKNOWN_FUNCTIONAL,
    Unusable,
    array,
    atomic_numbers,
    energy,
    field,
    number,
)
from xferbench.sources.stream import FrameStream, check_release, local_files, local_version

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

COMMIT = "2c7f9fc42d018711dc2f5df573d225ea6d2d17b2"
FILE = RemoteFile(
    folder="dimers",
    name="diatomics-dft.json.gz",
    urls=(f"https://raw.githubusercontent.com/janosh/matbench-discovery/{COMMIT}/site/src/lib/diatomics-dft.json.gz",),
)
RELEASES = (COMMIT[:7],)
PAIR = Pair(source=(Functional("PBE"),), target=(Functional("r2SCAN"),))
LISTS = ("distances", "energies", "forces", "magmoms", "spin_candidates")
BOX = 15.0
"""Å, the edge of the cubic cell."""

SPLIT = SplitRule(salt="dimers-1", fractions=(0.6, 0.1, 0.3), group="element")
CITATION = """@misc{matbench_discovery_diatomics,
  title = {Homonuclear diatomics in PBE and r2SCAN},
  author = {Riebesell, Janosh and others},
  howpublished = {Matbench Discovery, https://github.com/janosh/matbench-discovery}
}"""
CARD = """Pairs of equal atoms in a periodic box of 15 Å, from strong compression to 6 Å, computed by VASP 6 with PBE and with
r²SCAN (PBE_64 PAW). Of several spin states the lowest was kept at each point, so curves jump where the state changes; the
candidate is in `provenance`. There is no stress. The cell has no meaning beyond its size."""


def load(
    *,
    version: str | None = None,
    paths: Sequence[Path] = (),
    cache_dir: Path | None = None,
    offline: bool = False,
) -> SourceDataset:
    """All points of both functionals. Nothing is fetched or read before the first frame is asked for.

    Args:
        version: The commit of the file, its first seven digits.
        paths: ``diatomics-dft.json.gz``, or the directory it is in, instead of the network.
        cache_dir: Where downloads are kept.
        offline: Forbid the network.

    Raises:
        UsageError: No such release.
        DataError: Nothing to read at ``paths``.
        StorageError: A path cannot be read.
    """
    release = check_release("dimers", version, RELEASES)
    files = local_files(paths, _is_ours, "diatomics-dft.json.gz") if paths else []

    def upstream() -> Sequence[Path]:
        return files or [download.fetch(FILE, cache_dir, offline=offline)]

    def read() -> Iterator[Frame | Drop]:
        for path in upstream():
            yield from _read(path)

    stream = FrameStream(read=read)
    return SourceDataset(
        name="dimers",
        version=local_version(files) if files else release,
        title="Dimers of the elements in PBE and r²SCAN",
        licence="mit",
        citation=CITATION,
        card=CARD,
        functionals=PAIR,
        geometry=Geometry.SAME_GEOMETRY,
        split=SPLIT,
        frames=stream,
        drops=stream.drops,
        upstream=upstream,
    )


def _is_ours(name: str) -> bool:
    return name.startswith("diatomics-dft.json")


def _read(path: Path) -> Iterator[Frame | Drop]:
    for document in documents(path):
        functional = Functional.get(document.key)
        if functional is None or PAIR.side_of(functional) is None:
            yield Drop(record_id=document.key, reason=UNKNOWN_FUNCTIONAL, detail=f"of {path.name}")
            continue
        for name, curve in document.value.items():
            yield from _curve(name, curve, functional)


def _curve(name: str, curve: object, functional: Functional) -> Iterator[Frame | Drop]:
    """The points of one dimer in one functional."""
    try:
        points = _points(curve)
    except Unusable as problem:
        yield problem.drop(f"{name}-{functional}")
        return
    for i, point in enumerate(points):
        try:
            yield frame(name, point, functional)
        except Unusable as problem:
            yield problem.drop(f"{name}-{functional}#{i}")


def _points(curve: object) -> list[dict[str, Any]]:
    """Lists of values -> one mapping per distance."""
    if not isinstance(curve, dict):
        raise Unusable(WRONG_SHAPE, f"{curve!r:.40} is no curve")
    columns = {name: field(curve, name) for name in LISTS}
    lengths = {name: len(column) if isinstance(column, list) else None for name, column in columns.items()}
    if len(set(lengths.values())) != 1 or None in lengths.values():
        raise Unusable(WRONG_SHAPE, f"lists of different lengths: {lengths}")
    return [dict(zip(LISTS, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def frame(name: str, point: Mapping[str, Any], functional: Functional) -> Frame:
    """One point of one curve as a frame; see the module for units.

    Args:
        name: Of the dimer: ``He-He``.
        point: One value of each list.
        functional: Of the labels.

    Raises:
        Unusable: It gives none.
    """
    first, _, second = name.partition("-")
    distance = number(point, "distances")
    if distance is None or distance <= 0 or first != second:
        raise Unusable(INCONSISTENT, f"dimer {name} at {distance} Å")
    forces = array(point, "forces", (2, 3))
    if point["magmoms"] is None and point["energies"] == 0 and forces is not None and not forces.any():
        raise Unusable(CALCULATION_FAILED, f"{name} at {distance} Å has energy 0, no forces and no moments")
    middle = BOX / 2
    return Frame(
        frame_id=f"{name}-{distance}-{functional}",
        pair_id=f"{name}-{distance}",
        material_id=first,
        functional=functional,
        numbers=atomic_numbers([first, second]),
        positions=np.array([[middle - distance / 2, middle, middle], [middle + distance / 2, middle, middle]]),
        cell=np.eye(3) * BOX,
        energy=energy(point, "energies"),
        forces=forces,
        magmoms=array(point, "magmoms", (2,)),
        provenance={"distance": distance, "spin_candidate": point["spin_candidates"]},
    )
