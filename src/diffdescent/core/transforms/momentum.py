"""Momentum on the sampling update (Jang et al., AAAI 2024, algorithm 2, eqs. 5 and 6).

With S one step of any base sampler and r = x_t/n_t − S/n_s the displacement in VP-normalised
coordinates, n = √(α² + σ²):

    m ← β m + (1 − β) r,      x_s = n_s (x_t/n_t − m)  =  S + n_s β (r − m_prev).

The second form is what runs: at β = 0 the correction is exactly zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, NamedTuple

from torch import Tensor

from diffdescent.core.options import Filled
from diffdescent.core.plan import Plan

from .base import Commit, Displacement, register
from .displacement import Beta, Coordinates, NoiseRule, displacement, norm


class _Memory(NamedTuple):
    m: Tensor | None
    step: int


@register("momentum")
@dataclass(frozen=True)
class Momentum(Displacement):
    """Momentum on the displacement of each step. It is the recursion, which is what the authors ran
    (also for β < 0).

    ``beta`` is one number in (−1, 1) or one per step (the last one repeats). ``warm_start``: m
    starts at the first displacement (True), at zero (False, the paper), or warm where β > 0.5
    (``"auto"``, the released code). ``coords``: the displacement's coordinates; ``noise="outside"``
    leaves a stochastic step's noise out of it.

    Raises:
        UserError: a β outside (−1, 1) and unknown options.
    """

    beta: Beta | Annotated[tuple[Beta, ...], Filled("give one number, or one per step")] = -0.3
    warm_start: bool | Literal["auto"] = "auto"
    coords: Coordinates = "vp"
    noise: NoiseRule = "inside"
    linear: ClassVar[bool] = True
    neutral: ClassVar = {"beta": 0.0}

    @property
    def _betas(self) -> tuple[float, ...]:
        return self.beta if isinstance(self.beta, tuple) else (self.beta,)

    def init(self, plan: Plan) -> _Memory:
        return _Memory(None, 0)

    def update(self, state: _Memory, commit: Commit) -> tuple[Tensor, _Memory]:
        beta = self._betas[min(state.step, len(self._betas) - 1)]
        r = displacement(commit, self.coords, self.noise)
        n_s = norm(commit.dst, self.coords)
        if state.m is None:
            warm = beta > 0.5 if self.warm_start == "auto" else self.warm_start
            change = r if not warm else r * 0  # m_prev is 0, or r itself
        else:
            change = r - state.m
        return commit.proposal.add(change, alpha=n_s * beta), _Memory(
            r.sub_(change, alpha=beta), state.step + 1
        )
