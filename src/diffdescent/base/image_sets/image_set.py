"""Images of one size in memory, with labels and names."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class ImageSet:
    """Images of one size in memory.

    ``images`` is uint8 of shape (n, C, H, W), values 0..255; ``labels`` is int64 of shape (n,) or
    None; ``classes[k]`` is the name of label k where names are known; ``names[i]`` says where image
    i came from.
    """

    images: torch.Tensor
    labels: torch.Tensor | None
    classes: list[str] | None
    names: list[str]

    def __len__(self) -> int:
        return int(self.images.shape[0])

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of every image."""
        channels, height, width = self.images.shape[1:]
        return int(channels), int(height), int(width)

    @property
    def num_classes(self) -> int:
        """How many classes there are; 0 without labels."""
        if self.classes is not None:
            return len(self.classes)
        return 0 if self.labels is None else int(self.labels.max()) + 1
