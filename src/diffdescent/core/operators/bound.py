"""A measurement operator at one size of image: y = A(x), and what algorithms ask of A."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from diffdescent.base.errors import UserError

from .iterative import conjugate_gradients, least_squares

Shape = tuple[int, ...]


class Bound(ABC):
    """A measurement of images of one shape.

    Every tensor has the batch first: ``x`` is (B, *in_shape), ``y`` (B, *out_shape), both of
    ``dtype`` on ``device``. Images lie in [−1, 1]. ``linear`` says whether A is; ``has_projection``
    whether :meth:`project` exists, ``smooth`` whether it is a differentiable function that is not
    linear.
    """

    linear: ClassVar[bool]
    has_projection: bool = True
    smooth: ClassVar[bool] = False

    def __init__(
        self, in_shape: Shape, out_shape: Shape, dtype: torch.dtype, device: torch.device
    ) -> None:
        self.in_shape, self.out_shape = tuple(in_shape), tuple(out_shape)
        self.dtype, self.device = dtype, device

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """A(x), differentiable in ``x`` unless the operator says otherwise."""

    @abstractmethod
    def pullback(self, x: Tensor, v: Tensor) -> Tensor:
        """J(x)ᵀ v, with J the Jacobian of A at ``x`` and ``v`` (B, *out_shape); Aᵀv where A is
        linear."""

    @abstractmethod
    def project(self, x: Tensor, y: Tensor) -> Tensor:
        """The point nearest to ``x`` with A(x) = y, in the Euclidean norm unless the operator says
        otherwise."""

    def gradient(self, x: Tensor, y: Tensor) -> Tensor:
        """∇ₓ ½‖A(x) − y‖² = J(x)ᵀ(A(x) − y), shape of ``x``."""
        return self.pullback(x, self.forward(x) - y)

    def check(self, y: Tensor) -> None:
        """Raise :class:`UserError` for a ``y`` of another shape, of whole numbers, or with NaN or
        Inf. It reads from the device: call it before a loop, not in it."""
        if not y.is_floating_point():
            raise UserError(
                f"The measurement y holds {str(y.dtype).removeprefix('torch.')}; give"
                " floating-point numbers, of images in [−1, 1]: y / 127.5 - 1."
            )
        if y.ndim != len(self.out_shape) + 1 or tuple(y.shape[1:]) != self.out_shape:
            raise UserError(
                f"The measurement y has shape {tuple(y.shape)}; for images of shape"
                f" {self.in_shape} this operator gives (batch, {_listed(self.out_shape)})."
            )
        finite = y.isfinite()
        if not bool(finite.all()):
            bad = [i for i, row in enumerate(finite.flatten(1).all(1).tolist()) if not row]
            raise UserError(
                f"The measurement y holds NaN or Inf in sample {bad[0]}"
                f"{f' and {len(bad) - 1} more' if bad[1:] else ''}; give finite numbers."
            )


class Linear(Bound):
    """A linear measurement y = A x.

    ``has_svd``: the singular values and their directions are known, A = U diag(s) Vᵀ, and
    :attr:`singular`, :meth:`to_spectral` and :meth:`from_spectral` exist. ``has_pinv``: A⁺ is a
    closed form; without it :meth:`pinv` and :meth:`solve` iterate (:mod:`.iterative`).

    Singular values below √eps·max(s) count as zero (eps is that of ``dtype``): there the error of
    leaving a direction out and that of dividing rounding errors by s are equal.
    """

    linear = True
    has_svd: ClassVar[bool] = False
    has_pinv: ClassVar[bool] = False

    @abstractmethod
    def adjoint(self, y: Tensor) -> Tensor:
        """Aᵀ y."""

    def pinv(self, y: Tensor) -> Tensor:
        """A⁺ y: the shortest x among those with the smallest ‖A x − y‖."""
        return least_squares(self.forward, self.adjoint, y)

    @property
    def singular(self) -> Tensor:
        """s ≥ 0, of a shape that broadcasts to ``in_shape``; zero in the null space."""
        raise self._without("singular values")

    def to_spectral(self, x: Tensor) -> Tensor:
        """Vᵀ x, of the shape of ``x``, with V orthogonal: the norm of each sample stays."""
        raise self._without("singular values")

    def from_spectral(self, s: Tensor) -> Tensor:
        """V s, the inverse of :meth:`to_spectral`."""
        raise self._without("singular values")

    def pullback(self, x: Tensor, v: Tensor) -> Tensor:
        return self.adjoint(v)

    def project(self, x: Tensor, y: Tensor) -> Tensor:
        """x + A⁺(y − A x): the nearest point with A x = y, or, where there is none, with the
        smallest ‖A x − y‖ (range–null-space decomposition; Wang et al. 2023, DDNM, eq. 8)."""
        return x + self.pinv(y - self.forward(x))

    def solve(self, rhs: Tensor, weight: float | Tensor) -> Tensor:
        """(AᵀA + weight·I)⁻¹ rhs for ``weight`` > 0, a number or (B, 1, …)."""
        if not self.has_svd:
            return conjugate_gradients(lambda x: self.adjoint(self.forward(x)) + weight * x, rhs)
        return self.from_spectral(self.to_spectral(rhs) / (self.singular.square() + weight))

    def _without(self, what: str) -> UserError:
        return UserError(
            f"{type(self).__name__} knows no {what}; take an operator that does (has_svd), or a"
            " method that needs the adjoint alone."
        )


def cutoff(singular: Tensor, dtype: torch.dtype) -> Tensor:
    """``singular`` with what counts as zero in ``dtype`` set to zero (see :class:`Linear`)."""
    least = singular.max() * torch.finfo(dtype).eps ** 0.5
    return torch.where(singular >= least, singular, 0.0)


def reciprocal(singular: Tensor) -> Tensor:
    """1/s, and 0 where s is 0."""
    return torch.where(singular > 0, 1 / singular.where(singular > 0, 1.0), 0.0)


def _listed(shape: Shape) -> str:
    return ", ".join(map(str, shape))
