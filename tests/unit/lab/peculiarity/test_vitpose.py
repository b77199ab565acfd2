"""ViTPose on a detector's boxes, with tiny networks of random weights saved here."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from diffdescent.base.errors import UserError
from diffdescent.base.images import save_png
from diffdescent.lab.peculiarity.poses import estimate
from diffdescent.lab.peculiarity.vitpose import VitPose
from tests.end_to_end.cli.command import run

transformers = pytest.importorskip("transformers")
IMAGES = torch.randint(
    0, 255, (2, 3, 40, 50), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A detector that takes all of its five boxes for persons, and a ViTPose."""
    folder = tmp_path_factory.mktemp("vitpose")
    torch.manual_seed(0)
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    backbone = transformers.VitPoseBackboneConfig(
        **size, image_size=[64, 48], patch_size=[16, 16], out_indices=[1]
    )
    pose = transformers.VitPoseForPoseEstimation(
        transformers.VitPoseConfig(backbone_config=backbone, num_labels=17)
    )
    pose.save_pretrained(folder / "pose")
    shape = {"height": 64, "width": 48}
    transformers.VitPoseImageProcessorPil(size=shape).save_pretrained(folder / "pose")
    names = {0: "cat", 1: "person"}
    detector = transformers.YolosForObjectDetection(
        transformers.YolosConfig(
            **size, intermediate_size=16, image_size=[64, 64], patch_size=16,
            num_detection_tokens=5, id2label=names, label2id={v: k for k, v in names.items()},
        )
    )  # fmt: skip
    detector.class_labels_classifier.layers[-1].bias.data = torch.tensor([-9.0, 9.0, -9.0])
    detector.save_pretrained(folder / "detector")
    square = {"height": 64, "width": 64}
    transformers.YolosImageProcessorPil(size=square).save_pretrained(folder / "detector")
    return folder / "detector", folder / "pose"


def test_every_box_of_a_person_gets_its_joints(folders: tuple[Path, Path]) -> None:
    estimator = VitPose(*folders)
    poses = estimate(estimator, IMAGES)
    assert poses.persons.tolist() == [5, 5]
    assert np.isfinite(poses.joints[poses.present]).all()
    assert poses.confidence.max() <= 1.2
    alone = estimate(estimator, IMAGES[1:])
    np.testing.assert_array_equal(alone.joints, poses.joints[5:])
    # ViTPose looks into the box, and its joints are in the image's pixels around there.
    seen = estimator.boxes(images=IMAGES[0].permute(1, 2, 0).numpy(), return_tensors="pt")
    found = estimator.boxes.post_process_object_detection(
        estimator.detector(**seen), target_sizes=[(40, 50)], threshold=0.3
    )[0]["boxes"]
    centres = (found[:, :2] + found[:, 2:]) / 2
    spread = (found[:, 2:] - found[:, :2]).max().item()
    for person, centre in zip(poses.joints[:5], centres.tolist(), strict=True):
        assert np.nanmax(np.abs(person - centre)) <= 2 * spread


def test_images_from_the_command_line(folders: tuple[Path, Path], tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for name, image in zip("ab", IMAGES, strict=True):
        save_png(image, pictures / f"{name}.png")
    asked = tmp_path / "groups.txt"
    asked.write_text("b\n")
    both = ["--detector", folders[0], "--vitpose", folders[1]]
    done = run("peculiarity", "poses", pictures, *both, "--groups", asked, "--json")
    found = json.loads(done.stdout)
    assert found["groups"] == "prompts"
    assert found["confidence"]["persons"] == 10
    assert found["confidence"]["single"] is not None
    wrong = run("peculiarity", "poses", pictures, *both[:2], code=2)
    assert "need both" in wrong.stderr


def test_folders_that_hold_something_else(folders: tuple[Path, Path], tmp_path: Path) -> None:
    detector, pose = folders
    with pytest.raises(UserError, match="There is no folder"):
        VitPose(tmp_path / "none", pose)
    with pytest.raises(UserError, match="does not hold what VitPoseForPoseEstimation loads"):
        VitPose(detector, detector)
