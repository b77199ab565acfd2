"""Momentum on the sampling update, heavy-ball and positive-negative (Jang et al., AAAI 2024,
algorithm 2, eqs. 5–8).

With S one step of any base sampler and r = x_t/n_t − S/n_s the displacement in VP-normalised
coordinates, n = √(α² + σ²):

    m ← β m + (1 − β) r,      x_s = n_s (x_t/n_t − m)  =  S + n_s β (r − m_prev).

The second form is what runs: at β = 0 the correction is exactly zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

from torch import Tensor

from diffdescent.base.errors import UserError, unknown
from diffdescent.core.plan import Plan
from diffdescent.core.process import Point

from .base import Commit

Coordinates = Literal["vp", "ve", "native"]


def _norm(point: Point, coords: Coordinates) -> float:
    if coords == "vp":
        return point.norm
    return point.alpha if coords == "ve" else 1.0


def _displacement(commit: Commit, coords: Coordinates, noise: str) -> Tensor:
    n_t, n_s = _norm(commit.src, coords), _norm(commit.dst, coords)
    r = (commit.base * (1 / n_t)).sub_(commit.proposal, alpha=1 / n_s)
    if noise == "outside" and commit.noise is not None:
        r.add_(commit.noise, alpha=1 / n_s)
    return r


def _check(beta: float, coords: str, noise: str) -> None:
    if not -1 < beta < 1:
        raise UserError(
            f"momentum's beta must lie in (−1, 1), not {beta}; the paper's settings are −0.3, 0.2"
            " and −0.8."
        )
    if coords not in ("vp", "ve", "native"):
        raise unknown("coordinate system", coords, ("vp", "ve", "native"))
    if noise not in ("inside", "outside"):
        raise unknown("noise rule", noise, ("inside", "outside"))


class _Memory(NamedTuple):
    m: Tensor | None
    step: int


@dataclass(frozen=True)
class Momentum:
    """The recursion, which is what the authors ran (also for β < 0).

    ``beta`` is one number in (−1, 1) or one per step (the last one repeats). ``warm_start``: m
    starts at the first displacement (True), at zero (False, the paper), or warm where β > 0.5
    (``"auto"``, the released code). ``coords``: the displacement's coordinates; ``noise="outside"``
    leaves a stochastic step's noise out of it. Raises :class:`UserError` for a β outside (−1, 1)
    and unknown options.
    """

    beta: float | tuple[float, ...] = -0.3
    warm_start: bool | Literal["auto"] = "auto"
    coords: Coordinates = "vp"
    noise: Literal["inside", "outside"] = "inside"
    name: ClassVar[str] = "momentum"
    linear: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if isinstance(self.beta, Sequence):
            object.__setattr__(self, "beta", tuple(self.beta))
        if not self._betas:
            raise UserError("momentum's beta is an empty list; give one number, or one per step.")
        for beta in self._betas:
            _check(beta, self.coords, self.noise)
        if self.warm_start not in (True, False, "auto"):
            raise unknown("warm start", str(self.warm_start), ("auto", "true", "false"))

    @property
    def _betas(self) -> tuple[float, ...]:
        return self.beta if isinstance(self.beta, tuple) else (float(self.beta),)

    def init(self, plan: Plan) -> _Memory:
        return _Memory(None, 0)

    def update(self, state: _Memory, commit: Commit) -> tuple[Tensor, _Memory]:
        beta = self._betas[min(state.step, len(self._betas) - 1)]
        r = _displacement(commit, self.coords, self.noise)
        n_s = _norm(commit.dst, self.coords)
        if state.m is None:
            warm = beta > 0.5 if self.warm_start == "auto" else self.warm_start
            change = r if not warm else r * 0  # m_prev is 0, or r itself
        else:
            change = r - state.m
        return commit.proposal.add(change, alpha=n_s * beta), _Memory(
            r.sub_(change, alpha=beta), state.step + 1
        )


class _Parities(NamedTuple):
    same: Tensor | None
    other: Tensor | None
    weights: tuple[float, float]


@dataclass(frozen=True)
class PositiveNegative:
    """The odd/even sums of the paper's eqs. 7–8, which are not the recursion with β < 0; b = |β|.

    Steps are counted from 0 as executed; the newest step's parity is the positive one:

        m_same = (1+b) Σ b^{2k} r_{n−2k},  m_other = (1+b) Σ b^{2k+1} r_{n−2k−1},  m = (1+b) m_same
        − b m_other.

    For a constant input the gain is (1 + b − b²)/(1 − b) in the long run; ``normalise`` divides by
    the finite sum of the weights, which makes it 1. ``coords`` and ``noise`` as in
    :class:`Momentum`.
    """

    beta: float = -0.3
    normalise: bool = False
    coords: Coordinates = "vp"
    noise: Literal["inside", "outside"] = "inside"
    name: ClassVar[str] = "pnm"
    linear: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check(self.beta, self.coords, self.noise)

    def init(self, plan: Plan) -> _Parities:
        return _Parities(None, None, (0.0, 0.0))

    def update(self, state: _Parities, commit: Commit) -> tuple[Tensor, _Parities]:
        b = abs(self.beta)
        r = _displacement(commit, self.coords, self.noise)
        # One step later every older term has one more power of b, and the parities trade places.
        w_same, w_other = 1 + b + b * state.weights[1], b * state.weights[0]
        correction = r * ((1 + b) ** 2 - 1)
        same = r * (1 + b)
        if state.other is not None:
            same.add_(state.other, alpha=b)
            correction.add_(state.other, alpha=(1 + b) * b)
        other = None
        if state.same is not None:
            other = state.same * b
            correction.add_(other, alpha=-b)
        if self.normalise:
            # m/g − r = (m − r)/g + r(1/g − 1)
            gain = (1 + b) * w_same - b * w_other
            correction.mul_(1 / gain).add_(r, alpha=1 / gain - 1)
        x = commit.proposal.sub(correction, alpha=_norm(commit.dst, self.coords))
        return x, _Parities(same, other, (w_same, w_other))
