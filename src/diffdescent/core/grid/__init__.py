"""Noise grids: at which noise levels a sampler stops.

A grid of N steps has N + 1 levels with σ̃ = σ/α strictly decreasing (increasing in a reversed grid,
for inversion). The last level is the end of the run and is always explicit: no network is evaluated
there. Builders are plain functions ``f(process, steps, *, end=…, …) → Grid`` registered by name in
:data:`GRIDS`. Importing the package registers them all.
"""

from .base import EXPLICIT, GRIDS, Builder, End, Grid, make_grid, register
from .build import check_steps, from_ratios, from_times, ratio_range

# isort: split
# What a grid's file imports from here stands above; the grids follow.
from . import admissible, beta_quantiles, by_ratio, by_time, tables
from .tables import AYS, explicit, explicit_ratios

__all__ = [
    "AYS",
    "EXPLICIT",
    "GRIDS",
    "Builder",
    "End",
    "Grid",
    "admissible",
    "beta_quantiles",
    "by_ratio",
    "by_time",
    "check_steps",
    "explicit",
    "explicit_ratios",
    "from_ratios",
    "from_times",
    "make_grid",
    "ratio_range",
    "register",
    "tables",
]
