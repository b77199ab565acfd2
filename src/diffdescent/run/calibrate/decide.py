"""Which sampler is written: the fitted one, judged as its file says it, or the best fixed one."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from diffdescent.base.statistics import Estimate
from diffdescent.base.version import __version__
from diffdescent.core.solvers.calibrated import plan_of
from diffdescent.core.spectrum import Curves
from diffdescent.core.spectrum.fitted import FittedRow, FittedSolver

from .fixed import Rival
from .judge import distances, entries, mean_of, nearer
from .local import LocalFit
from .loss import DISTANCE, Loss
from .shape import Shape
from .subject import Subject
from .teacher import Trajectories

DIGITS = 8
"""Coefficients are rounded to so many significant digits before they are judged: what is judged is
what is written."""


def decide(
    subject: Subject,
    held: Trajectories,
    fit: LocalFit,
    form: Shape,
    rival: Rival,
    loss: Loss = DISTANCE,
) -> tuple[dict[str, Any], bool, tuple[Estimate, Estimate, Estimate]]:
    """The report, whether the fixed sampler stays, and the three intervals: both distances in
    pixels, and the paired difference of the losses, which decides."""
    images = [_images(subject, held, fit, form)]
    images.append(subject.run(rival.plan, held.noise, held.cond)[-1])
    fitted, opponent = (mean_of(distances(one, held.end)) for one in images)
    losses = [loss.values(loss.distances(one, held.end)) for one in images]
    difference, better = nearer(*losses)
    fixed = not (better and math.isfinite(difference.value) and math.isfinite(fitted.value))
    report: dict[str, Any] = {
        "measure": "mean over held-out noises of the root mean square distance to the teacher",
        "held_out": len(held),
        "rmse": entries(opponent if fixed else fitted),
        **({"not_kept": {"rmse": entries(fitted)}} if fixed else {}),
        "fixed": {"recipe": rival.recipe, "grid": rival.grid, "rmse": entries(opponent)},
        "difference": entries(difference),
        "kept": "fixed" if fixed else "calibrated",
    }
    if loss.text != DISTANCE.text:
        ours, theirs = (entries(mean_of(one)) for one in losses)
        report["loss"] = {"name": loss.text, "calibrated": ours, "fixed": theirs}
    return report, fixed, (fitted, opponent, difference)


def held_loss(
    subject: Subject, held: Trajectories, fit: LocalFit, form: Shape, loss: Loss
) -> float:
    """The mean loss of a fit on other noises; infinite where an image is not finite."""
    return loss.mean(_images(subject, held, fit, form), held.end)


def _images(subject: Subject, held: Trajectories, fit: LocalFit, form: Shape) -> Tensor:
    """What a fit makes of other noises, through the file's numbers and the executor."""
    solver = fitted_solver("fit", fit, form, {}, {}, {})
    plan = plan_of(solver, subject.grid((*solver.levels, solver.end)))
    return subject.run(plan, held.noise, held.cond)[-1]


def fitted_solver(
    title: str,
    fit: LocalFit,
    form: Shape,
    described: dict[str, Any],
    how: dict[str, Any],
    report: dict[str, Any],
) -> FittedSolver:
    rows = tuple(FittedRow(_rounded(r.base), tuple(map(_rounded, r.evals))) for r in fit.rows)
    return FittedSolver(
        title, fit.asked, fit.end, form.axes, form.bands, _rounded(fit.start), rows,
        described, how, report, __version__,
    )  # fmt: skip


def _rounded(curves: Curves) -> Curves:
    return tuple(tuple(float(f"{v:.{DIGITS}g}") for v in curve) for curve in curves)
