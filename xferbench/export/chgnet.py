"""JSON as CHGNet reads it: the layout, units and signs of MPtrj.

``{material_id: {frame_id: record}}`` with a pymatgen structure, eV/atom, eV/Å, stress in kBar with VASP's sign, µB.
``StructureJsonData`` multiplies the stress by -0.1 to GPa and takes absolute moments. It asks each record for energy,
forces and stress, and *silently puts another random structure in the place of one that lacks any*: frames without them, and
frames without a periodic cell, are therefore left out here and counted. Moments may be null.

``energy_per_atom`` is the uncorrected energy; MPtrj's own is corrected. A correction stands beside it where there is one.

References:
    chgnet 0.4.2, ``chgnet/data/dataset.py``, class StructureJsonData; figshare 23713842 for the units of MPtrj.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from xferbench.units import VASP_KBAR_TO_STRESS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xferbench.export.counting import Counted
    from xferbench.records import Frame

FLAT = 1e-3
"""Å³. A cell of less volume is none."""


def json_lines(frames: Counted, split: str) -> Iterator[str]:
    """One JSON object in pieces, one material each; all records are held as text, since a material's are kept together."""
    materials: dict[str, list[str]] = {}
    for frame in frames:
        reason = unfit(frame)
        if reason:
            frames.leave_out(reason)
            continue
        text = f"{json.dumps(frame.frame_id)}: {json.dumps(record(frame, split), sort_keys=True, allow_nan=False)}"
        materials.setdefault(frame.material_id, []).append(text)
    yield "{"
    for i, (material, records) in enumerate(sorted(materials.items())):
        yield f"{',' if i else ''}\n{json.dumps(material)}: {{{', '.join(records)}}}"
    yield "\n}\n"


def unfit(frame: Frame) -> str:
    """Why CHGNet cannot read a frame; empty if it can."""
    lacking = [name for name in ("energy", "forces", "stress") if getattr(frame, name) is None]
    if lacking:
        return f"no {' and no '.join(lacking)}"
    return "" if abs(np.linalg.det(frame.cell)) > FLAT else "no periodic cell"


def record(frame: Frame, split: str) -> dict[str, Any]:
    """One frame, which has energy, forces and stress."""
    from pymatgen.core.lattice import Lattice
    from pymatgen.core.structure import Structure

    lattice = Lattice(frame.cell, pbc=frame.pbc)
    structure = Structure(lattice, frame.numbers.tolist(), frame.positions, coords_are_cartesian=True)
    energy, forces, stress = frame.energy, frame.forces, frame.stress
    if energy is None or forces is None or stress is None:
        raise ValueError(f"frame {frame.frame_id} lacks a label; ask unfit first")
    values: dict[str, Any] = {
        "structure": structure.as_dict(),
        "uncorrected_total_energy": energy,
        "energy_per_atom": energy / frame.n_atoms,
        "force": forces.tolist(),
        "stress": (stress / VASP_KBAR_TO_STRESS).tolist(),
        "magmom": None if frame.magmoms is None else frame.magmoms.tolist(),
        "mp_id": frame.material_id,
        "pair_id": frame.pair_id,
        "functional": frame.functional,
        "split": split,
    }
    return values if frame.correction is None else values | {"correction": frame.correction}
