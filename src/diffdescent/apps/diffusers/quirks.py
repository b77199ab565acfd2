"""What diffusers' schedulers do that no recipe or grid says: a capped last level, steps that do not
meet."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from diffdescent.core.grid import Grid
from diffdescent.core.plan import Plan, basis_at, transfer
from diffdescent.core.process import VP, Array
from diffdescent.core.recipe import Recipe
from diffdescent.core.solvers.adams import PLMS
from diffdescent.core.solvers.ddim import DDIM
from diffdescent.core.transforms import DynamicThreshold, Threshold

from .config import Config, is_flow, own_grid
from .namesakes import Namesake


def capped(config: Config, like: Namesake) -> bool:
    """Whether the last trained level is not pure noise although the config asks for zero SNR."""
    return bool(config["rescale_betas_zero_snr"] and (like.ratios or like.open))


def trained_ratios(config: Config, like: Namesake, process: VP) -> Array:
    """σ̃ of the trained levels as diffusers' scheduler has them.

    With zero terminal SNR its σ̃-schedulers and multistep schedulers take ᾱ = 2⁻²⁴ for the last
    level, where DDIM takes 0.
    """
    table = process.ratio(np.arange(len(process.betas)))
    if capped(config, like):
        table[-1] = math.sqrt(2.0**24 - 1)
    return table


def stride(config: Config, recipe: Recipe, grid: Grid, steps: int) -> int | None:
    """⌊T/N⌋ where diffusers' scheduler steps to t − ⌊T/N⌋ though the next timestep is another one,
    else None.

    Its DDIM and PNDM do: on linspace grids, and on trailing ones where N does not divide T, their
    steps do not meet. Plain ``ddim`` and ``plms`` on the config's own levels reproduce that
    (:func:`unjoined`); with a transform, with η, or on a grid of ours (``grid="linspace"``) a step
    ends where the next one begins.
    """
    plain = all(isinstance(t, (Threshold, DynamicThreshold)) for t in recipe.transforms)
    if is_flow(config) or own_grid(config, recipe) is not None or not plain:
        return None
    solver: Any = recipe.solver
    if solver != DDIM() and not isinstance(solver, PLMS):
        return None
    length = int(config["num_train_timesteps"]) // steps
    return length if (np.diff(grid.t[:-1]) != -length).any() else None


def unjoined(plan: Plan, length: int) -> Plan:
    """The first-order or PLMS ``plan`` with every step from t to t − ``length``, whatever level
    comes next. Its grid ends where its last step does.

    An output a·x + Σ b w_j ε_j keeps its weights w_j and takes the transfer (a, b) of the other
    step.
    """
    process, end = plan.grid.process, plan.grid.points[-1]
    base, rows = plan.grid.points[0], []
    for row in plan.rows:
        (out,) = row.outputs
        begin = row.at.t + (0 if row.at == base else length)  # PLMS evaluates its first step twice
        src = process.point(min(begin, process.t_max))
        dst = process.point(begin - length) if begin >= length else end
        basis = basis_at(src, row.basis)
        (a, b), (_, was) = transfer(src, dst, basis), transfer(base, out.point, basis)
        rows.append(
            replace(
                row,
                outputs=(
                    replace(out, point=dst, base=a, evals=tuple(w * b / was for w in out.evals)),
                ),
            )
        )
        base = out.point if out.commit else base
    last = rows[-1].outputs[-1].point
    return replace(plan, grid=plan.grid.ending_at(last), rows=tuple(rows))
