"""Layer normalisation with its second derivative written out, for training on forces.

torch puts the second derivative together from some thirty operations on every bond and angle; by hand it takes ten.

With x̂ = (x - mean x) r, r = 1/sqrt(var x + ε), means over the n features of a row, and the projection
P u = u - mean u - x̂ mean(u x̂), which is its own transpose:

- y = γ x̂ + β
- the first derivative turns g = dE/dy into r P(γ g)
- a change v of that result is, seen from g, γ r P v, and seen from x, with h = γ g, a = mean(h x̂), b = mean(v x̂):
  r² (mean(a v + b h) - (a v + b h) + x̂ (3 a b - mean(v h) + mean v mean h))
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function


class LayerNorm(nn.LayerNorm):
    """``torch.nn.LayerNorm`` over the columns of a matrix."""

    def forward(self, x: Tensor) -> Tensor:
        """(n, n_features) -> (n, n_features)."""
        result: Tensor = _Norm.apply(x, self.weight, self.bias, self.eps)  # type: ignore[no-untyped-call]
        return result


class _Norm(Function):
    """The normalisation; its derivative is ``_NormBackward``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor, offset: Tensor, epsilon: float) -> Tensor:  # noqa: ANN401 - torch's context
        result, mean, inverse = torch.native_layer_norm(x, [x.shape[1]], gain, offset, epsilon)
        ctx.save_for_backward(x, gain, mean, inverse)
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401 - torch's context
        x, gain, mean, inverse = ctx.saved_tensors
        result: tuple[Tensor, ...] = _NormBackward.apply(gradient, x, gain, mean, inverse)  # type: ignore[no-untyped-call]
        return (*result, None)


class _NormBackward(Function):
    """The first derivative, with a derivative of its own: the formulas at the top."""

    @staticmethod
    def forward(ctx: Any, *arguments: Tensor) -> tuple[Tensor, ...]:  # noqa: ANN401 - torch's context
        ctx.save_for_backward(*arguments)
        ctx.set_materialize_grads(False)
        return _first(*arguments)

    @staticmethod
    def backward(
        ctx: Any,  # noqa: ANN401 - torch's context
        change: Tensor,
        by_gain: Tensor | None,
        by_offset: Tensor | None,
    ) -> tuple[Tensor | None, ...]:
        if by_gain is not None or by_offset is not None:
            raise NotImplementedError("derivatives of the gradient by the gain or the offset of a layer normalisation")
        gradient, x, gain, mean, inverse = ctx.saved_tensors
        one = torch.ones_like(gain)
        projected = _first(change, x, one, mean, inverse)[0]
        normal = (x - mean) * inverse
        scaled = gradient * gain
        a, b = (scaled * normal).mean(1, keepdim=True), (change * normal).mean(1, keepdim=True)
        middle, scaled_middle = change.mean(1, keepdim=True), scaled.mean(1, keepdim=True)
        factor = 3 * a * b - (change * scaled).mean(1, keepdim=True) + middle * scaled_middle
        to_x = normal.mul_(factor).addcmul_(a, change, value=-1).addcmul_(b, scaled, value=-1)
        to_x = to_x.add_(a * middle + b * scaled_middle).mul_(inverse * inverse)
        return projected * gain, to_x, (projected * gradient).sum(0), None, None


def _first(gradient: Tensor, x: Tensor, gain: Tensor, mean: Tensor, inverse: Tensor) -> tuple[Tensor, ...]:
    """Derivatives by x, gain and offset."""
    found: tuple[Tensor, ...] = torch.ops.aten.native_layer_norm_backward(
        gradient, x, [x.shape[1]], mean, inverse, gain, torch.zeros_like(gain), [True, True, True]
    )
    return found
