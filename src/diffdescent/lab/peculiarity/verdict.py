"""The study's table and its verdict: who has fewer peculiar figures than the teacher, and at what
cost.

Two points of the study start from the same noise and are compared figure by figure. In a group of
points (momentum with β < 0, say) p-values are Holm's, so that one lucky point of forty decides
nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache

import numpy as np

from diffdescent.base.statistics import holm, points

from .comparison import REFERENCES, Paired, Reference, Row
from .points import BASE, TEACHER, Point

LEVEL = 0.05


class Result(Enum):
    """How a point stands against a reference; the values are the columns of the verdict's table."""

    FEWER = "fewer peculiar"
    UNREADABLE_INSTEAD = "unreadable instead"
    MORE = "more"
    NO_DIFFERENCE = "no difference"


class Group(Enum):
    """Points whose p-values are adjusted together."""

    ESTIMATION = "gradient estimation"
    NEGATIVE_MOMENTUM = "momentum, β < 0"
    POSITIVE_MOMENTUM = "momentum, β > 0"
    OTHER = "other samplers"

    @property
    def has_momentum(self) -> bool:
        return self in (Group.NEGATIVE_MOMENTUM, Group.POSITIVE_MOMENTUM)


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
        """Fewer peculiar figures; fewer, but more unreadable instead; more abnormal ones; or no
        difference.

        That momentum costs something is taken from the abnormal figures without adjustment: a point
        is said to be better only where there is no sign of a price.
        """
        gap, cost = self.pair.peculiar.difference.value, self.pair.abnormal
        if self.p < LEVEL and gap < 0:
            paid = cost.p < LEVEL and cost.difference.value > 0
            return Result.UNREADABLE_INSTEAD if paid else Result.FEWER
        worse = self.p < LEVEL and gap > 0
        worse = worse or (self.p_abnormal < LEVEL and cost.difference.value > 0)
        return Result.MORE if worse else Result.NO_DIFFERENCE


@cache
def group_of(point: Point) -> Group | None:
    """The group whose size p-values are adjusted for; None for plain DDIM, which the others are
    compared with."""
    if (beta := point.momentum) is not None:
        return Group.NEGATIVE_MOMENTUM if beta < 0 else Group.POSITIVE_MOMENTUM
    if point.estimates_gradients:
        return Group.ESTIMATION
    return None if point.recipe == BASE else Group.OTHER


def _groups(rows: Sequence[Row]) -> list[Group]:
    """The groups that there are, in the order in which they are shown."""
    found = {group_of(row.point) for row in rows}
    return [group for group in Group if group in found]


def standings(
    rows: Sequence[Row], group: Group, reference: Reference, teacher: int = TEACHER
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
    titles = " | ".join(result.value for result in Result)
    head = [f"| points | against | {titles} |", "|" + " --- |" * (2 + len(Result))]
    lines, sentences = [], []
    for group, (reference, name) in itertools.product(_groups(rows), REFERENCES.items()):
        found = standings(rows, group, reference, teacher)
        if found and (group.has_momentum or reference != "base"):
            results = [standing.result for standing in found]
            counts = " | ".join(str(results.count(result)) for result in Result)
            lines.append(f"| {group.value} | {name} | {counts} |")
        if found and group.has_momentum:
            sentences.append(f"- {_sentence(group, found, name)}")
    parts = [[_headline(rows, teacher)], [*head, *lines] if lines else [], sentences]
    return "\n\n".join("\n".join(part) for part in parts if part)


def _headline(rows: Sequence[Row], teacher: int) -> str:
    """Does momentum go below the teacher, or only approach it?"""
    groups = [group for group in _groups(rows) if group.has_momentum]
    found = {
        g: standings(rows, g, "teacher", teacher) + standings(rows, g, "ancestral", teacher)
        for g in groups
    }
    tried = [s for some in found.values() for s in some]
    if not tried:
        return "**No momentum next to a teacher yet, so there is no verdict.**"
    every = {s.row.point for s in tried}
    below = {s.row.point for s in tried if s.result is Result.FEWER}
    text = (
        f"**Momentum goes below a teacher at {len(below)} of {len(every)} points.**"
        if below
        else f"**Momentum does not go below the teachers: none of {len(every)} points has fewer"
        " peculiar figures than one of them without more unreadable ones.**"
    )
    for group in groups:
        apart = _apart_by_steps(standings(rows, group, "teacher", teacher))
        if len(apart) > 1:
            (few, first), (many, last) = min(apart.items()), max(apart.items())
            nears = "approaches" if last < first else "does not approach"
            text += (
                f" With more steps, {group.value.replace(', ', ' with ')} {nears} the"
                f" DDIM teacher figure by figure: {100 * first:.0f} % are peculiar in one of the"
                f" two alone at {few} steps, {100 * last:.0f} % at {many}."
            )
    return text


def _sentence(group: Group, found: Sequence[Standing], name: str) -> str:
    better = [s for s in found if s.result is Result.FEWER]
    same = [s for s in found if s.result is Result.NO_DIFFERENCE]
    text = f"{group.value}, against {name}: "
    if better:
        best = min(better, key=lambda s: s.pair.peculiar.difference.value)
        text += (
            f"{len(better)} of {len(found)} points have fewer peculiar figures and no more"
            f" unreadable ones, most `{best.row.point.recipe}` with {best.row.point.steps} steps:"
            f" {points(best.pair.peculiar.difference)} (p = {best.p:.2g})"
        )
    else:
        text += f"no point of {len(found)} has fewer peculiar figures without more unreadable ones"
        if same:
            lowest = min(same, key=lambda s: s.pair.peculiar.difference.low)
            least = -100 * lowest.pair.peculiar.difference.low
            text += (
                f"; what the intervals leave open is at most {least:.1f} points less "
                f"(`{lowest.row.point.recipe}`, {lowest.row.point.steps} steps, n = {lowest.row.n})"
            )
    shares = ", ".join(f"{100 * a:.0f} % at {t}" for t, a in _apart_by_steps(found).items())
    return text + f". Figures that are peculiar in one of the two alone, by steps: {shares}."


def _apart_by_steps(found: Sequence[Standing]) -> dict[int, float]:
    """Share of figures that are peculiar in one of the two alone, averaged over the points of as
    many steps."""
    steps = sorted({s.row.point.steps for s in found})
    both = {t: [s.pair.peculiar for s in found if s.row.point.steps == t] for t in steps}
    return {
        t: float(np.mean([(d.here + d.there) / d.n for d in pairs])) for t, pairs in both.items()
    }
