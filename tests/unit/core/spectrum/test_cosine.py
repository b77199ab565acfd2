"""The cosine transform, the channel axes and the bands."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from diffdescent import UserError
from diffdescent.core.spectrum import Axes, Bands, from_cosines, named_axes, to_cosines
from diffdescent.core.spectrum.axes import principal
from diffdescent.core.spectrum.cosine import LARGEST_MATRIX, cosine_matrix

SIZES = [(1, 1), (4, 4), (8, 6), (33, 32), (300, 7), (7, 301)]


def images(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=dtype)


def test_the_matrix_is_orthonormal_and_is_the_definition() -> None:
    n = 12
    matrix = cosine_matrix(n, torch.float64, torch.device("cpu"))
    assert torch.allclose(matrix @ matrix.T, torch.eye(n, dtype=torch.float64), atol=1e-14)
    k, i = 5, 3
    assert float(matrix[k, i]) == pytest.approx(
        math.sqrt(2 / n) * math.cos(math.pi * k * (2 * i + 1) / (2 * n))
    )


@pytest.mark.parametrize("size", SIZES)
def test_the_inverse_and_parseval(size: tuple[int, int]) -> None:
    x, y = images(2, 3, *size), images(2, 3, *size).flip(0)
    assert torch.allclose(from_cosines(to_cosines(x)), x, atol=1e-12)
    assert float((to_cosines(x) * to_cosines(y)).sum()) == pytest.approx(float((x * y).sum()))


def test_large_sides_go_through_fourier_and_agree_with_the_matrix() -> None:
    n = LARGEST_MATRIX + 5
    x = images(1, 1, n, 3)
    matrix = cosine_matrix(n, torch.float64, torch.device("cpu"))
    small = cosine_matrix(3, torch.float64, torch.device("cpu"))
    assert torch.allclose(to_cosines(x), matrix @ x @ small.T, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_number_depends_on_the_batch(dtype: torch.dtype) -> None:
    x = images(12, 3, 16, 16, dtype=dtype)
    whole = to_cosines(x)
    for width in (1, 2, 5):
        parts = [to_cosines(x[i : i + width]) for i in range(0, 12, width)]
        assert torch.equal(torch.cat(parts), whole)


@pytest.mark.parametrize("axes", [named_axes("usual", 3), named_axes("usual", 4)])
def test_axes_are_orthonormal(axes: Axes) -> None:
    matrix = axes.tensor(torch.zeros(1, dtype=torch.float64))
    identity = torch.eye(axes.channels, dtype=torch.float64)
    assert torch.allclose(matrix @ matrix.T, identity, atol=1e-15)


def test_colours_have_luma_and_chroma_and_latents_a_curve_each() -> None:
    assert named_axes("usual", 3).groups == (0, 1, 1)
    assert named_axes("usual", 1).groups == (0,)
    assert named_axes("usual", 4).groups == (0, 1, 2, 3)
    assert named_axes("usual", 16).count == 1


def test_principal_axes_diagonalise_the_covariance() -> None:
    x = torch.einsum("ij,bjhw->bihw", images(4, 4), images(6, 4, 5, 5))
    axes = principal(x)
    turned = torch.einsum("ij,bjhw->bihw", axes.tensor(x), x).transpose(0, 1).flatten(1)
    covariance = torch.cov(turned)
    assert torch.allclose(covariance, torch.diag(covariance.diagonal()), atol=1e-10)
    assert bool((covariance.diagonal().diff() <= 0).all())


@pytest.mark.parametrize(
    ("matrix", "groups"),
    [
        (((1.0, 0.0), (1.0, 0.0)), (0, 1)),
        (((1.0, 0.0),), (0,)),
        (((1.0, 0.0), (0.0, 1.0)), (0, 2)),
        (((1.0, 0.0), (0.0, 1.0)), (0, 10**15)),  # counted, it would take all memory
        (((1.0, 0.0), (0.0, 1.0)), (0,)),
    ],
)
def test_axes_that_are_none_are_refused(
    matrix: tuple[tuple[float, ...], ...], groups: tuple[int, ...]
) -> None:
    with pytest.raises(UserError, match="channel axes"):
        Axes("mine", matrix, groups)


def test_opponent_axes_need_three_channels() -> None:
    with pytest.raises(UserError, match="three colours"):
        named_axes("opponent", 4)
    with pytest.raises(UserError, match="oponent"):
        named_axes("oponent", 3)


def test_hats_sum_to_one_and_make_the_curve() -> None:
    bands = Bands.for_size(32, 8)
    hats = bands.hats(24, 40)
    assert np.allclose(hats.sum(0), 1)
    values = list(np.linspace(-1, 3, 8))
    assert np.allclose(np.tensordot(values, hats, 1), bands.curve(values, 24, 40))


@pytest.mark.parametrize("count", [0, -1, 257, 100_000])
def test_so_many_bands_are_refused(count: int) -> None:
    with pytest.raises(UserError, match="1 to 256 frequency bands"):
        Bands.for_size(32, count)


def test_the_mean_has_a_knot_of_its_own_and_curves_are_read_at_any_size() -> None:
    bands = Bands.for_size(16, 4)
    values = [5.0, 1.0, 2.0, 3.0]
    small, large = bands.curve(values, 16, 16), bands.curve(values, 32, 32)
    assert small[0, 0] == large[0, 0] == 5.0
    assert small[1, 0] == 1.0
    assert np.allclose(large[::2, ::2], small)  # the same ρ: twice the index at twice the size


@pytest.mark.parametrize("knots", [(), (0.0, 1.0), (1.0, 0.5), (1.0, math.inf)])
def test_knots_that_are_none_are_refused(knots: tuple[float, ...]) -> None:
    with pytest.raises(UserError, match="knots"):
        Bands(knots)
