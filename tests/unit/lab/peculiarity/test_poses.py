"""Poses from files, layouts, missing joints, clusters, and the tests on shares."""

from __future__ import annotations

import json
import math
import zipfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from diffdescent.base.errors import UserError
from diffdescent.base.statistics import sign_test, wilson
from diffdescent.lab.peculiarity.clusters import (
    distances,
    fit_clusters,
    load_clusters,
    save_clusters,
)
from diffdescent.lab.peculiarity.perturb import displaced, doubled, effects, swapped
from diffdescent.lab.peculiarity.poses import (
    BODY25,
    COCO17,
    Poses,
    convert,
    estimate,
    joint_confidence,
    make_poses,
    normalise,
    singles,
)
from diffdescent.lab.peculiarity.readers import read_poses


def people(n: int, seed: int = 0, layout: str = "coco17", missing: float = 0.0) -> Poses:
    rng = np.random.default_rng(seed)
    joints = rng.normal(size=(n, len(COCO17 if layout == "coco17" else BODY25), 2))
    confidence = np.where(
        rng.random(joints.shape[:2]) < missing, 0.0, rng.uniform(0.2, 1, joints.shape[:2])
    )
    return make_poses(joints, confidence, list(range(n)), [str(i) for i in range(n)], layout)  # type: ignore[arg-type]


def openpose(*persons: list[float]) -> str:
    return json.dumps({"version": 1.3, "people": [{"pose_keypoints_2d": p} for p in persons]})


PERSON = [float(v) for j in range(25) for v in (10 * j, 5 * j + 1, 0.9)]


def test_openpose_folder_and_zip_hold_the_same_persons(tmp_path: Path) -> None:
    absent = [*PERSON[:3], 0.0, 0.0, 0.0, *PERSON[6:]]
    files = {"a_keypoints.json": openpose(PERSON, absent), "b_keypoints.json": openpose()}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for name, text in files.items():
            archive.writestr(f"json/{name}", text)
    folder, packed = read_poses(tmp_path), read_poses(tmp_path / "all.zip")
    assert folder.images == packed.images == ("a", "b")
    assert folder.persons.tolist() == [2, 0]
    np.testing.assert_array_equal(folder.joints, packed.joints)
    assert np.isnan(folder.joints[1, 1]).all()
    assert not folder.present[1, 1]
    assert folder.joints[0, 3].tolist() == [30.0, 16.0]
    one = read_poses(tmp_path / "a_keypoints.json")
    np.testing.assert_array_equal(one.joints, folder.joints)


def test_openpose_files_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for name in ("a/1_keypoints.json", "b/1_keypoints.json"):
            archive.writestr(name, openpose(PERSON))
    assert read_poses(tmp_path / "all.zip").images == ("a/1", "b/1")


def test_coco_annotations_detections_and_npz(tmp_path: Path) -> None:
    flat = [v for j in range(17) for v in (j, 2 * j, 2 if j % 3 else 0)]
    annotations = {
        "images": [{"id": 7}, {"id": 8}],
        "annotations": [{"image_id": 8, "keypoints": flat}],
    }
    (tmp_path / "annotations.json").write_text(json.dumps(annotations))
    found = read_poses(tmp_path / "annotations.json")
    assert found.images == ("7", "8")
    assert found.persons.tolist() == [0, 1]
    assert found.confidence[0].tolist() == [1.0 if j % 3 else 0.0 for j in range(17)]
    scores = [v for j in range(17) for v in (j, 2 * j, 0.5)]
    (tmp_path / "results.json").write_text(
        json.dumps([{"image_id": 1, "keypoints": scores, "score": 0.8}])
    )
    assert (read_poses(tmp_path / "results.json").confidence == 0.5).all()
    np.savez(
        tmp_path / "some.npz",
        kp=np.array(flat, np.float32).reshape(1, 17, 3),
        image_id=np.array([8]),
    )
    packed = read_poses(tmp_path / "some.npz")
    np.testing.assert_array_equal(packed.joints, found.joints)


def _write(path: Path, content: Any) -> Path:
    if isinstance(content, str):
        path.write_text(content)
    else:
        np.savez(path, **content)
    return path


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.json", openpose(PERSON[:54]), "18 joints where body25 has 25"),
        (
            "a.json",
            json.dumps({"annotations": [{"image_id": 1, "keypoints": [0.0] * 42}]}),
            "14 joints where coco17",
        ),
        ("a.json", "", "is empty"),
        ("a.json", '{"people": [', "is not JSON"),
        ("a.json", "{}", "not a pose file"),
        ("a.json", "[]", "no person with keypoints"),
        ("a.npz", {"points": np.zeros(3)}, "no array 'kp'"),
        ("a.npz", {"kp": np.zeros((2, 13, 3))}, "17 or 25"),
        ("a.npz", {"kp": np.full((2, 17, 3), "x")}, "expected numbers"),
        ("a.npz", {"kp": np.full((2, 17, 3), 3.7)}, "between 0 and 1"),
        ("a.npz", {"kp": np.ones((2, 17, 3)), "image_id": np.zeros(3)}, "one each"),
    ],
)
def test_bad_files_are_told_in_one_sentence(
    tmp_path: Path, name: str, content: Any, words: str
) -> None:
    with pytest.raises(UserError, match=words):
        read_poses(_write(tmp_path / name, content))


def test_missing_files_and_empty_folders(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no file"):
        read_poses(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"no \.json"):
        read_poses(tmp_path)


def test_layouts_match_by_name_and_come_back() -> None:
    coco = people(20, missing=0.3)
    body = convert(coco, "body25")
    for name in set(COCO17) & set(BODY25):
        a, b = COCO17.index(name), BODY25.index(name)
        np.testing.assert_array_equal(coco.joints[:, a], body.joints[:, b])
        np.testing.assert_array_equal(coco.confidence[:, a], body.confidence[:, b])
    left, right, neck = (
        COCO17.index("left_shoulder"),
        COCO17.index("right_shoulder"),
        BODY25.index("neck"),
    )
    both = coco.present[:, left] & coco.present[:, right]
    np.testing.assert_array_equal(body.present[:, neck], both)
    expected = (coco.joints[both, left] + coco.joints[both, right]) / 2
    np.testing.assert_allclose(body.joints[both, neck], expected)
    assert not body.present[:, 19:].any()  # feet
    back = convert(body, "coco17")
    np.testing.assert_array_equal(back.joints, coco.joints)
    np.testing.assert_array_equal(back.confidence, coco.confidence)


def test_absent_joints_count_zero_and_empty_images_are_stated() -> None:
    joints = np.ones((3, 17, 2))
    confidence = np.zeros((3, 17))
    confidence[0, :5], confidence[1], confidence[2] = 1.0, 0.5, 0.25
    found = joint_confidence(
        make_poses(joints, confidence, [0, 1, 1], ["one", "two", "none"], "coco17")
    )
    assert found.single == pytest.approx(5 / 17)
    assert found.group == pytest.approx(0.375)
    assert found.mean == pytest.approx((5 / 17 + 0.75) / 3)
    assert (found.persons, found.images, found.empty) == (3, 3, 1)


def test_a_group_is_the_prompts_or_how_many_were_found() -> None:
    """One person found where a group was asked for, and two where one was."""
    confidence = np.repeat([[0.5], [0.25], [0.75]], 17, 1)
    people = make_poses(np.ones((3, 17, 2)), confidence, [0, 1, 1], ["a", "b"], "coco17")
    found, asked = joint_confidence(people), joint_confidence(people, {"a"})
    assert (found.single, found.group) == pytest.approx((0.5, 0.5))
    assert singles(people).tolist() == [True, False, False]
    assert singles(people, {"a"}).tolist() == [False, True, True]
    assert (asked.single, asked.group) == pytest.approx((0.5, 0.5))
    assert joint_confidence(people, set()).group is None
    with pytest.raises(UserError, match="image 'c'"):
        singles(people, {"c"})


def test_normalised_poses_fill_the_unit_square_and_forget_place_and_size() -> None:
    poses = people(10, missing=0.2)
    unit = normalise(poses)
    assert np.nanmin(unit, axis=1) == pytest.approx(0)
    assert np.nanmax(unit, axis=1) == pytest.approx(1)
    moved = make_poses(
        poses.joints * [3.0, 7.0] + [100, -5],
        poses.confidence,
        list(poses.image),
        poses.images,
        "coco17",
    )
    np.testing.assert_allclose(normalise(moved), unit, atol=1e-12)
    flat = make_poses(np.ones((1, 17, 2)), np.ones((1, 17)), [0], ["a"], "coco17")
    assert (normalise(flat) == 0).all()


def test_kmeans_finds_separate_groups_also_with_joints_missing() -> None:
    rng = np.random.default_rng(1)
    true = normalise(people(3, seed=5))
    owner = np.arange(300) % 3
    joints = true[owner] + rng.normal(scale=0.005, size=(300, 17, 2))
    confidence = np.where(rng.random((300, 17)) < 0.2, 0.0, 1.0)
    poses = make_poses(joints, confidence, list(range(300)), [str(i) for i in range(300)], "coco17")
    clusters = fit_clusters(poses, (3,), seed=2, least=8)
    found = distances(poses, clusters, 3)
    groups = [set(found.nearest[owner[found.measured] == g]) for g in range(3)]
    assert all(len(g) == 1 for g in groups)
    assert len(set.union(*groups)) == 3


def test_distances_are_the_norm_and_rmse_over_what_is_there() -> None:
    poses = people(8, missing=0.0)
    clusters = fit_clusters(poses, (1, 2))
    centre = clusters.centres[1][0]
    np.testing.assert_allclose(centre, normalise(poses).mean(0))
    whole = distances(poses, clusters, 1)
    direct = np.linalg.norm((normalise(poses) - centre).reshape(8, -1), axis=1)
    np.testing.assert_allclose(whole.norm, direct)
    np.testing.assert_allclose(whole.rmse, direct / np.sqrt(34))
    few = np.zeros((8, 17))
    few[:, :8] = 1
    few[0, 7] = 0  # one joint too few
    part = make_poses(poses.joints, few, list(range(8)), poses.images, "coco17")
    found = distances(part, clusters, 1)
    assert found.measured.tolist() == [False] + [True] * 7
    squares = (normalise(part)[1:, :8] - centre[:8]) ** 2
    np.testing.assert_allclose(found.rmse, np.sqrt(squares.mean((1, 2))))


def test_distances_refuse_what_cannot_be_measured() -> None:
    poses = people(8)
    clusters = fit_clusters(poses, (2,))
    with pytest.raises(UserError, match="no 5 clusters"):
        distances(poses, clusters, 5)
    with pytest.raises(UserError, match="No person was found in 1 images"):
        distances(
            make_poses(np.empty((0, 17, 2)), np.empty((0, 17)), [], ["a"], "coco17"), clusters, 2
        )
    few = make_poses(
        poses.joints, poses.confidence * (np.arange(17) < 4), list(range(8)), poses.images, "coco17"
    )
    with pytest.raises(UserError, match="None of the 8 persons has 8 joints"):
        distances(few, clusters, 2)
    with pytest.raises(UserError, match="20 clusters cannot be made of 8 persons"):
        fit_clusters(poses, (20,))


def test_clusters_survive_the_disk_and_the_bundled_ones_are_whole(tmp_path: Path) -> None:
    clusters = fit_clusters(people(30), (2, 4))
    save_clusters(clusters, tmp_path / "c.npz")
    again = load_clusters(tmp_path / "c.npz")
    assert (again.layout, again.least, again.persons) == ("coco17", 8, 30)
    np.testing.assert_allclose(again.centres[4], clusters.centres[4], atol=1e-6)
    bundled = load_clusters()
    assert {k: c.shape for k, c in bundled.centres.items()} == {
        k: (k, 17, 2) for k in (5, 10, 15, 25, 50)
    }
    with pytest.raises(UserError, match="no clusters"):
        load_clusters(tmp_path / "other.npz")


def test_changes_do_what_they_say() -> None:
    poses = people(50, missing=0.2)
    rng = np.random.default_rng(0)
    joints, _ = displaced(0.5)(poses, rng)
    moved = np.nan_to_num(joints - poses.joints)
    assert ((np.abs(moved).sum(-1) > 0).sum(1) == 1).all()
    span = (np.nanmax(poses.joints, axis=1) - np.nanmin(poses.joints, axis=1)).max(1)
    np.testing.assert_allclose(np.linalg.norm(moved, axis=-1).max(1), 0.5 * span)
    joints, able = swapped([7], [13])(poses, rng)
    np.testing.assert_array_equal(joints[:, 7], poses.joints[:, 13])
    np.testing.assert_array_equal(able, poses.present[:, 7] & poses.present[:, 13])
    joints, _ = doubled([13], [14])(poses, rng)
    np.testing.assert_array_equal(joints[:, 14], poses.joints[:, 13])
    np.testing.assert_array_equal(joints[:, 13], poses.joints[:, 13])


def test_effects_notice_a_change_of_people_who_all_stand_alike() -> None:
    rng = np.random.default_rng(3)
    joints = people(1, seed=4).joints + rng.normal(scale=0.01, size=(200, 17, 2))
    poses = make_poses(
        joints, np.ones((200, 17)), list(range(200)), [str(i) for i in range(200)], "coco17"
    )
    found = effects(poses, fit_clusters(poses, (2,)))
    assert all(e.rises.low > 0.9 and e.p < 1e-20 and not e.blind for e in found)


def test_an_estimator_is_asked_batch_by_batch() -> None:
    class Fixed:
        layout = "coco17"

        def __call__(self, images: torch.Tensor) -> list[np.ndarray[Any, Any]]:
            return [np.full((int(i[0, 0, 0]), 17, 3), 0.5) for i in images]

    images = torch.tensor([2, 0, 1], dtype=torch.uint8)[:, None, None, None].expand(3, 1, 4, 4)
    found = estimate(Fixed(), images, batch=2)  # type: ignore[arg-type]
    assert found.persons.tolist() == [2, 0, 1]
    assert found.image.tolist() == [0, 0, 2]

    class Short(Fixed):
        def __call__(self, images: torch.Tensor) -> list[np.ndarray[Any, Any]]:
            return []

    with pytest.raises(UserError, match="0 answers for 3 images"):
        estimate(Short(), images)  # type: ignore[arg-type]

    class Other(Fixed):
        def __call__(self, images: torch.Tensor) -> list[np.ndarray[Any, Any]]:
            return [
                np.full((17, 18, 3), 0.5) for _ in images
            ]  # 17 persons of 18 joints, not 18 of 17

    with pytest.raises(UserError, match=r"shape \(17, 18, 3\)"):
        estimate(Other(), images)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="2 names for 3 images"):
        estimate(Fixed(), images, ["a", "b"])  # type: ignore[arg-type]


def test_a_damaged_zip_and_shadow_files(tmp_path: Path) -> None:
    path = tmp_path / "poses.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a_keypoints.json", openpose(PERSON))
        archive.writestr("__MACOSX/._a_keypoints.json", b"\x00\x05")
    assert read_poses(path).images == ("a",)
    data = bytearray(path.read_bytes())
    data[60] ^= 0xFF  # inside the first member: its checksum no longer fits
    path.write_bytes(data)
    with pytest.raises(UserError, match="damaged zip"):
        read_poses(path)


def test_changes_that_nobody_can_undergo_are_named() -> None:
    poses = people(8)
    clusters = fit_clusters(poses, (2,))
    upper = poses.confidence * (np.arange(17) < 11)  # no legs
    half = make_poses(poses.joints, upper, list(range(8)), poses.images, "coco17")
    with pytest.raises(UserError, match="arm and leg swapped"):
        effects(half, clusters)
    few = make_poses(
        poses.joints, upper * (np.arange(17) < 5), list(range(8)), poses.images, "coco17"
    )
    with pytest.raises(UserError, match="None of the 8 persons has 8 joints"):
        effects(few, clusters)


def test_the_sign_test_is_exact_and_wilson_is_scipys() -> None:
    stats = pytest.importorskip("scipy.stats", reason="the independent implementation")
    for up, down in ((0, 0), (3, 3), (10, 2), (2, 10), (700, 300), (0, 40)):
        n, most = up + down, max(up, down)
        tail = Fraction(sum(math.comb(n, k) for k in range(most, n + 1)), 2**n)
        assert sign_test(up, down) == pytest.approx(float(min(1, 2 * tail)), rel=1e-9)
    for count, total in ((0, 20), (20, 20), (7, 50), (300, 1000)):
        interval = stats.binomtest(count, total).proportion_ci(method="wilson")
        share = wilson(count, total)
        assert (share.low, share.high) == pytest.approx((interval.low, interval.high), abs=1e-12)
    with pytest.raises(UserError, match="nothing"):
        wilson(0, 0)
