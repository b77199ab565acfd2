"""The table of effective weights: what it holds, and how it is read and printed."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

import numpy as np

from diffdescent.base.notebook import table_html
from diffdescent.base.words import aligned, counted

from .predict import Basis
from .process import Array, Point


@dataclass(frozen=True)
class Weights:
    """The coefficients of every committed state; float64.

    ``start`` (S,) multiplies x_T, ``evals`` (S, E) the evaluations in the order in which they are
    taken, ``noise`` (S, D) the unit noise draws, for S committed states at the levels ``points``.
    ``at`` are the levels and ``steps`` the steps of the E evaluations, ``draws`` the (step, draw)
    of the noise. The last state is the result.
    """

    name: str
    basis: Basis
    first: Point
    points: tuple[Point, ...]
    at: tuple[Point, ...]
    steps: tuple[int, ...]
    draws: tuple[tuple[int, int], ...]
    start: Array
    evals: Array
    noise: Array

    def __repr__(self) -> str:
        made = f"{counted(len(self.points), 'step')}, {counted(len(self.at), 'evaluation')}"
        return f"Weights({self.name}: {made}, of {self.basis})"

    def _repr_html_(self) -> str:
        """The table with its weights in colour, for notebooks."""
        head, cells = self.cells(4)
        largest = float(np.abs(self.evals).max()) or 1.0
        shades = [
            [0.0] * 3 + (row / largest).tolist() + [0.0] * (len(head) - 3 - len(row))
            for row in self.evals
        ]
        summary = escape(self.summary).replace("\n", "<br>")
        return f"<p>{summary}</p>{table_html(head, cells, shades)}"

    @property
    def result(self) -> Array:
        """The weights of the evaluations in the result, (E,)."""
        return np.asarray(self.evals[-1])

    @property
    def labels(self) -> tuple[str, ...]:
        """One short name per evaluation: ``t=749`` for the step's own, with a prime for every
        further one."""
        names: list[str] = []
        for i, point in enumerate(self.at):
            earlier = sum(s == self.steps[i] for s in self.steps[:i])
            names.append(f"t={_short(point.t)}" + "'" * earlier)
        return tuple(names)

    @property
    def noise_left(self) -> Array:
        """The standard deviation of the noise in each state over a constant x0: √((w_T·σ_T)² + Σ
        v_k²), (S,).

        Read it from x0 weights: the estimates then hold no noise.
        """
        return np.asarray(np.sqrt((self.start * self.first.sigma) ** 2 + (self.noise**2).sum(1)))

    @property
    def summary(self) -> str:
        """Four lines about the result, for people."""
        w, kind = self.result, "x0" if self.basis == "x0" else "ε"
        top = int(np.abs(w).argmax())
        steps = len(self.points) - (self.points[0] == self.first)  # a scaled start is not a step
        lines = [
            (
                f"{self.name}: {steps} steps, {len(self.at)} evaluations,"
                f" {len(self.draws)} noise draws"
            ),
            (
                f"result = {self.start[-1]:+.4g}·x_T, {kind} weights summing to {w.sum():+.6g} "
                f"(negative ones {w[w < 0].sum():+.4g})"
            ),
            f"largest weight {w[top]:+.4g} at {self.labels[top]}; Σ|w| = {np.abs(w).sum():.4g}",
        ]
        if self.basis == "x0":
            own = self.points[-1].sigma
            lines.append(
                f"noise left at the end: {self.noise_left[-1]:.4g} (the level's own is {own:.4g})"
            )
        return "\n".join(lines)

    def table(self, digits: int = 4) -> str:
        """Plain text: a row per committed state, a column for x_T and for each evaluation (and one
        for √Σv²)."""
        head, cells = self.cells(digits)
        return aligned([head, *cells])

    def cells(self, digits: int = 4) -> tuple[list[str], list[list[str]]]:
        """The names of the columns, and the rows."""
        head = ["t", "σ/α", "x_T", *self.labels]
        columns = [self.start[:, None], self.evals]
        if self.draws:
            head.append("noise")
            columns.append(np.sqrt((self.noise**2).sum(1, keepdims=True)))
        cells = [
            [_short(p.t), f"{p.ratio:.4g}", *("·" if v == 0 else f"{v:.{digits}f}" for v in row)]
            for p, row in zip(self.points, np.hstack(columns), strict=True)
        ]
        return head, cells


def _short(t: float) -> str:
    """A time for people; the last bits of a level found by inversion are not for them."""
    return f"{round(t, 9) + 0.0:.4g}"
