"""The pictures of the theory: the error model along a run, distances between their bounds,
schedules, low rank."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from diffdescent.base.images import save_figure
from diffdescent.core.grid.schedules import Check, distance_bounds
from diffdescent.core.process import Array, ArrayLike

from .error_model import Errors, Noised
from .lowrank import BOUNDED, METRICS, Row

_BINS = 40


def _figure(rows: int, columns: int, width: float = 4.6, height: float = 3.5) -> tuple[Any, Any]:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        rows, columns, figsize=(width * columns, height * rows), layout="constrained", squeeze=False
    )
    return figure, axes


def _done(figure: Any, path: Path, dpi: int = 80) -> None:
    import matplotlib.pyplot as plt

    save_figure(figure, path, dpi)
    plt.close(figure)


def _shade() -> Any:
    """Shares from 0 to 1, the small ones told apart."""
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
    figure, axes = _figure(2, 3)
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
    _done(figure, path)


def draw_distances(errors: Errors, end: float, eta: ArrayLike, path: Path, title: str) -> None:
    """dist(x)/dist(x_N) along the run between DDIM's bounds for ``eta`` (one number, or one a
    step); at the right the same over σ̃/σ̃_N, which is what an exact projection would leave."""
    figure, ((left, right),) = _figure(1, 2, 6.0, 4.2)
    figure.suptitle(title)
    known = np.isfinite(errors.ratios) & (errors.ratios > 0)
    ratios, dist = errors.ratios[known], errors.values["dist"][known]
    relative = dist / dist[0]
    each = np.broadcast_to(np.asarray(eta, dtype=np.float64), (len(errors.ratios),))[known]
    bounds = distance_bounds(np.append(ratios, end), each)
    low, high = (np.concatenate(([1.0], b[:-1])) for b in (bounds.lower, bounds.upper))
    quantiles = np.quantile(relative, (0.05, 0.5, 0.95), axis=1)
    sigma = ratios / ratios[0]
    for axes, unit in ((left, np.ones_like(sigma)), (right, sigma)):
        floor = float(quantiles[1][quantiles[1] > 0].min()) / 20 if axes is left else 1e-3
        axes.fill_between(ratios, np.maximum(low / unit, floor), high / unit, color="C0", alpha=0.2,
                          label="what DDIM's bounds allow for this η")  # fmt: skip
        axes.plot(ratios, sigma / unit, "k:", lw=1.2, label="as σ falls (exact projection)")
        middle = np.maximum(quantiles / unit, floor)
        axes.errorbar(
            ratios,
            middle[1],
            yerr=np.abs(middle[[0, 2]] - middle[1]),
            fmt="o-",
            ms=3,
            color="C3",
            label="measured: median, 5–95 %",
        )
        axes.set(
            xscale="log", yscale="log", xlabel="noise level σ/α   (sampling runs to the right →)"
        )
        top = float(np.max(high / unit))
        axes.set_ylim(floor, min(top * 1.5, 1e3) if axes is left else None)
        axes.invert_xaxis()
    left.set_ylabel("distance to the set, relative to the start")
    right.set_ylabel("the same, over σ relative to the start")
    span = max(float((high / sigma).max()), float(np.max(quantiles[2] / sigma)), 1.05)
    right.set_yscale("linear" if span < 3 else "log")
    right.set_ylim(1 / min(span, 30) ** 1.3, min(span, 30) ** 1.3)
    left.legend(fontsize=8)
    _done(figure, path)


def draw_check(ratios: ArrayLike, found: Check, path: Path, title: str) -> None:
    """√nσ/dist along a schedule: how far the worst denoisers within η may take it, and the band
    that ν allows."""
    figure, ((axes,),) = _figure(1, 1, 6.5, 4.3)
    steps = np.arange(len(found.beta) + 1)
    near = np.concatenate(([1 / found.nu], found.near))
    far = np.concatenate(([found.nu], found.far))
    worst = np.where(np.isfinite(near), near * found.nu, found.nu * 1e3)
    axes.fill_between([0, steps[-1] + 0.5], 1 / found.nu, found.nu, color="C2", alpha=0.15,
                      label=f"the band that ν = {found.nu:g} allows")  # fmt: skip
    axes.plot(
        steps, worst, "o-", ms=4, color="C3", label=f"denoiser overshoots by η = {found.eta:g}"
    )
    axes.plot(
        steps,
        far / found.nu,
        "s-",
        ms=4,
        color="C0",
        label=f"denoiser falls short by η = {found.eta:g}",
    )
    if found.step is not None:
        axes.axvline(
            found.step + 1, color="k", ls="--", lw=1, label=f"fails here: step {found.step + 1}"
        )
    axes.set(
        yscale="log",
        xlabel="after step",
        ylabel="√n σ / dist(x)   (1: σ tells the distance)",
        title=title,
    )
    axes.set_ylim(1 / found.nu**2.5, found.nu**2.5)
    axes.set_xlim(-0.1, steps[-1] + 0.5)
    axes.legend(fontsize=8)
    _done(figure, path)


def draw_noised(noised: Noised, path: Path, title: str) -> None:
    """How far the projection of a noised point lies from where it came from, against σ√d and the
    reach."""
    figure, ((axes,),) = _figure(1, 1, 6.5, 4.3)
    root = np.sqrt(noised.size)
    low, middle, high = np.quantile(noised.error, (0.05, 0.5, 0.95), axis=1)
    floor = max(float(noised.sigmas.min()) * 1e-2, 1e-9)
    axes.fill_between(
        noised.sigmas, np.maximum(low, floor), np.maximum(high, floor), color="C3", alpha=0.2
    )
    axes.plot(
        noised.sigmas,
        np.maximum(middle, floor),
        "o-",
        ms=3,
        color="C3",
        label="|proj(x₀ + σε) − x₀|: median, 5–95 % (0: at the edge)",
    )
    axes.plot(noised.sigmas, np.median(noised.distance, axis=1), color="C0", label="dist(x₀ + σε)")
    axes.plot(noised.sigmas, noised.sigmas * root, "k:", lw=1, label="σ√n")
    if noised.dimension:
        axes.plot(
            noised.sigmas,
            noised.sigmas * np.sqrt(noised.dimension),
            "k--",
            lw=1,
            label=f"σ√d, d = {noised.dimension:.3g}",
        )
    if np.isfinite(noised.reach):
        axes.axvline(noised.reach / root, color="C2", lw=1.2, label="σ√n = reach")
    axes.set(xscale="log", yscale="log", xlabel="noise level σ", ylabel="distance", title=title)
    axes.legend(fontsize=8)
    _done(figure, path)


def draw_low_rank(rows: Sequence[Row], path: Path, title: str) -> None:
    """Three panels over d/n: η under three metrics at low and high noise, the gain of GE, DDIM's
    distance bounds."""
    figure, ((left, middle, right),) = _figure(1, 3)
    figure.suptitle(title)
    fractions = [r.fraction for r in rows]
    for name, color in zip(METRICS, ("C0", "C2", "C1"), strict=True):
        for sigma, style in ((30.0, "-"), (0.3, "--")):
            eta = [r.eta_at(name, sigma) for r in rows]
            label = f"{name}, {'high' if sigma > 1 else 'low'} noise (σ ≈ {sigma:g})"
            left.plot(fractions, eta, style, marker="o", ms=3, color=color, label=label)
    left.axhline(1, color="k", lw=0.8, ls=":")
    left.set(
        xscale="log",
        yscale="log",
        xlabel="d/n",
        ylabel="relative error η",
        title="denoising is not projecting",
    )
    left.legend(fontsize=6.5)
    for name, color in zip(METRICS, ("C0", "C2", "C1"), strict=True):
        gains, lows, highs = (np.array([r.gain[name][i] for r in rows]) for i in range(3))
        middle.errorbar(
            fractions,
            gains,
            yerr=(gains - lows, highs - gains),
            fmt="o-",
            ms=4,
            capsize=2,
            color=color,
            label=name,
        )
    middle.axhline(1, color="k", lw=0.8, ls=":")
    middle.set(
        xscale="log",
        xlabel="d/n",
        ylabel="RMSE of DDIM / RMSE of GE",
        title="gain of gradient estimation",
    )
    middle.set_ylim(0, max(2.5, 1.2 * max(g[0] for r in rows for g in r.gain.values())))
    middle.legend(fontsize=6.5)
    floor = 1e-8
    for name, color in zip(BOUNDED, ("C0", "C1"), strict=True):
        known = [r for r in rows if r.bounds]
        x = [r.fraction for r in known]
        low, middle_of, high = (
            np.maximum([r.bounds[name][i] for r in known], floor) for i in range(3)
        )
        right.fill_between(x, low, high, color=color, alpha=0.2, label=f"DDIM's bounds, {name}")
        right.plot(x, middle_of, "o-", ms=4, color=color, label=f"measured, {name}")
    right.set(
        xscale="log",
        yscale="log",
        xlabel="d/n",
        ylabel="dist(x_0)/dist(x_N)",
        title="distance at the end of DDIM",
    )
    right.set_ylim(floor, 1e4)
    right.legend(fontsize=6.5)
    _done(figure, path)
