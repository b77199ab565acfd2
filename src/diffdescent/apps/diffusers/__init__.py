"""diffusers: recipes as schedulers, and guidance transforms in unmodified pipelines."""

from __future__ import annotations

try:
    import diffusers as _diffusers  # noqa: F401
except ImportError:
    raise ImportError(
        "diffdescent.apps.diffusers needs diffusers; install it with: pip install"
        " 'diffdescent[diffusers]'."
    ) from None

from .attach import attach, detach
from .presets import (
    GradientEstimationScheduler,
    MomentumDDIMScheduler,
    MomentumGradientEstimationScheduler,
    MomentumPLMSScheduler,
    PositiveNegativeDDIMScheduler,
)
from .run import DescentSchedulerOutput
from .scheduler import DescentScheduler

__all__ = [
    "DescentScheduler",
    "DescentSchedulerOutput",
    "GradientEstimationScheduler",
    "MomentumDDIMScheduler",
    "MomentumGradientEstimationScheduler",
    "MomentumPLMSScheduler",
    "PositiveNegativeDDIMScheduler",
    "attach",
    "detach",
]
