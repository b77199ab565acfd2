"""The pictures of ``docs/peculiarity.md``. Needs matplotlib (extra ``cli``)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..images import save_figure
from .perturb import Effect
from .study import BASE, BETAS, SAMPLERS, TEACHER, UNIFORM, Point, Row


def _plots(columns: int, size: tuple[float, float]) -> tuple[Any, Any]:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, columns, figsize=size, layout="constrained", sharey=True)
    return figure, axes


def _bars(rows: Sequence[Row]) -> tuple[list[float], tuple[list[float], list[float]]]:
    """Shares in per cent and the lengths of their intervals below and above."""
    shares = [r.peculiar for r in rows]
    values = [100 * s.value for s in shares]
    return values, ([100 * (s.value - s.low) for s in shares], [100 * (s.high - s.value) for s in shares])


def draw_study(rows: Sequence[Row], path: Path, teacher: int = TEACHER) -> None:
    """Share of peculiar figures against steps for each sampler, and against β for each number of steps."""
    known = {r.point: r for r in rows}
    figure, (left, right) = _plots(2, (9.5, 3.8))
    for recipe in SAMPLERS:
        line = sorted((r for r in rows if r.point.recipe == recipe and r.point.grid == UNIFORM
                       and r.point.steps < teacher), key=lambda r: r.point.steps)  # fmt: skip
        if line:
            values, bars = _bars(line)
            left.errorbar([r.point.steps for r in line], values, yerr=bars, capsize=2, marker="o", ms=3, label=recipe)
    left.set_xscale("log")
    left.set_xlabel("steps")
    left.set_ylabel("peculiar figures, %")
    steps = sorted({r.point.steps for r in rows if "momentum" in r.point.recipe and r.point.grid == UNIFORM})
    for number, count in enumerate(steps):
        recipes = {b: f"{BASE} | momentum(beta={b})" if b else BASE for b in sorted((*BETAS, 0.0))}
        found = {b: known[Point(r, count)] for b, r in recipes.items() if Point(r, count) in known}
        if found:
            values, bars = _bars(list(found.values()))
            shift = 0.012 * (number - (len(steps) - 1) / 2)  # side by side, so that the intervals can be told apart
            right.errorbar([b + shift for b in found], values, yerr=bars, capsize=2, marker="o", ms=3,
                           label=f"{count} steps")  # fmt: skip
    right.set_xlabel("β (ddim | momentum)")
    for axis in (left, right):
        for recipe, style in ((BASE, "-"), ("ddpm", ":")):
            best = known.get(Point(recipe, teacher))
            if best is not None:
                share = best.peculiar
                axis.axhline(100 * share.value, color="black", ls=style, lw=1, label=f"{recipe}, {teacher} steps")
                axis.axhspan(100 * share.low, 100 * share.high, color="black", alpha=0.07, lw=0)
        axis.legend(fontsize=7)
    save_figure(figure, path, dpi=110)


def draw_effects(effects: Sequence[Effect], path: Path) -> None:
    """Share of persons whose distance rises, and share caught at 5 % false alarms, by change and number of clusters."""
    figure, axes = _plots(2, (9.5, 3.6))
    names = list(dict.fromkeys(e.change for e in effects))
    ks = sorted({e.k for e in effects})
    for axis, title in zip(axes, ("distance rises", "above 95 % of unchanged persons"), strict=True):
        for number, k in enumerate(ks):
            shares = [next(e for e in effects if e.change == n and e.k == k) for n in names]
            picked = [e.rises if axis is axes[0] else e.caught for e in shares]
            values = np.array([100 * s.value for s in picked])
            errors = np.array([[100 * (s.value - s.low), 100 * (s.high - s.value)] for s in picked]).T
            places = np.arange(len(names)) + 0.13 * (number - (len(ks) - 1) / 2)
            axis.errorbar(values, places, xerr=errors, fmt="o", ms=3, capsize=2, label=f"K = {k}")
        axis.axvline(50 if axis is axes[0] else 5, color="black", lw=0.8, ls="--")
        axis.set_xlabel("persons, %")
        axis.set_title(title, fontsize=9)
        axis.set_xlim(0, 100)
    axes[0].set_yticks(range(len(names)), names, fontsize=8)
    axes[0].invert_yaxis()
    axes[1].legend(fontsize=7)
    save_figure(figure, path, dpi=110)
