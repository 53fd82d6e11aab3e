"""What a raw record of ``mini`` must be, field by field; the fields are described in ``recordfile``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xferbench.functionals import Functional

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

PBE, R2SCAN = Functional("PBE"), Functional("r2SCAN")

XC = {PBE: "PBE", R2SCAN: "MGGA_X_R2SCAN+MGGA_C_R2SCAN"}
"""Functional -> GPAW's or libxc's name. The order is the order of calculation: r²SCAN starts from PBE."""

FHC_KEY = "libxc_fhc_disabled"
"""Key among a record's versions: whether libxc left the kinetic energy density as it was ("yes") or raised it to the
Fermi-hole curvature bound of von Weizsäcker ("no"); "unknown" where a record predates the check."""

SINGLE = ("settle", "mesh", "shape", "relax", "small")
"""First words of the perturbations of calculations that are made with PBE alone, on the way to a pair."""

IDENTITY: dict[str, type] = {
    "id": str,
    "pair_id": str,
    "seed_structure": str,
    "perturbation": str,
    "seed": int,
    "functional": str,
    "spin_polarised": bool,
    "metal_kmesh": bool,
    "structure": dict,
    "settings": dict,
    "versions": dict,
    "status": str,
}
SHARED = ("seed", "spin_polarised", "metal_kmesh", "structure", "kpts")
"""Keys whose values the two records of a pair have in common, besides all settings but the functional."""

SMALLEST_VOLUME = 1e-3
"""Of a cell in Å³; less is a flat cell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something wrong with one line."""

    line: int
    text: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.text}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Line:
    """One record, its place in the file, and its bytes without the line end."""

    number: int
    data: bytes
    record: dict[str, Any]


def is_single(perturbation: str) -> bool:
    """Whether a calculation of this name is made with PBE alone: it has no partner and is nobody's label."""
    return perturbation.partition("-")[0] in SINGLE


def check(lines: Sequence[Line]) -> list[Problem]:
    """Problems of the records one by one, then of doubled ids and of pairs."""
    problems, sound = [], {}
    first: dict[str, int] = {}
    for line in lines:
        identity = str(line.record.get("id"))
        found = list(_record_problems(line.record))
        earlier = first.setdefault(identity, line.number)
        if earlier != line.number:
            found.append(f"id already used in line {earlier}")
        problems += [Problem(line=line.number, text=f"{identity}: {text}") for text in found]
        if not found:
            sound[identity] = line
    return problems + list(_pair_problems(sound))


def label_problems(record: Mapping[str, Any], n_atoms: int) -> Iterator[str]:
    """What is wrong with the labels of a successful record: missing, of another shape, or not finite."""
    shapes: dict[str, tuple[int, ...]] = {
        "energy_eV": (),
        "free_energy_eV": (),
        "reference_energy_eV": (),
        "forces_eV_per_A": (n_atoms, 3),
        "stress_eV_per_A3_voigt": (6,),
        "n_kpts_irreducible": (),
        "scf_iterations": (),
        "wall_s": (),
        "cpu_s": (),
    }
    if record.get("spin_polarised") is True:
        shapes["magmoms_muB"] = (n_atoms,)
    expected = {*IDENTITY, *shapes, "kpts"}
    yield from _key_problems(record, expected)
    for key, shape in shapes.items():
        if key in record:
            yield from _array_problems(key, record[key], shape)
    if "kpts" in record:
        yield from _kpts_problems(record["kpts"])


def _pair_problems(lines: Mapping[str, Line]) -> Iterator[Problem]:
    for line in lines.values():
        partner = lines.get(f"{line.record['pair_id']}-{Functional('PBE')}")
        if partner is None or partner is line:
            continue
        keys = [key for key in SHARED if partner.record.get(key) != line.record.get(key) and key in line.record]
        if _common_settings(partner.record) != _common_settings(line.record):
            keys.append("settings")
        for key in keys:
            yield Problem(
                line=line.number,
                text=f"{line.record['id']}: {key} differs from that of its PBE record in line {partner.number}",
            )


def _common_settings(record: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record["settings"].items() if key != "xc_libxc"}


def _record_problems(record: Mapping[str, Any]) -> Iterator[str]:
    wrong = [key for key, kind in IDENTITY.items() if type(record.get(key)) is not kind]
    if wrong:
        yield f"{', '.join(wrong)} missing or of the wrong type"
        return
    if record["functional"] not in {*XC}:
        yield f"unknown functional {record['functional']!r}; known: {', '.join(XC)}"
        return
    if record["pair_id"] != f"{record['seed_structure']}-{record['perturbation']}":
        yield f"pair_id {record['pair_id']!r} is not <seed_structure>-<perturbation>"
    if record["id"] != f"{record['pair_id']}-{record['functional']}":
        yield "id is not <pair_id>-<functional>"
    if record["settings"].get("xc_libxc") != XC[Functional(record["functional"])]:
        yield f"settings say functional {record['settings'].get('xc_libxc')!r}"
    yield from _structure_problems(record["structure"])
    if record["status"] == "ok":
        yield from label_problems(record, _n_atoms(record["structure"]))
    elif record["status"] == "failed":
        yield from _key_problems(record, {*IDENTITY, "error"})
    else:
        yield f"unknown status {record['status']!r}; known: ok, failed"


def _structure_problems(structure: Mapping[str, Any]) -> Iterator[str]:
    from ase.data import atomic_numbers

    n_atoms = _n_atoms(structure)
    shapes = {"lattice_A": (3, 3), "cart_coords_A": (n_atoms, 3), "initial_magmoms_muB": (n_atoms,)}
    yield from _key_problems(structure, {*shapes, "species", "pbc"}, where="structure.")
    if n_atoms == 0 or not all(isinstance(s, str) and s in atomic_numbers for s in structure["species"]):
        yield f"structure.species {structure.get('species')!r} is not a list of elements"
    if structure.get("pbc") != [True, True, True]:
        yield f"structure.pbc is {structure.get('pbc')!r}, not periodic in three directions"
    for key, shape in shapes.items():
        if key in structure:
            found = list(_array_problems(f"structure.{key}", structure[key], shape))
            yield from found
            if key == "lattice_A" and not found and abs(np.linalg.det(structure[key])) < SMALLEST_VOLUME:
                yield "structure.lattice_A has no volume"


def _n_atoms(structure: Mapping[str, Any]) -> int:
    species = structure.get("species")
    return len(species) if isinstance(species, list) else 0


def _kpts_problems(kpts: object) -> Iterator[str]:
    size = kpts.get("size") if isinstance(kpts, dict) and kpts.get("gamma") is True else None
    if not isinstance(size, list) or len(size) != 3 or not all(type(n) is int and n > 0 for n in size):
        yield f"kpts {kpts!r} is not a Γ-centred mesh of three positive numbers"


def _key_problems(mapping: Mapping[str, Any], expected: set[str], where: str = "") -> Iterator[str]:
    for word, keys in (("missing", expected - set(mapping)), ("unknown", set(mapping) - expected)):
        if keys:
            yield f"{word} {', '.join(where + key for key in sorted(keys))}"


def _array_problems(name: str, value: object, shape: tuple[int, ...]) -> Iterator[str]:
    try:
        array = np.asarray(value)
    except ValueError:  # rows of different lengths
        yield f"{name} is not an array of shape {shape}"
        return
    if array.dtype.kind not in "if":
        yield f"{name} is not made of numbers"
    elif array.shape != shape:
        yield f"{name} has shape {array.shape}, not {shape}"
    elif not np.isfinite(array).all():
        yield f"{name} is not finite"
