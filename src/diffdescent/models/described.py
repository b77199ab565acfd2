"""What the bundled models are, read off their files; no network is loaded."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open

from diffdescent.base.words import counted

from . import bundled, read_config

CARDS = {"cifar10-mixture": "docs/models.md"}
"""Where a model is described, if not in ``docs/cards``."""


@dataclass(frozen=True)
class Described:
    """One bundled model: a line on what it is, the ``shape`` of an image, the ``size`` of its
    files, and the page that describes it."""

    description: str
    shape: str
    size: str
    card: str


def bundled_models() -> dict[str, Described]:
    """Every bundled model by its name."""
    return {name: _described(name, folder) for name, folder in bundled().items()}


def _described(name: str, folder: Path) -> Described:
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    text, shape = _mixture(folder) if (folder / "mixture.json").is_file() else _network(folder)
    return Described(
        text,
        " × ".join(map(str, shape)),
        f"{size / 1e6:.1f} MB",
        CARDS.get(name, f"docs/cards/{name}.md"),
    )


def _mixture(folder: Path) -> tuple[str, list[int]]:
    about = read_config(folder / "mixture.json")
    with safe_open(str(folder / "mixture.safetensors"), framework="pt") as file:
        components = file.get_slice("weights").get_shape()[0]
    text = f"Gaussian mixture of {components} components, whose denoiser is exact"
    return text + _classes(about), list(about["shape"])


def _network(folder: Path) -> tuple[str, list[int]]:
    about = read_config(folder / "diffdescent.json")
    unet = read_config(folder / "unet" / "config.json")
    count = 0
    for path in (folder / "unet").glob("*.safetensors"):
        with safe_open(str(path), framework="pt") as file:
            count += sum(math.prod(file.get_slice(key).get_shape()) for key in file.keys())  # noqa: SIM118
    side = unet["sample_size"]
    sides = [side, side] if isinstance(side, int) else list(side)
    text = f"network of {count / 1e6:.1f} M parameters that predicts {about.get('prediction')}"
    return text + _classes(about), [unet["in_channels"], *sides]


def _classes(about: dict[str, object]) -> str:
    names = about.get("classes")
    known = len(names) if isinstance(names, list) else 0
    return f"; {counted(known, 'class', 'classes')}" if known else ""
