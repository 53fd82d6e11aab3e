"""Measured errors, on crystals whose errors are known in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from xferbench.factory.mini import accuracy
from xferbench.factory.mini.accuracy import KINDS, QUANTITIES, chosen, measure, pressure_offset, sheared, table
from xferbench.factory.mini.structures import seeds
from xferbench.factory.mini.work import Archive, work
from xferbench.sources.mini.checks import PBE, R2SCAN
from xferbench.units import EV_PER_A3_IN_GPA


@pytest.fixture
def labelled(out, make_engine):
    """A file with the core of an ionic, a covalent, a metallic and a magnetic crystal."""
    names = ["KCl_rocksalt", "SiC_zincblende", "AgZn_cesiumchloride", "KMnF3_perovskite"]
    work(out, names=names, engine=make_engine(mesh_error=0.05))
    return out


def test_some_finished_crystals_of_every_kind_are_checked(labelled):
    found = chosen(Archive([labelled]))
    assert [accuracy.kind_of(seed) for seed, _ in found] == list(KINDS)
    assert chosen(Archive([labelled]), each=0) == []


def test_errors_that_are_known_come_out(labelled, tmp_path, make_engine):
    checks = tmp_path / "checks.jsonl"
    worked = measure(checks, others=[labelled], engine=make_engine(mesh_error=0.05))
    assert (worked.finished, worked.failed) == (4, 0)
    measured = table([labelled, checks], None)
    assert measured.crystals == dict.fromkeys(KINDS, 1)
    seed = seeds()["KCl_rocksalt"]
    value = {quantity: measured.values[quantity, "ionic"][0] for quantity in QUANTITIES}
    ((_, outcome),) = [item for item in chosen(Archive([labelled])) if item[0] is seed]
    denser = next(
        m for m in accuracy.candidates(outcome.centre.cell.array) if np.prod(m) > np.prod(outcome.choice.point.kpts)
    )
    lost = 50 / np.prod(outcome.choice.point.kpts) - 50 / np.prod(denser)
    assert value["energy, denser mesh"] == pytest.approx(lost)
    assert value["energy, denser mesh, smallest volume"] == pytest.approx(lost)
    assert value["gap, denser mesh"] == pytest.approx(0, abs=1e-9)
    assert value["energy between volumes, cutoff"] == pytest.approx(0, abs=1e-9)
    pulay = 2 / 3 * 0.02 * len(seed.atoms) / outcome.centre.get_volume() * EV_PER_A3_IN_GPA
    assert value["pressure from energies"] == pytest.approx(pulay, rel=0.1)
    assert value["pressure with its Pulay term from energies"] < 0.1 * pulay
    assert value["shear stress from energies"] < 0.02


def test_a_second_run_measures_nothing_again(labelled, tmp_path, make_engine):
    checks = tmp_path / "checks.jsonl"
    measure(checks, others=[labelled], engine=make_engine())
    idle = make_engine()
    assert measure(checks, others=[labelled], engine=idle).calculated == 0
    assert idle.calls == []


def test_a_wrong_shear_stress_is_found_with_its_size():
    """E = 2 V σ γ for σ = 0.01 eV/Å³ in 100 Å³: the stated stress of 0.013 is 0.003 off."""

    def record(energy, stress=0.0):
        return {
            f: {
                "energy_eV": energy,
                "stress_eV_per_A3_voigt": [0] * 5 + [stress],
                "structure": {"lattice_A": np.diag([4, 5, 5])},
            }
            for f in (PBE, R2SCAN)
        }

    rise = 2 * 100 * 0.01 * accuracy.SHEAR
    whole = {"check-shear": record(0.0, 0.013), "check-shear+1": record(rise), "check-shear-1": record(-rise)}
    assert accuracy._shear_error(whole, PBE) == pytest.approx(0.003)


def test_a_shear_strain_is_symmetric_and_keeps_fractions():
    atoms = seeds()["NaCl_rocksalt"].atoms
    after = sheared(atoms, 0.01)
    strain = np.linalg.inv(atoms.cell.array) @ after.cell.array - np.eye(3)
    np.testing.assert_allclose(strain, [[0, 0.01, 0], [0.01, 0, 0], [0, 0, 0]], atol=1e-12)
    np.testing.assert_allclose(after.get_scaled_positions(), atoms.get_scaled_positions(), atol=1e-12)


def test_the_pressure_that_energies_lack_by_hand():
    """E = V² and P = -2V + 0.3: 0.3 too much everywhere."""
    records = [
        {
            "energy_eV": v**2,
            "stress_eV_per_A3_voigt": [2 * v - 0.3] * 3 + [0] * 3,
            "structure": {"lattice_A": np.diag([v, 1, 1])},
        }
        for v in (0.9, 1.0, 1.2)
    ]
    assert pressure_offset(records) == pytest.approx(-0.3)


def test_the_table_is_markdown_with_a_unit_for_every_quantity(labelled, tmp_path, make_engine):
    measure(tmp_path / "checks.jsonl", others=[labelled], engine=make_engine())
    text = str(table([labelled, tmp_path / "checks.jsonl"], None))
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert all(line.count("|") == len(KINDS) + 3 for line in rows)
    assert {line.split("|")[1].strip() for line in rows[1:]} <= set(QUANTITIES)


def test_without_checks_only_what_labels_tell_is_there(labelled):
    measured = table([labelled], None)
    assert {quantity for quantity, _ in measured.values} == {
        "pressure from energies",
        "pressure with its Pulay term from energies",
    }
    assert set(measured.crystals.values()) == {0}
