"""What all guided predictors share: they stand for a model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from ..predict import Predictor
from ..process import Process


@dataclass
class Wrapper(ABC):
    """A predictor around ``model``, which keeps its process, shape, device, micro-batch width, labels and name."""

    model: Predictor
    process: Process = field(init=False, repr=False)
    shape: tuple[int, ...] | None = field(init=False, repr=False)
    device: torch.device | str = field(init=False, repr=False)
    width: int | None = field(init=False, repr=False)
    label_count: int | None = field(init=False, repr=False)
    classes: Sequence[str] | None = field(init=False, repr=False)
    name: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.process, self.shape = self.model.process, self.model.shape
        self.device = getattr(self.model, "device", "cpu")
        self.width = getattr(self.model, "width", None)
        self.label_count = getattr(self.model, "label_count", None)
        self.classes = getattr(self.model, "classes", None)
        self.name = f"{getattr(self.model, 'name', type(self.model).__name__)} | {self.label}"

    @property
    @abstractmethod
    def label(self) -> str:
        """The guidance, as a run's record names it."""
