"""What every registered linear operator is held to, with each of its variants: an operator joins by
its name."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from diffdescent.core.operators import OPERATORS, Linear, parse_operator

SHAPE = (3, 8, 6)
F64 = torch.float64


def bound(name: str, options: dict[str, Any], dtype: torch.dtype = F64) -> Any:
    return OPERATORS[name](**options).bind(SHAPE, seed=3, dtype=dtype)


def is_linear(name: str) -> bool:
    """Whether an operator is, at a size that every one of them takes."""
    return OPERATORS[name]().bind((3, 16, 16)).linear


def cases() -> list[Any]:
    every = [(name, dict(o)) for name in sorted(OPERATORS) for o in OPERATORS[name].variants]
    return [
        pytest.param(name, o, id=f"{name}-{i}")
        for i, (name, o) in enumerate(every)
        if is_linear(name)
    ]


linear = pytest.mark.parametrize(("name", "options"), cases())


def drawn(shape: tuple[int, ...], seed: int, n: int = 3, dtype: torch.dtype = F64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((n, *shape), generator=generator, dtype=F64).to(dtype)


def dense(a: Linear) -> Tensor:
    """A as a matrix (m, n)."""
    n = torch.Size(a.in_shape).numel()
    basis = torch.eye(n, dtype=a.dtype).view(n, *a.in_shape)
    return a.forward(basis).flatten(1).T


def reach(a: Linear) -> float:
    """How near a pseudo-inverse must come: one that iterates stops after a number of steps, and
    these small blurs have singular values down to a thousandth of the largest."""
    return 2e-7 if a.has_pinv else 1e-3


@linear
def test_adjoint_is_the_transpose(name: str, options: dict[str, Any]) -> None:
    a = bound(name, options)
    x, y = drawn(a.in_shape, 1), drawn(a.out_shape, 2)
    forward, back = a.forward(x), a.adjoint(y)
    assert forward.shape == y.shape
    assert back.shape == x.shape
    assert torch.allclose((forward * y).flatten(1).sum(1), (x * back).flatten(1).sum(1), atol=1e-11)
    assert torch.equal(a.pullback(x, y), back)
    assert torch.allclose(a.gradient(x, y), a.adjoint(a.forward(x) - y), atol=1e-12)


@linear
def test_pseudo_inverse_is_that_of_the_matrix(name: str, options: dict[str, Any]) -> None:
    """Against the pseudo-inverse of the dense matrix, cut at the same singular value; one that
    iterates is held to A A⁺ A = A."""
    a = bound(name, options)
    x = drawn(a.in_shape, 1)
    measured = a.forward(x)
    assert torch.allclose(a.forward(a.pinv(measured)), measured, atol=reach(a))
    if not a.has_pinv:
        return
    y = drawn(a.out_shape, 2)
    matrix = dense(a)
    expected = y.flatten(1) @ torch.linalg.pinv(matrix, rtol=torch.finfo(F64).eps ** 0.5).T
    scale = expected.norm()
    assert (a.pinv(y).flatten(1) - expected).norm() < 1e-6 * scale


@linear
def test_projection_reaches_the_measurement_and_is_nearest(
    name: str, options: dict[str, Any]
) -> None:
    a = bound(name, options)
    truth, x = drawn(a.in_shape, 4), drawn(a.in_shape, 5)
    y = a.forward(truth)
    p = a.project(x, y)
    assert torch.allclose(a.forward(p), y, atol=reach(a))
    if not a.has_pinv:
        return
    # Nearest: what was added is orthogonal to every direction that A does not see.
    unseen = truth - a.pinv(y)
    overlap = ((p - x) * unseen).flatten(1).sum(1).abs().max()
    assert overlap < 1e-6 * (p - x).norm() * truth.norm()


@linear
@pytest.mark.parametrize("weight", [0.05, 3.0])
def test_solve_inverts_the_normal_equations(
    name: str, options: dict[str, Any], weight: float
) -> None:
    a = bound(name, options)
    rhs = drawn(a.in_shape, 6)
    x = a.solve(rhs, weight)
    assert torch.allclose(a.adjoint(a.forward(x)) + weight * x, rhs, atol=1e-9)
    each = torch.tensor([0.05, 0.5, 3.0], dtype=F64).view(3, 1, 1, 1)
    assert torch.allclose(a.solve(rhs, each)[:1], a.solve(rhs[:1], 0.05), atol=1e-9)


@linear
def test_singular_values_are_those_of_the_matrix(name: str, options: dict[str, Any]) -> None:
    a = bound(name, options)
    if not a.has_svd:
        pytest.skip("knows no singular values")
    whole = torch.linalg.svdvals(dense(a))
    whole = torch.where(whole < whole.max() * torch.finfo(F64).eps ** 0.5, 0.0, whole)
    x = drawn(a.in_shape, 1)
    s = a.to_spectral(x)
    mine = a.singular.expand(s.shape[1:]).flatten().sort(descending=True).values
    assert torch.allclose(mine[: len(whole)], whole, atol=1e-7)
    assert not mine[len(whole) :].any()
    assert torch.allclose(s.flatten(1).norm(dim=1), x.flatten(1).norm(dim=1))
    assert torch.allclose(a.from_spectral(s), x, atol=1e-11)
    # AᵀA = V s² Vᵀ, so the directions belong to these values.
    normal = a.from_spectral(s * a.singular.square())
    assert torch.allclose(normal, a.adjoint(a.forward(x)), atol=1e-7)


@linear
def test_samples_do_not_depend_on_their_batch(name: str, options: dict[str, Any]) -> None:
    a = bound(name, options, torch.float32)
    x = drawn(a.in_shape, 1, n=5, dtype=torch.float32)
    y = a.forward(x)
    assert y.dtype == torch.float32
    assert torch.equal(a.forward(x[2:3]), y[2:3])
    assert torch.equal(a.adjoint(y[2:3]), a.adjoint(y)[2:3])
    assert torch.equal(a.project(x[3:4], y[2:3]), a.project(x[[3, 3, 3]], y[[2, 2, 2]])[:1])


@linear
def test_gradients_flow_through_the_measurement(name: str, options: dict[str, Any]) -> None:
    a = bound(name, options)
    x, v = drawn(a.in_shape, 1).requires_grad_(), drawn(a.out_shape, 2)
    (gradient,) = torch.autograd.grad(a.forward(x), x, v)
    assert torch.allclose(gradient, a.adjoint(v), atol=1e-11)


@linear
def test_text_of_an_operator_is_read_back(name: str, options: dict[str, Any]) -> None:
    operator = OPERATORS[name](**options)
    assert parse_operator(str(operator)) == operator
