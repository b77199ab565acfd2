"""What the rows of a calibrated sampler may look like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from diffdescent.core.spectrum import Axes, Bands

RIDGE = 1e-5
"""Relative to each unknown's own curvature."""

Prior = Literal["equal", "gaussian", "fixed"]


@dataclass(frozen=True)
class Shape:
    """What the rows may look like: channel axes, frequency bands, and how many evaluations a row
    sees (None: all). With ``plain_start`` the start is not scaled; ``prior`` is what the ridge
    draws to, and ``recipe`` the sampler of the prior ``fixed``. ``consistent`` rows are exact for
    a constant ε."""

    axes: Axes
    bands: Bands
    history: int | None = None
    ridge: float = RIDGE
    plain_start: bool = False
    prior: Prior = "equal"
    recipe: str | None = None
    consistent: bool = False
