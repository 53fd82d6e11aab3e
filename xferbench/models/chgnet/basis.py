"""From geometry to numbers: radial Bessel functions of bonds, Fourier functions of angles.

References:
    B. Deng et al., Nat. Mach. Intell. 5, 1031 (2023), Methods: Eq. 1 (Fourier), Eq. 2 (smooth radial Bessel).
    J. Gasteiger et al., ICLR 2020, arXiv:2003.03123: the Bessel functions and the polynomial envelope, Eq. 7 and 8.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

COLLINEAR = 1 - 1e-6
"""Cosines are scaled by this before ``acos``, whose slope is infinite at ±1."""


class RadialBessel(nn.Module):
    """sqrt(2/c) sin(f d / c) / d times an envelope that is 1 at d = 0 and 0, with two derivatives, at d = c."""

    frequencies: Tensor

    def __init__(self, *, n_radial: int, cutoff: float, exponent: int, learnable: bool) -> None:
        super().__init__()
        self.cutoff = cutoff
        self.exponent = exponent
        frequencies = math.pi * torch.arange(1, n_radial + 1, dtype=torch.float32)
        _set_frequencies(self, frequencies, learnable=learnable)

    def forward(self, distance: Tensor) -> Tensor:
        """(n,) Å -> (n, n_radial), worked out in the precision of the distances, given in that of the network."""
        distance = distance[:, None]
        waves = torch.sin(self.frequencies * (distance / self.cutoff))
        return (waves * (self.envelope(distance) * math.sqrt(2 / self.cutoff) / distance)).to(self.frequencies.dtype)

    def envelope(self, distance: Tensor) -> Tensor:
        """1 - (p+1)(p+2)/2 r^p + p(p+2) r^(p+1) - p(p+1)/2 r^(p+2) with r = d/c below 1; 0 beyond. Any shape."""
        p = self.exponent
        if p == 0:
            return torch.ones_like(distance)
        ratio = distance / self.cutoff
        polynomial = -(p + 1) * (p + 2) / 2 + ratio * (p * (p + 2) - ratio * (p * (p + 1) / 2))
        return torch.where(ratio < 1, 1 + ratio**p * polynomial, 0.0)


class Fourier(nn.Module):
    """1/sqrt(2π), then sin(f θ)/sqrt(π), then cos(f θ)/sqrt(π)."""

    frequencies: Tensor

    def __init__(self, *, order: int, learnable: bool) -> None:
        super().__init__()
        _set_frequencies(self, torch.arange(1, order + 1, dtype=torch.float32), learnable=learnable)

    def forward(self, cosine: Tensor) -> Tensor:
        """Cosines (n,) of angles -> (n, 1 + 2 order), in the precisions of ``RadialBessel``."""
        phases = torch.acos(cosine * COLLINEAR)[:, None] * self.frequencies
        constant = torch.full_like(phases[:, :1], math.sqrt(0.5))
        waves = torch.cat([constant, torch.sin(phases), torch.cos(phases)], dim=1) / math.sqrt(math.pi)
        return waves.to(self.frequencies.dtype)


def _set_frequencies(module: nn.Module, frequencies: Tensor, *, learnable: bool) -> None:
    if learnable:
        module.frequencies = nn.Parameter(frequencies)
    else:
        module.register_buffer("frequencies", frequencies)
