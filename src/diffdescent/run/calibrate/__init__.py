"""Calibration: a sampler of few evaluations fitted to one model, from a few dozen of its own
trajectories."""

from .calibration import calibrate, check_counts
from .found import Calibration

__all__ = ["Calibration", "calibrate", "check_counts"]
