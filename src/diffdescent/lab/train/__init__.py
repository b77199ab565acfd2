"""Training: ``train(load_config("configs/mnist.yaml"))``, the same as ``diffdescent train
configs/mnist.yaml``."""

from __future__ import annotations

from .config import TrainConfig, load_config, make_config
from .export import export_last
from .loop import Result, train

__all__ = ["Result", "TrainConfig", "export_last", "load_config", "make_config", "train"]
