"""The adapters on small random networks of the usual shapes, against the reference samplers' own
formulas."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import diffdescent as dd
from diffdescent.core.noise import Keyed

STEPS, N, CLASSES = 6, 3, 4
LABELS = torch.tensor([0, 3, 1])


class Conditioned(nn.Module):
    """A random network of (image, a number per image, a class per image), in float64."""

    def __init__(self, channels: int, out: int, one_hot: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.one_hot = one_hot
        self.enter, self.leave = (
            nn.Conv2d(channels, 8, 3, padding=1),
            nn.Conv2d(8, out, 3, padding=1),
        )
        self.told = nn.Linear(2, 8)
        self.classes = nn.Linear(CLASSES, 8, bias=False)
        self.double()

    def forward(self, x: Tensor, number: Tensor, y: Tensor) -> Tensor:
        hot = y if self.one_hot else nn.functional.one_hot(y, CLASSES).double()
        told = self.told(
            torch.stack([number.double().div(100).sin(), number.double().cos()], 1)
        ) + self.classes(hot)
        return self.leave(torch.tanh(self.enter(x.double()) + told[:, :, None, None]))


def test_a_guided_diffusion_network() -> None:
    """``model(x, timesteps, y)`` → 2C channels, sampled with its learned variance at respaced
    steps.

    The reference is the respaced process of Nichol and Dhariwal 2021 (section 4): the kept ᾱ make
    new β, the network is told the original times, and log Σ = v log β + (1 − v) log β̃ with v =
    (second half + 1)/2 (eq. 15).
    """
    network = Conditioned(3, 6, one_hot=False)
    process = dd.VP.named("linear")
    model = dd.Network(
        network,
        process,
        kind="eps",
        shape=(3, 8, 8),
        learned_variance=True,
        dtype=torch.float64,
        label_count=CLASSES,
    )
    kept = [999, 820, 500, 333, 120, 0]
    grid = dd.grid(f"explicit(t={[*kept, -1]})", process, STEPS)
    with torch.no_grad():
        ours = dd.sample(
            model,
            "ddpm(variance=learned)",
            grid=grid,
            n=N,
            labels=LABELS,
            seed=5,
            dtype=torch.float64,
        ).images
        bars = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))[kept]
        before = np.append(bars[1:], 1.0)
        betas = 1 - bars / before
        posterior = betas * (1 - before) / (1 - bars)
        source = Keyed(5, torch.arange(N))
        x = source.initial((3, 8, 8)).double() * grid.points[0].norm
        for k, t in enumerate(kept):
            eps, v = network(x, torch.full((N,), float(t)), LABELS).chunk(2, 1)
            x0 = (x - math.sqrt(1 - bars[k]) * eps) / math.sqrt(bars[k])
            mean = (
                math.sqrt(before[k]) * betas[k] * x0 + math.sqrt(1 - betas[k]) * (1 - before[k]) * x
            ) / (1 - bars[k])
            if t > 0:
                share = (v + 1) / 2
                log_variance = share * math.log(betas[k]) + (1 - share) * math.log(posterior[k])
                z = source(x, k, 0, grid.points[k], grid.points[k + 1])
                mean = mean + (log_variance / 2).exp() * z
            x = mean
    torch.testing.assert_close(ours, x, rtol=1e-9, atol=1e-9)


def test_an_edm_network() -> None:
    """F(c_in x, ¼ log σ, one-hot class) under algorithm 1 of Karras et al. 2022 on their grid (eq.
    5)."""
    network = Conditioned(3, 3, one_hot=True)

    def module(x: Tensor, c_noise: Tensor, cond: Tensor | None) -> Tensor:
        assert cond is not None
        return network(x, c_noise, nn.functional.one_hot(cond, CLASSES).double())

    model = dd.EDM(
        module, dd.VE(0.002, 80.0), shape=(3, 8, 8), dtype=torch.float64, label_count=CLASSES
    )
    ratios = [
        (80 ** (1 / 7) + i / (STEPS - 1) * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
        for i in range(STEPS)
    ] + [0.0]

    def denoise(x: Tensor, sigma: float) -> Tensor:
        d, root = 0.5, math.sqrt(sigma**2 + 0.25)
        hot = nn.functional.one_hot(LABELS, CLASSES).double()
        raw = network(x / root, torch.full((N,), math.log(sigma) / 4), hot)
        return d**2 / root**2 * x + sigma * d / root * raw

    with torch.no_grad():
        ours = dd.sample(
            model,
            "heun",
            grid="karras(rho=7)",
            steps=STEPS,
            n=N,
            labels=LABELS,
            seed=5,
            dtype=torch.float64,
        )
        np.testing.assert_allclose(ours.plan.grid.ratio, ratios, rtol=1e-12)
        x = Keyed(5, torch.arange(N)).initial((3, 8, 8)).double() * ours.plan.grid.points[0].norm
        for now, after in pairwise(ratios):
            slope = (x - denoise(x, now)) / now
            euler = x + (after - now) * slope
            if after:
                slope = (slope + (euler - denoise(euler, after)) / after) / 2
            x = x + (after - now) * slope
    assert ours.plan.nfe == 2 * STEPS - 1
    torch.testing.assert_close(
        ours.images, x, rtol=1e-6, atol=1e-6
    )  # the network is told c_noise in float32


@pytest.mark.parametrize("kind", ["eps", "x0", "v", "score", "flow"])
def test_any_module_in_five_lines(kind: str) -> None:
    """A denoiser that says the same thing in another way gives the same image."""
    process: dd.VP | dd.Flow = dd.Flow() if kind == "flow" else dd.VP.named("linear")
    network = Conditioned(3, 3, one_hot=False)

    def says(what: str) -> dd.Network:
        def module(x: Tensor, t: Tensor, cond: Tensor | None) -> Tensor:
            a, s = (float(value) for value in process.alpha_sigma(float(t[0])))
            x0 = torch.tanh(network(x, t, torch.zeros(len(x), dtype=torch.int64)))
            eps = (x - a * x0) / s
            return {
                "eps": eps,
                "x0": x0,
                "v": a * eps - s * x0,
                "score": -eps / s,
                "flow": eps - x0,
            }[what]

        return dd.Network(module, process, kind=what, shape=(3, 8, 8), dtype=torch.float64)  # type: ignore[arg-type]

    with torch.no_grad():
        one, other = (
            dd.sample(
                says(what), "dpmpp(order=2)", steps=5, n=N, seed=1, dtype=torch.float64
            ).images
            for what in (kind, "x0")
        )
    torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)  # t reaches the module in float32


class Plain(nn.Module):
    """A network of an image and a time, without labels."""

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return torch.tanh(x)


def broken(x: Tensor, t: Tensor, cond: Tensor | None) -> Tensor:
    raise TypeError("inside")


@pytest.mark.parametrize("module", [Plain(), lambda x, t: x])
def test_a_module_that_takes_no_labels_is_refused_in_one_sentence(module: Any) -> None:
    ways = (
        dd.Network(module, process=dd.VP.named("linear"), shape=(1, 4, 4)),
        dd.EDM(module, process=dd.VE(0.01, 80.0), shape=(1, 4, 4)),
    )
    for model in ways:
        with pytest.raises(dd.UserError, match=r"called as f\(x, t, cond\).*wrap it: lambda x, t"):
            dd.sample(model, "ddim", steps=2)
    inside = dd.Network(broken, process=dd.VP.named("linear"), shape=(1, 4, 4))
    with pytest.raises(TypeError, match="inside"):
        dd.sample(inside, "ddim", steps=2)


def test_a_network_without_classes_takes_no_labels() -> None:
    model = dd.Network(
        lambda x, t, cond: torch.tanh(x), process=dd.VP.named("linear"), shape=(1, 4, 4)
    )
    for labels in ([1, 2], 1, "dog"):
        with pytest.raises(dd.UserError, match="knows no classes; leave the label out"):
            dd.sample(model, "ddim", steps=2, n=2, labels=labels)
    dd.sample(model, "ddim", steps=2, n=2, labels=-1)
