"""Layer normalisation and its derivatives, against torch's own and against finite differences."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from xferbench.models.chgnet.normalisation import LayerNorm


@pytest.fixture
def norm():
    torch.manual_seed(0)
    layer = LayerNorm(7).double()
    with torch.no_grad():
        layer.weight.normal_()
        layer.bias.normal_()
    return layer


@pytest.fixture
def x():
    return torch.randn(5, 7, dtype=torch.float64, requires_grad=True)


def plain(layer):
    other = nn.LayerNorm(7).double()
    other.load_state_dict(layer.state_dict())
    return other


def test_values_and_names_are_torchs(norm, x):
    torch.testing.assert_close(norm(x), plain(norm)(x))
    assert list(norm.state_dict()) == ["weight", "bias"]


def test_a_row_by_hand():
    layer = LayerNorm(2)
    found = layer(torch.tensor([[1.0, 3.0]]))
    torch.testing.assert_close(found, torch.tensor([[-1.0, 1.0]]) / (1 + 1e-5) ** 0.5)


def test_first_derivatives_are_finite_differences(norm, x):
    assert torch.autograd.gradcheck(norm, (x,))


def forces_then_loss(layer, x):
    """As in training: a loss on the derivative by the input, differentiated by everything."""
    weights = torch.linspace(-1, 1, x.numel(), dtype=torch.float64).reshape(x.shape)
    (slope,) = torch.autograd.grad((layer(x) * weights).sin().sum(), x, create_graph=True)
    return torch.autograd.grad((slope**3).sum(), (x, layer.weight, layer.bias))


def test_second_derivatives_are_torchs(norm, x):
    for found, expected in zip(forces_then_loss(norm, x), forces_then_loss(plain(norm), x), strict=True):
        torch.testing.assert_close(found, expected)


def test_second_derivatives_are_finite_differences(norm, x):
    assert torch.autograd.gradgradcheck(lambda y: norm(y).exp(), (x,), check_undefined_grad=False)


def test_gradients_of_gain_and_offset_are_torchs(norm, x):
    other = plain(norm)
    for layer in (norm, other):
        (layer(x) ** 3).sum().backward()
    torch.testing.assert_close(norm.weight.grad, other.weight.grad)
    torch.testing.assert_close(norm.bias.grad, other.bias.grad)


def test_what_is_not_written_out_is_refused(norm, x):
    (slope,) = torch.autograd.grad((norm(x) ** 2).sum(), norm.weight, create_graph=True)
    with pytest.raises(NotImplementedError, match="derivatives of the gradient by the gain"):
        slope.sum().backward()
