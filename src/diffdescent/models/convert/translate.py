"""The names of published tensors in our networks' words.

Most networks here carry the published names already. Two families do not: ddpm-torch names DDPM's
U-Net in its own way, and the score-SDE code numbers all layers in the order in which they are made.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from diffdescent.models.networks import DDPMUNet, SongUNet
from diffdescent.models.networks.ddpm import levels
from diffdescent.models.networks.edm_blocks import Block

State = dict[str, Tensor]


def _as_they_are(state: State, network: nn.Module) -> State:
    return state


def _edm(state: State, network: nn.Module) -> State:
    """EDM: the network sits under ``model.``; ``u`` is a table of iDDPM's preconditioning."""
    return {k.removeprefix("model."): v for k, v in state.items() if k != "u"}


_DDPM_TORCH = (
    (r"^embed\.0\.", "temb.dense.0."),
    (r"^embed\.2\.", "temb.dense.1."),
    (r"^in_conv\.", "conv_in."),
    (r"^out_conv\.0\.", "norm_out."),
    (r"^out_conv\.2\.", "conv_out."),
    (r"^middle\.0\.", "mid.block_1."),
    (r"^middle\.1\.", "mid.attn_1."),
    (r"^middle\.2\.", "mid.block_2."),
    # The last entry of a level resamples, and its second layer is the convolution.
    (r"^downsamples\.level_(\d+)\.\d+\.1\.(weight|bias)$", r"down.\1.downsample.conv.\2"),
    (r"^upsamples\.level_(\d+)\.\d+\.1\.(weight|bias)$", r"up.\1.upsample.conv.\2"),
    # With attention an entry has two parts, the block and the attention.
    (r"^downsamples\.level_(\d+)\.(\d+)\.0\.", r"down.\1.block.\2."),
    (r"^downsamples\.level_(\d+)\.(\d+)\.1\.", r"down.\1.attn.\2."),
    (r"^upsamples\.level_(\d+)\.(\d+)\.0\.", r"up.\1.block.\2."),
    (r"^upsamples\.level_(\d+)\.(\d+)\.1\.", r"up.\1.attn.\2."),
    (r"^downsamples\.level_(\d+)\.(\d+)\.", r"down.\1.block.\2."),
    (r"^upsamples\.level_(\d+)\.(\d+)\.", r"up.\1.block.\2."),
    (r"\.fc\.", ".temb_proj."),
    (r"\.skip\.", ".nin_shortcut."),
    (r"\.project_out\.", ".proj_out."),
)


def _ddpm_torch(state: State, network: nn.Module) -> State:
    out: State = {}
    for name, value in state.items():
        for pattern, ours in _DDPM_TORCH:
            name = re.sub(pattern, ours, name)
        if ".project_in." in name:
            for part, rows in zip("qkv", value.chunk(3), strict=True):
                out[name.replace(".project_in.", f".{part}.")] = rows
        else:
            out[name] = value
    return out


Layer = tuple[str, str]
"""A layer of ours: its place in the network, and what it is."""


def _ddpm_layers(network: DDPMUNet) -> Iterator[Layer]:
    """The layers of DDPM's U-Net in the order in which the score-SDE code makes them."""
    yield from (("temb.dense.0", "plain"), ("temb.dense.1", "plain"), ("conv_in", "plain"))
    for number, level in enumerate(levels(network.down)):
        for k in range(len(level.block)):
            yield f"down.{number}.block.{k}", "block"
            if level.attention_after(k) is not None:
                yield f"down.{number}.attn.{k}", "attention"
        if level.downsample is not None:
            yield f"down.{number}.downsample.conv", "inner"
    yield from (
        ("mid.block_1", "block"),
        ("mid.attn_1", "attention"),
        ("mid.block_2", "block"),
    )
    for number, level in reversed(list(enumerate(levels(network.up)))):
        for k in range(len(level.block)):
            yield f"up.{number}.block.{k}", "block"
        if len(level.attn):
            yield f"up.{number}.attn.0", "attention"
        if level.upsample is not None:
            yield f"up.{number}.upsample.conv", "inner"
    yield from (("norm_out", "plain"), ("conv_out", "plain"))


def _song_layers(network: SongUNet) -> Iterator[Layer]:
    """The layers of DDPM++ in the order in which the score-SDE code makes them."""
    yield from (("map_layer0", "plain"), ("map_layer1", "plain"))
    for part in ("enc", "dec"):
        for name, layer in getattr(network, part).items():
            yield f"{part}.{name}", "song block" if isinstance(layer, Block) else "plain"
            if isinstance(layer, Block) and layer.heads:
                yield f"{part}.{name}", "song attention"


def _transposed(value: Tensor) -> Tensor:
    """A score-SDE "NIN" weight (in, out) as that of a 1 × 1 convolution."""
    return value.t()[:, :, None, None].contiguous() if value.ndim == 2 else value


_INNER: dict[str, dict[str, str]] = {
    "block": {
        "GroupNorm_0": "norm1",
        "Conv_0": "conv1",
        "Dense_0": "temb_proj",
        "GroupNorm_1": "norm2",
        "Conv_1": "conv2",
        "NIN_0": "nin_shortcut",
    },
    "attention": {
        "GroupNorm_0": "norm",
        "NIN_0": "q",
        "NIN_1": "k",
        "NIN_2": "v",
        "NIN_3": "proj_out",
    },
    "song block": {
        "GroupNorm_0": "norm0",
        "Conv_0": "conv0",
        "Dense_0": "affine",
        "GroupNorm_1": "norm1",
        "Conv_1": "conv1",
        "Conv_2": "skip",
    },
    "song attention": {"GroupNorm_0": "norm2", "NIN_3": "proj"},
    "inner": {"Conv_0": ""},
    "plain": {"": ""},
}
_KINDS = {"W": "weight", "b": "bias", "weight": "weight", "bias": "bias"}


def _score_sde(state: State, network: nn.Module) -> State:
    assert isinstance(network, (DDPMUNet, SongUNet))
    song = isinstance(network, SongUNet)
    layers = list(_song_layers(network) if isinstance(network, SongUNet) else _ddpm_layers(network))
    numbered: dict[int, State] = {}
    rest: State = {}
    for name, value in state.items():
        match = re.fullmatch(r"all_modules\.(\d+)\.(.+)", name)
        if match is None or int(match[1]) >= len(layers):
            rest[name] = value
        else:
            numbered.setdefault(int(match[1]), {})[match[2]] = value
    out = dict(rest)
    for number, tensors in numbered.items():
        place, kind = layers[number]
        if kind == "song attention":
            out.update(_interleaved(place, tensors))
        for name, value in tensors.items():
            inner, _, leaf = name.rpartition(".")
            ours = _INNER[kind].get(inner)
            if ours is None:
                if not (kind == "song attention" and inner in ("NIN_0", "NIN_1", "NIN_2")):
                    out[f"all_modules.{number}.{name}"] = value  # nobody's: reported as left over
                continue
            path = ".".join(p for p in (place, ours, _KINDS.get(leaf, leaf)) if p)
            out[path] = _transposed(value) if leaf == "W" else value
    if song:  # what the score-SDE code computes instead of storing
        fixed = {k: v for k, v in network.state_dict().items() if k.endswith("resample_filter")}
        out.update({k: torch.full(v.shape, 0.25) for k, v in fixed.items()})
    return out


def _interleaved(place: str, tensors: State) -> State:
    """q, k and v as the rows of one projection, those of a channel together."""
    out: State = {}
    for leaf, ours in (("W", "weight"), ("b", "bias")):
        rows = [_transposed(tensors[f"NIN_{k}.{leaf}"]) for k in range(3)]
        out[f"{place}.qkv.{ours}"] = torch.stack(rows, dim=1).flatten(0, 1)
    return out


TRANSLATIONS: dict[str, Callable[[State, nn.Module], State]] = {
    "adm": _as_they_are,
    "clip": _as_they_are,
    "ddim": _as_they_are,
    "glide": _as_they_are,
    "ddpm_torch": _ddpm_torch,
    "edm": _edm,
    "score_sde": _score_sde,
}
"""By family: a checkpoint's tensors under our names, for the network that takes them."""
