"""Sums over neighbours and narrow products, against dense matrices and torch's own derivatives."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import torch

from xferbench.models.chgnet import operations
from xferbench.models.chgnet.operations import (
    Incidence,
    Linear,
    linear,
    no_weight_gradients,
    product,
    products_in,
    sum_rows,
)


@pytest.fixture
def terms():
    return np.random.default_rng(0).integers(0, 5, (7, 3))


def dense(terms, n_columns):
    matrix = torch.zeros(len(terms), n_columns, dtype=torch.float64)
    for row, columns in enumerate(terms):
        for column in columns:
            matrix[row, column] += 1
    return matrix


def test_a_sum_is_a_product_with_a_matrix_of_counts(terms):
    table = torch.randn(6, 4, dtype=torch.float64)
    torch.testing.assert_close(sum_rows(table, Incidence.from_terms(terms, 6)), dense(terms, 6) @ table)


def test_the_transpose_is_the_transposed_matrix(terms):
    rows = torch.randn(7, 4, dtype=torch.float64)
    incidence = Incidence.from_terms(terms, 6)
    torch.testing.assert_close(sum_rows(rows, incidence.transpose), dense(terms, 6).T @ rows)
    torch.testing.assert_close(incidence.transpose.transpose.indices, incidence.indices)


def test_terms_are_what_was_put_in(terms):
    assert Incidence.from_terms(terms, 6).terms.tolist() == terms.tolist()


def test_sums_of_nothing_are_zero():
    empty = Incidence.from_terms(np.zeros((0, 2), dtype=int), 3)
    assert sum_rows(torch.ones(3, 4), empty).shape == (0, 4)
    assert sum_rows(torch.ones(0, 4), empty.transpose).tolist() == [[0.0] * 4] * 3


def test_sums_differentiate_twice(terms):
    table = torch.randn(6, 2, dtype=torch.float64, requires_grad=True)
    incidence = Incidence.from_terms(terms, 6)
    assert torch.autograd.gradcheck(lambda x: sum_rows(x, incidence) ** 2, (table,))
    assert torch.autograd.gradgradcheck(lambda x: sum_rows(x, incidence) ** 3, (table,))


def test_products_differentiate_twice_by_every_argument():
    shapes = [(5, 3), (4, 3), (4,), (5, 4)]
    arguments = tuple(torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in shapes)
    assert torch.autograd.gradcheck(linear, arguments)
    assert torch.autograd.gradgradcheck(lambda *args: linear(*args) ** 2, arguments)


@pytest.mark.parametrize("rows", [0, 1, 255, 256, 1000])
@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("with_other", [True, False])
def test_a_fast_product_is_the_plain_one(rows, with_bias, with_other):
    x, weight = torch.randn(rows, 31), torch.randn(64, 31)
    bias = torch.randn(64) if with_bias else None
    other = torch.randn(rows, 64) if with_other else None
    expected = x.double() @ weight.double().T
    expected += 0 if bias is None else bias
    expected += 0 if other is None else other
    torch.testing.assert_close(product(x, weight, bias, other).double(), expected, atol=2e-5, rtol=1e-5)


def test_transposed_and_sliced_arguments_are_fine():
    x, weight = torch.randn(600, 128), torch.randn(64, 64)
    found = product(x[:, 64:], weight.t())
    torch.testing.assert_close(found, x[:, 64:] @ weight, atol=1e-4, rtol=1e-4)


def test_without_onednn_the_public_product_is_used(monkeypatch):
    x, weight, other = torch.randn(300, 8), torch.randn(4, 8), torch.randn(300, 4)
    fast = product(x, weight, None, other)
    monkeypatch.setattr(operations, "_has_onednn", lambda: False)
    torch.testing.assert_close(product(x, weight, None, other), fast, atol=1e-5, rtol=1e-5)


def test_a_missing_or_changed_onednn_product_is_noticed(monkeypatch):
    probe = operations._has_onednn.__wrapped__
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert not probe()
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.setattr(torch.ops, "mkldnn", object())
    assert not probe()


def test_a_linear_layer_is_torchs():
    layer = Linear(5, 3)
    x = torch.randn(4, 5)
    torch.testing.assert_close(layer(x), torch.nn.functional.linear(x, layer.weight, layer.bias))


def test_a_pass_to_inputs_leaves_weights_alone():
    x, weight = torch.randn(4, 5, requires_grad=True), torch.randn(3, 5, requires_grad=True)
    with no_weight_gradients():
        linear(x, weight).sum().backward()
    assert weight.grad is None
    assert x.grad is not None
    linear(x, weight).sum().backward()
    assert weight.grad is not None


def test_short_factors_are_those_of_bfloat16_and_sums_are_single():
    x, weight, bias, other = torch.randn(300, 64), torch.randn(8, 64), torch.randn(8), torch.randn(300, 8)
    with products_in("bf16"):
        found = product(x, weight, bias, other)
    exact = x.bfloat16().double() @ weight.bfloat16().double().T
    assert found.dtype == torch.float32
    # the product itself is rounded to 8 bits
    torch.testing.assert_close(found.double() - bias - other, exact, atol=2e-3, rtol=2**-8)
    assert not torch.allclose(found, product(x, weight, bias, other), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("precision", ["float32", "float64", "tf32"])
def test_other_precisions_change_nothing_on_a_cpu(precision):
    x, weight = torch.randn(300, 64), torch.randn(8, 64)
    with products_in(precision):
        found = product(x, weight)
    assert torch.equal(found, product(x, weight))


def test_double_products_stay_double():
    x, weight = torch.randn(30, 6, dtype=torch.float64), torch.randn(8, 6, dtype=torch.float64)
    with products_in("bf16"):
        assert torch.equal(product(x, weight), x @ weight.T)


def test_the_precision_of_products_ends_with_the_block():
    settings = torch.backends.cuda.matmul
    before = settings.fp32_precision
    for precision, inside in (("tf32", "tf32"), ("float32", "ieee")):
        seen = []
        with contextlib.suppress(KeyError), products_in(precision):
            seen.append(settings.fp32_precision)
            raise KeyError
        assert seen == [inside]
        assert settings.fp32_precision == before
    assert not operations._Passes.short_factors


def test_products_with_short_factors_can_be_trained_with():
    x, weight = torch.randn(300, 6, requires_grad=True), torch.randn(8, 6, requires_grad=True)
    with products_in("bf16"):
        (linear(x, weight) ** 2).sum().backward()
    expected = torch.autograd.grad(((x @ weight.T) ** 2).sum(), weight)[0]
    torch.testing.assert_close(weight.grad, expected, rtol=0.05, atol=0.05 * float(expected.abs().max()))
