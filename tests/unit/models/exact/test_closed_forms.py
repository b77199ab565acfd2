"""Denoisers against autodiff of the log-density, brute force and each other."""

from __future__ import annotations

import math

import pytest
import torch

from diffdescent.core.predict import Predictor
from diffdescent.core.process import VE, VP, Point
from diffdescent.models.dataset import Dataset
from diffdescent.models.exact import Exact
from diffdescent.models.gaussian import Gaussian
from diffdescent.models.mixture import Mixture
from tests.unit.models.exact.cases import (
    SHAPE,
    SIZE,
    make_dataset,
    make_gaussian,
    make_mixture,
    rand,
)

LEVELS = [
    pytest.param(Point(0, a, s), id=f"{a}-{s}")
    for a, s in [
        (0.8, 0.6),
        (0.999, 0.04),
        (0.01, 1.0),
        (1.0, 0.002),
        (1.0, 150.0),
        (1.0, 1e6),
        (0.0, 1.0),
        (0.3, 0.7),
    ]
]


def both(
    model: Exact, x: torch.Tensor, point: Point, cond: torch.Tensor | None = None
) -> tuple[torch.Tensor, ...]:
    prediction = model(x, point, cond)
    return prediction.to("x0", x), prediction.to("eps", x)


def states(model: Gaussian | Mixture | Dataset, point: Point, n: int = 6) -> torch.Tensor:
    x0 = model.sample(n, torch.Generator().manual_seed(11))
    return point.alpha * x0 + point.sigma * rand(n, *SHAPE, seed=12)


def check_score(model: Gaussian | Mixture | Dataset, point: Point) -> None:
    """ε = −σ∇log p and Tweedie's αx0 = x + σ²∇log p."""
    x = states(model, point).requires_grad_()
    (score,) = torch.autograd.grad(model.log_prob(x, point).sum(), x)
    x0, eps = both(model, x.detach(), point)
    torch.testing.assert_close(eps, -point.sigma * score, rtol=1e-9, atol=1e-9)
    if point.ratio < 100:  # beyond, σ² amplifies the rounding of the score
        tweedie = (x.detach() + point.sigma**2 * score) / point.alpha
        torch.testing.assert_close(x0, tweedie, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(
        point.alpha * x0 + point.sigma * eps, x.detach(), rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("point", LEVELS)
def test_gaussian_score(gaussian: Gaussian, point: Point) -> None:
    check_score(gaussian, point)


@pytest.mark.parametrize("point", LEVELS)
def test_mixture_score(mixture: Mixture, point: Point) -> None:
    check_score(mixture, point)


@pytest.mark.parametrize("point", [p for p in LEVELS if 0.03 < p.values[0].sigma < 200])
def test_dataset_score(point: Point) -> None:
    check_score(make_dataset(), point)


def dense(gaussian: Gaussian) -> tuple[torch.Tensor, torch.Tensor]:
    return gaussian.mean, gaussian.covariance.apply(
        lambda v: v, torch.eye(SIZE, dtype=torch.float64)
    )


def test_gaussian_against_dense_algebra(gaussian: Gaussian) -> None:
    mean, cov = dense(gaussian)
    point = Point(0, 0.7, 0.5)
    law = torch.distributions.MultivariateNormal(
        0.7 * mean, 0.49 * cov + 0.25 * torch.eye(SIZE, dtype=torch.float64)
    )
    x = states(gaussian, point)
    torch.testing.assert_close(gaussian.log_prob(x, point), law.log_prob(x.flatten(1)))
    x0 = (
        mean
        + 0.7 * torch.linalg.solve(law.covariance_matrix, (x.flatten(1) - 0.7 * mean).T).T @ cov
    )
    torch.testing.assert_close(both(gaussian, x, point)[0].flatten(1), x0)


def test_factors_say_what_they_should() -> None:
    w = rand(20, 5, seed=3)
    cov = dense(make_gaussian("full"))[1]
    expected = torch.diag(rand(*SHAPE, seed=2).exp().flatten() / 10)
    expected[:20, :20] += w @ w.T
    torch.testing.assert_close(cov, expected)


@pytest.mark.parametrize("kind", ["diagonal", "factors", "full"])
@pytest.mark.parametrize("point", LEVELS)
def test_one_component_is_a_gaussian(kind: str, point: Point) -> None:
    gaussian = make_gaussian(kind)
    c = gaussian.covariance
    factors = c.factors()[None] if c.support else None
    one = Mixture(
        torch.ones(1),
        gaussian.mean[None],
        c.variances[None],
        VP.named(),
        factors=factors,
        shape=SHAPE,
    )
    x = states(gaussian, point)
    torch.testing.assert_close(both(one, x, point), both(gaussian, x, point), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(one.log_prob(x, point), gaussian.log_prob(x, point))


@pytest.mark.parametrize(
    "point", [Point(0, 0.8, 0.6), Point(0, 0.01, 1.0), Point(0, 1.0, 3.0), Point(0, 0.9999, 0.01)]
)
def test_diagonal_mixture_against_the_written_formula(point: Point) -> None:
    """The formula of the golden data's README, term by term."""
    mixture = make_mixture("diagonal")
    mu, v, w = (
        mixture.means,
        torch.stack([c.variances for c in mixture.covariances]),
        mixture.weights,
    )
    x = states(mixture, point)
    _, a, s = point
    total = a * a * v + s * s
    c = x.flatten(1)[:, None] - a * mu
    r = torch.softmax(w.log() - 0.5 * (c**2 / total + total.log()).sum(2), dim=1)[:, :, None]
    x0, eps = both(mixture, x, point)
    torch.testing.assert_close(eps.flatten(1), (r * s * c / total).sum(1), rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(
        x0.flatten(1), (r * (mu + a * v * c / total)).sum(1), rtol=1e-11, atol=1e-11
    )
    torch.testing.assert_close(mixture.responsibilities(x, point), r[:, :, 0])


def test_limits_of_a_mixture(mixture: Mixture) -> None:
    x = rand(4, *SHAPE, seed=20)
    mean = mixture.coordinates.decode((mixture.weights @ mixture.means)[None]).reshape(1, *SHAPE)
    torch.testing.assert_close(both(mixture, x, Point(1, 0.0, 1.0))[0], mean.expand_as(x))
    torch.testing.assert_close(both(mixture, x, Point(1, 0.0, 1.0))[1], x)
    x0, eps = both(mixture, x, Point(0, 1.0, 0.0))
    assert torch.equal(x0, x)
    assert torch.equal(eps, torch.zeros_like(x))


def brute(
    data: Dataset, x: torch.Tensor, point: Point, cond: torch.Tensor | None = None
) -> torch.Tensor:
    y = data.images.double() / 127.5 - 1
    logits = -((x[:, None] - point.alpha * y).flatten(2) ** 2).sum(2) / (2 * point.sigma**2)
    if cond is not None and data.labels is not None:
        logits = logits.masked_fill(
            (cond[:, None] != data.labels) & (cond[:, None] >= 0), -math.inf
        )
    return torch.einsum("bn,nchw->bchw", logits.softmax(1), y)


@pytest.mark.parametrize("point", [p for p in LEVELS if p.values[0].sigma])
@pytest.mark.parametrize("chunk", [1, 7, 50, None])
def test_dataset_against_brute_force(point: Point, chunk: int | None) -> None:
    data = make_dataset(chunk)
    x = states(data, point, 8)
    cond = torch.tensor([-1, 0, 1, 2, -1, 1, 1, 0])
    torch.testing.assert_close(both(data, x, point)[0], brute(data, x, point), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(
        both(data, x, point, cond)[0], brute(data, x, point, cond), rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize("sigma", [0.0, 1e-12, 1e-6, 1e-3])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_dataset_finds_the_nearest_image(sigma: float, dtype: torch.dtype) -> None:
    """Also between two images that differ by one grey level in one pixel."""
    data = make_dataset(chunk=11)
    data.images[31] = data.images[4]
    data.images[31, 0, 0, 0] ^= 1
    y = data.images / 127.5 - 1
    x = (y[[4, 31, 9]] + 1e-3 * rand(3, *SHAPE, seed=9)).to(dtype)
    x[0, 0, 0, 0], x[1, 0, 0, 0] = y[4, 0, 0, 0], y[31, 0, 0, 0]
    x0 = data(x, Point(0, 1.0, sigma)).to("x0", x)
    expected = y[[4, 31, 9]].to(dtype)
    torch.testing.assert_close(x0, expected, rtol=1e-6, atol=1e-6)
    x0 = data(x, Point(0, 1.0, sigma), torch.tensor([1, 1, 0])).to(
        "x0", x
    )  # image 4, 31 and 9 are of these classes
    torch.testing.assert_close(x0, expected, rtol=1e-6, atol=1e-6)


def test_dataset_at_pure_noise_is_the_mean() -> None:
    data = make_dataset()
    mean = (data.images.double() / 127.5 - 1).mean(0)
    torch.testing.assert_close(
        both(data, rand(2, *SHAPE), Point(1, 0.0, 1.0))[0], mean.expand(2, *SHAPE)
    )


def test_dataset_of_float_points() -> None:
    points = rand(9, 2, seed=30)
    x = rand(4, 2, seed=31)
    weight = (-((x[:, None] - points) ** 2).sum(2) / (2 * 0.3**2)).softmax(1)
    assert (
        both(Dataset(points, VE()), x, Point(0.3, 1.0, 0.3))[0].sub(weight @ points).abs().max()
        < 1e-12
    )


@pytest.mark.parametrize("point", LEVELS)
def test_float32_input_loses_only_its_own_rounding(point: Point) -> None:
    for model in (make_gaussian(), make_mixture("cosine"), make_mixture("full"), make_dataset()):
        x = states(model, point).float()
        wide, narrow = both(model, x.double(), point), both(model, x, point)
        assert narrow[0].dtype == torch.float32
        bound = 3e-7 * float(x.abs().max())
        assert float((narrow[0] - wide[0]).abs().max()) < max(
            bound / max(point.alpha, point.sigma), 1e-6
        )
        assert float((narrow[1] - wide[1]).abs().max()) < max(bound / point.sigma, 1e-6)


def test_conditional_mixture_is_the_mixture_of_its_class() -> None:
    whole, point = make_mixture("factors"), Point(0, 0.6, 0.8)
    c = whole.covariances
    own = Mixture(
        whole.weights[[0, 2]],
        whole.means[[0, 2]],
        torch.stack([c[0].variances, c[2].variances]),
        VP.named(),
        factors=torch.stack([c[0].factors(), c[2].factors()]),
        shape=SHAPE,
    )
    x = states(whole, point)
    zeros = torch.zeros(6, dtype=torch.long)
    torch.testing.assert_close(both(whole, x, point, zeros), both(own, x, point))
    torch.testing.assert_close(whole.log_prob(x, point, zeros), own.log_prob(x, point))
    assert torch.equal(both(whole, x, point, zeros - 1)[0], both(whole, x, point)[0])
    mixed = both(whole, x, point, torch.tensor([-1, 0, 2, -1, 0, 2]))[0]
    torch.testing.assert_close(mixed[1], both(own, x, point)[0][1])
    torch.testing.assert_close(mixed[3], both(whole, x, point)[0][3])


def test_class_log_prob_is_bayes() -> None:
    mixture, point = make_mixture("full"), Point(0, 0.3, 0.9)
    x = states(mixture, point)
    found = mixture.class_log_prob(x, point)
    for label, share in ((0, 0.5), (2, 0.5)):
        cond = torch.full((6,), label)
        expected = mixture.log_prob(x, point, cond) + math.log(share) - mixture.log_prob(x, point)
        torch.testing.assert_close(found[:, label], expected, rtol=1e-6, atol=1e-6)
    assert torch.all(found[:, 1] == -math.inf)


def test_marginal_of_a_gaussian(gaussian: Gaussian) -> None:
    point = Point(0, 0.7, 0.5)
    x = states(gaussian, point)
    torch.testing.assert_close(
        gaussian.marginal(point).log_prob(x, Point(0, 1.0, 0.0)), gaussian.log_prob(x, point)
    )


def test_all_are_predictors() -> None:
    for model in (make_gaussian(), make_mixture(), make_dataset()):
        assert isinstance(model, Predictor)
        assert model.shape == SHAPE
