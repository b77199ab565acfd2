"""A measurement that is any function of yours, with its gradient by automatic differentiation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.noise import MEASUREMENT, normals

from .base import Operator
from .bound import Bound, Linear, Shape

Measure = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Function(Operator):
    """y = ``function(x)`` for images (B, C, H, W), differentiable by torch, sample by sample.

    ``is_linear``: say so where it is linear; its adjoint is then its vector–Jacobian product, and
    its pseudo-inverse iterates.

    Raises:
        UserError: where the function fails on images of the size, does not keep the batch first,
            gives no gradient, or is called linear and is not.
    """

    function: Measure
    is_linear: bool = False
    name: ClassVar[str] = "function"

    def fit(self, shape: Shape, seed: int, dtype: torch.dtype, device: torch.device) -> Bound:
        probes = normals(seed, torch.arange(2, device=device), shape, MEASUREMENT, 2, dtype)
        with torch.enable_grad():  # a caller may have switched gradients off
            y = tried(self.function, probes.requires_grad_())
        if not y.requires_grad:
            raise UserError(
                "The function gives no gradient, so the operator has no adjoint; compute it with"
                " differentiable torch operations."
            )
        bound = (_LinearFunction if self.is_linear else _Smooth)(
            self.function, shape, tuple(y.shape[1:]), dtype, device
        )
        if self.is_linear:
            self._check_linear(probes.detach(), y.detach())
        return bound

    def _check_linear(self, probes: Tensor, y: Tensor) -> None:
        mixed = 2 * probes[:1] - 3 * probes[1:]
        expected, got = 2 * y[:1] - 3 * y[1:], self.function(mixed)
        if not torch.allclose(got, expected, rtol=1e-3, atol=1e-3 * float(y.abs().max())):
            raise UserError(
                "The function is not linear: A(2u − 3v) is not 2A(u) − 3A(v); leave out"
                " is_linear=True, or the constant that it adds."
            )


def tried(measure: Measure, probes: Tensor) -> Tensor:
    """What ``measure`` makes of two images.

    Raises:
        UserError: where it fails, or does not keep the batch first.
    """
    try:
        y = measure(probes)
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        raise UserError(
            f"The operator cannot measure images of shape {tuple(probes.shape[1:])}"
            f" ({' '.join(str(error).split())}); it takes a batch of them, (B, C, H, W)."
        ) from error
    if not isinstance(y, Tensor) or y.ndim < 1 or len(y) != len(probes):
        raise UserError(
            "The operator must give a tensor with an entry for each image, the batch first."
        )
    return y


class _Smooth(Bound):
    """A function, its gradient by a vector–Jacobian product; it knows no projection."""

    linear = False
    has_projection = False
    smooth = True

    def __init__(
        self,
        function: Measure,
        in_shape: Shape,
        out_shape: Shape,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        super().__init__(in_shape, out_shape, dtype, device)
        self._function = function

    def forward(self, x: Tensor) -> Tensor:
        return self._function(x)

    def pullback(self, x: Tensor, v: Tensor) -> Tensor:
        return _pulled_back(self._function, x, v)

    def project(self, x: Tensor, y: Tensor) -> Tensor:
        raise UserError(
            "A function of one's own knows no projection on what it measures; take a method that"
            " follows its gradient, such as dps."
        )


class _LinearFunction(Linear):
    """A linear function; its adjoint is its vector–Jacobian product."""

    def __init__(
        self,
        function: Measure,
        in_shape: Shape,
        out_shape: Shape,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        super().__init__(in_shape, out_shape, dtype, device)
        self._function = function

    def forward(self, x: Tensor) -> Tensor:
        return self._function(x)

    def adjoint(self, y: Tensor) -> Tensor:
        return _pulled_back(self._function, y.new_zeros(len(y), *self.in_shape), y)


def _pulled_back(function: Measure, x: Tensor, v: Tensor) -> Tensor:
    with torch.enable_grad():
        start = x.detach().requires_grad_()
        (made,) = torch.autograd.grad(function(start), start, v)
    return made
