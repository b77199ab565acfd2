"""Methods that project: DDNM on the estimate, POCS on the state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from diffdescent.core.constraints import MeasuredSet
from diffdescent.core.measurement import Measurement
from diffdescent.core.options import In
from diffdescent.core.predict import Predictor
from diffdescent.core.restoration import Penalty, SpectralNoise, Splitting
from diffdescent.core.transforms import Project
from diffdescent.core.transforms.constrain import Relaxation

from .method import Applied, Method, Share, method, spectrum_of


@method("ddnm")
@dataclass(frozen=True)
class DDNM(Method):
    """``ddnm``: :class:`Project`, the projection of x̂0 onto the images with A x = y, ``weight`` of
    the way (above 1: over-relaxed).

    For measurements without noise; it fits whatever noise there is. ``eta`` is the released code's
    0.85: η² of the noise is drawn anew.
    """

    weight: Relaxation = 1.0
    eta: Share = 0.85
    algorithm: ClassVar = "projected descent: projection onto the affine set A x = y"
    rule: ClassVar = "x̂0 ← x̂0 + A⁺(y − A x̂0)"
    source: ClassVar = "Wang, Yu and Zhang 2023 (DDNM), eq. 13"
    needs_linear: ClassVar[bool] = False
    needs_projection: ClassVar[bool] = True
    of_estimate: ClassVar[bool] = True

    @property
    def sampler(self) -> str:
        return f"ddim(fresh={self.eta**2:.6g})"

    def apply(self, model: Predictor, measurement: Measurement) -> Applied:
        return model, (Project(MeasuredSet(measurement.operator, measurement.y), self.weight),)


@method("pocs")
@dataclass(frozen=True)
class POCS(Method):
    """``pocs``: alternating projections, onto the data by the denoiser and onto A x = y
    (:class:`Splitting`)."""

    algorithm: ClassVar = "alternating projections onto convex sets (POCS)"
    rule: ClassVar = "x_s = α_s·Π(x̂0), no noise in the state"
    source: ClassVar = "Youla and Webb 1982; Venkatakrishnan et al. 2013"
    needs_linear: ClassVar[bool] = False
    needs_projection: ClassVar[bool] = True

    def apply(self, model: Predictor, measurement: Measurement) -> Applied:
        return model, (Splitting(measurement, Penalty(0.0, 0.0), weight=self.weight),)


@method("ddrm")
@dataclass(frozen=True)
class DDRM(Method):
    """``ddrm``: :class:`SpectralNoise`, the measurement's noise weighed against each level's, one
    singular vector at a time. ``eta`` and ``eta_b`` are the paper's. ``temperature`` below 1 draws
    less noise: nearer to a mean than to a sample, with a better PSNR (deepinv's has 0.5).

    ``spectrum``, the power of the images (``white(0.25)``, ``power(1.8)`` or a file of
    ``diffdescent spectrum``), makes the gain along each singular vector that of the exact
    posterior, and ``eta_b`` is unused; without it the rule is the paper's.
    """

    eta: Share = 0.85
    eta_b: Share = 1.0
    temperature: Annotated[float, In(0, 1, hint="1 is the paper's noise")] = 1.0
    spectrum: str = ""
    algorithm: ClassVar = "a filter in singular vectors, its gain chosen by the level's noise"
    rule: ClassVar = "Vᵀx ← ȳ, blended or kept, as σ_n/s lies below or above the level's noise"
    source: ClassVar = "Kawar et al. 2022 (DDRM), eqs. 7 and 8"
    needs_svd: ClassVar[bool] = True

    @property
    def sampler(self) -> str:
        return "ddim(fresh=1)"

    def check_together(self) -> None:
        spectrum_of(self.spectrum)

    def apply(self, model: Predictor, measurement: Measurement) -> Applied:
        prior = spectrum_of(self.spectrum)
        return model, (
            SpectralNoise(measurement, self.eta, self.eta_b, self.weight, self.temperature, prior),
        )


@method("ddnm_plus")
@dataclass(frozen=True)
class DDNMPlus(Method):
    """``ddnm_plus``: DDNM for noisy measurements. Written out, its Σ_t and Φ_t are DDRM's rule with
    η_b = 1, so it is that."""

    eta: Share = 0.85
    algorithm: ClassVar = "projection scaled, and noise filled up, along singular vectors"
    rule: ClassVar = "x̂0 ← x̂0 + Σ_t A⁺(y − A x̂0), noise of variance Φ_t (DDRM's rule, η_b = 1)"
    source: ClassVar = "Wang, Yu and Zhang 2023 (DDNM), eqs. 17 to 19"
    needs_svd: ClassVar[bool] = True

    @property
    def sampler(self) -> str:
        return "ddim(fresh=1)"

    def apply(self, model: Predictor, measurement: Measurement) -> Applied:
        return model, (SpectralNoise(measurement, self.eta, 1.0, self.weight),)
