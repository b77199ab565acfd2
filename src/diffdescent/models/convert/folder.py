"""The folder of a converted checkpoint: ``config.json`` and ``model.safetensors``."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from diffdescent.base.device import pick_device
from diffdescent.base.errors import UserError
from diffdescent.base.files import make_folder, write_atomically
from diffdescent.base.reading import read_json
from diffdescent.core.network import EDM, Network
from diffdescent.core.process import Point, Process
from diffdescent.models.weight_files import read_tensors, weights_fingerprint, write_tensors

from .settings import Settings, settings_from

FORMAT, VERSION = "diffdescent-network", 1
CONFIG, WEIGHTS = "config.json", "model.safetensors"


def require_new(folder: Path) -> None:
    """Raise :class:`UserError` for a place that holds something."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is there already; give a new folder as --out.")


def write_folder(folder: Path, settings: Settings, state: dict[str, Tensor]) -> None:
    """Write weights and settings, the settings last: a folder with a config is whole."""
    make_folder(folder)
    write_tensors(folder / WEIGHTS, state)
    config = {"format": FORMAT, "version": VERSION, **settings.to_json()}
    write_atomically(folder / CONFIG, (json.dumps(config, indent=2) + "\n").encode())


def read_settings(folder: Path) -> Settings:
    """The settings of a folder. Raises :class:`UserError` for a newer or a damaged one."""
    path = folder / CONFIG
    found = read_json(path)
    if not isinstance(found, dict):
        raise UserError(f"{path} holds no settings; convert the checkpoint again.")
    if found.get("version") != VERSION:
        raise UserError(
            f"{path} is of version {found.get('version')!r}, and this program reads {VERSION};"
            " update diffdescent, or convert the checkpoint again."
        )
    return settings_from(found, str(path))


def load_module(folder: str | Path, device: str | torch.device = "cpu") -> nn.Module:
    """The network itself with its weights in float32, frozen and in evaluation mode: for what is
    not a denoiser (classifiers, CLIP) and for super-resolution and GLIDE, which need more than x
    and t.

    Raises :class:`UserError` for a damaged folder.
    """
    folder = Path(folder)
    settings = read_settings(folder)
    state = read_tensors(folder / WEIGHTS)
    network = settings.build("meta").to_empty(device="cpu")
    try:
        network.load_state_dict({k: v.float() for k, v in state.items()})
    except RuntimeError as error:
        raise UserError(
            f"The weights in {folder} do not fit its {CONFIG} ({str(error).splitlines()[0]});"
            " convert the checkpoint again."
        ) from None
    return network.to(device).eval().requires_grad_(False)


def load_converted(folder: str | Path, device: str | None = None) -> Network | EDM:
    """The denoiser of a folder, ready to be sampled from.

    Labels run from 0; −1 means no label for EDM's networks, which learned without; ADM's
    class-conditional ones need a label. Raises :class:`UserError` for a damaged folder and for a
    network that is not a denoiser of x alone.
    """
    folder = Path(folder)
    settings = read_settings(folder)
    if settings.network not in ("ADMUNet", "DDPMUNet", "DhariwalUNet", "SongUNet"):
        uses = {
            "ADMClassifier": "it guides others: --guidance \"classifier(model='FOLDER')\"",
            "GLIDEUNet": "it needs a text's tokens; diffdescent.models.convert.load_with_inputs"
            " takes them",
        }
        raise UserError(
            f"{str(folder)!r} holds a {settings.network}, which cannot be sampled from by itself:"
            f" {uses.get(settings.network, 'load it with diffdescent.models.convert.load_module')}."
        )
    if settings.options.get("low_res"):
        raise UserError(
            f"{str(folder)!r} enlarges images and needs a small one in addition to the noise;"
            " diffdescent.models.convert.load_with_inputs takes them."
        )
    negated = settings.process["kind"] == "ve"
    return denoiser(folder, settings, device, lambda network: _Call(network, negated))


def denoiser(
    folder: Path,
    settings: Settings,
    device: str | None,
    asked: Callable[[nn.Module], Callable[..., Tensor]],
) -> Network | EDM:
    """The folder's network as a model; ``asked`` makes ``module(x, t, labels)`` of it."""
    where = pick_device(device) if device else torch.device("cpu")
    module = asked(load_module(folder, where))
    process = settings.make_process()
    common: dict[str, Any] = {
        "shape": settings.shape,
        "device": where,
        "name": settings.name or folder.name,
        "label_count": settings.classes,
        "needs_label": settings.classes is not None and settings.network == "ADMUNet",
        "fingerprint": weights_fingerprint(folder),
    }
    if settings.process["kind"] == "edm":
        sigma_data = float(settings.process.get("sigma_data", 0.5))
        return EDM(module=module, process=process, sigma_data=sigma_data, **common)
    return Network(
        module=module,
        process=process,
        kind="eps",
        time=_time(settings, process),
        learned_variance=settings.learned_variance,
        **common,
    )


def _time(settings: Settings, process: Process) -> Any:
    if settings.process["kind"] == "ve":
        return lambda point: math.log(point.ratio / 2)

    def scaled(point: Point) -> float:
        return settings.time_scale * point.t

    return scaled


class _Call:
    """A network as ``module(x, t, labels)``; ``negated`` where it gives −ε."""

    def __init__(self, network: nn.Module, negated: bool = False) -> None:
        self.network, self.negated = network, negated

    def __call__(self, x: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
        out: Tensor = self.network(x, t) if labels is None else self.network(x, t, labels)
        return -out if self.negated else out
