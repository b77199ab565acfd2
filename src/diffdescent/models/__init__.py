"""Models by name: bundled ones, diffusers checkpoint folders, and the exact denoiser of a set of
images."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from diffdescent.base.assets import ASSETS
from diffdescent.base.device import pick_device
from diffdescent.base.errors import UserError, unknown
from diffdescent.base.reading import read_json
from diffdescent.core.calls import check_call
from diffdescent.core.predict import Predictor

from .own import MODELS, made, register

__all__ = ["MODELS", "bundled", "load_model", "read_config", "register"]

_PICKLES = (".pt", ".pth", ".ckpt", ".pkl", ".bin", ".safetensors")


def bundled() -> dict[str, Path]:
    """The models that ship with the package: name → folder."""
    folders = sorted(p for p in ASSETS.iterdir() if p.is_dir()) if ASSETS.is_dir() else []
    return {p.name: p for p in folders if _kind(p) in ("mixture", "diffusers")}


def _kind(folder: Path) -> str | None:
    """What a folder holds: a mixture, a diffusers checkpoint, a converted one, a network with its
    inputs, a classifier, or nothing that we know."""
    if (folder / "mixture.json").is_file():
        return "mixture"
    if (folder / "unet" / "config.json").is_file():
        return "diffusers"
    if (folder / "config.json").is_file():
        config = read_config(folder / "config.json")
        if config.get("format") == "diffdescent-network":
            return "converted"
        if config.get("format") == "diffdescent-conditioned":
            return "conditioned"
        return "classifier" if "kind" in config else "diffusers"
    return None


def read_config(path: Path) -> dict[str, Any]:
    """A JSON object; an empty one where it is damaged, which is said on loading."""
    try:
        found = read_json(path)
    except UserError:
        return {}
    return found if isinstance(found, dict) else {}


def load_model(name: str, device: str | None = None) -> Predictor:
    """The model called ``name``: a bundled name, a checkpoint folder, ``images:PATH``, or the name
    of one of your own (:func:`diffdescent.models.register`).

    ``images:PATH`` is the exact denoiser of a folder, zip or npz of images: the model that has
    memorised them.

    Args:
        name: a bundled name (``diffdescent list`` prints them), a checkpoint folder,
            ``images:PATH``, or a name that was registered.
        device: "cpu", "cuda", "cuda:1" or "mps"; None leaves the model on the CPU.

    Returns:
        The model, ready for :func:`~diffdescent.sample`.

    Raises:
        UserError: a name that is none of these.
    """
    check_call(load_model, locals())
    device = None if device is None else str(pick_device(device))
    if name.startswith("images:"):
        from diffdescent.base.image_sets import read_images
        from diffdescent.core.process import VP

        from .dataset import Dataset

        path = Path(name.removeprefix("images:").strip() or "?")
        found = read_images(path)
        return Dataset(
            found.images,
            VP.named(),
            labels=found.labels,
            classes=found.classes,
            name=name,
            device=device,
        )
    if name in MODELS:
        return made(name, device)
    shipped = bundled()
    folder = shipped.get(name, Path(name))
    if os.path.isfile(folder):
        kind = (
            "A single weights file says nothing of its network"
            if folder.suffix in _PICKLES
            else "This is a file"
        )
        raise UserError(
            f"{kind}: {name!r} cannot be sampled from; give a diffusers checkpoint folder"
            " (config.json and safetensors), convert a published checkpoint with `diffdescent"
            " convert`, or wrap your own module with dd.Network in Python."
        )
    if not os.path.isdir(folder):
        if "/" in name or name.startswith("."):
            raise UserError(
                f"There is no folder {name!r}; give a checkpoint folder, a bundled name or"
                " images:PATH."
            )
        raise unknown("model", name, [*shipped, *MODELS])
    kind_of = _kind(folder)
    if kind_of == "mixture":
        from .mixture_file import load_mixture

        return load_mixture(folder, device=device)
    if kind_of == "converted":
        from .convert import load_converted

        return load_converted(folder, device=device)
    if kind_of == "conditioned":
        from .convert.conditioned import load_conditioned

        return load_conditioned(folder, device=device)
    if kind_of == "diffusers":
        from .checkpoints import load_checkpoint

        return load_checkpoint(folder, device=device)
    if kind_of == "classifier":
        raise UserError(
            f"{name!r} is a classifier, and no image can be sampled from it; it guides other"
            f" models, --guidance \"classifier(model='{name}')\", or judges images, --features."
        )
    raise UserError(
        f"The folder {name!r} is not a model: expected a diffusers checkpoint (model_index.json, or"
        " config.json with safetensors weights). For the exact denoiser of its images write"
        f" images:{name}."
    )
