"""An engine without quantum mechanics, and records made with it."""

from __future__ import annotations

import copy

import ase.io  # noqa: F401 - registers its plug-ins, GPAW among them, before a test hides GPAW
import numpy as np
import pytest

from xferbench.sources.mini.generate import generate


class FakeEngine:
    """Labels in closed form, and a memory of what was asked.

    ``errors`` maps a functional's libxc name to what its calculations raise; ``changes`` overrides labels.
    """

    def __init__(self, *, shift: float = 0.0, versions: dict[str, str] | None = None) -> None:
        self.shift = shift
        self.calls: list[tuple[str, str, object]] = []
        self.errors: dict[str, BaseException] = {}
        self.changes: dict[str, object] = {}
        self._versions = {"gpaw": "fake", "libxc_fhc_disabled": "yes"} if versions is None else versions

    def versions(self):
        return self._versions

    def calculate(self, calculation, start):
        formula, xc = str(calculation.atoms.symbols), calculation.settings["xc_libxc"]
        self.calls.append((formula, xc, start))
        if xc in self.errors:
            raise self.errors[xc]
        n, volume = len(calculation.atoms), calculation.atoms.get_volume()
        energy = -volume * (1.5 if xc == "PBE" else 2.5) + self.shift * n
        labels = {
            "energy_eV": energy,
            "free_energy_eV": energy - 0.01,
            "reference_energy_eV": -100.0 * n,
            "forces_eV_per_A": [[0.1, 0.2, -0.3], [-0.1, -0.2, 0.34]][:n] + [[0.0, 0.0, 0.0]] * (n - 2),
            "stress_eV_per_A3_voigt": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
            "n_kpts_irreducible": 3,
            "scf_iterations": 9,
            "kpts": {"size": list(calculation.kpts), "gamma": True},
            "wall_s": 1.0,
            "cpu_s": 0.5,
        }
        if calculation.spin_polarised:
            labels["magmoms_muB"] = calculation.atoms.get_initial_magnetic_moments().tolist()
        return copy.deepcopy(labels | self.changes), f"state of {formula} in {xc}"


@pytest.fixture
def engine():
    return FakeEngine()


@pytest.fixture
def make_engine():
    return FakeEngine


@pytest.fixture
def records(tmp_path, engine):
    """A records file of five pairs without spin and two with it."""
    path = tmp_path / "records.jsonl"
    generate(path, kinds=["v2"], elements=["Si", "C"], engine=engine)
    generate(path, kinds=["v2"], elements=["Ni"], spin=True, engine=engine)
    engine.calls.clear()
    return path


@pytest.fixture
def voigt_matrix():
    """The fake stress as a matrix: xx yy zz yz xz xy = 1 … 6."""
    return np.array([[1.0, 6.0, 5.0], [6.0, 2.0, 4.0], [5.0, 4.0, 3.0]])
