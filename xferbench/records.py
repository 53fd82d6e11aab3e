"""The nouns: what a frame, a pair of frames, a data source and a set of predictions are.

| quantity | attribute | shape | unit | convention |
|---|---|---|---|---|
| lattice vectors | ``cell`` | (3, 3) | Å | one vector per row |
| coordinates | ``positions`` | (n_atoms, 3) | Å | Cartesian |
| energy | ``energy`` | scalar | eV | of the whole cell, uncorrected |
| forces | ``forces`` | (n_atoms, 3) | eV/Å | -dE/dx |
| stress | ``stress`` | (3, 3) | eV/Å³ | (1/V) dE/dε, tension positive (ASE sign) |
| magnetic moments | ``magmoms`` | (n_atoms,) | µB | signed, collinear |

A label that a calculation does not have is ``None``, never zero.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from xferbench.errors import DataError
from xferbench.functionals import Functional, Pair, Side  # noqa: TC001 - schemas read the annotations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from ase import Atoms
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

SPLITS = ("train", "val", "test")
PROPERTIES = ("energy", "forces", "stress", "magmoms")

LARGEST = 1e100
"""Numbers beyond this are as useless as infinity, and their squares soon are infinite: a model's structure with one has failed."""


class Geometry(StrEnum):
    """What the two frames of a pair share: every atom's place, or the phase, or the material's name and nothing else."""

    SAME_GEOMETRY = "same_geometry"
    SAME_MATERIAL = "same_material"
    ENERGIES_ONLY = "energies_only"
    """Pairs of energies of one material, without structures."""

    UNPAIRED = "unpaired"
    """No pairs: frames of the target functional, for training."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frame:
    """One structure with the labels of one calculation. Shapes and units are those of the module's table.

    Where a source has energies without structures, a frame has its atomic numbers, no positions (0, 3), and a cell of zeros.

    Attributes:
        frame_id: Unique over a data set.
        pair_id: The same for the two frames of a pair; empty for a frame that stands alone, for training.
        material_id: The parent material; frames of one material never meet in different splits.
        functional: What the labels were computed with.
        numbers: (n_atoms,) atomic numbers.
        correction: Empirical energy correction of the upstream source in eV, **not** part of ``energy``.
        provenance: Where the frame comes from, JSON-able.
    """

    frame_id: str
    pair_id: str
    material_id: str
    functional: Functional
    numbers: Integers
    positions: Floats
    cell: Floats
    pbc: tuple[bool, bool, bool] = (True, True, True)
    energy: float | None = None
    forces: Floats | None = None
    stress: Floats | None = None
    magmoms: Floats | None = None
    correction: float | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def n_atoms(self) -> int:
        """Number of atoms in the cell."""
        return len(self.numbers)

    @property
    def has_structure(self) -> bool:
        """Whether it is known where the atoms are."""
        return len(self.positions) == len(self.numbers)

    def atoms(self) -> Atoms:
        """The bare structure as ASE atoms: no labels, no calculator, no initial magnetic moments.

        Raises:
            DataError: There is no structure.
        """
        if not self.has_structure:
            raise DataError(f"frame {self.frame_id} has an energy and no structure; use a data set with structures")
        from ase import Atoms

        return Atoms(numbers=self.numbers, positions=self.positions, cell=self.cell, pbc=self.pbc)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FramePair:
    """The frame of the source functional and the frame of the target functional of the same atoms."""

    source: Frame
    target: Frame
    geometry: Geometry

    def of(self, side: Side) -> Frame:
        """The frame of one side."""
        return self.source if side == "source" else self.target

    @property
    def pair_id(self) -> str:
        """The id both frames carry."""
        return self.target.pair_id

    @property
    def material_id(self) -> str:
        """The parent material of both frames."""
        return self.target.material_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """Something a step left out, and why. Every drop is counted in the manifest and on the card."""

    record_id: str
    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitRule:
    """How materials are dealt to train, val and test; a group's place depends on nothing but its name and the salt.

    Attributes:
        salt: Hashed with the name of the group. Another salt is another split.
        fractions: Of the groups, for train, val and test; they sum to 1.
        group: What a material is in this data set, in words: "reduced composition", "Materials Project id".
        by: What is dealt as a whole: each material by itself, or all of a chemical system, or all of a prototype.
        held_out: Symbols of elements that only test may contain.
    """

    salt: str
    fractions: tuple[float, float, float]
    group: str
    by: Literal["material", "chemsys", "prototype"] = "material"
    held_out: tuple[str, ...] = ()

    @property
    def needs_structures(self) -> bool:
        """Whether a material's place depends on more than its id."""
        return self.by != "material" or bool(self.held_out)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SourceDataset:
    """What a data source hands over: frames of both functionals, not yet paired or split.

    Attributes:
        geometry: Declared by the source, never guessed.
        card: Markdown body of the dataset card: how the labels were computed, units, limits.
        frames: Of both sides in any order; the two frames of a pair carry one ``pair_id``, target frames for training none. A sequence, or something that fetches and reads when it is iterated, each time from the start.
        drops: Upstream records that gave no frame; complete when ``frames`` has been iterated.
        synthetic: The labels are a model's: good to study methods on, never to rank models by.
        atom_energies: Functional -> symbol -> eV of an isolated atom, relative to the zero of the energies of the frames; empty if the
            source has none.
        functionals: Which functionals stand on each side; a frame of any other is left out, and counted. If not given, the
            frames say: the lower of two rungs of Jacob's ladder is the source.
        upstream: Returns the files that the frames are read from, after fetching those that are not here, if that is all
            that they follow from.
    """

    name: str
    version: str
    title: str
    licence: str
    citation: str
    card: str
    geometry: Geometry
    split: SplitRule
    frames: Iterable[Frame]
    drops: Sequence[Drop] = ()
    synthetic: bool = False
    atom_energies: Mapping[Functional, Mapping[str, float]] = field(default_factory=dict)
    functionals: Pair | None = None
    upstream: Callable[[], Sequence[Path]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prediction:
    """What a model said about one frame; shapes and units as in ``Frame``.

    Exactly one of ``energy`` and ``error`` may be missing: a failed structure carries its error and no numbers.
    """

    frame_id: str
    energy: float | None = None
    forces: Floats | None = None
    stress: Floats | None = None
    magmoms: Floats | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Predictions:
    """Predictions of one model for the structures of one task, with the settings that made them.

    Attributes:
        records: One per frame, sorted by ``frame_id``.
        settings: JSON-able; two runs may be joined only if theirs are equal.
    """

    records: Sequence[Prediction]
    settings: Mapping[str, Any]

    def digest(self) -> str:
        """``sha256:…`` of the numbers and errors, whatever file format or library version stored them."""
        digest = Digest()
        for record in sorted(self.records, key=lambda item: item.frame_id):
            digest.add(record.frame_id, record.energy, record.forces, record.stress, record.magmoms, record.error)
        return digest.hexdigest()


class Digest:
    """SHA-256 over values, not over files: independent of file format, library version and platform."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, *values: str | float | NDArray[Any] | None) -> None:
        """Append values, each with its kind and length so that no two sequences share an encoding."""
        for value in values:
            if value is None:
                kind, data = b"n", b""
            elif isinstance(value, str):
                kind, data = b"s", value.encode()
            else:
                array = np.asarray(value, dtype="<f8")
                kind, data = b"f", array.tobytes()
            self._hash.update(kind + len(data).to_bytes(8, "little") + data)

    def hexdigest(self) -> str:
        """The digest so far, as ``sha256:`` and 64 hexadecimal digits."""
        return f"sha256:{self._hash.hexdigest()}"


def fingerprint(frames: Iterable[Frame], splits: Mapping[str, str]) -> str:
    """Digest of a data set: every structure and label, and the split of every material.

    Args:
        frames: In any order.
        splits: ``material_id`` -> split name.
    """
    digest = Digest()
    for frame in sorted(frames, key=lambda item: item.frame_id):
        digest.add(frame.frame_id, frame.pair_id, frame.material_id, splits[frame.material_id], frame.functional)
        digest.add(frame.numbers, frame.positions, frame.cell, np.array(frame.pbc))
        digest.add(frame.energy, frame.forces, frame.stress, frame.magmoms, frame.correction)
    return digest.hexdigest()
