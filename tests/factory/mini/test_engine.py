from __future__ import annotations

import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from xferbench.errors import MissingExtraError, UsageError
from xferbench.factory.mini.engine import (
    ATOM_PROTOCOL,
    PROTOCOL,
    GpawEngine,
    TimeLimitError,
    _functional,
    _mixer,
    cpu_limit,
    cut_potential,
    settings_of,
)
from xferbench.functionals import Functional
from xferbench.sources.mini.checks import XC


def test_pbe_comes_first_because_r2scan_starts_from_it():
    assert list(XC) == [Functional("PBE"), Functional("r2SCAN")]


def test_functionals_share_all_settings_but_the_functional():
    pbe, target = (settings_of(functional) for functional in XC)
    assert {key for key in pbe if pbe[key] != target[key]} == {"xc_libxc"}
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
    assert _mixer(atom[Functional("r2SCAN")]) == {"beta": 0.3, "nmaxold": 1, "weight": 1}
    assert _mixer(atom[Functional("PBE")]) == _mixer(settings_of(Functional("r2SCAN"))) == {}
    assert _functional(atom[Functional("PBE")]) == "PBE"
    assert _functional(settings_of(Functional("r2SCAN"))) == "MGGA_X_R2SCAN+MGGA_C_R2SCAN"


def spin(seconds):
    """Use CPU time."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_a_limit_of_cpu_time_interrupts_and_is_gone_afterwards():
    with pytest.raises(TimeLimitError, match=r"over 0\.05 s of CPU time"), cpu_limit(0.05):
        spin(5)
    with cpu_limit(0.05):
        pass
    spin(0.1)


def test_waiting_costs_no_cpu_time():
    with cpu_limit(0.2):
        time.sleep(0.3)


def test_a_limit_outside_the_main_thread_is_a_usage_error():
    caught = []

    def run():
        try:
            with cpu_limit(1):
                pass
        except UsageError as error:
            caught.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert caught == ["calculations with a time limit run in the main thread only"]


def test_without_gpaw_the_error_names_the_extra_and_what_it_needs(monkeypatch):
    monkeypatch.setitem(sys.modules, "gpaw", None)
    with pytest.raises(MissingExtraError, match=r'pip install "\.\[dft\]".*C\+\+ compiler'):
        GpawEngine()


def test_importing_the_engine_imports_neither_gpaw_nor_ase():
    code = "import sys, xferbench.factory.mini.engine; print({'gpaw', 'ase'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert out.stdout.strip() == "set()"


def test_gpaw_tells_its_versions():
    pytest.importorskip("gpaw", reason="GPAW is not installed: pip install .[dft]")
    versions = GpawEngine().versions()
    assert set(versions) == {"gpaw", "gpaw-data", "ase", "numpy", "libxc", "libxc_fhc_disabled"}
    assert versions["libxc_fhc_disabled"] in {"yes", "no"}
