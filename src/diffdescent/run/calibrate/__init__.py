"""Calibration: a sampler of few evaluations fitted to one model, from a few dozen of its own
trajectories."""

from .calibration import calibrate
from .counts import check_counts
from .found import Calibration
from .loss import Loss

__all__ = ["Calibration", "Loss", "calibrate", "check_counts"]
