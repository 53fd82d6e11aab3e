from __future__ import annotations

import json
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from xferbench.errors import MissingExtraError, UsageError
from xferbench.records import Functional
from xferbench.sources.mini.build import RECORDS
from xferbench.sources.mini.engine import (
    ATOM_PROTOCOL,
    PROTOCOL,
    XC,
    GpawEngine,
    TimeLimitError,
    _functional,
    _mixer,
    cut_potential,
    kpoint_mesh,
    settings_of,
    time_limit,
)
from xferbench.sources.mini.structures import seeds


@pytest.fixture(scope="module")
def committed():
    return [json.loads(line) for line in RECORDS.read_text().splitlines()]


def test_committed_records_have_the_settings_and_the_mesh_of_the_protocol(committed):
    for record in committed:
        assert record["settings"] == settings_of(Functional(record["functional"]))
        if record["status"] == "ok":
            seed = seeds()[record["seed_structure"]]
            assert record["kpts"] == {"size": list(kpoint_mesh(seed.atoms.cell.array, metal=seed.metal)), "gamma": True}


def test_the_mesh_of_a_cubic_cell_by_hand():
    # 2π / 4 Å = 1.5708 1/Å: 4 points at 0.40, exactly π → 3.14 at 0.50
    assert kpoint_mesh(np.eye(3) * 4.0, metal=True) == (4, 4, 4)
    assert kpoint_mesh(np.diag([4.0, 2.0, 100.0]), metal=False) == (4, 7, 1)


def test_a_length_of_exactly_n_spacings_gives_n_points():
    length = 2 * np.pi / (5 * PROTOCOL["kspacing_invA"]["insulator"])
    assert kpoint_mesh(np.eye(3) * length, metal=False) == (5, 5, 5)


def test_a_metal_never_has_a_coarser_mesh_than_an_insulator():
    for seed in seeds().values():
        cell = seed.atoms.cell.array
        assert all(m >= i for m, i in zip(kpoint_mesh(cell, metal=True), kpoint_mesh(cell, metal=False), strict=True))


def test_pbe_comes_first_because_r2scan_starts_from_it():
    assert list(XC) == [Functional.PBE, Functional.R2SCAN]


def test_functionals_share_all_settings_but_the_functional():
    pbe, r2scan = (settings_of(functional) for functional in XC)
    assert {key for key in pbe if pbe[key] != r2scan[key]} == {"xc_libxc"}
    assert "xc_libxc" not in PROTOCOL


def test_the_potential_is_cut_where_there_is_next_to_nothing_of_a_spin():
    density = np.array([[1.0, 1e-6, 1.0], [1.0, 1.0, -1e-9]])
    potential, by_tau, by_sigma = np.ones((2, 3)), np.ones((2, 3)), np.ones((3, 3))
    cut_potential(density, 1e-5, potential, by_sigma, by_tau)
    assert potential.tolist() == by_tau.tolist() == [[1, 0, 1], [1, 1, 0]]
    assert by_sigma.tolist() == [[1, 0, 1], [1, 0, 0], [1, 1, 0]]  # up-up, up-down, down-down


def test_without_spin_there_is_one_of_each():
    potential, by_tau, by_sigma = np.ones((1, 2)), np.ones((1, 2)), np.ones((1, 2))
    cut_potential(np.array([[1.0, 1e-6]]), 1e-5, potential, by_sigma, by_tau)
    assert potential.tolist() == by_tau.tolist() == by_sigma.tolist() == [[1, 0]]


def test_only_the_meta_gga_of_an_atom_is_mixed_and_cut_in_a_way_of_its_own():
    atom = {functional: settings_of(functional, ATOM_PROTOCOL) for functional in XC}
    assert _mixer(atom[Functional.R2SCAN]) == {"beta": 0.3, "nmaxold": 1, "weight": 1}
    assert _mixer(atom[Functional.PBE]) == _mixer(settings_of(Functional.R2SCAN)) == {}
    assert _functional(atom[Functional.PBE]) == "PBE"
    assert _functional(settings_of(Functional.R2SCAN)) == "MGGA_X_R2SCAN+MGGA_C_R2SCAN"


def test_a_time_limit_interrupts_and_is_gone_afterwards():
    with pytest.raises(TimeLimitError, match=r"over 0\.05 s"), time_limit(0.05):
        time.sleep(5)
    with time_limit(0.05):
        pass
    time.sleep(0.1)


def test_a_time_limit_outside_the_main_thread_is_a_usage_error():
    caught = []

    def run():
        try:
            with time_limit(1):
                pass
        except UsageError as error:
            caught.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert caught == ["calculations with a time limit run in the main thread only"]


def test_without_gpaw_the_error_names_the_extra_and_what_it_needs(monkeypatch):
    monkeypatch.setitem(sys.modules, "gpaw", None)
    with pytest.raises(MissingExtraError, match=r'pip install "xferbench\[dft\]".*C\+\+ compiler'):
        GpawEngine()


def test_importing_the_engine_imports_neither_gpaw_nor_ase():
    code = "import sys, xferbench.sources.mini.engine; print({'gpaw', 'ase'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert out.stdout.strip() == "set()"


def test_gpaw_tells_its_versions():
    pytest.importorskip("gpaw", reason="GPAW is not installed: pip install xferbench[dft]")
    versions = GpawEngine().versions()
    assert set(versions) == {"gpaw", "gpaw-data", "ase", "numpy", "libxc", "libxc_fhc_disabled"}
    assert versions["libxc_fhc_disabled"] in {"yes", "no"}
