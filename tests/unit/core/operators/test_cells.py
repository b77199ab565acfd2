"""Measurements that are not linear: quantisation, clipping and JPEG."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch

from diffdescent import UserError
from diffdescent.base.images import from_uint8, to_uint8
from diffdescent.core.operators import OPERATORS, Jpeg, parse_operator

from .test_linear import drawn, is_linear

F64 = torch.float64
every = pytest.mark.parametrize(
    ("name", "options"),
    [
        pytest.param(name, dict(o), id=f"{name}-{i}")
        for name in sorted(OPERATORS)
        if not is_linear(name)
        for i, o in enumerate(OPERATORS[name].variants)
    ],
)


def bound(name: str, options: dict[str, Any], dtype: torch.dtype = F64) -> Any:
    return OPERATORS[name](**options).bind((3, 16, 32), dtype=dtype)


def images(dtype: torch.dtype = F64, seed: int = 0) -> torch.Tensor:
    """Smooth images with a little noise, beyond [−1, 1] here and there."""
    coarse = torch.nn.functional.interpolate(drawn((3, 4, 8), seed), (16, 32), mode="bilinear")
    return (0.5 * coarse + 0.05 * drawn((3, 16, 32), seed + 1)).to(dtype)


@every
def test_a_measurement_measures_as_itself(name: str, options: dict[str, Any]) -> None:
    a = bound(name, options)
    y = a.forward(images())
    assert torch.allclose(a.forward(y), y, atol=1e-12)
    assert y.shape == (3, *a.out_shape)


@every
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_projection_is_consistent_and_leaves_what_is(
    name: str, options: dict[str, Any], dtype: torch.dtype
) -> None:
    a = bound(name, options, dtype)
    y, x = a.forward(images(dtype)), images(dtype, 7)
    p = a.project(x, y)
    assert p.dtype == dtype
    assert torch.allclose(a.forward(p), y, atol=1e-4 if dtype == torch.float32 else 1e-9)
    assert torch.allclose(a.project(p, y), p, atol=1e-5)
    # An image that measures so already stays, but for a thousandth of a step at the cells' edges.
    assert torch.allclose(a.project(images(dtype), y), images(dtype), atol=2e-3)
    assert torch.equal(a.gradient(x, y), x - p)


@pytest.mark.parametrize("text", ["quantize(bits=2)", "clip(limit=0.3)", "jpeg(quality=20)"])
def test_projection_is_the_nearest(text: str) -> None:
    """Onto a convex set P: ⟨x − Px, z − Px⟩ ≤ 0 for every z of the set (grey images)."""
    a = parse_operator(text).bind((1, 16, 16), dtype=F64)
    z = drawn((1, 16, 16), 1, n=200)
    y = a.forward(z[:1])
    inside = a.project(z, y.expand_as(z))
    x = drawn((1, 16, 16), 2, n=1)
    p = a.project(x, y)
    assert ((x - p) * (inside - p)).flatten(1).sum(1).max() < 1e-9


def test_levels_of_quantisation_are_even_and_hold_the_ends() -> None:
    a = parse_operator("quantize(bits=2)").bind((1, 1, 6), dtype=F64)
    x = torch.tensor([-3.0, -1, -0.4, 0.3, 0.7, 1.5], dtype=F64).view(1, 1, 1, 6)
    third = 1 / 3
    expected = torch.tensor([-1, -1, -third, third, 1, 1], dtype=F64)
    assert torch.allclose(a.forward(x).flatten(), expected)
    assert torch.equal(a.project(x, a.forward(x)), x)  # the outer cells are open


def test_clipped_pixels_may_be_anything_beyond() -> None:
    a = parse_operator("clip(limit=0.5)").bind((1, 1, 4), dtype=F64)
    y = torch.tensor([0.5, 0.5, -0.5, 0.1], dtype=F64).view(1, 1, 1, 4)
    x = torch.tensor([0.9, 0.2, 0.2, 0.8], dtype=F64).view(1, 1, 1, 4)
    assert a.project(x, y).flatten().tolist() == [0.9, 0.5, -0.5, 0.1]


@pytest.mark.parametrize(
    ("quality", "colour", "channels"), [(10, "full", 1), (10, "full", 3), (10, "half", 3)]
)
def test_jpeg_is_that_of_another_codec(quality: int, colour: Any, channels: int) -> None:
    """Pillow's (libjpeg), which also rounds colours and decoded pixels to whole numbers, and makes
    colour of half size large again by a smooth filter."""
    image = pytest.importorskip("PIL.Image")
    rows, columns = torch.meshgrid(torch.arange(32.0), torch.arange(48.0), indexing="ij")
    grey = 0.5 * torch.sin(rows / 7) * torch.cos(columns / 9)
    tint = 0.2 * torch.cos(rows / 25 + columns / 30)
    planes = [grey + (c - 1) * tint for c in range(3)] if channels == 3 else [grey]
    pixels = to_uint8(torch.stack(planes)[None])
    array = pixels[0].permute(1, 2, 0).numpy()
    buffer = io.BytesIO()
    image.fromarray(array[:, :, 0] if channels == 1 else np.ascontiguousarray(array)).save(
        buffer, "JPEG", quality=quality, subsampling=0 if colour == "full" else 2
    )
    decoded = np.asarray(image.open(buffer)).reshape(32, 48, channels).transpose(2, 0, 1).copy()
    mine = Jpeg(quality, colour).bind((channels, 32, 48)).forward(from_uint8(pixels))
    apart = (to_uint8(mine)[0].int() - torch.from_numpy(decoded).int()).abs().float()
    assert apart.mean() < (0.1 if colour == "full" else 1)
    assert apart.max() <= (1 if colour == "full" else 12)
    untouched = (pixels[0].int() - torch.from_numpy(decoded).int()).abs().float()
    assert apart.mean() < 0.25 * untouched.mean()


@pytest.mark.parametrize(
    ("text", "shape", "message"),
    [
        ("jpeg", (3, 28, 28), "blocks of 8 pixels"),
        ("jpeg(colour=half)", (3, 24, 24), "blocks of 16 pixels"),
        ("jpeg", (2, 16, 16), "one channel or three, not 2"),
        ("quantize(bits=9)", (3, 8, 8), "bits"),
        ("clip(limit=0)", (3, 8, 8), "limit"),
    ],
)
def test_what_does_not_fit_is_refused(text: str, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_operator(text).bind(shape)
