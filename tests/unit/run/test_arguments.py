"""What a run is given is held to what it may be, before anything is made."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

import diffdescent as dd
from diffdescent.base.errors import UserError
from diffdescent.core.noise import check_seed, normals
from diffdescent.run import prepare
from diffdescent.run.sample_numbers import numbers
from tests.unit.run.test_sample import gaussian

INIT = torch.zeros(1, 3, 4, 4)


@pytest.fixture(scope="module")
def model() -> Any:
    return gaussian()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"seed": -1}, "'seed' of 'sample' must be a whole number from 0"),
        ({"seed": 2**64}, "not 18446744073709551616"),
        ({"seed": 1.5}, "whole number"),
        ({"n": 10**11}, "'n' of 'sample' must be at most 10000000"),
        ({"samples": [0, 2**48]}, "'samples' of 'sample' must be a whole number"),
        ({"samples": ["a"]}, "whole number"),
        ({"samples": range(10**12)}, "at most 10000000 samples"),
        ({"steps": 10**9}, "'steps'"),
        ({"micro_batch": 10**6}, "'micro_batch' .* from 1 to 65536"),
        ({"batch_size": True}, "'batch_size'"),
        ({"strength": math.nan}, "strength"),
        ({"strength": 7}, r"strength.*\(0, 1\]"),
        ({"strength": 0.5}, r"strength=0\.5 says how much noise init= gets, and there is none"),
        ({"init": INIT.byte()}, r"init holds uint8; give floating-point numbers, images in"),
        ({"init": INIT / 0}, "init holds NaN or Inf"),
        ({"init": INIT.to("meta")}, "init must be a plain tensor"),
        ({"init": INIT.to_sparse()}, "init must be a plain tensor"),
        ({"init": "photo.png"}, "init must be a tensor, not str"),
        ({"init": INIT, "mask": INIT + 2}, r"A mask lies in \[0, 1\]"),
        ({"init": INIT, "mask": INIT * math.nan}, "mask holds NaN"),
        ({"labels": ["a", "b"]}, r"Labels are whole numbers, or one text .* not \['a', 'b'\]"),
        ({"labels": [[0, 1]]}, "Labels must be whole numbers"),
        ({"shape": (-3, 4, 4)}, r"sides of at least 1, not \(-3, 4, 4\)"),
    ],
)
def test_it_is_refused(model: Any, given: dict[str, Any], said: str) -> None:
    shape = None if "init" in given else (3, 4, 4)
    more = {} if {"n", "samples"} & given.keys() else {"n": 1}
    with pytest.raises(UserError, match=said):
        prepare(model, "ddim", **{"steps": 3, "shape": shape, **more, **given})


def test_images_of_whole_numbers_are_refused_wherever_they_steer(model: Any) -> None:
    grey = torch.full((1, 3, 8, 8), 128, dtype=torch.uint8)
    with pytest.raises(UserError, match="images holds uint8; give floating-point numbers"):
        dd.invert(model, grey, steps=2)
    with pytest.raises(UserError, match=r"y holds uint8; .*y / 127\.5 - 1"):
        dd.restore(model, y=grey, operator="downsample(1)", method="hqs", nfe=2)


def test_the_ends_of_the_ranges_are_taken(model: Any) -> None:
    shape = tuple(model.shape)
    images = dd.sample(model, steps=2, seed=2**64 - 1, samples=[2**48 - 1], shape=shape).images
    assert bool(torch.isfinite(images).all())


@pytest.mark.parametrize("seed", [-1, 2**64, 1 << 70])
def test_no_two_seeds_draw_the_same_noise(seed: int) -> None:
    """The generator's key has 64 bits; a longer one was cut to them without a word."""
    with pytest.raises(UserError, match="'seed' of 'noise'"):
        normals(seed, torch.arange(1), (4,), 0)
    assert check_seed(2**64 - 1) == 2**64 - 1


@pytest.mark.parametrize("text", ["0-99999999999", "9" * 400, f"0-{'9' * 400}", "0-10000000"])
def test_ranges_of_samples_end_somewhere(text: str) -> None:
    with pytest.raises(UserError, match=r"samples|beyond"):
        numbers(text)


def test_a_grid_of_another_process_is_refused() -> None:
    model = dd.load_model("cifar10-mixture")
    with pytest.raises(dd.UserError, match=r"of another process \(VE\) than the model's \(VP\)"):
        dd.sample(model, "ddim", grid=dd.grid("karras", dd.VE(), 3), n=1)


def test_arguments_are_what_their_annotations_say() -> None:
    for given, said in (
        ({"n": 10**30}, r"must be at most 10000000"),
        (
            {"shape": 3},
            "must be a list of whole numbers",
        ),
        ({"shape": "abc"}, "must be a list of whole numbers"),
        ({"device": 1.5}, "'device' of 'sample' must be"),
        ({"callback": "print"}, "'callback' of 'sample' must be"),
        ({"guidance": object()}, "not a object"),
        ({"recipe": b"ddim"}, "'recipe' of 'sample' must be"),
    ):
        with pytest.raises(dd.UserError, match=said):
            dd.sample("cifar10-mixture", **given)
    with pytest.raises(dd.UserError, match="no_such_argument"):
        dd.sample("cifar10-mixture", no_such_argument=1)
