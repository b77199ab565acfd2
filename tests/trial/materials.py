"""Good input, small: what each command is given but for the one thing that is bad."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

import diffdescent as dd
from diffdescent.base.files import pack_arrays
from diffdescent.base.images import save_png
from diffdescent.models.mixture import Mixture
from diffdescent.models.mixture_file import save_mixture
from tests.unit.models.convert.glide import folder as enlarging

from .judge import attempt, command

UNET = {
    "block_out_channels": [8, 8],
    "layers_per_block": 1,
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
    "up_block_types": ["AttnUpBlock2D", "UpBlock2D"],
    "norm_num_groups": 4,
    "attention_head_dim": 8,
}
TRAIN: dict[str, Any] = {
    "out": "run",
    "data": {"path": "photos.npz"},
    "model": UNET,
    "run": {"steps": 4, "batch": 4, "checkpoint_every": 2, "log_every": 2, "device": "cpu"},
}
STUDY: dict[str, Any] = {
    "title": "A study",
    "model": "tiny",
    "samplers": ["ddim", "ge"],
    "grids": ["loglinear"],
    "nfe": [3],
    "n": 4,
    "shard": 2,
    "images": 2,
    "resamples": 2,
}


def write_materials(folder: Path, made: bool = True) -> None:
    """Write all of it into ``folder``, with ``made`` also what commands make of it."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = torch.Generator().manual_seed(0)
    means = torch.randn(2, 3, 4, 4, generator=draw, dtype=torch.float64) * 0.4
    mixture = Mixture(
        torch.ones(2), means, torch.full_like(means, 0.05), dd.VP.named(),
        labels=torch.arange(2), classes=("a", "b"),
    )  # fmt: skip
    save_mixture(mixture, folder / "tiny")
    photos = torch.randint(0, 256, (12, 3, 8, 8), generator=draw, dtype=torch.uint8)
    labels = np.arange(12) % 2
    for i, photo in enumerate(photos):
        place = folder / "photos" / "ab"[labels[i]]
        place.mkdir(parents=True, exist_ok=True)
        save_png(photo, place / f"{i}.png")
    arrays = {"arr_0": photos.permute(0, 2, 3, 1).numpy(), "arr_1": labels}
    (folder / "photos.npz").write_bytes(pack_arrays(arrays))
    with zipfile.ZipFile(folder / "photos.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted((folder / "photos").rglob("*.png")):
            archive.write(path, path.relative_to(folder).as_posix())
    some = torch.randint(0, 256, (12, 4, 4, 3), generator=draw, dtype=torch.uint8)
    (folder / "small.npz").write_bytes(pack_arrays({"arr_0": some.numpy()}))
    small = torch.randint(0, 256, (3, 3, 4, 4), generator=draw, dtype=torch.uint8)
    for i, photo in enumerate(small):
        (folder / "starts").mkdir(exist_ok=True)
        save_png(photo, folder / "starts" / f"{i}.png")
    save_png(small[0], folder / "start.png")
    save_png(torch.full((1, 4, 4), 255, dtype=torch.uint8), folder / "mask.png")
    (folder / "train.yaml").write_text(yaml.safe_dump(TRAIN))
    (folder / "study.yaml").write_text(yaml.safe_dump(STUDY))
    (folder / "prompts.txt").write_text("a dog\na cat\n")
    (folder / "captions.json").write_text(json.dumps({"annotations": [{"caption": "a dog"}]}))
    (folder / "poses.json").write_text(json.dumps(_poses()))
    torch.save({"weight": torch.zeros(3)}, folder / "weights.pt")
    enlarging(folder, "ADMUNet", low_res=True).rename(folder / "enlarger")
    (folder / "file").write_text("years of work")
    if not made:
        _make(folder, "sample", "tiny", "--n", "2", "--steps", "2", "--out", "done")
    if made:
        write_made(folder)


def write_made(folder: Path) -> None:
    """Write what commands make: a network, classifiers, a fitted sampler, a run and a study."""
    for words in (
        ("sample", "tiny", "--n", "2", "--steps", "2", "--out", "done"),
        ("compare", "tiny", "--samplers", "ddim; ge", "--nfe", "3", "--n", "4", "--resamples", "2",
         "--out", "studied"),
        ("calibrate", "tiny", "--out", "calibrated.json", "--nfe", "3", "--trajectories", "8",
         "--held-out", "8", "--teacher", "12", "--bands", "1"),
        ("peculiarity", "figures", "--n", "4", "--out", "figures.npz"),
        ("train", "train.yaml", "--set", "out=run-net"),
        ("train", "train.yaml", "--set", "out=run-guide", "--set", "task=guide",
         "--set", "model={}"),
        ("train", "train.yaml", "--set", "out=run-features", "--set", "task=features",
         "--set", "model={}"),
    ):  # fmt: skip
        _make(folder, *words)
    for name in ("net", "guide", "features"):
        (folder / f"run-{name}" / "model").rename(folder / name)
        shutil.rmtree(folder / f"run-{name}")


def _make(folder: Path, *words: str) -> None:
    ended = attempt(command(list(words)), folder, seconds=300)
    if ended.code != 0:
        raise RuntimeError(f"{words} failed:\n{ended.out}{ended.err}")


def _poses() -> dict[str, Any]:
    random = np.random.default_rng(0)
    annotations = []
    for i in range(24):
        points = random.uniform(20, 200, (17, 2)).round(1)
        flat = [v for x, y in points.tolist() for v in (x, y, 2)]
        annotations.append(
            {"id": i, "image_id": i, "category_id": 1, "keypoints": flat, "num_keypoints": 17}
        )
    return {"annotations": annotations, "images": [], "categories": []}
