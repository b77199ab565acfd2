"""The opponent: the best of the fixed samplers on the best of their grids."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise

import torch

from diffdescent.base.errors import UserError
from diffdescent.core.plan import Plan
from diffdescent.core.recipe import default_grid, parse, parse_grid

from .loss import DISTANCE, Loss
from .subject import Subject
from .teacher import Trajectories

RECIPES = (
    "ge", "unipc", "unipc(order=3)", "dpmpp(order=2)", "dpmpp(order=3)", "plms", "ipndm", "ab",
    "deis(order=3)",
)  # fmt: skip
LEADERS = ("ge", "unipc", "unipc(order=3)", "plms", "deis(order=3)")
STARTS = (80.0, 40.0, 20.0, 12.0)
LASTS = {"exponential": (0.3, 0.1), "karras": (0.1, 0.03)}


@dataclass(frozen=True)
class Rival:
    """A fixed sampler: its recipe's text, its grid's text, its mean distance to the teacher, as the
    loss measures it, and its mean loss."""

    recipe: str
    grid: str
    plan: Plan
    distance: float
    loss: float


def best_fixed(
    subject: Subject,
    data: Trajectories,
    nfe: int,
    note: Callable[[str], None],
    loss: Loss = DISTANCE,
) -> Rival:
    """The nearest of all recipes and grids, found in three rounds of fewer candidates and more
    trajectories.

    Raises :class:`UserError` where none runs on this process at all.
    """
    first = [(r, g) for r in RECIPES for g in usual_grids(subject, r)]
    found = _round(subject, data[:6], nfe, first, loss)
    if not found:
        raise UserError(
            f"No fixed sampler runs on this model with {nfe} evaluations, so there is nothing to"
            " compare with; check the model's noise levels."
        )
    note(f"{len(found)} fixed samplers measured, {found[0].recipe} on {found[0].grid} leads")
    leaders = list(dict.fromkeys(r.recipe for r in found[:6]))[:2]
    second = [(r, g) for r in leaders for g in _searched(subject)]
    second += [(r.recipe, r.grid) for r in found[:3]]
    found = _round(subject, data[:8], nfe, second, loss)
    last = [(r.recipe, r.grid) for r in found[:3]]
    best = _round(subject, data, nfe, last, loss)[0]
    note(f"the best fixed sampler is {best.recipe} on {best.grid}")
    return best


def light_search(
    subject: Subject, data: Trajectories, nfe: int, rival: Rival, loss: Loss
) -> list[Rival]:
    """The two nearest of the recipes that lead most often, on five grids, one of them that of
    ``rival``, at another number of evaluations than its; found with few trajectories."""
    high, low = _rounded(*subject.span)
    grids = (
        rival.grid,
        f"loglinear(start={min(high, 80.0)!r}, end=zero)",
        f"exponential(start={min(high, 80.0)!r}, last={max(low, 0.3)!r})",
        *(f"exponential(start={high!r}, last={max(low, last)!r})" for last in (0.1, 0.03)),
    )
    return _round(subject, data[:4], nfe, [(r, g) for r in LEADERS for g in grids], loss)[:2]


def usual_grids(subject: Subject, recipe: str) -> list[str]:
    """A recipe's own grid and one of each family, all of which end without noise."""
    high, low = _rounded(*subject.span)
    return [
        default_grid(parse(recipe), subject.process),
        "uniform(spacing=trailing, end=zero)",
        f"loglinear(start={min(high, 40.0)!r}, end=zero)",
        f"exponential(start={min(high, 80.0)!r}, last={max(low, 0.05)!r})",
        f"karras(start={min(high, 80.0)!r}, last={max(low, 0.02)!r})",
    ]


def _searched(subject: Subject) -> list[str]:
    """Log-uniform and Karras levels between many firsts and lasts."""
    high, low = _rounded(*subject.span)
    starts = sorted({min(high, s) for s in (high, *STARTS)}, reverse=True)
    return [f"loglinear(start={s!r}, end=zero)" for s in starts] + [
        f"{family}(start={s!r}, last={v!r})"
        for family, lasts in LASTS.items()
        for s in starts
        for v in sorted({max(low, last) for last in lasts}, reverse=True)
    ]


def _rounded(high: float, low: float) -> tuple[float, float]:
    """A span with three digits, inside the one given: a grid's text is read by people."""
    high_unit, low_unit = (10.0 ** (math.floor(math.log10(v)) - 2) for v in (high, low))
    return (
        float(f"{math.floor(high / high_unit) * high_unit:.3g}"),
        float(f"{math.ceil(low / low_unit) * low_unit:.3g}"),
    )


def _round(
    subject: Subject,
    data: Trajectories,
    nfe: int,
    candidates: Iterable[tuple[str, str]],
    loss: Loss,
) -> list[Rival]:
    """The candidates that take ``nfe`` evaluations, the nearest first."""
    found = []
    for recipe, grid in dict.fromkeys(candidates):
        try:
            plan = parse(recipe).plan(parse_grid(grid, subject.process, nfe))
            if plan.nfe != nfe or plan.stochastic or not _falls(plan):
                continue
            images = subject.run(plan, data.noise, data.cond)[-1]
        except UserError:
            continue
        if bool(torch.isfinite(images).all()):
            apart = loss.distances(images, data.end)
            reached = float(loss.values(apart).mean())
            found.append(Rival(recipe, grid, plan, float(apart.mean()), reached))
    return sorted(found, key=lambda rival: rival.loss)


def _falls(plan: Plan) -> bool:
    """Whether the network is asked at falling finite levels, so that the plan is one of rows."""
    asked = [row.at.ratio for row in plan.rows]
    return all(a > b for a, b in pairwise(asked)) and asked[0] < 1e4
