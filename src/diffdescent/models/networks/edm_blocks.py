"""The blocks of EDM's U-Nets, and how both networks are put together of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import attend

Resample = Literal["down", "up"]


class Convolution(nn.Module):
    """A convolution, before it a resampling by a filter; ``kernel`` 0 is the resampling alone.

    Up: zeros between the pixels, then four times the filter. Down: the filter, every second pixel.
    ``fused`` filters after the convolution instead, with the borders of both padded at once.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        resample: Resample | None = None,
        taps: Sequence[float] = (1, 1),
        fused: bool = False,
    ) -> None:
        super().__init__()
        self.resample, self.fused = resample, fused
        self.weight = self.bias = None
        if kernel:
            self.weight = nn.Parameter(torch.zeros(outputs, inputs, kernel, kernel))
            self.bias = nn.Parameter(torch.zeros(outputs))
        f = torch.tensor(taps, dtype=torch.float32)
        f = f.outer(f) / f.sum() ** 2
        self.register_buffer("resample_filter", f[None, None] if resample else None)

    def forward(self, x: Tensor) -> Tensor:
        f = self.resample_filter
        pad = 0 if self.weight is None else self.weight.shape[-1] // 2
        if f is None:
            return self._convolve(x, pad)
        assert isinstance(f, Tensor)
        edge = (f.shape[-1] - 1) // 2
        if self.fused:  # only ever downwards
            return self._filter(self._convolve(x, pad + edge), f, 0)
        return self._convolve(self._filter(x, f, edge), pad)

    def _filter(self, x: Tensor, f: Tensor, padding: int) -> Tensor:
        channels = x.shape[1]
        if self.resample == "up":
            f = 4 * f.expand(channels, 1, -1, -1)
            return F.conv_transpose2d(x, f.to(x), None, 2, padding, groups=channels)
        f = f.expand(channels, 1, -1, -1)
        return F.conv2d(x, f.to(x), None, 2, padding, groups=channels)

    def _convolve(self, x: Tensor, padding: int) -> Tensor:
        return x if self.weight is None else F.conv2d(x, self.weight, self.bias, padding=padding)


def norm(channels: int, eps: float) -> nn.GroupNorm:
    return nn.GroupNorm(min(32, channels // 4), channels, eps=eps)


@dataclass(frozen=True)
class Style:
    """In what the blocks of the two networks differ.

    ``head_width`` None is one head. ``skip_scale`` multiplies each residual sum. ``adaptive``: the
    embedding scales and shifts after the second normalisation, otherwise it is added before it.
    ``project``: a resampling skip path always has a convolution.
    """

    eps: float
    skip_scale: float
    adaptive: bool
    project: bool
    head_width: int | None
    taps: tuple[float, ...] = (1, 1)


class Block(nn.Module):
    """Two convolutions with the embedding between them, then self-attention where asked for."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        embedding: int,
        style: Style,
        resample: Resample | None = None,
        attention: bool = False,
    ) -> None:
        super().__init__()
        self.inputs, self.style = inputs, style
        self.norm0 = norm(inputs, style.eps)
        self.conv0 = Convolution(inputs, outputs, 3, resample, style.taps)
        self.affine = nn.Linear(embedding, 2 * outputs if style.adaptive else outputs)
        self.norm1 = norm(outputs, style.eps)
        self.conv1 = Convolution(outputs, outputs, 3)
        self.skip: Convolution | None = None
        if inputs != outputs or resample:
            kernel = 1 if style.project or inputs != outputs else 0
            self.skip = Convolution(inputs, outputs, kernel, resample, style.taps)
        self.heads = 0
        if attention:
            self.heads = outputs // style.head_width if style.head_width else 1
            self.norm2 = norm(outputs, style.eps)
            self.qkv = Convolution(outputs, 3 * outputs, 1)
            self.proj = Convolution(outputs, outputs, 1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        h: Tensor = self.conv0(F.silu(self.norm0(x)))
        shift = self.affine(embedding)[:, :, None, None]
        if self.style.adaptive:
            scale, shift = shift.chunk(2, dim=1)
            h = torch.addcmul(shift, self.norm1(h), scale + 1)
        else:
            h = self.norm1(h + shift)
        h = self.conv1(F.silu(h))
        passed: Tensor = x if self.skip is None else self.skip(x)
        h = (h + passed) * self.style.skip_scale
        if not self.heads:
            return h
        batch, channels = h.shape[:2]
        rows = self.qkv(self.norm2(h))
        split = rows.reshape(batch * self.heads, channels // self.heads, 3, -1)
        mixed = attend(*split.unbind(2)).reshape(h.shape)
        out: Tensor = (self.proj(mixed) + h) * self.style.skip_scale
        return out


def encoder_and_decoder(
    resolution: int,
    images: int,
    first: int,
    widths: Sequence[int],
    embedding: int,
    blocks: int,
    attention_at: Sequence[int],
    style: Style,
    *,
    attend_up: Literal["every", "last"],
    aside: bool = False,
) -> tuple[nn.ModuleDict, nn.ModuleDict]:
    """The way down and the way up, layers by their names in the published files.

    ``images`` channels become ``first``, then ``widths`` at one level after the other. On the way
    up attention follows every block at the resolutions ``attention_at``, or the last of a level.
    ``aside``: a second, plain path halves the image and is added at each level (NCSN++).
    """
    enc, dec = nn.ModuleDict(), nn.ModuleDict()
    enc[f"{resolution}x{resolution}_conv"] = Convolution(images, first, 3)
    skips, width, beside = [first], first, images
    for level, outputs in enumerate(widths):
        side = resolution >> level
        name, attention = f"{side}x{side}", side in attention_at
        if level:
            enc[f"{name}_down"] = Block(width, width, embedding, style, "down")
            skips.append(width)
            if aside:
                enc[f"{name}_aux_residual"] = Convolution(
                    beside, width, 3, "down", style.taps, fused=True
                )
                beside = width
        for k in range(blocks):
            enc[f"{name}_block{k}"] = Block(width, outputs, embedding, style, attention=attention)
            width = outputs
            skips.append(width)
    for level, outputs in reversed(list(enumerate(widths))):
        side = resolution >> level
        name, here = f"{side}x{side}", side in attention_at
        if level == len(widths) - 1:
            dec[f"{name}_in0"] = Block(width, width, embedding, style, attention=True)
            dec[f"{name}_in1"] = Block(width, width, embedding, style)
        else:
            dec[f"{name}_up"] = Block(width, width, embedding, style, "up")
        for k in range(blocks + 1):
            attention = here and (attend_up == "every" or k == blocks)
            dec[f"{name}_block{k}"] = Block(
                width + skips.pop(), outputs, embedding, style, attention=attention
            )
            width = outputs
    return enc, dec


def joined(x: Tensor, skips: list[Tensor], layer: nn.Module) -> Tensor:
    """x, joined by the newest skip where the block takes more channels than x has."""
    assert isinstance(layer, Block)
    return x if x.shape[1] == layer.inputs else torch.cat([x, skips.pop()], dim=1)
