"""Models that answer for a measured image: the gradient of log p(y | x_t) through the network.

Each is a :class:`~.wrapper.Wrapper`, as classifier-free guidance is: what the measurement adds to
x̂0 is (σ²/α)∇ log p(y | x_t) (Tweedie's formula for p(x0 | x_t, y)), it becomes part of the answer,
and so a multistep solver remembers the conditional denoiser. It stays known as the ``direction`` of
the prediction's guidance.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from diffdescent.core.guidance_terms import GuidanceTerms
from diffdescent.core.linear import inner
from diffdescent.core.measurement import Measurement
from diffdescent.core.operators.iterative import conjugate_gradients
from diffdescent.core.predict import Prediction
from diffdescent.core.process import Point
from diffdescent.core.restoration.prior import estimated_covariance
from diffdescent.core.spectrum.power import Spectrum

from .through import Frozen, Traced, trace
from .wrapper import Wrapper

Size = Literal["search", "noise", "paper"]
_TINY = 1e-12
"""Below it a squared residual counts as none."""


def total(a: Tensor, b: Tensor) -> Tensor:
    """⟨a, b⟩ of each sample, (B,), whatever the shape of one."""
    return inner(a, b).flatten()


@dataclass
class Measured(Wrapper):
    """``model`` given ``measurement``, whose rows are those of the batch that it is asked about.

    ``weight`` scales what the measurement adds; 0 is the model itself. Up to the noise level σ̃ =
    ``through`` the gradient goes through the network. Above it (σ²/α)∂x̂0/∂x_t, the covariance of x0
    given x_t, is taken as r_t²·I, r_t² = σ̃²s²/(σ̃² + s²) with s = ``spread``: there it is that of
    the data, while an ε-network's Jacobian multiplies its error by σ̃².
    """

    measurement: Measurement = field(kw_only=True)
    weight: float = field(default=1.0, kw_only=True)
    through: float = field(default=math.inf, kw_only=True)
    spread: float = field(default=1.0, kw_only=True)

    def for_places(self, places: Sequence[int]) -> Wrapper:
        inside, own = super().for_places(places), self.measurement.of(places)
        return replace(inside, measurement=own)  # type: ignore[call-arg]

    @property
    def label(self) -> str:
        return f"{type(self).__name__.lower()}(weight={self.weight:g})"

    def terms(self, value: Tensor) -> GuidanceTerms:
        return GuidanceTerms(direction=value)

    def active(self, point: Point) -> bool:
        """Not at pure noise, where x says nothing of x0, nor without noise, where it is x0."""
        return bool(point.alpha and point.sigma) and super().active(point)

    def guided(self, x: Tensor, point: Point, cond: Tensor | None) -> Prediction:
        with torch.no_grad():
            return self._led(self._asked(x, point, cond), point)

    def _asked(self, x: Tensor, point: Point, cond: Tensor | None) -> Traced | Frozen:
        if point.ratio <= self.through:
            return trace(lambda leaf: self.unguided(leaf, point, cond), x, type(self).__name__)
        found = self.unguided(x, point, cond)
        slope = self.variance(point) * point.alpha / point.sigma**2
        return Frozen(found, found.to("x0", x), slope)

    def variance(self, point: Point) -> float:
        """r_t², the variance of x0 given x_t where x0 ~ N(μ, s²I)."""
        return 1 / (point.ratio**-2 + self.spread**-2)

    def _led(self, traced: Traced | Frozen, point: Point) -> Prediction:
        found = traced.prediction
        change = self.change(traced, point) * self.weight
        direction = change / found.conversion.x0.raw
        return replace(
            found, raw=found.raw + direction, guidance=found.guidance + self.terms(direction)
        )

    @abstractmethod
    def change(self, traced: Traced | Frozen, point: Point) -> Tensor:
        """What the measurement adds to x̂0, (σ²/α)∇ log p(y | x_t)."""


@dataclass
class PenaltyGradient(Measured):
    """Diffusion posterior sampling (Chung et al. 2023, DPS): the gradient of a squared residual.

    With r = y − A(x̂0), ∇ log p(y | x_t) ≈ −∇_{x_t}‖r‖²/2v, so that x̂0 moves by d/v, d =
    (σ²/α)(∂x̂0/∂x_t)ᵀAᵀr. The variance v is

    * ``"search"``: σ_n² + ⟨Aᵀr, d⟩/‖r‖², which is the exact line search along d in the quadratic
      model ‖y − A x‖²/2σ_n² + ½(x − x̂0)ᵀV⁻¹(x − x̂0), V = (σ²/α)∂x̂0/∂x_t (Cauchy's step; Nocedal
      and Wright 2006, section 4.1). It has no constant to tune and serves any number of steps;
    * ``"noise"``: σ_n² (their eq. 16);

    or ``"paper"``: each committed state loses weight·∇‖r‖ outright (algorithm 1 with ζ_i = ζ'/‖r‖,
    as released), whatever the step's length. A is any operator with a gradient.
    """

    size: Size = field(default="search", kw_only=True)

    def terms(self, value: Tensor) -> GuidanceTerms:
        return GuidanceTerms(state=value) if self.size == "paper" else super().terms(value)

    def change(self, traced: Traced | Frozen, point: Point) -> Tensor:
        known, x0 = self.measurement, traced.x0.to(self.measurement.y.dtype)
        pixels = (-1, *(1,) * (x0.ndim - 1))
        square = known.residual(x0).flatten(1).square().sum(1).clamp(min=_TINY).reshape(pixels)
        up = -known.operator.gradient(x0, known.y)
        if self.size == "paper":
            return traced.pull(up / square.sqrt())
        moved = traced.pull(up) * (point.sigma**2 / point.alpha)
        if self.size == "noise":
            return moved / max(known.noise**2, _TINY)
        along = inner(up, moved).clamp(min=0.0) / square
        return moved / (known.noise**2 + along).clamp(min=_TINY)

    def _led(self, traced: Traced | Frozen, point: Point) -> Prediction:
        if self.size != "paper":
            return super()._led(traced, point)
        found = traced.prediction
        moved = self.terms(self.change(traced, point) * self.weight)
        return replace(found, guidance=found.guidance + moved)


@dataclass
class PseudoInverse(Measured):
    """Pseudo-inverse guidance (Song et al. 2023, ΠGDM, eqs. 7 and 8), a Gauss–Newton step.

    p(x0 | x_t) ≈ N(x̂0, r_t²), so ∇ log p(y | x_t) = (∂x̂0/∂x_t)ᵀ Aᵀ(r_t² AAᵀ + σ_n²)⁻¹(y − A x̂0)
    with r_t² = σ̃²s²/(σ̃² + s²), s = ``spread`` the standard deviation of the data (the paper's is
    1). Exact where x0 ~ N(μ, s²I). The vector in it is g = (prox(x̂0) − x̂0)/r_t², prox the proximal
    map of the data term with ρ = σ_n²/r_t².

    ``search`` takes the exact line search along d = V g, V = (σ²/α)∂x̂0/∂x_t, in the quadratic
    model of :class:`PenaltyGradient`: x̂0 += τ d with τ = ⟨A d, r⟩/(‖A d‖² + σ_n²⟨g, d⟩). τ is 1
    where V = r_t²I; where the data vary more than r_t² along a direction, as images do in their low
    frequencies, the paper's step (``search`` false) is too long by that ratio and can diverge.

    With ``prior``, the power spectrum of the images, their covariance given x_t takes the place of
    r_t²·I in all of this, and conjugate gradients solve the equation, without the network: exact
    for every Gaussian prior of that spectrum and every linear operator.
    """

    search: bool = field(default=True, kw_only=True)
    prior: Spectrum | None = field(default=None, kw_only=True)

    def change(self, traced: Traced | Frozen, point: Point) -> Tensor:
        known, x0 = self.measurement, traced.x0.to(self.measurement.y.dtype)
        g = self._solved(x0, point)
        d = traced.pull(g) * (point.sigma**2 / point.alpha)
        if self.prior is not None and isinstance(traced, Frozen):
            d = estimated_covariance(self.prior, point.ratio, g)
        if not self.search:
            return d
        moved = known.operator.forward(d)
        curve = total(moved, moved) + known.noise**2 * total(g, d).clamp(min=0.0)
        step = total(moved, known.residual(x0)) / curve.clamp(min=_TINY)
        return d * step.clamp(min=0.0).reshape(-1, *(1,) * (d.ndim - 1))

    def _solved(self, x0: Tensor, point: Point) -> Tensor:
        """Aᵀ(A R Aᵀ + σ_n²)⁻¹(y − A x̂0), R the covariance of x0 given x_t."""
        known, prior = self.measurement, self.prior
        if prior is None:
            r2 = self.variance(point)
            return (known.proximal(x0, known.noise**2 / r2, "pigdm") - x0) / r2
        operator = known.linear("pigdm")

        def matrix(u: Tensor) -> Tensor:
            spread = estimated_covariance(prior, point.ratio, operator.adjoint(u))
            return operator.forward(spread) + known.noise**2 * u

        return operator.adjoint(conjugate_gradients(matrix, known.residual(x0)))


@dataclass
class MomentMatching(Measured):
    """Moment matching posterior sampling (Rozet et al. 2024, MMPS, eqs. 14 and 15).

    As :class:`PseudoInverse` with the covariance that the network itself implies, V = (σ²/α)
    ∂x̂0/∂x_t (Tweedie), in place of r_t²: the exact posterior mean wherever p(x0 | x_t) is a
    Gaussian, of any covariance. (A V Aᵀ + σ_n²)u = y − A x̂0 is solved by ``steps`` of conjugate
    gradients, each a pass back through the network.
    """

    steps: int = field(default=3, kw_only=True)

    def change(self, traced: Traced | Frozen, point: Point) -> Tensor:
        known, x0 = self.measurement, traced.x0.to(self.measurement.y.dtype)
        operator = known.linear("mmps")
        slope = point.sigma**2 / point.alpha

        def spread(v: Tensor) -> Tensor:
            return traced.pull(v, again=True) * slope

        def matrix(u: Tensor) -> Tensor:
            return operator.forward(spread(operator.adjoint(u))) + known.noise**2 * u

        found = conjugate_gradients(matrix, known.residual(x0), self.steps)
        return traced.pull(operator.adjoint(found)) * slope
