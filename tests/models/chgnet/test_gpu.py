"""The engine on a GPU gives the numbers of the CPU. Skipped where there is none."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from xferbench.functionals import Functional
from xferbench.models.chgnet.engine import CHGNetEngine
from xferbench.models.chgnet.frozen import FrozenCHGNet

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")


def engine(network):
    return CHGNetEngine(functional=Functional("PBE"), network=FrozenCHGNet(network))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 2e-4)])
def test_predictions_are_those_of_the_cpu(make_network, crystals, dtype, tolerance):
    structures = [*crystals.small(3), *crystals.mptrj_like(3)]
    network = make_network("uneven").to(dtype)
    on_gpu = engine(copy.deepcopy(network).to("cuda")).predict(structures)
    for found, expected in zip(on_gpu, engine(network).predict(structures), strict=True):
        for name in expected:
            np.testing.assert_allclose(found[name], expected[name], atol=tolerance, rtol=tolerance)


def test_training_gradients_are_those_of_the_cpu(make_network, make_batch, crystals):
    network = make_network()
    gradients = []
    for device in ("cpu", "cuda"):
        copied = copy.deepcopy(network).to(device)
        found = copied(make_batch(crystals.small(2), copied), create_graph=True)
        ((found.forces**2).mean() + (found.stress**2).mean() + found.energy.mean()).backward()
        gradients.append([p.grad.cpu() for p in copied.parameters() if p.grad is not None])
    for cpu, gpu in zip(*gradients, strict=True):
        torch.testing.assert_close(gpu, cpu, atol=1e-10, rtol=1e-8)


@pytest.mark.parametrize(("products", "tolerance"), [("tf32", 0.05), ("bf16", 0.3)])
def test_shorter_factors_change_little(make_network, crystals, products, tolerance):
    structures = crystals.small(4)
    network = make_network("as 0.3.0").float()
    exact = engine(network).predict(structures)
    frozen = FrozenCHGNet(copy.deepcopy(network).to("cuda"), products=products)
    found = CHGNetEngine(functional=Functional("PBE"), network=frozen, ahead=2, max_rows=500).predict(structures)
    for result, expected in zip(found, exact, strict=True):
        apart = np.linalg.norm(result["forces"] - expected["forces"])
        assert apart < tolerance * np.linalg.norm(expected["forces"])
