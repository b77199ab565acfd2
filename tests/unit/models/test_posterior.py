"""The exact posterior, against dense linear algebra, against numerical integration, and against
itself."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

import diffdescent as dd
from diffdescent import UserError
from diffdescent.core.operators import parse_operator
from diffdescent.models.coordinates import Cosine
from diffdescent.models.gaussian import Gaussian
from diffdescent.models.mixture import Mixture
from diffdescent.models.posterior import posterior

F64 = torch.float64
SHAPE = (1, 4, 4)
PROCESS = dd.VP.named("linear")
OPERATORS = [
    "mask(box=[0, 0, 2, 4])",
    "blur(sigma=0.8)",
    "motion_blur(length=2, boundary=reflect)",
    "downsample(2)",
    "compressed_sensing(share=0.4)",
]


def drawn(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def gaussian() -> Gaussian:
    wide = 0.1 + drawn(*SHAPE, seed=2).abs()
    return Gaussian(drawn(*SHAPE), wide, PROCESS, factors=0.5 * drawn(16, 3, seed=3))


def mixture() -> Mixture:
    return Mixture(
        torch.tensor([0.2, 0.5, 0.3], dtype=F64),
        drawn(3, 16),
        0.05 + 0.1 * drawn(3, 16, seed=2).abs(),
        PROCESS,
        factors=0.3 * drawn(3, 10, 2, seed=3),
        labels=torch.tensor([0, 1, 1]),
        shape=SHAPE,
        coordinates=Cosine(SHAPE),
    )


def dense(text: str) -> Tensor:
    a = parse_operator(text).bind(SHAPE, dtype=F64)
    return a.forward(torch.eye(16, dtype=F64).view(16, *SHAPE)).flatten(1).T  # type: ignore[no-any-return]


def measured(text: str, noise: float, n: int = 3) -> Tensor:
    a = parse_operator(text).bind(SHAPE, dtype=F64)
    clean = a.forward(drawn(n, *SHAPE, seed=9))
    return clean + noise * drawn(*clean.shape, seed=10)


def component(covariance: Tensor, matrix: Tensor, noise: float) -> tuple[Tensor, Tensor]:
    """K = C Aᵀ (A C Aᵀ + σ²)⁺ and C − K A C."""
    s = matrix @ covariance @ matrix.T + noise**2 * torch.eye(len(matrix), dtype=F64)
    gain = covariance @ matrix.T @ torch.linalg.pinv(s, rtol=1e-12)
    return gain, covariance - gain @ matrix @ covariance


@pytest.mark.parametrize("text", OPERATORS)
@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_a_gaussian_has_the_textbook_posterior(text: str, noise: float) -> None:
    model, matrix, y = gaussian(), dense(text), measured(text, noise)
    covariance = model.covariance.apply(lambda v: v, torch.eye(16, dtype=F64))
    gain, left = component(covariance, matrix, noise)
    expected = model.mean + (y.flatten(1) - model.mean @ matrix.T) @ gain.T
    found = posterior(model, text, y, noise)
    assert torch.allclose(found.mean.flatten(1), expected, atol=1e-7)
    assert torch.allclose(found.covariance(1), left, atol=1e-7)
    assert torch.allclose(found.variance.flatten(1), left.diagonal().expand(3, -1), atol=1e-7)
    assert torch.allclose(found.weights, torch.ones(3, 1, dtype=F64))


@pytest.mark.parametrize("text", OPERATORS)
def test_a_mixture_has_the_posterior_of_its_components(text: str) -> None:
    """Weights by the dense evidence N(y; Aμ, A C Aᵀ + σ²), means and covariances by Gaussians."""
    noise = 0.25
    model, matrix, y = mixture(), dense(text), measured(text, noise)
    assert isinstance(model.coordinates, Cosine)
    means = model.coordinates.decode(model.means)
    eye = torch.eye(16, dtype=F64)
    logits, centres, lefts = [], [], []
    for k, c in enumerate(model.covariances):
        turned = model.coordinates.decode(model.coordinates.decode(c.apply(lambda v: v, eye)).T)
        s = matrix @ turned @ matrix.T + noise**2 * torch.eye(len(matrix), dtype=F64)
        law = torch.distributions.MultivariateNormal(means[k] @ matrix.T, s)
        logits.append(model.weights[k].log() + law.log_prob(y.flatten(1)))
        gain, left = component(turned, matrix, noise)
        centres.append(means[k] + (y.flatten(1) - means[k] @ matrix.T) @ gain.T)
        lefts.append(left)
    weights = torch.stack(logits, 1).softmax(1)
    found = posterior(model, text, y, noise)
    assert torch.allclose(found.weights, weights, atol=1e-8)
    mean = torch.einsum("bk,kbd->bd", weights, torch.stack(centres))
    assert torch.allclose(found.mean.flatten(1), mean, atol=1e-8)
    apart = torch.stack(centres)[:, 2] - mean[2]
    expected = torch.einsum("k,kde->de", weights[2], torch.stack(lefts))
    expected = expected + torch.einsum("k,kd,ke->de", weights[2], apart, apart)
    assert torch.allclose(found.covariance(2), expected, atol=1e-8)
    assert torch.allclose(found.variance[2].flatten(), expected.diagonal(), atol=1e-8)


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_samples_are_those_of_the_posterior(noise: float) -> None:
    text = "downsample(2)"
    y = measured(text, noise, n=2)
    found = posterior(mixture(), text, y, noise)
    samples = found.sample(6000, seed=4)
    assert samples.shape == (6000, 2, *SHAPE)
    error = (found.variance / 6000).sqrt()
    assert ((samples.mean(0) - found.mean).abs() / error).max() < 4.5
    covariance = samples[:, 1].flatten(1).T.cov()
    assert (covariance - found.covariance(1)).norm() < 0.08 * found.covariance(1).norm()
    if not noise:
        a = parse_operator(text).bind(SHAPE, dtype=F64)
        assert torch.allclose(a.forward(samples[:50, 0]), y[:1].expand(50, -1, -1, -1), atol=1e-9)
    assert torch.allclose(found.sample(3, seed=4), samples[:3])
    found.sample(3, seed=4).zero_()  # what is kept is not handed out
    assert torch.allclose(found.sample(3, seed=4), samples[:3])


@pytest.mark.parametrize("noise", [0.0, 0.4])
def test_the_density_integrates_to_one(noise: float) -> None:
    """Over the two numbers of an image, one of which is measured."""
    model = Mixture(
        torch.tensor([0.3, 0.7], dtype=F64),
        torch.tensor([[-1.0, 0.5], [1.0, -0.2]], dtype=F64),
        torch.tensor([[0.2, 0.3], [0.1, 0.4]], dtype=F64),
        PROCESS,
        shape=(1, 1, 2),
    )
    line = torch.linspace(-6, 6, 301, dtype=F64)
    step = float(line[1] - line[0])
    known = line if noise else torch.tensor([0.6], dtype=F64)
    x = torch.cartesian_prod(known, line).view(-1, 1, 1, 2)
    y = torch.tensor([0.6, 0.0], dtype=F64).expand(len(x), 1, 1, 2)
    found = posterior(model, "mask(box=[0, 1, 1, 2])", y, noise)
    area = step**2 if noise else step
    density = found.log_prob(x).exp()
    assert float(density.sum()) * area == pytest.approx(1, abs=1e-4)
    mean = (density[:, None] * x.flatten(1)).sum(0) * area
    assert torch.allclose(mean, found.mean[0].flatten(), atol=1e-4)
    if not noise:
        assert (found.log_prob(x + 0.1) == -math.inf).all()


def test_a_class_is_a_prior_of_its_own() -> None:
    text, noise = "downsample(2)", 0.2
    y = measured(text, noise)
    model = mixture()
    found = posterior(model, text, y, noise, label=1)
    assert not found.weights[:, 0].any()
    alone = Mixture(
        model.weights[1:],
        model.means[1:],
        torch.stack([c.variances for c in model.covariances[1:]]),
        PROCESS,
        factors=torch.stack([c.factors() for c in model.covariances[1:]]),
        shape=SHAPE,
        coordinates=Cosine(SHAPE),
    )
    expected = posterior(alone, text, y, noise)
    assert torch.allclose(found.mean, expected.mean, atol=1e-9)
    x = drawn(3, *SHAPE, seed=20)
    assert torch.allclose(found.log_prob(x), expected.log_prob(x), atol=1e-8)


def test_it_is_a_model_whose_samples_are_posterior_samples() -> None:
    """An exact denoiser given y: 100 steps of a sampler land in the posterior."""
    text, noise = "blur(sigma=0.8)", 0.3
    found = posterior(mixture(), text, measured(text, noise, n=1), noise)
    given = found.as_mixture(0)
    x = drawn(5, *SHAPE, seed=21)
    mine = torch.cat([found.log_prob(one[None]) for one in x])
    assert torch.allclose(given.log_prob(x, dd.Point(0.0, 1.0, 0.0)), mine, atol=1e-4)
    images = dd.sample(given, "heun", steps=40, grid="karras", n=600, dtype=F64).images
    error = (found.variance[0] / 600).sqrt()
    assert ((images.mean(0) - found.mean[0]).abs() / error).max() < 4.5


@pytest.mark.parametrize(
    ("operator", "noise", "label", "message"),
    [
        ("jpeg", 0.1, None, "linear measurements"),
        ("blur", -1.0, None, "at least 0"),
        ("blur", math.nan, None, "at least 0"),
        ("blur", 0.1, 7, "no class 7"),
    ],
)
def test_what_has_no_known_posterior_is_refused(
    operator: str, noise: float, label: int | None, message: str
) -> None:
    model = Gaussian(torch.zeros(1, 8, 8), 1.0, PROCESS)
    with pytest.raises(UserError, match=message):
        posterior(model, operator, torch.zeros(1, 1, 8, 8), noise, label=label)


def test_other_models_and_large_images_are_refused() -> None:
    with pytest.raises(UserError, match="known for Gaussians and mixtures"):
        posterior(object(), "blur", torch.zeros(1, 1, 8, 8), 0.1)  # type: ignore[arg-type]
    large = Gaussian(torch.zeros(3, 64, 64), 1.0, PROCESS)
    with pytest.raises(UserError, match="too large"):
        posterior(large, "motion_blur(boundary=zero)", torch.zeros(1, 3, 64, 64), 0.1)


def test_without_noise_y_must_be_consistent() -> None:
    """Hidden pixels measure 0, and a blur has no more detail than it leaves."""
    model = gaussian()
    y = torch.ones(2, *SHAPE, dtype=F64)
    with pytest.raises(UserError, match="Without noise y must be what the operator gives"):
        posterior(model, OPERATORS[0], y, 0.0)
    assert posterior(model, OPERATORS[0], y, 0.1).mean.isfinite().all()
    rounded = measured("blur(sigma=0.8)", 0.0).float()
    assert posterior(model, "blur(sigma=0.8)", rounded, 0.0).mean.isfinite().all()
