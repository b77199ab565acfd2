"""The reading itself: steps, estimates and step sizes from a plan."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from diffdescent.base.errors import UserError
from diffdescent.core.grammar import print_element
from diffdescent.core.grid import Grid
from diffdescent.core.plan import Plan
from diffdescent.core.recipe import Recipe
from diffdescent.core.transforms import Constrain, Displacement, Momentum, PositiveNegative
from diffdescent.core.weights import effective_weights
from diffdescent.guidance.restoration import Method

from .constraints import constrained
from .explanation import Explanation, Step
from .linear import linear_method


def explain(recipe: Recipe, grid: Grid, method: Method | None = None) -> Explanation:
    """Read ``recipe`` on ``grid`` as an optimizer.

    Args:
        recipe: a chain that is linear, but for constraints on the estimate, which are named
            and left out of steps and weights.
        grid: on which it is read.
        method: the restoration method that adds a data term to it; None for none.

    Returns:
        An :class:`Explanation`: a :class:`Step` for each step, effective weights, and the linear
        method that the chain is.

    Raises:
        UserError: a chain that is not linear: what it does in a step depends on the image.
    """
    constraints = tuple(constrained(t) for t in recipe.transforms if isinstance(t, Constrain))
    whole = str(recipe)
    free = tuple(t for t in recipe.transforms if not isinstance(t, Constrain))
    recipe = replace(recipe, transforms=free)
    crooked = [t.name for t in free if not t.linear]
    if crooked:
        raise UserError(
            f"{crooked[0]!r} is not linear: what it does to a step depends on the image, so no"
            " table of weights shows it; leave it out to read the rest of the chain."
        )
    plan = recipe.plan(grid)
    weights = effective_weights(recipe, grid)
    steps = _steps(plan)
    linear, why = linear_method(recipe)
    return Explanation(
        whole,
        grid,
        _summary(recipe, plan, steps),
        steps,
        weights,
        linear,
        why,
        None if method is None else _data_term(method),
        constraints,
    )


def _data_term(method: Method) -> dict[str, str]:
    return {
        "method": print_element(method),
        "algorithm": method.algorithm,
        "rule": method.rule,
        "source": method.source,
    }


def _steps(plan: Plan) -> tuple[Step, ...]:
    """Every state that the plan computes, inner ones too, with its evaluations written out: an
    inner state that a later stage starts from is replaced by the evaluations that it was made
    of."""
    steps: list[Step] = []
    base = plan.grid.points[0]
    history: list[int] = []
    current = np.zeros(plan.nfe)
    for index, row in enumerate(plan.rows):
        known = [index, *history]
        evaluated = current
        for out in row.outputs:
            made = out.current * evaluated
            made[known[: len(out.evals)]] += out.evals
            used = made[: index + 1][::-1]
            total = float(used.sum())
            shares = np.trim_zeros(used / total if abs(total) > 1e-300 else used, "b")
            size = 1 - out.point.ratio / base.ratio if math.isfinite(base.ratio) else 1.0
            spread = out.noise / out.point.sigma if out.point.sigma else 0.0
            weights = tuple(float(w) for w in shares)
            steps.append(
                Step(row.step, base, out.point, row.basis, weights, size, spread, not out.commit)
            )
            current = np.zeros(plan.nfe) if out.commit else made
            base = out.point if out.commit else base
        history = [known[k] for k in row.keep]
    return tuple(steps)


def _number(value: float) -> str:
    return f"{value:.4g}".replace("-", "−")


def _rule(transform: Displacement) -> str:
    """What a displacement transform does with r, the step's own displacement, as a formula."""
    if isinstance(transform, Momentum):
        beta = transform.beta[0] if isinstance(transform.beta, tuple) else transform.beta
        more = (
            " (β varies by step)"
            if isinstance(transform.beta, tuple) and len(set(transform.beta)) > 1
            else ""
        )
        return f"m ← {_number(beta)}·m + {_number(1 - beta)}·r;  Δ = m{more}"
    if isinstance(transform, PositiveNegative):
        b = abs(transform.beta)
        gain = ", over its gain" if transform.normalise else ""
        return (
            f"Δ = {_number(1 + b)}·m_same − {_number(b)}·m_other (odd and even steps apart{gain})"
        )
    return f"Δ = {transform.name}(r)"


def _summary(recipe: Recipe, plan: Plan, steps: tuple[Step, ...]) -> dict[str, str]:
    """The recipe's row of the papers' tables, read at a step of its interior."""
    outer = [s for s in steps if not s.inner]
    middle = outer[len(outer) // 2]
    stages = sum(row.step == middle.step for row in plan.rows)
    rules = [_rule(t) for t in recipe.displacements]
    noise = "fresh noise, " + _number(middle.noise) + " of σ_s" if middle.noise else "0"
    return {
        "method": str(recipe),
        "variable": "x_t, the image",
        "estimate": middle.estimate + (f" ({stages} evaluations a step)" if stages > 1 else ""),
        "step": f"β = 1 − σ_s/σ_t, here {_number(middle.size)}",
        "update": (
            "; then ".join(["r = x_t/n_t − S/n_s", *rules])
            if rules
            else "Δ = x_t − S, the step itself"
        ),
        "noise": noise,
    }
