"""Compositions and energies with a known answer."""

from __future__ import annotations

import numpy as np
import pytest

from xferbench.functionals import Functional
from xferbench.references.labels import Labels

SYMBOLS = {1: "H", 3: "Li", 8: "O", 11: "Na", 17: "Cl"}


@pytest.fixture
def make_labels():
    """``make_labels(n, noise=…)`` -> random pairs of five elements whose gap is linear in composition, plus noise."""

    def make(n=60, *, noise=0.0, source_noise=0.4, seed=0, shift=(-0.1, -0.5, -1.4, -2.2, -4.5), n_materials=20):
        rng = np.random.default_rng(seed)
        counts = rng.integers(0, 4, (n, 5))
        counts[np.arange(n), rng.integers(0, 5, n)] += 1  # no structure without atoms
        counts[:5] = np.eye(5, dtype=int)  # an elemental phase of each
        fractions = counts / counts.sum(axis=1, keepdims=True)
        source = fractions @ [-3.0, -1.9, -4.9, -1.3, -1.8] + rng.normal(0, source_noise, n)
        return Labels(
            elements=tuple(SYMBOLS),
            fractions=fractions,
            n_atoms=counts.sum(axis=1),
            materials=tuple(f"material-{i % n_materials:02d}" for i in range(n)),
            source=source,
            functionals=(Functional("PBE"), Functional("r2SCAN")),
            target=source + fractions @ np.array(shift) + rng.normal(0, 1, n) * noise,
        )

    return make
