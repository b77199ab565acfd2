"""What becomes of the theory when the data are not low-dimensional, and when distance is not
Euclidean.

Two open questions of the gradient-estimation paper, on Gaussians of rank d in n dimensions, where
everything is exact: x0 ~ N(0, C) with C of rank d lies on the subspace K = range(C). There DDIM's
distance shrinks by exactly σ̃_s/σ̃_t in every step, so all of the relative error is the denoiser's
shrinkage *along* K: for equal variances s²

    η² = σ̃⁴‖Px‖²/((s² + σ̃²)²‖x − Px‖²) ≈ σ̃²d/((s² + σ̃²)(n − d)),

which grows without bound as d → n. Under the Mahalanobis distance of the noised data, ‖(C +
σ̃²)^{-½}(x − y)‖, the same projection has η² ≈ σ̃⁴d/((s² + σ̃²)²(n − d)): directions in which data
vary count less.

DDIM's distance bounds hold in every fixed metric, with the η of that metric: x_s = (1 − β)x + βx̂0
moves the point towards its projection, and what is left is ‖A(x̂0 − proj)‖ ≤ η dist_A. The metric
of the noised data moves with σ̃, so its distances at two levels do not compare.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.base.statistics import Estimate
from diffdescent.core.grid import Grid
from diffdescent.core.process import VP, Array
from diffdescent.core.recipe import parse_grid
from diffdescent.models.gaussian import Gaussian
from diffdescent.run import Progress, initial_state, noise_for, sample
from diffdescent.run.pieces import Arrays, Pieces, Shelf, levels_of

from .schedules import distance_bounds
from .sets import Set, Subspace, transformed

FRACTIONS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 0.97, 1.0)
METRICS = ("euclidean", "noised data", "fixed, condition 100")
BOUNDED = (METRICS[0], METRICS[2])
"""The metrics that are the same at every level, in which distances have bounds."""
_FLOOR = 1e-12
"""The variance off the subspace: far below any σ̃² of the grid."""
_RESAMPLES = 1000


@dataclass(frozen=True)
class Row:
    """One d/n. ``eta`` and ``nu``: for each metric the median over samples at each σ̃ of ``sigma``;
    empty at d = n, where every distance is 0.

    ``gain``: for each metric (that of the noised data at the last level above 0) DDIM's distance to
    the exact end of the flow over gradient estimation's (RMSE), and its 95 % bootstrap interval
    over samples. ``bounds``: for each of :data:`BOUNDED` the lower bound of dist(x_0)/dist(x_N)
    under DDIM for the greatest η of each step, its measured median, and the upper bound; empty at d
    = n.
    """

    fraction: float
    rank: int
    sigma: tuple[float, ...]
    eta: dict[str, tuple[float, ...]]
    nu: dict[str, tuple[float, ...]]
    gain: dict[str, Estimate]
    bounds: dict[str, tuple[float, float, float]]

    def record(self) -> dict[str, Any]:
        """JSON-safe; a gain is (value, low, high)."""
        gain = {name: (g.value, g.low, g.high) for name, g in self.gain.items()}
        return {**asdict(self), "gain": gain}

    def eta_at(self, metric: str, sigma: float) -> float:
        """η at the step whose σ̃ is nearest to ``sigma`` (in its logarithm); NaN at d = n."""
        nearest = int(np.abs(np.log(np.array(self.sigma) / sigma)).argmin())
        return self.eta[metric][nearest] if self.eta[metric] else math.nan


def low_rank(
    size: int, rank: int, decay: float, generator: torch.Generator
) -> tuple[Gaussian, Subspace, Tensor]:
    """A Gaussian in ``size`` dimensions on a random subspace of ``rank``; its variances fall as
    i^−decay, mean 1.

    Also the subspace, and the covariance (size, size).
    """
    basis, _ = torch.linalg.qr(torch.randn(size, rank, generator=generator, dtype=torch.float64))
    variances = torch.arange(1, rank + 1, dtype=torch.float64) ** -decay
    variances = variances / variances.mean()
    factors = basis * variances.sqrt()
    model = Gaussian(torch.zeros(size, dtype=torch.float64), _FLOOR, VP.named(), factors=factors)
    return model, Subspace(torch.zeros(size, dtype=torch.float64), basis.T), factors @ factors.T


def _inverse_root(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    root: Tensor = (vectors * values.rsqrt()) @ vectors.T
    return root


def _metrics(
    covariance: Tensor, fixed: Tensor, sigma: float
) -> tuple[Tensor | None, Tensor, Tensor]:
    """The matrices of :data:`METRICS` at the level σ̃; None for the Euclidean one."""
    noised = covariance + sigma**2 * torch.eye(len(fixed), dtype=torch.float64)
    return None, _inverse_root(noised), fixed


class _Metrics:
    """Measures η and ν of each evaluation under the three metrics; the second one moves with σ̃."""

    def __init__(self, k: Subspace, covariance: Tensor, fixed: Tensor) -> None:
        self.k, self.covariance, self.fixed = k, covariance, fixed
        self.eta: dict[str, list[Array]] = {name: [] for name in METRICS}
        self.nu: dict[str, list[Array]] = {name: [] for name in METRICS}

    def __call__(self, at: Progress) -> None:
        sigma = at.at.ratio
        x, x0 = at.x.double() / at.at.alpha, at.x0.double()
        for name, matrix in zip(METRICS, _metrics(self.covariance, self.fixed, sigma), strict=True):
            k = self.k if matrix is None else transformed(self.k, matrix)
            found = k.project(x)
            away = x0 - found.nearest
            size = away.norm(dim=1) if matrix is None else (away @ matrix.T).norm(dim=1)
            trace = len(self.fixed) if matrix is None else float(matrix.square().sum())
            self.eta[name].append((size / found.distance).numpy())
            self.nu[name].append((sigma * math.sqrt(trace) / found.distance).numpy())


def sweep(
    fractions: Sequence[float] = FRACTIONS,
    *,
    size: int = 128,
    steps: int = 10,
    n: int = 256,
    decay: float = 1.0,
    grid: str = "loglinear",
    gamma: float = 2.0,
    seed: int = 0,
    cache: Path | Shelf | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[Row]:
    """η, the gain of gradient estimation and the distance bounds for each d/n = ``fractions`` in
    (0, 1].

    With a folder ``cache`` each d/n is written there once it is known, and a run that was killed
    goes on after it; ``progress`` is called with the number of those that are known.

    Raises :class:`UserError` for fractions outside of that, fewer than 2 dimensions and no
    trajectory.
    """
    if not all(0 < f <= 1 for f in fractions):
        raise UserError(f"d/n must lie in (0, 1], not {list(fractions)}.")
    if size < 2 or n < 1 or not math.isfinite(decay):
        raise UserError(
            "A sweep needs at least 2 dimensions, 1 trajectory and a finite decay, not"
            f" size={size}, n={n} and decay={decay}."
        )
    generator = torch.Generator().manual_seed(seed)
    turn, _ = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))
    scales = torch.logspace(0, -1, size, dtype=torch.float64)
    fixed = turn * scales @ turn.T  # singular values 1 … 0.1: a metric of condition 100
    levels = parse_grid(grid, VP.named(), steps)
    base = {
        "size": size,
        "decay": decay,
        "grid": levels_of(levels),
        "gamma": gamma,
        "seed": seed,
        "n": n,
    }
    pieces = Pieces(cache, base, progress)
    rows = []
    for place, fraction in enumerate(fractions):
        rank = max(1, round(fraction * size))
        # Drawn in turn from one generator, also where the row is known: the next one depends on it.
        problem = low_rank(size, rank, decay, generator)
        make = partial(_measured, *problem, fixed, levels, gamma, n, seed)
        found = pieces.get("rank", {"place": place, "fractions": list(fractions)}, make)
        rows.append(_row(found, rank / size, rank, levels))
    return rows


def _row(found: Arrays, fraction: float, rank: int, levels: Grid) -> Row:
    eta, nu = (
        {name: tuple(row) for name, row in zip(METRICS, found[k].tolist(), strict=True)}
        for k in ("eta", "nu")
    )
    gain = {
        name: Estimate(*numbers)
        for name, numbers in zip(METRICS, found["gain"].tolist(), strict=True)
    }
    bounds = {
        name: (a, b, c) for name, (a, b, c) in zip(BOUNDED, found["bounds"].tolist(), strict=False)
    }
    return Row(fraction, rank, tuple(levels.ratio[:-1].tolist()), eta, nu, gain, bounds)


def _measured(
    model: Gaussian,
    k: Subspace,
    covariance: Tensor,
    fixed: Tensor,
    levels: Grid,
    gamma: float,
    n: int,
    seed: int,
) -> Arrays:
    """One Gaussian: medians of η and ν (metrics, steps), gains with their intervals and bounds
    (metrics, 3)."""
    size = len(model.mean)
    whole = k.dimension == size
    probe = _Metrics(k, covariance, fixed)
    options: dict[str, Any] = {
        "grid": levels,
        "n": n,
        "seed": seed,
        "dtype": torch.float64,
        "batch_size": n,
        "progress": False,
    }
    plain = sample(model, "ddim", callback=None if whole else probe, **options).images
    better = sample(model, f"ge(gamma={gamma})", **options).images
    start = initial_state(noise_for(seed, range(n), (size,)).double(), levels)
    exact = model.flow(start, levels.points[0], levels.points[-1])
    gains = []
    for matrix in _metrics(covariance, fixed, float(levels.ratio[levels.ratio > 0][-1])):
        missed = [x - exact if matrix is None else (x - exact) @ matrix.T for x in (plain, better)]
        gain = _gain(missed[0].square().sum(1).numpy(), missed[1].square().sum(1).numpy(), seed)
        gains.append((gain.value, gain.low, gain.high))
    eta, nu = (
        np.array([[np.median(values) for values in table[name]] for name in METRICS])
        for table in (probe.eta, probe.nu)
    )
    bounds = []
    if not whole:
        first, last = start / levels.points[0].alpha, plain / levels.points[-1].alpha
        metrics: tuple[Set, ...] = (k, transformed(k, fixed))
        for name, metric in zip(BOUNDED, metrics, strict=True):
            allowed = distance_bounds(levels.ratio, [values.max() for values in probe.eta[name]])
            shrunk = float(
                (metric.project(last).distance / metric.project(first).distance).median()
            )
            bounds.append((float(allowed.lower[-1]), shrunk, float(allowed.upper[-1])))
    return {
        "eta": eta,
        "nu": nu,
        "gain": np.array(gains),
        "bounds": np.array(bounds).reshape(-1, 3),
    }


def _gain(plain: Array, better: Array, seed: int) -> Estimate:
    """√(mean plain/mean better) and its 95 % bootstrap interval; errors are squares, a pair for
    each sample."""
    index = np.random.default_rng(seed).integers(0, len(plain), (_RESAMPLES, len(plain)))
    ratios = np.sqrt(plain[index].mean(1) / better[index].mean(1))
    low, high = np.quantile(ratios, (0.025, 0.975))
    value = float(np.sqrt(plain.mean() / better.mean()))
    return Estimate(value, float(low), float(high), n=len(plain))
