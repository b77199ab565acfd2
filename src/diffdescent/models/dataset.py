"""The exact denoiser of a finite set: every image that it can ever produce is one of those
given."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.process import Point, Process

from .exact import Exact, ExactKind, check_point, digest, float64_device, member_mask

CHUNK_BYTES = 64 * 2**20


class _Pass(NamedTuple):
    """Sums over the whole set, relative to the least energy: B samples, d coordinates."""

    least: Tensor  # (B,) the least |αy|² − 2α x·y
    nearest: Tensor  # (B,) int64, the image that has it
    mass: Tensor  # (B,) Σ exp(−(energy − least)/2σ²)
    moment: Tensor  # (B, d) Σ y exp(…)


class Dataset(Exact):
    """x0 is uniform over n given points y_i: E[x0 | x] = Σ w_i y_i with w = softmax(−‖x −
    αy_i‖²/2σ²).

    As σ → 0 this is the nearest point, which is also the answer at σ = 0. The set is read in chunks
    with a running least distance, so that memory does not grow with n and nothing underflows.
    Images are kept as uint8 and become float64 chunk by chunk. ‖x‖² is common to all points and
    left out; distances come from integer sums (uint8) and float64 products, whose rounding lies far
    below the gap between two different uint8 images.

    Args:
        images: (n, *shape), uint8 (0…255 stands for −1…1) or floating (taken as it is).
        process: α(t), σ(t).
        labels: the class of each image (n,), int64 ≥ 0, or None.
        classes: names of the classes 0, 1, …; None when they have none.
        chunk: how many images to hold in float64 at a time; by default as many as fit into 64 MiB.

    Raises:
        UserError: an empty set, another dtype, or labels that do not fit.
    """

    width = 64

    def __init__(
        self,
        images: Tensor,
        process: Process,
        *,
        labels: Tensor | None = None,
        classes: Sequence[str] | None = None,
        chunk: int | None = None,
        name: str = "dataset",
        device: torch.device | str | None = None,
    ) -> None:
        if images.ndim < 2 or len(images) == 0:
            raise UserError(
                "A data set needs at least one image, (n, C, H, W), not shape"
                f" {tuple(images.shape)}."
            )
        if images.dtype != torch.uint8 and not images.is_floating_point():
            raise UserError(
                f"Images must be uint8 (0 … 255) or floating point (−1 … 1), not {images.dtype}."
            )
        if labels is not None and (labels.shape != images.shape[:1] or labels.is_floating_point()):
            raise UserError(
                f"Labels must be {len(images)} integers, one an image, not shape"
                f" {tuple(labels.shape)}."
            )
        if chunk is not None and chunk < 1:
            raise UserError(f"A chunk must hold at least one image, not {chunk}.")
        super().__init__(process, tuple(images.shape[1:]), name, device)
        self.images = images.detach()
        self.classes = classes
        self.labels = None if labels is None else labels.detach().long().cpu()
        size = math.prod(self.sample_shape)
        self.chunk = chunk or max(1, CHUNK_BYTES // (8 * size))
        # A stored value u stands for scale·u + shift.
        self.scale, self.shift = (2 / 255, -1.0) if images.dtype == torch.uint8 else (1.0, 0.0)
        self._moved: dict[torch.device, tuple[Tensor, Tensor | None]] = {}

    def _on(self, device: torch.device) -> tuple[Tensor, Tensor | None]:
        if device not in self._moved:
            labels = None if self.labels is None else self.labels.to(device)
            self._moved[device] = self.images.flatten(1).to(device), labels
        return self._moved[device]

    def _chunks(self, x: Tensor, alpha: float) -> Iterator[tuple[int, Tensor, Tensor]]:
        """(index of the first image, stored values u (c, d), energies (B, c)) of each chunk of the
        set.

        The energy is ‖x − αy‖² less what is common to all images: ‖x‖² and the terms of the shift
        alone.
        """
        images, _ = self._on(x.device)
        for first in range(0, len(images), self.chunk):
            u = images[first : first + self.chunk].double()
            squares = self.scale**2 * (u * u).sum(1) + 2 * self.scale * self.shift * u.sum(1)
            yield first, u, alpha * alpha * squares - (2 * alpha * self.scale) * (x @ u.T)

    def _scan(self, x: Tensor, point: Point, cond: Tensor | None) -> _Pass:
        _, labels = self._on(x.device)
        _, a, s = point
        # At σ = 0 any positive number below the gaps between distances makes the softmax a choice
        # of the nearest.
        width = max(2 * s * s, 1e-290)
        least = torch.full_like(x[:, 0], math.inf)
        nearest = torch.zeros(len(x), dtype=torch.long, device=x.device)
        mass, moment = torch.zeros_like(least), torch.zeros_like(x)
        for first, u, energy in self._chunks(x, a):
            if cond is not None and labels is not None:
                energy = energy.masked_fill(
                    ~member_mask(labels[first : first + self.chunk], cond), math.inf
                )
            own, place = energy.min(1)
            nearest = torch.where(own < least, first + place, nearest)
            now = torch.minimum(least, own)
            # Until an image of its class is seen, a sample's least is ∞; any finite stand-in makes
            # its weights 0.
            base = torch.where(now.isinf(), 0.0, now)
            old = ((base - least) / width).exp()
            weight = ((base[:, None] - energy) / width).exp()
            mass = mass * old + weight.sum(1)
            moment = moment * old[:, None] + weight @ u
            least = now
        return _Pass(least, nearest, mass, self.scale * moment + self.shift * mass[:, None])

    def neighbours(self, x: Tensor, count: int = 1) -> tuple[Tensor, Tensor]:
        """The ``count`` nearest images of each ``x`` (B, *shape): distances (B, count) float64,
        ascending, and indices.

        Found by the set's energies, chunk by chunk; the distances are then taken from the
        differences themselves, so that an image that is in the set has distance 0.

        Raises:
            UserError: more neighbours than images.
        """
        if not 1 <= count <= len(self.images):
            raise UserError(
                f"The set has {len(self.images)} images, so it has no {count} nearest ones; ask for"
                " fewer."
            )
        flat = self.flat(x)
        best, index = (
            flat.new_empty(len(flat), 0),
            torch.empty(len(flat), 0, dtype=torch.long, device=flat.device),
        )
        for first, u, energy in self._chunks(flat, 1.0):
            own, place = energy.topk(min(count, len(u)), dim=1, largest=False)
            best, index = torch.cat((best, own), dim=1), torch.cat((index, first + place), dim=1)
            best, order = best.topk(min(count, best.shape[1]), dim=1, largest=False)
            index = index.gather(1, order)
        distance = torch.stack(
            [(flat - self.values(column).flatten(1)).norm(dim=1) for column in index.T], dim=1
        )
        distance, order = distance.sort(dim=1)
        return distance, index.gather(1, order)

    def values(self, index: Tensor) -> Tensor:
        """The images of ``index`` (m,), (m, *shape) float64 on the index's device."""
        images, _ = self._on(index.device)
        return (self.scale * images[index].double() + self.shift).reshape(-1, *self.sample_shape)

    def kind(self, point: Point) -> ExactKind:
        """x0 everywhere: it exists at σ = 0 (where ε does not), and ε = (x − αx0)/σ errs no more
        than x's own rounding divided by σ does."""
        return "x0"

    def evaluate(self, x: Tensor, point: Point, kind: ExactKind, cond: Tensor | None) -> Tensor:
        result = self._scan(x, point, cond)
        return result.moment / result.mass[:, None]

    def log_prob(self, x: Tensor, point: Point, cond: Tensor | None = None) -> Tensor:
        """log p(x | class) at ``point`` (σ > 0), shape (B,), float64; −2σ² times it is the smoothed
        squared distance.

        log Σ exp(−‖x − αy_i‖²/2σ²) − log n − (d/2) log 2πσ².
        """
        check_point(point)
        _, a, s = point
        if s == 0:
            raise UserError("A finite set has no density at σ = 0; ask for it at a σ above 0.")
        flat, cond = self.flat(x), self.checked(cond, x)
        result = self._scan(flat, point, cond)
        count = torch.full_like(result.mass, len(self.images))
        if cond is not None and self.labels is not None:
            labels = self.labels.to(cond.device)
            count = torch.where(
                cond == -1, count, torch.bincount(labels).to(count)[cond.clamp(min=0)]
            )
        energy = result.least + (flat - a * self.shift).square().sum(1)
        return (
            -energy / (2 * s * s)
            + (result.mass / count).log()
            - flat.shape[1] / 2 * math.log(2 * math.pi * s * s)
        )

    def transform(self, uniforms: Tensor, cond: Tensor | None = None) -> Tensor:
        """The images, (n, *shape) float64, that uniforms (n,) in [0, 1) pick with equal chances
        within their class."""
        u = uniforms.detach().double().cpu()
        index = (u * len(self.images)).long()
        cond = self.checked(cond, uniforms)
        if cond is not None and self.labels is not None:
            cond = cond.cpu()
            for label in torch.unique(cond[cond >= 0]).tolist():
                members = (self.labels == label).nonzero()[:, 0]
                index[cond == label] = members[(u[cond == label] * len(members)).long()]
        device = float64_device(uniforms.device)
        return (
            self.scale * self.images[index.to(self.images.device)].to(device, torch.float64)
            + self.shift
        )

    def sample(
        self, n: int, generator: torch.Generator | None = None, cond: Tensor | None = None
    ) -> Tensor:
        """``n`` images drawn with replacement, float64, on the generator's device; ``cond`` (n,) as
        in a call."""
        device = float64_device(generator.device) if generator else torch.device("cpu")
        return self.transform(
            torch.rand(n, generator=generator, dtype=torch.float64, device=device), cond
        )

    def fingerprint(self) -> str:
        return digest(
            (self.images,) if self.labels is None else (self.images, self.labels), "dataset"
        )
