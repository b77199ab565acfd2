"""The blocks of ADM's U-Net: residual, attention, resampling, and a row of them."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from .layers import attend, double, halve


def norm(channels: int) -> nn.GroupNorm:
    """Normalisation over 32 groups, ε = 1e-5."""
    return nn.GroupNorm(32, channels)


class ResidualBlock(nn.Module):
    """Two convolutions, between them the embedding: as scale and shift, or added.

    ``resample``: the block halves or doubles the resolution of both its paths.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        embedding: int,
        scale_shift: bool,
        resample: Literal["down", "up"] | None = None,
    ) -> None:
        super().__init__()
        self.scale_shift = scale_shift
        self.resample = resample
        conv = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.in_layers = nn.Sequential(norm(inputs), nn.SiLU(), conv)
        self.emb_layers = nn.Sequential(
            nn.SiLU(), nn.Linear(embedding, 2 * outputs if scale_shift else outputs)
        )
        # Nothing stands where the reference has its dropout, which counts in the tensors' names.
        self.out_layers = nn.Sequential(
            norm(outputs), nn.SiLU(), nn.Identity(), nn.Conv2d(outputs, outputs, 3, padding=1)
        )
        self.skip_connection = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        normalise, activate, convolve = self.in_layers
        h = convolve(self._resampled(activate(normalise(x))))
        shift = self.emb_layers(embedding)[:, :, None, None]
        first, *rest = self.out_layers
        if self.scale_shift:
            scale, shift = shift.chunk(2, dim=1)
            h = first(h) * (1 + scale) + shift
        else:
            h = first(h + shift)
        for layer in rest:
            h = layer(h)
        out: Tensor = self.skip_connection(self._resampled(x)) + h
        return out

    def _resampled(self, x: Tensor) -> Tensor:
        if self.resample is None:
            return x
        return halve(x) if self.resample == "down" else double(x)


class Attention(nn.Module):
    """Self-attention over pixels; with ``context`` channels, also to a text's tokens.

    ``order`` of the rows of ``qkv``: ``"heads first"`` has q, k and v of a head together (improved
    DDPM, legacy ADM, GLIDE), ``"qkv first"`` all heads of q, then of k, then of v.
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        order: Literal["heads first", "qkv first"] = "heads first",
        context: int | None = None,
    ) -> None:
        super().__init__()
        self.heads, self.order = heads, order
        self.norm = norm(channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.encoder_kv = None if context is None else nn.Conv1d(context, 2 * channels, 1)
        self.proj_out = nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        batch, channels = x.shape[:2]
        flat = x.flatten(2)
        q, k, v = split_heads(self.qkv(self.norm(flat)), self.heads, 3, self.order)
        if self.encoder_kv is not None and context is not None:
            also_k, also_v = split_heads(self.encoder_kv(context), self.heads, 2, "heads first")
            k, v = torch.cat([also_k, k], dim=-1), torch.cat([also_v, v], dim=-1)
        mixed = attend(q, k, v).reshape(batch, channels, -1)
        out: Tensor = flat + self.proj_out(mixed)
        return out.reshape(x.shape)


def split_heads(x: Tensor, heads: int, parts: int, order: str) -> tuple[Tensor, ...]:
    """(B, parts·C, n) → ``parts`` tensors (B·heads, C/heads, n)."""
    batch, rows, length = x.shape
    width = rows // (parts * heads)
    shape = (heads, parts) if order == "heads first" else (parts, heads)
    x = x.reshape(batch, *shape, width, length)
    found = x.unbind(2) if order == "heads first" else x.unbind(1)
    return tuple(part.reshape(batch * heads, width, length) for part in found)


class Downsample(nn.Module):
    """A convolution of stride 2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.op(x)
        return out


class Upsample(nn.Module):
    """Pixels doubled, then a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(double(x))
        return out


class Stage(nn.ModuleList):
    """Layers in a row, each given what it takes: the embedding, the text, or nothing."""

    def forward(self, x: Tensor, embedding: Tensor, context: Tensor | None = None) -> Tensor:
        for layer in self:
            if isinstance(layer, ResidualBlock):
                x = layer(x, embedding)
            elif isinstance(layer, Attention):
                x = layer(x, context)
            else:
                x = layer(x)
        return x
