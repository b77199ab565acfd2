"""The three losses: a denoiser's, a noise-aware classifier's and a clean classifier's.

An objective turns a :class:`~diffdescent.lab.train.batches.Batch` into a scalar loss. Noise levels
are float64 on the host, from the same :class:`~diffdescent.core.process.VP` that sampling uses.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import nn

from diffdescent.core.process import VP

from .batches import Batch
from .config import LossConfig, ProcessConfig, TrainConfig

Array = npt.NDArray[np.float64]


class Objective(Protocol):
    """A scalar loss of a network on a batch."""

    def __call__(self, network: nn.Module, batch: Batch) -> torch.Tensor: ...


def make_vp(config: ProcessConfig) -> VP:
    """The VP process that a recipe names."""
    return VP.named(config.schedule, config.steps)


def _like(values: Array, x: torch.Tensor) -> torch.Tensor:
    """Per-image numbers as a float32 tensor (b, 1, 1, 1) on x's device."""
    return torch.as_tensor(values, dtype=torch.float32).to(x.device)[:, None, None, None]


def vp_times(process: VP, u: Array, config: ProcessConfig) -> Array:
    """Times for uniform u by ``config.levels``: integers 0..T−1, or real numbers in [0, T−1]."""
    if config.levels == "log_normal":
        times = process.t_of_ratio(log_normal(u, config)).clip(0, process.t_max)
        return times if config.continuous else np.rint(times)
    steps = len(process.betas)
    return u * (steps - 1) if config.continuous else np.floor(u * steps)


def log_normal(u: Array, config: ProcessConfig) -> Array:
    """Levels with log σ ~ N(p_mean, p_std²), as quantiles of uniform u, whose stratification they
    keep."""
    # torch has the normal quantile in float64 on the host.
    normal: Array = torch.special.ndtri(torch.as_tensor(u).clamp(1e-7, 1 - 1e-7)).numpy()
    return np.exp(config.p_mean + config.p_std * normal)


class VPLoss:
    r"""Denoising on a VP process: mean of w(t) · (target − network(x_t, t, y))², x_t = αx + σε.

    The target is ε, or v = αε − σx (Salimans and Ho 2022). Weights are 1, or min-SNR-γ (Hang et al.
    2023, arXiv 2303.09556) with a floor: c/SNR for ε and c/(SNR + 1) for v, where c = max(min(SNR,
    γ), floor) is how much the error of x0 counts and SNR = α²/σ². Without a floor an ε network
    learns the noisiest levels last, since an error of ε is there one of x0 some hundred times as
    large. With ``null_class`` given the network is class-conditional and a share ``label_dropout``
    of the labels becomes the null class.
    """

    def __init__(self, process: ProcessConfig, loss: LossConfig, null_class: int | None) -> None:
        self.config, self.process = process, make_vp(process)
        self.loss, self.null_class = loss, null_class

    def __call__(self, network: nn.Module, batch: Batch) -> torch.Tensor:
        times = vp_times(self.process, batch.u, self.config)
        alpha, sigma = self.process.alpha_sigma(times)
        a, s = _like(alpha, batch.x), _like(sigma, batch.x)
        noisy = a * batch.x + s * batch.noise
        target = batch.noise if self.loss.prediction == "eps" else a * batch.noise - s * batch.x
        dtype = torch.float32 if self.config.continuous else torch.int64
        t = torch.as_tensor(times, dtype=dtype).to(noisy.device)
        output = denoise(
            network, noisy, t, dropped_labels(batch, self.loss.label_dropout, self.null_class)
        )
        return (_like(self._weights(alpha, sigma), noisy) * (output - target).square()).mean()

    def _weights(self, alpha: Array, sigma: Array) -> Array:
        if self.loss.weighting == "plain":
            return np.ones_like(alpha)
        snr = (alpha / sigma) ** 2
        counts = np.clip(snr, self.loss.floor, max(self.loss.gamma, self.loss.floor))
        return counts / (snr if self.loss.prediction == "eps" else snr + 1.0)


class EDMLoss:
    r"""Denoising with the preconditioning and weights of EDM (Karras et al. 2022, table 1, arXiv
    2206.00364).

    D(x; σ) = c_skip x + c_out F(c_in x, ln(σ)/4), log σ ~ N(p_mean, p_std²), loss λ(σ)·(D − x)²
    with λ = 1/c_out².
    """

    def __init__(self, process: ProcessConfig, loss: LossConfig, null_class: int | None) -> None:
        self.process, self.loss, self.null_class = process, loss, null_class

    def __call__(self, network: nn.Module, batch: Batch) -> torch.Tensor:
        sigma = log_normal(batch.u, self.process)
        noisy = batch.x + _like(sigma, batch.x) * batch.noise
        labels = dropped_labels(batch, self.loss.label_dropout, self.null_class)
        denoised = edm_denoise(network, noisy, sigma, self.process.sigma_data, labels)
        data = self.process.sigma_data
        weight = (sigma**2 + data**2) / (sigma * data) ** 2
        return (_like(weight, noisy) * (denoised - batch.x).square()).mean()


def denoise(
    network: nn.Module, x: torch.Tensor, t: torch.Tensor, labels: torch.Tensor | None
) -> torch.Tensor:
    """A diffusers ``UNet2DModel``'s output as a float32 tensor like x."""
    output: torch.Tensor = network(x, t, class_labels=labels, return_dict=False)[0]
    return output.float()


def edm_denoise(
    network: nn.Module,
    x: torch.Tensor,
    sigma: Array,
    sigma_data: float,
    labels: torch.Tensor | None,
) -> torch.Tensor:
    """EDM's D(x; σ) from the raw network, σ one number per image."""
    total = np.hypot(sigma, sigma_data)
    t = torch.as_tensor(np.log(sigma) / 4, dtype=torch.float32).to(x.device)
    raw = denoise(network, _like(1 / total, x) * x, t, labels)
    return _like((sigma_data / total) ** 2, x) * x + _like(sigma * sigma_data / total, x) * raw


def dropped_labels(batch: Batch, share: float, null_class: int | None) -> torch.Tensor | None:
    """The batch's labels with a share of them replaced by the null class; None for a network
    without classes."""
    if null_class is None or batch.labels is None:
        return None
    drop = torch.as_tensor(batch.drop < share).to(batch.labels.device)
    return torch.where(drop, null_class, batch.labels)


class GuideLoss:
    """Cross-entropy of a classifier that sees (x_t, t), t drawn as for the denoiser (Dhariwal and
    Nichol 2021, section 4.1)."""

    def __init__(self, process: ProcessConfig, loss: LossConfig) -> None:
        self.config, self.process = process, make_vp(process)
        self.smoothing = loss.label_smoothing

    def __call__(self, network: nn.Module, batch: Batch) -> torch.Tensor:
        assert batch.labels is not None  # the trainer refuses data without labels
        times = vp_times(self.process, batch.u, self.config)
        alpha, sigma = self.process.alpha_sigma(times)
        noisy = _like(alpha, batch.x) * batch.x + _like(sigma, batch.x) * batch.noise
        logits = network(noisy, torch.as_tensor(times, dtype=torch.float32).to(noisy.device))
        return F.cross_entropy(logits.float(), batch.labels, label_smoothing=self.smoothing)


class FeaturesLoss:
    """Cross-entropy of a classifier of clean images."""

    def __init__(self, loss: LossConfig) -> None:
        self.smoothing = loss.label_smoothing

    def __call__(self, network: nn.Module, batch: Batch) -> torch.Tensor:
        assert batch.labels is not None  # the trainer refuses data without labels
        return F.cross_entropy(
            network(batch.x).float(), batch.labels, label_smoothing=self.smoothing
        )


def build_objective(config: TrainConfig, null: int | None) -> Objective:
    """The loss that a recipe asks for; ``null`` is the denoiser's null class."""
    if config.task == "features":
        return FeaturesLoss(config.loss)
    if config.task == "guide":
        return GuideLoss(config.process, config.loss)
    denoising = EDMLoss if config.process.kind == "edm" else VPLoss
    return denoising(config.process, config.loss, null)
