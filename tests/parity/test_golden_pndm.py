"""PNDM: the official code (F-PNDM, S-PNDM, FON, DDIM)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from diffdescent.core.grid import Grid, explicit
from diffdescent.core.predict import Prediction, conversion
from diffdescent.core.process import VE, VP, Array, ArrayLike, Point
from diffdescent.core.solvers.adams import PLMS
from diffdescent.core.solvers.ddim import DDIM
from diffdescent.core.solvers.pndm import PNDM
from tests.parity.golden import Case, Exact, cases, common, compare, mixture_eps, run, start


class OneLater(VP):
    """The official code's off-by-one: the state at time t has ᾱ of index t + 1, cut to an integer;
    ᾱ_0 at t = −1."""

    def alpha_sigma(self, t: ArrayLike) -> tuple[Array, Array]:
        bar = common("abar_linear")[(np.asarray(t, dtype=np.float64) + 1).astype(int)]
        return np.sqrt(bar), np.sqrt(1 - bar)


def _grid(case: Case) -> Grid:
    return explicit(OneLater(), np.append(case["grid_t"], case["grid_t_next"][-1]))


def _asked(point: Point) -> tuple[float, float]:
    """The network is told t, and so sees ᾱ_t."""
    exact = VP.named().point(point.t)
    return exact.alpha, exact.sigma


@cases("pndm_official", lambda e: e["options"]["method"] != "FON")
def test_pndm(case: Case) -> None:
    solver = {"F-PNDM": PNDM(), "S-PNDM": PLMS("heun", order=2), "DDIM": DDIM()}[
        case.options["method"]
    ]
    grid = _grid(case)
    ours = run(solver.plan(grid), start(), model=Exact(level=_asked))
    assert np.array_equal([p.t for p in ours.asked], case["calls"][:, 0])
    compare(case, ours, states=ours.steps if len(case["x"]) == grid.steps else None, calls=False)


@dataclass
class Slope:
    """dx/dt of the official code: −(φ(x, ε, t, t − 1) − x), minus because t falls.

    In the twelve evaluations of the Runge–Kutta start it takes x and t of the step's beginning,
    with ε of the stage.
    """

    x: Tensor | None = None
    t: float = 0.0
    count: int = 0

    def __call__(self, x: Tensor, point: Point) -> Prediction:
        eps = mixture_eps(x, *_asked(Point(point.sigma - 1, 0, 0)))
        if self.x is None or self.count >= 12 or self.count % 4 == 0:
            self.x, self.t = x, point.sigma - 1
        self.count += 1
        src, dst = OneLater().point(self.t), OneLater().point(self.t - 1)
        ratio = dst.alpha / src.alpha
        moved = self.x * ratio + eps * (dst.sigma - src.sigma * ratio)
        return Prediction(self.x - moved, conversion("eps", point))


@cases("pndm_official", lambda e: e["options"]["method"] == "FON")
def test_fourth_order_numerical(case: Case) -> None:
    """FON applies the same start and multistep method to dx/dt in native coordinates.

    That is PNDM for the process α = 1, σ = t + 1, in which the slope takes the place of ε.
    """
    grid = explicit(VE(), np.append(case["grid_t"], -1) + 1.0)
    ours = run(PNDM().plan(grid), start(), model=Slope())
    compare(case, ours, states=ours.steps if len(case["x"]) == grid.steps else None, calls=False)
