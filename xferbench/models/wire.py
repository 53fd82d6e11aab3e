"""What a run and a model's process say to each other: a JSON object and numpy arrays, never pickle.

A message is two lengths (unsigned 64-bit, little-endian), the JSON object, and the arrays' bytes one after the other; the
object lists them under ``arrays`` as name, type and shape. Reading a message runs no code and allocates no more than was sent.

Structures and answers of a batch travel as arrays of all its atoms, because a JSON number per coordinate and an object per
structure would cost more than a small network does.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ase import Atoms
    from numpy.typing import NDArray

    from xferbench.models.contract import Results
    from xferbench.records import Floats, Frame, Integers

HEAD = struct.Struct("<QQ")
"""Bytes of the JSON object, bytes of the arrays."""

LARGEST = 1 << 33
"""Bytes of the longest message that is waited for: who announces more is making trouble."""

TYPES = ("<f8", "<i8", "|b1")

PER_ATOM: dict[str, tuple[int, ...]] = {"forces": (3,), "magmoms": ()}
"""Results with a row per atom -> shape of a row."""

OPTIONAL: dict[str, tuple[int, ...]] = {**PER_ATOM, "stress": (3, 3)}
"""Results that a model may leave out -> shape of a row; ``stress`` has one per structure."""


def encode(message: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]] | None = None) -> bytes:
    """A message as bytes."""
    parts = {name: np.ascontiguousarray(array) for name, array in (arrays or {}).items()}
    listed = [[name, array.dtype.str, array.shape] for name, array in parts.items()]
    text = json.dumps({**message, "arrays": listed}, allow_nan=False).encode()
    body = b"".join(array.tobytes() for array in parts.values())
    return HEAD.pack(len(text), len(body)) + text + body


def decode(data: bytes | bytearray | memoryview) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The object and the arrays of a whole message, read-only.

    Raises:
        ValueError: It is not a message.
    """
    data = memoryview(data)
    try:
        n_text, n_body = HEAD.unpack_from(data)
        message = json.loads(bytes(data[HEAD.size : HEAD.size + n_text]))
        listed = message.pop("arrays")
        arrays, at = {}, HEAD.size + n_text
        if len(data) != at + n_body:
            raise ValueError("another length than announced")
        for name, kind, shape in listed:
            if kind not in TYPES or any(type(size) is not int or size < 0 for size in shape):
                raise ValueError(f"array {name} of type {kind} and shape {shape}")
            count = int(np.prod(shape, dtype=object)) if shape else 1
            arrays[name] = np.frombuffer(data, dtype=kind, count=count, offset=at).reshape(shape)
            at += arrays[name].nbytes
        if at != len(data):
            raise ValueError("bytes beyond the last array")
    except (struct.error, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"no message: {error}") from error
    return message, arrays


def length(head: bytes | bytearray) -> int | None:
    """Bytes of the message that begins so, once enough of it is there to tell; one that announces too much ends at once."""
    if len(head) < HEAD.size:
        return None
    announced = sum(HEAD.unpack_from(head))
    return HEAD.size + (announced if announced <= LARGEST else 0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Structures:
    """All that a model is told of some frames: no id, no label, no provenance.

    Attributes:
        n_atoms: (structures,) of each.
        numbers: (atoms,) atomic numbers.
        positions: (atoms, 3) Å.
        cell: (structures, 3, 3) Å, one vector per row.
        pbc: (structures, 3).
    """

    n_atoms: Integers
    numbers: Integers
    positions: Floats
    cell: Floats
    pbc: NDArray[np.bool_]

    @classmethod
    def of(cls, frames: Sequence[Frame]) -> Self:
        """The structures of frames, in their order."""
        return cls(
            n_atoms=np.array([len(frame.numbers) for frame in frames], dtype="<i8"),
            numbers=np.concatenate([frame.numbers for frame in frames]).astype("<i8", copy=False),
            positions=np.concatenate([frame.positions for frame in frames]).astype("<f8", copy=False),
            cell=np.stack([frame.cell for frame in frames]).astype("<f8", copy=False),
            pbc=np.array([frame.pbc for frame in frames], dtype="|b1"),
        )

    def arrays(self) -> dict[str, NDArray[Any]]:
        """For ``encode``; ``Structures(**arrays)`` is the inverse."""
        return {name: getattr(self, name) for name in self.__slots__}

    def atoms(self) -> list[Atoms]:
        """As ASE atoms, each with arrays of its own."""
        from ase import Atoms

        ends = np.cumsum(self.n_atoms)
        return [
            Atoms(numbers=self.numbers[end - n : end], positions=self.positions[end - n : end], cell=cell, pbc=pbc)
            for n, end, cell, pbc in zip(self.n_atoms.tolist(), ends.tolist(), self.cell, self.pbc, strict=True)
        ]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answers:
    """What a model said about a batch, structure by structure in the order it was asked.

    Attributes:
        n_atoms: (structures,) of each.
        energy: (structures,) eV of the whole cell; NaN where it failed.
        given: Name of an ``OPTIONAL`` result -> (structures,) whether the structure has it.
        values: Name of an ``OPTIONAL`` result -> its rows, of those structures that have it, one after the other.
        errors: Index of a structure that failed -> why.
    """

    n_atoms: Integers
    energy: Floats
    given: Mapping[str, NDArray[np.bool_]]
    values: Mapping[str, Floats]
    errors: Mapping[int, str]

    def __len__(self) -> int:
        return len(self.n_atoms)

    @classmethod
    def of(cls, results: Sequence[Results | str], n_atoms: Iterable[int]) -> Self:
        """From checked results, or the reason why there are none, one per structure."""
        given, values = {}, {}
        for name, row in OPTIONAL.items():
            parts = [None if isinstance(item, str) else item.get(name) for item in results]
            given[name] = np.array([part is not None for part in parts], dtype="|b1")
            rows = [np.reshape(np.asarray(part, dtype="<f8"), (-1, *row)) for part in parts if part is not None]
            values[name] = np.concatenate(rows) if rows else np.zeros((0, *row))
        return cls(
            n_atoms=np.fromiter(n_atoms, dtype="<i8"),
            energy=np.array([np.nan if isinstance(item, str) else item["energy"] for item in results], dtype="<f8"),
            given=given,
            values=values,
            errors={index: item for index, item in enumerate(results) if isinstance(item, str)},
        )

    @classmethod
    def joined(cls, parts: Sequence[Answers]) -> Self:
        """Several batches as one."""
        first = np.cumsum([0, *(len(part) for part in parts)])
        return cls(
            n_atoms=np.concatenate([part.n_atoms for part in parts]),
            energy=np.concatenate([part.energy for part in parts]),
            given={name: np.concatenate([part.given[name] for part in parts]) for name in OPTIONAL},
            values={name: np.concatenate([part.values[name] for part in parts]) for name in OPTIONAL},
            errors={
                int(start) + index: text
                for start, part in zip(first, parts, strict=False)
                for index, text in part.errors.items()
            },
        )

    def between(self, start: int, stop: int) -> Answers:
        """Those of some neighbouring structures."""
        values = {}
        for name in OPTIONAL:
            rows = self.rows(name)
            first = int(rows[:start].sum())
            values[name] = self.values[name][first : first + int(rows[start:stop].sum())]
        return Answers(
            n_atoms=self.n_atoms[start:stop],
            energy=self.energy[start:stop],
            given={name: mask[start:stop] for name, mask in self.given.items()},
            values=values,
            errors={index - start: text for index, text in self.errors.items() if start <= index < stop},
        )

    def rows(self, name: str) -> Integers:
        """(structures,) rows that each has in ``values[name]``."""
        return self.given[name] * (self.n_atoms if name in PER_ATOM else 1)

    def message(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """For ``encode``; ``read`` is the inverse."""
        arrays: dict[str, NDArray[Any]] = {"n_atoms": self.n_atoms, "energy": self.energy}
        arrays |= {f"has_{name}": mask for name, mask in self.given.items()}
        return {"errors": sorted(self.errors.items())}, {**arrays, **self.values}

    @classmethod
    def read(cls, message: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """From a message, checked: shapes that fit together, finite numbers, an energy or an error for each structure.

        Raises:
            ValueError: It holds no answers, or such as no server gives.
        """
        try:
            answers = cls(
                n_atoms=arrays["n_atoms"],
                energy=arrays["energy"],
                given={name: arrays[f"has_{name}"] for name in OPTIONAL},
                values={name: arrays[name] for name in OPTIONAL},
                errors={int(index): str(text) for index, text in message["errors"]},
            )
            n = len(answers)
            expected = {name: (int(answers.rows(name).sum()), *OPTIONAL[name]) for name in OPTIONAL}
        except (KeyError, TypeError) as error:
            raise ValueError(f"no answers: {error}") from error
        failed = np.isnan(answers.energy)
        good = (
            answers.energy.shape == (n,)
            and all(mask.shape == (n,) and mask.dtype == bool for mask in answers.given.values())
            and all(answers.values[name].shape == shape for name, shape in expected.items())
            and all(bool(np.isfinite(array).all()) for array in answers.values.values())
            and not np.isinf(answers.energy).any()
            and set(np.flatnonzero(failed).tolist()) == set(answers.errors)
        )
        if not good:
            raise ValueError("answers whose parts do not fit together")
        return answers
