"""Diffusion processes: how much signal and how much noise there is at each time.

A process says that ``x_t = α(t) x0 + σ(t) ε`` with ``ε ~ N(0, I)``. All of its arithmetic is NumPy
float64 on the host; nothing here touches a device. ``σ̃ = σ/α`` is the noise-to-signal ratio (the
"σ" of variance-exploding samplers) and ``λ = log(α/σ) = −log σ̃`` half the log-SNR.
"""

from .base import Array, ArrayLike, Point, Process, TimeSpacing, points
from .betas import Schedule, make_betas
from .flow import Flow
from .ve import VE
from .vp import VP, VPContinuous

__all__ = [
    "VE",
    "VP",
    "Array",
    "ArrayLike",
    "Flow",
    "Point",
    "Process",
    "Schedule",
    "TimeSpacing",
    "VPContinuous",
    "make_betas",
    "points",
]
