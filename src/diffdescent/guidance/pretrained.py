"""Classifiers from disk as guides: the bundled ones, and folders that ``diffdescent train``
wrote."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from diffdescent.base.assets import ASSETS
from diffdescent.base.errors import UserError, unknown
from diffdescent.base.reading import understood
from diffdescent.core.model_info import info
from diffdescent.core.predict import Predictor
from diffdescent.core.process import VP, Point, Process
from diffdescent.models import read_config
from diffdescent.models.classifiers import GuideNet, load_classifier
from diffdescent.models.convert.folder import FORMAT, load_module, read_settings
from diffdescent.models.weight_files import weights_fingerprint

from .classifier import Classifier
from .guided import Sight


@dataclass(frozen=True)
class NoiseAware:
    """A network p(y | x_t) of one ``process``, asked at the noise levels of any other.

    The level is found by its σ/α, and x is scaled to the size that it has there; below and above
    the trained levels it is asked at the nearest one.
    """

    network: nn.Module
    process: Process

    def __call__(self, x: Tensor, point: Point) -> Tensor:
        t = min(
            max(float(self.process.t_of_ratio(point.ratio)), self.process.t_min), self.process.t_max
        )
        own = self.process.point(t).norm
        time = torch.full((len(x),), t, dtype=torch.float32, device=x.device)
        logits: Tensor = self.network(x * (own / point.norm), time)
        return logits


def bundled_guides() -> dict[str, Path]:
    """The classifiers that ship with the package: name → folder."""
    folders = sorted(ASSETS.iterdir()) if ASSETS.is_dir() else []
    return {p.name: p for p in folders if (p / "config.json").is_file() and "kind" in _config(p)}


def default_guide(model: Predictor) -> str:
    """The bundled noise-aware classifier of the same classes and channels as ``model``.

    Raises:
        UserError: when there is none.
    """
    known = info(model)
    classes = known.classes or ()
    noise_aware = {
        name: c for name, p in bundled_guides().items() if (c := _config(p))["kind"] == "guide"
    }
    for name, config in noise_aware.items():
        same_channels = model.shape is None or model.shape[0] == config.get("channels")
        if classes and classes == _classes(config) and same_channels:
            return name
    whose = f"the classes of {known.name!r}" if classes else "a model that names no classes"
    raise UserError(
        f"There is no bundled classifier for {whose}; name a guide's folder,"
        " classifier(model='FOLDER'), trained by diffdescent train with task 'guide' (bundled:"
        f" {', '.join(noise_aware)})."
    )


def load_guide(
    name: str,
    *,
    on: Sight = "x",
    temperature: float = 1.0,
    device: torch.device | str = "cpu",
    channels: int | None = None,
) -> Classifier:
    """The classifier called ``name``, a bundled one or a folder, as a guide.

    A noise-aware network (``kind`` guide, or a converted one) serves x_t and estimates of x0; one
    of clean images (``kind`` features) only the latter, ``on="x0"`` or ``"x0_frozen"``. It runs in
    float32.

    Args:
        name: a bundled classifier, or a folder.
        on: what it sees: "x", "x0" or "x0_frozen".
        temperature: of its softmax; 1 leaves it as it is.
        device: where it runs.
        channels: of the model's images; None is not checked.

    Returns:
        The guide.

    Raises:
        UserError: a name that is neither, a damaged folder, a clean classifier on x_t, and one of
            images with another number of ``channels``.
    """
    bundled = bundled_guides()
    folder = bundled.get(name, Path(name))
    if not folder.is_dir():
        if "/" in name or name.startswith((".", "~")):
            raise UserError(
                f"There is no folder {name!r}; give a classifier's folder or a bundled name."
            )
        raise unknown("guide", name, bundled)
    config = _config(folder)
    if config.get("format") == FORMAT:
        return _converted(folder, on, temperature, device, channels)
    network = load_classifier(folder).to(device).requires_grad_(False)
    _check_channels(name, config.get("channels"), channels)
    with understood(folder, "a guide", "its config.json is damaged; copy it again"):
        return _guide(name, folder, network, config, on, temperature)


def _guide(
    name: str,
    folder: Path,
    network: nn.Module,
    config: dict[str, Any],
    on: Sight,
    temperature: float,
) -> Classifier:
    logits: Callable[[Tensor, Point], Tensor]
    if isinstance(network, GuideNet):
        trained = config.get("about", {}).get("process", {})
        logits = NoiseAware(
            network, VP.named(trained.get("schedule", "linear"), int(trained.get("steps", 1000)))
        )
    elif on == "x":
        raise UserError(
            f"The classifier {name!r} knows clean images alone; let it see the estimate of x0 with"
            " on=x0, or use one that knows noise."
        )
    else:
        logits = _Clean(network)
    return Classifier(
        logits,
        temperature,
        torch.float32,
        int(config["classes"]),
        _classes(config),
        weights_fingerprint(folder),
    )


def _converted(
    folder: Path,
    on: Sight,
    temperature: float,
    device: torch.device | str,
    channels: int | None,
) -> Classifier:
    """A published noise-aware classifier, converted by ``diffdescent convert``."""
    settings = read_settings(folder)
    if settings.network != "ADMClassifier":
        raise UserError(
            f"{str(folder)!r} holds a {settings.network}, not a classifier; name the folder of a"
            " converted classifier."
        )
    if settings.shape is not None:
        _check_channels(folder.name, settings.shape[0], channels)
    network = load_module(folder, device)
    return Classifier(
        NoiseAware(network, settings.make_process()),
        temperature,
        torch.float32,
        int(settings.options["out_channels"]),
        None,
        weights_fingerprint(folder),
    )


@dataclass(frozen=True)
class _Clean:
    network: nn.Module

    def __call__(self, x: Tensor, point: Point) -> Tensor:
        logits: Tensor = self.network(x)
        return logits


def _check_channels(name: str, seen: int | None, channels: int | None) -> None:
    """Refuse a classifier of images with ``seen`` channels for a model with other ``channels``."""
    if channels not in (None, seen):
        raise UserError(
            f"The classifier {name!r} looks at images with {seen} channels, and the model's have"
            f" {channels}; name one that was trained on such images."
        )


def _config(folder: Path) -> dict[str, Any]:
    return read_config(folder / "config.json")


def _classes(config: dict[str, Any]) -> Sequence[str] | None:
    names = config.get("about", {}).get("classes")
    if names is not None and not all(isinstance(name, str) for name in names):
        raise UserError(f"The classes of a classifier are names, not {str(names)[:60]}.")
    return None if names is None else tuple(names)
