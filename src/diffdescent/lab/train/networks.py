"""The network that a recipe trains, sized by the data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from diffdescent.base.errors import UserError
from diffdescent.base.image_sets import ImageSet
from diffdescent.base.reading import reason
from diffdescent.models.classifiers import FeatureNet, GuideNet
from diffdescent.models.weight_files import load_state

from .checkpoint import load_checkpoint
from .config import TrainConfig


def null_class(config: TrainConfig, images: ImageSet) -> int | None:
    """The label that stands for "no class": one past the last; None for a denoiser trained without
    classes."""
    return images.num_classes if config.data.labels and images.labels is not None else None


def build_network(config: TrainConfig, images: ImageSet) -> nn.Module:
    """The network with fresh weights from the seed that torch holds, or those of ``init_from``.

    Raises:
        UserError: labels are missing for a task that needs them, the constructor refuses
            ``model:``, or ``init_from`` does not fit.
    """
    if config.task != "denoiser" and images.labels is None:
        raise UserError(
            f"The task {config.task!r} needs labels, but {config.data.path} has none; sort the"
            " images into class folders."
        )
    if config.task == "denoiser" and config.data.labels and images.labels is None:
        raise UserError(
            f"The recipe asks for a class-conditional denoiser, but {config.data.path} has no"
            " labels; sort the images into class folders, or set data.labels=false."
        )
    try:
        network = _construct(config, images)
        _try(network, images.shape)
    except (UserError, MemoryError):
        raise
    except Exception as error:  # whatever odd values make of the constructor
        raise UserError(
            f"The network refuses the recipe's model: section, or images of {images.shape[1]} ×"
            f" {images.shape[2]} ({reason(error)}); compare with configs/, and give data.size a"
            " side that each level can halve."
        ) from error
    if config.init_from is not None:
        _initialise(network, Path(config.init_from))
    return network


def plain_attention(network: nn.Module) -> None:
    """Have a diffusers network compute attention by two matrix products and a softmax.

    torch's fused kernel is slow backwards on a CPU where there are few tokens: without it
    one core trains ``configs/cifar10.yaml`` with 11 % more images/s
    (``benchmarks/training.py``).
    The parameters are the same, and nothing of it is kept in what is exported.
    """
    from diffusers.models.attention_processor import Attention, AttnProcessor

    for module in network.modules():
        if isinstance(module, Attention):
            module.set_processor(AttnProcessor())


def _construct(config: TrainConfig, images: ImageSet) -> nn.Module:
    channels, height, width = images.shape
    options: dict[str, Any] = dict(config.model)
    if config.task == "features":
        return FeatureNet(classes=images.num_classes, channels=channels, **options)
    if config.task == "guide":
        return GuideNet(classes=images.num_classes, channels=channels, **options)
    from diffusers import UNet2DModel

    null = null_class(config, images)
    network: nn.Module = UNet2DModel(
        sample_size=height if height == width else (height, width),
        in_channels=channels,
        out_channels=channels,
        num_class_embeds=None if null is None else null + 1,
        **options,
    )
    return network


@torch.no_grad()
def _try(network: nn.Module, shape: tuple[int, ...]) -> None:
    """Compute one image: sides that a U-Net cannot halve, say, show only then."""
    network.eval()
    x, zero = torch.zeros(1, *shape), torch.zeros(1, dtype=torch.long)
    if isinstance(network, FeatureNet):
        network(x)
    elif isinstance(network, GuideNet):
        network(x, zero.float())
    else:
        known = getattr(network, "class_embedding", None) is not None
        network(x, zero, class_labels=zero if known else None)
    network.train()


def _initialise(network: nn.Module, source: Path) -> None:
    """Load the weights of a checkpoint (its average) or of a model folder."""
    state = load_checkpoint(source)["ema"] if source.suffix == ".pt" else load_state(source)
    own = network.state_dict()
    wrong = [
        k
        for k in sorted(own.keys() | state.keys())
        if k not in own or k not in state or own[k].shape != state[k].shape
    ]
    if wrong:
        raise UserError(
            f"The weights of {source} do not fit the recipe's network: {len(wrong)} tensors differ,"
            f" first {wrong[0]!r}; give model: the values that they were trained with."
        )
    network.load_state_dict({k: v.to(own[k].dtype) for k, v in state.items()})
