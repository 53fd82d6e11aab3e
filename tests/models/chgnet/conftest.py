"""Random crystals, shared with the benchmarks, and small random networks."""

from __future__ import annotations

import pytest
import torch

from xferbench.functionals import Functional
from xferbench.models.chgnet.batch import Batch
from xferbench.models.chgnet.engine import CHGNetEngine
from xferbench.models.chgnet.frozen import FrozenCHGNet
from xferbench.models.chgnet.graph import build
from xferbench.models.chgnet.layers import State
from xferbench.models.chgnet.model import CHGNet, Settings

SHAPES = {
    "as 0.3.0": {},
    "as 0.2.0": {
        "num_radial": 9,
        "num_angular": 9,
        "atom_graph_cutoff": 5,
        "cutoff_coeff": 5,
        "mlp_hidden_dims": (64, 64),
        "gMLP_norm": None,
        "readout_norm": None,
        "mlp_out_bias": True,
    },
    "uneven": {
        "atom_fea_dim": 12,
        "bond_fea_dim": 8,
        "angle_fea_dim": 6,
        "n_conv": 3,
        "atom_conv_hidden_dim": (10,),
        "bond_conv_hidden_dim": (7,),
        "angle_layer_hidden_dim": (5,),
        "mlp_hidden_dims": (9,),
    },
    "two hidden layers": {"atom_conv_hidden_dim": (16, 8), "non_linearity": "tanh", "n_conv": 2},
    "no bond updates": {"update_bond": False, "learnable_rbf": False},
    "no angle updates": {"update_angle": False},
    "mean, gated readout": {"mlp_first": False, "gated_readout": True, "readout_norm": None},
    "per cell": {"is_intensive": False, "has_references": False, "cutoff_coeff": 0},
}
"""Shapes of networks that checkpoints may have."""


@pytest.fixture(scope="session")
def crystals(script):
    """The module ``benchmarks/chgnet_crystals.py``."""
    return script("chgnet_crystals")


@pytest.fixture(scope="session")
def make_network():
    """``make_network("as 0.3.0")`` -> a network of that shape with random weights, in double precision."""

    def make(shape="as 0.3.0", **changes):
        torch.manual_seed(len(shape))
        network = CHGNet(Settings(**SHAPES[shape] | changes)).double()
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                # the elemental references are fixed in training as well
                parameter.requires_grad_("composition" not in name)
                if "frequencies" not in name:
                    parameter.add_(0.1 * torch.randn_like(parameter))
        return network

    return make


@pytest.fixture(scope="session")
def make_batch():
    """``make_batch(structures, network)`` -> the batch that the network reads."""

    def make(structures, network, isolated="raise"):
        s = network.settings
        graphs = build(structures, atom_cutoff=s.atom_graph_cutoff, bond_cutoff=s.bond_graph_cutoff, isolated=isolated)
        weight = network.site_wise.weight
        return Batch.from_graphs(graphs, dtype=weight.dtype, device=weight.device)

    return make


@pytest.fixture(scope="session")
def make_state():
    """``make_state(network, batch)`` -> random features of the shapes that its layers read; options as ``torch.randn``."""

    def make(network, batch, **options):
        s = network.settings
        sizes = {
            "atoms": (len(batch.numbers), s.atom_fea_dim),
            "bonds": (len(batch.center), s.bond_fea_dim),
            "angles": (batch.n_angles, s.angle_fea_dim),
            "weights": (len(batch.center), s.atom_fea_dim),
            "short_weights": (batch.n_short, s.bond_fea_dim),
        }
        arrays = {name: torch.randn(*size, dtype=torch.float64, **options) for name, size in sizes.items()}
        return State(**arrays)

    return make


@pytest.fixture
def make_engine(make_network):
    """``make_engine(max_rows=…)`` -> an engine with a small network."""

    def make(**changes):
        network = FrozenCHGNet(make_network("uneven"))
        return CHGNetEngine(functional=Functional("PBE"), network=network, **changes)

    return make


def pytest_generate_tests(metafunc):
    """Every test with an argument ``shape`` runs for all of them."""
    if "shape" in metafunc.fixturenames:
        metafunc.parametrize("shape", sorted(SHAPES))
