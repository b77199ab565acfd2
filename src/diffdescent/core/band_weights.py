"""Effective weights over the spatial frequency: how much each evaluation counts in the result, band
by band."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

import numpy as np

from diffdescent.base.errors import UserError
from diffdescent.base.notebook import table_html
from diffdescent.base.words import aligned, counted

from .grid import Grid
from .predict import Basis
from .process import Array
from .weights import Chain, effective_weights


@dataclass(frozen=True)
class BandWeights:
    """The weights of the evaluations in the result at each knot of each group of channel axes.

    ``knots`` are radial frequencies (K,), ``groups`` the names of the groups, ``evals`` is (groups,
    K, evaluations) and ``start`` (groups, K) what multiplies x_T.
    """

    name: str
    basis: Basis
    groups: tuple[str, ...]
    knots: tuple[float, ...]
    labels: tuple[str, ...]
    start: Array
    evals: Array

    def __repr__(self) -> str:
        groups, knots = counted(len(self.groups), "group"), counted(len(self.knots), "knot")
        return f"BandWeights({self.name}: {groups} of axes, {knots}, of {self.basis})"

    def _repr_html_(self) -> str:
        """The table, for notebooks."""
        head, cells = self.cells(4)
        return f"<b>{escape(repr(self))}</b>{table_html(head, cells)}"

    def table(self, digits: int = 4) -> str:
        """Plain text: a row for each group and knot, a column for x_T and for each evaluation."""
        head, cells = self.cells(digits)
        return aligned([head, *cells])

    def cells(self, digits: int = 4) -> tuple[list[str], list[list[str]]]:
        """The names of the columns, and the rows."""
        head = ["axes", "ρ", "x_T", *self.labels]
        cells = [
            [
                group,
                f"{knot:.3g}",
                f"{self.start[g, k]:.{digits}f}",
                *(f"{w:.{digits}f}" for w in self.evals[g, k]),
            ]
            for g, group in enumerate(self.groups)
            for k, knot in enumerate(self.knots)
        ]
        return head, cells


def band_weights(recipe: Chain, grid: Grid, *, basis: Basis = "x0") -> BandWeights:
    """The weights of a recipe whose coefficients depend on the frequency.

    Raises :class:`UserError` for one whose coefficients do not, and as
    :func:`~diffdescent.core.weights.effective_weights` does.
    """
    plan = recipe.solver.plan(grid)
    if plan.spectral is None:
        raise UserError(
            f"The coefficients of {plan.name} are the same at every frequency; read its effective"
            " weights."
        )
    axes, bands = plan.spectral.axes, plan.spectral.bands
    found = [
        [effective_weights(recipe, grid, basis=basis, band=(g, k)) for k in range(bands.count)]
        for g in range(axes.count)
    ]
    return BandWeights(
        name=found[0][0].name,
        basis=basis,
        groups=axes.group_names,
        knots=bands.knots,
        labels=found[0][0].labels,
        start=np.array([[w.start[-1] for w in row] for row in found]),
        evals=np.array([[w.result for w in row] for row in found]),
    )
