"""Scores against the model's own solution."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from diffdescent.evaluate import frechet_distance, moments_of
from diffdescent.evaluate.own_solution import (
    CoarseSolution,
    solution_fd,
    solution_feature,
    solution_rmse,
)

PROTOCOL = {"network": "none"}


def features(n: int, d: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((n, d)))


@pytest.mark.parametrize(("n", "d"), [(12, 30), (60, 5)])
def test_an_exact_solver_has_no_distance(n: int, d: int) -> None:
    own = features(n, d)
    assert solution_rmse(torch.zeros(n)).value == 0
    for score in (solution_feature, solution_fd):
        found = score(own, own, PROTOCOL, resamples=20)
        assert found.value == pytest.approx(0, abs=1e-9)
        assert found.high == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("n", "d"), [(12, 30), (60, 5)])
def test_the_frechet_distance_is_that_of_the_covariances(n: int, d: int) -> None:
    ours, own = 1.3 * features(n, d) + 0.2, features(n, d, 1)
    found = solution_fd(ours, own, PROTOCOL, resamples=20)
    assert found.value == pytest.approx(
        frechet_distance(moments_of(ours), moments_of(own)), rel=1e-4
    )
    assert found.low < found.value < found.high


def test_the_feature_distance_is_a_share_of_the_spread() -> None:
    own = features(40, 6)
    mean = own.mean(0).expand_as(own)
    assert solution_feature(mean, own, PROTOCOL, resamples=0).value == pytest.approx(1)
    shifted = own + 0.1
    spread = float((own - mean).square().sum(1).mean())
    wanted = (6 * 0.01 / spread) ** 0.5
    assert solution_feature(shifted, own, PROTOCOL, resamples=0).value == pytest.approx(wanted)


def test_what_both_have_in_common_does_not_widen_the_interval() -> None:
    own = features(64, 8)
    near = solution_fd(own + 0.1, own, PROTOCOL, resamples=40)
    assert near.value == pytest.approx(8 * 0.01, rel=1e-6)
    assert near.half_width < 1e-6


def test_the_protocol_says_how_many_halves_were_drawn() -> None:
    found = solution_fd(features(64, 8), features(64, 8) + 0.1, PROTOCOL, resamples=200)
    drawn = found.protocol["interval"]
    assert isinstance(drawn, dict)
    assert drawn["resamples"] == 50


def test_a_coarse_solution_is_said() -> None:
    text = str(CoarseSolution(0.02, 0.03, 32))
    assert "0.02" in text
    assert "--solution 64" in text
