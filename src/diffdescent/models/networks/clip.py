"""GLIDE's noise-aware CLIP (Nichol et al. 2021, section 4.2): image and text encoders whose inner
products guide a sampler at any noise level."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MEAN = (122.77093945, 116.74601272, 104.09373519)
DEVIATION = (68.50053285, 66.63215831, 70.32316309)


class _Norm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.g, self.b = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.g.shape, self.g, self.b)


class _Linear(nn.Module):
    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(outputs, inputs))
        self.b = nn.Parameter(torch.zeros(outputs)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.w, self.b)


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.ln = _Norm(width)
        self.f_q, self.f_k = _Linear(width, width), _Linear(width, width, bias=False)
        self.f_v, self.f_c = _Linear(width, width), _Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        h = self.ln(x)
        batch, length, width = h.shape

        def split(part: nn.Module) -> Tensor:
            y: Tensor = part(h)
            return y.reshape(batch, length, self.heads, -1).transpose(1, 2)

        mixed = F.scaled_dot_product_attention(
            split(self.f_q), split(self.f_k), split(self.f_v), is_causal=self.causal
        )
        out: Tensor = x + self.f_c(mixed.transpose(1, 2).reshape(batch, length, width))
        return out


class _Perceptron(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.ln, self.f_1 = _Norm(width), _Linear(width, 4 * width)
        self.f_2 = _Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.f_2(F.gelu(self.f_1(self.ln(x))))
        return out


class _Block(nn.Module):
    def __init__(self, width: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.f_attn, self.f_mlp = _Attention(width, heads, causal), _Perceptron(width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.f_mlp(self.f_attn(x))
        return out


class _Output(nn.Module):
    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.ln, self.f = _Norm(width), _Linear(width, outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.f(self.ln(x))
        return out


class _ImageInput(nn.Module):
    def __init__(self, width: int, patch: int, patches: int, levels: int) -> None:
        super().__init__()
        self.patch = patch
        self.w_t = nn.Parameter(torch.zeros(levels, width))
        self.patch_proj = nn.Parameter(torch.zeros(width, 3, patch, patch))
        self.w_pos = nn.Parameter(torch.zeros(patches + 1, width))
        self.ln = _Norm(width)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        mean, deviation = (
            torch.tensor(v, dtype=x.dtype, device=x.device)[:, None, None]
            for v in (MEAN, DEVIATION)
        )
        pixels = ((x + 1) * 127.5 - mean) / deviation
        patches = F.conv2d(pixels, self.patch_proj, stride=self.patch).flatten(2).transpose(1, 2)
        # A level found by its σ/α is 499.99 as well as 500.
        first = self.w_t[t.round().long()][:, None]
        out: Tensor = self.ln(torch.cat([first, patches], dim=1) + self.w_pos)
        return out


class _TextInput(nn.Module):
    def __init__(self, width: int, words: int, length: int) -> None:
        super().__init__()
        self.w_voc = nn.Parameter(torch.zeros(words, width))
        self.w_pos = nn.Parameter(torch.zeros(length, width))

    def forward(self, tokens: Tensor) -> Tensor:
        return self.w_voc[tokens] + self.w_pos[: tokens.shape[1]]


def _stack(blocks: nn.ModuleDict, x: Tensor) -> Tensor:
    for name, block in blocks.items():
        if name.startswith("block_"):
            x = block(x)
    return x


class CLIPImageEncoder(nn.Module):
    """(x in [−1, 1], t) → embedding (B, n_embd), not normalised; t is the index of 1,000 steps."""

    def __init__(
        self,
        image_size: int,
        patch_size: int,
        n_embd: int,
        n_head: int,
        n_xf_blocks: int,
        n_head_state: int = 64,
        n_timestep: int = 1000,
    ) -> None:
        super().__init__()
        width, patches = n_head * n_head_state, (image_size // patch_size) ** 2
        self.blocks = nn.ModuleDict({"input": _ImageInput(width, patch_size, patches, n_timestep)})
        for k in range(n_xf_blocks):
            self.blocks[f"block_{k}"] = _Block(width, n_head, causal=False)
        self.blocks["output"] = _Output(width, n_embd)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        h = _stack(self.blocks, self.blocks["input"](x, t))
        out: Tensor = self.blocks["output"](h[:, 0])
        return out


class CLIPTextEncoder(nn.Module):
    """(tokens (B, n), their number (B,)) → embedding (B, n_embd), not normalised."""

    def __init__(
        self,
        n_bpe_vocab: int,
        max_text_len: int,
        n_embd: int,
        n_head: int,
        n_xf_blocks: int,
        n_head_state: int = 64,
    ) -> None:
        super().__init__()
        width = n_head * n_head_state
        self.blocks = nn.ModuleDict({"input": _TextInput(width, n_bpe_vocab, max_text_len)})
        for k in range(n_xf_blocks):
            self.blocks[f"block_{k}"] = _Block(width, n_head, causal=True)
        self.blocks["output"] = _Output(width, n_embd)

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        h = _stack(self.blocks, self.blocks["input"](tokens))
        last = h[torch.arange(len(h), device=h.device), lengths.long() - 1]
        out: Tensor = self.blocks["output"](last)
        return out
