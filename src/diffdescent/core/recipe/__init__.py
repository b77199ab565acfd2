"""Names and the text grammar: one line of text ↔ a solver and its chain of transforms, or a grid.

::

    recipe := element ("|" element)*    # elements as in diffdescent.core.recipe.grammar

A chain that begins with a transform
acts on ``ddim``: ``"ge(gamma=2) | momentum(beta=-0.3)"`` is ``"ddim | ge | momentum"``.
"""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import dataclass
from typing import Any

from diffdescent.base.errors import UserError, unknown
from diffdescent.core.grid import GRIDS, Grid, make_grid
from diffdescent.core.plan import Plan
from diffdescent.core.process import VE, Flow, Process
from diffdescent.core.solvers import SOLVERS, Solver
from diffdescent.core.transforms import (
    Displacement,
    DynamicThreshold,
    Estimate,
    GradientEstimation,
    Momentum,
    Monitor,
    PositiveNegative,
    Rewrite,
    Threshold,
    Transform,
)
from diffdescent.core.transforms.pxp import PxP

from .grammar import Reader, bind, options_of, print_element

TRANSFORMS: dict[str, type[Any]] = {
    cls.name: cls
    for cls in (GradientEstimation, Momentum, PositiveNegative, Threshold, DynamicThreshold, PxP)
}


@dataclass(frozen=True)
class Recipe:
    """A solver and its transforms, in the order in which they are applied; ``grid`` is the text of
    its usual grid.

    ``recipe | transform`` appends. Raises :class:`UserError` for a chain that makes no sense.
    """

    solver: Solver
    transforms: tuple[Transform, ...] = ()
    grid: str | None = dataclasses.field(default=None, compare=False)

    def __post_init__(self) -> None:
        rewrites = [t for t in self.transforms if isinstance(t, Rewrite)]
        if len(rewrites) > 1:
            raise UserError(
                "A chain can hold one gradient estimation; keep one ge(...) and drop the other."
            )
        moves = [
            bool(getattr(t, "wants_parts", None))
            for t in self.transforms
            if isinstance(t, Displacement)
        ]
        if any(moves[1:]):
            raise UserError(
                "pxp sees the parts of the sampler's own step, so it comes once in a chain and"
                " before momentum."
            )

    def __or__(self, transform: Transform) -> Recipe:
        if not isinstance(transform, (Rewrite, Estimate, Displacement)):
            return NotImplemented
        return dataclasses.replace(self, transforms=(*self.transforms, transform))

    def __str__(self) -> str:
        # A monitor only looks: it is no part of what makes the images.
        parts = [t for t in self.transforms if not isinstance(t, Monitor)]
        return " | ".join(print_element(part) for part in (self.solver, *parts))

    def plan(self, grid: Grid) -> Plan:
        """The rows for ``grid``, linear estimate transforms folded in."""
        plan = self.solver.plan(grid)
        for transform in self.transforms:
            if isinstance(transform, Rewrite):
                plan = transform.rewrite(plan)
        return plan

    @property
    def whole_batch(self) -> bool:
        """Whether an image depends on the others of its batch: a transform looks at all of them at
        once."""
        return any(getattr(transform, "whole_batch", False) for transform in self.transforms)

    @property
    def estimates(self) -> tuple[Estimate, ...]:
        """The transforms that act on each evaluation."""
        return tuple(t for t in self.transforms if isinstance(t, Estimate))

    @property
    def displacements(self) -> tuple[Displacement, ...]:
        """The transforms that act on each committed step."""
        return tuple(t for t in self.transforms if isinstance(t, Displacement))

    @property
    def linear(self) -> bool:
        """Whether the result is a linear function of the evaluations."""
        return all(t.linear for t in self.transforms)


# Other libraries' names. The same text may name the grid that the name implies there, after "@".
ALIASES: dict[str, str] = {
    "euler_a": "ddim(eta=1)",
    "euler_ancestral": "ddim(eta=1)",
    "dpm_2": "dpm(order=2, method=singlestep)",
    "dpm2": "dpm(order=2, method=singlestep)",
    "dpm_2_ancestral": "dpm(order=2, method=singlestep, eta=1, noise=ancestral)",
    "dpm2_a": "dpm(order=2, method=singlestep, eta=1, noise=ancestral)",
    "dpmpp_2s": "dpmpp(order=2, method=singlestep)",
    "dpmpp_2s_ancestral": "dpmpp(order=2, method=singlestep, eta=1, noise=ancestral)",
    "dpmpp_2s_a": "dpmpp(order=2, method=singlestep, eta=1, noise=ancestral)",
    "dpmpp_sde": "dpmpp(order=2, method=singlestep, eta=1)",
    "dpmpp_2m": "dpmpp(order=2, lower_order_final=never)",
    "dpmpp_2m_sde": "dpmpp(order=2, eta=1, lower_order_final=never)",
    "dpmpp_2m_sde_heun": "dpmpp(order=2, eta=1, variant=heun, lower_order_final=never)",
    "dpmpp_2m_sde_gpu": "dpmpp(order=2, eta=1, lower_order_final=never)",
    "dpmpp_3m_sde_gpu": "dpmpp(order=3, eta=1, released=true, lower_order_final=never)",
    "dpmpp_sde_gpu": "dpmpp(order=2, method=singlestep, eta=1)",
    "dpmpp_3m": "dpmpp(order=3, released=true, lower_order_final=never)",
    "dpmpp_3m_sde": "dpmpp(order=3, eta=1, released=true, lower_order_final=never)",
    "uni_pc": "unipc(order=3, variant=bh1)",
    "uni_pc_bh2": "unipc(order=3, variant=bh2)",
    "gradient_estimation": "ge(last=plain)",
    "ddimscheduler": "ddim @ uniform(spacing=leading)",
    "ddpmscheduler": "ddpm @ uniform(spacing=leading)",
    "pndmscheduler": "pndm @ uniform(spacing=leading, end=first)",
    "deismultistepscheduler": (
        "deis(order=2, variant=logrho) @ uniform(spacing=linspace, open=true, end=first)"
    ),
    "dpmsolvermultistepscheduler": "dpmpp(order=2) @ uniform(spacing=linspace, open=true)",
    "dpmsolversinglestepscheduler": (
        "dpmpp(order=2, method=singlestep) @ uniform(spacing=linspace, open=true)"
    ),
    "unipcmultistepscheduler": "unipc(order=2) @ uniform(spacing=linspace, open=true)",
    "eulerdiscretescheduler": "euler @ uniform(spacing=linspace)",
    "eulerancestraldiscretescheduler": "ddim(eta=1) @ uniform(spacing=linspace)",
    "heundiscretescheduler": "heun @ uniform(spacing=linspace)",
    "lmsdiscretescheduler": "lms @ uniform(spacing=linspace)",
}

GRID_ALIASES: dict[str, str] = {
    "normal": "uniform(spacing=linspace, snap=false)",
    "leading": "uniform(spacing=leading)",
    "trailing": "uniform(spacing=trailing)",
    "linspace": "uniform(spacing=linspace)",
    "linear": "uniform(spacing=leading)",
    "ddim_uniform": "uniform(spacing=leading, offset=1)",
    "sgm_uniform": "uniform(spacing=linspace, open=true, snap=false)",
    "log_linear": "loglinear",
    "edm": "karras",
    "align_your_steps": "ays",
    "log_snr": "logsnr",
}


def _normal(name: str) -> str:
    """``"DPM++ 2M Karras"`` → ``"dpmpp_2m_karras"``."""
    return name.lower().replace("++", "pp").replace("-", "_").replace(" ", "_")


def _resolve_alias(text: str) -> tuple[str, str | None]:
    """Another library's name as our text and the grid it implies."""
    name = _normal(text.strip())
    grid = None
    for suffix, implied in (
        ("_karras", "karras"),
        ("_exponential", "exponential"),
        ("_sgm_uniform", "sgm_uniform"),
    ):
        if name.endswith(suffix):
            name, grid = name.removesuffix(suffix), implied
    if name.startswith("k_"):
        name = name.removeprefix("k_")
    if name.startswith("sample_"):
        name = name.removeprefix("sample_")
    known = name in ALIASES or name in SOLVERS or name in TRANSFORMS
    bare = name == _normal(text.strip())
    if not known or (bare and name not in ALIASES):
        return text, None
    ours, _, implied_grid = ALIASES.get(name, name).partition("@")
    return ours.strip(), grid or implied_grid.strip() or None


def parse(text: str) -> Recipe:
    """The recipe that ``text`` describes (see the module's grammar).

    Raises :class:`UserError` for wrong syntax, names (with the nearest ones), options and values.
    """
    chain, grid = [], None
    for i, part in enumerate(_split(text)):
        ours, implied = _resolve_alias(part) if i == 0 else (part, None)
        grid = implied or grid
        chain += _split(ours)
    solver = SOLVERS["ddim"]()
    transforms: list[Transform] = []
    for i, part in enumerate(chain):
        reader = Reader(part)
        name = reader.name()
        positional, named = reader.arguments()
        reader.skip()
        if reader.at != len(part):
            raise reader.error("'|' or the end")
        key = _normal(name)
        if key in SOLVERS and i > 0 and key not in TRANSFORMS:
            raise UserError(
                f"The solver {name!r} stands in the middle of {text!r}; a solver comes first,"
                " transforms after."
            )
        if key in ALIASES:
            raise UserError(
                f"{name!r} stands for {ALIASES[key]!r}, first in a chain and without options; write"
                " that."
            )
        if key not in SOLVERS and key not in TRANSFORMS:
            raise unknown("sampler or transform", name, [*SOLVERS, *TRANSFORMS], ALIASES)
        if i == 0 and key in SOLVERS:
            solver = SOLVERS[key](
                **bind("The sampler", name, options_of(SOLVERS[key]), positional, named)
            )
        else:
            transforms.append(
                TRANSFORMS[key](
                    **bind("The transform", name, options_of(TRANSFORMS[key]), positional, named)
                )
            )
    return Recipe(solver, tuple(transforms), grid)


def _split(text: str) -> list[str]:
    parts = text.split("|")
    if any(not part.strip() for part in parts):
        raise UserError(
            f"Cannot read {text!r}: a name is missing before or after '|'; write for example \"ge |"
            ' momentum(-0.3)".'
        )
    return [part.strip() for part in parts]


def sampler(text: str) -> Recipe:
    """The same as :func:`parse`, for chains in Python: ``dd.sampler("ge") | dd.momentum(-0.3)``."""
    return parse(text)


def parse_grid(text: str, process: Process, steps: int) -> Grid:
    """The grid that ``text`` describes, such as ``"loglinear(start=40)"`` or ``"karras"``.

    Raises :class:`UserError` for wrong syntax, names and options, and for too few or too many
    steps.
    """
    text = GRID_ALIASES.get(_normal(text.strip()), text)
    reader = Reader(text)
    name = _normal(reader.name())
    positional, named = reader.arguments()
    reader.skip()
    if reader.at != len(text):
        raise reader.error("the end")
    if name not in GRIDS:
        raise unknown("grid", name, GRIDS, GRID_ALIASES)
    hints = typing.get_type_hints(GRIDS[name])
    skipped = ("process", "steps", "return")
    values = bind(
        "The grid", name, {k: v for k, v in hints.items() if k not in skipped}, positional, named
    )
    return make_grid(name, process, steps, **values)


def default_recipe(steps: int) -> Recipe:
    """The preset for a step count: gradient estimation up to 7 steps, UniPC above.

    Chosen by the distance to the exact solution on the bundled mixture (docs/measurements.md): GE
    is the best at 5 steps on its grid, UniPC among the best four at 10, 20 and 50 on both grids
    measured.
    """
    return parse("ge") if steps <= 7 else parse("unipc")


def default_grid(recipe: Recipe, process: Process) -> str:
    """The grid when none is asked for.

    The one that the recipe's name implies (``"DPM++ 2M Karras"``); else uniform in shifted time for
    flows and Karras for VE. For VP, log-linear under gradient estimation and under solvers in λ,
    whose variable it is uniform in; uniform in time from the highest trained level for all others.
    """
    if recipe.grid is not None:
        return recipe.grid
    if isinstance(process, Flow):
        return "uniform(spacing=trailing)"
    if isinstance(process, VE):
        return "karras"
    estimated = any(isinstance(t, GradientEstimation) for t in recipe.transforms)
    return (
        "loglinear"
        if estimated or recipe.solver.variable == "lambda"
        else "uniform(spacing=trailing)"
    )
