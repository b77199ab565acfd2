"""The U-Nets of EDM (Karras et al. 2022, appendix F): SongUNet, that is DDPM++ and NCSN++ of the
score-SDE paper, and DhariwalUNet, that is ADM's.

Both are the raw network F(c_in·x; c_noise); the preconditioning around it belongs to the model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import attend, sinusoidal

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


def _norm(channels: int, eps: float) -> nn.GroupNorm:
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
        self.norm0 = _norm(inputs, style.eps)
        self.conv0 = Convolution(inputs, outputs, 3, resample, style.taps)
        self.affine = nn.Linear(embedding, 2 * outputs if style.adaptive else outputs)
        self.norm1 = _norm(outputs, style.eps)
        self.conv1 = Convolution(outputs, outputs, 3)
        self.skip: Convolution | None = None
        if inputs != outputs or resample:
            kernel = 1 if style.project or inputs != outputs else 0
            self.skip = Convolution(inputs, outputs, kernel, resample, style.taps)
        self.heads = 0
        if attention:
            self.heads = outputs // style.head_width if style.head_width else 1
            self.norm2 = _norm(outputs, style.eps)
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


class _Fourier(nn.Module):
    """sin and cos of 2π·f_i·t at random frequencies f_i."""

    freqs: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("freqs", torch.zeros(channels // 2))

    def forward(self, t: Tensor) -> Tensor:
        angle = t.outer((2 * math.pi * self.freqs).to(t.dtype))
        return torch.cat([angle.sin(), angle.cos()], dim=1)


def _one_hot(labels: Tensor | None, classes: int, like: Tensor) -> Tensor:
    """One row a sample; zeros where there is no label (None, or −1)."""
    row = torch.zeros(len(like), classes, device=like.device)
    if labels is not None:
        known = labels >= 0
        row[known, labels[known]] = 1.0
    return row


class SongUNet(nn.Module):
    """(x, c_noise, labels) → F, all of x's shape.

    ``embedding_type`` "positional" with ``encoder_type`` "standard" and ``resample_filter`` (1, 1)
    is DDPM++; "fourier", "residual" and (1, 3, 3, 1) is NCSN++. ``augment_dim`` describes an
    augmentation in training; sampling leaves it out.
    """

    def __init__(
        self,
        img_resolution: int,
        img_channels: int = 3,
        label_dim: int = 0,
        augment_dim: int = 0,
        model_channels: int = 128,
        channel_mult: Sequence[int] = (1, 2, 2, 2),
        channel_mult_emb: int = 4,
        num_blocks: int = 4,
        attn_resolutions: Sequence[int] = (16,),
        embedding_type: Literal["positional", "fourier"] = "positional",
        channel_mult_noise: int = 1,
        encoder_type: Literal["standard", "residual"] = "standard",
        resample_filter: Sequence[float] = (1, 1),
    ) -> None:
        super().__init__()
        taps = tuple(resample_filter)
        style = Style(1e-6, math.sqrt(0.5), False, True, None, taps)
        wide, noise = channel_mult_emb * model_channels, channel_mult_noise * model_channels
        self.noise, self.label_dim = noise, label_dim
        self.map_noise = _Fourier(noise) if embedding_type == "fourier" else None
        self.map_label = nn.Linear(label_dim, noise) if label_dim else None
        self.map_augment = nn.Linear(augment_dim, noise, bias=False) if augment_dim else None
        self.map_layer0, self.map_layer1 = nn.Linear(noise, wide), nn.Linear(wide, wide)
        self.enc, self.dec = nn.ModuleDict(), nn.ModuleDict()
        side = img_resolution
        self.enc[f"{side}x{side}_conv"] = Convolution(img_channels, model_channels, 3)
        skips, width, aside = [model_channels], model_channels, img_channels
        for level, mult in enumerate(channel_mult):
            side = img_resolution >> level
            name = f"{side}x{side}"
            if level:
                self.enc[f"{name}_down"] = Block(width, width, wide, style, "down")
                skips.append(width)
                if encoder_type == "residual":
                    self.enc[f"{name}_aux_residual"] = Convolution(
                        aside, width, 3, "down", taps, fused=True
                    )
                    aside = width
            for k in range(num_blocks):
                outputs, attention = mult * model_channels, side in attn_resolutions
                self.enc[f"{name}_block{k}"] = Block(
                    width, outputs, wide, style, attention=attention
                )
                width = outputs
                skips.append(width)
        for level, mult in reversed(list(enumerate(channel_mult))):
            side = img_resolution >> level
            name = f"{side}x{side}"
            if level == len(channel_mult) - 1:
                self.dec[f"{name}_in0"] = Block(width, width, wide, style, attention=True)
                self.dec[f"{name}_in1"] = Block(width, width, wide, style)
            else:
                self.dec[f"{name}_up"] = Block(width, width, wide, style, "up")
            for k in range(num_blocks + 1):
                outputs = mult * model_channels
                attention = k == num_blocks and side in attn_resolutions
                self.dec[f"{name}_block{k}"] = Block(
                    width + skips.pop(), outputs, wide, style, attention=attention
                )
                width = outputs
        self.dec[f"{name}_aux_norm"] = _norm(width, 1e-6)
        self.dec[f"{name}_aux_conv"] = Convolution(width, img_channels, 3)

    def _embed(self, c_noise: Tensor, labels: Tensor | None, augment: Tensor | None) -> Tensor:
        if self.map_noise is not None:
            embedding = self.map_noise(c_noise)
        else:
            embedding = sinusoidal(c_noise, self.noise, "sin, cos", last=True)
        if self.map_label is not None:
            row = _one_hot(labels, self.label_dim, embedding)
            embedding = embedding + self.map_label(row * math.sqrt(self.label_dim))
        if self.map_augment is not None and augment is not None:
            embedding = embedding + self.map_augment(augment)
        return F.silu(self.map_layer1(F.silu(self.map_layer0(embedding))))

    def forward(
        self,
        x: Tensor,
        c_noise: Tensor,
        labels: Tensor | None = None,
        augment: Tensor | None = None,
    ) -> Tensor:
        embedding = self._embed(c_noise, labels, augment)
        aside = x
        skips: list[Tensor] = []
        for name, layer in self.enc.items():
            if name.endswith("_aux_residual"):
                x = skips[-1] = aside = (x + layer(aside)) * math.sqrt(0.5)
                continue
            x = layer(x, embedding) if isinstance(layer, Block) else layer(x)
            skips.append(x)
        for name, layer in self.dec.items():
            if isinstance(layer, Block):
                x = _joined(x, skips, layer)
                x = layer(x, embedding)
            else:
                x = layer(F.silu(x)) if name.endswith("_aux_conv") else layer(x)
        return x


def _joined(x: Tensor, skips: list[Tensor], layer: nn.Module) -> Tensor:
    """x, joined by the newest skip where the block takes more channels than x has."""
    assert isinstance(layer, Block)
    return x if x.shape[1] == layer.inputs else torch.cat([x, skips.pop()], dim=1)


class DhariwalUNet(nn.Module):
    """(x, c_noise, labels) → F, with ``out_channels`` channels (default: those of x)."""

    def __init__(
        self,
        img_resolution: int,
        img_channels: int = 3,
        label_dim: int = 0,
        augment_dim: int = 0,
        model_channels: int = 192,
        channel_mult: Sequence[int] = (1, 2, 3, 4),
        channel_mult_emb: int = 4,
        num_blocks: int = 3,
        attn_resolutions: Sequence[int] = (32, 16, 8),
        out_channels: int | None = None,
    ) -> None:
        super().__init__()
        style = Style(1e-5, 1.0, True, False, 64)
        wide = channel_mult_emb * model_channels
        self.noise, self.label_dim = model_channels, label_dim
        self.map_augment = (
            nn.Linear(augment_dim, model_channels, bias=False) if augment_dim else None
        )
        self.map_layer0, self.map_layer1 = nn.Linear(model_channels, wide), nn.Linear(wide, wide)
        self.map_label = nn.Linear(label_dim, wide, bias=False) if label_dim else None
        self.enc, self.dec = nn.ModuleDict(), nn.ModuleDict()
        width, skips = channel_mult[0] * model_channels, [channel_mult[0] * model_channels]
        side = img_resolution
        self.enc[f"{side}x{side}_conv"] = Convolution(img_channels, width, 3)
        for level, mult in enumerate(channel_mult):
            side = img_resolution >> level
            name = f"{side}x{side}"
            if level:
                self.enc[f"{name}_down"] = Block(width, width, wide, style, "down")
                skips.append(width)
            for k in range(num_blocks):
                outputs, attention = mult * model_channels, side in attn_resolutions
                self.enc[f"{name}_block{k}"] = Block(
                    width, outputs, wide, style, attention=attention
                )
                width = outputs
                skips.append(width)
        for level, mult in reversed(list(enumerate(channel_mult))):
            side = img_resolution >> level
            name = f"{side}x{side}"
            if level == len(channel_mult) - 1:
                self.dec[f"{name}_in0"] = Block(width, width, wide, style, attention=True)
                self.dec[f"{name}_in1"] = Block(width, width, wide, style)
            else:
                self.dec[f"{name}_up"] = Block(width, width, wide, style, "up")
            for k in range(num_blocks + 1):
                outputs, attention = mult * model_channels, side in attn_resolutions
                self.dec[f"{name}_block{k}"] = Block(
                    width + skips.pop(), outputs, wide, style, attention=attention
                )
                width = outputs
        self.out_norm = _norm(width, 1e-5)
        self.out_conv = Convolution(width, out_channels or img_channels, 3)

    def forward(
        self,
        x: Tensor,
        c_noise: Tensor,
        labels: Tensor | None = None,
        augment: Tensor | None = None,
    ) -> Tensor:
        embedding = sinusoidal(c_noise, self.noise, "cos, sin", last=False)
        if self.map_augment is not None and augment is not None:
            embedding = embedding + self.map_augment(augment)
        embedding = self.map_layer1(F.silu(self.map_layer0(embedding)))
        if self.map_label is not None:
            embedding = embedding + self.map_label(_one_hot(labels, self.label_dim, embedding))
        embedding = F.silu(embedding)
        skips: list[Tensor] = []
        for layer in self.enc.values():
            x = layer(x, embedding) if isinstance(layer, Block) else layer(x)
            skips.append(x)
        for layer in self.dec.values():
            x = layer(_joined(x, skips, layer), embedding)
        out: Tensor = self.out_conv(F.silu(self.out_norm(x)))
        return out
