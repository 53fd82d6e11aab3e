import math

import pytest
import torch

from xferbench.transfer.health import entry, gradient_norms, is_sampled, steps_to_reach


@pytest.mark.parametrize(("n", "expected"), [(3, [0, 1, 2]), (10, list(range(10))), (100, list(range(0, 100, 10)))])
def test_ten_steps_of_the_first_epoch_are_looked_at(n, expected):
    assert [batch for batch in range(n) if is_sampled(0, batch, n)] == expected
    assert not any(is_sampled(1, batch, n) for batch in range(n))


def test_norms_are_those_of_torch_by_layer(network):
    network.requires_grad_(True)
    for name, parameter in network.named_parameters():
        if not name.startswith("angle"):
            parameter.grad = torch.full_like(parameter, 2.0)
    norms = gradient_norms(network)
    assert not any(layer.startswith("angle") for layer in norms)
    size = sum(p.numel() for p in network.mlp.parameters())
    assert norms["mlp.layers"] == pytest.approx(2 * math.sqrt(size))
    total = torch.nn.utils.get_total_norm([p.grad for p in network.parameters() if p.grad is not None])
    assert math.hypot(*norms.values()) == pytest.approx(float(total))


def test_an_entry_has_step_loss_and_norms(network):
    assert entry(7, 0.5, network) == {"step": 7, "loss": 0.5, "gradient_norms": {}}


def test_steps_to_reach_another_run():
    def rows(energies, forces):
        return [
            {"step": 10.0 * i, "val_energy": e, "val_forces": f, "val_stress": math.nan, "val_magmoms": 1.0}
            for i, (e, f) in enumerate(zip(energies, forces, strict=True))
        ]

    scratch = rows([9, 5, 6], [3, 2, 1])
    found = steps_to_reach(rows([8, 5, 4], [4, 3, 2]), scratch)
    assert found == {"energy": 10, "forces": None, "stress": None, "magmoms": 0}
