"""Splitting methods without noise in the state: alternating projections, half-quadratic splitting
and ADMM with a denoiser as the prior's proximal map (plug and play).

With v_k = D(state_k) the denoiser's answer and prox_ρ(x) = argmin_x' ‖y − A x'‖² + ρ_k‖x' − x‖²:

    POCS (Youla and Webb 1982)            x_{k+1} = Π(v_k),              state = x_{k+1}
    HQS  (Zhang et al. 2021, DPIR, eq. 6) x_{k+1} = prox_ρ(v_k),         state = x_{k+1}
    ADMM (Chan et al. 2017, eqs. 3 to 5)  u_k = u_{k−1} + x_k − v_k,
                                          x_{k+1} = prox_ρ(v_k − u_k),   state = x_{k+1} + u_k

The state of a step is the estimate itself, without the noise of its level: the grid is the
schedule of the denoiser's strength. POCS is HQS with ρ = 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.measurement import Measurement
from diffdescent.core.plan import Plan
from diffdescent.core.transforms.base import Commit, Displacement

from .line import read
from .proximal import Penalty


class Split(NamedTuple):
    """The multiplier u and the last x, and how many steps are left after the next one."""

    u: Tensor | None
    x: Tensor | None
    left: int


@dataclass(frozen=True)
class Splitting(Displacement):
    """POCS, HQS or ADMM; see the module. ``dual`` keeps the multiplier u, which makes it ADMM.

    The denoiser's answer is read off the sampler's step. The last step commits x without u.
    ``weight`` mixes with the sampler's own step. Raises :class:`UserError` for samplers that use
    earlier evaluations or inner states: each step starts anew from an image without noise, which
    is not on the path that such a sampler extrapolates.
    """

    measurement: Measurement
    penalty: Penalty
    dual: bool = False
    weight: float = 1.0
    name: ClassVar[str] = "splitting"
    linear: ClassVar[bool] = False

    def init(self, plan: Plan) -> Split:
        if self.weight and not (
            plan.single and all(len(r.outputs[0].evals) < 2 for r in plan.rows)
        ):
            raise UserError(
                f"{plan.name} extrapolates a path of noisy states, and this method restarts each"
                " step from an image without noise; use pocs, hqs and admm over ddim or ddpm."
            )
        return Split(None, None, plan.steps - 1)

    def update(self, state: Split, commit: Commit) -> tuple[Tensor, Split]:
        v = read(commit, "a splitting method").x0
        u = torch.zeros_like(v) if state.u is None or state.x is None else state.u + state.x - v
        if not self.dual:
            u = torch.zeros_like(v)
        rho = self.penalty.at(commit.src)
        x = self.measurement.proximal(v - u, rho, "a splitting method")
        new = (x + u if state.left else x) * commit.dst.alpha
        out = commit.proposal + (new - commit.proposal) * self.weight
        return out, Split(u, x, state.left - 1)
