"""What becomes of the theory when the data are not low-dimensional, and when distance is not Euclidean.

Two open questions of the gradient-estimation paper, on Gaussians of rank d in n dimensions, where everything is exact:
x0 ~ N(0, C) with C of rank d lies on the subspace K = range(C). There DDIM's distance shrinks by exactly σ̃_s/σ̃_t in
every step, so all of the relative error is the denoiser's shrinkage *along* K: for equal variances s²

    η² = σ̃⁴‖Px‖²/((s² + σ̃²)²‖x − Px‖²) ≈ σ̃²d/((s² + σ̃²)(n − d)),

which grows without bound as d → n. Under the Mahalanobis distance of the noised data, ‖(C + σ̃²)^{-½}(x − y)‖, the same
projection has η² ≈ σ̃⁴d/((s² + σ̃²)²(n − d)): directions in which data vary count less.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import UserError
from ..models.gaussian import Gaussian
from ..process import VP, Array
from ..recipes import parse_grid
from ..sample import Progress, initial_state, noise_for, sample
from .distance import Subspace, transformed
from .schedules import distance_bounds

FRACTIONS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 0.97, 1.0)
METRICS = ("euclidean", "noised data", "fixed, condition 100")
_FLOOR = 1e-12
"""The variance off the subspace: far below any σ̃² of the grid."""
_RESAMPLES = 1000


@dataclass(frozen=True)
class Row:
    """One d/n. ``eta`` and ``nu``: for each metric the median over samples at each σ̃ of ``sigma``; empty at d = n,
    where every distance is 0.

    ``gain`` is DDIM's distance to the exact end of the flow over gradient estimation's (RMSE), with a 95 % bootstrap
    interval over samples. ``lower``, ``measured`` and ``upper``: dist(x_0)/dist(x_N) of DDIM between its bounds for the
    greatest η of each step.
    """

    fraction: float
    rank: int
    sigma: tuple[float, ...]
    eta: dict[str, tuple[float, ...]]
    nu: dict[str, tuple[float, ...]]
    gain: float
    gain_interval: tuple[float, float]
    lower: float | None
    measured: float | None
    upper: float | None

    def record(self) -> dict[str, Any]:
        """JSON-safe."""
        return asdict(self)

    def eta_at(self, metric: str, sigma: float) -> float:
        """η at the step whose σ̃ is nearest to ``sigma`` (in its logarithm); NaN at d = n."""
        nearest = int(np.abs(np.log(np.array(self.sigma) / sigma)).argmin())
        return self.eta[metric][nearest] if self.eta[metric] else math.nan


def low_rank(size: int, rank: int, decay: float, generator: torch.Generator) -> tuple[Gaussian, Subspace, Tensor]:
    """A Gaussian in ``size`` dimensions on a random subspace of ``rank``; its variances fall as i^−decay, mean 1.

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


class _Metrics:
    """Measures η and ν of each evaluation under the three metrics; the second one moves with σ̃."""

    def __init__(self, k: Subspace, covariance: Tensor, fixed: Tensor) -> None:
        self.k, self.covariance, self.fixed = k, covariance, fixed
        self.eta: dict[str, list[Array]] = {name: [] for name in METRICS}
        self.nu: dict[str, list[Array]] = {name: [] for name in METRICS}

    def __call__(self, at: Progress) -> None:
        sigma = at.at.ratio
        x, x0 = at.x.double() / at.at.alpha, at.x0.double()
        noised = self.covariance + sigma**2 * torch.eye(len(self.fixed), dtype=torch.float64)
        for name, matrix in zip(METRICS, (None, _inverse_root(noised), self.fixed), strict=True):
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
) -> list[Row]:
    """η, the gain of gradient estimation and the distance bounds for each d/n = ``fractions`` in (0, 1].

    Raises :class:`UserError` for fractions outside of that.
    """
    if not all(0 < f <= 1 for f in fractions):
        raise UserError(f"d/n must lie in (0, 1], not {list(fractions)}.")
    generator = torch.Generator().manual_seed(seed)
    turn, _ = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))
    fixed = turn * torch.logspace(
        0, -1, size, dtype=torch.float64
    )  # singular values 1 … 0.1: a metric of condition 100
    rows = []
    for fraction in fractions:
        rank = max(1, round(fraction * size))
        model, k, covariance = low_rank(size, rank, decay, generator)
        levels = parse_grid(grid, model.process, steps)
        probe = _Metrics(k, covariance, fixed @ turn.T)
        options: dict[str, Any] = {"grid": levels, "n": n, "seed": seed, "dtype": torch.float64, "batch_size": n}
        plain = sample(model, "ddim", callback=probe if rank < size else None, **options).images
        better = sample(model, f"ge(gamma={gamma})", **options).images
        start = initial_state(noise_for(seed, range(n), (size,)).double(), levels)
        exact = model.flow(start, levels.points[0], levels.points[-1])
        errors = [(x - exact).square().sum(1).numpy() for x in (plain, better)]
        gain, interval = _gain(errors[0], errors[1], seed)
        found: list[float | None] = [None, None, None]
        if rank < size:
            worst = np.array([eta.max() for eta in probe.eta["euclidean"]])
            bounds = distance_bounds(levels.ratio, worst)
            ends = [k.project(x / p.alpha).distance for x, p in ((plain, levels.points[-1]), (start, levels.points[0]))]
            found = [float(bounds.lower[-1]), float((ends[0] / ends[1]).median()), float(bounds.upper[-1])]
        eta, nu = (
            {name: tuple(float(np.median(values)) for values in series) for name, series in table.items()}
            for table in (probe.eta, probe.nu)
        )
        sigma = tuple(levels.ratio[:-1].tolist())
        rows.append(Row(rank / size, rank, sigma, eta, nu, gain, interval, *found))
    return rows


def _gain(plain: Array, better: Array, seed: int) -> tuple[float, tuple[float, float]]:
    """√(mean plain/mean better) and its 95 % bootstrap interval; errors are squares, a pair for each sample."""
    index = np.random.default_rng(seed).integers(0, len(plain), (_RESAMPLES, len(plain)))
    ratios = np.sqrt(plain[index].mean(1) / better[index].mean(1))
    low, high = np.quantile(ratios, (0.025, 0.975))
    return float(np.sqrt(plain.mean() / better.mean())), (float(low), float(high))
