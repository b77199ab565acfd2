"""Momentum does not solve a constant denoiser exactly; it has an identity of its own, and a known
remainder."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from diffdescent.core.grid import explicit
from diffdescent.core.plan import Plan
from diffdescent.core.process import VPContinuous
from diffdescent.core.solvers import Solver
from diffdescent.core.solvers.ddim import DDIM
from diffdescent.core.transforms import Commit, Displacement, Momentum, PositiveNegative
from diffdescent.core.weights import effective_weights
from tests.contract.setups import GRIDS, run, state
from tests.registry import learned, solvers


@dataclass
class Steps(Displacement):
    """Records the displacements x_t/n_t − x_s/n_s of what reaches it, changing nothing."""

    seen: list[Tensor] = field(default_factory=list)
    name: ClassVar[str] = "steps"
    linear: ClassVar[bool] = True

    def init(self, plan: Plan) -> None:
        return None

    def update(self, state: None, commit: Commit) -> tuple[Tensor, None]:
        self.seen.append(commit.base / commit.src.norm - commit.proposal / commit.dst.norm)
        return commit.proposal, None


@pytest.mark.parametrize("warm", [True, False])
@pytest.mark.parametrize("beta", [-0.8, -0.3, 0.2, 0.7])
@pytest.mark.parametrize("solver", solvers(lambda s: not learned(s) and s == type(s)()))
def test_sum_of_the_moves(solver: Solver, beta: float, warm: bool) -> None:
    """Σm = Σr − β/(1−β)·(m_end − m_start), over any solver: r before momentum, m after it; m_start
    is r_1 or 0."""
    grid = GRIDS["vp continuous"]
    before, after = Steps(), Steps()
    chain = [before, Momentum(beta, warm_start=warm), after]
    run(solver.plan(grid), state(2, grid), displacements=chain)
    r, m = before.seen, after.seen
    m_start = r[0] if warm else torch.zeros_like(r[0])
    gap = torch.stack(m).sum(0) - torch.stack(r).sum(0) + beta / (1 - beta) * (m[-1] - m_start)
    assert float(gap.abs().max()) < 1e-12
    for m_before, (r_now, m_now) in pairwise([(None, m_start), *zip(r, m, strict=True)]):
        assert torch.allclose(m_now, beta * m_before[1] + (1 - beta) * r_now, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("beta", "left"), [(-0.3, 0.09), (-0.8, 0.22)])
def test_noise_left_at_the_end(beta: float, left: float) -> None:
    """VP, ten evaluations uniform in t from 1 to 0.002, then σ = 0: the share of the initial noise
    that stays."""
    grid = explicit(VPContinuous(), np.append(np.linspace(1, 0.002, 10), 0.0))
    weights = effective_weights(DDIM().plan(grid), transforms=[Momentum(beta)])
    assert round(float(weights.noise_left[-1]), 2) == left
    assert float(effective_weights(DDIM().plan(grid)).noise_left[-1]) < 1e-12


@pytest.mark.parametrize("b", [0.3, 0.8])
def test_gains_of_the_two_forms(b: float) -> None:
    """A constant displacement: gain 1 for the recursion, (1 + b − b²)/(1 − b) for eqs. 7–8, 1 when
    normalised.

    Unit white noise in the displacements: variance (1+b)/(1−b) for the recursion with β = −b, (1 −
    β)² Σ_k β^2k.
    """
    steps = 60
    point = GRIDS["ve, narrow"].points[0]

    def response(transform: Momentum | PositiveNegative, moves: Tensor) -> Tensor:
        """What becomes of the displacements ``moves`` (one per row), each applied to a state at
        rest."""
        memory, out = transform.init(DDIM().plan(GRIDS["ve, narrow"])), []
        for i, r in enumerate(moves):
            base = torch.zeros(1, len(r), dtype=torch.float64)
            new, memory = transform.update(memory, Commit(i, base, point, base - r, point, None))
            out.append((base - new)[0])
        return torch.stack(out)

    constant = torch.ones(steps, 1, dtype=torch.float64)
    recursion = Momentum(-b, warm_start=False, coords="native")
    sums, normalised = (PositiveNegative(-b, normalise=n, coords="native") for n in (False, True))
    assert float(response(recursion, constant)[-1]) == pytest.approx(1, abs=1e-5)
    assert float(response(sums, constant)[-1]) == pytest.approx((1 + b - b * b) / (1 - b), abs=1e-5)
    assert torch.allclose(response(normalised, constant), constant, rtol=0, atol=1e-12)

    impulses = torch.eye(steps, dtype=torch.float64)
    weights = response(recursion, impulses)[-1]
    assert float((weights**2).sum()) == pytest.approx((1 + b) / (1 - b), rel=1e-5)
    # (1 − β)β^k, newest last
    expected = (1 + b) * (-b) ** torch.arange(steps - 1, -1, -1, dtype=torch.float64)
    assert torch.allclose(weights, expected, rtol=0, atol=1e-12)
    assert float((response(sums, impulses)[-1] ** 2).sum()) == pytest.approx(
        {0.3: 2.89, 0.8: 20.0}[b], rel=0.01
    )
