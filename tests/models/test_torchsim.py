from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk

from xferbench.functionals import Functional
from xferbench.models import parse_spec
from xferbench.models.loading import load
from xferbench.models.torchsim import TorchSimModel, is_model

FILE = """
import torch
from torch_sim.models.lennard_jones import LennardJonesModel

FUNCTIONAL = "PBE"


def load_model(device):
    return LennardJonesModel(
        sigma=2.0, epsilon=0.1, cutoff=5.0, device=torch.device(device), dtype=torch.float64, compute_forces=True, compute_stress=True
    )
"""


def test_only_a_model_interface_of_torchsim_is_one():
    assert not is_model(object())
    assert not is_model(TorchSimModel(network=None, functional=Functional("PBE")))


@pytest.fixture
def model(tmp_path):
    """TorchSim's Lennard-Jones model, in double precision, from a file."""
    pytest.importorskip("torch_sim", reason="TorchSim is not installed: pip install '.[torchsim]'")
    (tmp_path / "model.py").write_text(FILE)
    return load(parse_spec(str(tmp_path / "model.py")))


@pytest.fixture
def crystals():
    """Of different sizes and pressures."""
    rng = np.random.default_rng(0)
    made = [bulk("Cu", a=a).repeat(n) for a, n in ((3.0, 2), (3.4, 3), (2.9, 1), (3.2, 2))]
    for atoms in made:
        atoms.positions += rng.normal(0, 0.05, atoms.positions.shape)
    return made


@pytest.mark.filterwarnings("ignore")
def test_each_structure_gets_what_the_network_says_of_it_alone(model, crystals):
    from torch_sim.io import atoms_to_state

    assert isinstance(model, TorchSimModel)
    for atoms, found in zip(crystals, model.predict(crystals), strict=True):
        alone = model.network(atoms_to_state([atoms], model.network.device, model.network.dtype))
        assert float(found["energy"]) == pytest.approx(float(alone["energy"][0]), abs=1e-9)
        np.testing.assert_allclose(found["forces"].numpy(), alone["forces"].numpy(), atol=1e-9)
        np.testing.assert_allclose(found["stress"].numpy(), alone["stress"][0].numpy(), atol=1e-9)


@pytest.mark.filterwarnings("ignore")
def test_states_split_by_its_batcher_come_back_in_order(model, crystals, monkeypatch):
    whole = model.predict(crystals)
    monkeypatch.setattr("xferbench.models.torchsim.MEMORY", {"n_atoms": 1.0, "n_atoms_x_density": 1.0})
    split = model.predict(crystals)
    for atoms, one, other in zip(crystals, whole, split, strict=True):
        assert len(one["forces"]) == len(atoms)
        assert float(one["energy"]) == pytest.approx(float(other["energy"]), abs=1e-10)
        np.testing.assert_allclose(one["forces"].numpy(), other["forces"].numpy(), atol=1e-10)
        np.testing.assert_allclose(one["stress"].numpy(), other["stress"].numpy(), atol=1e-10)
