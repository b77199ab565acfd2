"""Recipes: one line of text ↔ a solver and its chain of transforms, and the texts of grids."""

from diffdescent.core.aliases import ALIASES, GRID_ALIASES, SCHEDULERS
from diffdescent.core.transforms import TRANSFORMS

from .defaults import default_grid, default_recipe
from .parse import grid_call, grid_named, parse, parse_grid, sampler
from .recipe import Recipe

__all__ = [
    "ALIASES",
    "GRID_ALIASES",
    "SCHEDULERS",
    "TRANSFORMS",
    "Recipe",
    "default_grid",
    "default_recipe",
    "grid_call",
    "grid_named",
    "parse",
    "parse_grid",
    "sampler",
]
