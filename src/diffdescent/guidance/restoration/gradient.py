"""Methods that take the gradient of log p(y | x_t) through the network: DPS, ΠGDM, MMPS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from diffdescent.core.measurement import Measurement
from diffdescent.core.options import In, positive
from diffdescent.core.predict import Predictor
from diffdescent.guidance.measured import MomentMatching, PenaltyGradient, PseudoInverse, Size

from .method import Applied, Method, Spread, method, spectrum_of

Through = Annotated[float, positive("the level σ/α up to which the network is differentiated")]


@method("dps")
@dataclass(frozen=True)
class DPS(Method):
    """``dps``: :class:`PenaltyGradient`; ``weight`` is the paper's ζ' for ``size=paper``."""

    size: Size = "search"
    through: Through = 10.0
    algorithm: ClassVar = "penalty method: gradient descent on the squared residual"
    rule: ClassVar = "x̂0 ← x̂0 − (σ²/α)·∇_{x_t}‖y − A(x̂0)‖²/2v"
    source: ClassVar = "Chung et al. 2023 (DPS), eq. 16 and algorithm 1"
    needs_linear: ClassVar[bool] = False

    @property
    def sampler(self) -> str:
        return "ddpm"

    def apply(self, model: Predictor, measurement: Measurement) -> Applied:
        return PenaltyGradient(
            model,
            measurement=measurement,
            weight=self.weight,
            through=self.through,
            size=self.size,
        ), ()


@method("pigdm")
@dataclass(frozen=True)
class PiGDM(Method):
    """``pigdm``: :class:`PseudoInverse`; ``spread`` is the standard deviation of the images,
    ``search=false`` the paper's step. ``spectrum``, the power of the images (``power(1.8)`` or a
    file of ``diffdescent spectrum``), takes the place of ``spread``."""

    spread: Spread = 1.0
    through: Through = 10.0
    search: bool = True
    spectrum: str = ""
    algorithm: ClassVar = "Gauss–Newton: the residual through (r_t² AAᵀ + σ_n²)⁻¹"
    rule: ClassVar = "x̂0 ← x̂0 + (σ²/α)(∂x̂0/∂x_t)ᵀAᵀ(r_t²AAᵀ + σ_n²)⁻¹(y − A x̂0)"
    source: ClassVar = "Song et al. 2023 (ΠGDM), eqs. 7 and 8"

    def check_together(self) -> None:
        spectrum_of(self.spectrum)

    @property
    def sampler(self) -> str:
        return "ddim(eta=1)"

    def apply(self, model: Predictor, measurement: Measurement) -> Applied:
        return PseudoInverse(
            model,
            measurement=measurement,
            weight=self.weight,
            through=self.through,
            spread=self.spread,
            search=self.search,
            prior=spectrum_of(self.spectrum),
        ), ()


@method("mmps")
@dataclass(frozen=True)
class MMPS(Method):
    """``mmps``: :class:`MomentMatching`; ``steps`` of conjugate gradients, each another pass back
    through the network."""

    steps: Annotated[int, In(1, 1000, hint="each is a pass back through the network")] = 3
    through: Through = 10.0
    algorithm: ClassVar = "Gauss–Newton with the network's own covariance, by conjugate gradients"
    rule: ClassVar = "x̂0 ← x̂0 + V Aᵀ(A V Aᵀ + σ_n²)⁻¹(y − A x̂0),  V = (σ²/α)∂x̂0/∂x_t"
    source: ClassVar = "Rozet et al. 2024 (MMPS), eqs. 14 and 15"

    def apply(self, model: Predictor, measurement: Measurement) -> Applied:
        return MomentMatching(
            model,
            measurement=measurement,
            weight=self.weight,
            through=self.through,
            steps=self.steps,
        ), ()
