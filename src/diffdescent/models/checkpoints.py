"""diffusers checkpoint folders: a UNet2DModel with its scheduler's config, read from the local disk only."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import UserError
from ..predict import Kind, Network
from ..process import VP, Array, Flow, Process, make_betas

_SCHEDULES = {
    "linear": "linear",
    "scaled_linear": "scaled_linear",
    "squaredcos_cap_v2": "cosine",
    "sigmoid": "sigmoid",
}
_KINDS: dict[str, Kind] = {"epsilon": "eps", "sample": "x0", "v_prediction": "v", "flow_prediction": "flow"}


def process_from_config(config: dict[str, Any]) -> Process:
    """The process of a diffusers scheduler config.

    Reads ``beta_schedule``, ``beta_start``, ``beta_end``, ``trained_betas``, ``num_train_timesteps``,
    ``rescale_betas_zero_snr``; a flow-matching scheduler (``shift`` and no betas) gives a :class:`Flow`.
    Raises :class:`UserError` for a schedule that is not known.
    """
    if "FlowMatch" in str(config.get("_class_name", "")) or config.get("prediction_type") == "flow_prediction":
        return Flow(shift=float(config.get("shift", config.get("flow_shift", 1.0)) or 1.0))
    trained = config.get("trained_betas")
    if trained is not None:
        betas = np.asarray(trained, dtype=np.float64)
    else:
        name = config.get("beta_schedule", "linear")
        if name not in _SCHEDULES:
            raise UserError(
                f"The scheduler's beta_schedule {name!r} is not known; expected one of {', '.join(_SCHEDULES)}, "
                "or trained_betas with the values themselves."
            )
        steps = int(config.get("num_train_timesteps", 1000))
        betas = make_betas(_SCHEDULES[name], steps, config.get("beta_start"), config.get("beta_end"))  # type: ignore[arg-type]
    if config.get("rescale_betas_zero_snr"):
        return VP.from_alpha_bar(zero_terminal_snr(np.cumprod(1 - betas, dtype=np.float64)))
    return VP(betas)


def zero_terminal_snr(alpha_bar: Array) -> Array:
    """√ᾱ shifted and scaled so that its last value is 0 and its first is kept (Lin et al. 2024, algorithm 1)."""
    root = np.sqrt(alpha_bar)
    return np.asarray(((root - root[-1]) * root[0] / (root[0] - root[-1])) ** 2)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text())
    except FileNotFoundError:
        raise UserError(
            f"The checkpoint lacks {path.name} (looked in {path.parent}); is the folder complete?"
        ) from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid JSON ({error}); the checkpoint is damaged.") from None
    if not isinstance(data, dict):
        raise UserError(f"{path} should hold a JSON object, not {type(data).__name__}; the checkpoint is damaged.")
    return data


def load_checkpoint(folder: str | Path, device: str | None = None) -> Network:
    """A :class:`Network` from a pipeline folder (``unet/``, ``scheduler/``) or a bare UNet2DModel folder.

    Without a scheduler config the linear 1000-step process is taken. A class-conditional network whose label count
    has one more entry than ``classes`` (or says so by ``null_class`` in ``diffdescent.json``) is given that last label
    when no label is asked for. Half-precision weights run in float32 on a CPU. Weights are safetensors, or a ``.bin``
    that loads without running code.
    Raises :class:`UserError` for another network class, missing files, and a pickle that needs code.
    """
    try:
        from diffusers import UNet2DModel
    except ImportError:
        raise UserError(
            "Checkpoint folders need diffusers; install it with: pip install 'diffdescent[diffusers]'."
        ) from None

    root = Path(folder)
    unet_folder = root / "unet" if (root / "unet").is_dir() else root
    config = _read_json(unet_folder / "config.json")
    if config.get("_class_name") != "UNet2DModel":
        raise UserError(
            f"{unet_folder} holds a {config.get('_class_name', 'network of unknown class')}, but only UNet2DModel "
            "folders load by themselves; wrap another network with dd.Network in Python."
        )
    scheduler = root / "scheduler" / "scheduler_config.json"
    if not scheduler.is_file():
        scheduler = root / "scheduler_config.json"
    sampling = _read_json(scheduler) if scheduler.is_file() else {}
    try:
        safe = any(unet_folder.glob("*.safetensors*"))
        unet = UNet2DModel.from_pretrained(str(unet_folder), local_files_only=True, use_safetensors=safe)
    except (pickle.UnpicklingError, OSError, ValueError, RuntimeError) as error:
        raise _explained(unet_folder, error) from None
    where = torch.device(device or "cpu")
    unet = unet.to(where).eval().requires_grad_(False)
    if where.type == "cpu":
        unet = (
            unet.float()
        )  # half precision is for storage: convolutions in it are emulated on a CPU, many times slower
    kind = _KINDS.get(sampling.get("prediction_type", "epsilon"))
    if kind is None:
        raise UserError(f"The scheduler's prediction_type {sampling['prediction_type']!r} is not known.")
    extra = _read_json(root / "diffdescent.json") if (root / "diffdescent.json").is_file() else {}
    size = unet.config.sample_size
    sides = (size, size) if isinstance(size, int) else tuple(size or ())
    outputs, inputs = unet.config.out_channels, unet.config.in_channels
    return Network(
        _Labelled(unet, extra.get("null_class", _null_class(unet, extra))),
        process_from_config(sampling),
        kind,
        shape=(inputs, *sides) if sides else None,
        learned_variance=outputs == 2 * inputs,
        dtype=next(unet.parameters()).dtype,
        device=where,
        name=root.name,
        classes=tuple(extra["classes"]) if "classes" in extra else None,
        label_count=unet.config.num_class_embeds,
    )


def _null_class(unet: Any, extra: dict[str, Any]) -> int | None:
    count = unet.config.num_class_embeds
    return int(count) - 1 if count and len(extra.get("classes", ())) == count - 1 else None


class _Labelled:
    """A UNet2DModel as ``module(x, t, cond)``: no label means the null class of a network that has one."""

    def __init__(self, unet: Any, null_class: int | None) -> None:
        self.unet, self.null_class = unet, null_class
        self.count: int | None = unet.config.num_class_embeds

    def __call__(self, x: Tensor, t: Tensor, cond: Tensor | None) -> Tensor:
        labels = self._labels(cond, len(x), x.device)
        return self.unet(x, t, class_labels=labels).sample  # type: ignore[no-any-return]

    def _labels(self, cond: Tensor | None, n: int, device: torch.device) -> Tensor | None:
        if self.count is None:
            if cond is not None:
                raise UserError(
                    "This network is not class-conditional, so labels have no meaning for it; leave them out."
                )
            return None
        if cond is None:
            if self.null_class is None:
                raise UserError(f"This network needs a label for each sample (0 … {self.count - 1}); give labels=.")
            return torch.full((n,), self.null_class, dtype=torch.long, device=device)
        return torch.where(cond < 0, self.null_class if self.null_class is not None else 0, cond).to(device)


def _explained(folder: Path, error: Exception) -> UserError:
    text = str(error)
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, pickle.UnpicklingError):
        cause = cause.__cause__ or cause.__context__
    if cause is not None:
        return UserError(
            f"The weights in {folder} are a pickle that runs code when loaded, which is refused; convert them to "
            "safetensors with a tool you trust."
        )
    return UserError(f"The checkpoint {folder} cannot be loaded: {text.splitlines()[0]}")
