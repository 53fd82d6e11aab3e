"""One MatPES document -> a frame, or the reason why not; ``matpes`` says what a document holds, and in which units."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from xferbench.functionals import Functional, Pair
from xferbench.records import Frame
from xferbench.sources.reading import (
    INCONSISTENT,
    UNKNOWN_FUNCTIONAL,
    Unusable,
    array,
    energy,
    mapping,
    number,
    structure,
    text,
)
from xferbench.units import stress_from_vasp_kbar, voigt_to_matrix

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from xferbench.records import Drop
    from xferbench.sources.documents import Document

PAIR = Pair(source=(Functional("PBE"),), target=(Functional("r2SCAN"),))

TOLERANCE = 1e-3
"""eV/atom and eV/Å up to which a document's repeated values may differ from each other."""


def judged(document: Document, path: Path) -> Frame | Drop:
    """What becomes of a document of a file."""
    try:
        return frame(document.value)
    except Unusable as problem:
        name = document.value.get("matpes_id") or f"{path.name}#{document.key}"
        return problem.drop(f"{name}-{document.value.get('functional')}")


def frame(document: Mapping[str, Any]) -> Frame:
    """One MatPES document as a frame; see ``matpes`` for units.

    Raises:
        Unusable: It gives none.
    """
    matpes_id = text(document, "matpes_id")
    functional = Functional.get(text(document, "functional"))
    if functional is None or PAIR.side_of(functional) is None:
        raise Unusable(UNKNOWN_FUNCTIONAL, str(document["functional"]))
    crystal = structure(mapping(document, "structure"))
    n = len(crystal["numbers"])
    stress = array(document, "stress", (6,))
    made = Frame(
        frame_id=f"{matpes_id}-{functional}",
        pair_id=matpes_id,
        material_id=_material(document, matpes_id, crystal["numbers"]),
        functional=functional,
        energy=energy(document, "energy"),
        forces=array(document, "forces", (n, 3)),
        stress=None if stress is None else voigt_to_matrix(stress_from_vasp_kbar(stress)),
        provenance=_provenance(document),
        **crystal,
    )
    _check_repeated(document, made)
    return made


def _check_repeated(document: Mapping[str, Any], made: Frame) -> None:
    """What a document states twice must agree: the energy per atom, and the length of each force."""
    per_atom, lengths = number(document, "energy_per_atom"), array(document, "abs_forces", (made.n_atoms,))
    if per_atom is not None and made.energy is not None and abs(made.energy / made.n_atoms - per_atom) > TOLERANCE:
        raise Unusable(INCONSISTENT, f"energy {made.energy} eV of {made.n_atoms} atoms, {per_atom} eV/atom")
    if lengths is not None and made.forces is not None:
        apart = float(np.abs(np.sqrt((made.forces * made.forces).sum(axis=1)) - lengths).max())
        if apart > TOLERANCE:
            raise Unusable(INCONSISTENT, f"forces and abs_forces differ by {apart:.3g} eV/Å")


def _material(document: Mapping[str, Any], matpes_id: str, numbers: NDArray[np.int64]) -> str:
    if _history(document).get("original_mp_id") is not None:
        return text(_history(document), "original_mp_id")
    if matpes_id.startswith("mp-"):
        return matpes_id
    from ase.data import chemical_symbols

    return "-".join(sorted({chemical_symbols[number] for number in numbers}))


def _provenance(document: Mapping[str, Any]) -> dict[str, Any]:
    """How the structure was made, and the band gap in eV."""
    facts = {key: value for key, value in _history(document).items() if value is not None}
    gap = number(document, "bandgap")
    return facts if gap is None else {**facts, "bandgap": gap}


def _history(document: Mapping[str, Any]) -> Mapping[str, Any]:
    return {} if document.get("provenance") is None else mapping(document, "provenance")
