"""The study's table and its verdict: who has fewer peculiar figures than the teacher, and at what
cost.

Two points of the study start from the same noise and are compared figure by figure. In a group of
points (momentum with β < 0, say) p-values are Holm's, so that one lucky point of forty decides
nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from diffdescent.base.statistics import holm, points

from .comparison import REFERENCES, Paired, Reference, Row
from .points import BASE, TEACHER, Point

LEVEL = 0.05


Result = Literal["fewer", "unreadable instead", "more", "no difference"]


@dataclass(frozen=True)
class Standing:
    """One point against a reference. ``p`` and ``p_abnormal`` are adjusted for the group's size
    (Holm)."""

    row: Row
    pair: Paired
    p: float
    p_abnormal: float

    @property
    def result(self) -> Result:
        """``fewer`` peculiar figures; fewer, but more ``unreadable instead``; ``more`` abnormal
        ones; or no difference.

        That momentum costs something is taken from the abnormal figures without adjustment: a point
        is said to be better only where there is no sign of a price.
        """
        gap, cost = self.pair.peculiar.difference.value, self.pair.abnormal
        if self.p < LEVEL and gap < 0:
            paid = cost.p < LEVEL and cost.difference.value > 0
            return "unreadable instead" if paid else "fewer"
        worse = self.p < LEVEL and gap > 0
        return (
            "more"
            if worse or (self.p_abnormal < LEVEL and cost.difference.value > 0)
            else "no difference"
        )


def group_of(point: Point) -> str | None:
    """The group whose size p-values are adjusted for; None for plain DDIM, which the others are
    compared with."""
    if "momentum" in point.recipe:
        return "momentum, β < 0" if "beta=-" in point.recipe else "momentum, β > 0"
    if point.recipe.startswith("ge"):
        return "gradient estimation"
    return None if point.recipe == BASE else "other samplers"


def standings(
    rows: Sequence[Row], group: str, reference: Reference, teacher: int = TEACHER
) -> list[Standing]:
    """The points of a group that can be compared with the reference; those with as many steps as
    the teacher are left out."""
    some = [
        r
        for r in rows
        if group_of(r.point) == group and reference in r.against and r.point.steps < teacher
    ]
    pairs = [r.against[reference] for r in some]
    adjusted = (holm([p.peculiar.p for p in pairs]), holm([p.abnormal.p for p in pairs]))
    return [Standing(*each) for each in zip(some, pairs, *adjusted, strict=True)]


def verdict(rows: Sequence[Row], teacher: int = TEACHER) -> str:
    """The study's answer as Markdown: does momentum go below the teacher, groups against
    references, and in words."""
    groups = list(dict.fromkeys(g for r in rows if (g := group_of(r.point))))
    lines = [
        "| points | against | fewer peculiar | unreadable instead | more | no difference |",
        "|" + " --- |" * 6,
    ]
    for group in sorted(groups):
        for reference, name in REFERENCES.items():
            found = standings(rows, group, reference, teacher)
            if found and not (reference == "base" and "momentum" not in group):
                results: list[Result] = [s.result for s in found]
                counts = (
                    results.count(r)
                    for r in ("fewer", "unreadable instead", "more", "no difference")
                )
                lines.append(f"| {group} | {name} | " + " | ".join(map(str, counts)) + " |")
    sentences = [
        _sentence(group, standings(rows, group, reference, teacher), name)
        for group in sorted(groups) if "momentum" in group for reference, name in REFERENCES.items()
    ]  # fmt: skip
    return "\n".join(
        [_headline(rows, teacher), "", *lines, "", *(f"- {s}" for s in sentences if s)]
    )


def _headline(rows: Sequence[Row], teacher: int) -> str:
    """Does momentum go below the teacher, or only approach it?"""
    groups = sorted({g for r in rows if (g := group_of(r.point)) and "momentum" in g})
    found = {
        g: standings(rows, g, "teacher", teacher) + standings(rows, g, "ancestral", teacher)
        for g in groups
    }
    tried = [s for some in found.values() for s in some]
    if not tried:
        return "**No momentum next to a teacher yet, so there is no verdict.**"
    points = {s.row.point for s in tried}
    below = {s.row.point for s in tried if s.result == "fewer"}
    told = (
        f"**Momentum goes below a teacher at {len(below)} of {len(points)} points.**"
        if below
        else f"**Momentum does not go below the teachers: none of {len(points)} points has fewer"
        " peculiar figures than one of them without more unreadable ones.**"
    )
    for group in groups:
        apart = _apart_by_steps(standings(rows, group, "teacher", teacher))
        if len(apart) > 1:
            (few, first), (many, last) = min(apart.items()), max(apart.items())
            nears = "approaches" if last < first else "does not approach"
            told += (
                f" With more steps, {group.replace('momentum, ', 'momentum with ')} {nears} the"
                f" DDIM teacher figure by figure: {100 * first:.0f} % are peculiar in one of the"
                f" two alone at {few} steps, {100 * last:.0f} % at {many}."
            )
    return told


def _sentence(group: str, found: Sequence[Standing], name: str) -> str:
    if not found:
        return ""
    better = [s for s in found if s.result == "fewer"]
    same = [s for s in found if s.result == "no difference"]
    told = f"{group}, against {name}: "
    if better:
        best = min(better, key=lambda s: s.pair.peculiar.difference.value)
        told += (
            f"{len(better)} of {len(found)} points have fewer peculiar figures and no more"
            f" unreadable ones, most `{best.row.point.recipe}` with {best.row.point.steps} steps:"
            f" {points(best.pair.peculiar.difference)} (p = {best.p:.2g})"
        )
    else:
        told += f"no point of {len(found)} has fewer peculiar figures without more unreadable ones"
        if same:
            lowest = min(same, key=lambda s: s.pair.peculiar.difference.low)
            least = -100 * lowest.pair.peculiar.difference.low
            told += (
                f"; what the intervals leave open is at most {least:.1f} points less "
                f"(`{lowest.row.point.recipe}`, {lowest.row.point.steps} steps, n = {lowest.row.n})"
            )
    shares = ", ".join(f"{100 * a:.0f} % at {t}" for t, a in _apart_by_steps(found).items())
    return told + f". Figures that are peculiar in one of the two alone, by steps: {shares}."


def _apart_by_steps(found: Sequence[Standing]) -> dict[int, float]:
    """Share of figures that are peculiar in one of the two alone, averaged over the points of as
    many steps."""
    steps = sorted({s.row.point.steps for s in found})
    both = {t: [s.pair.peculiar for s in found if s.row.point.steps == t] for t in steps}
    return {
        t: float(np.mean([(d.here + d.there) / d.n for d in pairs])) for t, pairs in both.items()
    }
