"""The exact solution of the probability-flow ODE, where there is no closed form: an adaptive
float64 solve.

In VP-normalised coordinates z = x/√(α² + σ²) with the angle θ = atan(σ/α) the ODE is

    dz/dθ = cos θ · E[ε | x] − sin θ · E[x0 | x]

(Salimans and Ho 2022, appendix D: the velocity v). Unlike dx̃/dσ̃ it is finite from pure noise (α =
0, θ = π/2) to the data (σ = 0, θ = 0), and z has unit scale all the way.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.base.files import kept_arrays, make_folder, pack_arrays, write_atomically
from diffdescent.core.process import Point

from .exact import Exact, check_point, digest

Derivative = Callable[[float, Tensor], Tensor]


@dataclass(frozen=True)
class Solution:
    """``x`` (B, *shape), float64, at the end point; ``error`` the estimated error of each sample,
    RMS over its pixels (B,), measured against the solve at twice the tolerance; ``evaluations`` of
    the model for both solves together.
    """

    x: Tensor
    error: Tensor
    evaluations: int


# Dormand and Prince (1980), RK5(4)7M: stage times, stage coefficients, and fifth- less fourth-order
# weights. The last stage is the next step's first one.
_TIMES = (0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
_STAGES = (
    (),
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
_ERROR = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)
_MAX_STEPS = 100_000
SMALL = 1e-4
"""The σ/α at which the solution of a finite data set is decided."""


def _combine(z: Tensor, h: float, weights: tuple[float, ...], slopes: list[Tensor]) -> Tensor:
    out = z.clone()
    for weight, slope in zip(weights, slopes, strict=True):
        if weight:
            out.add_(slope, alpha=h * weight)
    return out


def integrate(
    f: Derivative, z: Tensor, start: float, end: float, rtol: float, atol: float
) -> tuple[Tensor, int]:
    """Solve dz/dt = f(t, z), z (B, d), from ``start`` to ``end``; the state there and the number of
    evaluations.

    One step size for the whole batch: the worst sample's RMS of error/(atol + rtol·|z|) must not
    exceed 1. The step follows a proportional–integral controller (Hairer, Nørsett and Wanner 1993,
    section IV.2).

    Raises:
        UserError: when the solution is not finite or the step size vanishes.
    """
    t, h, count = start, (end - start) * 1e-3, 1
    first, previous = f(t, z), 1.0
    for _ in range(_MAX_STEPS):
        if t == end:
            return z, count
        h = math.copysign(min(abs(h), abs(end - t)), end - start)
        slopes, candidate = [first], z
        for c, weights in zip(_TIMES[1:], _STAGES[1:], strict=True):
            candidate = _combine(z, h, weights, slopes)
            slopes.append(f(end if h == end - t and c == 1.0 else t + c * h, candidate))
        count += len(_TIMES) - 1
        scale = atol + rtol * torch.maximum(z.abs(), candidate.abs())
        ratio = _combine(torch.zeros_like(z), h, _ERROR, slopes) / scale
        error = float(ratio.square().mean(1).sqrt().max())
        if not math.isfinite(error):
            raise UserError(
                f"The exact solution is not finite at angle θ = {t:.6g}; is the start state finite?"
            )
        if error <= 1:
            t, z, first = (end if h == end - t else t + h), candidate, slopes[-1]
            grow = 0.9 * max(error, 1e-10) ** (-0.7 / 5) * previous ** (0.4 / 5)
            h *= min(5.0, max(0.2, grow))
            previous = max(error, 1e-4)
        else:
            h *= max(0.2, 0.9 * error ** (-1 / 5))
        if t + h == t and t != end:
            break
    raise UserError(
        f"The exact solution found no step size at angle θ = {t:.6g}; raise rtol and atol."
    )


def exact_solution(
    model: Exact,
    x: Tensor,
    start: Point,
    end: Point,
    *,
    rtol: float = 1e-7,
    atol: float = 1e-7,
    cache: Path | None = None,
) -> Solution:
    """Where the probability-flow ODE of ``model`` takes ``x`` (B, *shape) from ``start`` to ``end``
    (either way).

    Solved twice, at (2·rtol, 2·atol) and at (rtol, atol); the difference estimates the error, which
    is the caller's to judge. With ``cache``, a folder, the result is kept in an npz named by the
    hash of the whole problem.

    A finite data set has no ε at σ = 0, where the solution is one of its points: it is solved down
    to σ/α = 1e-4, far below the distance of two 8-bit images, and ends at the estimate of x0 there.

    Raises:
        UserError: tolerances that are not positive, and a start state that does not fit.
    """
    check_point(start)
    check_point(end)
    if not (rtol >= 1e-13 and atol > 0):
        raise UserError(
            f"Tolerances must be positive and rtol at least 1e-13, not rtol = {rtol}, atol ="
            f" {atol}."
        )
    flat = model.flat(x)
    key = digest((flat,), "flow map 1", model.fingerprint(), start[1:], end[1:], rtol, atol)
    path = None if cache is None else Path(cache) / f"{key}.npz"
    stored = None if path is None else _load(path, x.shape)
    if stored is not None:
        return stored

    def velocity(theta: float, z: Tensor) -> Tensor:
        # sin and cos of the rounded π/2 leave α = 6e-17, which is a noise level like any other.
        alpha, sigma = math.cos(theta), math.sin(theta)
        point = Point(math.nan, alpha, sigma)
        prediction = model(z.reshape(x.shape), point)
        u = prediction.raw.flatten(1)
        x0, eps = prediction.conversion
        p, q = alpha * eps.x - sigma * x0.x, alpha * eps.raw - sigma * x0.raw
        return u * q + z * p

    z = flat / start.norm
    # No ε at the end: the last stretch is answered by the estimate of x0.
    chosen = end.sigma == 0 and _without_eps(model, x, end)
    last = Point(math.nan, end.alpha, SMALL * end.alpha) if chosen else end
    angles = math.atan2(start.sigma, start.alpha), math.atan2(last.sigma, last.alpha)

    def solved(rtol: float, atol: float) -> tuple[Tensor, int]:
        found, count = integrate(velocity, z, *angles, rtol, atol)
        if not chosen:
            return found * end.norm, count
        state = (found * last.norm).reshape(x.shape)
        return model(state, last).to("x0", state).flatten(1) * end.alpha, count + 1

    loose, loose_count = solved(2 * rtol, 2 * atol)
    tight, tight_count = solved(rtol, atol)
    error = (tight - loose).square().mean(1).sqrt()
    result = Solution(tight.reshape(x.shape), error, loose_count + tight_count)
    if path is not None:
        _store(path, result)
    return result


def _without_eps(model: Exact, x: Tensor, end: Point) -> bool:
    """Whether the model's answer leaves ε undetermined at ``end``."""
    return math.isnan(model(x[:1], end).conversion.eps.x)


def _load(path: Path, shape: torch.Size) -> Solution | None:
    """The stored solution; None where there is none, or a damaged one that must be made anew."""
    data = kept_arrays(path)
    if data is None or not {"x", "error", "evaluations"} <= data.keys():
        return None
    x, error = torch.from_numpy(data["x"]), torch.from_numpy(data["error"])
    return Solution(x, error, int(data["evaluations"])) if x.shape == shape else None


def _store(path: Path, result: Solution) -> None:
    make_folder(path.parent)
    arrays = {
        "x": result.x.cpu().numpy(),
        "error": result.error.cpu().numpy(),
        "evaluations": np.array(result.evaluations),
    }
    write_atomically(path, pack_arrays(arrays))
