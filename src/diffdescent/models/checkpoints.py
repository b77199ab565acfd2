"""diffusers checkpoint folders: a UNet2DModel with its scheduler's config, read from the local disk
only."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffdescent.base.device import pick_device
from diffdescent.base.errors import UserError
from diffdescent.base.reading import read_json, reason, understood
from diffdescent.base.words import shown
from diffdescent.core.network import EDM, Network
from diffdescent.core.predict import Kind
from diffdescent.core.process import VE, VP, Array, Flow, Point, Process, Schedule, make_betas

from .checkpoint_config import (
    check_loaded,
    check_numbers,
    check_sizes,
    check_types,
    rehearse,
    unheard,
)
from .weight_files import weights_fingerprint

_SCHEDULES: dict[str, Schedule] = {
    "linear": "linear",
    "scaled_linear": "scaled_linear",
    "squaredcos_cap_v2": "cosine",
    "sigmoid": "sigmoid",
}
_KINDS: dict[str, Kind] = {
    "epsilon": "eps",
    "sample": "x0",
    "v_prediction": "v",
    "flow_prediction": "flow",
}


def process_from_config(config: dict[str, Any]) -> Process:
    """The process of a diffusers scheduler config.

    A discrete VP process by ``beta_schedule``, ``beta_start``, ``beta_end``, ``trained_betas``,
    ``num_train_timesteps``, ``rescale_betas_zero_snr``; a :class:`VE` one for ``EDM…`` schedulers;
    a :class:`Flow` for flow matching (``shift``). Without any of it (no scheduler with the network)
    the linear 1000-step process is taken.

    Raises:
        UserError: a scheduler or schedule that is not known.
    """
    name = str(config.get("_class_name", ""))
    if _is_flow(config):
        return Flow(shift=float(config.get("shift", config.get("flow_shift", 1.0)) or 1.0))
    if name.startswith("EDM"):
        return VE(float(config.get("sigma_min", 0.002)), float(config.get("sigma_max", 80.0)))
    trained = config.get("trained_betas")
    if trained is not None:
        betas = np.asarray(trained, dtype=np.float64)
    else:
        if name and "beta_schedule" not in config:
            raise UserError(
                f"The scheduler {name} has no beta schedule, and which process it means is not"
                " known; wrap the network with dd.Network in Python and say its process and"
                " prediction type."
            )
        schedule = config.get("beta_schedule", "linear")
        if schedule not in _SCHEDULES:
            raise UserError(
                f"The scheduler's beta_schedule {schedule!r} is not known; expected one of"
                f" {', '.join(_SCHEDULES)}, or trained_betas with the values themselves."
            )
        steps = int(config.get("num_train_timesteps", 1000))
        betas = make_betas(
            _SCHEDULES[schedule], steps, config.get("beta_start"), config.get("beta_end")
        )
    if config.get("rescale_betas_zero_snr"):
        return VP.from_alpha_bar(zero_terminal_snr(np.cumprod(1 - betas, dtype=np.float64)))
    return VP(betas)


def _is_flow(config: dict[str, Any]) -> bool:
    return (
        "FlowMatch" in str(config.get("_class_name", ""))
        or config.get("prediction_type") == "flow_prediction"
    )


def zero_terminal_snr(alpha_bar: Array) -> Array:
    """√ᾱ shifted and scaled so that its last value is 0 and its first is kept (Lin et al. 2024,
    algorithm 1)."""
    root = np.sqrt(alpha_bar)
    return np.asarray(((root - root[-1]) * root[0] / (root[0] - root[-1])) ** 2)


def _read_json(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise UserError(
            f"The checkpoint lacks {path.name} (looked in {path.parent}); is the folder complete?"
        )
    data = read_json(path)
    if not isinstance(data, dict):
        raise UserError(
            f"{path} should hold a JSON object, not {type(data).__name__}; the checkpoint is"
            " damaged."
        )
    return data


def load_checkpoint(folder: str | Path, device: str | None = None) -> Network | EDM:
    """The network of a pipeline folder (``unet/``, ``scheduler/``) or of a bare UNet2DModel folder.

    An EDM scheduler with it makes it an :class:`EDM`, any other a :class:`Network`. Without a
    scheduler config the linear 1000-step process is taken. A class-conditional network whose label
    count has one more entry than ``classes`` (or says so by ``null_class`` in ``diffdescent.json``)
    is given that last label when no label is asked for. Half-precision weights run in float32 on a
    CPU. Weights are safetensors, or a ``.bin`` that loads without running code.

    Raises:
        UserError: another network class, missing files, and a pickle that needs code.
    """
    try:
        from diffusers import UNet2DModel
    except ImportError:
        raise UserError(
            "Checkpoint folders need diffusers; install it with: pip install"
            " 'diffdescent[diffusers]'."
        ) from None

    root, where = Path(folder), pick_device(device or "cpu")
    unet_folder = root / "unet" if (root / "unet").is_dir() else root
    config = _read_json(unet_folder / "config.json")
    if config.get("_class_name") != "UNet2DModel":
        raise UserError(
            f"{unet_folder} holds a {shown(config.get('_class_name', 'network of no class'))}, but"
            " only UNet2DModel folders load by themselves; wrap another network with dd.Network in"
            " Python."
        )
    check_types(unet_folder / "config.json", config, UNet2DModel.__init__)
    check_sizes(unet_folder / "config.json", config)
    check_numbers(unet_folder / "config.json", config)
    scheduler = root / "scheduler" / "scheduler_config.json"
    if not scheduler.is_file():
        scheduler = root / "scheduler_config.json"
    sampling = _read_json(scheduler) if scheduler.is_file() else {}
    try:
        safe = any(unet_folder.glob("*.safetensors*"))
        with unheard():
            unet, found = UNet2DModel.from_pretrained(
                str(unet_folder), local_files_only=True, use_safetensors=safe,
                output_loading_info=True,
            )  # fmt: skip
    except Exception as error:  # a damaged folder can raise anything in the library
        raise _explained(unet_folder, error) from None
    check_loaded(unet_folder, found)
    rehearse(unet_folder, UNet2DModel, config)
    unet = unet.to(where).eval().requires_grad_(False)
    if where.type == "cpu":
        # half precision is for storage: convolutions in it are emulated on a CPU, many times slower
        unet = unet.float()
    extra = _read_json(root / "diffdescent.json") if (root / "diffdescent.json").is_file() else {}
    with understood(root, "a checkpoint", "its configs are damaged or of another kind"):
        fingerprint = weights_fingerprint(unet_folder)
        return wrap_unet(unet, sampling, extra, name=root.name, fingerprint=fingerprint)


def wrap_unet(
    unet: Any,
    sampling: dict[str, Any],
    extra: dict[str, Any] | None = None,
    *,
    name: str,
    fingerprint: str | None = None,
) -> Network | EDM:
    """A ``UNet2DModel`` under the process and prediction type of a scheduler's config ``sampling``
    ({}: the linear 1000-step process and ε).

    ``extra`` are the names of the ``classes`` and the ``null_class``, where they are known.

    Raises:
        UserError: a scheduler, schedule or prediction type that is not known.
    """
    extra = extra or {}
    size = unet.config.sample_size
    sides = (size, size) if isinstance(size, int) else tuple(size or ())
    null, classes = extra.get("null_class", _null_class(unet, extra)), extra.get("classes")
    if null is not None and not (
        type(null) is int and 0 <= null < (unet.config.num_class_embeds or 0)
    ):
        raise ValueError(f"null_class is {str(null)[:40]}, which is no label of the network")
    if classes is not None and not all(isinstance(name, str) for name in classes):
        raise ValueError("classes are not a list of names")
    module = _Labelled(unet, null)
    weight = next(unet.parameters())
    common: dict[str, Any] = {
        "shape": (unet.config.in_channels, *sides) if sides else None,
        "dtype": weight.dtype,
        "device": weight.device,
        "name": name,
        "classes": None if classes is None else tuple(classes),
        "label_count": unet.config.num_class_embeds,
        "needs_label": module.count is not None and module.null_class is None,
        "fingerprint": fingerprint,
    }
    process = process_from_config(sampling)
    if isinstance(process, VE):
        return EDM(module, process, sigma_data=float(sampling.get("sigma_data", 0.5)), **common)
    kind = "flow" if _is_flow(sampling) else _KINDS.get(sampling.get("prediction_type", "epsilon"))
    if kind is None:
        raise UserError(
            f"The scheduler's prediction_type {sampling['prediction_type']!r} is not known."
        )
    trained_steps = int(sampling.get("num_train_timesteps", 1000))

    def flow_time(at: Point) -> float:
        return at.t * trained_steps  # a flow network takes 1000 t

    return Network(
        module,
        process,
        kind,
        time=flow_time if isinstance(process, Flow) else None,
        learned_variance=unet.config.out_channels == 2 * unet.config.in_channels,
        **common,
    )


def _null_class(unet: Any, extra: dict[str, Any]) -> int | None:
    count = unet.config.num_class_embeds
    return int(count) - 1 if count and len(extra.get("classes", ())) == count - 1 else None


class _Labelled:
    """A UNet2DModel as ``module(x, t, cond)``: no label means the null class of a network that has
    one."""

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
                    "This network is not class-conditional, so labels have no meaning for it; leave"
                    " them out."
                )
            return None
        if cond is None:
            if self.null_class is None:
                raise UserError(
                    f"This network needs a label for each sample (0 … {self.count - 1}); give a"
                    " label."
                )
            return torch.full((n,), self.null_class, dtype=torch.long, device=device)
        if self.null_class is None:
            return cond.to(device)
        return torch.where(cond < 0, self.null_class, cond).to(device)


def _explained(folder: Path, error: Exception) -> UserError:
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, pickle.UnpicklingError):
        cause = cause.__cause__ or cause.__context__
    if cause is not None:
        return UserError(
            f"The weights in {folder} are a pickle that runs code when loaded, which is refused;"
            " convert them to safetensors with a tool you trust."
        )
    return UserError(f"The checkpoint {folder} cannot be loaded: {reason(error)}.")
