"""What other libraries call a sampler or a grid, in our words."""

from __future__ import annotations

from typing import NamedTuple

from diffdescent.core.aliases import ALIASES, SCHEDULERS, normal
from diffdescent.core.solvers import SOLVERS
from diffdescent.core.transforms import TRANSFORMS


class Meaning(NamedTuple):
    """What a name stands for: the recipe's text, the grid that the name asks for (``"… Karras"``),
    and the grid that goes with it where nothing else says the levels (a scheduler's class)."""

    text: str
    grid: str | None = None
    usual_grid: str | None = None


def resolve_alias(text: str) -> Meaning:
    """Another library's name as our text and the grids that it implies."""
    name = bare = normal(text.strip())
    grid = None
    for suffix, implied in (
        ("_karras", "karras"),
        ("_exponential", "exponential"),
        ("_sgm_uniform", "sgm_uniform"),
    ):
        if name.endswith(suffix):
            name, grid = name.removesuffix(suffix), implied
    name = name.removeprefix("k_").removeprefix("sample_")
    if name in SCHEDULERS:
        return Meaning(SCHEDULERS[name][0], grid, SCHEDULERS[name][1])
    if name in ALIASES:
        return Meaning(ALIASES[name], grid)
    known = name in SOLVERS or name in TRANSFORMS
    return Meaning(name, grid) if known and name != bare else Meaning(text)
