"""Labels and predictions of many frames as arrays: read once, and passed on with masks.

A quantity that frames have one number of is an array, NaN where there is none. One that they have many numbers of is a
``Ragged``: the numbers of all frames one after the other, and where each frame begins; a frame without has none of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from xferbench.records import Digest, Frame, FramePair, Prediction
from xferbench.units import voigt_to_matrix

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from xferbench.functionals import Side
    from xferbench.records import Geometry

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]
    Mask = NDArray[np.bool_]
    Objects = NDArray[np.object_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ragged:
    """Rows of many frames, one frame after the other.

    Attributes:
        values: (n_rows,) or (n_rows, width).
        offsets: (n_frames + 1,) first row of each frame, and the number of rows.
        present: (n_frames,) whether a frame has the quantity.
    """

    values: NDArray[Any]
    offsets: Integers
    present: Mask

    @classmethod
    def of(cls, arrays: Sequence[NDArray[Any] | None], width: int | None, kind: type = np.float64) -> Ragged:
        """From one array per frame, or none.

        Args:
            arrays: Each (rows,), or of any shape whose size ``width`` divides.
            width: Columns; None for one number per row.
            kind: Of the numbers.
        """
        shape = (-1,) if width is None else (-1, width)
        parts: list[NDArray[Any] | None] = [
            None if item is None else np.asarray(item, dtype=kind).reshape(shape) for item in arrays
        ]
        lengths = np.array([0 if part is None else len(part) for part in parts], dtype=np.int64)
        empty: NDArray[Any] = np.empty((0,) if width is None else (0, width), dtype=kind)
        return cls(
            values=np.concatenate([empty, *(part for part in parts if part is not None)]),
            offsets=np.concatenate([[0], np.cumsum(lengths)]),
            present=np.array([part is not None for part in parts], dtype=bool),
        )

    @classmethod
    def join(cls, parts: Sequence[Ragged]) -> Ragged:
        """Frames of several, in their order."""
        lengths = np.concatenate([part.lengths for part in parts])
        return cls(
            values=np.concatenate([part.values for part in parts]),
            offsets=np.concatenate([[0], np.cumsum(lengths)]),
            present=np.concatenate([part.present for part in parts]),
        )

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.present)

    @property
    def lengths(self) -> Integers:
        """(n_frames,) rows of each."""
        return np.diff(self.offsets)

    @property
    def owner(self) -> Integers:
        """(n_rows,) frame of each row."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def row(self, i: int) -> NDArray[Any] | None:
        """The rows of one frame; None if it has none of the quantity."""
        return self.values[self.offsets[i] : self.offsets[i + 1]] if self.present[i] else None

    def take(self, frames: Integers) -> Ragged:
        """Of some frames, in the order asked for."""
        if len(frames) == len(self) and (frames == np.arange(len(self))).all():
            return self
        lengths = self.lengths[frames]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        rows = np.arange(offsets[-1]) + np.repeat(self.offsets[:-1][frames] - offsets[:-1], lengths)
        return Ragged(values=self.values[rows], offsets=offsets, present=self.present[frames])

    def reduce(self, ufunc: np.ufunc, nothing: float) -> Floats:
        """(n_frames,) a reduction over the rows of each frame, such as ``np.maximum``; ``nothing`` where there are none.

        Only of values with one number per row.
        """
        out = np.full(len(self), nothing)
        filled = np.flatnonzero(self.lengths)
        if filled.size:
            out[filled] = ufunc.reduceat(self.values, self.offsets[:-1][filled])
        return out


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Values:
    """Energy, forces, stress and moments of many frames; units and signs as in ``records``.

    Attributes:
        energy: (n,) eV of the whole cell; NaN where there is none.
        forces: (atoms, 3).
        stress: (n of those that have one, 9), the matrix row by row.
        magmoms: (atoms,).
    """

    energy: Floats
    forces: Ragged
    stress: Ragged
    magmoms: Ragged

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.energy)

    def take(self, frames: Integers) -> Values:
        """Of some frames, in the order asked for."""
        return Values(
            energy=self.energy[frames],
            forces=self.forces.take(frames),
            stress=self.stress.take(frames),
            magmoms=self.magmoms.take(frames),
        )

    @classmethod
    def of(cls, records: Sequence[Frame | Prediction]) -> Values:
        """From frames or predictions."""
        return cls(
            energy=np.array([np.nan if item.energy is None else item.energy for item in records], dtype=np.float64),
            forces=Ragged.of([item.forces for item in records], 3),
            stress=Ragged.of([_matrix(item.stress) for item in records], 9),
            magmoms=Ragged.of([item.magmoms for item in records], None),
        )

    @classmethod
    def join(cls, parts: Sequence[Values]) -> Values:
        """Frames of several, in their order."""
        return cls(
            energy=np.concatenate([part.energy for part in parts]),
            **{name: Ragged.join([getattr(part, name) for part in parts]) for name in ("forces", "stress", "magmoms")},
        )


def _matrix(stress: Floats | None) -> Floats | None:
    return voigt_to_matrix(stress) if stress is not None and stress.shape == (6,) else stress


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Free:
    """Which components of many frames symmetry leaves free; it holds the others at zero. ``dataset.symmetry`` finds them.

    Attributes:
        forces: (atoms, 3) of truth values.
        stress: (n, 9), the matrix row by row.
    """

    forces: Ragged
    stress: Ragged

    def take(self, frames: Integers) -> Free:
        """Of some frames, in the order asked for."""
        return Free(forces=self.forces.take(frames), stress=self.stress.take(frames))

    @classmethod
    def join(cls, parts: Sequence[Free]) -> Free:
        """Frames of several, in their order."""
        return cls(
            forces=Ragged.join([part.forces for part in parts]), stress=Ragged.join([part.stress for part in parts])
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Calculations:
    """One side of many pairs: what was calculated, and with what.

    Attributes:
        frame_id: (n,) texts.
        functional: (n,) texts.
        numbers: (atoms,) atomic numbers.
        values: The labels.
        free: Components that symmetry leaves free; None where nobody has looked, and all of them count.
    """

    frame_id: Objects
    functional: Objects
    numbers: Ragged
    values: Values
    free: Free | None = None

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.frame_id)

    @property
    def n_atoms(self) -> Integers:
        """(n,)."""
        return self.numbers.lengths

    @property
    def energy_per_atom(self) -> Floats:
        """(n,) eV/atom; NaN where there is none."""
        return self.values.energy / self.n_atoms

    def take(self, frames: Integers) -> Calculations:
        """Of some frames, in the order asked for."""
        return Calculations(
            frame_id=self.frame_id[frames],
            functional=self.functional[frames],
            numbers=self.numbers.take(frames),
            values=self.values.take(frames),
            free=None if self.free is None else self.free.take(frames),
        )

    @classmethod
    def of(cls, frames: Sequence[Frame]) -> Calculations:
        """From frames."""
        return cls(
            frame_id=np.array([frame.frame_id for frame in frames], dtype=object),
            functional=np.array([str(frame.functional) for frame in frames], dtype=object),
            numbers=Ragged.of([frame.numbers for frame in frames], None, np.int64),
            values=Values.of(frames),
        )

    @classmethod
    def join(cls, parts: Sequence[Calculations]) -> Calculations:
        """Frames of several, in their order."""
        return cls(
            frame_id=np.concatenate([part.frame_id for part in parts]),
            functional=np.concatenate([part.functional for part in parts]),
            numbers=Ragged.join([part.numbers for part in parts]),
            values=Values.join([part.values for part in parts]),
            free=Free.join(known) if len(known := [part.free for part in parts if part.free]) == len(parts) else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Labels:
    """Both sides of many pairs.

    Attributes:
        pair_id: (n,) texts.
        material_id: (n,) texts.
        geometry: What the two frames of a pair share.
        source: One side.
        target: The other; row i is the partner of row i.
        flags: Flag of ``hygiene`` -> (n,) pairs that have it.
        structures: Some of the pairs with their structures: row -> pair, for what needs to know where the atoms are. All of them
            if a model is to be run.
    """

    pair_id: Objects
    material_id: Objects
    geometry: Geometry
    source: Calculations
    target: Calculations
    flags: Mapping[str, Mask] = field(default_factory=dict)
    structures: Mapping[int, FramePair] = field(default_factory=dict)

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.pair_id)

    def of(self, side: Side) -> Calculations:
        """One side."""
        return self.source if side == "source" else self.target

    @property
    def digest(self) -> str:
        """``sha256:…`` of ids, elements, materials and labels: all that a score rests on."""
        digest = Digest()
        for side in (self.source, self.target):
            known = np.isfinite(side.values.energy)
            digest.add(*side.frame_id, *side.functional, known, np.where(known, side.values.energy, 0.0))
            for part in (side.numbers, side.values.forces, side.values.stress, side.values.magmoms):
                digest.add(part.values, part.offsets, part.present)
        digest.add(*self.pair_id, *self.material_id)
        return digest.hexdigest()

    def take(self, rows: Integers | Mask) -> Labels:
        """Some of the pairs, in the order asked for."""
        rows = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows.astype(np.int64, copy=False)
        if len(rows) == len(self) and (rows == np.arange(len(self))).all():
            return self
        return replace(
            self,
            pair_id=self.pair_id[rows],
            material_id=self.material_id[rows],
            source=self.source.take(rows),
            target=self.target.take(rows),
            flags={name: mask[rows] for name, mask in self.flags.items()},
            structures={i: self.structures[row] for i, row in enumerate(rows.tolist()) if row in self.structures},
        )

    @classmethod
    def of_pairs(cls, pairs: Sequence[FramePair], flags: Mapping[str, Mask] | None = None) -> Labels:
        """From pairs, which all have the geometry of the first.

        Args:
            pairs: At least one.
            flags: Of the pairs.
        """
        return cls(
            pair_id=np.array([pair.pair_id for pair in pairs], dtype=object),
            material_id=np.array([pair.material_id for pair in pairs], dtype=object),
            geometry=pairs[0].geometry,
            source=Calculations.of([pair.source for pair in pairs]),
            target=Calculations.of([pair.target for pair in pairs]),
            flags=flags or {},
            structures=dict(enumerate(pairs)),
        )

    @classmethod
    def join(cls, parts: Sequence[Labels]) -> Labels:
        """Pairs of several, which agree in geometry and flags, in their order."""
        starts = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).tolist()
        return replace(
            parts[0],
            pair_id=np.concatenate([part.pair_id for part in parts]),
            material_id=np.concatenate([part.material_id for part in parts]),
            source=Calculations.join([part.source for part in parts]),
            target=Calculations.join([part.target for part in parts]),
            flags={name: np.concatenate([part.flags[name] for part in parts]) for name in parts[0].flags},
            structures={
                start + i: pair
                for start, part in zip(starts, parts, strict=False)
                for i, pair in part.structures.items()
            },
        )


_POSSIBLE: dict[str, Callable[[tuple[int, ...]], bool]] = {
    "forces": lambda shape: len(shape) == 2 and shape[1] == 3,
    "stress": lambda shape: shape in {(3, 3), (6,)},
    "magmoms": lambda shape: len(shape) == 1,
}
"""Quantity -> whether a prediction of it may have a shape."""


class PredictionTable(Sequence[Prediction]):
    """Predictions as arrays, which are also a sequence of ``Prediction``.

    Attributes:
        frame_id: (n,) texts.
        energy: (n,) eV; NaN where ``has_energy`` is false.
        has_energy: (n,).
        forces: As predicted: (rows, 3); not yet known to be one row for each atom.
        stress: (rows,) single numbers: nine for each frame, or six in Voigt's order.
        magmoms: (rows,).
        error: (n,) text or None.
        odd: Quantity -> frame id -> shape, of arrays that have no possible one; they are counted as absent.
    """

    def __init__(
        self,
        *,
        frame_id: Objects,
        energy: Floats,
        has_energy: Mask,
        forces: Ragged,
        stress: Ragged,
        magmoms: Ragged,
        error: Objects,
        odd: Mapping[str, Mapping[str, tuple[int, ...]]] | None = None,
    ) -> None:
        self.frame_id, self.energy, self.has_energy = frame_id, energy, has_energy
        self.forces, self.stress, self.magmoms, self.error = forces, stress, magmoms, error
        self.odd = odd or {}

    @classmethod
    def of(cls, records: Sequence[Prediction]) -> PredictionTable:
        """The same predictions; without a copy if they are arrays already."""
        if isinstance(records, PredictionTable):
            return records
        odd: dict[str, dict[str, tuple[int, ...]]] = {}
        arrays: dict[str, list[Floats | None]] = {name: [] for name in _POSSIBLE}
        for record in records:
            for name, possible in _POSSIBLE.items():
                value = getattr(record, name)
                if value is not None and not possible(np.shape(value)):
                    odd.setdefault(name, {})[record.frame_id] = np.shape(value)
                    value = None
                arrays[name].append(value)
        errors = np.empty(len(records), dtype=object)
        errors[:] = [record.error or None for record in records]
        return cls(
            frame_id=np.array([record.frame_id for record in records], dtype=object),
            energy=np.array([np.nan if r.energy is None else r.energy for r in records], dtype=np.float64),
            has_energy=np.array([record.energy is not None for record in records], dtype=bool),
            forces=Ragged.of(arrays["forces"], 3),
            stress=Ragged.of(arrays["stress"], None),
            magmoms=Ragged.of(arrays["magmoms"], None),
            error=errors,
            odd=odd,
        )

    def __len__(self) -> int:
        """Number of predictions."""
        return len(self.frame_id)

    @overload
    def __getitem__(self, i: int) -> Prediction: ...
    @overload
    def __getitem__(self, i: slice) -> list[Prediction]: ...
    def __getitem__(self, i: int | slice) -> Prediction | list[Prediction]:
        """One prediction, or some."""
        if isinstance(i, slice):
            return [self[k] for k in range(*i.indices(len(self)))]
        stress = self.stress.row(i)
        return Prediction(
            frame_id=self.frame_id[i],
            energy=float(self.energy[i]) if self.has_energy[i] else None,
            forces=self.forces.row(i),
            stress=None if stress is None else stress.reshape(3, 3) if len(stress) == 9 else voigt_to_matrix(stress),
            magmoms=self.magmoms.row(i),
            error=self.error[i] or None,
        )

    def take(self, rows: Integers) -> PredictionTable:
        """Some, in the order asked for."""
        return PredictionTable(
            frame_id=self.frame_id[rows],
            energy=self.energy[rows],
            has_energy=self.has_energy[rows],
            forces=self.forces.take(rows),
            stress=self.stress.take(rows),
            magmoms=self.magmoms.take(rows),
            error=self.error[rows],
        )

    def matrices(self) -> Ragged:
        """(frames with one, 9) stresses as matrices.

        Raises:
            ValueError: A stress has neither six nor nine numbers.
        """
        lengths = self.stress.lengths[self.stress.present]
        if not np.isin(lengths, (6, 9)).all():
            raise ValueError("a stress has neither six nor nine numbers")
        values = np.empty((len(lengths), 9))
        starts = self.stress.offsets[:-1][self.stress.present]
        for length in (6, 9):
            some = lengths == length
            numbers = self.stress.values[starts[some][:, None] + np.arange(length)]
            values[some] = numbers if length == 9 else numbers[:, [0, 5, 4, 5, 1, 3, 4, 3, 2]]
        return Ragged(
            values=values,
            offsets=np.concatenate([[0], np.cumsum(self.stress.present)]),
            present=self.stress.present,
        )
