"""Radial and angular functions: values by hand, limits, and chgnet's own."""

from __future__ import annotations

import math

import pytest
import torch

from xferbench.models.chgnet.basis import COLLINEAR, Fourier, RadialBessel


def test_a_radial_function_by_hand():
    basis = RadialBessel(n_radial=2, cutoff=6, exponent=8, learnable=False)
    # at half the cutoff: 1 - 45/2^8 + 80/2^9 - 36/2^10
    envelope = 1 - 45 / 256 + 80 / 512 - 36 / 1024
    expected = [math.sqrt(1 / 3) * math.sin(n * math.pi / 2) / 3 * envelope for n in (1, 2)]
    torch.testing.assert_close(basis(torch.tensor([3.0])), torch.tensor([expected]), atol=1e-7, rtol=1e-6)


def test_the_envelope_goes_to_zero_with_two_derivatives():
    basis = RadialBessel(n_radial=1, cutoff=3, exponent=5, learnable=False)
    x = torch.tensor(3 - 1e-6, dtype=torch.float64, requires_grad=True)
    value = basis.envelope(x)
    (slope,) = torch.autograd.grad(value, x, create_graph=True)
    (curvature,) = torch.autograd.grad(slope, x)
    assert abs(value) < 1e-14
    assert abs(slope) < 1e-9
    assert abs(curvature) < 1e-4


def test_nothing_lies_beyond_the_cutoff():
    basis = RadialBessel(n_radial=3, cutoff=3, exponent=5, learnable=False)
    assert basis(torch.tensor([3.0, 3.5, 6.0])).abs().max() == 0


def test_exponent_zero_is_no_envelope():
    basis = RadialBessel(n_radial=3, cutoff=3, exponent=0, learnable=False)
    assert basis.envelope(torch.tensor([0.1, 2.9])).tolist() == [1, 1]


@pytest.mark.parametrize("learnable", [True, False])
def test_frequencies_are_parameters_only_if_learnable(learnable):
    assert len(list(Fourier(order=4, learnable=learnable).parameters())) == learnable
    assert Fourier(order=4, learnable=learnable).state_dict()["frequencies"].tolist() == [1, 2, 3, 4]


def test_an_angular_function_by_hand():
    angle = math.acos(0.5 * COLLINEAR)
    expected = [math.sqrt(0.5), math.sin(angle), math.sin(2 * angle), math.cos(angle), math.cos(2 * angle)]
    found = Fourier(order=2, learnable=False).double()(torch.tensor([0.5], dtype=torch.float64))
    torch.testing.assert_close(found[0] * math.sqrt(math.pi), torch.tensor(expected, dtype=torch.float64))


def test_straight_angles_have_a_slope():
    cosine = torch.tensor([1.0, -1.0], requires_grad=True)
    Fourier(order=15, learnable=False)(cosine).sum().backward()
    assert torch.isfinite(cosine.grad).all()


def test_both_are_chgnets():
    reference = pytest.importorskip("chgnet.model.basis")
    distance, angle = torch.linspace(0.5, 6.5, 50), torch.linspace(0.01, 3.13, 50)
    radial = reference.RadialBessel(num_radial=31, cutoff=6, smooth_cutoff=8, learnable=True)
    ours = RadialBessel(n_radial=31, cutoff=6, exponent=8, learnable=True)
    torch.testing.assert_close(ours(distance), radial(distance), atol=2e-6, rtol=1e-5)
    fourier = reference.Fourier(order=15, learnable=True)
    found = Fourier(order=15, learnable=True)(torch.cos(angle) / COLLINEAR)
    torch.testing.assert_close(found, fourier(angle), atol=1e-4, rtol=1e-4)


def test_bases_of_double_geometry_are_rounded_once_at_the_end():
    distance = torch.linspace(0.5, 6.5, 200, dtype=torch.float64)
    basis = RadialBessel(n_radial=31, cutoff=6, exponent=8, learnable=False)
    found, exact = basis(distance), basis.double()(distance)
    assert found.dtype == torch.float32
    # frequencies are single in one and the same numbers in the other
    assert torch.equal(found, exact.float())
    cosine = torch.linspace(-0.999, 0.999, 200, dtype=torch.float64)
    fourier = Fourier(order=15, learnable=False)
    found, exact = fourier(cosine), fourier.double()(cosine)
    assert torch.equal(found, exact.float())
