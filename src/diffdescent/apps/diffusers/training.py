"""α and σ at the times of training and of a run: what losses, image to image and inpainting ask."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.process import VP

from .config import Config, is_flow, process_of
from .laid_out import LaidOut


class TrainingNoise:
    """The part of a scheduler that puts noise on images."""

    config: Config
    timesteps: Tensor
    _laid: LaidOut | None
    _table: Tensor | None = None
    """α and σ of the trained steps, on the device where they were asked for last."""

    @property
    def alphas_cumprod(self) -> Tensor:
        """ᾱ_t of the trained steps, float32 on the CPU (what losses and guidance methods read)."""
        return torch.from_numpy(self._steps_of("alphas_cumprod").alpha_bar).to(torch.float32)

    @property
    def betas(self) -> Tensor:
        """β_t of the trained steps, float32 on the CPU."""
        return torch.from_numpy(self._steps_of("betas").betas).to(torch.float32)

    def _steps_of(self, what: str) -> VP:
        process = process_of(self.config)
        if not isinstance(process, VP):
            raise AttributeError(f"a flow has no {what}")
        return process

    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """α x0 + σ noise at ``timesteps``, (B,) or (1,): any trained times, or the levels of the
        run."""
        alpha, sigma = self._level_of(timesteps, original_samples)
        return alpha * original_samples + sigma * noise

    def scale_noise(self, sample: Tensor, timestep: Tensor, noise: Tensor | None = None) -> Tensor:
        """:meth:`add_noise`, as flow-matching pipelines call it."""
        if noise is None:
            raise UserError("scale_noise needs noise=, of the sample's shape.")
        return self.add_noise(sample, noise, timestep)

    def get_velocity(self, sample: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """α noise − σ x0: the target of a v-predicting network."""
        alpha, sigma = self._level_of(timesteps, sample)
        return alpha * noise - sigma * sample

    def _level_of(self, timesteps: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """(α, σ) at ``timesteps``, of a shape that multiplies ``like``: at a time of the run whose
        level lies between trained steps, that level; else the trained step."""
        times = timesteps.to(device=like.device).flatten().view(-1, *[1] * (like.ndim - 1))
        if is_flow(self.config):
            sigma = times.to(torch.float32) / self.config["num_train_timesteps"]
            return (1 - sigma).to(like.dtype), sigma.to(like.dtype)
        table = self._trained(like.device)
        found = table[:, times.round().to(torch.int64).clamp(0, table.shape[1] - 1)]
        if self._laid is not None and _between(self._laid):
            own = torch.tensor(
                [(row.at.alpha, row.at.sigma) for row in self._laid.plan.rows], device=like.device
            ).T
            off, place = (times[..., None] - self.timesteps.to(times.device)).abs().min(dim=-1)
            found = torch.where(off < 1e-3, own[:, place], found)
        alpha, sigma = found.to(like.dtype)
        return alpha, sigma

    def _trained(self, device: torch.device) -> Tensor:
        """α and σ of the trained steps, (2, T)."""
        if self._table is None or self._table.device != device:
            steps = np.arange(self.config["num_train_timesteps"])
            pair = np.stack(process_of(self.config).alpha_sigma(steps))
            self._table = torch.from_numpy(pair).to(torch.float32).to(device)
        return self._table


def _between(laid: LaidOut) -> bool:
    """Whether the run's levels lie between trained steps, or have other times than they do."""
    grid = laid.grid
    with np.errstate(invalid="ignore"):
        off = np.abs(grid.process.ratio(grid.t[:-1]) / grid.ratio[:-1] - 1) > 1e-3
    return bool(off.any() or (grid.t[:-1] % 1).any())
