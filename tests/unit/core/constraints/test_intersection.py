"""Dykstra's alternating projections against projections that are known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from diffdescent.core.constraints import (
    BallSet,
    BoxSet,
    ConstraintSet,
    Given,
    Intersection,
    MeanSet,
    PaletteSet,
)

F64 = torch.float64


def drawn(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def half_space(normal: Tensor, offset: float) -> ConstraintSet:
    """⟨normal, x⟩ ≤ offset."""
    n = normal / normal.norm()

    def project(x: Tensor) -> Tensor:
        over = ((x.flatten(1) @ n.flatten()) - offset / normal.norm()).clamp_min(0)
        return x - over.view(-1, 1, 1, 1) * n

    return Given(project)


def subspace(basis: Tensor) -> ConstraintSet:
    """The span of the rows of ``basis`` (k, n)."""
    q = torch.linalg.qr(basis.T).Q
    return Given(lambda x: (x.flatten(1) @ q @ q.T).view_as(x), affine=True)


def test_a_corner_of_two_half_planes() -> None:
    """x ≤ 0 and x + y ≤ 0: from (2, 1) the nearest point is the corner (0, 0), and projecting in
    turn alone ends at (0, −½)."""
    one = half_space(torch.tensor([1.0, 0.0], dtype=F64).view(1, 1, 2), 0.0)
    two = half_space(torch.tensor([1.0, 1.0], dtype=F64).view(1, 1, 2), 0.0)
    x = torch.tensor([2.0, 1.0], dtype=F64).view(1, 1, 1, 2)
    corner = Intersection([two, one], 200).project(x)
    assert corner.abs().max() < 1e-6
    alone = one.project(two.project(x))
    assert torch.allclose(alone.flatten(), torch.tensor([0.0, -0.5], dtype=F64), atol=1e-12)


def test_a_box_and_a_mean_is_the_box_shifted() -> None:
    """The projection is clip(x − μ) with the μ that makes the mean right, found by bisection."""
    x = drawn(3, 1, 4, 5) * 2
    both = Intersection([MeanSet(torch.tensor([0.2], dtype=F64)), BoxSet(-0.5, 0.5)], 300)
    low, high = torch.full((3, 1, 1, 1), -9.0, dtype=F64), torch.full((3, 1, 1, 1), 9.0, dtype=F64)
    for _ in range(80):
        middle = (low + high) / 2
        too_high = (x - middle).clamp(-0.5, 0.5).mean((1, 2, 3), keepdim=True) > 0.2
        low, high = torch.where(too_high, middle, low), torch.where(too_high, high, middle)
    expected = (x - low).clamp(-0.5, 0.5)
    assert torch.allclose(both.project(x), expected, atol=1e-6)


def test_two_subspaces_meet_in_their_intersection_at_von_neumanns_rate() -> None:
    """With the smallest angle θ between them, what is left after k rounds is cos²ᵏθ (Aronszajn
    1950); Dykstra's corrections change nothing for subspaces."""
    shared, a, b = drawn(2, 12, seed=1), drawn(3, 12, seed=2), drawn(3, 12, seed=3)
    u, v = torch.cat((shared, a)), torch.cat((shared, b))
    qu, qv, qs = (torch.linalg.qr(m.T).Q for m in (u, v, shared))
    cosine = torch.linalg.svdvals(qu.T @ qv)[2]  # after the two shared directions
    x = drawn(4, 1, 3, 4, seed=4)
    exact = (x.flatten(1) @ qs @ qs.T).view_as(x)
    left = [
        (Intersection([subspace(u), subspace(v)], k).project(x) - exact).norm() for k in (6, 14)
    ]
    assert (left[1] / left[0]).log() / 8 == pytest.approx(2 * float(cosine.log()), rel=0.02)


def test_a_ball_and_a_plane() -> None:
    """Known: the disc in which they meet."""
    high = torch.tensor([0.0, 0.0, 0.6], dtype=F64)
    plane = Given(lambda x: x * (high == 0) + high, affine=True)
    x = torch.tensor([[3.0, 4.0, 5.0], [0.1, 0.0, -2.0]], dtype=F64).view(2, 1, 1, 3)
    p = Intersection([BallSet(1.0), plane], 400).project(x)
    expected = torch.tensor([[0.48, 0.64, 0.6], [0.1, 0.0, 0.6]], dtype=F64)
    assert torch.allclose(p.view(2, 3), expected, atol=1e-3)


def test_the_last_set_holds_exactly_and_one_set_is_projected_once() -> None:
    x = drawn(2, 3, 4, 4)
    palette = PaletteSet(torch.tensor([[-1.0, 0, 0], [1.0, 1, 1]], dtype=F64))
    both = Intersection([MeanSet(torch.zeros(3, dtype=F64)), palette])
    assert not both.convex
    assert not both.affine
    p = both.project(x)
    assert torch.equal(palette.project(p), p)
    single = Intersection([BallSet(0.5)])
    assert torch.equal(single.project(x), BallSet(0.5).project(x))
    assert single.convex
    assert torch.equal(both.project(x)[1:], both.project(x[1:]))
