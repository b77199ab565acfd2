"""From a denoiser that predicts v to one of the same shape that predicts ε, ready to be trained
further.

    python tools/eps_from_v.py start V_MODEL --data data/cifar10-train.zip --out runs/eps-start
    diffdescent train configs/cifar10.yaml
    python tools/eps_from_v.py mend runs/cifar10/model --start runs/eps-start --half

An error of ε is one of x0 σ/α times as large (157 at the last of 1,000 steps), and a U-Net's last
normalisation hides the size of its input: a small network learns neither in reasonable time. Both
are in the weights' reach, though. With

    ε = x + α(t)·r,    r = v − (1 − σ)/α · x   (from ε = σx + αv),

the network needs x unchanged, r of the size that v has, and the gate α(t). The last residual layer,
``conv_norm_out`` and ``conv_out`` are rewritten for that from two facts:

* SiLU(z) − SiLU(−z) = z: a pair of channels passes the last nonlinearity as a straight line;
* the group {z, −z, K, −K} has the standard deviation √((K² + z²)/2): normalising it divides z by
  K/√2 for K ≫ |z|, a constant. If K is K₀/α(t), it multiplies r by α(t).

Three groups of four channels carry x, three α·r, the last two α·q with q free to learn. r is a
linear readout of what the last residual layer sees, by least squares on v's own outputs; 1/α(t) is
one of the time embedding (9 % off, which training mends). Large constants (K, and x scaled by 64)
keep Adam's steps of the learning rate's size harmless; the recipe freezes what these paths cannot
lose. Training in bfloat16 rounds away what Adam adds to the channels that hold the constants,
float32 does not: ``mend`` takes it out again at the end, and sets the gain of x exactly.
"""

from __future__ import annotations

import argparse
import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

import diffdescent as dd
from diffdescent.base.errors import UserError
from diffdescent.base.image_sets import ImageSet, read_images
from diffdescent.base.images import from_uint8

GROUP = 4  # channels of a group: z, −z, K, −K
X_SCALE, X_CONSTANT = 64.0, 4096.0  # x in its group, and K there: 64 times as large as x scaled
GATE_CONSTANT = 8.0  # K₀: K = K₀/α(t)
LARGEST_GATE = 100.0  # 1/α is followed up to here (t = 975 of the linear process)
TIME_CONSTANT, TIME_SCALE = (
    3e4,
    1e-3,
)  # the same trick for 1/α(t) in the hidden layer: K, and the size that it has there


def alphas_and_sigmas(process: dd.VP) -> tuple[torch.Tensor, torch.Tensor]:
    """α and σ of every training time, float64 (T,) each."""
    alpha, sigma = process.alpha_sigma(np.arange(len(process.betas)))
    return torch.as_tensor(alpha), torch.as_tensor(sigma)


def fit_gate(unet: Any, alphas: torch.Tensor) -> tuple[torch.Tensor, float]:
    """Weights and bias that read min(1/α(t), LARGEST_GATE) off the time embedding, by least squares
    of the relative error over all times and classes."""
    times = torch.arange(len(alphas))
    embedded = unet.time_embedding(unet.time_proj(times))
    classes = range(unet.config.num_class_embeds or 0)
    shifts = [unet.class_embedding(torch.full_like(times, k)) for k in classes] or [torch.zeros(())]
    seen = torch.cat([F.silu(embedded + shift).double() for shift in shifts])
    wanted = (1 / alphas).clamp(max=LARGEST_GATE).repeat(len(shifts))
    rows = torch.cat([seen, torch.ones(len(seen), 1, dtype=torch.float64)], 1) / wanted[:, None]
    weights = torch.linalg.solve(
        rows.T @ rows + 1e-3 * torch.eye(rows.shape[1], dtype=torch.float64), rows.sum(0)
    )
    return weights[:-1].float(), float(weights[-1])


def fit_readout(
    unet: Any, v_network: Any, process: dd.VP, images: ImageSet, count: int, hidden: list[int]
) -> tuple[torch.Tensor, float]:
    """r as a linear function of the last residual layer's input and of the ``hidden`` channels' 3 ×
    3 neighbourhoods.

    Returns the coefficients (inputs + 9·hidden + 1, colours) and the share of r's square that they
    leave unexplained.
    """
    last, generator = unet.up_blocks[-1].resnets[-1], torch.Generator().manual_seed(0)
    chosen = torch.linspace(0, len(images) - 1, count).long()
    x0 = from_uint8(images.images[chosen])
    labels = (
        None
        if unet.config.num_class_embeds is None or images.labels is None
        else images.labels[chosen]
    )
    eps = torch.randn(x0.shape, generator=generator)
    times = torch.randint(0, len(process.betas), (count,), generator=generator)
    alpha, sigma = (v[times].float()[:, None, None, None] for v in alphas_and_sigmas(process))
    x = alpha * x0 + sigma * eps
    seen: dict[str, torch.Tensor] = {}
    hooks = [
        layer.register_forward_pre_hook(lambda _, inputs, name=name: seen.update({name: inputs[0]}))
        for name, layer in (("input", last), ("hidden", last.conv2))
    ]
    normal, right, square = torch.zeros(()), torch.zeros(()), torch.zeros(())
    for part in torch.arange(count).split(64):
        inputs = (x[part], times[part], None if labels is None else labels[part])
        target = v_network(*inputs).sample - (1 - sigma[part]) / alpha[part] * x[part]
        unet(*inputs)
        near = F.unfold(seen["hidden"][:, hidden], 3, padding=1)
        rows = torch.cat([seen["input"].flatten(2), near, torch.ones_like(near[:, :1])], 1)
        rows, wanted = (m.flatten(2).transpose(1, 2).flatten(0, 1).double() for m in (rows, target))
        normal, right, square = (
            normal + rows.T @ rows,
            right + rows.T @ wanted,
            square + wanted.square().sum(),
        )
    for hook in hooks:
        hook.remove()
    ridge = 1e-6 * normal.diag().mean() * torch.eye(len(normal), dtype=torch.float64)
    readout = torch.linalg.solve(normal + ridge, right)
    left = square - 2 * (readout * right).sum() + (readout * (normal @ readout)).sum()
    return readout.float(), float(left / square)


def least_used(weight: torch.Tensor, groups: int) -> list[int]:
    """The groups in order of the sum of |weight| (one number a channel), the smallest first."""
    return weight.view(groups, -1).sum(1).argsort().tolist()


def clear(layer: Any, rows: slice | list[int]) -> None:
    """Zero the weights and biases that make the channels ``rows``."""
    layer.weight[rows] = 0
    layer.bias[rows] = 0


@torch.no_grad()
def eps_from_v(
    v_network: Any, process: dd.VP, images: ImageSet, count: int = 512
) -> tuple[Any, float]:
    """An ε network of the same configuration, and the share of r that its readout does not explain.

    Args:
        v_network: a diffusers ``UNet2DModel`` that predicts v of ``process``, with groups of four
            channels at full resolution.
        images: what it was trained on; ``count`` of them serve the least squares.

    Raises:
        UserError: the network has other groups, or fewer than seven of them.
    """
    unet = copy.deepcopy(v_network)
    groups, last = unet.config.norm_num_groups, unet.up_blocks[-1].resnets[-1]
    width, colours = unet.conv_in.out_channels, unet.conv_in.in_channels
    if width != GROUP * groups or groups < 2 * colours + 1:
        raise UserError(
            f"The network has {groups} groups of {width / groups:g} channels at full resolution;"
            f" expected groups of {GROUP}, at least {2 * colours + 1}: train one with"
            f" norm_num_groups = block_out_channels[0] / {GROUP}."
        )
    used = unet.conv_out.weight.abs().sum((0, 2, 3)) * unet.conv_norm_out.weight.abs()
    order = least_used(used, groups)
    of_x, of_r, free = order[:colours], order[colours : 2 * colours], order[2 * colours :]
    time = GROUP * least_used(last.conv2.weight.abs().sum((0, 2, 3)), groups)[0]
    hidden = [c for c in range(width) if not time <= c < time + GROUP]
    first = (
        last.conv_shortcut.in_channels - width
    )  # conv_in's output is the second half of the layer's input

    pixels = keep_pixels(unet)
    lay_gate(unet, time, alphas_and_sigmas(process)[0])
    readout, unexplained = fit_readout(unet, v_network, process, images, count, hidden)

    for layer in (unet.conv_out, last.conv_shortcut, last.conv2):
        clear(layer, slice(None))
    unet.conv_norm_out.bias.zero_()
    generator = torch.Generator().manual_seed(1)
    for colour, (x_group, r_group) in enumerate(zip(of_x, of_r, strict=True)):
        for sign, to_x, to_r in zip((1.0, -1.0), pair(x_group), pair(r_group), strict=True):
            last.conv_shortcut.weight[to_x, first + pixels[colour], 0, 0] = sign * X_SCALE
            coefficients = sign * readout[:, colour]
            last.conv_shortcut.weight[to_r, :, 0, 0] = coefficients[
                : last.conv_shortcut.in_channels
            ]
            last.conv2.weight[to_r, hidden] = coefficients[
                last.conv_shortcut.in_channels : -1
            ].view(-1, 3, 3)
            last.conv_shortcut.bias[to_r] = coefficients[-1]
            unet.conv_out.weight[colour, [to_x, to_r], 1, 1] = sign
        unet.conv_norm_out.weight[GROUP * x_group : GROUP * x_group + GROUP] = (
            X_CONSTANT / X_SCALE / 2**0.5
        )
        last.conv_shortcut.bias[constants(x_group)] = torch.tensor([X_CONSTANT, -X_CONSTANT])
    for group in of_r + free:
        unet.conv_norm_out.weight[GROUP * group : GROUP * group + GROUP] = GATE_CONSTANT / 2**0.5
        for sign, to in zip((1.0, -1.0), constants(group), strict=True):
            last.conv2.weight[to, [time, time + 1], 1, 1] = torch.tensor([sign, -sign]) / TIME_SCALE
    for group in free:
        unet.conv_out.weight[:, pair(group)] = 0.2 * torch.randn(
            colours, 2, 3, 3, generator=generator
        )
    return unet, unexplained


def pair(group: int) -> list[int]:
    """The channels z and −z of a group."""
    return [GROUP * group, GROUP * group + 1]


def constants(group: int) -> list[int]:
    """The channels K and −K of a group."""
    return [GROUP * group + 2, GROUP * group + 3]


def keep_pixels(unet: Any) -> list[int]:
    """Let ``conv_in`` hand on x itself, in those of its channels that say least; returns these."""
    colours = unet.conv_in.in_channels
    pixels: list[int] = unet.conv_in.weight.abs().sum((1, 2, 3)).argsort()[:colours].tolist()
    clear(unet.conv_in, pixels)
    unet.conv_in.weight[pixels, range(colours), 1, 1] = 1
    return pixels


def lay_gate(unet: Any, start: int, alphas: torch.Tensor) -> None:
    """Make the hidden group from channel ``start`` on {p, −p, K, −K} with p = K₀/α(t), and nobody
    read it yet."""
    last, rows = unet.up_blocks[-1].resnets[-1], slice(start, start + GROUP)
    for layer in (last.conv1, last.time_emb_proj):
        clear(layer, rows)
    last.norm2.weight[rows], last.norm2.bias[rows] = TIME_CONSTANT / 2**0.5 * TIME_SCALE, 0
    last.conv2.weight[:, rows] = 0
    weights, bias = fit_gate(unet, alphas)
    for place, sign in enumerate((1.0, -1.0)):
        last.time_emb_proj.weight[start + place] = sign * GATE_CONSTANT * weights
        last.time_emb_proj.bias[start + place] = sign * GATE_CONSTANT * bias
        last.time_emb_proj.bias[start + 2 + place] = sign * TIME_CONSTANT


@torch.no_grad()
def mend(unet: Any, start: Any) -> None:
    """Give the channels that hold the large constants the weights of ``start`` again, in place."""
    last, then = (network.up_blocks[-1].resnets[-1] for network in (unet, start))
    of_x = (then.conv_shortcut.bias.abs() > X_CONSTANT / 2).nonzero().flatten()
    of_time = (then.time_emb_proj.bias.abs() > TIME_CONSTANT / 2).nonzero().flatten()
    for name, rows in (("conv_shortcut", of_x), ("conv2", of_x), ("conv1", of_time)):
        for own, old in zip(
            getattr(last, name).parameters(), getattr(then, name).parameters(), strict=True
        ):
            own[rows] = old[rows]


@torch.no_grad()
def level(unet: Any, start: Any, images: int = 64) -> list[float]:
    """Set the constants beside x, in place, so that noise at the last time is answered by itself;
    returns the slopes ⟨ε̂, ε⟩/⟨ε, ε⟩ of each colour before.

    There x is the noise to within α = .006, but training sees slopes only to bfloat16's rounding.
    The gain of x is inverse to the constant of its group.
    """
    last, then = (network.up_blocks[-1].resnets[-1] for network in (unet, start))
    held = (then.conv_shortcut.bias.abs() > X_CONSTANT / 2).nonzero().flatten().view(-1, 2)
    readers = (
        start.conv_out.weight[:, held[:, 0] - 2, 1, 1].argmax(0).tolist()
    )  # the colour of each group
    noise = torch.randn(
        images,
        unet.config.in_channels,
        *[unet.config.sample_size] * 2,
        generator=torch.Generator().manual_seed(0),
    )
    classes = (
        None
        if unet.config.num_class_embeds is None
        else torch.arange(images) % unet.config.num_class_embeds
    )
    answer = unet(noise, torch.full((images,), 999), classes).sample
    slopes = ((answer * noise).sum((0, 2, 3)) / noise.square().sum((0, 2, 3))).tolist()
    for rows, colour in zip(held, readers, strict=True):
        last.conv_shortcut.bias[rows] *= slopes[colour]
    return slopes


def read_unet(folder: Path) -> Any:
    """The network of a checkpoint folder, float32."""
    from diffusers import UNet2DModel

    return UNet2DModel.from_pretrained(folder / "unet", torch_dtype=torch.float32).eval()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    start = commands.add_parser("start", help="write the ε network's first weights")
    start.add_argument(
        "model", type=Path, help="a checkpoint folder of a VP process whose network predicts v"
    )
    start.add_argument("--data", required=True, help="its training images: a folder, zip or npz")
    start.add_argument("--out", required=True, type=Path, help="folder for the ε network's weights")
    repair = commands.add_parser(
        "mend", help="take the training's noise out of the constants, in place"
    )
    repair.add_argument("model", type=Path, help="the trained checkpoint folder")
    repair.add_argument("--start", required=True, type=Path, help="what it was started from")
    repair.add_argument("--half", action="store_true", help="store float16")
    arguments = parser.parse_args()
    unet = read_unet(arguments.model)
    if arguments.command == "mend":
        start_network, dtype = (
            read_unet(arguments.start),
            torch.float16 if arguments.half else torch.float32,
        )
        mend(unet, start_network)
        unet.to(dtype).float()  # what is stored is what is measured
        slopes = level(unet, start_network)
        unet.to(dtype).save_pretrained(arguments.model / "unet")
        print(f"{arguments.model}: slopes of ε at the last time were {slopes}")
        return
    described = json.loads((arguments.model / "diffdescent.json").read_text(encoding="utf-8"))
    process = dd.VP.named(described["process"]["schedule"], described["process"]["steps"])
    unet, unexplained = eps_from_v(unet, process, read_images(arguments.data))
    unet.save_pretrained(arguments.out / "unet")
    print(f"{arguments.out}: the readout leaves {unexplained:.1%} of r unexplained")


if __name__ == "__main__":
    main()
