"""Named schedulers: a class for a recipe. Options are those of :class:`DescentScheduler`,
``recipe=`` among them."""

from __future__ import annotations

from typing import ClassVar

from diffusers.schedulers.scheduling_utils import SchedulerMixin

from .scheduler import DescentScheduler

__all__ = [
    "GradientEstimationScheduler",
    "MomentumDDIMScheduler",
    "MomentumGradientEstimationScheduler",
    "MomentumPLMSScheduler",
    "PositiveNegativeDDIMScheduler",
    "SchedulerMixin",  # a pipeline that loads one of these looks for its base class next to it
]


class GradientEstimationScheduler(DescentScheduler):
    """Gradient estimation with γ = 2 (arXiv 2306.04848)."""

    preset: ClassVar[str] = "ge(gamma=2)"


class MomentumDDIMScheduler(DescentScheduler):
    """DDIM with momentum, β = −0.3."""

    preset: ClassVar[str] = "ddim | momentum(beta=-0.3)"


class MomentumPLMSScheduler(DescentScheduler):
    """PLMS with momentum, β = −0.3."""

    preset: ClassVar[str] = "plms(start=heun) | momentum(beta=-0.3)"


class MomentumGradientEstimationScheduler(DescentScheduler):
    """Gradient estimation with γ = 2, and momentum, β = −0.3."""

    preset: ClassVar[str] = "ge(gamma=2) | momentum(beta=-0.3)"


class PositiveNegativeDDIMScheduler(DescentScheduler):
    """DDIM with positive–negative momentum, β = −0.3."""

    preset: ClassVar[str] = "ddim | pnm(beta=-0.3)"
