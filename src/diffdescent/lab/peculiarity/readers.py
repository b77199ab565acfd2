"""Poses from files: OpenPose's JSON folders (BODY_25) and COCO keypoints as JSON or npz."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from diffdescent.base.archives import read_member
from diffdescent.base.errors import UserError
from diffdescent.base.npz import load_arrays
from diffdescent.base.reading import parse_json, read_bytes, require_file, understood

from .poses import BODY25, COCO17, JOINTS, Layout, Poses, make_poses

_ENDING = "_keypoints"


def read_poses(path: str | Path) -> Poses:
    """Read poses from

    - a folder, or a ``.zip`` of one, of OpenPose's ``*_keypoints.json`` (BODY_25), one file an
      image;
    - one such file;
    - COCO's JSON: the annotations (``{"annotations": …}``) or detections (a list with
      ``keypoints``). Visibilities 0, 1, 2 become confidences 0, 1, 1; detections keep theirs;
    - an ``.npz`` with ``kp`` (n, 17, 3) and ``image_id`` (n,).

    Raises:
        UserError: no such file, damaged or empty JSON, another number of joints, or nothing of a
            known form.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(
            f"There is no file or folder {path}; give OpenPose JSON files, COCO keypoint JSON or an"
            " npz."
        )
    if path.is_dir():
        files = sorted(p for p in path.rglob("*.json") if p.is_file() and _is_json(p.name))
        return _openpose(
            str(path), ((p.relative_to(path).as_posix(), p.read_bytes()) for p in files), len(files)
        )
    require_file(path)
    if path.suffix.lower() == ".npz":
        return _npz(path)
    if zipfile.is_zipfile(path):
        with (
            understood(path, "poses", "it is a damaged zip: pack it again"),
            zipfile.ZipFile(path) as archive,
        ):
            names = sorted(n for n in archive.namelist() if _is_json(n))
            members = ((n, read_member(archive, n)) for n in names)
            return _openpose(str(path), members, len(names))
    values = _json(str(path), read_bytes(path))
    if isinstance(values, dict) and "people" in values:
        return _openpose(str(path), iter([(path.name, path.read_bytes())]), 1)
    with understood(path, "COCO keypoints"):
        return _coco(path, values)


def _is_json(name: str) -> bool:
    """Not the shadows ``._name`` that some systems put next to each file."""
    return name.lower().endswith(".json") and not PurePosixPath(name).name.startswith("._")


def _json(name: str, data: bytes) -> Any:
    if not data.strip():
        raise UserError(
            f"{name} is empty; expected OpenPose or COCO keypoint JSON: write it again."
        )
    return parse_json(data, name)


def _openpose(where: str, files: Iterator[tuple[str, bytes]], count: int) -> Poses:
    if not count:
        raise UserError(
            f"{where} holds no .json file; expected OpenPose's *_keypoints.json, one an image."
        )
    rows: list[npt.NDArray[np.float64]] = []
    image: list[int] = []
    names: list[str] = []
    for number, (name, data) in enumerate(files):
        values = _json(name, data)
        if not isinstance(values, dict) or not isinstance(values.get("people"), list):
            raise UserError(
                f'{name} in {where} has no list "people"; expected a file that OpenPose wrote'
                " (BODY_25)."
            )
        names.append(name)
        for person in values["people"]:
            numbers = person.get("pose_keypoints_2d") if isinstance(person, dict) else None
            rows.append(_triples(numbers, "body25", f"A person in {name}"))
            image.append(number)
    return _poses(rows, image, _short(names), "body25")


def _short(names: Sequence[str]) -> list[str]:
    """The names of images from those of their files: without the folder, where that tells them
    apart."""
    paths = [PurePosixPath(name) for name in names]
    plain = [path.stem.removesuffix(_ENDING) for path in paths]
    if len(set(plain)) == len(plain):
        return plain
    return [str(path.parent / name) for path, name in zip(paths, plain, strict=True)]


def _triples(numbers: Any, layout: Layout, what: str) -> npt.NDArray[np.float64]:
    """(J, 3) from a flat list x, y, confidence, …"""
    expected = len(JOINTS[layout])
    try:
        flat = np.asarray(numbers, dtype=np.float64).ravel()
    except (TypeError, ValueError):
        flat = np.empty(0)
    if flat.size != 3 * expected:
        mend = (
            "run OpenPose with --model_pose BODY_25"
            if layout == "body25"
            else "expected COCO's x, y, v for each"
        )
        raise UserError(
            f"{what} has {flat.size / 3:g} joints where {layout} has {expected}; {mend}."
        )
    return flat.reshape(expected, 3)


def _poses(
    rows: list[npt.NDArray[np.float64]], image: list[int], names: list[str], layout: Layout
) -> Poses:
    table = np.stack(rows) if rows else np.empty((0, len(JOINTS[layout]), 3))
    return make_poses(table[..., :2], table[..., 2], image, names, layout)


def _coco(path: Path, values: Any) -> Poses:
    persons = values.get("annotations") if isinstance(values, dict) else values
    if not isinstance(persons, list):
        raise UserError(
            f'{path} is not a pose file: expected "people" (OpenPose), or COCO\'s "annotations" or'
            " list of detections."
        )
    persons = [p for p in persons if isinstance(p, dict) and "keypoints" in p]
    listed = values.get("images", []) if isinstance(values, dict) else []
    ids = [str(entry["id"]) for entry in listed if isinstance(entry, dict) and "id" in entry]
    found = [str(p.get("image_id", "?")) for p in persons]
    names = list(dict.fromkeys([*ids, *found]))
    if not persons and not names:
        raise UserError(
            f"{path} holds no person with keypoints, and no image; expected COCO keypoint JSON."
        )
    rows = [_triples(p["keypoints"], "coco17", f"A person of image {i} in {path}")
            for p, i in zip(persons, found, strict=True)]  # fmt: skip
    table = np.stack(rows) if rows else np.empty((0, len(COCO17), 3))
    place = {name: k for k, name in enumerate(names)}
    confidence = _from_visibility(table[..., 2])
    return make_poses(table[..., :2], confidence, [place[i] for i in found], names, "coco17")


def _from_visibility(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """COCO's labels 0 absent, 1 hidden, 2 seen as confidences 0, 1, 1; anything else is a
    confidence already."""
    return np.minimum(values, 1.0) if np.isin(values, (0.0, 1.0, 2.0)).all() else values


def _npz(path: Path) -> Poses:
    arrays = load_arrays(path, ("kp", "image_id"))
    if "kp" not in arrays:
        raise UserError(
            f"{path} has no array 'kp'; expected keypoints of shape (persons, 17, 3): x, y,"
            " visibility."
        )
    points = arrays["kp"]
    layouts: dict[int, Layout] = {len(COCO17): "coco17", len(BODY25): "body25"}
    numbers = points.dtype.kind in "fiub"
    if not numbers or points.ndim != 3 or points.shape[2] != 3 or points.shape[1] not in layouts:
        raise UserError(
            f"'kp' in {path} is {points.dtype} of shape {points.shape}; expected numbers (persons,"
            " 17 or 25, 3)."
        )
    points = points.astype(np.float64)
    labels = arrays.get("image_id", np.arange(len(points)))
    if labels.shape != (len(points),):
        raise UserError(
            f"{path} has image_id of shape {labels.shape} for {len(points)} persons; expected one"
            " each."
        )
    names, image = np.unique(labels, return_inverse=True)
    confidence = _from_visibility(points[..., 2])
    return make_poses(
        points[..., :2],
        confidence,
        image.tolist(),
        [str(n) for n in names],
        layouts[points.shape[1]],
    )
