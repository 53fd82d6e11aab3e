"""Extended XYZ with every digit, in ASE's keys or in MACE's.

ASE's own writer rounds positions and forces to eight decimals; this one writes the shortest text that reads back as the
same number. Energies are total eV and uncorrected, forces eV/Å, stress eV/Å³ with tension positive, moments µB. Only the
stress is written, never a virial beside it: readers disagree about which of the two to believe.

References:
    https://github.com/libAtoms/extxyz, the format; ``ase.io.extxyz.key_val_str_to_dict``, how values are read back.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from numpy.typing import NDArray

    from xferbench.records import Frame

ASE_KEYS = {"energy": "energy", "forces": "forces", "stress": "stress", "magmoms": "magmoms"}
MACE_KEYS = {"energy": "REF_energy", "forces": "REF_forces", "stress": "REF_stress", "magmoms": "REF_magmoms"}

WORD = re.compile(r"[A-Za-z][\w.:/+-]*")
"""Text that needs no quotes, unless a reader takes it for a number or a truth value."""

TAKEN = frozenset({"t", "f", "true", "false", "nan", "inf", "infinity"})


def ase_lines(frames: Iterable[Frame], split: str) -> Iterator[str]:
    """Frames with labels that ``ase.io.read`` puts into the calculator."""
    return (frame_text(frame, split, ASE_KEYS) for frame in frames)


def mace_lines(frames: Iterable[Frame], split: str) -> Iterator[str]:
    """Frames with labels under ``REF_…``, which no calculator result can overwrite."""
    return (frame_text(frame, split, MACE_KEYS) for frame in frames)


def frame_text(frame: Frame, split: str, keys: dict[str, str], more: Mapping[str, str] | None = None) -> str:
    """One frame: number of atoms, the line of keys, a line per atom.

    Args:
        frame: Structure and labels.
        split: Written under ``split``; empty for none.
        keys: Quantity -> key it is written under.
        more: Further keys -> texts.
    """
    from ase.data import chemical_symbols

    properties = ["species:S:1:pos:R:3"]
    per_atom = [frame.positions]
    if frame.forces is not None:
        properties.append(f"{keys['forces']}:R:3")
        per_atom.append(frame.forces)
    if frame.magmoms is not None:
        properties.append(f"{keys['magmoms']}:R:1")
        per_atom.append(frame.magmoms[:, None])
    rows = np.column_stack(per_atom).tolist()
    atoms = [
        " ".join([chemical_symbols[number], *map(repr, row)]) for number, row in zip(frame.numbers, rows, strict=True)
    ]
    header = {
        "Lattice": f'"{_numbers(frame.cell)}"',
        "Properties": ":".join(properties),
        **_labels(frame, keys),
        "frame_id": quoted(frame.frame_id),
        **({"pair_id": quoted(frame.pair_id)} if frame.pair_id else {}),
        "material_id": quoted(frame.material_id),
        "functional": quoted(frame.functional),
        **({"split": quoted(split)} if split else {}),
        **{key: quoted(text) for key, text in (more or {}).items()},
        "pbc": '"' + " ".join("FT"[periodic] for periodic in frame.pbc) + '"',
    }
    line = " ".join(f"{key}={value}" for key, value in header.items())
    return "\n".join([str(frame.n_atoms), line, *atoms]) + "\n"


def quoted(text: str) -> str:
    """Text that reads back as the same text: ids such as ``12`` or ``T`` would otherwise come back as something else."""
    if WORD.fullmatch(text) and text.lower() not in TAKEN:
        return text
    written = "_JSON " + json.dumps(text)
    return '"' + written.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _labels(frame: Frame, keys: dict[str, str]) -> dict[str, str]:
    labels = {}
    if frame.energy is not None:
        labels[keys["energy"]] = repr(float(frame.energy))
    if frame.stress is not None:  # ASE reads nine numbers under "stress" column by column
        labels[keys["stress"]] = f'"{_numbers(frame.stress.T)}"'
    if frame.correction is not None:
        labels["correction"] = repr(float(frame.correction))
    return labels


def _numbers(matrix: NDArray[np.float64]) -> str:
    return " ".join(map(repr, np.asarray(matrix, dtype=np.float64).ravel().tolist()))
