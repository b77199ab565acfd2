"""The optimizer of a training and its learning rate."""

from __future__ import annotations

import torch
from torch import nn

from .config import OptimizerConfig


def rate(config: OptimizerConfig, step: int, steps: int) -> float:
    """The learning rate of a step (counted from 0): linear rise, plateau, linear fall to zero at
    ``steps``."""
    rise = min(1.0, (step + 1) / config.warmup) if config.warmup else 1.0
    fall = min(1.0, (steps - step) / config.decay) if config.decay else 1.0
    return config.lr * min(rise, fall)


def build_optimizer(network: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    """AdamW; biases and normalisation gains (tensors of one dimension) do not decay."""
    trained = [p for p in network.parameters() if p.requires_grad]
    decayed = [p for p in trained if p.ndim > 1]
    rest = [p for p in trained if p.ndim <= 1]
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": rest, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, foreach=True)
