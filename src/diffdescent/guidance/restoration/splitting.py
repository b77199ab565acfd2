"""Methods that split the data term from the prior: DiffPIR, HQS, ADMM, RED-diff."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

from diffdescent.core.measurement import Measurement
from diffdescent.core.options import In, positive
from diffdescent.core.predict import Predictor
from diffdescent.core.restoration import GaussNewton, Penalty, Proximal, Splitting, Variational

from .method import Applied, Method, Share, Spread, method

Strength = Annotated[float, positive("above 1 trusts the denoiser more, below 1 the measurement")]


@method("diffpir")
@dataclass(frozen=True)
class DiffPIR(Method):
    """``diffpir``: :class:`Proximal`, half-quadratic splitting within the diffusion.

    ``strength`` is the paper's λ, ``zeta`` its ζ, the share of the noise that is drawn anew; the
    defaults are the best of those measured on the bundled network (docs/restore.md). ``spread``,
    the standard deviation s of the images, tightens ρ_t as in :class:`Penalty`; inf is the paper.
    A differentiable function is linearised at x̂0 (:class:`GaussNewton`), with ``steps`` of
    conjugate gradients.
    """

    strength: Strength = 1.0
    zeta: Share = 1.0
    spread: Spread = math.inf
    steps: Annotated[int, In(1, 1000, hint="used where the measurement is not linear")] = 5
    takes_smooth: ClassVar[bool] = True
    of_estimate: ClassVar[bool] = True
    algorithm: ClassVar = "half-quadratic splitting: a proximal step on the data term"
    rule: ClassVar = "x̂0 ← argmin_x ‖y − A x‖² + ρ_t‖x − x̂0‖²,  ρ_t = λσ_n²(1/σ̃_t² + 1/s²)"
    source: ClassVar = "Zhu et al. 2023 (DiffPIR), eq. 12 and algorithm 1"

    @property
    def sampler(self) -> str:
        return f"ddim(fresh={self.zeta:.6g})" if self.zeta else "ddim"

    def apply(self, model: Predictor, measurement: Measurement) -> Applied:
        penalty = Penalty(measurement.noise, self.strength, self.spread)
        if measurement.operator.linear:
            return model, (Proximal(measurement, penalty, self.weight),)
        return model, (GaussNewton(measurement, penalty, self.weight, self.steps),)


@method("hqs")
@dataclass(frozen=True)
class HQS(Method):
    """``hqs``: plug-and-play half-quadratic splitting, without noise in the state
    (:class:`Splitting`)."""

    strength: Strength = 1.0
    algorithm: ClassVar = "plug-and-play half-quadratic splitting"
    rule: ClassVar = "x_s = α_s·prox_ρ(x̂0), no noise in the state"
    source: ClassVar = "Zhang et al. 2021 (DPIR), eq. 6"

    def apply(self, model: Predictor, measurement: Measurement) -> Applied:
        penalty = Penalty(measurement.noise, self.strength)
        return model, (Splitting(measurement, penalty, weight=self.weight),)


@method("admm")
@dataclass(frozen=True)
class ADMM(Method):
    """``admm``: plug-and-play ADMM, :class:`Splitting` with the multiplier."""

    strength: Strength = 1.0
    algorithm: ClassVar = "alternating direction method of multipliers, plug and play"
    rule: ClassVar = "x ← prox_ρ(x̂0 − u),  x_s = α_s(x + u),  u ← u + x − x̂0"
    source: ClassVar = "Chan, Wang and Elgendy 2017, eqs. 3 to 5"

    def apply(self, model: Predictor, measurement: Measurement) -> Applied:
        penalty = Penalty(measurement.noise, self.strength)
        return model, (Splitting(measurement, penalty, dual=True, weight=self.weight),)


@method("reddiff")
@dataclass(frozen=True)
class REDDiff(Method):
    """``reddiff``: :class:`Variational`, descent on an image with the denoiser's residual as the
    regularizer's gradient. ``regularizer`` is λ and ``rate`` Adam's, as released."""

    regularizer: Annotated[float, positive("the released code's is 0.25")] = 0.25
    rate: Annotated[float, positive("Adam's step, in units of the image")] = 0.1
    algorithm: ClassVar = "variational inference: Adam on a data term regularized by denoising"
    rule: ClassVar = "μ ← μ − Adam(Aᵀ(Aμ − y) + λ(μ − x̂0)),  x_s = α_s μ + σ_s z"
    source: ClassVar = "Mardani et al. 2023 (RED-diff), eq. 8 and algorithm 1"
    needs_linear: ClassVar[bool] = False
    of_estimate: ClassVar[bool] = True

    @property
    def sampler(self) -> str:
        return "ddim(fresh=1)"

    def apply(self, model: Predictor, measurement: Measurement) -> Applied:
        return model, (Variational(measurement, self.regularizer, self.rate, self.weight),)
