"""Under which names labels are found in files of other programs, in which unit and with which sign.

A name is looked at in small letters, without a prefix that says "this is the reference" (``REF_``, ``dft_``): ``REF_Forces`` is
``forces``. A reference wins over what a calculator left under the bare name, since ASE writes the results of whatever potential
was attached last there. Two names of equal rank must agree.

Read are names whose unit is told by the name or is everybody's. A stress in GPa or kBar is not: programs do not agree on the sign
that goes with those units. What looks like a label and is not read is told by name (``unread``).
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from xferbench.sources.reading import INCONSISTENT, NOT_A_NUMBER, Unusable
from xferbench.units import HARTREE_IN_EV

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

REFERENCE = ("ref_", "reference_", "dft_", "vasp_", "label_", "target_", "true_")
"""Prefixes that mark the label itself, as MACE, GAP and others write them."""


class Spelling(NamedTuple):
    """What a name stands for.

    Attributes:
        quantity: ``energy``, ``forces``, ``stress`` or ``magmoms``.
        factor: To the units of the package; -1 for gradients and for virials.
        per: What the value is to be multiplied by besides: ``atom`` for energies per atom, ``1/volume`` for virials.
    """

    quantity: str
    factor: float = 1.0
    per: str = ""


SPELLINGS = {
    **dict.fromkeys(("energy", "total_energy", "potential_energy", "etot", "e_tot", "energy_total", "energy_ev", "total_energy_ev", "uncorrected_energy", "uncorrected_total_energy"), Spelling("energy")),
    **dict.fromkeys(("energy_per_atom", "energy_ev_per_atom", "uncorrected_energy_per_atom", "energy_pa", "e_per_atom"), Spelling("energy", per="atom")),
    "energy_mev": Spelling("energy", 1e-3),
    **dict.fromkeys(("energy_ha", "energy_hartree"), Spelling("energy", HARTREE_IN_EV)),
    **dict.fromkeys(("forces", "force", "forces_ev_a", "forces_ev_ang", "forces_ev_per_ang", "forces_ev_per_angstrom"), Spelling("forces")),
    "forces_mev_a": Spelling("forces", 1e-3),
    **dict.fromkeys(("gradient", "gradients"), Spelling("forces", -1.0)),
    **dict.fromkeys(("stress", "stress_ev_a3", "stress_ev_ang3", "stress_ev_per_ang3"), Spelling("stress")),
    **dict.fromkeys(("virial", "virials", "virial_ev"), Spelling("stress", -1.0, per="1/volume")),
    **dict.fromkeys(("magmoms", "magnetic_moments", "final_magmoms"), Spelling("magmoms")),
}  # fmt: skip
"""Name -> what it stands for. A virial is -V times the stress, as GAP, MACE and extended XYZ have it."""

LOOKS = re.compile(r"energ|toten|forc|grad|stress|virial|press(?!e)|mag_?mom|magnetic_mom", re.IGNORECASE)
"""A name that may be a label's."""

NO_LABELS = frozenset(
    {
        "free_energy",
        "energies",
        "stresses",
        "magmom",
        "initial_magmoms",
        "dipole",
        "energy_corrections",
        "abs_forces",
        "correction",
    }
)
"""What ASE and others write beside a label; it is told only where the label itself is missing."""

AGREE = 1e-6
"""Relative difference up to which two names say the same."""


@dataclass(slots=True, kw_only=True)
class Heard:
    """What was noticed while labels were read, to be told at the end.

    Attributes:
        unread: Name that looks like a label and was not read -> frames.
        overruled: ``REF_energy instead of energy`` -> frames in which the two differ.
        apart: The same -> by how much at most.
    """

    unread: Counter[str] = field(default_factory=Counter)
    overruled: Counter[str] = field(default_factory=Counter)
    apart: dict[str, float] = field(default_factory=dict)

    def clear(self) -> None:
        """Forget, to read again."""
        for counts in (self.unread, self.overruled, self.apart):
            counts.clear()

    def lines(self) -> list[str]:
        """In words, a line each."""
        told = [
            f"{count} frames have {name}, which looks like a label and is not read"
            for name, count in self.unread.most_common()
        ]
        told += [
            f"{names}: they differ in {count} frames, by up to {self.apart[names]:.3g}; the reference is read"
            for names, count in self.overruled.most_common()
        ]
        return told


def bare(name: str) -> tuple[str, bool]:
    """A name in small letters without its prefix, and whether the prefix says that it is the reference."""
    small = name.lower().replace("-", "_").replace("/", "_per_").strip()
    for prefix in REFERENCE:
        if small.startswith(prefix):
            return small.removeprefix(prefix), True
    return small, False


def spelling(name: str) -> Spelling | None:
    """What a name stands for, if it is a label's."""
    return SPELLINGS.get(bare(name)[0])


def labels(
    record: Mapping[str, Any], n: int, cell: NDArray[np.float64] | None, heard: Heard | None = None
) -> dict[str, Any]:
    """The labels of a record in the units of the package, under our names; quantities that it has under no name are left out.

    Args:
        record: Under whatever names.
        n: Atoms.
        cell: (3, 3) Å, for virials.
        heard: Takes note of what was not read and what was overruled.

    Raises:
        Unusable: Two names of equal rank disagree, or a value is no number.
    """
    found: dict[str, list[tuple[int, str, Any]]] = {}
    looked: list[str] = []
    for name, value in record.items():
        if value is None or not isinstance(name, str):
            continue
        what = spelling(name)
        if what is None:
            if LOOKS.search(name) and _is_numeric(value):
                looked.append(name)
            continue
        rank = 0 if bare(name)[1] else 1
        found.setdefault(what.quantity, []).append((rank, name, _converted(value, what, name, n, cell)))
    out = {quantity: _agreed(named, heard) for quantity, named in found.items()}
    if heard is not None:
        has = {*out}
        heard.unread.update(
            name
            for name in looked
            if bare(name)[0] not in NO_LABELS or (bare(name)[0] == "free_energy" and "energy" not in has)
        )
    return out


def _agreed(named: list[tuple[int, str, Any]], heard: Heard | None) -> Any:  # noqa: ANN401 - a label
    """The value that counts of one quantity: that of the best rank, with which all of that rank agree.

    Args:
        named: Rank, name and value of each name it was found under.
        heard: Takes note of names of lower rank that say something else.

    Raises:
        Unusable: Two names of equal rank disagree.
    """
    (rank, name, value), *others = sorted(named, key=lambda item: item[0])  # of equal rank in the order of the record
    for other_rank, other, also in others:
        apart = _apart(value, also)
        if apart <= AGREE:
            continue
        if other_rank == rank:
            raise Unusable(INCONSISTENT, f"{name} and {other} disagree by {apart:.3g}; keep the one that is meant")
        if heard is not None:
            key = f"{name} instead of {other}"
            heard.overruled[key] += 1
            heard.apart[key] = max(heard.apart.get(key, 0.0), apart)
    return value


def _is_numeric(value: object) -> bool:
    try:
        return np.asarray(value).dtype.kind in "fiu"
    except ValueError:
        return True


def _converted(value: Any, what: Spelling, name: str, n: int, cell: NDArray[np.float64] | None) -> Any:  # noqa: ANN401
    if what.factor == 1.0 and not what.per:
        return value
    try:
        numbers = np.asarray(value)
    except ValueError as error:
        raise Unusable(NOT_A_NUMBER, f"{name} is ragged") from error
    if numbers.dtype.kind not in "fiu":
        raise Unusable(NOT_A_NUMBER, f"{name} holds {value!r:.40}")
    factor = what.factor
    if what.per == "atom":
        factor *= n
    elif what.per == "1/volume":
        volume = 0.0 if cell is None else abs(float(np.linalg.det(cell)))
        if volume <= 0:
            raise Unusable(INCONSISTENT, f"{name} in a cell without volume gives no stress")
        factor /= volume
    made = numbers * factor
    return float(made) if made.ndim == 0 else made + 0.0  # no minus zeros


def _apart(first: Any, second: Any) -> float:  # noqa: ANN401 - a label
    """How far two values are apart, in their unit; 0 within rounding, infinity for different shapes."""
    try:
        one, two = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    except (TypeError, ValueError):
        return float("inf")
    if one.shape != two.shape and one.size == two.size:
        one, two = one.ravel(), two.ravel()
    if {one.size, two.size} == {6, 9}:
        one, two = (
            item.reshape(3, 3)[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]] if item.size == 9 else item.ravel()
            for item in (one, two)
        )
    if one.shape != two.shape:
        return float("inf")
    apart = float(np.abs(one - two).max(initial=0.0))
    scale = float(np.abs(one).max(initial=0.0))
    return 0.0 if apart <= AGREE * max(scale, 1e-3) else apart
