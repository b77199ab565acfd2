"""What the metrics look at: features of images, and what an extractor is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from diffdescent.base.errors import UserError

JSON = Any
"""A value that JSON can hold."""

OnProgress = Callable[[int, int], None]
"""Called with (done, in all)."""


@dataclass(frozen=True)
class Features:
    """Features of n images, float32 on the CPU.

    ``pool`` (n, d) serves FD, KID, precision and recall; ``spatial`` (n, s), a flattened map, sFD;
    ``probs`` (n, k), class probabilities, the Inception Score; ``labels`` (n,), the classes that
    the images were asked to show, with ``probs`` the agreement. ``protocol`` is that of the
    extractor which made them.
    """

    pool: Tensor
    spatial: Tensor | None = None
    probs: Tensor | None = None
    protocol: Mapping[str, JSON] = field(default_factory=dict)
    labels: Tensor | None = None

    def __len__(self) -> int:
        return len(self.pool)

    def __getitem__(self, index: slice | Tensor) -> Features:
        """The features of some of the images."""
        return Features(
            self.pool[index],
            None if self.spatial is None else self.spatial[index],
            None if self.probs is None else self.probs[index],
            self.protocol,
            None if self.labels is None else self.labels[index],
        )


class Extractor(Protocol):
    """Features of images. ``protocol`` is all that they depend on: the network, its weights, how
    images are resized."""

    name: str
    protocol: dict[str, JSON]

    def __call__(self, images: Tensor) -> Features:
        """Of ``images``, uint8 (n, C, H, W)."""
        ...


def join(parts: Sequence[Features]) -> Features:
    """The features of several batches as one.

    Args:
        parts: at least one.

    Returns:
        The features in the order of the parts.

    Raises:
        UserError: when there is none.
    """
    if not parts:
        raise UserError("There is no image to look at; give at least one.")
    first = parts[0]
    return Features(
        torch.cat([p.pool for p in parts]),
        (
            None
            if first.spatial is None
            else torch.cat([p.spatial for p in parts if p.spatial is not None])
        ),
        None if first.probs is None else torch.cat([p.probs for p in parts if p.probs is not None]),
        first.protocol,
        (
            None
            if first.labels is None
            else torch.cat([p.labels for p in parts if p.labels is not None])
        ),
    )


def extract(
    extractor: Extractor,
    images: Tensor | Iterable[Tensor],
    *,
    batch: int = 256,
    progress: OnProgress | None = None,
) -> Features:
    """Features of ``images``, a uint8 tensor (n, C, H, W) or batches of it.

    ``progress`` is called with (done, in all) after each batch of a tensor.

    Args:
        extractor: what looks at the images.
        images: uint8 (n, C, H, W), or batches of it.
        batch: images at a time, of a tensor.
        progress: called with (done, in all) after each batch of a tensor.

    Returns:
        The features, on the CPU.

    Raises:
        UserError: no image.
    """
    parts, done = [], 0
    for some in torch.split(images, batch) if isinstance(images, Tensor) else images:
        parts.append(extractor(some))
        done += len(some)
        if progress is not None and isinstance(images, Tensor):
            progress(done, len(images))
    return join(parts)


def differences(ours: Mapping[str, JSON], theirs: Mapping[str, JSON]) -> Iterator[str]:
    """Where two protocols differ, each as "key: ours here, theirs there"."""
    for key in sorted({*ours, *theirs}):
        if ours.get(key) != theirs.get(key):
            yield f"{key}: {ours.get(key)} here, {theirs.get(key)} there"
