"""DEIS as released, whose integrals are left Riemann sums of 10000 points (the option
``points``)."""

from __future__ import annotations

import math

import numpy as np

from diffdescent.core.grid import explicit
from diffdescent.core.process import VP, Array, ArrayLike, VPContinuous
from diffdescent.core.solvers import Solver
from diffdescent.core.solvers.adams import IPNDM
from diffdescent.core.solvers.deis import DEIS
from diffdescent.core.solvers.runge_kutta import RhoRK
from tests.parity.golden import Case, cases, compare, error, run, start


class LinearAlphaBar(VP):
    """The reference's discrete SDE: ᾱ itself, not its logarithm, is linear between integer
    times."""

    def _bar(self, t: ArrayLike) -> Array:
        return np.interp(t, np.arange(len(self.betas)), self.alpha_bar)

    def alpha_sigma(self, t: ArrayLike) -> tuple[Array, Array]:
        bar = self._bar(t)
        return np.sqrt(bar), np.sqrt(1 - bar)

    def ratio_slope(self, t: ArrayLike) -> Array:
        bar = self._bar(t)
        piece = np.minimum(np.floor(t).astype(int), len(self.betas) - 2)
        return -0.5 * np.diff(self.alpha_bar)[piece] / (bar**1.5 * np.sqrt(1 - bar))

    def t_of_ratio(self, ratio: ArrayLike) -> Array:
        bar = 1 / (1 + np.asarray(ratio) ** 2)
        return np.interp(-bar, -self.alpha_bar, np.arange(len(self.betas)))


def _solver(case: Case) -> Solver:
    options = case.options
    if options["method"] == "ipndm":
        return IPNDM(order=4)
    if options["method"] == "rho_rk":
        order, name = options["rk_method"][:1], options["rk_method"][1:]  # "3heun"
        return RhoRK(name if name == "euler" else name + order)
    variant = {"t_ab": "tab", "rho_ab": "rhoab"}[options["method"]]
    return DEIS(order=options["ab_order"] + 1, variant=variant, points=10000)


@cases("deis")
def test_deis(case: Case) -> None:
    process = VPContinuous() if case.options["sde"].startswith("VPSDE") else LinearAlphaBar()
    grid = explicit(process, case["grid_t"])
    assert error(grid.alpha**2, case["grid_alpha"]) < 1e-6
    plan = _solver(case).plan(grid)
    if "coef" in case:
        for row, expected in zip(plan.rows, case["coef"], strict=True):
            out = row.outputs[0]
            ours = np.array([out.base, *out.evals])
            if case.options["method"] == "rho_ab":  # the reference's table is that of x/α
                ours = np.array([1.0, *(ours[1:] / out.point.alpha)])
            assert error(ours, expected[: 1 + len(out.evals)]) < (
                1e-4 if case.tol > 1e-9 else 1e-10
            )
            assert not expected[1 + len(out.evals) :].any()
    compare(case, run(plan, start()))


@cases("deis", lambda e: e["options"]["method"] in ("t_ab", "rho_ab") and "native32" not in e["id"])
def test_exact_integrals_are_near(case: Case) -> None:
    """With the integrals to all digits the result moves by no more than the reference's quadrature
    error."""
    process = VPContinuous() if case.options["sde"].startswith("VPSDE") else LinearAlphaBar()
    solver = DEIS(order=case.options["ab_order"] + 1, variant=_solver(case).variant)  # type: ignore[attr-defined]
    ours = run(solver.plan(explicit(process, case["grid_t"])), start())
    assert error(ours.final, case["x_final"]) < 1e-3
    assert math.isfinite(float(ours.final.sum()))
