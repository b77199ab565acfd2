"""k-diffusion's interface: ``sample_*`` functions for every recipe, and denoisers in both
directions.

A k-diffusion denoiser is ``model(x, sigma, **extra_args) → denoised`` with x = x0 + σ ε, so its σ
is our σ̃ = σ/α. Flow models follow ComfyUI: x = (1 − σ) x0 + σ ε, and σ is the time. ::

    from diffdescent.integrations.kdiffusion import sample_ge, sampler
    images = sample_ge(model, x, sigmas)
    images = sampler("ge | momentum(-0.3)")(model, x, sigmas, extra_args={"cond": c}, callback=show)

Every solver, every other library's sampler name and ``ge``, ``momentum`` and ``pnm`` are here as
``sample_NAME``.
"""

from __future__ import annotations

from diffdescent.core.recipe import parse

from .denoisers import Denoised, Denoiser, KDenoiser, predictor, wrap
from .functions import SampleFunction, names, sampler
from .noise import NoiseSampler
from .sigmas import Space, discrete, get_sigmas

__all__ = [
    "Denoised",
    "Denoiser",
    "KDenoiser",
    "NoiseSampler",
    "SampleFunction",
    "Space",
    "discrete",
    "get_sigmas",
    "names",
    "predictor",
    "sampler",
    "wrap",
]


def __getattr__(name: str) -> SampleFunction:
    if name not in names():
        raise AttributeError(
            f"module {__name__!r} has no attribute {name!r}; it has {', '.join(names())}"
        )
    return SampleFunction(parse(name.removeprefix("sample_")), name=name)


def __dir__() -> list[str]:
    return [*globals(), *names()]
