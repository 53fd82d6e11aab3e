"""An engine without quantum mechanics: crystals that obey an equation of state and harmonic springs, known in closed form."""

from __future__ import annotations

import copy

import ase.io  # noqa: F401 - registers its plug-ins, GPAW among them, before a test hides GPAW
import numpy as np
import pytest

from xferbench.factory.mini.structures import seeds

MODULUS = 0.5
"""eV/Å³ of every fake crystal."""

PULAY = -0.02
"""eV per atom: what the energy falls by when the cutoff grows by a factor e."""


class FakeEngine:
    """Crystals whose volume without pressure is a factor of their listed one: 1.05 in PBE, 1.01 in r2SCAN.

    The energy is n (e + B v0 ln²(V/V0) / 2 / n + springs + k-point error); the stress is its derivative at a fixed cutoff plus what a fixed
    number of plane waves adds. ``errors`` maps a functional's libxc name, or the name of a structure's formula, to what its
    calculations raise; ``mesh_error`` is in eV/atom times the number of k points.
    """

    def __init__(self, *, mesh_error: float = 0.0, shift: float = 0.0, versions: dict[str, str] | None = None) -> None:
        self.calls: list[tuple[str, str, tuple[int, ...]]] = []
        self.starts: list[object] = []
        self.errors: dict[str, BaseException] = {}
        self.changes: dict[str, object] = {}
        self.mesh_error = mesh_error
        self.shift = shift
        self.cpu_seconds = 1.0
        self._versions = {"gpaw": "fake", "libxc_fhc_disabled": "yes"} if versions is None else versions
        self._listed: dict[str, float] = {}
        for seed in seeds().values():
            self._listed.setdefault(str(seed.atoms.symbols), seed.atoms.get_volume())

    def versions(self):
        return self._versions

    def calculate(self, calculation, start):
        atoms, xc = calculation.atoms, calculation.settings["xc_libxc"]
        self.calls.append((str(atoms.symbols), xc, calculation.kpts))
        self.starts.append(start)
        for key in (xc, str(atoms.symbols)):
            if key in self.errors:
                raise self.errors[key]
        n, volume = len(atoms), atoms.get_volume()
        v0 = self._listed.get(str(atoms.symbols), volume) * (1.05 if xc == "PBE" else 1.01)
        logarithm = np.log(volume / v0)
        energy = -3.0 * n + MODULUS * v0 * logarithm**2 / 2 + self.shift * n
        energy += PULAY * n * np.log(calculation.settings["ecut_eV"] / 800.0)
        energy += self.mesh_error * n / np.prod(calculation.kpts)
        stress = MODULUS * v0 * logarithm / volume - 2 / 3 * PULAY * n / volume
        labels = {
            "energy_eV": float(energy),
            "free_energy_eV": float(energy) - 0.01,
            "reference_energy_eV": -100.0 * n,
            "forces_eV_per_A": np.zeros((n, 3)).tolist(),
            "stress_eV_per_A3_voigt": [float(stress)] * 3 + [0.0] * 3,
            "n_kpts_irreducible": max(1, int(np.prod(calculation.kpts)) // 10),
            "scf_iterations": 9,
            "kpts": {"size": list(calculation.kpts), "gamma": True},
            "wall_s": 1.0,
            "cpu_s": self.cpu_seconds,
        }
        if calculation.spin_polarised:
            labels["magmoms_muB"] = atoms.get_initial_magnetic_moments().tolist()
        return copy.deepcopy(labels | self.changes), f"state of {atoms.symbols} in {xc}"


@pytest.fixture
def engine():
    return FakeEngine()


@pytest.fixture
def make_engine():
    return FakeEngine


@pytest.fixture
def out(tmp_path):
    return tmp_path / "records.jsonl"
