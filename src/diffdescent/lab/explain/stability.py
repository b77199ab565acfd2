"""The region of stability of a chain, and its picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from diffdescent.core.executor import Executor
from diffdescent.core.grid import explicit_ratios
from diffdescent.core.predict import Prediction, conversion
from diffdescent.core.process import VE, Array, Point
from diffdescent.core.recipe import Recipe

from .explanation import Explanation
from .linear import TINY

MOST = 100.0
"""The greatest growth in a step that the picture tells from others."""


def growth(recipe: Recipe, z: Array, steps: int = 64) -> Array:
    """By which factor a linear problem de/dx = λ grows in a step of the chain, for each complex
    ``z`` = hλ.

    The chain runs on ẋ = λx in −σ̃ with equal steps h, complex numbers as pairs of reals; the
    factor is (|x_N|/|x_{N/2}|)^{2/N}. Below 1 the chain is stable; the exact solution is where Re z
    < 0. ``noise`` is left out.

    Args:
        recipe: a linear chain.
        z: complex values of hλ, of any shape.
        steps: of the chain; the factor is that of its second half.

    Returns:
        The factor at each ``z``, of its shape.
    """
    grid = explicit_ratios(VE(), TINY * np.arange(steps + 1, 0, -1.0))
    real, imaginary = (
        torch.from_numpy(np.ascontiguousarray(part.ravel())) for part in (z.real, z.imag)
    )
    x = torch.zeros(z.size, 2, dtype=torch.float64)
    x[:, 0] = 1.0
    chain = Executor(
        recipe.plan(grid),
        x,
        noise=_Quiet(),
        displacements=recipe.displacements,
        dtype=torch.float64,
    )
    half = x
    while not chain.done:
        query = chain.ask()
        if chain.committed == steps // 2:
            half = chain.x
        # dx̃/dσ̃ = ε, and σ̃ falls: ẋ in −σ̃ is −ε.
        a, b = -real / TINY, -imaginary / TINY
        eps = torch.stack(
            (a * query.x[:, 0] - b * query.x[:, 1], b * query.x[:, 0] + a * query.x[:, 1]), dim=1
        )
        chain.tell(Prediction(eps, conversion("eps", query.at)))
    # A state that became exactly 0 has not grown.
    ratio = chain.x.norm(dim=1) / half.norm(dim=1).clamp(min=1e-300)
    return np.asarray(ratio.pow(2 / steps).numpy()).reshape(z.shape)


class _Quiet:
    """Noise that is zero: stability is that of the mean."""

    def initial(self, shape: Any) -> torch.Tensor:
        return torch.zeros(tuple(shape))

    def __call__(
        self, x: torch.Tensor, step: int, draw: int, src: Point, dst: Point
    ) -> torch.Tensor:
        return torch.zeros_like(x)


def draw_stability(explanation: Explanation, recipe: Recipe, path: Path) -> None:
    """The region of hλ in which the chain damps, next to that of Euler's method, which is DDIM in
    σ̃.

    Args:
        explanation: of the chain, by :func:`explain`.
        recipe: the chain.
        path: the picture's file.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.colors import LogNorm

    from diffdescent.base.images import save_figure

    real, imaginary = np.linspace(-4, 1.5, 111), np.linspace(-3, 3, 121)
    z = real[None, :] + 1j * imaginary[:, None]
    factor = growth(recipe, z)
    figure, axes = plt.subplots(figsize=(6.2, 4.6), layout="constrained")
    # On a logarithmic scale up to the greatest growth in sight, so that no part is one flat colour.
    most = float(np.clip(np.nanmax(factor[np.isfinite(factor)]), 2, MOST))
    mesh = axes.pcolormesh(
        real,
        imaginary,
        np.clip(factor, 1 / most, most),
        cmap="RdBu_r",
        norm=LogNorm(1 / most, most),
        rasterized=True,
    )
    levels = [level for level in (0.25, 0.5, 2, 4, 8, 16, 32, 64) if 1 / most < level < most]
    lines = axes.contour(real, imaginary, factor, levels=levels, colors="0.35", linewidths=0.6)
    axes.clabel(lines, fmt=lambda level: f"{level:g}", fontsize=7)
    axes.contour(real, imaginary, factor, levels=[1.0], colors="k", linewidths=1.6)
    circle = np.exp(1j * np.linspace(0, 2 * np.pi, 200)) - 1
    axes.plot(circle.real, circle.imag, "k--", lw=1, label="Euler's (plain DDIM)")
    axes.plot([], [], "k-", lw=1.6, label="this chain: damped inside")
    axes.axvline(0, color="0.4", lw=0.8, ls=":")
    axes.set(
        xlabel="Re hλ",
        ylabel="Im hλ",
        title=f"{explanation.recipe}: growth in a step of ẋ = λx",
        aspect="equal",
    )
    figure.legend(fontsize=8, loc="outside lower center", ncols=2, frameon=False)
    ticks = [t for t in (0.01, 0.03, 0.1, 0.3, 0.5, 1, 2, 3, 10, 30, 100) if 1 / most <= t <= most]
    bar = figure.colorbar(mesh, label="growth factor (blue: damped, red: amplified)", extend="min")
    bar.set_ticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    bar.minorticks_off()
    save_figure(figure, path, 110)
    plt.close(figure)
