"""A solver whose rows were fitted to one model and are read from a file (``diffdescent
calibrate``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from diffdescent.base.errors import UserError
from diffdescent.core.grid import Grid
from diffdescent.core.namespace import RECIPE_NAMES
from diffdescent.core.options import Options
from diffdescent.core.plan import Output, Plan, Row
from diffdescent.core.process import Point
from diffdescent.core.spectrum.bundled import sampler_file
from diffdescent.core.spectrum.fitted import FittedRow, FittedSolver, load_fitted
from diffdescent.core.spectrum.rows import Curves, Spectral

from .base import Spacing, Variable

CLOSE = 1e-6
"""How far the levels of a grid may lie from the file's, relatively."""


def plan_of(fitted: FittedSolver, grid: Grid, name: str = "calibrated") -> Plan:
    """The rows of a fitted solver on its own levels.

    With y = x/α the file says y' = base(f)·y + Σ_j evals_j(f)·ε_j, so x' = α'(base/α·x + Σ_j
    evals_j ε_j). Where there is one knot and one group the rows are plain numbers.

    Raises :class:`UserError` for a grid with other levels than the file's.
    """
    ratios = np.array([*fitted.levels, fitted.end])
    same = len(grid.ratio) == len(ratios) and bool(
        np.allclose(grid.ratio, ratios, rtol=CLOSE, atol=1e-12)
    )
    if not same:
        raise UserError(
            f"{fitted.name!r} was fitted for its own {len(fitted.levels)} noise levels"
            f" ({', '.join(f'{r:.4g}' for r in fitted.levels)}) and cannot run on the grid"
            f" {grid.name!r}; leave the grid out (and start from noise, not from an image)."
        )
    points = grid.points
    rows = []
    for i, (row, src, dst) in enumerate(zip(fitted.rows, points[:-1], points[1:], strict=True)):
        count = len(fitted.rows[i + 1].evals) - 1 if i + 1 < len(fitted.rows) else 0
        out = _output(fitted, row, dst, dst.alpha / src.alpha, dst.alpha)
        rows.append(Row(i, src, "eps", (out,), tuple(range(count)), order=len(row.evals)))
    first = _output(fitted, FittedRow(fitted.start), points[0], 1.0, 1.0)
    unscaled = all(v == 1 for curve in fitted.start for v in curve)
    start = () if unscaled else (first,)
    return Plan(grid, tuple(rows), start, name)


def _output(
    fitted: FittedSolver, row: FittedRow, dst: Point, on_base: float, on_evals: float
) -> Output:
    base, evals = _times(row.base, on_base), tuple(_times(c, on_evals) for c in row.evals)
    if fitted.bands.count == 1 and fitted.axes.count == 1:
        return Output(dst, base=base[0][0], evals=tuple(c[0][0] for c in evals))
    spectral = Spectral(fitted.axes, fitted.bands, base, evals)
    return Output(
        dst,
        base=spectral.mean(base),
        evals=tuple(map(spectral.mean, evals)),
        spectral=spectral,
    )


def _times(curves: Curves, factor: float) -> Curves:
    return tuple(tuple(factor * v for v in curve) for curve in curves)


@dataclass(frozen=True)
class Calibrated(Options):
    """``calibrated("FILE")``: the sampler that :func:`diffdescent.run.calibrate.calibrate` wrote;
    the name of a bundled one (``calibrated("mnist-unlabelled-5")``) stands for its file.

    Its number of evaluations and its noise levels are the file's. With ``strict`` another model,
    guidance or image size than those of the fit is an error; else it is a warning.

    Raises :class:`UserError` for a file that is missing, damaged, or not one of these.
    """

    file: str
    strict: bool = False
    fitted: FittedSolver = field(init=False, repr=False, compare=False)
    name: ClassVar[str] = "calibrated"
    variants: ClassVar[tuple[Mapping[str, Any], ...]] = ()
    variable: ClassVar[Variable] = "sigma"
    stochastic: ClassVar[bool] = False
    order: ClassVar[int] = 1
    cold_order: ClassVar[int] = 1
    keeps_variance: ClassVar[bool] = False
    solves_points: ClassVar[bool] = False

    def check_together(self) -> None:
        object.__setattr__(self, "fitted", load_fitted(sampler_file(self.file)))

    @property
    def contents(self) -> Mapping[str, str]:
        return {self.file: self.fitted.digest}

    @cached_property
    def grid(self) -> str:
        """The text of the grid that the file was fitted on."""
        ratios = ", ".join(map(repr, (*self.fitted.levels, self.fitted.end)))
        return f"explicit(ratio=[{ratios}])"

    def order_on(self, spacing: Spacing, cold: bool = False) -> int:
        """Fitted coefficients have no order of convergence."""
        return 1

    def plan(self, grid: Grid) -> Plan:
        return plan_of(self.fitted, grid, f"calibrated({self.fitted.name})")


RECIPE_NAMES.add("fitted solver", Calibrated.name, Calibrated)
