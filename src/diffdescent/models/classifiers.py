"""Two small classifiers: a noise-aware one for guidance and a clean one whose features serve
Fréchet distances.

Each is saved as a folder of ``config.json`` (the constructor's arguments) and
``model.safetensors``.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from diffdescent.base.errors import UserError
from diffdescent.base.files import write_atomically
from diffdescent.base.reading import read_json, reason

from .weight_files import load_state, write_tensors


class FeatureNet(nn.Module):
    """A small residual network p(y | x) for clean images in [−1, 1], after the nine-layer CIFAR
    network of DAWNBench (Page 2018).

    ``widths`` are the channels of its four levels, each half the size of the one before; the second
    and the last carry a residual block. ``features(x)`` is (n, widths[-1]), the spatial mean before
    the last linear layer; ``forward(x)`` the logits (n, classes).
    """

    def __init__(
        self,
        classes: int,
        channels: int = 3,
        widths: tuple[int, int, int, int] = (32, 64, 128, 256),
    ) -> None:
        super().__init__()
        self.config: dict[str, Any] = {
            "kind": "features",
            "classes": classes,
            "channels": channels,
            "widths": list(widths),
        }
        a, b, c, d = widths
        self.stem = _conv(channels, a)
        self.down1, self.res1 = _conv(a, b), nn.Sequential(_conv(b, b), _conv(b, b))
        self.down2 = _conv(b, c)
        self.down3, self.res3 = _conv(c, d), nn.Sequential(_conv(d, d), _conv(d, d))
        self.head = nn.Linear(d, classes)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Penultimate features (n, widths[-1]), float32."""
        h = F.max_pool2d(self.down1(self.stem(x)), 2)
        h = F.max_pool2d(self.down2(h + self.res1(h)), 2)
        h = F.max_pool2d(self.down3(h), 2)
        h = h + self.res3(h)
        # The maximum tells what is there and the mean how much of it; their sum trains faster than
        # either.
        pooled: torch.Tensor = (h.float().mean((2, 3)) + h.float().amax((2, 3))) / 2
        return pooled

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.features(x))
        return logits


def _conv(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


class GuideNet(nn.Module):
    """A noise-aware classifier p(y | x_t), t the VP index 0..T−1: residual blocks with group
    normalisation, scaled and shifted by t.

    It is smooth (SiLU, mean pooling, no maxima), since guidance follows its gradient. ``widths``
    are the channels of its levels, each half the size of the one before. ``forward(x, t)`` gives
    the logits (n, classes); t has shape (n,) or ().
    """

    def __init__(
        self,
        classes: int,
        channels: int = 3,
        widths: tuple[int, ...] = (32, 64, 128),
        groups: int = 8,
    ) -> None:
        super().__init__()
        self.config: dict[str, Any] = {
            "kind": "guide",
            "classes": classes,
            "channels": channels,
            "widths": list(widths),
            "groups": groups,
        }
        self.time = nn.Sequential(nn.Linear(64, 128), nn.SiLU(), nn.Linear(128, 128), nn.SiLU())
        self.stem = nn.Conv2d(channels, widths[0], 3, padding=1)
        inputs = (widths[0], *widths[:-1])
        self.blocks = nn.ModuleList(
            _TimedBlock(i, o, 128, groups) for i, o in zip(inputs, widths, strict=True)
        )
        self.last = _TimedBlock(widths[-1], widths[-1], 128, groups)
        self.norm = nn.GroupNorm(groups, widths[-1])
        self.head = nn.Linear(widths[-1], classes)

    def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        time = self.time(_sinusoids(t.expand(len(x)), 64))
        if min(x.shape[-2:]) < 1 << len(self.blocks):
            raise UserError(
                f"This classifier halves images {len(self.blocks)} times, and they are"
                f" {x.shape[-1]}×{x.shape[-2]}; choose one that was trained on such images."
            )
        h = self.stem(x)
        for block in self.blocks:
            h = F.avg_pool2d(block(h, time), 2)
        h = F.silu(self.norm(self.last(h, time))).float().mean((2, 3))
        logits: torch.Tensor = self.head(h)
        return logits


class _TimedBlock(nn.Module):
    """x + conv(silu(norm(conv(silu(norm(x)))·(1 + scale(t)) + shift(t)))), with a 1×1 convolution
    on x where the channels change."""

    def __init__(self, inputs: int, outputs: int, time: int, groups: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = (
            nn.GroupNorm(groups, inputs),
            nn.Conv2d(inputs, outputs, 3, padding=1),
        )
        self.norm2, self.conv2 = (
            nn.GroupNorm(groups, outputs),
            nn.Conv2d(outputs, outputs, 3, padding=1),
        )
        self.time = nn.Linear(time, 2 * outputs)
        self.skip = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        scale, shift = self.time(time)[:, :, None, None].chunk(2, dim=1)
        h = self.norm2(self.conv1(F.silu(self.norm1(x)))) * (1 + scale) + shift
        out: torch.Tensor = self.skip(x) + self.conv2(F.silu(h))
        return out


def _sinusoids(t: torch.Tensor, size: int) -> torch.Tensor:
    """sin and cos of t at ``size``/2 rates from 1 down to 1/10000: (n,) → (n, size)."""
    rates = torch.exp(
        -math.log(10000)
        * torch.arange(size // 2, device=t.device, dtype=torch.float32)
        / (size // 2)
    )
    angles = t.float()[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def save_classifier(
    network: FeatureNet | GuideNet,
    folder: Path,
    *,
    half: bool = False,
    about: dict[str, Any] | None = None,
) -> None:
    """Write ``config.json`` and ``model.safetensors``; ``half`` stores float16, ``about`` joins the
    config under that name."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {**network.config, "about": about or {}}
    text = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
    write_atomically(folder / "config.json", text.encode())
    state = {
        k: v.half() if half and v.is_floating_point() else v
        for k, v in network.state_dict().items()
    }
    write_tensors(folder / "model.safetensors", state)


MOST_WIDE = 1 << 14
"""Classes, channels and widths that a classifier has at most."""


def _check_sizes(path: Path, config: dict[str, Any]) -> None:
    """Raise :class:`UserError` for numbers in a classifier's config that no classifier has."""
    for name, value in config.items():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, (int, float)) and not (type(one) is int and 1 <= one <= MOST_WIDE):
                raise UserError(
                    f"{path}: {name} must hold whole numbers from 1 to {MOST_WIDE}, not"
                    f" {str(value)[:40]}; the classifier's folder is damaged."
                )


def load_classifier(folder: str | Path) -> FeatureNet | GuideNet:
    """A saved classifier, float32, in evaluation mode.

    Raises:
        UserError: the folder is not one that :func:`save_classifier` wrote, or its weights do not
            fit its config.
    """
    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise UserError(
            f"{folder} has no readable config.json; give a folder with config.json and"
            " model.safetensors."
        )
    config = read_json(folder / "config.json")
    kinds = {"features": FeatureNet, "guide": GuideNet}
    kind = config.pop("kind", None) if isinstance(config, dict) else None
    if not isinstance(kind, str) or kind not in kinds:
        raise UserError(
            f"{folder} holds no classifier: its config.json has kind {kind!r}; expected 'features'"
            " or 'guide'."
        )
    config.pop("about", None)
    _check_sizes(folder / "config.json", config)
    state = load_state(folder)
    try:
        with torch.device("meta"):  # a wrong number in the config takes no memory
            network: FeatureNet | GuideNet = kinds[kind](
                **{**config, "widths": tuple(config["widths"])}
            )
        network.load_state_dict(
            {k: v.float() if v.is_floating_point() else v for k, v in state.items()}, assign=True
        )
    except Exception as error:  # whatever a wrong config makes of a constructor
        raise UserError(
            f"The weights in {folder} do not fit its config.json ({reason(error)})."
        ) from error
    return network.eval()
