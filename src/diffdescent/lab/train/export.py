"""The trained weights as a folder that other tools open.

A denoiser becomes a plain diffusers pipeline folder (``model_index.json``, ``unet/``,
``scheduler/``) with one more file, ``diffdescent.json``: the classes' names, the null class and how
the network was trained. A classifier becomes ``config.json`` and ``model.safetensors``.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from diffdescent.base.errors import UserError
from diffdescent.base.folders import replace_files
from diffdescent.base.image_sets import ImageSet, read_images
from diffdescent.base.reading import reason
from diffdescent.core.process import make_betas
from diffdescent.models.classifiers import FeatureNet, GuideNet, save_classifier

from .checkpoint import check_same_run, load_checkpoint
from .config import ProcessConfig, TrainConfig
from .networks import build_network, null_class


def model_folder(config: TrainConfig) -> Path:
    """Where a run leaves its model."""
    return Path(config.out) / "model"


def export_last(config: TrainConfig, *, half: bool = False) -> Path:
    """Export the average in a run's last checkpoint, also while that run goes on; returns the model
    folder.

    Args:
        config: of the run.
        half: whether weights are float16.

    Returns:
        The model folder.

    Raises:
        UserError: there is no whole checkpoint, it is of another config, or the data cannot be
            read.
    """
    path = Path(config.out) / "checkpoint.pt"
    state = load_checkpoint(path)
    check_same_run(path, state["config"], config)
    images = read_images(config.data.path, skip_bad=config.data.skip_bad, size=config.data.size)
    network = build_network(config.model_copy(update={"init_from": None}), images)
    export_model(network, state["ema"], config, images, int(state["step"]), half)
    return model_folder(config)


def export_model(
    network: nn.Module,
    weights: dict[str, torch.Tensor],
    config: TrainConfig,
    images: ImageSet,
    step: int,
    half: bool,
) -> None:
    """Write ``network`` with ``weights``, the average after ``step`` steps, as a folder; ``half``
    stores float16."""
    folder = model_folder(config)
    network = copy.deepcopy(network).cpu().float()
    network.load_state_dict(weights)
    network = network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # torch's stubs miss it
    names = images.classes or [str(k) for k in range(images.num_classes)]
    about: dict[str, Any] = {"classes": names, "images_seen": step * config.run.batch}
    if isinstance(network, (FeatureNet, GuideNet)):
        if isinstance(network, GuideNet):
            about["process"] = config.process.model_dump()
        save_classifier(network, folder, half=half, about=about)
        return
    from diffusers import DDPMPipeline

    null = null_class(config, images)
    about.update(prediction=config.loss.prediction, process=config.process.model_dump())
    if null is None:
        del about["classes"]
    else:
        about["null_class"] = null
    pipeline = DDPMPipeline(unet=network.half() if half else network, scheduler=_scheduler(config))
    text = json.dumps(about, indent=2, ensure_ascii=False) + "\n"

    def write(place: Path) -> None:
        pipeline.save_pretrained(place)
        (place / "diffdescent.json").write_text(text, encoding="utf-8")

    try:
        replace_files(folder, write)
    except SafetensorError as error:
        raise UserError(
            f"The model cannot be written to {folder} ({reason(error)}); free some space, then give"
            " the same command again."
        ) from None


def _scheduler(config: TrainConfig) -> Any:
    process: ProcessConfig = config.process
    if process.kind == "edm":
        from diffusers import EDMEulerScheduler

        return EDMEulerScheduler(sigma_data=process.sigma_data)
    from diffusers import DDPMScheduler

    prediction = "epsilon" if config.loss.prediction == "eps" else "v_prediction"
    named: dict[str, Any] = {
        "num_train_timesteps": process.steps,
        "prediction_type": prediction,
        "clip_sample": True,
    }
    if process.schedule == "linear":
        return DDPMScheduler(beta_schedule="linear", beta_start=1e-4, beta_end=0.02, **named)
    return DDPMScheduler(
        trained_betas=make_betas(process.schedule, process.steps).tolist(), **named
    )
