"""The ASE calculator is the engine for one structure."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms

from xferbench.errors import ModelError
from xferbench.models.chgnet.calculator import CHGNetCalculator


def test_the_calculator_gives_what_the_engine_gives(make_engine, crystals):
    engine = make_engine()
    atoms = crystals.small(1)[0]
    (expected,) = engine.predict([atoms])
    atoms.calc = CHGNetCalculator(engine)
    assert atoms.get_potential_energy() == pytest.approx(expected["energy"])
    np.testing.assert_allclose(atoms.get_forces(), expected["forces"])
    np.testing.assert_allclose(atoms.get_stress(voigt=False), expected["stress"], atol=1e-12)
    np.testing.assert_allclose(atoms.get_magnetic_moments(), expected["magmoms"])
    np.testing.assert_allclose(atoms.get_potential_energies(), expected["energies"])


def test_the_calculator_raises_what_the_engine_reports(make_engine):
    atoms = Atoms("He", cell=[9, 9, 9], pbc=True, calculator=CHGNetCalculator(make_engine()))
    with pytest.raises(ModelError, match="isolated atom"):
        atoms.get_potential_energy()
