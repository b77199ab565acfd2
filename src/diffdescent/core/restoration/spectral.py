"""Noisy measurements with the right weight at each level, along the operator's singular vectors.

DDRM (Kawar et al. 2022, eqs. 7 and 8) and DDNM⁺ (Wang et al. 2023, eqs. 17 to 19), which is its
case η_b = 1. With A = U diag(s) Vᵀ, ȳ = Vᵀ A⁺ y and τ = σ_n/s the measurement's noise in the
coordinates of Vᵀx, a step to the noise level σ̃_s makes of x̂ = Vᵀ x̂0, ε̂ = Vᵀ ε and unit noise z

    s = 0          x̂ + σ̃_s (√(1 − η²) ε̂ + η z)                    nothing was measured
    τ > σ̃_s        x̂ + √(1 − η²) (σ̃_s/τ)(ȳ − x̂) + η σ̃_s z         the measurement is noisier
    τ ≤ σ̃_s        (1 − η_b) x̂ + η_b ȳ + √(σ̃_s² − η_b² τ²) z        it is the better estimate

x̂ is E[x0 | x_t], which does not know y, and no constant η, η_b makes up for it: the rule is
unbiased only in the limit of small τ. With the variance v of the images along a direction, r² =
v σ̃_t²/(v + σ̃_t²) is that of x0 given x_t, and what y adds is known:

    m = x̂ + k (ȳ − x̂),   k = r²/(r² + τ²) (0 where s = 0),   c² = r² (1 − k)

are mean and variance of x0 given x_t and y. Drawing x0 from it in DDIM's step of x0 and x_t gives

    m + κ (x_t − m)/σ̃_t + √(η² σ̃_s² + (1 − κ/σ̃_t)² c²) z,   κ = √(1 − η²) σ̃_s,

the exact posterior in mean and covariance, at any number of steps and any η, for Gaussian images
whose covariance is diagonal in V; white ones are for every operator. k is what η_b would have to be
in the third line, and √(1 − η²) σ̃_s/τ in the second.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from diffdescent.core.measurement import Measurement
from diffdescent.core.operators import Linear
from diffdescent.core.plan import Plan
from diffdescent.core.spectrum.power import Spectrum
from diffdescent.core.transforms.base import Commit, Displacement

from .line import read
from .prior import direction_variances


@dataclass(frozen=True)
class SpectralNoise(Displacement):
    """The committed state is the rule's, α_s V(…), in place of the proposal; ``weight`` mixes the
    two.

    z is the noise that the sampler draws, so ``ddim(fresh=1)`` gives the papers' steps. Where a
    sampler draws none η counts as 0 and ε̂ stands for z. ``temperature`` scales the variance of z.
    With ``prior``, the images' power spectrum, the gain is the exact one; ``eta_b`` is unused then.
    """

    measurement: Measurement
    eta: float
    eta_b: float
    weight: float = 1.0
    temperature: float = 1.0
    prior: Spectrum | None = None
    name: ClassVar[str] = "spectral_noise"
    linear: ClassVar[bool] = False

    @property
    def _operator(self) -> Linear:
        return self.measurement.linear("ddrm")

    def init(self, plan: Plan) -> Tensor:
        """ȳ."""
        return self._operator.to_spectral(self._operator.pinv(self.measurement.y))

    def update(self, state: Tensor, commit: Commit) -> tuple[Tensor, Tensor]:
        x0, eps, z = read(commit, "ddrm")
        x, e = map(self._operator.to_spectral, (x0, eps))
        fresh = e
        if z is not None:
            fresh = self._operator.to_spectral(z) * math.sqrt(self.temperature)
        eta = 0.0 if z is None else self.eta
        if self.prior is None:
            new = self._rule(x, e, fresh, state, commit.dst.ratio, eta)
        else:
            drawn = None if z is None else fresh
            new = self._exact(x, e, drawn, state, (commit.src.ratio, commit.dst.ratio), eta)
        moved = self._operator.from_spectral(new) * commit.dst.alpha
        return commit.proposal + (moved - commit.proposal) * self.weight, state

    @property
    def _tau(self) -> Tensor:
        """σ_n/s, infinite in the null space."""
        s = self._operator.singular
        return torch.where(s > 0, self.measurement.noise / s.where(s > 0, 1.0), math.inf)

    def _rule(self, x: Tensor, e: Tensor, z: Tensor, y: Tensor, level: float, eta: float) -> Tensor:
        s, tau = self._operator.singular, self._tau
        kept = math.sqrt(1 - eta**2)
        unknown = x + level * (kept * e + eta * z)
        ratio = torch.where(tau > level, level / tau.clamp(min=1e-30), 0.0)
        weaker = x + kept * ratio * (y - x) + eta * level * z
        spare = (level**2 - (self.eta_b * tau).square()).clamp(min=0.0).sqrt()
        stronger = x + self.eta_b * (y - x) + spare * z
        return torch.where(s > 0, torch.where(tau > level, weaker, stronger), unknown)

    def _exact(
        self, x: Tensor, e: Tensor, z: Tensor | None, y: Tensor, levels: tuple[float, float],
        eta: float,
    ) -> Tensor:  # fmt: skip
        assert self.prior is not None
        src, dst = levels
        tau = self._tau
        left = 1 / (1 / direction_variances(self.prior, self._operator) + src**-2)
        gain = torch.where(tau.isfinite(), left / (left + tau.square()), 0.0)
        mean = x + gain * (y - x)
        kept = math.sqrt(1 - eta**2) * dst
        out = mean + kept * (e + (x - mean) / src)
        if z is None:
            return out
        return out + z * ((eta * dst) ** 2 + (1 - kept / src) ** 2 * left * (1 - gain)).sqrt()
