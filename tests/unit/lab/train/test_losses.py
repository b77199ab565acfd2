"""The losses against their definitions, with networks whose answer is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from diffdescent.lab.train.batches import Batch
from diffdescent.lab.train.config import LossConfig, ProcessConfig
from diffdescent.lab.train.objectives import (
    EDMLoss,
    FeaturesLoss,
    GuideLoss,
    VPLoss,
    dropped_labels,
    make_vp,
    vp_times,
)


def make_batch(count: int = 5) -> Batch:
    rng = torch.Generator().manual_seed(0)
    x = torch.rand((count, 3, 4, 4), generator=rng) * 2 - 1
    noise = torch.randn(x.shape, generator=rng)
    return Batch(
        x, torch.arange(count), np.linspace(0.05, 0.95, count), np.linspace(0, 0.99, count), noise
    )


class Fixed(nn.Module):
    """Gives what ``answer(x, t)`` gives, and remembers what it was asked."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer

    def forward(
        self, x: torch.Tensor, t: torch.Tensor, class_labels: Any = None, return_dict: bool = True
    ) -> Any:
        self.x, self.t, self.labels = x, t, class_labels
        return (self.answer(x, t),)


@pytest.mark.parametrize("prediction", ["eps", "v"])
@pytest.mark.parametrize(
    ("weighting", "floor"), [("plain", 0.0), ("min_snr", 0.0), ("min_snr", 0.05)]
)
@pytest.mark.parametrize("continuous", [False, True])
def test_vp_loss_is_its_formula(
    prediction: Any, weighting: Any, floor: float, continuous: bool
) -> None:
    batch, process = make_batch(), ProcessConfig(continuous=continuous)
    network = Fixed(lambda x, t: torch.full_like(x, 0.25))
    got = VPLoss(
        process,
        LossConfig(prediction=prediction, weighting=weighting, floor=floor),
        null_class=None,
    )(network, batch)
    vp = make_vp(process)
    times = vp_times(vp, batch.u, process)
    expected = 0.0
    for i, t in enumerate(times):
        p = vp.point(t)
        target = (
            batch.noise[i]
            if prediction == "eps"
            else p.alpha * batch.noise[i] - p.sigma * batch.x[i]
        )
        snr = p.alpha**2 / p.sigma**2
        weight = {"plain": 1.0, "min_snr": max(min(snr, 5.0), floor) / (snr + (prediction == "v"))}[
            weighting
        ]
        expected += weight * float((target - 0.25).square().mean()) / len(times)
        assert torch.allclose(
            network.x[i], p.alpha * batch.x[i] + p.sigma * batch.noise[i], atol=1e-6
        )
    assert float(got) == pytest.approx(expected, rel=1e-5)
    assert network.t.dtype == (torch.float32 if continuous else torch.int64)
    assert network.t.tolist() == pytest.approx(times.tolist())


def test_discrete_times_cover_every_step_and_no_more() -> None:
    config = ProcessConfig(steps=10)
    u = np.array([0.0, 0.0999, 0.1, 0.9999])
    assert vp_times(make_vp(config), u, config).tolist() == [0, 0, 1, 9]


@pytest.mark.parametrize("continuous", [False, True])
def test_levels_are_log_normal(continuous: bool) -> None:
    config = ProcessConfig(levels="log_normal", p_mean=-0.2, p_std=1.2, continuous=continuous)
    vp, u = make_vp(config), (np.arange(2000) + 0.5) / 2000
    times = vp_times(vp, u, config)
    assert times.min() >= 0
    assert times.max() <= 999
    alpha, sigma = vp.alpha_sigma(times)
    inside = (u > 0.01) & (u < 0.99)
    wanted = -0.2 + 1.2 * torch.special.ndtri(torch.as_tensor(u)).numpy()
    error = np.abs(np.log(sigma / alpha) - wanted)[inside]
    assert error.max() < (1e-9 if continuous else 0.06)  # half a step of the discrete times


def test_edm_loss_of_a_silent_network() -> None:
    """With F = 0, D = c_skip·(x + σε), so the loss is known."""
    batch, process = make_batch(), ProcessConfig(kind="edm", sigma_data=0.7)
    network = Fixed(lambda x, t: torch.zeros_like(x))
    got = float(EDMLoss(process, LossConfig(), null_class=None)(network, batch))
    expected = 0.0
    for i, log_sigma in enumerate((4 * network.t.double()).tolist()):
        s2, d2 = np.exp(2 * log_sigma), 0.49
        denoised = d2 / (s2 + d2) * (batch.x[i] + s2**0.5 * batch.noise[i])
        expected += (
            (s2 + d2) / (s2 * d2) * float((denoised - batch.x[i]).square().mean()) / len(batch.x)
        )
    assert got == pytest.approx(expected, rel=1e-5)
    quantiles = (4 * network.t - process.p_mean) / process.p_std
    assert torch.allclose(
        torch.special.ndtr(quantiles).double(), torch.as_tensor(batch.u), atol=1e-6
    )


def test_labels_drop_to_the_null_class() -> None:
    batch = make_batch()
    assert dropped_labels(batch, 0.3, 7).tolist() == [7, 7, 2, 3, 4]
    assert dropped_labels(batch, 0.0, 7).tolist() == [0, 1, 2, 3, 4]
    assert dropped_labels(batch, 0.3, None) is None


def test_classifier_losses_are_cross_entropies() -> None:
    batch = make_batch()
    uniform = nn.Sequential(nn.Flatten(), nn.Linear(48, 5))
    uniform.requires_grad_(False)
    nn.init.zeros_(uniform[1].weight)
    nn.init.zeros_(uniform[1].bias)
    assert float(FeaturesLoss(LossConfig())(uniform, batch)) == pytest.approx(np.log(5))

    class Timed(nn.Module):
        def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            assert t.tolist() == np.floor(1000 * batch.u).tolist()
            return uniform(x)

    assert float(GuideLoss(ProcessConfig(), LossConfig())(Timed(), batch)) == pytest.approx(
        np.log(5)
    )
