"""When a fit has paid for itself: how many evaluations a fixed sampler needs to be as near."""

from __future__ import annotations

from .fixed import Rival, light_search
from .loss import Loss
from .subject import Subject
from .teacher import Trajectories

FARTHEST = 3
"""The most evaluations at which fixed samplers are tried, over those of the fit."""


def as_near_as(
    subject: Subject,
    data: Trajectories,
    held: Trajectories,
    rival: Rival,
    loss: Loss,
    least: float,
) -> int | None:
    """The number of evaluations at which one of the fixed samplers that are tried there is as near
    on the held-out noises as ``least``, the mean loss of the fit on them; None where none is at
    :data:`FARTHEST` times the evaluations of ``rival``.

    At each number few recipes and grids are tried, so a wider search may find one that needs fewer
    evaluations. The numbers grow by half, and the last gap is halved: that more evaluations are
    nearer is taken for granted.
    """
    nfe = rival.plan.nfe

    def near(count: int) -> bool:
        return any(
            loss.mean(subject.run(one.plan, held.noise, held.cond)[-1], held.end) <= least
            for one in light_search(subject, data, count, rival, loss)
        )

    below, count = nfe, nfe + 1
    while not near(count):
        if count == FARTHEST * nfe:
            return None
        below, count = count, min(count + count // 2, FARTHEST * nfe)
    while count - below > 1:
        middle = (below + count) // 2
        below, count = (below, middle) if near(middle) else (middle, count)
    return count
