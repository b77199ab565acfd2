"""Families of grids that are uniform, smooth or alternating in a solver's own variable, refined by
their step count."""

from __future__ import annotations

import math

import numpy as np

from diffdescent.core.grid import Grid, explicit, explicit_ratios
from diffdescent.core.process import Array, Process, VPContinuous
from diffdescent.core.solvers import Spacing, Variable

PROCESS = VPContinuous()
HIGH, MIDDLE, LOW = 2.0, 1.0, 0.5
"""The σ̃ between which errors are measured, where the flow bends most for data of variance about
0.5: HIGH to LOW in the interior; MIDDLE to LOW from a cold start, whose own error is then not small
against what the other steps add."""


def placed(spacing: Spacing, n: int, pad: int = 0) -> Array:
    """n + 1 places from 0 to 1 and ``pad`` more at either end, going on in the same manner."""
    i = np.arange(-pad, n + pad + 1)
    s = i / n
    if spacing == "smooth":  # the step shrinks by a factor e from the first to the last
        return np.asarray((1 - np.exp(-s)) / (1 - math.exp(-1)))
    if spacing == "alternating":  # steps 2/3 and 4/3 of the mean
        return np.asarray(s - (i % 2) / (3 * n))
    return np.asarray(s)


def level_grid(
    variable: Variable,
    spacing: Spacing,
    n: int,
    start: float = HIGH,
    pad: int = 0,
    process: Process = PROCESS,
) -> Grid:
    """Levels from σ̃ = ``start`` to LOW (and ``pad`` steps beyond both), placed in ``variable``."""
    s = placed(spacing, n, pad)
    if variable == "sigma":
        return explicit_ratios(process, start + (LOW - start) * s)
    if variable == "lambda":
        return explicit_ratios(process, start * (LOW / start) ** s)
    high, low = (float(process.t_of_ratio(r)) for r in (start, LOW))
    return explicit(process, high + (low - high) * s)
