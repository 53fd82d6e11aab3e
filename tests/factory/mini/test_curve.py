from __future__ import annotations

import numpy as np
import pytest

from xferbench.factory.mini.curve import equilibrium_volume


def birch_murnaghan(volume, v0=40.0, e0=-7.0, b0=0.6, b1=4.7):
    """Energy in eV and pressure in eV/Å³ as in the textbook."""
    eta = (v0 / volume) ** (2 / 3)
    energy = e0 + 9 * v0 * b0 / 16 * ((eta - 1) ** 3 * b1 + (eta - 1) ** 2 * (6 - 4 * eta))
    pressure = 1.5 * b0 * (eta**3.5 - eta**2.5) * (1 + 0.75 * (b1 - 4) * (eta - 1))
    return energy, pressure


@pytest.mark.parametrize("volumes", [[37.6, 42.4], [35.0, 37.0, 44.0], [34.0, 37.0, 40.0, 43.0, 46.0], [41.0, 44.0]])
def test_an_exact_curve_gives_its_volume_back(volumes):
    energies, pressures = zip(*map(birch_murnaghan, volumes), strict=True)
    assert equilibrium_volume(volumes, energies, pressures) == pytest.approx(40.0, rel=1e-6)


def test_noise_moves_it_little():
    rng = np.random.default_rng(0)
    volumes = [37.6, 42.4]
    found = []
    for _ in range(50):
        energies, pressures = zip(*map(birch_murnaghan, volumes), strict=True)
        noisy = np.array(energies) + rng.normal(0, 1e-3, 2)
        found.append(equilibrium_volume(volumes, noisy, np.array(pressures) + rng.normal(0, 0.05 / 160.2, 2)))
    assert np.std(found) / 40 < 0.002


def test_the_zero_of_energy_does_not_matter():
    energies, pressures = zip(*map(birch_murnaghan, [37.6, 42.4]), strict=True)
    assert equilibrium_volume([37.6, 42.4], np.array(energies) + 1e4, pressures) == pytest.approx(40.0, rel=1e-6)


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_a_curve_without_a_minimum_nearby_is_refused(sign):
    with pytest.raises(ValueError, match=r"has 0 minima near its volumes 38\.00 to 42\.00"):
        equilibrium_volume([38.0, 42.0], [sign * 2.0, -sign * 2.0], [sign * 1.0, sign * 1.0])
