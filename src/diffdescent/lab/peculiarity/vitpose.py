"""An estimator of human poses from local folders: ViTPose (Xu et al. 2022) on the boxes of a
detector, both of ``transformers``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.base.reading import reason

from .poses import COCO17, Array, Layout

PERSON = "person"
"""The detector's label of a person."""


class VitPose:
    """A :class:`~.poses.PoseEstimator`: persons by an object detector (RT-DETR, DETR, …), the
    joints of each by ViTPose.

    Both are folders on this disk as ``save_pretrained`` writes them, with their image processors;
    nothing is downloaded. Confidences are the peaks of ViTPose's heat maps.

    Args:
        detector: the detector's folder; one of its labels must be ``person``.
        pose: the folder of a ViTPose with COCO's 17 joints.
        least: persons whose box has a lower score than this are left out, in [0, 1].
        device: where both run.

    Raises:
        UserError: missing extras, folders that hold something else, a detector that knows no
            person, and another number of joints.
    """

    def __init__(
        self, detector: str | Path, pose: str | Path, *, least: float = 0.3, device: str = "cpu"
    ) -> None:
        if not 0 <= least <= 1:
            raise UserError(f"The least score of a box lies in [0, 1], and is not {least:g}.")
        self.layout: Layout = "coco17"
        self.least, self.device = least, device
        self.detector, self.boxes = _loaded(detector, "AutoModelForObjectDetection", device)
        self.pose, self.joints = _loaded(pose, "VitPoseForPoseEstimation", device)
        labels = {str(v).lower(): int(k) for k, v in self.detector.config.id2label.items()}
        if PERSON not in labels:
            raise UserError(
                f"The detector in {detector} knows no {PERSON!r}; give one that was trained on"
                " COCO."
            )
        self.person = labels[PERSON]
        if self.pose.config.num_labels != len(COCO17):
            raise UserError(
                f"The ViTPose in {pose} has {self.pose.config.num_labels} joints, and COCO's"
                f" {len(COCO17)} are wanted; give one that was trained on COCO keypoints."
            )

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Sequence[Array]:
        """For each of the uint8 images (n, C, H, W), an array (persons, 17, 3) of x, y,
        confidence."""
        return [self._persons(one.expand(3, -1, -1).permute(1, 2, 0).numpy()) for one in images]

    def _persons(self, image: np.ndarray[Any, np.dtype[np.uint8]]) -> Array:
        height, width = image.shape[:2]
        seen = self.boxes(images=image, return_tensors="pt").to(self.device)
        found = self.boxes.post_process_object_detection(
            self.detector(**seen), target_sizes=[(height, width)], threshold=self.least
        )[0]
        corners = found["boxes"][found["labels"] == self.person].float().cpu().numpy()
        if not len(corners):
            return np.empty((0, len(COCO17), 3))
        boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1)
        asked = self.joints(images=image, boxes=[boxes], return_tensors="pt").to(self.device)
        more = {}
        if getattr(self.pose.config.backbone_config, "num_experts", 1) > 1:
            more["dataset_index"] = torch.zeros(len(boxes), dtype=torch.int64, device=self.device)
        people = self.joints.post_process_pose_estimation(
            self.pose(**asked, **more), boxes=[boxes]
        )[0]
        rows = [
            np.concatenate([p["keypoints"].cpu().numpy(), p["scores"].cpu().numpy()[:, None]], 1)
            for p in people
        ]
        return np.stack(rows).astype(np.float64)


def _loaded(folder: str | Path, kind: str, device: str) -> tuple[Any, Any]:
    """The model of a folder and its image processor."""
    try:
        import transformers
    except ImportError:
        raise UserError(
            "ViTPose needs transformers; install it with: pip install 'diffdescent[diffusers]'."
        ) from None
    if not Path(folder).is_dir():
        raise UserError(f"There is no folder {str(folder)!r}; give one that save_pretrained wrote.")
    try:
        cls = getattr(transformers, kind)
        model, loaded = cls.from_pretrained(
            str(folder), local_files_only=True, use_safetensors=True, output_loading_info=True
        )
        if loaded["missing_keys"]:  # the library would go on with random numbers
            raise ValueError(f"{len(loaded['missing_keys'])} of its weights are not there")
        processor = transformers.AutoImageProcessor.from_pretrained(
            str(folder), local_files_only=True
        )
    except Exception as error:  # a damaged folder can raise anything in the library
        raise UserError(
            f"{folder} does not hold what {kind} loads ({reason(error)}); give such a folder with"
            " its image processor."
        ) from error
    return model.to(device).eval().requires_grad_(False), processor
