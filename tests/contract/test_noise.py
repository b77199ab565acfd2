"""Noise that belongs to a sample: Philox against its published vectors, independence of the batch,
moments, paths."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.grid import explicit_ratios, make_grid
from diffdescent.core.noise import INITIAL, Brownian, Keyed, integers, normals, philox
from diffdescent.core.process import VE, VP, Point, VPContinuous
from diffdescent.core.solvers.ddim import DDIM
from tests.contract.setups import run

# Random123's kat_vectors, philox4x32-10: counter, key (two words), result.
KNOWN = [
    (
        "00000000 00000000 00000000 00000000",
        "00000000 00000000",
        "6627e8d5 e169c58d bc57ac4c 9b00dbd8",
    ),
    (
        "ffffffff ffffffff ffffffff ffffffff",
        "ffffffff ffffffff",
        "408f276d 41c83b0e a20bc7c6 6d5451fd",
    ),
    (
        "243f6a88 85a308d3 13198a2e 03707344",
        "a4093822 299f31d0",
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
]


def words(text: str) -> list[int]:
    return [int(word, 16) for word in text.split()]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_philox_known_answers(counter: str, key: str, expected: str) -> None:
    k0, k1 = words(key)
    c0, c1, c2, c3 = (torch.tensor([word]) for word in words(counter))
    assert [int(w) for w in philox((c0, c1, c2, c3), k0 | k1 << 32)] == words(expected)


def reference_philox(counter: list[int], seed: int) -> list[int]:
    """Ten rounds in Python's own integers."""
    c0, c1, c2, c3 = counter
    k0, k1 = seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF
    for _ in range(10):
        p0, p1 = c0 * 0xD2511F53, c2 * 0xCD9E8D57
        c0, c1, c2, c3 = (
            (p1 >> 32) ^ c1 ^ k0,
            p1 & 0xFFFFFFFF,
            (p0 >> 32) ^ c3 ^ k1,
            p0 & 0xFFFFFFFF,
        )
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return [c0, c1, c2, c3]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**64 - 1),
    sample=st.integers(0, 2**48 - 1),
    step=st.integers(-1, 2**31),
    draw=st.integers(0, 2**16 - 1),
    numel=st.integers(1, 11),
)
def test_integers_are_philox_of_their_own_key(
    seed: int, sample: int, step: int, draw: int, numel: int
) -> None:
    """Counter (block, low sample word, step, draw | high sample word << 16), key the seed."""
    got = integers(seed, torch.tensor([7, sample]), numel, step, draw)[1]
    expected: list[int] = []
    for block in range((numel + 3) // 4):
        counter = [block, sample & 0xFFFFFFFF, step & 0xFFFFFFFF, draw | (sample >> 32) << 16]
        expected += reference_philox(counter, seed)
    assert got.tolist() == expected[:numel]


def test_normals_are_box_muller_of_the_integers() -> None:
    samples = torch.tensor([3, 10**10])
    u = (integers(11, samples, 8, 4, 2).double() + 0.5) / 2**32
    radius, angle = torch.sqrt(-2 * torch.log(u[:, 0::2])), 2 * math.pi * u[:, 1::2]
    z = torch.stack((radius * torch.cos(angle), radius * torch.sin(angle)), dim=-1).flatten(1)
    assert torch.allclose(
        normals(11, samples, (2, 3), 4, 2, torch.float64).flatten(1), z[:, :6], rtol=0, atol=1e-14
    )


SHAPES = [(1,), (3, 5, 5), (3, 32, 32), (4, 130, 129)]  # the last one is made in several pieces


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_sample_has_its_noise_in_any_batch(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    ids = torch.tensor([5, 0, 123456789012, 2, 77, 31, 8, 9, 10])
    whole = normals(9, ids, shape, 3, 1, dtype)
    assert whole.shape == (9, *shape)
    assert whole.dtype == dtype
    for chosen in ([0], [4, 2], [8, 7, 6, 5, 4, 3, 2, 1, 0]):
        assert torch.equal(whole[chosen], normals(9, ids[chosen], shape, 3, 1, dtype))
    assert torch.equal(
        whole, torch.stack([normals(9, ids[i : i + 1], shape, 3, 1, dtype)[0] for i in range(9)])
    )


def test_a_longer_sample_begins_like_a_shorter_one() -> None:
    """The block is the first counter word: noise does not depend on how much of it is asked for."""
    ids = torch.arange(3)
    assert torch.equal(normals(1, ids, (70000,), 0)[:, :1234], normals(1, ids, (1234,), 0))


def test_no_key_shares_its_noise() -> None:
    """Every (seed, sample, step, draw) has integers of its own; 64 bits of each are compared."""
    seen: set[tuple[int, ...]] = set()
    ids = torch.tensor([0, 1, 2, 3, 2**16, 2**32, 2**32 + 1])
    keys = 0
    for seed in (0, 1, 2**32, 2**63):
        for step in (INITIAL, 0, 1, 2, 50, 2**16):
            for draw in (0, 1, 2, 3):
                table = integers(seed, ids, 2, step, draw)
                seen.update(map(tuple, table.tolist()))
                keys += len(ids)
    assert len(seen) == keys


def test_blocks_within_a_sample_do_not_repeat() -> None:
    first = integers(4, torch.tensor([6]), 40000, 0).reshape(-1, 4)
    assert len(torch.unique(first, dim=0)) == 10000


def test_moments_and_distribution() -> None:
    z = normals(2024, torch.arange(64), (3, 32, 32), 0, dtype=torch.float64)
    n = z.numel()
    for power, expected, deviation in (
        (1, 0, 1),
        (2, 1, math.sqrt(2)),
        (3, 0, math.sqrt(15)),
        (4, 3, math.sqrt(96)),
    ):
        assert abs(float((z**power).mean()) - expected) < 4.5 * deviation / math.sqrt(n)
    assert stats.kstest(z.flatten()[:20000].numpy(), "norm").pvalue > 1e-3


def test_neighbouring_keys_are_uncorrelated() -> None:
    ids = torch.arange(32)
    base = normals(1, ids, (4096,), 5).double()
    others = {
        "next sample": normals(1, ids + 1, (4096,), 5),
        "next step": normals(1, ids, (4096,), 6),
        "next draw": normals(1, ids, (4096,), 5, 1),
        "next seed": normals(2, ids, (4096,), 5),
        "next pixel": base.roll(1, dims=1),
    }
    for name, other in others.items():
        assert abs(float((base * other.double()).mean())) < 4.5 / math.sqrt(base.numel()), name


def test_the_initial_noise_is_no_step_of_the_run() -> None:
    source = Keyed(3, torch.arange(2))
    point = Point(1.0, 0.5, 0.5)
    initial = source.initial((3, 4))
    x = torch.zeros(2, 3, 4)
    assert all(not torch.equal(initial, source(x, step, 0, point, point)) for step in range(50))
    assert torch.equal(initial, normals(3, torch.arange(2), (3, 4), INITIAL))


# Brownian paths
# ---

IDS = torch.tensor([4, 9])


def increment(source: Brownian, src: Point, dst: Point, step: int) -> Tensor:
    """W(u₁) − W(u₀) as the executor gets it, undoing the division by its standard deviation."""
    u1, u0 = (2 / math.pi * math.atan2(p.sigma, p.alpha) for p in (src, dst))
    return source(torch.zeros(2, 3, 5, dtype=torch.float64), step, 0, src, dst) * math.sqrt(u1 - u0)


def test_increments_of_a_fine_grid_sum_to_those_of_a_coarse_one() -> None:
    source, process = Brownian(8, IDS), VE()
    ratios = np.geomspace(50, 0.01, 13)
    fine = explicit_ratios(process, ratios).points
    coarse = explicit_ratios(process, ratios[::4]).points
    for k in range(3):
        parts = [increment(source, fine[i], fine[i + 1], i) for i in range(4 * k, 4 * k + 4)]
        whole = increment(source, coarse[k], coarse[k + 1], k)
        assert torch.allclose(torch.stack(parts).sum(0), whole, rtol=0, atol=1e-12)


def test_a_path_is_the_same_for_every_process_and_batch() -> None:
    """Its clock is σ/α, which a VP and a VE level share; a sample keeps its path in any batch."""
    vp, ve = VPContinuous(), VE()
    source = Brownian(8, IDS)
    for high, low in ((5.0, 1.0), (1.0, 0.1)):
        a = increment(source, *explicit_ratios(vp, [high, low]).points, 0)
        b = increment(source, *explicit_ratios(ve, [high, low]).points, 7)
        assert torch.allclose(a, b, rtol=0, atol=1e-12)
    x = torch.zeros(1, 3, 5, dtype=torch.float64)
    points = explicit_ratios(ve, [5.0, 1.0]).points
    both = source(torch.zeros(2, 3, 5, dtype=torch.float64), 0, 0, *points)
    assert torch.equal(both[1:], Brownian(8, IDS[1:])(x, 0, 0, *points))


def test_the_order_of_the_steps_does_not_matter() -> None:
    """What is remembered between steps is what would be computed anew."""
    points = explicit_ratios(VE(), np.geomspace(20, 0.05, 6)).points
    x = torch.zeros(2, 3, 5, dtype=torch.float64)
    run_through = Brownian(8, IDS)
    forward = [run_through(x, i, 0, points[i], points[i + 1]) for i in range(5)]
    for i in (3, 1, 1, 4, 0):
        assert torch.equal(forward[i], Brownian(8, IDS)(x, i, 0, points[i], points[i + 1]))
        assert torch.equal(forward[i], run_through(x, i, 0, points[i], points[i + 1]))


def test_brownian_covariance() -> None:
    """Cov(W(u), W(v)) = min(u, v) at nodes of the path, and unit variance of what a step is
    given."""
    source = Brownian(1, torch.arange(40), depth=10)
    nodes = [0.125, 0.25, 0.6875, 1.0]
    paths = torch.stack([source.path(u, (400,), torch.float64).flatten() for u in nodes])
    covariance = (paths @ paths.T / paths.shape[1]).numpy()
    expected = np.minimum.outer(nodes, nodes)
    tolerance = 4.5 * np.sqrt((expected**2 + np.outer(nodes, nodes)) / paths.shape[1])
    assert (np.abs(covariance - expected) < tolerance).all()
    assert float(source.path(0.0, (5,)).abs().max()) == 0


def test_steps_of_a_run_get_unit_and_independent_noise() -> None:
    source = Brownian(1, torch.arange(60))
    points = explicit_ratios(VE(), np.geomspace(20, 0.05, 7)).points
    x = torch.zeros(60, 400, dtype=torch.float64)
    z = torch.stack([source(x, i, 0, points[i], points[i + 1]).flatten() for i in range(6)])
    gram = (z @ z.T / z.shape[1]).numpy()
    assert np.abs(gram - np.eye(6)).max() < 5 * math.sqrt(2 / z.shape[1])


def test_too_short_a_step_is_refused() -> None:
    source = Brownian(1, IDS, depth=6)
    points = explicit_ratios(VE(), [1.0, 0.99]).points
    with pytest.raises(UserError, match="Brownian path of depth 6"):
        source(torch.zeros(2, 3), 0, 0, *points)


def test_shared_path_brings_runs_of_different_step_counts_together() -> None:
    """η = 1 at 20 and 40 steps: with one path the results are much closer than with independent
    noise."""
    process = VP.named("linear")
    ids = torch.arange(3)
    x = normals(0, ids, (2, 3, 5), INITIAL, dtype=torch.float64)

    def gap(kind: type[Keyed] | type[Brownian]) -> float:
        results = []
        for n in (20, 40):
            grid = make_grid("exponential", process, n, start=20.0, last=0.05, end=0.02)
            results.append(run(DDIM(eta=1.0).plan(grid), x, "v", noise=kind(3, ids)))
        return float((results[0] - results[1]).norm())

    assert gap(Brownian) < 0.5 * gap(Keyed)
