"""GLIDE's text-conditional U-Net (Nichol et al. 2021): ADM's, with the text's tokens in its
attention and its last state in the time embedding."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .adm import ADMUNet
from .adm_blocks import split_heads
from .layers import attend


class _SelfAttention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.c_qkv = nn.Linear(width, 3 * width)
        self.c_proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = split_heads(self.c_qkv(x).transpose(1, 2), self.heads, 3, "heads first")
        mixed = attend(q, k, v).reshape(x.shape[0], x.shape[2], x.shape[1])
        out: Tensor = self.c_proj(mixed.transpose(1, 2))
        return out


class _Perceptron(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.c_fc, self.c_proj = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.c_proj(F.gelu(self.c_fc(x)))
        return out


class _TextBlock(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attn, self.mlp = _SelfAttention(width, heads), _Perceptron(width)
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        out: Tensor = x + self.mlp(self.ln_2(x))
        return out


class _Transformer(nn.Module):
    def __init__(self, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList(_TextBlock(width, heads) for _ in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        for block in self.resblocks:
            x = block(x)
        return x


class GLIDEUNet(ADMUNet):
    """(x, t, tokens, mask) → ε and the variance's fraction, 2C channels.

    ``tokens`` (B, text_ctx) int64, ``mask`` True at real ones; elsewhere the padding embedding
    takes a token's and its position's place. ``inpaint``: in addition to x the network takes an
    image and a mask of what is kept (1); missing ones are zero.
    """

    def __init__(
        self,
        n_vocab: int,
        text_ctx: int,
        xf_width: int,
        xf_layers: int,
        xf_heads: int,
        inpaint: bool = False,
        in_channels: int = 3,
        **options: Any,
    ) -> None:
        more = in_channels + 1 if inpaint else 0
        super().__init__(in_channels, context=xf_width, more_channels=more, **options)
        self.inpaint = inpaint
        self.transformer = _Transformer(xf_width, xf_layers, xf_heads)
        self.final_ln = nn.LayerNorm(xf_width)
        self.token_embedding = nn.Embedding(n_vocab, xf_width)
        self.positional_embedding = nn.Parameter(torch.zeros(text_ctx, xf_width))
        self.padding_embedding = nn.Parameter(torch.zeros(text_ctx, xf_width))
        self.transformer_proj = nn.Linear(xf_width, self.wide)

    def read(self, tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """The text: its part of the time embedding (B, 4·channels), and its states (B, width,
        text_ctx)."""
        x = self.token_embedding(tokens) + self.positional_embedding
        x = torch.where(mask[..., None], x, self.padding_embedding)
        x = self.final_ln(self.transformer(x))
        return self.transformer_proj(x[:, -1]), x.transpose(1, 2)

    def forward(  # type: ignore[override]
        self,
        x: Tensor,
        t: Tensor,
        tokens: Tensor,
        mask: Tensor,
        low_res: Tensor | None = None,
        inpaint_image: Tensor | None = None,
        inpaint_mask: Tensor | None = None,
    ) -> Tensor:
        added, context = self.read(tokens, mask)
        parts = [x]
        if self.inpaint:
            image = torch.zeros_like(x) if inpaint_image is None else inpaint_image
            kept = torch.zeros_like(x[:, :1]) if inpaint_mask is None else inpaint_mask
            parts += [image * kept, kept]
        if self.low_res:
            parts.append(self._with_low_res(x, low_res)[:, x.shape[1] :])
        return self._run(torch.cat(parts, dim=1), self._time(t) + added, context)
