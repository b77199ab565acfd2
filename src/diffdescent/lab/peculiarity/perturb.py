"""Real poses made wrong on purpose, to ask a measure of peculiarity whether it notices."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from diffdescent.base.errors import UserError
from diffdescent.base.statistics import Share, sign_test, wilson

from .clusters import Clusters, distances
from .poses import COCO17, Array, Poses, convert

Bools = npt.NDArray[np.bool_]
_Changed = tuple[Array, Bools]


def _at(*names: str) -> list[int]:
    return [COCO17.index(name) for name in names]


_LEFT_LEG, _RIGHT_LEG = _at("left_knee", "left_ankle"), _at("right_knee", "right_ankle")
_LEFT_ARM, _RIGHT_ARM = _at("left_elbow", "left_wrist"), _at("right_elbow", "right_wrist")


def displaced(size: float) -> Callable[[Poses, np.random.Generator], _Changed]:
    """One present joint moved in a random direction by ``size`` times the longer side of the
    person's box of joints."""

    def change(poses: Poses, rng: np.random.Generator) -> _Changed:
        there = poses.present
        joints = np.array(poses.joints)
        low, high = np.nanmin(joints, axis=1), np.nanmax(joints, axis=1)
        draws = np.where(there, rng.random(there.shape), -1)
        which, angle = draws.argmax(1), rng.uniform(0, 2 * np.pi, len(poses))
        step = size * (high - low).max(1)[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
        joints[np.arange(len(poses)), which] += step
        return joints, np.asarray(there.any(1))

    return change


def swapped(a: list[int], b: list[int]) -> Callable[[Poses, np.random.Generator], _Changed]:
    """Two limbs change places: joints ``a`` are where ``b`` were and the other way round."""

    def change(poses: Poses, rng: np.random.Generator) -> _Changed:
        joints = np.array(poses.joints)
        joints[:, a], joints[:, b] = poses.joints[:, b], poses.joints[:, a]
        return joints, np.asarray(poses.present[:, a + b].all(1))

    return change


def doubled(
    source: list[int], target: list[int]
) -> Callable[[Poses, np.random.Generator], _Changed]:
    """One limb found twice: joints ``target`` lie where ``source`` is, as when two legs are drawn
    on one side."""

    def change(poses: Poses, rng: np.random.Generator) -> _Changed:
        joints = np.array(poses.joints)
        joints[:, target] = poses.joints[:, source]
        return joints, np.asarray(poses.present[:, source + target].all(1))

    return change


CHANGES: dict[str, Callable[[Poses, np.random.Generator], _Changed]] = {
    "joint displaced by 10 %": displaced(0.1),
    "joint displaced by 25 %": displaced(0.25),
    "joint displaced by 50 %": displaced(0.5),
    "joint displaced by 100 %": displaced(1.0),
    "arm and leg swapped": swapped(_LEFT_ARM, _LEFT_LEG),
    "legs swapped": swapped(_LEFT_LEG, _RIGHT_LEG),
    "arms swapped": swapped(_LEFT_ARM, _RIGHT_ARM),
    "leg doubled": doubled(_LEFT_LEG, _RIGHT_LEG),
}
"""A displacement is a share of the longer side of the person's box of joints."""


CAUGHT = 0.95
"""Quantile of unchanged persons' distances beyond which a person is taken for peculiar."""


@dataclass(frozen=True)
class Effect:
    """What one change does to the distance to the nearest of ``k`` centres.

    ``rises``: share of persons whose distance rises, with its interval. ``p``: two-sided paired
    sign test, ties left out. ``caught``: share whose distance is above the 95th percentile of
    unchanged persons. ``before``, ``after``: median RMSE.
    """

    change: str
    k: int
    rises: Share
    p: float
    caught: Share
    before: float
    after: float

    @property
    def blind(self) -> bool:
        """Whether the distance finds the changed among the unchanged no better than by chance (5
        %)."""
        return self.caught.low <= 1 - CAUGHT


def effects(poses: Poses, clusters: Clusters, *, seed: int = 0) -> list[Effect]:
    """Every change of :data:`CHANGES` at every number of clusters, on the same persons before and
    after.

    Raises:
        UserError: nobody has enough joints to be measured, or all those that a change moves.
    """
    everyone = convert(poses, "coco17")
    people = everyone.chosen(everyone.present.sum(1) >= clusters.least)
    if not len(people):
        raise UserError(
            f"None of the {len(poses)} persons has {clusters.least} joints; give fuller poses."
        )
    found = []
    for number, (name, change) in enumerate(CHANGES.items()):
        joints, able = change(people, np.random.default_rng([seed, number]))
        unchanged = people.chosen(able)
        if not len(unchanged):
            raise UserError(
                f"None of the {len(people)} persons has all the joints that are needed for: {name}."
            )
        changed = dataclasses.replace(unchanged, joints=joints[able])
        for k in sorted(clusters.centres):
            before, after = (
                distances(unchanged, clusters, k).rmse,
                distances(changed, clusters, k).rmse,
            )
            up, down = int((after > before).sum()), int((after < before).sum())
            above = int((after > np.quantile(before, CAUGHT)).sum())
            found.append(
                Effect(
                    name,
                    k,
                    wilson(up, len(before)),
                    sign_test(up, down),
                    wilson(above, len(before)),
                    float(np.median(before)),
                    float(np.median(after)),
                )
            )
    return found
