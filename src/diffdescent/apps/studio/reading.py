"""What can be read off a recipe without a network: levels, weights, E-step and PM-step, order,
admissible range."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from diffdescent.apps.cli.draw_weights import draw_bands, draw_weights
from diffdescent.base.errors import UserError
from diffdescent.core.band_weights import band_weights
from diffdescent.core.recipe import parse
from diffdescent.lab.explain import SGD, SGD_MOMENTUM, Explanation, explain
from diffdescent.lab.theory import schedules
from diffdescent.run import Run

from .pictures import draw_levels, drawn
from .state import Reading

ROWS = {
    "variable": "u",
    "estimate": "E-step: the estimate of the gradient",
    "step": "step size",
    "update": "PM-step: the update",
    "noise": "noise",
}
"""The rows of the papers' table, by the names of :attr:`Explanation.summary`."""


@dataclass(frozen=True)
class Read:
    """One recipe on its grid. ``weights`` is the heat map of its effective weights, ``bands`` those
    of its result over the frequency where it has them; ``problem`` says why there are none."""

    name: str
    run: Run
    found: Explanation | None
    weights: bytes | None
    bands: bytes | None
    problem: str | None

    @property
    def order(self) -> str:
        """Order and error constant, in a sentence."""
        if self.found is None:
            return ""
        linear = self.found.linear
        if linear is None:
            return f"No linear multistep method: {self.found.why_not_linear}."
        over = "" if linear.over_euler is None else f", {linear.over_euler:.4g} of Euler's"
        return (
            f"On equal small steps of {linear.variable}: order {linear.order}, error constant"
            f" {linear.constant:.4g}{over}."
        )


def read(name: str, run: Run) -> Read:
    """Read a prepared run; guidance is left out, since it belongs to the model."""
    recipe = parse(run.asked)
    try:
        found = explain(recipe, run.grid)
        weights = drawn(partial(draw_weights, found.weights))
        spectral = recipe.solver.plan(run.grid).spectral is not None
        bands = drawn(partial(draw_bands, band_weights(recipe, run.grid))) if spectral else None
    except UserError as error:
        return Read(name, run, None, None, None, str(error))
    return Read(name, run, found, weights, bands, None)


def levels(reads: Sequence[Read]) -> bytes:
    """The noise levels of all recipes on one axis, as PNG."""
    return drawn(partial(draw_levels, [(one.name, one.run.plan) for one in reads]))


def table(reads: Sequence[Read]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the E-step/PM-step table: SGD, SGD with momentum, and the recipes."""
    methods = [SGD, SGD_MOMENTUM, *(one.found.summary for one in reads if one.found is not None)]
    rows = [[label, *(method[key] for method in methods)] for key, label in ROWS.items()]
    return ["", *(method["method"] for method in methods)], rows


def admissible(one: Read, model: Reading) -> str:
    """Whether the grid is admissible under the error model, and which range it could be: in two
    sentences. The end at σ = 0, where no error would be allowed, is left out.

    Raises :class:`UserError` for η < 0 and ν < 1.
    """
    ratios = one.run.grid.ratio
    ratios = ratios[ratios > 0]
    most = schedules.greatest_factor(model.eta, model.nu, max(1, len(ratios) - 1))
    if len(ratios) < 2:
        return f"One step is admissible over a factor of {most:.4g} in σ/α."
    outcome = schedules.check(ratios, model.eta, model.nu)
    return (
        f"{outcome.sentence(ratios)} These {len(ratios) - 1} steps lower σ/α by a factor of"
        f" {ratios[0] / ratios[-1]:.4g}; {len(ratios) - 1} admissible ones lower it by at most"
        f" {most:.4g}."
    )
