"""The picture of constrained sampling: distances to the intersection against the theory, and how
many runs reach a point that keeps the constraint."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .canvas import panels, save_and_close
from .constrained_table import RateRow, ReachRow


def draw_constrained(rows: Sequence[RateRow], reach: Sequence[ReachRow], path: Path) -> None:
    """One panel for each kind of set: subspaces, spheres, points."""
    figure, ((left, middle, right),) = panels(1, 3, 5.2, 4.2)
    for axes, kind in ((left, "subspaces"), (middle, "sphere")):
        of_kind = [row for row in rows if row.case.startswith(kind)]
        for i, row in enumerate(row for row in of_kind if row.sampler == "ddim"):
            ancestral = next(r for r in of_kind if r.case == row.case and r.sampler != "ddim")
            axes.plot(row.sigma, row.to_both, "o", ms=3, color=f"C{i}", label=row.case)
            axes.plot(row.sigma, row.course, "-", lw=1, color=f"C{i}")
            axes.plot(ancestral.sigma, ancestral.to_both, "x", ms=3, color=f"C{i}")
            axes.plot(ancestral.sigma, ancestral.course, ":", lw=1, color=f"C{i}")
        axes.set_ylim(min(float(row.to_both.min()) for row in of_kind) / 3, 1e3)
        axes.set(
            xscale="log", yscale="log", xlabel="noise level σ/α   (sampling runs to the right →)"
        )
        axes.invert_xaxis()
        axes.legend(fontsize=8)
    left.set_ylabel("distance to what data and constraint share")
    left.set_title("dots DDIM, crosses η = 1; lines: the theory, drawn through the end", fontsize=9)
    middle.set_title("the same; curved sets follow the theory near the end", fontsize=9)
    names = [row.sampler for row in reach]
    for shift, name in ((-0.2, "reached"), (0.2, "alone")):
        shares = [getattr(row, name) for row in reach]
        label = "constrained" if name == "reached" else "without the constraint"
        right.bar(
            [i + shift for i in range(len(reach))],
            [s.value for s in shares],
            width=0.38,
            yerr=[[s.value - s.low for s in shares], [s.high - s.value for s in shares]],
            label=label,
            capsize=3,
        )
    right.set_xticks(range(len(reach)), names, fontsize=8)
    right.set_ylabel("runs that end in a point of both")
    right.set_title(reach[0].case if reach else "", fontsize=9)
    right.legend(fontsize=8)
    save_and_close(figure, path)
