"""The equation of state: where energy and pressure of a crystal put its volume without pressure.

Third-order Birch–Murnaghan (Phys. Rev. 71, 809, 1947): with x = V^(-2/3) the energy is a cubic polynomial of x, so energies and
pressures determine its four coefficients by linear least squares; two volumes with both are enough.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

POWERS = np.arange(4)

PRESSURE_WEIGHT = 10.0
"""Å³ that turn an error of pressure into one of energy: about a tenth of a cell, the distance of neighbouring volumes."""

WINDOW = 1.25
"""A minimum further than this factor from the volumes that were computed is an extrapolation nobody should trust."""


def equilibrium_volume(volumes: Sequence[float], energies: Sequence[float], pressures: Sequence[float]) -> float:
    """The volume at which the fitted energy has its minimum, in Å³.

    Args:
        volumes: Å³, at least two.
        energies: eV, of the same cells.
        pressures: eV/Å³, positive under compression.

    Raises:
        ValueError: The curve has no minimum near its points.
    """
    v = np.asarray(volumes, dtype=float)
    scale = float(np.mean(v))
    x = (v / scale) ** (-2 / 3)
    # E = Σ c_k x^k; P = -dE/dV = (2/3) x^(5/2) / scale Σ k c_k x^(k-1)
    energy_rows = x[:, None] ** POWERS
    slope = POWERS * x[:, None] ** np.maximum(POWERS - 1, 0)
    pressure_rows = (2 / 3) * x[:, None] ** 2.5 / scale * slope
    rows = np.vstack([energy_rows, PRESSURE_WEIGHT * pressure_rows])
    zero = float(np.mean(energies))
    values = np.concatenate([np.asarray(energies) - zero, PRESSURE_WEIGHT * np.asarray(pressures)])
    c = np.linalg.lstsq(rows, values, rcond=None)[0]
    roots = np.roots([3 * c[3], 2 * c[2], c[1]])
    minima = [root.real for root in roots if abs(root.imag) < 1e-12 and 2 * c[2] + 6 * c[3] * root.real > 0]
    found = [scale * x0 ** (-3 / 2) for x0 in minima if x0 > 0]
    inside = [volume for volume in found if v.min() / WINDOW < volume < v.max() * WINDOW]
    if len(inside) != 1:
        raise ValueError(
            f"the equation of state has {len(inside)} minima near its volumes {v.min():.2f} to {v.max():.2f} Å³"
        )
    return float(inside[0])
