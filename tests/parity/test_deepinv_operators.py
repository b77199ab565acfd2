"""Our operators against deepinv's, and deepinv's through the adapter."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from diffdescent import UserError
from diffdescent.core.operators import (
    OPERATORS,
    DeepInv,
    Linear,
    convolution,
    parse_operator,
)
from diffdescent.core.operators.kernels import gaussian
from diffdescent.core.operators.motion import line
from tests.peer_deepinv import import_deepinv
from tests.unit.core.operators.test_linear import is_linear

F32, F64 = torch.float32, torch.float64
SHAPE = (3, 16, 12)


def drawn(shape: tuple[int, ...], seed: int, n: int = 2, dtype: torch.dtype = F32) -> torch.Tensor:
    return torch.randn((n, *shape), generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.fixture(scope="module")
def physics() -> Any:
    return import_deepinv().physics


def peers(physics: Any) -> dict[str, tuple[Linear, Any]]:
    """Pairs of operators, ours and theirs, that measure the same."""
    k = gaussian(0.6)
    round_kernel, moved = torch.outer(k, k), line(5, 30)
    mask = parse_operator("mask(box=[2, 3, 9, 8])").bind(SHAPE)
    cpu = torch.device("cpu")

    def fft(kernel: torch.Tensor) -> Any:
        return physics.BlurFFT(img_size=SHAPE, filter=kernel[None, None].float(), device="cpu")

    pairs: dict[str, tuple[Any, Any]] = {
        "mask": (mask, physics.Inpainting(SHAPE, mask=mask.singular)),
        "gaussian": (convolution(SHAPE, round_kernel, "circular", F32, cpu), fft(round_kernel)),
        "motion": (convolution(SHAPE, moved, "circular", F32, cpu), fft(moved)),
        "gray": (
            parse_operator("mix(matrix=[[0.298958, 0.587019, 0.114048]])").bind(SHAPE),
            physics.Decolorize(),
        ),
    }
    return pairs


@pytest.mark.parametrize("name", ["mask", "gaussian", "motion", "gray"])
def test_measurement_adjoint_and_pseudo_inverse_are_theirs(physics: Any, name: str) -> None:
    mine, theirs = peers(physics)[name]
    x, y = drawn(SHAPE, 1), drawn(mine.out_shape, 2)
    assert torch.allclose(mine.forward(x), theirs.A(x), atol=1e-5)
    assert torch.allclose(mine.adjoint(y), theirs.A_adjoint(y), atol=1e-5)
    measured = mine.forward(x)
    assert torch.allclose(mine.pinv(measured), theirs.A_dagger(measured), atol=1e-4)


@pytest.mark.parametrize("name", [n for n in sorted(OPERATORS) if is_linear(n)])
def test_ours_pass_their_test_of_the_adjoint(physics: Any, name: str) -> None:
    a = OPERATORS[name]().bind(SHAPE, dtype=F64)
    theirs = physics.LinearPhysics(A=a.forward, A_adjoint=a.adjoint)
    assert float(theirs.adjointness_test(drawn(SHAPE, 3, 1, F64))) < 1e-10
    torch.manual_seed(0)  # their power iteration starts anywhere
    norm = float(theirs.compute_norm(drawn(SHAPE, 4, 1, F64), verbose=False, squared=False))
    if a.has_svd:
        assert norm == pytest.approx(float(a.singular.max()), rel=0.02)


@pytest.mark.parametrize("name", ["Inpainting", "CompressedSensing", "Blur", "Downsampling"])
def test_theirs_are_operators_here(physics: Any, name: str) -> None:
    made = {
        "Inpainting": lambda: physics.Inpainting(SHAPE, mask=0.5),
        "CompressedSensing": lambda: physics.CompressedSensing(m=40, img_size=SHAPE),
        "Blur": lambda: physics.Blur(torch.ones(1, 1, 3, 3) / 9, padding="reflect"),
        "Downsampling": lambda: physics.Downsampling(SHAPE, factor=2, filter="gaussian"),
    }[name]()
    a = DeepInv(made).bind(SHAPE)
    assert isinstance(a, Linear)
    x, y = drawn(SHAPE, 1), drawn(a.out_shape, 2)
    left, right = (a.forward(x) * y).sum(), (x * a.adjoint(y)).sum()
    assert torch.allclose(left, right, atol=1e-3)
    measured = a.forward(x)
    assert torch.allclose(a.forward(a.project(y.new_zeros(x.shape), measured)), measured, atol=2e-2)
    solved = a.solve(x, 0.5)
    assert torch.allclose(a.adjoint(a.forward(solved)) + 0.5 * solved, x, atol=1e-4)


def test_a_physics_without_adjoint_has_its_gradient() -> None:
    """No deepinv is needed for this: what counts are the methods."""
    a = DeepInv(SimpleNamespace(A=lambda x: x.square().flatten(1))).bind((1, 2, 2), dtype=F64)
    x, v = drawn((1, 2, 2), 1, 2, F64), drawn((4,), 2, 2, F64)
    assert not a.linear
    assert torch.allclose(a.pullback(x, v).flatten(1), 2 * x.flatten(1) * v)
    with pytest.raises(UserError, match="not a physics"):
        DeepInv(3)
    with pytest.raises(UserError, match="cannot measure images"):
        DeepInv(SimpleNamespace(A=lambda x: x @ torch.ones(3, 3))).bind((1, 2, 2))
