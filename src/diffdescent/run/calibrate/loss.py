"""What "near" means: how far images are from the exact ones, and how much each sample counts.

With d_i the root mean square distance of image i to its exact one, in pixels or in features φ of
both, a fit makes the mean of ρ(d_i) small:

    distance    ρ(d) = d                        robust: no sample counts for more than it is far
    squared     ρ(d) = d²                       the worst samples count most
    huber       ρ(d) = δ²(√(1 + (d/δ)²) − 1)    pseudo-Huber: the one near, the other far (δ is the
                                                mean distance of the best fixed sampler, which is
                                                found by the mean distance, or one's own)

Least squares reach it by weights ρ'(d_i)/d_i that are renewed in every round (Holland and Welsch
1977; pseudo-Huber: Charbonnier et al. 1994).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, cast, get_args

import torch
from torch import Tensor

from diffdescent.base.errors import UserError, unknown

from .judge import distances

FeatureMap = Callable[[Tensor], Tensor]
Kind = Literal["distance", "squared", "huber"]
MOVED = 0.02
"""The root mean square of a change of images by which features are differentiated."""


@dataclass(frozen=True)
class Loss:
    """What is made small. ``features`` takes images (B, C, H, W) to (B, …), and None is the images
    themselves; ``name`` is what the file calls it. ``delta`` is δ of ``huber``; None takes it from
    the best fixed sampler.

    Raises :class:`UserError` for another kind, and for a δ that is not positive.
    """

    kind: Kind = "distance"
    features: FeatureMap | None = None
    name: str = ""
    delta: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise unknown("loss", self.kind, get_args(Kind))
        if self.delta is not None and not 0 < self.delta < math.inf:
            raise UserError(f"δ of a loss is a distance above 0, not {self.delta}.")

    @property
    def text(self) -> str:
        """As the file has it: ``distance``, ``huber(δ)``, ``distance of FEATURES``."""
        known = self.kind == "huber" and self.delta is not None
        kind = f"huber({self.delta:.4g})" if known else self.kind
        return kind if self.features is None else f"{kind} of {self.name or 'features'}"

    @property
    def named(self) -> bool:
        """Whether the text says all, so that what was found with it can be kept."""
        return self.features is None or bool(self.name)

    def scaled(self, delta: float) -> Loss:
        """The loss with this δ where it has none."""
        return self if self.delta is not None else replace(self, delta=max(delta, 1e-12))

    def seen(self, images: Tensor) -> Tensor:
        """The features of images, or the images.

        Raises :class:`UserError` where the map does not give one feature row for each image.
        """
        if self.features is None:
            return images
        found = self.features(images)
        if not isinstance(found, Tensor) or found.ndim < 2 or len(found) != len(images):
            shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise UserError(
                "The features of a loss are a tensor with one row for each of"
                f" {len(images)} images, not {shape}."
            )
        return found

    def distances(self, images: Tensor, exact: Tensor) -> Tensor:
        """d of each image, (n,), float64 on the CPU."""
        return distances(self.seen(images), self.seen(exact))

    def values(self, apart: Tensor) -> Tensor:
        """ρ(d); of ``huber`` without δ it is d, which ρ/δ tends to as δ → 0."""
        if self.kind == "squared":
            return apart.square()
        if self.kind == "huber" and self.delta is not None:
            return self.delta**2 * ((1 + (apart / self.delta).square()).sqrt() - 1)
        return apart

    def mean(self, images: Tensor, exact: Tensor) -> float:
        """The mean of ρ(d); infinite where an image is not finite."""
        found = float(self.values(self.distances(images, exact)).mean())
        return found if math.isfinite(found) else math.inf

    def weights(self, apart: Tensor, typical: Tensor) -> Tensor:
        """ρ'(d)/d up to a factor; ``typical`` keeps that of a distance of 0 finite."""
        if self.kind == "squared":
            return torch.ones_like(apart)
        if self.kind == "huber" and self.delta is not None:
            return 1 / (1 + (apart / self.delta).square()).sqrt()
        return 1 / (apart + typical)

    def moved(self, columns: Tensor, images: Tensor) -> Tensor:
        """Derivatives of the images (p, T, C, H, W) as those of their features (p, T, …)."""
        if self.features is None:
            return columns
        base = self.seen(images)
        sizes = columns.flatten(1).square().mean(1).sqrt().clamp_min(1e-12) / MOVED
        return torch.stack(
            [
                (self.seen(images + one / size) - base) * size
                for one, size in zip(columns, sizes, strict=True)
            ]
        )


def loss_of(asked: Loss | FeatureMap | str) -> Loss:
    """The loss of a kind, or the distance in the features of a map.

    Raises :class:`UserError` for another kind.
    """
    if isinstance(asked, Loss):
        return asked
    if callable(asked):
        return Loss(features=asked)
    if asked not in get_args(Kind):
        raise unknown("loss", asked, get_args(Kind))
    return Loss(cast(Kind, asked))


DISTANCE = Loss()
"""The root mean square distance in pixels."""
