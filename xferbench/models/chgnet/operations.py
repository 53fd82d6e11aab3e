"""The two operations that carry CHGNet's cost: sums over neighbours, and narrow matrix products.

Both differentiate any number of times, because each one's derivative is again one of the two: training needs the
derivative of forces, which are themselves derivatives.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


ONEDNN_ROWS = 256
"""Below this, oneDNN's 10 µs per call cost more than its faster product saves."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Incidence:
    """A sparse matrix of ones, with its transpose: which rows of a table are added up to give each row of a result.

    Attributes:
        indices: (n_terms,) rows of the table, result row by result row.
        offsets: (n_rows + 1,) where each result row starts in ``indices``.
        back_indices: (n_terms,) rows of the result, table row by table row.
        back_offsets: (n_columns + 1,) where each table row starts in ``back_indices``.
    """

    indices: Tensor
    offsets: Tensor
    back_indices: Tensor
    back_offsets: Tensor

    @classmethod
    def from_terms(cls, terms: NDArray[np.integer[Any]], n_columns: int) -> Incidence:
        """Every result row is the sum of equally many table rows.

        Args:
            terms: (n_rows, n_terms) table rows.
            n_columns: Rows of the table.
        """
        n_rows, width = terms.shape
        starts = np.arange(0, terms.size + 1, width, dtype=np.int32)
        ones = np.ones(terms.size, dtype=np.int8)
        matrix = csr_array((ones, terms.ravel().astype(np.int32), starts), shape=(n_rows, n_columns))
        back = matrix.tocsc()
        return cls(
            indices=torch.from_numpy(matrix.indices),
            offsets=torch.from_numpy(matrix.indptr),
            back_indices=torch.from_numpy(back.indices),
            back_offsets=torch.from_numpy(back.indptr),
        )

    @property
    def terms(self) -> Tensor:
        """(n_rows, n_terms) table rows, if every result row has equally many."""
        return self.indices.reshape(len(self.offsets) - 1, -1)

    @property
    def transpose(self) -> Incidence:
        """Result and table exchanged."""
        return Incidence(
            indices=self.back_indices,
            offsets=self.back_offsets,
            back_indices=self.indices,
            back_offsets=self.offsets,
        )

    def to(self, device: torch.device) -> Incidence:
        """A copy on a device."""
        return Incidence(
            indices=self.indices.to(device),
            offsets=self.offsets.to(device),
            back_indices=self.back_indices.to(device),
            back_offsets=self.back_offsets.to(device),
        )


class _Sum(Function):
    """``incidence @ table``; the derivative is a product with the transpose."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, incidence: Incidence) -> Tensor:  # noqa: ANN401 - torch's context
        ctx.incidence = incidence
        return add_rows(table, incidence)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401 - torch's context
        return sum_rows(gradient.contiguous(), ctx.incidence.transpose), None


def add_rows(table: Tensor, incidence: Incidence) -> Tensor:
    """``sum_rows`` without derivatives."""
    # torch's fastest gather-and-add, on CPU (fbgemm) and GPU
    return functional.embedding_bag(incidence.indices, table, incidence.offsets, mode="sum", include_last_offset=True)


def sum_rows(table: Tensor, incidence: Incidence) -> Tensor:
    """Add up rows of a table.

    Args:
        table: (n_columns, width).
        incidence: Which rows make up each result row.

    Returns:
        (n_rows, width).
    """
    result: Tensor = _Sum.apply(table, incidence)  # type: ignore[no-untyped-call]
    return result


class _Passes:
    """What the pass under way is for; torch does not tell a ``Function`` which derivatives are wanted."""

    to_weights = True
    short_factors = False


@contextmanager
def no_weight_gradients() -> Iterator[None]:
    """Within the block, reverse passes go to inputs only: a pass to the geometry needs no derivative by weights."""
    _Passes.to_weights = False
    try:
        yield
    finally:
        _Passes.to_weights = True


@contextmanager
def products_in(precision: str) -> Iterator[None]:
    """Within the block, narrow products of single-precision matrices take shorter factors; sums stay as they are.

    Args:
        precision: "tf32": factors of 11 significant bits, on GPUs that have them; "bf16": of 8 bits, anywhere. Others
            change nothing.
    """
    settings = torch.backends.cuda.matmul
    before, settings.fp32_precision = settings.fp32_precision, "tf32" if precision == "tf32" else "ieee"
    _Passes.short_factors = precision == "bf16"
    try:
        yield
    finally:
        settings.fp32_precision = before
        _Passes.short_factors = False


class _Linear(Function):
    """``x @ weight.T + bias + other``; the derivative is made of the same products."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, other: Tensor | None) -> Tensor:  # noqa: ANN401 - torch's context
        ctx.save_for_backward(x if weight.requires_grad else None, weight)
        return product(x, weight, bias, other)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401 - torch's context
        x, weight = ctx.saved_tensors
        need_x, need_weight, need_bias, need_other = ctx.needs_input_grad
        need_weight, need_bias = need_weight and _Passes.to_weights, need_bias and _Passes.to_weights
        return (
            linear(gradient, weight.t()) if need_x else None,
            gradient.t() @ x if need_weight else None,
            gradient.sum(0) if need_bias else None,
            gradient if need_other else None,
        )


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, other: Tensor | None = None) -> Tensor:
    """``x @ weight.T + bias + other``.

    Args:
        x: (n, n_in).
        weight: (n_out, n_in).
        bias: (n_out,).
        other: (n, n_out).

    Returns:
        (n, n_out).
    """
    result: Tensor = _Linear.apply(x, weight, bias, other)  # type: ignore[no-untyped-call]
    return result


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None, other: Tensor | None = None) -> Tensor:
    """``linear`` without derivatives."""
    if _Passes.short_factors and x.dtype == torch.float32:
        short = functional.linear(x.bfloat16(), weight.bfloat16()).float()
        short = short if bias is None else short.add_(bias)
        return short if other is None else short.add_(other)
    if x.dtype == torch.float32 and x.device.type == "cpu" and len(x) >= ONEDNN_ROWS and _has_onednn():
        operation = torch.ops.mkldnn._linear_pointwise  # noqa: SLF001 - see _has_onednn
        x, weight = x.contiguous(), weight.contiguous()
        if other is not None:
            product: Tensor = operation.binary(x, other.contiguous(), weight, bias, "add")
        else:
            product = operation(x, weight, bias, "none", [], "")
        return product
    product = functional.linear(x, weight, bias)
    return product if other is None else product + other


@cache
def _has_onednn() -> bool:
    """Whether torch's compiler-facing oneDNN product is there and right.

    On AVX-512 machines it is twice as fast as the MKL product behind ``functional.linear`` for matrices 64 wide. It is
    not a public function, so it is tried once and the public one used where it is missing or changed.
    """
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    x, weight, bias = torch.arange(6.0).reshape(2, 3), torch.arange(12.0).reshape(4, 3), torch.arange(4.0)
    other = torch.ones(2, 4)
    try:
        operation = torch.ops.mkldnn._linear_pointwise  # noqa: SLF001 - see above
        plain = operation(x, weight, bias, "none", [], "")
        fused = operation.binary(x, other, weight, bias, "add")
    except (AttributeError, RuntimeError, TypeError):
        return False
    wanted = functional.linear(x, weight, bias)
    return bool(torch.equal(plain, wanted) and torch.equal(fused, wanted + other))


class Linear(nn.Linear):
    """``torch.nn.Linear`` through ``linear``."""

    def forward(self, x: Tensor) -> Tensor:
        """(n, n_in) -> (n, n_out)."""
        return linear(x, self.weight, self.bias)
