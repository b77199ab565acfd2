"""``diffdescent theory schedule``: admissible noise schedules."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diffdescent.base.errors import UserError

from ..options import Json, OverwriteFile
from ..processes import ProcessName, process_named

if TYPE_CHECKING:
    from diffdescent.core.process import Array


def schedule(
    eta: Annotated[float, typer.Option(help="The relative error η.")],
    nu: Annotated[float, typer.Option(help="The band ν: dist/ν ≤ √nσ ≤ ν·dist.")],
    steps: Annotated[int, typer.Option(help="Steps.")] = 10,
    ratio: Annotated[float | None, typer.Option(help="By which factor σ/α should fall.")] = None,
    grid: Annotated[
        str | None, typer.Option("--check", help="Check this grid, e.g. loglinear.")
    ] = None,
    process: ProcessName = "linear",
    plot: Annotated[
        Path | None, typer.Option(help="Draw the checked (or the steepest) schedule to this file.")
    ] = None,
    overwrite: OverwriteFile = False,
    as_json: Json = False,
) -> None:
    """Which noise schedules are (η, ν)-admissible.

    Says the greatest step, how far that many steps lower the noise, the least number of steps,
    and checks a grid.
    """
    from diffdescent.core.recipe import parse_grid
    from diffdescent.lab.theory import schedules

    from ..results import check_new, finite

    check_new(plot, overwrite, "--plot")
    known = process_named(process)
    beta = schedules.greatest_step(eta, nu, steps)
    factor, limit = schedules.greatest_factor(eta, nu, steps), schedules.greatest_factor(eta, nu)
    result: dict[str, Any] = {
        "eta": eta,
        "nu": nu,
        "steps": steps,
        "beta": beta,
        "reach": finite(factor),
        "reach_of_any_schedule": finite(limit),
    }
    lines = [
        f"The greatest constant step for {steps} steps: β* = {beta:.5g} (σ/α × {1 - beta:.5g} a"
        f" step), which lowers σ/α by a factor of {factor:.6g}; any number of steps of any"
        f" schedule: by less than {limit:.6g}."
    ]
    if ratio is not None:
        result["least_steps"] = schedules.least_steps(eta, nu, ratio)
        result["statement"] = schedules.statement(eta, nu, ratio)
        lines.append(result["statement"])
    levels, title = None, f"The steepest schedule of {steps} steps"
    if grid is not None:
        found = parse_grid(grid, known, steps)
        levels, title = found.ratio, f"{found.name}, {found.steps} steps"
        outcome = schedules.check(levels, eta, nu)
        result |= {
            "grid": grid,
            "admissible": outcome.admissible,
            "fails_at": outcome.step,
            "side": outcome.side,
        }
        result["check"] = outcome.sentence(levels)
        lines.append(f"{title}: {result['check']}")
    if plot is not None:
        from diffdescent.lab.theory.pictures import draw_check

        if levels is None:
            levels = _steepest(factor, steps)
        outcome = schedules.check(levels, eta, nu)
        draw_check(
            levels,
            outcome,
            plot,
            f"{title}: {'admissible' if outcome.admissible else 'not admissible'}",
        )
    typer.echo(json.dumps(result) if as_json else "\n".join(lines))
    if plot is not None:
        typer.echo(f"Wrote {plot}", err=True)


def _steepest(factor: float, steps: int) -> Array:
    """The log-linear ratios of ``steps`` steps over the range that is allowed."""
    if not 1 < factor < math.inf:
        why = "one step is enough (η = 0)" if factor > 1 else "no step is allowed (ν = 1)"
        raise UserError(
            f"There is no steepest schedule to draw, since {why}; give --check, or other η and ν."
        )
    import numpy as np

    return np.geomspace(1.0, 1 / factor, steps + 1)
