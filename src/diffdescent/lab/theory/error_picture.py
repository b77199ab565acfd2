"""The picture of the error model along a run: six panels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from diffdescent.core.process import Array

from .canvas import panels, save_and_close
from .errors import Errors

_BINS = 40


def _shade() -> Any:
    """Shares from 0 to 1, the small ones distinguishable."""
    from matplotlib.colors import PowerNorm

    return PowerNorm(0.5, vmin=0, vmax=1)


def _edges(ratios: Array) -> Array:
    """Log-midpoints between falling σ/α, for cells around each."""
    logs = np.log(ratios)
    middle = (logs[1:] + logs[:-1]) / 2
    return np.exp(np.concatenate(([2 * logs[0] - middle[0]], middle, [2 * logs[-1] - middle[-1]])))


def _histogram(
    axes: Any, errors: Errors, name: str, label: str, title: str, log: bool = False
) -> Any:
    """Of each evaluation a column: which share of the samples has which value; the line is the
    median."""
    values, ratios = errors.values[name], errors.ratios
    known = np.isfinite(ratios) & (ratios > 0) & np.isfinite(values).any(axis=1)
    values, ratios = values[known], ratios[known]
    finite = values[np.isfinite(values) & ((values > 0) | (not log))]
    if log:
        # Exact projections have error 0 up to rounding: they are drawn at the lower edge.
        low, high = max(float(finite.min()), 1e-6), float(finite.max()) * 1.3
        cells = np.geomspace(min(low, high / 10), high, _BINS + 1)
    else:
        spread = max(float(finite.max() - finite.min()), 1e-3)
        cells = np.linspace(finite.min() - 0.05 * spread, finite.max() + 0.05 * spread, _BINS + 1)
    clipped = np.clip(values, cells[0] * (1 + 1e-9) if log else cells[0], cells[-1])
    counts = np.stack(
        [np.histogram(row[np.isfinite(row)], cells)[0] / np.isfinite(row).sum() for row in clipped]
    )
    if len(ratios) > 1:
        shown = np.where(counts.T > 0, counts.T, np.nan)
        mesh = axes.pcolormesh(
            _edges(ratios), cells, shown, cmap="Blues", norm=_shade(), rasterized=True
        )
    else:
        mesh = None
    axes.plot(
        ratios,
        np.clip(np.nanmedian(values, axis=1), cells[0], None),
        color="C3",
        lw=1.4,
        label="median",
    )
    axes.set(
        xscale="log",
        xlabel="noise level σ/α   (sampling runs to the right →)",
        ylabel=label,
        title=title,
    )
    if log:
        axes.set_yscale("log")
    axes.invert_xaxis()
    return mesh


def draw_errors(errors: Errors, path: Path, title: str) -> None:
    """Six panels: η, ν, ‖ε‖/√n, the gradient's change, η in the released pairing, and η between its
    bounds."""
    figure, axes = panels(2, 3)
    figure.suptitle(
        f"{title}\n{len(errors.samples)} trajectories; shade: share of them at each noise level"
    )
    mesh = _histogram(axes[0, 0], errors, "eta", "η", "relative error η = |x̂0 − proj(x)| / dist(x)")
    _histogram(axes[0, 1], errors, "nu", "√n σ / dist", "does σ tell the distance?  (1: exactly)")
    axes[0, 1].axhline(1, color="k", lw=0.8, ls=":")
    _histogram(axes[0, 2], errors, "norm", "|ε| / √n", "norm of the noise prediction")
    axes[0, 2].axhline(1, color="k", lw=0.8, ls=":")
    _histogram(
        axes[1, 0],
        errors,
        "turn",
        "|∇dist(x_t) − ∇dist(x_t₋₁)|",
        "how far the gradient turns in a step",
    )
    _histogram(
        axes[1, 1],
        errors,
        "eta_released",
        "η, released pairing",
        "x̂0(x_t) against proj(x_t₋₁), as released",
    )
    _histogram(
        axes[1, 2], errors, "eta", "η (log)", "η and its bounds at high and low noise", log=True
    )
    if np.isfinite(errors.diameter):
        bound = errors.diameter / errors.quantile("dist", 0.5)
        axes[1, 2].plot(errors.ratios, bound, color="k", ls="--", lw=1.2, label="diam(K)/dist")
    if errors.dimension:
        scale = errors.ratios * np.sqrt(errors.dimension) / errors.quantile("dist", 0.5)
        axes[1, 2].plot(
            errors.ratios,
            scale,
            color="C2",
            ls="--",
            lw=1.2,
            label=f"σ√d/dist, d = {errors.dimension:.3g}",
        )
    for panel in axes.flat:
        panel.legend(fontsize=7, loc="best")
    if mesh is not None:
        figure.colorbar(mesh, ax=axes, label="share of trajectories", shrink=0.6)
    save_and_close(figure, path)
