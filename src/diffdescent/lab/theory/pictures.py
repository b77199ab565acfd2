"""The pictures of the theory: the error model along a run, distances between their bounds,
schedules, low rank."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from diffdescent.core.process import ArrayLike

from .canvas import panels, save_and_close
from .errors import Errors
from .lowrank import BOUNDED, METRICS, Row
from .noised import Noised
from .schedules import Check, distance_bounds


def draw_distances(errors: Errors, end: float, eta: ArrayLike, path: Path, title: str) -> None:
    """dist(x)/dist(x_N) along the run between DDIM's bounds for ``eta`` (one number, or one a
    step); at the right the same over σ̃/σ̃_N, which is what an exact projection would leave."""
    figure, ((left, right),) = panels(1, 2, 6.0, 4.2)
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
    save_and_close(figure, path)


def draw_check(ratios: ArrayLike, found: Check, path: Path, title: str) -> None:
    """√nσ/dist along a schedule: how far the worst denoisers within η may take it, and the band
    that ν allows."""
    figure, ((axes,),) = panels(1, 1, 6.5, 4.3)
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
    save_and_close(figure, path)


def draw_noised(noised: Noised, path: Path, title: str) -> None:
    """How far the projection of a noised point lies from where it came from, against σ√d and the
    reach."""
    figure, ((axes,),) = panels(1, 1, 6.5, 4.3)
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
    save_and_close(figure, path)


def draw_low_rank(rows: Sequence[Row], path: Path, title: str) -> None:
    """Three panels over d/n: η under three metrics at low and high noise, the gain of GE, DDIM's
    distance bounds."""
    figure, ((left, middle, right),) = panels(1, 3, height=4.4)
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
    _legend_below(left)
    for name, color in zip(METRICS, ("C0", "C2", "C1"), strict=True):
        found = [r.gain[name] for r in rows]
        gains, lows, highs = (
            np.array([getattr(g, k) for g in found]) for k in ("value", "low", "high")
        )
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
    middle.set_ylim(0, max(2.5, 1.2 * max(g.value for r in rows for g in r.gain.values())))
    _legend_below(middle)
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
    _legend_below(right)
    save_and_close(figure, path)


def _legend_below(axes: Any) -> None:
    """The legend under the axes, where it covers no line."""
    axes.legend(
        fontsize=7.5, loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=1, frameon=False
    )
