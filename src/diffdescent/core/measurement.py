"""A measurement: y = A(x0) + σ_n n with unit normal n, of which a run knows A, y and σ_n."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from diffdescent.base.errors import UserError

from .operators import Bound, Linear


@dataclass(frozen=True)
class Measurement:
    """What was measured of the samples of a batch.

    ``y`` is (B, *operator.out_shape), a row for each sample; ``noise`` is σ_n, the standard
    deviation of the measurement's noise, in the units of y. ``places`` are those of the samples in
    their run.
    """

    operator: Bound
    y: Tensor
    noise: float
    places: tuple[int, ...] = ()

    def of(self, places: Sequence[int]) -> Measurement:
        """The measurement of the samples at some of the places."""
        here = tuple(places)
        if here == self.places:
            return self
        rows = [self.places.index(place) for place in here]
        return Measurement(self.operator, self.y[rows], self.noise, here)

    def residual(self, x0: Tensor) -> Tensor:
        """y − A(x0), (B, *out_shape)."""
        return self.y - self.operator.forward(x0)

    def linear(self, who: str) -> Linear:
        """The operator, which ``who`` needs to be linear. Raises :class:`UserError` otherwise."""
        if not isinstance(self.operator, Linear):
            raise UserError(
                f"{who} solves linear equations, and this operator is not linear; use dps, which"
                " needs its gradient alone, or ddnm, which needs its projection."
            )
        return self.operator

    def proximal(self, x0: Tensor, rho: float, who: str) -> Tensor:
        """argmin_x ‖y − A x‖² + ρ‖x − x0‖² = x0 + (AᵀA + ρ)⁻¹Aᵀ(y − A x0).

        ρ = 0 is the projection onto A x = y. Raises :class:`UserError` where ρ > 0 and the
        operator is not linear.
        """
        if not rho:
            return self.operator.project(x0, self.y)
        operator = self.linear(who)
        return x0 + operator.solve(operator.adjoint(self.residual(x0)), rho)
