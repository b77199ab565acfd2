"""The trained weights as a folder that other tools open.

A denoiser becomes a plain diffusers pipeline folder (``model_index.json``, ``unet/``, ``scheduler/``) with one more
file, ``diffdescent.json``: the classes' names, the null class and how the network was trained. A classifier becomes
``config.json`` and ``model.safetensors``.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..models.classifiers import FeatureNet, GuideNet, save_classifier
from ..process import make_betas
from .config import ProcessConfig, TrainConfig


def export_model(
    network: nn.Module,
    weights: dict[str, torch.Tensor],
    config: TrainConfig,
    folder: Path,
    about: dict[str, Any],
    half: bool = False,
) -> None:
    """Write ``network`` with ``weights`` (the average) as a model folder; ``half`` stores them as float16.

    ``about`` (classes, null class, images seen) is stored beside the weights.
    """
    network = copy.deepcopy(network).cpu().float()
    network.load_state_dict(weights)
    network = network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # torch's stubs miss it
    if isinstance(network, (FeatureNet, GuideNet)):
        save_classifier(network, folder, half=half, about=about)
        return
    from diffusers import DDPMPipeline

    pipeline = DDPMPipeline(unet=network.half() if half else network, scheduler=_scheduler(config))
    pipeline.save_pretrained(folder)
    extra = {"process": config.process.model_dump(), "prediction": config.loss.prediction, **about}
    (folder / "diffdescent.json").write_text(json.dumps(extra, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _scheduler(config: TrainConfig) -> Any:
    process: ProcessConfig = config.process
    if process.kind == "edm":
        from diffusers import EDMEulerScheduler

        return EDMEulerScheduler(sigma_data=process.sigma_data)
    from diffusers import DDPMScheduler

    prediction = "epsilon" if config.loss.prediction == "eps" else "v_prediction"
    named: dict[str, Any] = {"num_train_timesteps": process.steps, "prediction_type": prediction, "clip_sample": True}
    if process.schedule == "linear":
        return DDPMScheduler(beta_schedule="linear", beta_start=1e-4, beta_end=0.02, **named)
    return DDPMScheduler(trained_betas=make_betas(process.schedule, process.steps).tolist(), **named)
