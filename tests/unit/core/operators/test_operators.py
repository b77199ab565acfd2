"""What single operators do, against references, and what is refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from diffdescent import UserError
from diffdescent.core.operators import (
    OPERATORS,
    Function,
    Linear,
    Masked,
    Operator,
    parse_operator,
    register,
)

from .test_linear import dense, drawn

F64 = torch.float64


def bound(text: str, shape: tuple[int, ...], **options: Any) -> Any:
    return parse_operator(text).bind(shape, dtype=F64, **options)


@pytest.mark.parametrize(("boundary", "mode"), [("reflect", "reflect"), ("circular", "wrap")])
def test_gaussian_blur_is_that_of_scipy(boundary: str, mode: str) -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    x = drawn((2, 20, 15), 1, n=1)
    expected = ndimage.gaussian_filter(x.numpy(), (0, 0, 1.7, 1.7), mode=mode, radius=(0, 0, 7, 7))
    mine = bound(f"blur(sigma=1.7, boundary={boundary})", (2, 20, 15)).forward(x)
    assert torch.allclose(mine, torch.from_numpy(expected), atol=1e-12)


def test_box_blur_is_the_mean_around() -> None:
    x = drawn((1, 9, 9), 1, n=1)
    y = bound("box_blur(size=3)", (1, 9, 9)).forward(x)
    assert torch.allclose(y[0, 0, 4, 4], x[0, 0, 3:6, 3:6].mean())


def test_average_is_that_of_blocks() -> None:
    x = drawn((3, 8, 12), 1)
    y = bound("downsample(4)", (3, 8, 12)).forward(x)
    assert torch.allclose(y, torch.nn.functional.avg_pool2d(x, 4))


def test_bicubic_is_that_of_pillow_inside() -> None:
    """Pillow's antialiased cubic has the same kernel; its edges differ."""
    image = pytest.importorskip("PIL.Image")
    x = drawn((1, 40, 40), 1, n=1, dtype=torch.float32)
    small = image.fromarray(x[0, 0].numpy(), mode="F").resize((10, 10), image.Resampling.BICUBIC)
    mine = parse_operator("downsample(4, method=bicubic)").bind((1, 40, 40)).forward(x)[0, 0]
    expected = torch.from_numpy(np.array(small))
    assert torch.allclose(mine[2:-2, 2:-2], expected[2:-2, 2:-2], atol=1e-5)
    flat = parse_operator("downsample(4, method=bicubic)").bind((1, 40, 40))
    assert torch.allclose(flat.forward(torch.ones(1, 1, 40, 40)), torch.ones(1, 1, 10, 10))


def test_motion_blur_spreads_along_its_line() -> None:
    x = torch.zeros(1, 1, 15, 15, dtype=F64)
    x[0, 0, 7, 7] = 1
    level = bound("motion_blur(length=5, angle=0)", (1, 15, 15)).forward(x)[0, 0]
    assert torch.allclose(level[7].sum(), torch.tensor(1.0, dtype=F64))
    assert torch.allclose(level[7, 6:9], torch.full((3,), 0.2, dtype=F64), atol=0.02)
    upright = bound("motion_blur(length=5, angle=90)", (1, 15, 15)).forward(x)[0, 0]
    assert torch.allclose(upright, level.T, atol=1e-12)
    # Counter-clockwise: at 45 degrees it goes up to the right.
    rising = bound("motion_blur(length=5, angle=45)", (1, 15, 15)).forward(x)[0, 0]
    assert rising[6, 8] > 0.05 > rising[8, 8]


def test_a_motion_blur_that_mirrors_is_the_circular_one_inside() -> None:
    x = drawn((1, 24, 24), 1, n=1)
    circular, mirrored = (
        bound(f"motion_blur(length=5, angle=20, boundary={b})", (1, 24, 24)).forward(x)
        for b in ("circular", "reflect")
    )
    assert torch.allclose(circular[..., 3:-3, 3:-3], mirrored[..., 3:-3, 3:-3], atol=1e-12)
    assert not torch.allclose(circular, mirrored, atol=1e-3)


def test_fourier_measures_whole_lines_of_the_transform() -> None:
    x = drawn((2, 16, 12), 1, n=1)
    a = bound("fourier(share=0.4)", (2, 16, 12), seed=5)
    y = a.forward(x)
    lines = y[0, 0].abs().amax(1) > 0
    assert lines[0]
    assert torch.equal(lines, lines.flip(0).roll(1))  # ω and −ω
    assert 0.3 < lines.double().mean() < 0.55
    spectrum = torch.fft.fft2(x, norm="ortho")
    mirrored = y.flip(2, 3).roll((1, 1), (2, 3))
    mine = torch.complex((y + mirrored) / 2, (mirrored - y) / 2)
    assert torch.allclose(mine[:, :, lines], spectrum[:, :, lines])
    assert not torch.equal(a.singular, bound("fourier(share=0.4)", (2, 16, 12), seed=6).singular)


def test_compressed_sensing_keeps_norms_on_average_and_its_seed() -> None:
    for patterns in ("gaussian", "rademacher"):
        a = bound(f"compressed_sensing(share=0.5, patterns={patterns})", (1, 16, 16), seed=2)
        matrix = dense(a)
        assert matrix.shape == (128, 256)
        assert abs(float(matrix.square().sum(0).mean()) - 1) < 0.03
        assert abs(float(matrix.mean())) < 0.01
        again = bound(f"compressed_sensing(share=0.5, patterns={patterns})", (1, 16, 16), seed=2)
        assert torch.equal(dense(again), matrix)
    assert len(matrix.abs().unique()) == 1


def test_masks_hide_what_they_say() -> None:
    known = bound("mask(box=[1, 2, 3, 5])", (3, 6, 8)).singular[0]
    assert known.sum() == 48 - 6
    assert not known[1:3, 2:5].any()
    outside = bound("mask(box=[1, 2, 3, 5], hides=outside)", (3, 6, 8)).singular[0]
    assert torch.equal(outside, 1 - known)
    middle = bound("mask", (1, 8, 8)).singular[0]
    assert middle.sum() == 48
    scattered = bound("mask(share=0.75)", (3, 8, 8), seed=4).singular
    assert scattered.sum() == 48
    assert torch.equal(scattered[0], scattered[2])
    assert not torch.equal(scattered, bound("mask(share=0.75)", (3, 8, 8), seed=5).singular)


def test_a_mask_comes_from_a_picture(tmp_path: Any) -> None:
    image = pytest.importorskip("PIL.Image")
    array = np.full((6, 8), 255, dtype=np.uint8)
    array[2:4] = 0
    image.fromarray(array).save(tmp_path / "mask.png")
    a = bound(f"mask(file='{tmp_path / 'mask.png'}')", (3, 6, 8))
    assert not a.singular[:, 2:4].any()
    assert a.singular.sum() == 3 * 4 * 8


def test_a_function_is_an_operator() -> None:
    """A linear one has the adjoint of the same operator written out; any other its gradient."""
    blur = bound("blur(sigma=1)", (1, 6, 6))
    mine = Function(blur.forward, is_linear=True).bind((1, 6, 6), dtype=F64)
    assert isinstance(mine, Linear)
    y = drawn((1, 6, 6), 1)
    assert torch.allclose(mine.adjoint(y), blur.adjoint(y), atol=1e-12)
    assert torch.allclose(mine.solve(y, 0.1), blur.solve(y, 0.1), atol=1e-9)

    smooth = Function(lambda x: x.flatten(1).square()[:, :5]).bind((1, 6, 6), dtype=F64)
    x, v = drawn((1, 6, 6), 2), drawn((5,), 3)
    expected = torch.zeros_like(x).flatten(1)
    expected[:, :5] = 2 * x.flatten(1)[:, :5] * v
    assert torch.allclose(smooth.pullback(x, v).flatten(1), expected)
    assert torch.allclose(smooth.gradient(x, v), smooth.pullback(x, smooth.forward(x) - v))
    with pytest.raises(UserError, match="no projection"):
        smooth.project(x, v)


@pytest.mark.parametrize(
    ("function", "is_linear", "message"),
    [
        (lambda x: x.detach(), True, "no adjoint"),
        (lambda x: x.sum(), False, "an entry for each image"),
        (lambda x: x @ torch.ones(3, 3), False, "cannot measure images of shape"),
        (lambda x: x + 1, True, "not linear"),
    ],
)
def test_functions_that_are_no_measurements(function: Any, is_linear: bool, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Function(function, is_linear).bind((1, 6, 6))


@pytest.mark.parametrize(
    ("text", "shape", "message"),
    [
        ("downsample(5)", (3, 8, 8), "cannot be made 5 times"),
        ("mask(box=[0, 0, 9, 4])", (3, 8, 8), "does not fit images of height 8"),
        ("mask(box=[0, 0, 8, 8])", (3, 8, 8), "keeps no pixel"),
        ("mask(box=[0, 0, 8])", (3, 8, 8), "top, left, bottom, right"),
        ("mask(box=[0, 0, 2, 2], share=0.5)", (3, 8, 8), "one of box, share and file"),
        ("mask(file='nowhere.png')", (3, 8, 8), "There is no image"),
        ("box_blur(size=4)", (3, 8, 8), "odd size"),
        ("gray", (1, 8, 8), "three channels, not 1"),
        ("mix(matrix=[[1, 0]])", (3, 8, 8), "3 weights"),
        ("mix(matrix=[[0, 0, 0]])", (3, 8, 8), "measures nothing"),
        ("compressed_sensing(share=0.5)", (3, 256, 256), "too large a matrix"),
        ("blur(sigma=0)", (3, 8, 8), "sigma"),
        ("blur", (8, 8), r"\(channels, height, width\)"),
        ("blurr", (3, 8, 8), "did you mean 'blur'"),
        ("blur(2) | mask", (3, 8, 8), "expected the end"),
    ],
)
def test_what_does_not_fit_is_refused(text: str, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_operator(text).bind(shape)


def test_a_mask_holds_zeros_and_ones_of_its_size() -> None:
    with pytest.raises(UserError, match="holds 1 where"):
        Masked((1, 4, 4), torch.full((4, 4), 0.5))
    with pytest.raises(UserError, match="does not fit images"):
        Masked((1, 4, 4), torch.ones(3, 4))


def test_measurements_are_checked() -> None:
    a = bound("downsample(2)", (3, 8, 8))
    a.check(torch.zeros(2, 3, 4, 4))
    with pytest.raises(UserError, match=r"shape \(2, 3, 8, 8\).*\(batch, 3, 4, 4\)"):
        a.check(torch.zeros(2, 3, 8, 8))
    y = torch.zeros(3, 3, 4, 4)
    y[1, 0, 0, 0] = torch.nan
    y[2, 0, 0, 0] = torch.inf
    with pytest.raises(UserError, match="NaN or Inf in sample 1 and 1 more"):
        a.check(y)
    with pytest.raises(UserError, match="float32 or float64"):
        parse_operator("blur").bind((3, 8, 8), dtype=torch.float16)


def test_operators_without_singular_values_say_so() -> None:
    a = bound("motion_blur(boundary=reflect)", (1, 8, 8))
    for ask in (lambda: a.singular, lambda: a.to_spectral(None), lambda: a.from_spectral(None)):
        with pytest.raises(UserError, match="knows no singular values"):
            ask()


def test_names_are_taken_once() -> None:
    with pytest.raises(UserError, match="taken"):

        @register("blur")
        @dataclass(frozen=True)
        class Other(Operator):
            def fit(self, *arguments: Any) -> Any: ...

    assert parse_operator(OPERATORS["blur"]()) == OPERATORS["blur"]()
