"""What the study measures: samplers on grids with a number of steps, each one of its points."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from diffdescent.core.recipe import parse
from diffdescent.core.transforms import GradientEstimation, Momentum

UNIFORM = "uniform(spacing=trailing)"
SAMPLERS = ("ddim", "ddpm", "ge(gamma=2)", "plms", "dpmpp(order=2)", "unipc")
BETAS = (-0.8, -0.5, -0.3, -0.1, 0.1, 0.2, 0.5, 0.8)
GAMMAS = (1.5, 2.5, 3.0)
GRIDS = ("loglinear", "quadratic", "karras")
STEPS = (5, 10, 20, 50, 100)
MANY = 100
"""From this many steps on, where samplers agree, γ is left out and of β only ``PAPER`` is
measured."""
PAPER = (-0.8, -0.3, 0.2, 0.8)
"""β of the paper's tables, and .8."""
BASE = "ddim"
"""The recipe that momentum is added to, and that samplers are compared with."""
TEACHER = 1000


@dataclass(frozen=True)
class Point:
    """One sampler of the study: recipe and grid as text, and the grid's steps."""

    recipe: str
    steps: int
    grid: str = UNIFORM

    @property
    def slug(self) -> str:
        """A short name for files."""
        text = f"{self.recipe} @ {self.grid} @ {self.steps}"
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def base(self) -> Point:
        """What this point is to improve on: the sampler without momentum, of all others DDIM; same
        grid and steps."""
        sampler, bar, _ = self.recipe.partition(" | momentum")
        return Point(sampler if bar else BASE, self.steps, self.grid)

    @property
    def momentum(self) -> float | None:
        """The first β of its momentum, None without momentum. Raises :class:`UserError` for a
        recipe that cannot be read."""
        betas = [t.beta for t in parse(self.recipe).transforms if isinstance(t, Momentum)]
        if not betas:
            return None
        return betas[0][0] if isinstance(betas[0], tuple) else betas[0]

    @property
    def estimates_gradients(self) -> bool:
        """Whether gradient estimation is part of its recipe."""
        return any(isinstance(t, GradientEstimation) for t in parse(self.recipe).transforms)


def momentum(beta: float, recipe: str = BASE) -> str:
    """A recipe with momentum, as the study writes it."""
    return f"{recipe} | momentum(beta={beta})"


def default_points(steps: Sequence[int] = STEPS, teacher: int = TEACHER) -> list[Point]:
    """The study of the documentation: samplers, β, γ and grids at these steps, and the two
    teachers.

    β and γ from 10 steps up (few of them from ``MANY`` up); grids and momentum over other samplers
    at 20 and 50 steps.
    """
    few, some = [t for t in steps if t >= 10], [t for t in steps if t in (20, 50)]
    found = [Point(r, t) for r in SAMPLERS for t in steps]
    found += [Point(momentum(beta), t) for t in few for beta in (BETAS if t < MANY else PAPER)]
    found += [Point(f"ge(gamma={g})", t) for g in GAMMAS for t in few if t < MANY]
    found += [Point(momentum(-0.3, r), t) for r in ("plms", "dpmpp(order=2)", "ddpm") for t in some]
    found += [Point(r, t, g) for g in GRIDS for r in (BASE, momentum(-0.3)) for t in some]
    return [Point(BASE, teacher), Point("ddpm", teacher), *dict.fromkeys(found)]
