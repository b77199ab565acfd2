"""The U-Nets of EDM (Karras et al. 2022, appendix F): SongUNet, that is DDPM++ and NCSN++ of the
score-SDE paper, and DhariwalUNet, that is ADM's.

Both are the raw network F(c_in·x; c_noise); the preconditioning around it belongs to the model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .edm_blocks import Block, Convolution, Style, encoder_and_decoder, joined, norm
from .layers import sinusoidal


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
        widths = [mult * model_channels for mult in channel_mult]
        self.enc, self.dec = encoder_and_decoder(
            img_resolution,
            img_channels,
            model_channels,
            widths,
            wide,
            num_blocks,
            attn_resolutions,
            style,
            attend_up="last",
            aside=encoder_type == "residual",
        )
        name = f"{img_resolution}x{img_resolution}"
        self.dec[f"{name}_aux_norm"] = norm(widths[0], 1e-6)
        self.dec[f"{name}_aux_conv"] = Convolution(widths[0], img_channels, 3)

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
                x = joined(x, skips, layer)
                x = layer(x, embedding)
            else:
                x = layer(F.silu(x)) if name.endswith("_aux_conv") else layer(x)
        return x


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
        widths = [mult * model_channels for mult in channel_mult]
        self.enc, self.dec = encoder_and_decoder(
            img_resolution,
            img_channels,
            widths[0],
            widths,
            wide,
            num_blocks,
            attn_resolutions,
            style,
            attend_up="every",
        )
        self.out_norm = norm(widths[0], 1e-5)
        self.out_conv = Convolution(widths[0], out_channels or img_channels, 3)

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
            x = layer(joined(x, skips, layer), embedding)
        out: Tensor = self.out_conv(F.silu(self.out_norm(x)))
        return out
