"""Posterior samples against the exact posterior, where it is known (models/posterior.py)."""

from . import metrics as metrics
from .metric import (
    POSTERIOR_METRICS,
    PosteriorMetric,
    PosteriorTask,
    judge_posterior,
    register_posterior,
)

__all__ = [
    "POSTERIOR_METRICS",
    "PosteriorMetric",
    "PosteriorTask",
    "judge_posterior",
    "register_posterior",
]
