"""Poses of people: joints with confidences, the two usual joint layouts, and mean joint confidence.

Nothing is guessed about a joint that is not there: its confidence is 0 and its place NaN, and every
function says what it does with it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor

from diffdescent.base.errors import UserError, unknown

Array = npt.NDArray[np.float64]
Layout = Literal["coco17", "body25"]

COCO17 = (
    "nose",
    "left_eye",
    "right_eye",
    "left_ear",
    "right_ear",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
)
"""Joints of COCO keypoint files, in their order."""
BODY25 = (
    "nose",
    "neck",
    "right_shoulder",
    "right_elbow",
    "right_wrist",
    "left_shoulder",
    "left_elbow",
    "left_wrist",
    "mid_hip",
    "right_hip",
    "right_knee",
    "right_ankle",
    "left_hip",
    "left_knee",
    "left_ankle",
    "right_eye",
    "left_eye",
    "right_ear",
    "left_ear",
    "left_big_toe",
    "left_small_toe",
    "left_heel",
    "right_big_toe",
    "right_small_toe",
    "right_heel",
)
"""Joints of OpenPose's BODY_25 model, in their order."""
JOINTS: dict[str, tuple[str, ...]] = {"coco17": COCO17, "body25": BODY25}

_MOST = 1.2
"""OpenPose interpolates the peaks of its maps, so that its confidences now and then exceed 1 by a
few hundredths."""
_BETWEEN = {"neck": ("left_shoulder", "right_shoulder"), "mid_hip": ("left_hip", "right_hip")}


@dataclass(frozen=True)
class Poses:
    """Persons found in images.

    ``joints`` (n, J, 2): x to the right and y downwards in any unit, NaN where absent.
    ``confidence`` (n, J) in [0, 1], 0 where absent. ``image`` (n,): each person's place in
    ``images``, the names of all images looked at, also of those in which nobody was found.
    """

    joints: Array
    confidence: Array
    image: npt.NDArray[np.int64]
    images: tuple[str, ...]
    layout: Layout

    def __post_init__(self) -> None:
        if self.layout not in JOINTS:
            raise unknown("joint layout", self.layout, JOINTS)
        expected = (len(self.image), len(JOINTS[self.layout]))
        if self.confidence.shape != expected or self.joints.shape != (*expected, 2):
            raise UserError(
                f"Poses in {self.layout} need joints of shape {(*expected, 2)} and confidences of"
                f" shape {expected}, not {self.joints.shape} and {self.confidence.shape}."
            )

    def __len__(self) -> int:
        return len(self.image)

    @property
    def present(self) -> npt.NDArray[np.bool_]:
        """Which joints are there, (n, J)."""
        return self.confidence > 0

    @property
    def persons(self) -> npt.NDArray[np.int64]:
        """How many persons each image has, (len(images),)."""
        return np.bincount(self.image, minlength=len(self.images))

    def chosen(self, which: npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> Poses:
        """Some of the persons; the images stay."""
        return dataclasses.replace(
            self,
            joints=self.joints[which],
            confidence=self.confidence[which],
            image=self.image[which],
        )


def make_poses(
    joints: Array, confidence: Array, image: Sequence[int], images: Sequence[str], layout: Layout
) -> Poses:
    """Poses from arrays; a joint of no confidence, or at no finite place, becomes absent.

    Raises:
        UserError: shapes that do not fit the layout, or confidences outside [0, 1].
    """
    there = (confidence > 0) & np.isfinite(joints).all(-1)
    confidence = np.where(there, confidence, 0.0)
    if confidence.size and confidence.max() > _MOST:
        raise UserError(
            f"A joint has confidence {confidence.max():.4g}; expected confidences between 0 and 1."
        )
    joints = np.where(there[..., None], joints, np.nan)
    return Poses(joints, confidence, np.asarray(image, np.int64), tuple(images), layout)


def convert(poses: Poses, layout: Layout) -> Poses:
    """The same persons in another joint layout, matched by name.

    From ``coco17`` to ``body25``, neck and mid hip are the middle of the two shoulders and of the
    two hips, with the lower of the two confidences, absent where either is; the feet are absent.
    From ``body25`` to ``coco17`` neck, mid hip and feet are dropped.
    """
    if layout not in JOINTS:
        raise unknown("joint layout", layout, JOINTS)
    if layout == poses.layout:
        return poses
    names = JOINTS[poses.layout]
    joints = np.full((len(poses), len(JOINTS[layout]), 2), np.nan)
    confidence = np.zeros(joints.shape[:2])
    for j, name in enumerate(JOINTS[layout]):
        sources = (name,) if name in names else _BETWEEN.get(name, ())
        if sources:
            at = [names.index(s) for s in sources]
            joints[:, j] = poses.joints[:, at].mean(1)  # NaN, that is absent, where one of them is
            confidence[:, j] = poses.confidence[:, at].min(1)
    return dataclasses.replace(poses, joints=joints, confidence=confidence, layout=layout)


def normalise(poses: Poses) -> Array:
    """Min–max normalised joints (n, J, 2): per person and axis, the present joints fill [0, 1]; NaN
    where absent.

    An axis along which all present joints agree becomes 0.
    Source: Jang et al. 2024, Eq. 10.
    """
    if not len(poses):
        return np.array(poses.joints)
    there = poses.present[..., None]
    low = np.where(there, poses.joints, np.inf).min(1, keepdims=True)
    high = np.where(there, poses.joints, -np.inf).max(1, keepdims=True)
    span = high - low
    with np.errstate(invalid="ignore"):  # a person without any joint: inf − inf
        scaled: Array = (poses.joints - low) / np.where(span > 0, span, 1.0)
    return scaled


@dataclass(frozen=True)
class Confidence:
    """Mean joint confidence; a group is an image with at least two persons, or one whose prompt
    asked for several.

    ``mean``, ``single``, ``group`` average over the persons of all, of one-person and of group
    images, None where there are none. ``persons`` and ``images`` count, ``empty`` images have no
    person and enter no mean.
    """

    mean: float | None
    single: float | None
    group: float | None
    persons: int
    images: int
    empty: int


def person_confidence(poses: Poses) -> Array:
    """Mean confidence over all joints of each person (n,); an absent joint counts 0."""
    return np.asarray(poses.confidence.mean(1))


def singles(poses: Poses, groups: Collection[str] | None = None) -> npt.NDArray[np.bool_]:
    """Which persons (n,) are of an image of one person: by how many were found in it, or, with
    ``groups``, the names of the images whose prompt asked for several, by the prompt.

    The paper generates "single person" and "group" images by their prompts. A second person who
    appears in an image of one is then still in a single image.

    Raises:
        UserError: a name that no image has.
    """
    if groups is None:
        return np.asarray(poses.persons[poses.image] == 1)
    for name in groups:
        if name not in poses.images:
            raise unknown("image", name, poses.images)
    several = np.array([name in groups for name in poses.images], bool)
    return np.asarray(~several[poses.image])


def joint_confidence(poses: Poses, groups: Collection[str] | None = None) -> Confidence:
    """Mean joint confidence over all joints of all persons (Jang et al. 2024, Eq. 9); an absent
    joint counts 0.

    Images without a person are counted, not averaged as zeros. ``groups`` are the images whose
    prompt asked for a group, None goes by the number of persons found (:func:`singles`).
    """
    each = person_confidence(poses)
    alone = singles(poses, groups)

    def mean(values: Array) -> float | None:
        return float(values.mean()) if len(values) else None

    empty = int((poses.persons == 0).sum())
    return Confidence(
        mean(each), mean(each[alone]), mean(each[~alone]), len(poses), len(poses.images), empty
    )


class PoseEstimator(Protocol):
    """Anything that finds people: give it a class with ``layout`` and this call, and
    :func:`estimate` does the rest."""

    layout: Layout

    def __call__(self, images: Tensor) -> Sequence[Array]:
        """For each of the uint8 images (n, C, H, W), an array (persons, J, 3) of x, y, confidence
        in [0, 1]."""
        ...


def estimate(
    estimator: PoseEstimator, images: Tensor, names: Sequence[str] | None = None, batch: int = 16
) -> Poses:
    """The poses that an estimator finds in uint8 images (n, C, H, W).

    Raises:
        UserError: the estimator returns another number of arrays, or arrays of another shape, than
            it should.
    """
    joints = len(JOINTS[estimator.layout])
    found: list[Array] = []
    for begin in range(0, len(images), batch):
        part = images[begin : begin + batch]
        answers = list(estimator(part))
        if len(answers) != len(part):
            raise UserError(
                f"The pose estimator gave {len(answers)} answers for {len(part)} images; expected"
                " one each."
            )
        found += [_persons(answer, joints, estimator.layout) for answer in answers]
    image = np.repeat(np.arange(len(found)), [len(a) for a in found])
    rows = np.concatenate(found) if found else np.empty((0, joints, 3))
    labels = names if names is not None else [str(i) for i in range(len(images))]
    if len(labels) != len(images):
        raise UserError(
            f"There are {len(labels)} names for {len(images)} images; give one each, or none."
        )
    return make_poses(rows[..., :2], rows[..., 2], image.tolist(), labels, estimator.layout)


def _persons(answer: Array, joints: int, layout: Layout) -> Array:
    """What an estimator found in one image, (persons, J, 3); anything empty is nobody."""
    found = np.asarray(answer, np.float64)
    if not found.size:
        return np.empty((0, joints, 3))
    if found.ndim != 3 or found.shape[1:] != (joints, 3):
        raise UserError(
            f"The pose estimator gave an array of shape {found.shape}; expected (persons, {joints},"
            f" 3), which is x, y and confidence of the joints of {layout}."
        )
    return found
