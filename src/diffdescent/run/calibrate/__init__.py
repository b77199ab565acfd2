"""Calibration: a sampler of few evaluations fitted to one model, from a few dozen of its own
trajectories."""

from .calibration import Calibration, calibrate

__all__ = ["Calibration", "calibrate"]
