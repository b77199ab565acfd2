"""Moments, Fréchet distance, Inception Score and KID against independent implementations and closed
forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor, nn
from torchmetrics.image.inception import InceptionScore
from torchmetrics.image.kid import KernelInceptionDistance

from diffdescent.base.errors import UserError
from diffdescent.evaluate import (
    Moments,
    RunningMoments,
    frechet,
    frechet_distance,
    inception_score,
    kid,
    moments_of,
)
from diffdescent.evaluate.half_sampling import halves


def normals(*shape: int, seed: int = 0, shift: float = 0.0) -> Tensor:
    return (
        torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        + shift
    )


def mixed(n: int, d: int, seed: int, shift: float = 0.0) -> Tensor:
    """Correlated features with a spread of scales."""
    return normals(n, d, seed=seed) @ normals(d, d, seed=seed + 100) / math.sqrt(d) + shift


def by_square_root(a: Moments, b: Moments) -> float:
    """The definition, with scipy's matrix square root."""
    root = scipy.linalg.sqrtm(a.sigma.numpy() @ b.sigma.numpy())
    return float((a.mu - b.mu).square().sum() + a.sigma.trace() + b.sigma.trace()) - 2 * float(
        np.trace(root).real
    )


@pytest.mark.parametrize("d", [1, 7, 64])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_distance_is_the_one_by_scipys_matrix_square_root(d: int, seed: int) -> None:
    a, b = (
        moments_of(mixed(4 * d + 10, d, seed)),
        moments_of(mixed(5 * d + 10, d, seed + 10, shift=0.3)),
    )
    assert frechet_distance(a, b) == pytest.approx(by_square_root(a, b), rel=1e-6)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-9)


def test_commuting_covariances_have_a_closed_form() -> None:
    variances = (
        torch.tensor([4.0, 9.0, 0.0], dtype=torch.float64),
        torch.tensor([1.0, 0.0, 0.25], dtype=torch.float64),
    )
    a, b = (
        Moments(torch.full((3,), float(i), dtype=torch.float64), v.diag(), 10)
        for i, v in enumerate(variances)
    )
    expected = 3 + float((variances[0].sqrt() - variances[1].sqrt()).square().sum())
    assert frechet_distance(a, b) == pytest.approx(expected, abs=1e-7)


def test_singular_covariances_of_fewer_images_than_features() -> None:
    # Both sets lie in the same 5 of 40 directions: the distance is the one within these.
    basis = torch.linalg.qr(normals(40, 5, seed=3)).Q
    x, y = mixed(6, 5, 0), mixed(9, 5, 1, shift=0.5)
    inside = frechet_distance(moments_of(x), moments_of(y))
    # √ of eigenvalues that should be 0 and are 1e-16 are 1e-8.
    assert frechet_distance(moments_of(x @ basis.T), moments_of(y @ basis.T)) == pytest.approx(
        inside, abs=1e-5
    )
    assert frechet_distance(moments_of(x @ basis.T), moments_of(x @ basis.T)) == pytest.approx(
        0, abs=1e-5
    )


def test_moments_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(UserError, match="Cannot compare 3 features with 4"):
        frechet_distance(moments_of(normals(9, 3)), moments_of(normals(9, 4)))
    bad = moments_of(normals(9, 3))
    bad.sigma[0, 0] = math.nan
    with pytest.raises(UserError, match="NaN or Inf"):
        frechet_distance(bad, moments_of(normals(9, 3)))
    with pytest.raises(UserError, match="at least two images"):
        moments_of(normals(1, 3))


def test_shards_merge_to_the_moments_of_the_whole() -> None:
    # Far from zero, where Σxxᵀ − n·mmᵀ would lose ten digits.
    x = mixed(500, 6, 0) + 1e5
    merged = RunningMoments(6)
    for shard in torch.split(x, [1, 0, 99, 250, 150]):
        one = RunningMoments(6)
        for batch in torch.split(shard, 70):
            if len(batch):
                one.update(batch)
        merged.merge(one)
    found = merged.result()
    assert found.n == 500
    assert torch.allclose(found.mu, x.mean(0), rtol=1e-14)
    assert torch.allclose(found.sigma, torch.cov(x.T), rtol=1e-9)


def test_distance_over_halves_is_the_distance_of_each_half() -> None:
    for n, d in ((60, 5), (20, 30)):  # both sizes of the eigenvalue problem
        x, reference = mixed(n, d, 0), moments_of(mixed(90, d, 7, shift=0.4))
        masks = halves(n, 6, seed=1)
        found = frechet.over_halves(x, reference, frechet.factor(reference.sigma), masks)
        expected = [frechet_distance(moments_of(x[mask]), reference) for mask in masks]
        assert found.tolist() == pytest.approx(expected, rel=1e-6)


def _probabilities(n: int, k: int = 10, seed: int = 5) -> Tensor:
    return (2 * normals(n, k, seed=seed)).softmax(1)


def _as_images(x: Tensor) -> Tensor:
    return x.float()[:, :, None, None]


def test_inception_score_is_torchmetrics(monkeypatch: pytest.MonkeyPatch) -> None:
    # torchmetrics takes logits of a module; flattening hands ours through. It deals the images to
    # splits at random.
    logits = 2 * normals(103, 10, seed=5).float()
    for splits in (1, 10):
        theirs = InceptionScore(feature=nn.Flatten(), splits=splits)
        theirs.update(_as_images(logits))
        torch.manual_seed(4)
        expected, _ = theirs.compute()
        torch.manual_seed(4)
        dealt = logits[torch.randperm(103)]
        parts = torch.arange(103).chunk(splits)
        found = inception_score.mean_over_splits(dealt.double().softmax(1), parts)
        assert found == pytest.approx(float(expected), rel=1e-5)


def test_inception_score_of_sets_with_a_known_one() -> None:
    assert inception_score.inception_score(torch.eye(10).repeat(7, 1)) == pytest.approx(10)
    assert inception_score.inception_score(torch.full((30, 10), 0.1)) == pytest.approx(1)
    # Sorted by class and in two splits of 5000: each split must hold all classes.
    sorted_by_class = torch.eye(10).repeat_interleave(1000, 0)
    assert inception_score.inception_score(sorted_by_class) == pytest.approx(10, rel=0.01)
    probs, masks = _probabilities(40), halves(40, 3, seed=0)
    expected = [inception_score.inception_score(probs[mask]) for mask in masks]
    assert inception_score.over_halves(probs, masks).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("splits", [1, 4])
def test_the_bias_of_the_inception_score_is_found(
    splits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a half scores less than the whole is what the whole scores less than a set without end,
    split or not."""
    monkeypatch.setattr(inception_score, "SPLIT", 250)
    few, many, classes = 250 * splits, 20_000, 300
    whole = inception_score.mean_over_splits(_probabilities(many, classes), [torch.arange(many)])
    values, estimates = [], []
    for seed in range(8):
        probs = _probabilities(few, classes, seed=seed + 1)
        value = inception_score.inception_score(probs)
        values.append(value)
        estimates.append(
            float(inception_score.over_halves(probs, halves(few, 40, seed=0)).mean()) - value
        )
    true = sum(values) / len(values) - whole
    assert true < -0.1
    assert sum(estimates) / len(estimates) == pytest.approx(true, rel=0.5)


def test_kid_is_torchmetrics() -> None:
    x, y = mixed(70, 12, 0).float(), mixed(70, 12, 9, shift=0.2).float()
    theirs = KernelInceptionDistance(feature=nn.Flatten(), subsets=1, subset_size=70)
    theirs.update(_as_images(y), real=True)
    theirs.update(_as_images(x), real=False)
    expected, _ = theirs.compute()
    assert kid.kid(x, y) == pytest.approx(float(expected), rel=1e-4)


def test_kid_of_all_pairs_is_what_subsets_tend_to() -> None:
    x, y = mixed(60, 8, 0), mixed(80, 8, 9, shift=0.3)
    generator = torch.Generator().manual_seed(0)
    subsets = torch.tensor(
        [
            kid.kid(
                x[torch.randperm(60, generator=generator)[:20]],
                y[torch.randperm(80, generator=generator)[:20]],
            )
            for _ in range(600)
        ]
    )
    error = float(subsets.std()) / math.sqrt(len(subsets))
    assert abs(kid.kid(x, y) - float(subsets.mean())) < 4 * error


def test_kid_over_halves_and_blocks_is_kid_of_each_half(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y, masks = mixed(50, 6, 0), mixed(33, 6, 9), halves(50, 4, seed=2)
    expected = [kid.kid(x[mask], y) for mask in masks]
    monkeypatch.setattr(kid, "_BLOCK", 7)
    assert kid.over_halves(x, y, masks).tolist() == pytest.approx(expected, rel=1e-9)
    assert kid.over_halves(x, y, masks, pairs_y=kid.mean_of_pairs(y)).tolist() == pytest.approx(
        expected, rel=1e-9
    )
