"""The pictures of ``docs/peculiarity.md``. Needs matplotlib (extra ``cli``)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from diffdescent.base.images import save_figure
from diffdescent.base.statistics import Estimate, mean_of, wilson

from .comparison import REFERENCES, Reference, Row
from .minima import Minima
from .perturb import Effect
from .points import BASE, BETAS, SAMPLERS, TEACHER, UNIFORM, Point, momentum

_TEACHERS: tuple[Reference, Reference] = ("teacher", "ancestral")


def _plots(
    columns: int, size: tuple[float, float], rows: int = 1, share: bool = True
) -> tuple[Any, Any]:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    shared: Any = {"sharey": "row", "sharex": "col"} if share else {}
    figure, axes = plt.subplots(rows, columns, figsize=size, layout="constrained", **shared)
    return figure, axes


def _bars(
    shares: Sequence[Estimate], scale: float = 100.0
) -> tuple[list[float], tuple[list[float], list[float]]]:
    """Values, by default in per cent, and the lengths of their intervals below and above."""
    below = [scale * max(0.0, s.value - s.low) for s in shares]
    above = [scale * max(0.0, s.high - s.value) for s in shares]
    return [scale * s.value for s in shares], (below, above)


def _momentum_points(rows: Sequence[Row]) -> dict[int, dict[float, Row]]:
    """Rows of DDIM on the study's own grid by steps and β, 0 without momentum; only steps that have
    momentum."""
    known = {r.point: r for r in rows}
    found: dict[int, dict[float, Row]] = {}
    for count in sorted(
        {r.point.steps for r in rows if r.point.grid == UNIFORM and r.point.momentum is not None}
    ):
        points = {b: Point(momentum(b) if b else BASE, count) for b in sorted((*BETAS, 0.0))}
        found[count] = {b: known[p] for b, p in points.items() if p in known}
    return found


def draw_study(rows: Sequence[Row], path: Path, teacher: int = TEACHER) -> None:
    """Peculiar (top) and abnormal figures (bottom) against steps for each sampler, and against β
    for each number of steps; the teachers and their intervals as bands."""
    known = {r.point: r for r in rows}
    figure, axes = _plots(2, (9.5, 6.8), rows=2)
    by_steps = _momentum_points(rows)
    for kind, (left, right) in zip(("peculiar", "abnormal"), axes, strict=True):
        for recipe in SAMPLERS:
            line = sorted((r for r in rows if r.point.recipe == recipe and r.point.grid == UNIFORM
                           and r.point.steps < teacher), key=lambda r: r.point.steps)  # fmt: skip
            if line:
                values, bars = _bars([getattr(r, kind) for r in line])
                places = [r.point.steps for r in line]
                left.errorbar(places, values, yerr=bars, capsize=2, marker="o", ms=3, label=recipe)
        for number, (count, found) in enumerate(by_steps.items()):
            values, bars = _bars([getattr(r, kind) for r in found.values()])
            shift = 0.012 * (
                number - (len(by_steps) - 1) / 2
            )  # side by side, so that the intervals stay readable
            right.errorbar(
                [b + shift for b in found],
                values,
                yerr=bars,
                capsize=2,
                marker="o",
                ms=3,
                label=f"{count} steps",
            )
        for axis in (left, right):
            for recipe, style in ((BASE, "-"), ("ddpm", ":")):
                best = known.get(Point(recipe, teacher))
                if best is not None:
                    share = getattr(best, kind)
                    axis.axhline(
                        100 * share.value,
                        color="black",
                        ls=style,
                        lw=1,
                        label=f"{recipe}, {teacher} steps",
                    )
                    axis.axhspan(100 * share.low, 100 * share.high, color="black", alpha=0.07, lw=0)
        left.set_ylabel(f"{kind} figures, %")
    axes[0][0].set_xscale("log")
    counts = sorted({r.point.steps for r in rows if r.point.steps < teacher})
    axes[1][0].set_xticks(counts, [str(c) for c in counts])
    axes[1][0].set_xticks([], minor=True)
    axes[1][0].set_xlabel("steps")
    axes[1][1].set_xlabel("β (ddim | momentum)")
    for axis in axes[0]:
        if axis.get_legend_handles_labels()[0]:
            axis.legend(fontsize=7)
    save_figure(figure, path, dpi=110)


def draw_differences(rows: Sequence[Row], path: Path) -> None:
    """DDIM with momentum minus the teachers, figure by figure: peculiar and abnormal, against β by
    number of steps.

    Below zero is better than the teacher; 95 % intervals, each for itself. No picture where there
    is no teacher.
    """
    by_steps = _momentum_points(rows)
    shown = [
        ref
        for ref in _TEACHERS
        if any(ref in r.against for found in by_steps.values() for r in found.values())
    ]
    if not shown:
        return
    figure, axes = _plots(
        len(by_steps), (1.2 + 2.6 * len(by_steps), 0.6 + 2.5 * len(shown)), rows=len(shown)
    )
    grid = np.reshape(axes, (len(shown), len(by_steps)))
    for line, reference in zip(grid, shown, strict=True):
        for axis, (count, found) in zip(line, by_steps.items(), strict=True):
            pairs = {b: r.against[reference] for b, r in found.items() if reference in r.against}
            for kind, shift in (("peculiar", -0.02), ("abnormal", 0.02)):
                values, bars = _bars([getattr(p, kind).difference for p in pairs.values()])
                axis.errorbar(
                    [b + shift for b in pairs],
                    values,
                    yerr=bars,
                    fmt="o",
                    ms=3,
                    capsize=2,
                    label=kind,
                )
            axis.axhline(0, color="black", lw=0.8)
            axis.set_title(f"{count} steps, against {REFERENCES[reference]}", fontsize=8)
        line[0].set_ylabel("difference, points")
    for axis in grid[-1]:
        axis.set_xlabel("β")
    grid[0, 0].legend(fontsize=7)
    save_figure(figure, path, dpi=110)


def draw_minima(peculiar: Minima, normal: Minima, path: Path) -> None:
    """Peculiar against normal images: how nearly they are fixed points by noise, and whether they
    come back."""
    figure, axes = _plots(3, (11.0, 3.4), share=False)
    for kind, found in (("peculiar", peculiar), ("normal", normal)):
        means = [[mean_of(v) for v in each.values()] for each in (found.errors, found.moved)]
        shares = [wilson(int(v.sum()), found.n) for v in found.same.values()]
        for axis, places, values, scale in (
            (axes[0], list(found.errors), means[0], 1.0),
            (axes[1], [100 * s for s in found.same], shares, 100.0),
            (axes[2], [100 * s for s in found.moved], means[1], 1.0),
        ):
            middle, (low, high) = _bars(values, scale)
            axis.errorbar(
                places,
                middle,
                yerr=(low, high),
                marker="o",
                ms=3,
                capsize=2,
                label=f"{kind} ({found.n})",
            )
    axes[0].set_xscale("log")
    axes[0].set_xticks(list(peculiar.errors), [f"{ratio:g}" for ratio in peculiar.errors])
    axes[0].set_xticks([], minor=True)
    axes[0].set_xlabel("σ")
    axes[0].set_title("‖D(x, σ) − x‖/(σ√n): 0 at a fixed point", fontsize=9)
    axes[1].set_title("comes back with the same counts, %", fontsize=9)
    axes[2].set_title("RMS change when it comes back", fontsize=9)
    for axis in axes[1:]:
        axis.set_xlabel("noised to, % of the time")
    axes[0].legend(fontsize=7)
    save_figure(figure, path, dpi=110)


def draw_effects(effects: Sequence[Effect], path: Path) -> None:
    """Share of persons whose distance rises, and share caught at 5 % false alarms, by change and
    number of clusters."""
    figure, axes = _plots(2, (9.5, 3.6))
    names = list(dict.fromkeys(e.change for e in effects))
    ks = sorted({e.k for e in effects})
    for axis, title in zip(
        axes, ("distance rises", "above 95 % of unchanged persons"), strict=True
    ):
        for number, k in enumerate(ks):
            shares = [next(e for e in effects if e.change == n and e.k == k) for n in names]
            picked = [e.rises if axis is axes[0] else e.caught for e in shares]
            values = np.array([100 * s.value for s in picked])
            errors = np.array(
                # An interval ends at the value itself where that is 0 or 1, but for rounding.
                [
                    [max(100 * (s.value - s.low), 0), max(100 * (s.high - s.value), 0)]
                    for s in picked
                ]
            ).T
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
