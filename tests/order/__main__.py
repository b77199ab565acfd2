"""``python -m tests.order [NAME]``: the table of declared and measured orders."""

from __future__ import annotations

import sys

from tests.order.measure import settled_slope, signed_error, slopes
from tests.order.test_deterministic import SPACINGS
from tests.order.test_stochastic import errors
from tests.registry import deterministic, learned, solvers, stochastic


def main(part: str = "") -> None:
    print(
        "declared: Gaussians/mixtures; interior and cold, on uniform, smooth and alternating grids"
    )
    for case in solvers(deterministic):
        if part not in str(case.id):
            continue
        solver, cells = case.values[0], []
        for cold in (False, True):
            for spacing in SPACINGS:
                linear, bent = slopes(
                    lambda n, k=solver, s=spacing, c=cold: signed_error(k, s, n, cold=c)
                )
                cells.append(f"{solver.order_on(spacing, cold)}: {linear:.2f}/{bent:.2f}")
        print(f"{case.id:46s} {solver.variable:7s} " + "  ".join(cells), flush=True)
    print("declared: variance of the marginal, from a cold start on a uniform grid")
    for case in solvers(lambda s: stochastic(s) and not learned(s)):
        if part in str(case.id):
            solver = case.values[0]
            order = settled_slope(
                lambda n, k=solver: float(errors(k, n)[1].norm()), (12, 24, 48, 96, 192)
            )
            print(
                f"{case.id:46s} {solver.variable:7s} {solver.order_on('uniform', cold=True)}:"
                f" {order:.2f}"
            )


if __name__ == "__main__":
    main(*sys.argv[1:2])
