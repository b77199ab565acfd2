"""What counts as the denoising gradient of a step: the three definitions of PixelAsParam (eqs. 12
to 14).

For an ancestral step t → s, with a_t = ᾱ_t/ᾱ_s, c1 = (1 − a_t)√ᾱ_s/(1 − ᾱ_t) and D the estimate of
x0:

    x0           x_s = Z x_t + c1 D + s z + guidance                            (eq. 12)
    x0-sampling  x_s = Z x_t + (c1 D + s z) + guidance                          (eq. 13)
    noise        x_s = x_t/√a_t − (1 − a_t)/√(a_t (1 − ᾱ_t)) ε + s z + guidance (eq. 14)

The denoising gradient is the second term. Any other step is read in the same way, as a sum over the
estimates of x0 or of ε that it uses (:mod:`diffdescent.core.executor.parts`). Under ``x0-sampling``
there is no diversity part left to conflict with.
"""

from __future__ import annotations

from typing import Literal

from diffdescent.core.predict import Basis

from .base import StepParts

Denoising = Literal["x0", "x0-sampling", "noise"]


def basis_of(denoising: Denoising) -> Basis:
    """The estimate that the denoising part is made of."""
    return "eps" if denoising == "noise" else "x0"


def regrouped(parts: StepParts, denoising: Denoising) -> StepParts:
    """The parts under a definition; ``x0-sampling`` counts the noise as denoising."""
    if denoising != "x0-sampling" or parts.diversity is None:
        return parts
    return StepParts(parts.denoise + parts.diversity, None, parts.guidance)
