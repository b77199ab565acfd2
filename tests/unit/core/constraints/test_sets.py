"""What every registered constraint is held to, with each of its variants, and what single ones
do."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from diffdescent import UserError
from diffdescent.base.images import save_png, to_uint8
from diffdescent.core.constraints import (
    CONSTRAINTS,
    BallSet,
    ConstraintSet,
    Given,
    MeasuredSet,
    bound_set,
    parse_constraints,
)
from diffdescent.core.operators import Function, parse_operator

SHAPE = (3, 8, 6)
F64 = torch.float64


def drawn(shape: tuple[int, ...], seed: int, n: int = 4) -> Tensor:
    return torch.randn((n, *shape), generator=torch.Generator().manual_seed(seed), dtype=F64)


def made(text: str, shape: tuple[int, ...] = SHAPE) -> ConstraintSet:
    (constraint,) = parse_constraints(text)
    return constraint.bind(shape, dtype=F64)


every = pytest.mark.parametrize(
    ("name", "options"),
    [
        pytest.param(name, dict(o), id=f"{name}-{i}")
        for name in sorted(CONSTRAINTS)
        for i, o in enumerate(CONSTRAINTS[name].variants)
    ],
)


def bound(name: str, options: dict[str, Any]) -> ConstraintSet:
    return CONSTRAINTS[name](**options).bind(SHAPE, dtype=F64)


@every
def test_projection_is_a_projection(name: str, options: dict[str, Any]) -> None:
    """It ends in the set, stays there, and is nearer than any other member that is tried."""
    one = bound(name, options)
    x, others = drawn(SHAPE, 1), one.project(drawn(SHAPE, 2, n=300))
    before = x.clone()
    p = one.project(x)
    assert torch.equal(x, before)
    assert p.shape == x.shape
    assert torch.allclose(one.project(p), p, atol=1e-12)
    assert torch.allclose(one.distance(x), (x - p).flatten(1).norm(dim=1))
    assert one.distance(x).min() > 1e-3
    nearest = (x[:, None] - others[None]).flatten(2).norm(dim=2).min(1).values
    assert (one.distance(x) <= nearest + 1e-12).all()
    assert torch.equal(one.project(x[2:3]), p[2:3])


@every
def test_convex_and_affine_sets_are(name: str, options: dict[str, Any]) -> None:
    one = bound(name, options)
    x, z = drawn(SHAPE, 1), one.project(drawn(SHAPE, 2, n=50))
    p = one.project(x)
    if one.convex:  # ⟨x − Px, z − Px⟩ ≤ 0 for every z of the set
        angles = ((x - p)[:, None] * (z[None] - p[:, None])).flatten(2).sum(2)
        assert angles.max() < 1e-9
        if one.affine:
            assert angles.abs().max() < 1e-9
    if one.affine:  # every line through two members lies in it
        beyond = 3 * z[:25] - 2 * z[25:]
        assert torch.allclose(one.project(beyond), beyond, atol=1e-9)
    else:
        with_twice = 3 * z[:25] - 2 * z[25:]
        assert not torch.allclose(one.project(with_twice), with_twice, atol=1e-3)


@every
def test_text_is_read_back(name: str, options: dict[str, Any]) -> None:
    constraint = CONSTRAINTS[name](**options)
    assert parse_constraints(str(constraint)) == (constraint,)


@pytest.mark.parametrize("kind", ["turn2", "turn4", "diagonal", "both"])
def test_symmetric_images_look_the_same(kind: str) -> None:
    p = made(f"symmetry({kind})", (3, 7, 7)).project(drawn((3, 7, 7), 1))
    same = {
        "turn2": [p.rot90(2, (-2, -1))],
        "turn4": [p.rot90(1, (-2, -1)), p.rot90(2, (-2, -1))],
        "diagonal": [p.transpose(-2, -1)],
        "both": [p.flip(-1), p.flip(-2)],
    }[kind]
    assert all(torch.allclose(p, other) for other in same)


def test_seams_close() -> None:
    x = drawn(SHAPE, 1)
    equal = made("tiling(smooth=0)").project(x)
    assert torch.allclose(equal[..., 0], equal[..., -1])
    assert torch.allclose(equal[..., 0, :], equal[..., -1, :])
    smooth = made("tiling").project(x)
    tiled = torch.cat((smooth, smooth), dim=-1)
    steps = tiled.diff(dim=-1)
    seam = SHAPE[2] - 1
    assert torch.allclose(2 * steps[..., seam], steps[..., seam - 1] + steps[..., seam + 1])
    # Only two pixels at each end of a line move.
    assert torch.equal(smooth[..., 2:-2, 2:-2], x[..., 2:-2, 2:-2])


def test_histograms_come_from_an_image(tmp_path: Path) -> None:
    image = drawn(SHAPE, 5, n=1).clamp(-1, 1) * 0.5
    save_png(to_uint8(image)[0], tmp_path / "a.png")
    p = made(f"histogram('{tmp_path / 'a.png'}')").project(drawn(SHAPE, 1))
    values = (to_uint8(image).double() / 127.5 - 1).flatten(2).sort(dim=-1).values
    ranked = p.flatten(2).sort(dim=-1).values
    assert torch.allclose(ranked, values.expand_as(ranked), atol=1e-6)
    even = made("histogram").project(drawn(SHAPE, 1)).flatten(2).sort(dim=-1).values
    assert torch.allclose(even, torch.linspace(-1, 1, 48, dtype=F64).expand_as(even), atol=1e-6)


def test_what_an_image_measures_is_kept(tmp_path: Path) -> None:
    image = drawn(SHAPE, 5, n=1).clamp(-1, 1) * 0.5
    save_png(to_uint8(image)[0], tmp_path / "a.png")
    kept = to_uint8(image).double() / 127.5 - 1
    path = tmp_path / "a.png"
    p = made(f"measured('downsample(2)', '{path}')").project(drawn(SHAPE, 1))
    means = torch.nn.functional.avg_pool2d(p, 2)
    assert torch.allclose(
        means, torch.nn.functional.avg_pool2d(kept, 2).expand_as(means), atol=1e-6
    )
    shown = made(f"measured('mask(box=[0, 0, 4, 6])', '{path}')").project(drawn(SHAPE, 1))
    assert torch.allclose(shown[:, :, 4:], kept[:, :, 4:].expand(4, -1, -1, -1), atol=1e-6)
    assert torch.equal(shown[:, :, :4], drawn(SHAPE, 1)[:, :, :4])
    coarse = made(f"measured('quantize(bits=2)', '{path}')")
    assert not coarse.affine
    quantize = parse_operator("quantize(bits=2)").bind(SHAPE, dtype=F64)
    q = coarse.project(drawn(SHAPE, 1))
    assert torch.allclose(quantize.forward(q), quantize.forward(kept).expand_as(q))


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path, cpu = tmp_path / "a.png", torch.device("cpu")
    found = []
    for shade, stamp in ((0, 1), (255, 2)):
        save_png(torch.full(SHAPE, shade, dtype=torch.uint8), path)
        os.utime(path, (stamp, stamp))
        one = bound_set(f"ball(radius=0, image='{path}')", SHAPE, cpu, F64)
        assert one is not None
        assert one is bound_set(f"ball(radius=0, image='{path}')", SHAPE, cpu, F64)
        found.append(float(one.project(torch.zeros(1, *SHAPE, dtype=F64)).mean()))
    assert found == pytest.approx([-1, 1])


def test_each_sample_has_its_own_measurement() -> None:
    a = parse_operator("downsample(2)").bind(SHAPE, dtype=F64)
    y = a.forward(drawn(SHAPE, 3))
    p = MeasuredSet(a, y).project(drawn(SHAPE, 1))
    assert torch.allclose(a.forward(p), y)


def test_a_set_is_given_by_its_projection() -> None:
    half = Given(lambda x: x.clamp_min(0), convex=True)
    x = drawn(SHAPE, 1)
    assert torch.equal(half.project(x), x.clamp_min(0))
    assert half.convex
    assert not half.affine


def test_a_ball_round_an_image() -> None:
    centre = drawn(SHAPE, 1, n=1)[0]
    one = BallSet(2.0, centre)
    x = torch.cat((centre[None] + 0.01, centre[None] + 1))
    p = one.project(x)
    assert torch.equal(p[0], x[0])
    assert torch.allclose((p[1] - centre).norm(), torch.tensor(2.0, dtype=F64))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("box(low=1, high=0)", "is empty"),
        ("palette(colours=[[0, 0]])", "needs 3 numbers"),
        ("palette(colours=[])", "at least one colour"),
        ("mean(value=[0, 0])", "one number or 3, not 2"),
        ("symmetry(turn4)", "square images"),
        ("symmetry(sideways)", "horizontal"),
        ("ball(radius=-1)", "radius"),
        ("ball(image='nowhere.png')", "There is no image"),
        ("measured", "needs the image"),
        ("measured('blurr', 'a.png')", "did you mean 'blur'"),
        ("boxx", "did you mean 'box'"),
        ("box box", "expected '&' or the end"),
        ("box &", "expected a name"),
    ],
)
def test_what_makes_no_sense_is_refused(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        [c.bind(SHAPE) for c in parse_constraints(text)]


def test_sizes_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    save_png(torch.zeros(3, 4, 4, dtype=torch.uint8), tmp_path / "a.png")
    with pytest.raises(UserError, match="height 4 and width 4; give one of height 8"):
        made(f"ball(image='{tmp_path / 'a.png'}')")
    with pytest.raises(UserError, match="1 or 3 channels"):
        made(f"ball(image='{tmp_path / 'a.png'}')", (2, 4, 4))
    with pytest.raises(UserError, match="at least 4 pixels"):
        made("tiling", (3, 3, 8))
    with pytest.raises(UserError, match=r"\(channels, height, width\)"):
        parse_constraints("box")[0].bind((8, 8))
    a = parse_operator("downsample(2)").bind(SHAPE)
    with pytest.raises(UserError, match="this operator gives"):
        MeasuredSet(a, torch.zeros(1, 3, 8, 6))
    smooth = Function(lambda x: x.square()).bind(SHAPE)
    with pytest.raises(UserError, match="knows no projection"):
        MeasuredSet(smooth, torch.zeros(1, *SHAPE))
