"""Errors on exact models: RMSE to the exact solution and the sliced Wasserstein distance."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch

from diffdescent.base.errors import UserError
from diffdescent.evaluate import rmse, score_exact, sliced_wasserstein
from diffdescent.evaluate.wasserstein import distance_along, projections


def normals(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("n", "m"), [(7, 7), (6, 9), (5, 13), (1, 4)])
def test_along_one_direction_it_is_scipys_wasserstein_distance(n: int, m: int) -> None:
    x, y = normals(n, 1), 2 * normals(m, 1, seed=1) + 1
    expected = scipy.stats.wasserstein_distance(x[:, 0].numpy(), y[:, 0].numpy())
    assert distance_along(x, y, p=1) == pytest.approx(expected)


def test_sizes_need_not_be_equal() -> None:
    x, y = normals(6, 3, 2, 2), normals(10, 3, 2, 2, seed=1)
    # A set in which each sample occurs as often is the same distribution.
    twice = torch.cat([x, x])
    assert sliced_wasserstein(twice, y) == pytest.approx(sliced_wasserstein(x, y))
    assert sliced_wasserstein(twice, x) == pytest.approx(0, abs=1e-12)


def test_a_shift_is_measured_along_every_direction() -> None:
    x, shift = normals(40, 5), torch.tensor([3.0, 0, 0, 0, 0], dtype=torch.float64)
    # E⟨shift, θ⟩² = |shift|²/d over the sphere.
    found = sliced_wasserstein(x, x + shift, directions=20_000)
    assert found == pytest.approx(3 / math.sqrt(5), rel=0.02)


def test_directions_are_keyed_unit_vectors() -> None:
    eye = torch.eye(5, dtype=torch.float64)
    theta = projections(eye, eye, 8, seed=2)[0].T
    assert torch.allclose(theta.norm(dim=1), torch.ones(8, dtype=torch.float64))
    assert torch.equal(theta[:3], projections(eye, eye, 3, seed=2)[0].T)
    assert not torch.equal(theta, projections(eye, eye, 8, seed=3)[0].T)


def test_rmse_and_its_interval() -> None:
    exact = normals(400, 3, 4, 4)
    images = exact + 0.5 * normals(400, 3, 4, 4, seed=1) * normals(400, 1, 1, 1, seed=2).abs()
    error = float(np.sqrt(((images - exact).numpy() ** 2).mean()))
    assert rmse(images, exact) == pytest.approx(error)
    found = {s.metric: s for s in score_exact(images, exact, resamples=100, directions=16)}
    assert found["rmse"].value == pytest.approx(error)
    assert found["swd"].value == pytest.approx(sliced_wasserstein(images, exact, directions=16))
    for one in found.values():
        assert one.known
        assert one.high is not None
        assert one.low < one.value < one.high
    # The delta method's standard error of a root mean square.
    squares = (images - exact).square().flatten(1).mean(1)
    standard = float(squares.std()) / math.sqrt(400) / (2 * error)
    low, high = found["rmse"].low, found["rmse"].high
    assert low is not None
    assert high is not None
    assert high - low == pytest.approx(2 * 1.96 * standard, rel=0.3)
    assert all(not s.known for s in score_exact(images[:5], exact[:5]))


def test_sets_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(UserError, match="take both from the same noise"):
        rmse(normals(3, 4), normals(4, 4))
    with pytest.raises(UserError, match="Cannot compare samples of shapes"):
        sliced_wasserstein(normals(3, 4), normals(3, 5))
    with pytest.raises(UserError, match="at least one direction"):
        sliced_wasserstein(normals(3, 4), normals(3, 4), directions=0)
