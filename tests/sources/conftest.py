"""Upstream records as the sources publish them, made by hand; and the real ones, where they are at hand."""

from __future__ import annotations

import copy
import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from xferbench.functionals import Functional
from xferbench.records import Frame

DATA = Path(__file__).parents[3] / "shared" / "data"

IRON = {
    "matpes_id": "matpes-20240214_13_7",
    "functional": "PBE",
    "structure": {
        "@module": "pymatgen.core.structure",
        "@class": "Structure",
        "charge": 0,
        "lattice": {"matrix": [[4.0, 0.0, 0.0], [0.0, 4.0, 0.0], [0.0, 0.0, 5.0]], "pbc": [True, True, True]},
        "sites": [
            {"species": [{"element": "Fe", "occu": 1}], "abc": [0.0, 0.0, 0.0], "properties": {"magmom": 2.5}},
            {"species": [{"element": "O", "occu": 1}], "abc": [0.5, 0.5, 0.25], "properties": {"magmom": -0.1}},
        ],
    },
    "energy": -14.5,
    "energy_per_atom": -7.25,
    "forces": [[0.3, 0.0, -0.4], [-0.3, 0.0, 0.4]],
    "abs_forces": [0.5, 0.5],
    "stress": [160.2176634, 320.4353268, 0.0, 16.02176634, 0.0, -160.2176634],
    "bandgap": 0.25,
    "provenance": {"original_mp_id": "mp-18905", "md_ensemble": "NpT", "md_temperature": 300, "mlip_name": None},
}
"""Stress in kBar, VASP's sign; 1602.176634 kBar are 1 eV/Å³."""


@pytest.fixture
def document():
    """``document(**changes)`` -> a MatPES document; ``None`` as a value stays null, ``...`` removes the field."""

    def make(**changes):
        made = copy.deepcopy(IRON)
        for key, value in changes.items():
            if value is ...:
                del made[key]
            else:
                made[key] = value
        return made

    return make


@pytest.fixture
def pair_of_files(tmp_path, document):
    """``pair_of_files(pbe documents, r2scan documents)`` -> a directory with two MatPES files."""

    def write(pbe, target):
        for name, functional, documents in (("PBE", "PBE", pbe), ("R2SCAN", "r2SCAN", target)):
            rows = [{**row, "functional": functional} for row in documents]
            (tmp_path / f"MatPES-{name}-2025.1.json").write_text(json.dumps(rows))
        return tmp_path

    return write


@pytest.fixture(scope="session")
def element_references():
    """The directory of the real MatPES documents of the elements."""
    return _data("matcalc-element-refs")


@pytest.fixture(scope="session")
def diatomics():
    """The directory of the real dimer file."""
    return _data("matbench-discovery")


@pytest.fixture(scope="session")
def real_documents(element_references):
    """``PBE`` and ``r2SCAN`` -> element -> document, read by nothing of the package."""
    return {
        functional: json.loads(
            gzip.decompress((element_references / f"MatPES-{functional}-Element-Refs.json.gz").read_bytes())
        )
        for functional in ("PBE", "r2SCAN")
    }


def _data(name):
    if not (DATA / name).is_dir():
        pytest.skip(f"the public records of {name} are not beside this checkout")
    return DATA / name


def lennard_jones_argon(material, seed, *, strain=0.02, rattle=0.05):
    """Lennard-Jones argon, strained and rattled."""
    from ase.build import bulk
    from ase.calculators.lj import LennardJones

    rng = np.random.default_rng(seed)
    atoms = bulk("Ar", "fcc", a=5.3, cubic=True)
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + rng.normal(0, strain, (3, 3))), scale_atoms=True)
    atoms.positions += rng.normal(0, rattle, (4, 3))
    atoms.calc = LennardJones(sigma=3.4, epsilon=0.05, rc=10.0, smooth=True)
    return Frame(
        frame_id=f"{material}-{seed}",
        pair_id=f"{material}-{seed}",
        material_id=material,
        functional=Functional("PBE"),
        numbers=atoms.numbers.astype(np.int64),
        positions=atoms.positions,
        cell=atoms.cell.array,
        energy=float(atoms.get_potential_energy()),
        forces=atoms.get_forces(),
        stress=atoms.get_stress(voigt=False),
    )


@pytest.fixture(scope="session")
def argon():
    """``argon(material, seed, strain=, rattle=)`` -> a frame whose energy, forces and stress belong together."""
    return lennard_jones_argon


@pytest.fixture(scope="session")
def rxnnet():
    """The directory of the real tables of Materials Project energies."""
    return _data("rxnnet-mp-thermo")
