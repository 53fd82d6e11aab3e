"""Records with labels that are easy to recognise, on structures of the committed ones."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest

from xferbench.sources.mini.build import RECORDS

LABELS = {
    "energy_eV": -7.0,
    "free_energy_eV": -7.01,
    "reference_energy_eV": -100.0,
    "stress_eV_per_A3_voigt": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
    "n_kpts_irreducible": 3,
    "scf_iterations": 9,
    "wall_s": 1.0,
    "cpu_s": 0.5,
}
FORCES = [[0.1, 0.2, -0.3], [-0.1, -0.2, 0.34]]


def write(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


@pytest.fixture(scope="session")
def committed_pairs():
    """Pair id -> its two committed records, as they are."""
    found = {}
    for line in RECORDS.read_text().splitlines():
        record = json.loads(line)
        found.setdefault(record["pair_id"], []).append(record)
    return {name: sorted(pair, key=lambda r: r["functional"]) for name, pair in found.items() if len(pair) == 2}


@pytest.fixture
def make_pair(committed_pairs):
    """A pair like a committed one, as another copy of its crystal."""

    def make(pair_id, perturbation=None):
        records = []
        for committed in committed_pairs[pair_id]:
            record = copy.deepcopy(committed) | LABELS
            record["forces_eV_per_A"] = FORCES[: len(record["structure"]["species"])]
            if record["spin_polarised"]:
                record["magmoms_muB"] = record["structure"]["initial_magmoms_muB"]
            if perturbation is not None:
                name = f"{record['seed_structure']}-{perturbation}"
                record |= {"perturbation": perturbation, "pair_id": name, "id": f"{name}-{record['functional']}"}
            records.append(record)
        return records

    return make


@pytest.fixture
def fail():
    """A record whose calculation failed."""

    def change(record, reason="RuntimeError: no"):
        labels = {key for key in record if key.endswith(("_eV", "_A", "_voigt", "_s", "_muB"))}
        labels |= {"kpts", "n_kpts_irreducible", "scf_iterations"}
        return {k: v for k, v in record.items() if k not in labels} | {"status": "failed", "error": reason}

    return change


@pytest.fixture
def records(tmp_path, make_pair):
    """A records file of five pairs without spin and two with it."""
    path = tmp_path / "records.jsonl"
    names = ("C_diamond", "Si_diamond", "Si_fcc", "SiC_zincblende", "SiC_rocksalt", "Ni_fcc", "Ni_bcc")
    write(path, [record for name in names for record in make_pair(f"{name}-v2")])
    return path


@pytest.fixture
def append():
    """More records at the end of a file."""

    def more(path, records):
        write(path, [*map(json.loads, path.read_text().splitlines()), *records])

    return more


@pytest.fixture
def voigt_matrix():
    """The stress of ``LABELS`` as a matrix: xx yy zz yz xz xy = 1 … 6."""
    return np.array([[1.0, 6.0, 5.0], [6.0, 2.0, 4.0], [5.0, 4.0, 3.0]])
