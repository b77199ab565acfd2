"""Small inverse problems with a known answer: a Gaussian prior and a linear operator."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from diffdescent.core.operators import Linear, parse_operator
from diffdescent.core.process import VP
from diffdescent.core.spectrum.cosine import to_cosines
from diffdescent.core.spectrum.power import parse_spectrum
from diffdescent.models.gaussian import Gaussian
from diffdescent.run import Run
from diffdescent.run.inputs import Images

SHAPE = (1, 6, 6)


def gaussian(spread: float = 1.0, factors: Tensor | None = None) -> Gaussian:
    """N(μ, spread²·I + W Wᵀ) over images of :data:`SHAPE`."""
    mean = torch.linspace(-0.4, 0.5, 36, dtype=torch.float64).reshape(SHAPE)
    return Gaussian(mean, spread**2, VP.named("linear"), factors=factors)


def bound(text: str, dtype: torch.dtype = torch.float64) -> Linear:
    found = parse_operator(text).bind(SHAPE, dtype=dtype)
    assert isinstance(found, Linear)
    return found


def dense(operator: Linear) -> Tensor:
    """A as a matrix (m, n)."""
    n = int(torch.tensor(operator.in_shape).prod())
    basis = torch.eye(n, dtype=operator.dtype).reshape(n, *operator.in_shape)
    return operator.forward(basis).flatten(1).T


def posterior_mean(model: Gaussian, operator: Linear, y: Tensor, noise: float) -> Tensor:
    """μ + C Aᵀ(A C Aᵀ + σ_n²)⁻¹(y − A μ), by dense algebra; y is (B, …)."""
    a = dense(operator)
    n = a.shape[1]
    c = model.covariance.apply(lambda v: v, torch.eye(n, dtype=torch.float64))
    gain = (
        c @ a.T @ torch.linalg.inv(a @ c @ a.T + noise**2 * torch.eye(len(a), dtype=torch.float64))
    )
    off = y.flatten(1) - model.mean @ a.T
    return (model.mean + off @ gain.T).reshape(-1, *SHAPE)


def from_zero(run: Run) -> Run:
    """The run from the state 0: under an affine chain its image is the mean of all its images."""
    start = Images(torch.zeros(1, *run.shape), torch.zeros(len(run.samples), dtype=torch.int64))
    return replace(run, inputs=replace(run.inputs, start=start))


def coloured(spectrum: str) -> Gaussian:
    """N(μ, C) whose cosine coefficients are independent, with the variances of a ``spectrum``."""
    power = torch.from_numpy(parse_spectrum(spectrum).over(SHAPE)).flatten()
    basis = to_cosines(torch.eye(36, dtype=torch.float64).reshape(-1, *SHAPE)).flatten(1)
    floor = float(power.min()) / 2
    factors = basis * (power - floor).sqrt()
    return Gaussian(gaussian().mean.reshape(SHAPE), floor, VP.named("linear"), factors=factors)
